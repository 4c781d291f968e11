//! Real HTTP on loopback around the state machine: the REST API of Azure DevOps as far as agents, agent pools and
//! their orchestrators use it, and nothing else. No private endpoints: whatever works here must be able to work there.
//!
//! Bare hyper, not a framework: a dropped connection has to be a thing that a handler can ask for, and the one table
//! of routes (`routes`) is all that a framework would add.

mod agents;
mod authorization;
mod call;
mod confinement;
mod connections;
mod encryption;
mod grants;
mod job_requests;
mod lists;
mod locations;
mod message;
mod oauth;
mod organization;
mod plans;
mod pools;
mod reply;
mod routes;
mod server;
mod sessions;
mod shared;
#[cfg(test)]
mod tests;
mod troubles;
mod versions;
mod wire;

pub(super) use call::Call;
pub(super) use connections::{Asked, Dropped, serve as serve_connections};
pub(super) use message::{POLL_PAUSE, RENEW_SECONDS};
pub(super) use server::serve;
pub(super) use shared::Shared;
