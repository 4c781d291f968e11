//! How many agents of a template may be starting at once, by what became of the last ones.
//!
//! An image that works is started as often as there are requests. One that nobody has seen working yet is tried by a
//! few first, and one that fails by a single one after a wait that doubles: a broken image must not make a thousand Jobs.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    Progress, Run, RunPhase, Trouble, TroubleKind,
    attempts::back_off,
    sight::{KnownRun, Sight},
};

/// How many agents try out an image that nobody has seen working.
const FIRST_TRIES: u32 = 4;

/// A place is found, or trouble shows, within this time; an agent that is still waiting for a node says nothing about
/// its image.
const TRY_PENDING: Duration = Duration::from_secs(3);

/// A large image takes this long to be pulled; after that, more of them do no harm.
const TRY_PLACED: Duration = Duration::from_secs(60);

/// An agent that is online proves its image. One that cannot register (wrong token, no way through the proxy) may first have
/// downloaded its package; who lasts longer than this was not kept from working by the image.
const TRY_RUNNING: Duration = Duration::from_secs(30);

/// Beyond this many successes after a failure, all is well again.
const RAMP: u32 = 6;

/// How many agents of a template may be starting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Allowance {
    /// As many as are wanted.
    Any,
    /// So many at once, because the image has yet to prove itself.
    AtMost(u32),
    /// None, because of this trouble of a run.
    Trouble { run: String, trouble: Trouble },
    /// None until then, because the last ones failed.
    BackOff { until: Timestamp, failures: u32, reason: String },
}

/// A refused pod speaks for its whole namespace: as long as there is one, more Jobs would only wait as well.
pub(super) fn quota_trouble<'a>(mut runs: impl Iterator<Item = &'a Run>) -> Option<Allowance> {
    let run = runs.find(|run| run.is_live() && has(run, &[TroubleKind::Quota]))?;
    Some(trouble_of(run))
}

/// What the runs of one template of the pool's policy allow.
pub(super) fn allowance(template: usize, sight: &Sight<'_>, is_proven: bool, now: Timestamp) -> Allowance {
    let revision = &sight.policy.templates[template].revision;
    let known: Vec<&KnownRun<'_>> =
        sight.of_template(template).filter(|known| known.run.revision == *revision).collect();
    let current: Vec<&Run> = known.iter().map(|known| known.run).collect();
    // Unschedulable is no trouble to wait for: more pending pods are what makes a cluster grow.
    let blocking = [TroubleKind::Image, TroubleKind::Refused, TroubleKind::Volume];
    if let Some(run) = current.iter().find(|run| run.is_live() && has(run, &blocking)) {
        return trouble_of(run);
    }

    let succeeded_at = |known: &&KnownRun<'_>| match known.run.phase {
        RunPhase::Succeeded(_) => Some(known.run.created_at),
        RunPhase::Live => known.online_agent().map(|_| known.run.created_at),
        RunPhase::Failed(..) => None,
    };
    let mut failures: Vec<(Timestamp, &str)> = current
        .iter()
        .filter_map(|run| match &run.phase {
            RunPhase::Failed(at, reason) => Some((*at, reason.as_str())),
            _ => None,
        })
        .collect();
    failures.sort_unstable();
    let successes: Vec<Timestamp> = known.iter().filter_map(succeeded_at).collect();
    let last_success = successes.iter().max().copied();
    let in_a_row = failures.iter().filter(|(at, _)| last_success.is_none_or(|success| *at > success)).count();
    if let (Some(&(failed_at, reason)), 1..) = (failures.last(), in_a_row) {
        let in_a_row = u32::try_from(in_a_row).unwrap_or(u32::MAX);
        let until = failed_at + back_off(in_a_row);
        if now < until {
            return Allowance::BackOff { until, failures: in_a_row, reason: reason.to_owned() };
        }
        return Allowance::AtMost(1);
    }
    if let Some(&(failed_at, _)) = failures.last() {
        let since = successes.iter().filter(|success| **success > failed_at).count();
        let since = u32::try_from(since).unwrap_or(u32::MAX);
        if since < RAMP && now < failed_at + back_off(u32::MAX) {
            return Allowance::AtMost(2u32.pow(since));
        }
        return Allowance::Any;
    }
    let works = is_proven || !successes.is_empty();
    let runs_well = |run: &Run| {
        run.progress == Progress::Running
            && !run.agent_has_ended()
            && run.runs_since.is_some_and(|since| now >= since + TRY_RUNNING)
    };
    let is_tried = |run: &Run| match run.progress {
        _ if run.agent_has_ended() => true,
        // It may not start yet, so it tries nothing out.
        Progress::Queued => false,
        Progress::Pending => now < run.created_at + TRY_PENDING,
        Progress::Placed => now < run.created_at + TRY_PLACED,
        Progress::Running | Progress::Ended => !runs_well(run),
    };
    let mut live = current.iter().filter(|run| run.is_live());
    let runs = live.clone().any(|run| runs_well(run));
    let tried_out = !current.is_empty() && !live.any(|run| is_tried(run));
    if works || runs || tried_out { Allowance::Any } else { Allowance::AtMost(FIRST_TRIES) }
}

fn has(run: &Run, kinds: &[TroubleKind]) -> bool {
    run.trouble.as_ref().is_some_and(|trouble| kinds.contains(&trouble.kind))
}

fn trouble_of(run: &Run) -> Allowance {
    let trouble = run.trouble.clone().unwrap_or(Trouble { kind: TroubleKind::Refused, message: String::new() });
    Allowance::Trouble { run: run.name.clone(), trouble }
}
