//! The demo's pipeline jobs: a burst, a trickle, one that is cancelled while it runs, one that nobody can serve.

use std::time::Duration;

use anyhow::Context as _;
use tokio::time::sleep;

use super::Failure;
use crate::sandbox::{JobSpec, Phase, Sandbox};

/// A job is given this long to be received and to end; a morning that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(300);

/// The trickle is spread over about this time, however many jobs it has.
const TRICKLE: Duration = Duration::from_secs(12);

/// Pipelines whose jobs are queued. Names as people give them.
const PIPELINES: [&str; 5] = ["api", "web shop", "nightly-tests", "Größenrechner", "infra/deploy"];

/// A morning's jobs.
pub(super) struct Morning {
    burst: Vec<(usize, JobSpec)>,
    trickle: Vec<(Duration, usize, JobSpec)>,
    seed: u64,
}

impl Morning {
    /// A morning of this many jobs, of which one is cancelled and one cannot be served.
    pub(super) fn new(jobs: usize, seed: u64) -> Self {
        let mut random = fastrand::Rng::with_seed(seed);
        let ordinary = jobs.saturating_sub(2);
        let in_burst = ordinary.div_ceil(2);
        let mut burst = Vec::new();
        let mut trickle = Vec::new();
        for number in 0..ordinary {
            let pipeline = PIPELINES[random.usize(..PIPELINES.len())];
            let mut job = JobSpec::new(pipeline, format!("job {}", number + 1));
            if random.f32() < 0.3 {
                job = job.demand("Agent.OS -equals linux");
            }
            if random.f32() < 0.2 {
                job = job.demand("Agent.Version -gtVersion 2.163.1");
            }
            let seconds = 0.3 + random.f64() * 2.7;
            job = job.step("build", format!("echo building; sleep {seconds:.1}"));
            // Two of three go to the first pool.
            let pool = usize::from(random.u8(..3) == 0);
            if number < in_burst {
                burst.push((pool, job));
            } else {
                let pause = TRICKLE.div_f64((ordinary - in_burst) as f64).mul_f64(0.5 + random.f64());
                trickle.push((pause, pool, job));
            }
        }
        Self { burst, trickle, seed }
    }

    /// Queues the jobs in their time and waits until the last one has ended.
    pub(super) async fn play(&self, sandbox: &Sandbox, pools: &[(String, i64)]) -> Result<(), Failure> {
        let queue = |pool: usize, job: &JobSpec| {
            sandbox.queue(pools[pool].1, job.clone()).context("a pipeline job could not be queued")
        };
        for (pool, job) in &self.burst {
            queue(*pool, job)?;
        }
        let gpu = JobSpec::new("train-model", "needs a GPU").demand("gpu -equals true").step("train", "true");
        queue(0, &gpu)?;
        let long = JobSpec::new("mistake", "cancelled while it runs").step("forever", "sleep 600");
        let long = queue((self.seed % 2) as usize, &long)?;

        let trickle = async {
            for (pause, pool, job) in &self.trickle {
                sleep(*pause).await;
                queue(*pool, job)?;
            }
            Ok::<(), Failure>(())
        };
        let cancel = async {
            let runs = |state: &crate::sandbox::State| {
                state.find_request(long).is_none_or(|request| request.phase() >= Phase::Received)
            };
            sandbox.until(PATIENCE, runs).await;
            sleep(Duration::from_secs(1)).await;
            sandbox.cancel(long).context("the pipeline job could not be cancelled")?;
            Ok::<(), Failure>(())
        };
        tokio::try_join!(trickle, cancel)?;
        sandbox.until(PATIENCE, |state| state.unfinished().next().is_none()).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_morning_again() {
        let names = |seed| {
            let morning = Morning::new(20, seed);
            morning.burst.into_iter().map(|(pool, job)| (pool, job.pipeline, job.steps)).collect::<Vec<_>>()
        };
        assert_eq!(names(7), names(7));
        assert_ne!(names(7), names(8));
    }

    #[test]
    fn all_jobs_but_the_two_special_ones_are_in_the_burst_or_the_trickle() {
        let morning = Morning::new(20, 1);
        assert_eq!(morning.burst.len() + morning.trickle.len(), 18);
    }
}
