//! The whole loop in one process and in paused time, with faults between any two calls: what was asked for is there in
//! the end, once.
//!
//! `cluster` is an API server below kube's client and `organization` is Azure DevOps; `faulty` and `devops` are how
//! they look through bad weather (`storm`); `yard` and `agent` are what goes on in the cluster. `schedules` draws
//! stories from seeds, `contract` compares the fake API server to the real one.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod agent;
mod books;
mod clock;
mod cluster;
mod contract;
mod crashes;
mod devops;
mod dice;
mod faulty;
mod garbage;
mod history;
mod orchestrator;
mod organization;
mod real;
mod remains;
mod schedules;
mod storm;
mod story;
mod versions;
mod weather;
mod world;
mod yard;
