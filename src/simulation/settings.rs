//! How the simulated world behaves, apart from the jobs that are queued in it.

use std::time::Duration;

/// The world that all policies are put into.
#[derive(Clone, Debug, PartialEq)]
pub struct Settings {
    /// From a Job's creation until its agent is online; not less than `pod_start`.
    pub cold_start: Duration,
    /// From a Job's creation until its pod is Running.
    pub pod_start: Duration,
    /// How often every policy looks; `None` leaves each its own interval.
    pub poll: Option<Duration>,
    /// What chance draws from.
    pub seed: u64,
    /// The most agents at once, for the policies that know such a limit.
    pub max_agents: Option<u32>,
    /// When the policy's process restarts and loses its memory, from the beginning.
    pub restarts: Vec<Duration>,
    /// The share of runs that die before their agent is online, 0 to 1.
    pub failure_rate: f64,
    /// The share of jobs that are cancelled, 0 to 1.
    pub cancel_rate: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            cold_start: Duration::from_secs(40),
            pod_start: Duration::from_secs(15),
            poll: None,
            seed: 1,
            max_agents: None,
            restarts: Vec::new(),
            failure_rate: 0.0,
            cancel_rate: 0.0,
        }
    }
}
