//! A stateful stand-in for Azure DevOps, so that anyone can see the whole thing work, and the tests can prove it,
//! without an organization.
//!
//! [`state`] is a pure state machine with the clock passed in; `http` is the real REST API around it on loopback,
//! with [`faults`](Fault) that can be switched on; [`agent`] is a small agent that speaks nothing but that API. All of
//! it is written after the facts about the real service, and there are no private endpoints: whatever works against
//! the sandbox must be able to work against Azure DevOps.
//!
//! [`Sandbox`] is the handle of the process that runs one. [`azure`] is the same for the parts of Azure that agents in
//! container groups need.

pub mod agent;
pub mod azure;
mod faults;
mod handle;
mod http;
mod package;
mod served;
mod settings;
mod sign_ins;
pub mod state;
mod switched;

pub use faults::{Fault, FaultError, FaultKind, ListField};
pub use handle::Sandbox;
pub use settings::{AgentScripts, Settings};
pub use sign_ins::{AssertionFault, Assertions};
pub use state::{
    Agent, AgentRecord, AgentSpec, Authorization, JobResult, JobSpec, KeySpec, Phase, PoolKind, PoolSpec, PublicKey,
    Refusal, Request, Rules, State, Step,
};

use state::made_up_variables;

/// The version of the agent's software: what the package contains and what the agents say of themselves.
pub const AGENT_VERSION: &str = "4.260.0";
