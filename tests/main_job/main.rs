//! The main job, end to end: `serve` as a process, under the Role of `manifests/`, against a real Kubernetes API server
//! and a stateful stand-in for Azure DevOps.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod agents;
mod clocks;
mod drop_in;
mod faults;
mod held;
mod installations;
mod leadership;
mod once;
mod refusals;
mod restart;
mod templates;
mod token;
mod watching;
mod way;
#[path = "../world/mod.rs"]
mod world;
