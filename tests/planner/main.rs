//! The planner, seen from outside: what it does in situations that a person can picture, and what it never does in any
//! situation at all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod always;
mod disorder;
mod health;
mod held;
mod histories;
mod holding_back;
mod lifecycle;
mod placeholders;
mod reports;
mod requests;
mod situation;
mod upkeep;
mod warm;
