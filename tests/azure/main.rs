//! Azure: signing in with Entra, and agents as container groups, end to end: `serve` as a process with the variables of the
//! original's README, a stand-in for Azure whose groups really run, and a stand-in for Azure DevOps. No cluster anywhere.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]
#![allow(clippy::print_stdout, reason = "figures, for whoever asks with --nocapture")]

mod crowded;
mod demo;
mod elsewhere;
mod entra;
mod example;
mod killed;
mod mishaps;
mod requests;
#[path = "../../src/azure/tests/rsa_pem.rs"]
mod rsa_pem;
mod stage;
#[path = "../world/mod.rs"]
mod world;
