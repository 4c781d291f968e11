//! Which pipeline jobs are queued when: the four scenarios that are compared everywhere, or somebody's trace.

use std::time::Duration;

/// The last job of a workload is queued no later than this, and no job takes longer.
pub const LONGEST_WORKLOAD: Duration = Duration::from_hours(366 * 24);

/// How long each job of a scenario takes.
const SCENARIO_JOB: Duration = Duration::from_mins(5);

/// A pipeline job to come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// When it is queued, from the beginning.
    pub at: Duration,
    /// What it asks of an agent, as on the wire.
    pub demands: Vec<String>,
    /// How long an agent works on it.
    pub duration: Duration,
}

/// Pipeline jobs in the order in which they are queued.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    jobs: Vec<Job>,
}

/// The scenarios that the policies are compared on; each job takes 300 s.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scenario {
    /// 20 jobs at once.
    A,
    /// 20 jobs at once, and 20 more 120 s later.
    B,
    /// One job each 20 s, 60 times.
    C,
    /// 100 jobs at once.
    D,
}

impl Workload {
    /// These jobs, sorted by their time; those of one moment stay in order.
    #[must_use]
    pub fn new(mut jobs: Vec<Job>) -> Self {
        jobs.sort_by_key(|job| job.at);
        Self { jobs }
    }

    /// The jobs of a scenario.
    #[must_use]
    pub fn scenario(scenario: Scenario) -> Self {
        let burst = |at: u64, jobs: usize| std::iter::repeat_n(at, jobs);
        let seconds: Vec<u64> = match scenario {
            Scenario::A => burst(0, 20).collect(),
            Scenario::B => burst(0, 20).chain(burst(120, 20)).collect(),
            Scenario::C => (0..60).map(|number| number * 20).collect(),
            Scenario::D => burst(0, 100).collect(),
        };
        let job = |at| Job { at: Duration::from_secs(at), demands: Vec::new(), duration: SCENARIO_JOB };
        Self::new(seconds.into_iter().map(job).collect())
    }

    /// The jobs.
    #[must_use]
    pub fn jobs(&self) -> &[Job] {
        &self.jobs
    }
}
