//! Pipeline jobs: few and many in turn, three a second at the peak.

use std::time::Duration;

use fastrand::Rng;
use kubectl_ado::sandbox::{JobSpec, Sandbox};

use crate::serve::POOLS;

/// Jobs a second.
const PEAK: f64 = 3.0;

/// From one peak to the next.
const PERIOD: Duration = Duration::from_secs(600);

pub(crate) struct Workload {
    rng: Rng,
    pools: Vec<i64>,
    /// Jobs that are due, as parts of one.
    due: f64,
    cancel: Vec<(Duration, i64)>,
    pub(crate) queued: u64,
}

impl Workload {
    pub(crate) fn new(seed: u64, pools: Vec<i64>) -> Self {
        Self { rng: Rng::with_seed(seed), pools, due: 0.0, cancel: Vec::new(), queued: 0 }
    }

    /// Queues what is due `now`, so long after the beginning, and the last `step` of that time.
    pub(crate) fn step(&mut self, sandbox: &Sandbox, now: Duration, step: Duration) {
        self.due += rate(now) * step.as_secs_f64();
        while self.due >= 1.0 {
            self.due -= 1.0;
            self.queue(sandbox, now);
        }
        let (over, later) = self.cancel.iter().partition(|(moment, _)| *moment <= now);
        self.cancel = later;
        let over: Vec<(Duration, i64)> = over;
        for (_, request) in over {
            let _ = sandbox.cancel(request);
        }
    }

    fn queue(&mut self, sandbox: &Sandbox, now: Duration) {
        let index = self.rng.usize(..self.pools.len());
        // Some jobs outlast the start timeout by far.
        let seconds = if self.rng.f64() < 0.03 { self.rng.u32(40..=90) } else { self.rng.u32(1..=6) };
        let mut job = JobSpec::new("soak", format!("job {}", self.queued)).step("work", seconds.to_string());
        if let Some(capability) = POOLS[index].capability {
            job = job.demand(capability);
        }
        self.queued += 1;
        let Ok(request) = sandbox.queue(self.pools[index], job) else { return };
        if self.rng.f64() < 0.04 {
            self.cancel.push((now + Duration::from_secs(self.rng.u64(1..=4)), request));
        }
    }
}

/// Jobs a second at this time after the beginning. It begins in the middle, so that a short run has something to do.
fn rate(now: Duration) -> f64 {
    let turn = now.as_secs_f64() / PERIOD.as_secs_f64() + 0.25;
    let wave = (1.0 - (turn * std::f64::consts::TAU).cos()) / 2.0;
    PEAK * wave * wave
}

#[test]
fn there_are_three_jobs_a_second_at_the_peak_and_none_at_the_bottom() {
    let at = |share: f64| rate(PERIOD.mul_f64(share));
    assert!((at(0.25) - PEAK).abs() < 1e-6);
    assert!(at(0.75) < 1e-6);
    assert!(at(0.0) > 0.7);
}
