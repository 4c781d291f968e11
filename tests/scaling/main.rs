//! `serve` where there is much of everything: hundreds of job requests, several orchestrators, a broken image, a quota
//! that is used up, a pool full of dead agents. Against a real Kubernetes API server and the sandbox.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod bad_images;
mod cancelled;
mod dead_registrations;
mod neighbours;
mod quota;
mod several;
#[path = "../world/mod.rs"]
mod world;
