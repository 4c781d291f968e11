//! The board: what the loop knows, pinned up for whoever writes or asks for the status, and what people ask of the loop.
//!
//! The loop writes to it and never waits for it. What is read from it is put together only when somebody wants it.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use jiff::Timestamp;
use tokio::sync::{Notify, watch};

use super::{events::TroubledRun, facts::Facts, summary::Transitions};
use crate::core::{
    Agent, Code, Condition, Control, Finding, HostKind, Policy, PoolPlan, PoolPolicy, PoolSnapshot, Report, Since,
    Trouble, shell_word,
};

/// What the loop knows, and what is asked of it.
#[derive(Debug)]
pub struct Board {
    known: Mutex<Known>,
    /// Something on it has changed.
    changed: Notify,
    control: watch::Sender<Control>,
    /// Whether what people ask is known, so that it is safe to act.
    asked: watch::Sender<bool>,
    /// Something else is asked than before.
    asks: Notify,
    /// Whether somebody brings what people ask.
    has_secretary: AtomicBool,
}

/// All that is on it.
#[derive(Debug, Default)]
pub(super) struct Known {
    pub(super) facts: Facts,
    pub(super) policy: Option<Policy>,
    pub(super) pools: BTreeMap<String, Seen>,
    /// What keeps the host from answering; `None` while it answers.
    pub(super) host: Option<Finding>,
    /// That clocks differ.
    pub(super) clocks: Option<Finding>,
    /// Whether the host was ever asked.
    pub(super) host_asked: bool,
    /// Why a changed configuration is not used.
    pub(super) config: Option<Finding>,
    /// Why what people ask is not known.
    pub(super) control: Option<Finding>,
    /// Why agents are not registered just in time.
    pub(super) trial: Option<Finding>,
    /// Why what has ended is not put away.
    pub(super) tidying: Option<Finding>,
    pub(super) since: Since,
    pub(super) transitions: Transitions,
}

/// What is known of one pool.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) observed: Option<(PoolSnapshot, PoolPlan)>,
    pub(super) agents: Option<Vec<Agent>>,
    pub(super) polled_at: Option<Timestamp>,
    pub(super) failure: Option<Finding>,
    /// By kind of change: why registrations are not changed.
    pub(super) registration: BTreeMap<&'static str, Finding>,
    /// What takes so long that job requests wait for it.
    pub(super) delays: Vec<Finding>,
    /// That the pool of this name is another one now, and when that was seen.
    pub(super) replaced: Option<(Finding, Timestamp)>,
    /// By agent template: why no agents of it are started.
    pub(super) refusals: BTreeMap<String, Finding>,
    /// The last agent that did not come online in time, and when it was given up.
    pub(super) never_came: Option<(Finding, Timestamp)>,
    pub(super) since: Since,
}

impl Default for Board {
    /// Nothing is known, and nothing is asked.
    fn default() -> Self {
        Self {
            known: Mutex::default(),
            changed: Notify::new(),
            control: watch::Sender::new(Control::default()),
            asked: watch::Sender::new(true),
            asks: Notify::new(),
            has_secretary: AtomicBool::new(false),
        }
    }
}

impl Board {
    /// A board of a policy that is served, for those who run the loop without the rest of `serve`.
    #[must_use]
    pub fn serving(policy: &Policy) -> Self {
        let board = Self::default();
        board.serves(policy, Facts::default());
        board
    }

    pub(super) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where agents run, as far as it is known what is served.
    pub(super) fn host_kind(&self) -> HostKind {
        self.known().facts.host
    }

