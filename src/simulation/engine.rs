//! Each policy in a world of its own, from the first event to the last.

use std::time::Duration;

use super::{
    Figures, Settings, Workload,
    events::Event,
    kinds::Kinds,
    scalers::{Scaler, scalers},
    world::{BEGINNING, World},
};
use crate::sandbox::Refusal;

/// How long the simulation goes on when all jobs have ended, to see whether idle agents are taken back.
pub const SETTLING: Duration = Duration::from_mins(15);

/// If jobs wait and for so long none has been received, ended or added, the policy is starving them, and the simulation
/// ends.
pub const STARVED: Duration = Duration::from_hours(1);

/// Plays the workload through with every policy, ours first; side by side, since no world knows of another.
///
/// # Errors
///
/// Only if the sandbox refuses to set the world up, which is a bug.
pub fn simulate(workload: &Workload, settings: &Settings) -> Result<Vec<Figures>, Refusal> {
    let kinds = &Kinds::of(workload.jobs());
    std::thread::scope(|scope| {
        let start = |mut scaler: Box<dyn Scaler>| scope.spawn(move || run(workload, settings, kinds, scaler.as_mut()));
        let running: Vec<_> = scalers(kinds, settings).into_iter().map(start).collect();
        running.into_iter().map(|world| world.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    })
}

/// Plays the workload through with one policy.
pub(super) fn run(
    workload: &Workload,
    settings: &Settings,
    kinds: &Kinds,
    scaler: &mut dyn Scaler,
) -> Result<Figures, Refusal> {
    let mut world = World::new(workload, settings, kinds, scaler.marks())?;
    for order in scaler.legacy(BEGINNING) {
        world.carry_out(order, BEGINNING);
    }
    let interval = settings.poll.unwrap_or_else(|| scaler.interval());
    let mut settled = None;
    let mut end = None;
    while let Some((now, event)) = world.next_event(end) {
        match event {
            Event::Restart => scaler.forget(),
            Event::Poll => {
                let orders = scaler.poll(&world.view(now), now);
                for order in orders {
                    world.carry_out(order, now);
                }
                world.schedule(now + interval, Event::Poll);
            }
            event => world.happen(event, now),
        }
        settled = if world.is_done() { settled.or(Some(now + SETTLING)) } else { None };
        end = settled.or_else(|| Some(world.stalled_since()? + STARVED));
    }
    // There is always a next poll, so that only a deadline ends the loop.
    let end = end.unwrap_or_default();
    Ok(world.figures(scaler.name(), end))
}
