//! Kubernetes as its users know it: which cluster, through which proxy, with a deadline on every call and errors in
//! people's words. What a call is for is the business of the rooms that make it.

mod call;
mod client;
mod error;
mod kubeconfig;
mod lease;
mod proxy;

pub use call::{DEADLINE, call};
pub use client::{Access, connect};
pub use error::{ClusterError, ErrorKind};
pub use lease::{LeaseStore, NamedLease};
