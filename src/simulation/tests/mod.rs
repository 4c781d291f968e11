//! What the simulation has to show of us, and that it shows the others as others have measured them.

mod baseline;
mod disturbed;
mod orders;
mod properties;

use std::time::Duration;

use super::{kinds::Kinds, scalers::scalers, *};

/// What ours makes of a workload.
fn ours(workload: &Workload, settings: &Settings) -> Figures {
    let kinds = Kinds::of(workload.jobs());
    let mut ours = scalers(&kinds, settings).remove(0);
    let figures = engine::run(workload, settings, &kinds, ours.as_mut()).unwrap();
    assert_eq!(figures.policy, "ours");
    figures
}

fn all(workload: &Workload, settings: &Settings) -> Vec<Figures> {
    simulate(workload, settings).unwrap()
}

fn of<'a>(figures: &'a [Figures], policy: &str) -> &'a Figures {
    figures.iter().find(|figures| figures.policy == policy).unwrap()
}

fn waits(figures: &Figures) -> Waits {
    figures.wait_seconds.unwrap()
}

fn job(at: f64, demands: &[&str], duration: u64) -> Job {
    Job {
        at: Duration::from_secs_f64(at),
        demands: demands.iter().map(|&demand| demand.to_owned()).collect(),
        duration: Duration::from_secs(duration),
    }
}

fn burst(jobs: usize) -> Workload {
    Workload::new((0..jobs).map(|_| job(0.0, &[], 300)).collect())
}
