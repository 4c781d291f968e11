//! A real Kubernetes control plane for the tests and benches: etcd, kube-apiserver and kube-controller-manager.
//!
//! No fake can tell whether a Job is valid, whether a Role lets the orchestrator do its work, or what a second create
//! returns. So the tests ask the real programs:
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use control_plane::{Behaviour, ControlPlane, Node};
//!
//! let plane = ControlPlane::shared();
//! let namespace = plane.namespace("agents").await;
//! let _node = Node::start(plane, namespace.name(), Behaviour::Run { entrypoint: vec!["true".into()] });
//! plane.kubectl(&["create", "job", "hello", "--image=any", "-n", namespace.name()])?;
//! # Ok(()) }
//! ```
//!
//! One control plane serves a test binary, one namespace each test. It takes three to five seconds to come up, needs no
//! root and no network, listens on loopback only and is gone when the test process is, however that ends.
//!
//! * [`programs`](ensure_programs) finds the programs, or builds them with Go, once (`go_build`);
//! * `keeper` stops what was started, also after a `kill -9`;
//! * `certificates`, `kubeconfig` and `start` bring the control plane up, [`ControlPlane`] is what a test holds of it;
//! * `audit` reads who asked the API server for what;
//! * [`Node`] plays the kubelet for a namespace (`container` is how it runs one); [`pods`] does so by hand.

#![forbid(unsafe_code)]

mod audit;
mod certificates;
mod container;
mod go_build;
mod keeper;
mod kubeconfig;
mod mounts;
mod node;
mod plane;
pub mod pods;
mod programs;
mod sources;
mod start;

pub use audit::AuditEvent;
pub use node::{Behaviour, Node};
pub use plane::{ControlPlane, Namespace};
pub use programs::{KUBERNETES_VERSION, Programs, ensure_programs};
