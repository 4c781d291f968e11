//! The plugin's commands, against a real API server, a real sandbox and a real orchestrator.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod brought_along;
mod check;
mod config;
mod end_to_end;
mod explain;
mod fake_api;
mod fix_lines;
mod install;
mod observe;
mod packaging;
mod place;
mod rights;
mod serve_side;
mod setup_on_a_cluster;
mod setup_transcripts;
mod situations;
mod stage;
mod staged;
mod template;
mod transcripts;
mod uninstall;
mod uninstall_states;
#[path = "../world/mod.rs"]
mod world;
