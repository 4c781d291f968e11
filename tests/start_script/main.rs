//! `linux/start.sh`, the agent's entry point, with small scripts in the place of the agent's software: what it hands over,
//! what it keeps to itself, and what becomes of signals.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod files;
mod package;
mod register;
mod signals;
mod stage;
mod token;
