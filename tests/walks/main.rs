//! Random walks of a person through `install`, `upgrade` and `uninstall` on a real API server, by seed, with faults between
//! the plugin and the server and with interruptions at any moment.
//!
//! `ADO_WALKS` sets how many walks each test makes; `ADO_WALK_SEED` sets the first seed, so that one walk can be repeated.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

mod commands;
mod holdings;
mod install;
mod model;
#[allow(dead_code, reason = "each test target uses its part of it")]
#[path = "../plugin/place.rs"]
mod place;
mod proxy;
mod uninstall;
#[path = "../world/mod.rs"]
mod world;

use std::{env, ops::Range};

/// The seeds of a test's walks.
fn seeds(usual: u64) -> Range<u64> {
    let number = |name: &str| env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let first = number("ADO_WALK_SEED").unwrap_or(0);
    first..first + number("ADO_WALKS").unwrap_or(usual)
}

/// How many walks are made at once: `ADO_WALKS_AT_ONCE`, else so many.
fn at_once(usual: usize) -> usize {
    env::var("ADO_WALKS_AT_ONCE").ok().map_or(usual, |text| text.parse().unwrap())
}

/// Runs the walks, so many at once.
async fn walk<F: Future<Output = ()> + Send + 'static>(
    seeds: Range<u64>,
    at_once: usize,
    one: impl Fn(u64) -> F + Send + Sync + 'static,
) {
    let next = std::sync::Arc::new(std::sync::Mutex::new(seeds));
    let one = std::sync::Arc::new(one);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..at_once {
        let (next, one) = (next.clone(), one.clone());
        tasks.spawn(async move {
            let mut failed = Vec::new();
            loop {
                let seed = next.lock().unwrap().next();
                let Some(seed) = seed else { return failed };
                if tokio::spawn(one(seed)).await.is_err() {
                    failed.push(seed);
                }
            }
        });
    }
    let failed: Vec<u64> = tasks.join_all().await.concat();
    assert!(failed.is_empty(), "these seeds failed, each said above why: {failed:?}");
}
