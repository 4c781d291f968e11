//! What can be measured, in the OpenMetrics format.

use std::{
    collections::HashSet,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use jiff::Timestamp;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::calls::{ALL, Kind};
use crate::core::{JobRequest, PoolPlan, RequestId, Stage};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Pool {
    pool: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolState {
    pool: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolReason {
    pool: String,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLook {
    pool: String,
    what: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallResult {
    to: &'static str,
    call: &'static str,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CallKind {
    call: &'static str,
}

/// From a call within a cluster to one that Azure DevOps delays.
const CALL_BUCKETS: [f64; 9] = [0.05, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0];

/// From a warm agent's second to a long queue's hour.
const WAIT_BUCKETS: [f64; 12] = [1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];

/// The orchestrator's figures, and the moments that health is read from.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    last_poll: Family<Pool, Gauge<f64, AtomicU64>>,
    poll_failures: Family<PoolReason, Counter>,
    waiting: Family<Pool, Gauge>,
    oldest: Family<Pool, Gauge<f64, AtomicU64>>,
    agents: Family<PoolState, Gauge>,
    started: Family<Pool, Counter>,
    start_failures: Family<PoolReason, Counter>,
    stopped: Family<PoolReason, Counter>,
    wait: Family<Pool, Histogram, fn() -> Histogram>,
    leader: Gauge,
    config_valid: Gauge,
    config_rejections: Counter,
    passes: Histogram,
    calls: Family<CallResult, Histogram, fn() -> Histogram>,
    in_flight: Family<CallKind, Gauge>,
    last_look: Family<PoolLook, Gauge<f64, AtomicU64>>,
    /// Requests that were seen waiting and not yet seen received, by pool.
    seen_waiting: Mutex<HashSet<(String, RequestId)>>,
    /// Milliseconds from our beginning to the last sign of life of the loop, and one more; 0 before the first.
    last_pass: AtomicU64,
    began: Instant,
    polled_once: AtomicU64,
}

impl Default for Metrics {
    fn default() -> Self {
        let wait: Family<Pool, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(WAIT_BUCKETS));
        let metrics = Self {
            registry: Registry::with_prefix("kubectl_ado"),
            last_poll: Family::default(),
            poll_failures: Family::default(),
            waiting: Family::default(),
            oldest: Family::default(),
            agents: Family::default(),
            started: Family::default(),
            start_failures: Family::default(),
            stopped: Family::default(),
            wait,
            leader: Gauge::default(),
            config_valid: Gauge::default(),
            config_rejections: Counter::default(),
            passes: Histogram::new(CALL_BUCKETS),
            calls: Family::new_with_constructor(|| Histogram::new(CALL_BUCKETS)),
            in_flight: Family::default(),
            last_look: Family::default(),
            seen_waiting: Mutex::default(),
            last_pass: AtomicU64::new(0),
            began: Instant::now(),
            polled_once: AtomicU64::new(0),
        };
        metrics.registered()
    }
}

impl Metrics {
    fn registered(mut self) -> Self {
        let seconds = || Unit::Seconds;
        let registry = &mut self.registry;
        registry.register_with_unit(
            "last_successful_poll_timestamp",
            "When the pool was last polled with success, in seconds since 1970",
            seconds(),
            self.last_poll.clone(),
        );
        registry.register("poll_failures", "Polls of the pool that failed, by reason", self.poll_failures.clone());
        registry.register("waiting_job_requests", "Job requests that no agent has received", self.waiting.clone());
        registry.register_with_unit(
            "oldest_waiting_job_request_age",
            "How long the oldest waiting job request has waited",
            seconds(),
            self.oldest.clone(),
        );
        registry.register("agents", "Agents by state", self.agents.clone());
        registry.register("agents_started", "Agents started", self.started.clone());
        registry.register("agent_start_failures", "Agents that the host did not start", self.start_failures.clone());
        registry.register("agents_stopped", "Agents that were ended, by reason", self.stopped.clone());
        registry.register_with_unit(
            "job_request_wait",
            "From queued to received by an agent",
            seconds(),
            self.wait.clone(),
        );
        registry.register("leader", "1 if this orchestrator acts, 0 if another one does", self.leader.clone());
        registry.register(
            "config_valid",
            "1 if the configuration's files are what is served, 0 if they were changed and are not accepted",
            self.config_valid.clone(),
        );
        registry.register(
            "config_rejections",
            "Changed configurations that were not accepted",
            self.config_rejections.clone(),
        );
        registry.register_with_unit(
            "pass_duration",
            "From the listing of our agents to the plan over the pools that have answered",
            seconds(),
            self.passes.clone(),
        );
        registry.register_with_unit(
            "call_duration",
            "Calls to Azure DevOps and to the host, by kind and result",
            seconds(),
            self.calls.clone(),
        );
        registry.register("calls_in_flight", "Calls that have begun and not come out, by kind", self.in_flight.clone());
        registry.register_with_unit(
            "last_look_timestamp",
            "When the pool's job requests and agents were last seen, in seconds since 1970",
            seconds(),
            self.last_look.clone(),
        );
        self.config_valid.set(1);
        self
    }

    /// A changed configuration was accepted or not.
    pub(super) fn configured(&self, accepted: bool) {
        self.config_valid.set(accepted.into());
        if !accepted {
            self.config_rejections.inc();
        }
    }

    /// All figures as OpenMetrics text.
    ///
    /// # Errors
    ///
    /// Only when a label cannot be written, which does not happen with strings.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }

    /// The loop is alive. Measured by a clock that nobody sets.
    pub(super) fn passed(&self) {
        let millis = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX - 1);
        self.last_pass.store(millis + 1, Ordering::Relaxed);
    }

    /// A pass of the loop has come to its end.
    pub(super) fn passed_in(&self, time: Duration) {
        self.passes.observe(time.as_secs_f64());
    }

    /// A call came out.
    pub(super) fn called(&self, to: &'static str, call: &'static str, result: &'static str, time: Duration) {
        self.calls.get_or_create(&CallResult { to, call, result }).observe(time.as_secs_f64());
    }

    /// Which calls are in flight.
    pub(super) fn in_flight(&self, kinds: impl Iterator<Item = Kind>) {
        let mut counts = [0; ALL.len()];
        for kind in kinds {
            counts[kind as usize] += 1;
        }
        for kind in ALL {
            self.in_flight.get_or_create(&CallKind { call: kind.word() }).set(counts[kind as usize]);
        }
    }

    /// The agents of a pool were looked at.
    pub(super) fn looked_at_agents(&self, pool: &str, now: Timestamp) {
        self.looked(pool, "agents", now);
    }

    fn looked(&self, pool: &str, what: &'static str, now: Timestamp) {
        #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are exact in a double")]
        self.last_look
            .get_or_create(&PoolLook { pool: pool.to_owned(), what })
            .set(now.as_millisecond() as f64 / 1000.0);
    }

    /// A pool is served no more: what is told of how it stands now goes.
    pub(super) fn forget(&self, pool: &str) {
        let label = Pool { pool: pool.to_owned() };
        self.last_poll.remove(&label);
        self.waiting.remove(&label);
        self.oldest.remove(&label);
        for state in ["starting", "busy", "idle", "offline"] {
            self.agents.remove(&PoolState { pool: pool.to_owned(), state });
        }
        for what in ["job_requests", "agents"] {
            self.last_look.remove(&PoolLook { pool: pool.to_owned(), what });
        }
        let mut waiting = self.seen_waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|(of_pool, _)| of_pool != pool);
    }

    /// Whether this orchestrator is the one that acts.
    pub(super) fn leads(&self, leads: bool) {
        self.leader.set(leads.into());
    }

    /// Another orchestrator watches the pools from here on: what we know of them grows stale.
    pub(super) fn following(&self) {
        self.last_poll.clear();
        self.waiting.clear();
        self.oldest.clear();
        self.agents.clear();
        self.last_look.clear();
        self.seen_waiting.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// A pool was polled with success.
    pub(super) fn polled(&self, pool: &str, now: Timestamp) {
        self.polled_once.store(1, Ordering::Relaxed);
        #[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are exact in a double")]
        self.last_poll.get_or_create(&Pool { pool: pool.to_owned() }).set(now.as_millisecond() as f64 / 1000.0);
        self.looked(pool, "job_requests", now);
    }

    /// A poll of a pool failed.
    pub(super) fn poll_failed(&self, pool: &str, reason: &'static str) {
        self.poll_failures.get_or_create(&PoolReason { pool: pool.to_owned(), reason }).inc();
    }

    /// An agent was started.
    pub(super) fn started(&self, pool: &str) {
        self.started.get_or_create(&Pool { pool: pool.to_owned() }).inc();
    }

    /// An agent was ended.
    pub(super) fn stopped(&self, pool: &str, reason: &'static str) {
        self.stopped.get_or_create(&PoolReason { pool: pool.to_owned(), reason }).inc();
    }

    /// An agent was not started.
    pub(super) fn start_failed(&self, pool: &str, reason: &'static str) {
        self.start_failures.get_or_create(&PoolReason { pool: pool.to_owned(), reason }).inc();
    }

    /// How a pool stands.
    pub(super) fn planned(&self, plan: &PoolPlan, now: Timestamp) {
        let counts = &plan.counts;
        let label = Pool { pool: plan.pool.clone() };
        self.waiting.get_or_create(&label).set(counts.waiting.into());
        let age = counts.oldest_queued_at.map_or(0.0, |queued| now.duration_since(queued).as_secs_f64().max(0.0));
        self.oldest.get_or_create(&label).set(age);
        // As long as nobody looks at the offline ones, the last figure stands.
        let offline = counts.offline.map(|offline| ("offline", offline));
        let known = [("starting", counts.starting), ("busy", counts.busy), ("idle", counts.idle)];
        for (state, count) in known.into_iter().chain(offline) {
            self.agents.get_or_create(&PoolState { pool: plan.pool.clone(), state }).set(count.into());
        }
    }

    /// Measures the waits of those requests that were waiting before and have been received since.
    pub(super) fn observed(&self, pool: &str, requests: &[JobRequest]) {
        let mut waiting = self.seen_waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for request in requests {
            let key = (pool.to_owned(), request.id);
            match (&request.stage, request.queued_at, request.received_at) {
                (Stage::Waiting | Stage::Assigned(_), ..) => {
                    waiting.insert(key);
                }
                (Stage::Running(_), Some(queued), Some(received)) if waiting.remove(&key) => {
                    let wait = received.duration_since(queued).as_secs_f64().max(0.0);
                    self.wait.get_or_create(&Pool { pool: pool.to_owned() }).observe(wait);
                }
                _ => {}
            }
        }
        // What is no longer unfinished was cancelled, or ran and ended between two polls.
        let current: HashSet<RequestId> = requests.iter().map(|request| request.id).collect();
        waiting.retain(|(of_pool, id)| of_pool != pool || current.contains(id));
    }

    /// Seconds since the last pass, `None` before the first.
    pub(super) fn since_last_pass(&self, _now: Timestamp) -> Option<u64> {
        let last = self.last_pass.load(Ordering::Relaxed);
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        (last > 0).then(|| now.saturating_sub(last - 1) / 1000)
    }

    /// Whether any pool was ever polled with success.
    pub(super) fn has_polled(&self) -> bool {
        self.polled_once.load(Ordering::Relaxed) == 1
    }
}
