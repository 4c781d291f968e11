//! The log: one line for each change, none for a quiet pass.

use std::collections::{BTreeSet, HashMap, HashSet};

use tracing::{error, info, warn};

use super::act::Acted;
use crate::{
    azure_devops,
    core::{AgentAction, AgentChange, Counts, EquipRun, Plan, PoolPlan, Purpose, Run, RunPhase, StopRun, Verdict},
    hosts::{HostError, Started},
};

/// What was last said, so that it is not said again.
#[derive(Debug, Default)]
pub(super) struct Journal {
    /// By pool: the last failure of its polls.
    failing: HashMap<String, String>,
    /// By pool: its last counts and reasons for waiting.
    pools: HashMap<String, Told>,
    /// By pool and template: the last refusal.
    refused: HashMap<(String, String), String>,
    /// By subject: the last trouble that concerns no pool.
    troubles: HashMap<&'static str, String>,
    /// Live runs that were seen.
    live: HashSet<String>,
    /// By pool and kind of change: the last failure to change a registration.
    unchanged: HashMap<(String, &'static str), &'static str>,
    /// The last failures to end a run, by its name.
    unstopped: HashMap<String, String>,
    /// By pool: what takes long.
    delays: HashMap<String, Vec<String>>,
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Told {
    waiting: u32,
    starting: u32,
    busy: u32,
    idle: u32,
    reasons: Vec<String>,
}

impl Journal {
    /// A poll of a pool worked.
    pub(super) fn polled(&mut self, pool: &str) {
        if self.failing.remove(pool).is_some() {
            info!(pool, "the agent pool can be polled again");
        }
    }

    /// A poll of a pool failed.
    pub(super) fn poll_failed(&mut self, pool: &str, failure: &azure_devops::Error) {
        let text = failure.to_string();
        // The time that is left changes with each poll, the fact does not.
        let told = if failure.retry_after().is_some() { failure.reason().to_owned() } else { text.clone() };
        if self.failing.get(pool) != Some(&told) {
            let fix = failure.fix();
            error!(pool, reason = failure.reason(), fix = fix.as_deref(), "{text}");
            self.failing.insert(pool.to_owned(), told);
        }
    }

    /// Something that concerns no single pool works, or does not.
    pub(super) fn trouble(&mut self, subject: &'static str, trouble: Option<(String, Option<String>)>) {
        match trouble {
            Some((text, fix)) => {
                if self.troubles.get(subject) != Some(&text) {
                    error!(subject, fix = fix.as_deref(), "{text}");
                    self.troubles.insert(subject, text);
                }
            }
            None => {
                if self.troubles.remove(subject).is_some() {
                    info!(subject, "works again");
                }
            }
        }
    }

    /// Tells which runs ended since the last time.
    pub(super) fn runs(&mut self, runs: &[Run]) {
        let mut live = HashSet::new();
        for run in runs {
            match &run.phase {
                RunPhase::Live => {
                    live.insert(run.name.clone());
                }
                RunPhase::Succeeded(_) if self.live.contains(&run.name) => {
                    info!(pool = run.pool, run = run.name, "agent finished");
                }
                RunPhase::Failed(_, reason) if self.live.contains(&run.name) => {
                    warn!(pool = run.pool, run = run.name, reason, "agent failed");
                }
                RunPhase::Succeeded(_) | RunPhase::Failed(..) => {}
            }
        }
        self.unstopped.retain(|run, _| live.contains(run));
        self.live = live;
    }

    /// Tells what takes long in a pool, where that changed.
    pub(super) fn delayed(&mut self, pool: &str, delays: &[String]) {
        let before = self.delays.get(pool).map(Vec::as_slice).unwrap_or_default();
        if before == delays {
            return;
        }
        for delay in delays.iter().filter(|delay| !before.contains(delay)) {
            warn!(pool, "job requests wait: {delay}");
        }
        if delays.is_empty() {
            info!(pool, "nothing takes long any more");
            self.delays.remove(pool);
        } else {
            self.delays.insert(pool.to_owned(), delays.to_vec());
        }
    }

    /// Tells how the pools stand, where that changed.
    pub(super) fn planned(&mut self, plan: &Plan) {
        for pool in &plan.pools {
            let Counts { waiting, starting, busy, idle, .. } = pool.counts;
            let told = Told { waiting, starting, busy, idle, reasons: reasons(pool) };
            let before = self.pools.get(&pool.pool);
            if before == Some(&told) || (before.is_none() && told == Told::default()) {
                continue;
            }
            info!(pool = pool.pool, waiting, starting, busy, idle, "agent pool changed");
            for reason in &told.reasons {
                if before.is_none_or(|before| !before.reasons.contains(reason)) {
                    warn!(pool = pool.pool, "job requests wait: {reason}");
                }
            }
            self.pools.insert(pool.pool.clone(), told);
        }
    }

    /// Tells how making a waiting run ready came out.
    pub(super) fn equipped(&mut self, run: &EquipRun, result: &Result<(), HostError>) {
        let EquipRun { name, pool, .. } = run;
        match result {
            Ok(()) => info!(pool, run = name, "agent made ready"),
            Err(error) => {
                warn!(
                    pool,
                    run = name,
                    reason = error.reason(),
                    fix = error.fix().as_deref(),
                    "agent not ready: {error}"
                );
            }
        }
    }

    /// Tells how ending a run came out.
    pub(super) fn stopped(&mut self, stop: &StopRun, result: &Result<(), HostError>) {
        match result {
            Ok(()) => {
                self.live.remove(&stop.name);
                self.unstopped.remove(&stop.name);
                info!(pool = stop.pool, run = stop.name, "agent stopped: {}", stop.reason);
            }
            Err(error) => {
                let text = error.to_string();
                if self.unstopped.get(&stop.name) != Some(&text) {
                    let fix = error.fix();
                    let fix = fix.as_deref();
                    warn!(pool = stop.pool, run = stop.name, reason = error.reason(), fix, "agent not stopped: {text}");
                    self.unstopped.insert(stop.name.clone(), text);
                }
            }
        }
    }

    /// Tells how a change to a registration came out. What failed is tried again by the next pass, and told once.
    pub(super) fn changed(
        &mut self,
        action: &AgentAction,
        kind: &'static str,
        result: &Result<(), azure_devops::Error>,
    ) {
        let pool = action.pool.as_str();
        let key = (pool.to_owned(), kind);
        if let Err(error) = result {
            let reason = error.reason();
            if self.unchanged.insert(key, reason) != Some(reason) {
                warn!(pool, reason, fix = error.fix().as_deref(), "registration not changed: {error}");
            }
            return;
        }
        self.unchanged.remove(&key);
        match &action.change {
            AgentChange::Disable(agent, reason) => info!(pool, agent = agent.name, "agent disabled: {reason}"),
            AgentChange::Deregister(agent, reason) => info!(pool, agent = agent.name, "agent deregistered: {reason}"),
            AgentChange::Register(placeholder) => {
                info!(pool, agent = placeholder.name, template = placeholder.template, "placeholder agent registered");
            }
            AgentChange::Update(_, placeholder) => {
                info!(pool, agent = placeholder.name, template = placeholder.template, "placeholder agent updated");
            }
        }
    }

    /// Tells how a start came out.
    pub(super) fn acted(&mut self, acted: &Acted) {
        let start = &acted.start;
        let kind = (start.pool.clone(), start.template.clone());
        match &acted.result {
            Ok(Started::Created) => {
                self.refused.remove(&kind);
                self.live.insert(start.name.clone());
                let request = match start.purpose {
                    Purpose::Request(id) => Some(id.0),
                    Purpose::Slot(_) => None,
                };
                info!(
                    pool = start.pool,
                    run = start.name,
                    template = start.template,
                    request,
                    attempt = start.attempt,
                    "agent started"
                );
            }
            Ok(Started::AlreadyThere) => {
                self.refused.remove(&kind);
            }
            Err(refusal) => {
                let text = refusal.to_string();
                // The next run is refused under another name for the same reason.
                let told = text.replace(&start.name, "");
                if self.refused.get(&kind) == Some(&told) {
                    return;
                }
                let fix = refusal.fix();
                error!(
                    pool = start.pool,
                    template = start.template,
                    reason = refusal.reason(),
                    fix = fix.as_deref(),
                    "agent not started: {text}"
                );
                self.refused.insert(kind, told);
            }
        }
    }
}

/// Why requests of a pool wait, without what changes from pass to pass.
fn reasons(pool: &PoolPlan) -> Vec<String> {
    let mut reasons = BTreeSet::new();
    for (_, verdict) in &pool.verdicts {
        let text = match verdict {
            Verdict::Assigned { .. } | Verdict::Covered | Verdict::Starting { .. } | Verdict::Pinned => continue,
            Verdict::BackingOff { reason, .. } => format!("backing off after a failed agent ({reason})"),
            Verdict::Trouble { run, trouble } => format!("{}: {}", trouble.kind, nameless(&trouble.message, run)),
            Verdict::TemplateFails { template, reason, .. } => {
                format!("backing off after failed agents of template {template} ({reason})")
            }
            Verdict::TryingOut { .. } => continue,
            Verdict::HeldByQueue { .. } => "a queue of the cluster holds their agents".to_owned(),
            other => other.to_string(),
        };
        reasons.insert(text);
    }
    reasons.into_iter().collect()
}

/// What is said of one run without its name or its pod's, so that it reads the same for all that share the trouble.
fn nameless(message: &str, run: &str) -> String {
    let mut text = String::new();
    let mut rest = message;
    let quoted = format!("\"{run}");
    while let Some((before, after)) = rest.split_once(&quoted) {
        text.push_str(before);
        text.push_str("\"…\"");
        rest = after.split_once('"').map_or("", |(_, after)| after);
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{RequestId, Trouble, TroubleKind};

    #[test]
    fn a_trouble_that_many_runs_share_is_told_once() {
        let refused = |number: i64| {
            let run = format!("agent-job-abcde-{number}");
            let message = format!("pods \"{run}-x1y2z\" is forbidden: exceeded quota: q, limited: pods=10");
            (RequestId(number), Verdict::Trouble { run, trouble: Trouble { kind: TroubleKind::Quota, message } })
        };
        let pool = PoolPlan {
            pool: "Default".into(),
            counts: Counts::default(),
            verdicts: (1..=30).map(refused).collect(),
            busy: Vec::new(),
            unfilled: Vec::new(),
        };
        let told = "a quota is used up: pods \"…\" is forbidden: exceeded quota: q, limited: pods=10";
        assert_eq!(reasons(&pool), [told]);
    }
}
