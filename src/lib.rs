//! Azure Pipelines agents on Kubernetes, one for each queued pipeline job.
//!
//! One binary with two faces: the kubectl plugin that a person runs ([`commands`]), and the orchestrator that the
//! cluster runs ([`orchestrator`], the hidden command `serve`). Data flows one way, round and round: the edges observe
//! Azure DevOps ([`azure_devops`]) and the place where agents run ([`hosts`]), the pure [`core`] decides, the edges
//! act.
//!
//! The rooms stand on a ladder and import only from rooms above them; `tests/house.rs` holds it:
//!
//! | room | what it is for |
//! |---|---|
//! | [`core`] | what is observed, what is wanted, what to do; no I/O, no clock |
//! | [`config`] | environment variables and `ado.yaml` to one validated configuration |
//! | [`azure`] | tokens of Entra and Azure's clouds; how HTTP is spoken with either |
//! | [`cluster`] | Kubernetes as its users know it: kubeconfig, proxies, deadlines |
//! | [`azure_devops`], [`hosts`] | the edges: the REST client; Kubernetes Jobs and local processes |
//! | [`orchestrator`] | the loop: observe, plan, act; health and metrics |
//! | [`sandbox`] | a stateful stand-in for Azure DevOps, for `demo` and the tests; knows the core alone |
//! | [`simulation`] | the planner against that stand-in in virtual time, beside other published algorithms |
//! | [`commands`] | the verbs of the command line |

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod azure;
pub mod azure_devops;
pub mod clock;
pub mod cluster;
pub mod commands;
pub mod config;
pub mod core;
pub mod hosts;
pub mod orchestrator;
pub mod output;
pub mod sandbox;
pub mod simulation;
pub mod text;