    /// Changes something and says so.
    fn change(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.known());
        self.changed.notify_one();
    }

    fn change_pool(&self, pool: &str, change: impl FnOnce(&mut Seen)) {
        self.change(|known| {
            if let Some(seen) = known.pools.get_mut(pool) {
                change(seen);
            }
        });
    }

    /// Waits until something has changed since the last time.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Begins with another configuration. What is known of pools that are still served stays.
    pub(super) fn serves(&self, policy: &Policy, facts: Facts) {
        self.change(|known| {
            known.pools.retain(|name, _| policy.pools.iter().any(|pool| pool.name == *name));
            for pool in &policy.pools {
                let seen = known.pools.entry(pool.name.clone()).or_default();
                seen.failure = None;
                seen.registration.clear();
                seen.delays.clear();
                seen.refusals.clear();
            }
            known.policy = Some(policy.clone());
            known.facts = facts;
        });
    }

    /// How the agents of each template get the right to work has changed.
    pub(super) fn registers(&self, policy: &Policy) {
        self.change(|known| {
            let Known { policy: known, pools, .. } = known;
            if let Some(known) = known {
                known.pools = policy.pools.iter().filter(|pool| pools.contains_key(&pool.name)).cloned().collect();
            }
        });
    }

    /// Nothing is left in a pool that the configuration does not have any more.
    pub(super) fn forgets(&self, pool: &str) {
        self.change(|known| {
            known.pools.remove(pool);
            if let Some(policy) = &mut known.policy {
                policy.pools.retain(|kind| kind.name != pool);
            }
        });
    }

    /// Takes on a pool that the configuration does not have, to show what becomes of it.
    pub(super) fn winds_up(&self, pool: &PoolPolicy) {
        self.change(|known| {
            known.pools.insert(pool.name.clone(), Seen::default());
            if let Some(policy) = &mut known.policy {
                policy.pools.push(pool.clone());
            }
        });
    }

    /// Whether anything is known of a pool.
    pub(super) fn shows(&self, pool: &str) -> bool {
        self.known().pools.contains_key(pool)
    }

    /// Why agents are not registered just in time, where the organization refuses that.
    pub(super) fn trial(&self, finding: Option<Finding>) {
        self.change(|known| known.trial = finding);
    }

    /// What takes so long in a pool that job requests wait for it.
    pub(super) fn delayed(&self, pool: &str, delays: Vec<Finding>) {
        if self.known().pools.get(pool).is_some_and(|seen| seen.delays != delays) {
            self.change_pool(pool, |seen| seen.delays = delays);
        }
    }

    /// The pool of this name has another number now.
    pub(super) fn replaced(&self, pool: &str, before: i64, number: i64, now: Timestamp) {
        let message = format!(
            "the agent pool \"{pool}\" is another one now: number {number}, and {before} before. Agents that were started \
             before finish in the old one"
        );
        let fix = format!(
            "remove idle agents of pool number {before} there, if it was renamed and is not served by another orchestrator"
        );
        let finding = Finding::new(Code::PoolReplaced, message, Some(fix));
        self.change_pool(pool, |seen| seen.replaced = Some((finding, now)));
    }

    /// Another orchestrator acts from here on: what we know grows stale, and so does what we were asked.
    pub(super) fn follows(&self) {
        self.asked.send_replace(!self.has_secretary.load(Ordering::Relaxed));
        self.change(|known| {
            for seen in known.pools.values_mut() {
                *seen = Seen::default();
            }
        });
    }

    /// The host answered or did not.
    pub(super) fn host(&self, trouble: Option<Finding>) {
        let mut known = self.known();
        if known.host != trouble || !known.host_asked {
            (known.host, known.host_asked) = (trouble, true);
            self.changed.notify_one();
        }
    }

    /// What has ended could be put away or not.
    pub(super) fn tidied(&self, trouble: Option<Finding>) {
        if self.known().tidying != trouble {
            self.change(|known| known.tidying = trouble);
        }
    }

    /// A poll of a pool failed.
    pub(super) fn poll_failed(&self, pool: &str, failure: Finding) {
        self.change_pool(pool, |seen| seen.failure = Some(failure));
    }

    /// What was observed, and what was made of it.
    pub(super) fn planned(&self, pools: Vec<PoolSnapshot>, plans: Vec<PoolPlan>, now: Timestamp) {
        self.change(|known| {
            for (mut snapshot, plan) in pools.into_iter().zip(plans) {
                let Some(seen) = known.pools.get_mut(&snapshot.pool) else { continue };
                if let Some(agents) = snapshot.agents.take() {
                    seen.agents = Some(agents);
                }
                (seen.failure, seen.polled_at) = (None, Some(now));
                seen.observed = Some((snapshot, plan));
            }
        });
    }

    /// All registrations of a pool are as they should be.
    pub(super) fn nothing_to_register(&self, pool: &str) {
        self.change_pool(pool, |seen| seen.registration.clear());
    }

    /// A registration was changed or not.
    pub(super) fn registered(&self, pool: &str, kind: &'static str, trouble: Option<Finding>) {
        self.change_pool(pool, |seen| match trouble {
            Some(trouble) => {
                seen.registration.insert(kind, trouble);
            }
            None => {
                seen.registration.remove(kind);
            }
        });
    }

    /// An agent was given up that did not come online in time.
    pub(super) fn never_came(&self, pool: &str, trouble: Option<&str>, now: Timestamp) {
        let message = match trouble {
            Some(trouble) => format!("an agent did not come online in time and was given up: {trouble}"),
            None => "an agent did not come online in time and was given up".to_owned(),
        };
        let words = match self.host_kind().last_words() {
            Some(words) => words.to_owned(),
            None => format!("kubectl ado logs --pool={} shows its last words", shell_word(pool)),
        };
        let fix = format!("{words}; what is slow needs a longer startTimeout, pullTimeout or scheduleTimeout");
        let finding = Finding::new(Code::StartTimeout, message, Some(fix));
        self.change_pool(pool, |seen| seen.never_came = Some((finding, now)));
    }

    /// An agent of a template was started or not.
    pub(super) fn started(&self, pool: &str, template: &str, refusal: Option<Finding>) {
        self.change_pool(pool, |seen| match refusal {
            Some(refusal) => {
                seen.refusals.insert(template.to_owned(), refusal);
            }
            None => {
                seen.refusals.remove(template);
            }
        });
    }

    /// Clocks differ, or agree.
    pub(super) fn clocks(&self, skew: Option<Finding>) {
        if self.known().clocks != skew {
            self.change(|known| known.clocks = skew);
        }
    }

    /// A changed configuration was refused or accepted.
    pub(super) fn configured(&self, trouble: Option<Finding>) {
        self.change(|known| known.config = trouble);
    }

    /// What people ask is unreadable, or readable again.
    pub(super) fn control_trouble(&self, trouble: Option<Finding>) {
        self.change(|known| known.control = trouble);
    }

    /// From here on, what people ask has to be known before anything is started.
    pub(super) fn ask_first(&self) {
        self.has_secretary.store(true, Ordering::Relaxed);
        self.asked.send_replace(false);
    }

    /// What people ask. Says whether it is something else than before.
    pub(super) fn asks(&self, control: Control) -> bool {
        let is_new = self.control.send_if_modified(|known| {
            let is_new = *known != control;
            *known = control;
            is_new
        });
        self.asked.send_replace(true);
        if is_new {
            self.asks.notify_one();
            self.changed.notify_one();
        }
        is_new
    }

    /// What people ask is unreadable and stays what it was.
    pub(super) fn asks_the_same(&self) {
        self.asked.send_replace(true);
    }

    /// A report that was written before, by whomever: what has not changed since keeps its moment.
    pub(super) fn continues(&self, report: &Report) {
        let known = &mut *self.known();
        for Condition { kind, status, last_transition_time, .. } in &report.conditions {
            known.transitions.entry(kind.clone()).or_insert_with(|| (status.clone(), *last_transition_time));
        }
    }

    /// The live runs that something keeps from starting.
    pub(super) fn troubled_runs(&self) -> Vec<TroubledRun> {
        let known = self.known();
        let snapshots = known.pools.values().filter_map(|seen| Some(&seen.observed.as_ref()?.0));
        let troubled = snapshots.flat_map(|snapshot| &snapshot.runs).filter(|run| run.is_live()).filter_map(|run| {
            let Trouble { kind, message } = run.trouble.as_ref()?;
            Some(TroubledRun { name: run.name.clone(), code: kind.code(), message: format!("{kind}: {message}") })
        });
        troubled.collect()
    }

    /// Waits until what people ask is known.
    pub(super) async fn until_asked(&self) {
        let mut asked = self.asked.subscribe();
        // The sender lives as long as we do.
        let _ = asked.wait_for(|asked| *asked).await;
    }

    /// Waits until something else is asked.
    pub(super) async fn asks_anew(&self) {
        self.asks.notified().await;
    }

    /// Makes a policy do as people ask.
    pub(super) fn apply(&self, policy: &mut Policy, now: Timestamp) {
        let control = self.control.borrow();
        policy.retire = control.retire;
        for pool in &mut policy.pools {
            pool.paused = control.pause(&pool.name, now).cloned();
        }
    }

    /// The status at a moment; `None` before anything is served.
    #[must_use]
    pub fn report(&self, now: Timestamp) -> Option<Report> {
        let known = &mut *self.known();
        let mut policy = known.policy.take()?;
        self.apply(&mut policy, now);
        let report = super::summary::report(known, &policy, now);
        known.policy = Some(policy);
        Some(report)
    }
}
