//! `linux/start.sh`, the agent's entry point, with small scripts in the place of the agent's software: what it hands over,
//! what it keeps to itself, and what becomes of signals.
#![cfg(target_os = "linux")]

mod files;
mod package;
mod register;
mod signals;
mod stage;
mod token;
