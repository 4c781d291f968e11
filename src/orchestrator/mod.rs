//! The serve loop: observe, plan, act, until it is told to stop. Also its health, its metrics and its log.
//!
//! Our own loop and not kube's `Controller`, because the decision is one for all pools over a whole snapshot, and
//! half of what is observed is not in Kubernetes: docs/decisions/0005. All state comes from Azure DevOps and the host
//! at each pass; what is kept in memory only makes it faster or quieter.

mod act;
mod board;
mod calls;
mod engine;
mod equip;
mod events;
mod expected;
mod facts;
#[cfg(test)]
mod fixtures;
mod holds;
mod journal;
mod leader;
mod listener;
mod measured;
mod metrics;
mod observe;
mod pace;
mod panics;
mod parallel_jobs;
mod recipes;
mod reload;
mod retire;
mod secretary;
mod serve;
mod session;
mod status_file;
mod stop;
mod summary;
mod trouble;

pub use board::Board;
pub use engine::{Engine, Outcome, Settings};
pub use leader::{Candidate, Leadership, identity};
pub use metrics::Metrics;
pub use panics::end_on_panic;
pub use recipes::{Wish, Wishes};
pub use reload::ConfigSource;
pub use retire::{Holding, Retirement};
pub use serve::{ServeError, serve};
pub use stop::{Stop, Stopper, stop_pair};
