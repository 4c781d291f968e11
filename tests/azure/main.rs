//! Azure: signing in with Entra, and container groups, end to end against stand-ins on loopback.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod entra;
#[path = "../../src/azure/tests/rsa_pem.rs"]
mod rsa_pem;
