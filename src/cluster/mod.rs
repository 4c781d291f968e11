//! Kubernetes as its users know it: which cluster, through which proxy, with a deadline on every call and errors in
//! people's words. What a call is for is the business of the rooms that make it.

mod access;
mod call;
mod client;
mod control;
mod dry_run;
mod error;
mod installs;
mod kubeconfig;
mod lease;
mod observe;
mod ownership;
mod proxy;
mod reviews;
mod status_store;

pub use access::Cluster;
pub use call::{DEADLINE, call};
pub use client::{Access, connect, contexts};
pub use control::change_control;
pub use dry_run::{dry_run_apply, dry_run_create};
pub use error::{ClusterError, ErrorKind};
pub use installs::{
    CONTROL_KEY, INSTALL_LABELS, Install, STATUS_KEY, STATUS_LABELS, control_name, find_installs, status_name,
};
pub use lease::{LeaseStore, NamedLease};
pub use observe::{LeaseSeen, Observation, PodSeen, Rollout, Section, StatusSeen, observe, observe_status};
pub use ownership::owner;
pub use proxy::environment_proxy;
pub use reviews::{Account, Decision, Right, may_account, may_i};
pub use status_store::{Happening, NamedStatus, StatusStore, Subject};
