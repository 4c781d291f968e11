//! The planner against the sandbox's state machine in virtual time, beside the published algorithms of others.
//!
//! A [`Workload`] of pipeline jobs is played through once for each policy: an event queue instead of a clock, the
//! sandbox's `State` as Azure DevOps, a virtual host whose agents come online after the cold start, take one job and
//! go. Each [`Scaler`](scalers::Scaler) sees what its original sees, at the intervals at which its original looks, and
//! nothing else. All meet a pool in which they have been at work before: Azure DevOps accepts its jobs, and ours has its
//! placeholders. The same workload, settings and seed always give the same [`Figures`].

mod engine;
mod events;
mod figures;
mod host;
mod kinds;
mod scalers;
mod settings;
#[cfg(test)]
mod tests;
mod trace;
mod workload;
mod world;

pub use engine::{SETTLING, STARVED, simulate};
pub use figures::{Figures, Waits};
pub use settings::Settings;
pub use trace::{TraceError, read_trace};
pub use workload::{Job, LONGEST_WORKLOAD, Scenario, Workload};
