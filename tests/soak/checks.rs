//! What must hold all the time. Each thing that does not is told once.

use std::{
    collections::{HashMap, HashSet},
    time::Duration,
};

use kubectl_ado::sandbox::{Phase, Sandbox, State, state::Pool};
use serde_json::Value;

use crate::{
    agents::Seen,
    faults::{Faults, Kind},
    findings,
    serve::POOLS,
};

/// So long a request may wait for an agent, not counting times when something is wrong.
const WAIT: Duration = Duration::from_secs(45);

/// So long fewer agents than the minimum may be there, or none idle; times when something is wrong do not count.
const SHORTAGE: Duration = Duration::from_secs(60);

/// How many calls that are refused may come in one time of refusal, besides two for each agent that comes or goes meanwhile:
/// a few for each pool and kind of change, with growing pauses.
const REFUSED: u64 = 6 * 3 * 6;

#[derive(Default)]
pub(crate) struct Checks {
    /// How long each request has waited, for as long as it does.
    waits: HashMap<i64, Duration>,
    shortages: [Duration; POOLS.len()],
    refusals: Option<Refusals>,
    told: HashSet<String>,
    pub(crate) longest_wait: Duration,
    pub(crate) violations: Vec<String>,
}

/// A time of refusal.
struct Refusals {
    from: Duration,
    calls: u64,
    agents: u64,
}

impl Checks {
    /// Looks at everything `now`, `step` after the last look.
    pub(crate) fn step(&mut self, sandbox: &Sandbox, faults: &Faults, seen: &mut Seen, now: Duration, step: Duration) {
        self.violations.append(&mut seen.violations);
        if faults.is_calm(now) {
            let waiting = sandbox.see(waiting);
            self.alive(&waiting, step);
            let there = sandbox.see(|state| POOLS.map(|pool| agents(state, pool.name)));
            self.enough(&there, step);
        }
        self.calm(sandbox, faults, seen.started, now);
    }

    fn alive(&mut self, waiting: &[(i64, String)], step: Duration) {
        let still: HashSet<i64> = waiting.iter().map(|(request, _)| *request).collect();
        self.waits.retain(|request, _| still.contains(request));
        for (request, pool) in waiting {
            let waited = self.waits.entry(*request).or_default();
            *waited += step;
            self.longest_wait = self.longest_wait.max(*waited);
            if *waited > WAIT {
                let text =
                    format!("alive: request {request} in {pool} has no agent after {} calm seconds", WAIT.as_secs());
                self.tell(text);
            }
        }
    }

    fn enough(&mut self, there: &[(u32, u32)], step: Duration) {
        for (index, (&(all, idle), pool)) in there.iter().zip(&POOLS).enumerate() {
            let is_enough = all >= pool.min && idle >= pool.idle;
            let shortage = self.shortages[index];
            self.shortages[index] = if is_enough { Duration::ZERO } else { shortage + step };
            // Once for each shortage.
            if shortage <= SHORTAGE && self.shortages[index] > SHORTAGE {
                self.violations.push(format!(
                    "enough: {} has {all} agents, {idle} of them idle, and should have at least {} and {} idle, for {} calm seconds",
                    pool.name,
                    pool.min,
                    pool.idle,
                    SHORTAGE.as_secs()
                ));
            }
        }
    }

    /// What is refused is not asked again and again.
    fn calm(&mut self, sandbox: &Sandbox, faults: &Faults, agents: u64, now: Duration) {
        let refusal = faults.current().filter(|fault| fault.kind == Kind::ReadOnly);
        match (refusal, &self.refusals) {
            (Some(fault), None) => {
                self.refusals = Some(Refusals { from: fault.from, calls: changes(sandbox), agents });
            }
            (None, Some(refusals)) => {
                let calls = changes(sandbox) - refusals.calls;
                let allowed = REFUSED + 2 * (agents - refusals.agents);
                if calls > allowed {
                    let seconds = (now - refusals.from).as_secs();
                    self.violations.push(format!(
                        "calm: {calls} changes were asked for in {seconds} s in which all were refused; {allowed} would do"
                    ));
                }
                self.refusals = None;
            }
            _ => {}
        }
    }

    /// The findings in the status are true.
    pub(crate) fn told(&mut self, status: &Value, faults: &Faults, now: Duration) {
        for (code, message) in findings::of(status) {
            if !findings::is_true(&code, faults, now) {
                self.tell(format!("told: {code} is not true: {message}"));
            }
        }
    }

    fn tell(&mut self, text: String) {
        if self.told.insert(text.clone()) {
            self.violations.push(text);
        }
    }
}

/// The requests that no agent has, with their pools.
fn waiting(state: &State) -> Vec<(i64, String)> {
    let waiting = state.unfinished().filter(|request| request.phase() == Phase::Queued);
    let name = |pool: i64| state.pool(pool).map_or(String::new(), |pool| pool.name.clone());
    waiting.map(|request| (request.id, name(request.pool))).collect()
}

/// How many agents are online in a pool, and how many of them are idle.
fn agents(state: &State, pool: &str) -> (u32, u32) {
    let online = state.pool_named(pool).into_iter().flat_map(Pool::agents).filter(|agent| agent.online);
    online.fold((0, 0), |(all, idle), agent| (all + 1, idle + u32::from(agent.enabled && agent.assigned.is_none())))
}

/// How many changes of agents were asked for so far.
fn changes(sandbox: &Sandbox) -> u64 {
    let is_change = |route: &str| !route.starts_with("GET") && route.contains("/agents");
    sandbox.calls().iter().filter(|(route, _)| is_change(route)).map(|(_, calls)| calls).sum()
}

#[test]
fn a_request_that_waits_too_long_is_told_once() {
    let mut checks = Checks::default();
    let waiting = [(7, "plain".to_owned())];
    for _ in 0..44 {
        checks.alive(&waiting, Duration::from_secs(1));
    }
    // It has an agent, loses it, and waits again.
    checks.alive(&[], Duration::from_secs(1));
    for _ in 0..44 {
        checks.alive(&waiting, Duration::from_secs(1));
    }
    assert!(checks.violations.is_empty());
    for _ in 0..9 {
        checks.alive(&waiting, Duration::from_secs(1));
    }
    assert_eq!(checks.violations.len(), 1, "{:?}", checks.violations);
}

#[test]
fn too_few_agents_for_too_long_is_told_once_for_each_time() {
    let mut checks = Checks::default();
    let well = POOLS.map(|pool| (pool.min + pool.idle, pool.idle));
    let short = POOLS.map(|_| (3, 0));
    for times in [1, 2] {
        for _ in 0..90 {
            checks.enough(&short, Duration::from_secs(1));
        }
        assert_eq!(checks.violations.len(), times * 2, "{:?}", checks.violations);
        checks.enough(&well, Duration::from_secs(1));
    }
}
