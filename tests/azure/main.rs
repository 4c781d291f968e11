//! Agents as Azure container groups, end to end: `serve` as a process with the variables of the original's README, a stand-in
//! for Azure whose groups really run, and a stand-in for Azure DevOps. No cluster anywhere.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod crowded;
mod example;
mod killed;
mod mishaps;
mod requests;
mod stage;
#[path = "../world/mod.rs"]
mod world;
