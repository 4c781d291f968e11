//! One finding for each cause, however many job requests and agents it keeps, and since when it has been so.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::{Code, Finding, HostKind, Pause, PoolPolicy, Severity, Verdict, verdict_report::shortened};

/// What is gone for less than this has not been gone: a back-off that ends, one more try, and the next back-off.
const REMEMBERED: Duration = Duration::from_secs(120);

/// More causes than these in one pool are counted, not listed.
const MOST_FINDINGS: usize = 20;

/// Since when each finding has been there.
#[derive(Clone, Debug, Default)]
pub struct Since(BTreeMap<(Code, String), (Timestamp, Timestamp)>);

impl Since {
    /// Since when this has been so, which it is at this moment. `cause` is what tells it from others of its code.
    pub fn when(&mut self, code: Code, cause: &str, now: Timestamp) -> Timestamp {
        let (since, seen) = self.0.entry((code, cause.to_owned())).or_insert((now, now));
        *seen = now;
        *since
    }

    /// Forgets what has not been so for a while.
    pub fn forget(&mut self, now: Timestamp) {
        self.0.retain(|_, (_, seen)| now < *seen + REMEMBERED);
    }
}

/// What is wrong, by code and cause.
#[derive(Debug, Default)]
pub(super) struct Causes(BTreeMap<(Code, String), Effect>);

/// What a cause does.
#[derive(Debug)]
struct Effect {
    severity: Severity,
    fix: Option<String>,
    /// Job requests that wait because of it.
    waiting: u32,
    /// Agents that show it.
    agents: u32,
}

impl Causes {
    fn of(&mut self, code: Code, severity: Severity, cause: &str, fix: Option<String>) -> &mut Effect {
        let effect = || Effect { severity, fix, waiting: 0, agents: 0 };
        self.0.entry((code, cause.to_owned())).or_insert_with(effect)
    }

    /// Something that is known to be wrong.
    pub(super) fn add(&mut self, finding: &Finding) {
        self.of(finding.code, finding.severity, &finding.message, finding.fix.clone());
    }

    /// Something keeps one more job request.
    pub(super) fn waits(&mut self, code: Code, cause: &str, fix: Option<String>) {
        self.of(code, code.severity(), cause, fix).waiting += 1;
    }

    /// Something that so many agents show.
    pub(super) fn verdict(&mut self, verdict: &Verdict, pool: &str, host: HostKind, agents: u32) {
        if let Some(code) = verdict.code() {
            self.of(code, code.severity(), &verdict.cause(), verdict.fix(pool, host)).agents += agents;
        }
    }

    /// The pool is paused, or given up.
    pub(super) fn paused(&mut self, pool: &PoolPolicy, host: HostKind, retire: bool, now: Timestamp) {
        let verdict = match pool.pause_at(now) {
            Some(Pause { reason, until, .. }) if !retire => Verdict::Paused { reason: reason.clone(), until: *until },
            _ => Verdict::Retiring,
        };
        self.verdict(&verdict, &pool.name, host, 0);
    }

    /// The worst first.
    pub(super) fn findings(self, pool: &str, since: &mut Since, now: Timestamp) -> Vec<Finding> {
        let mut findings: Vec<(u32, Finding)> = self
            .0
            .into_iter()
            .map(|((code, cause), Effect { severity, fix, waiting, agents })| {
                let since = since.when(code, &cause, now);
                let message = match (waiting, agents) {
                    (0, 0) => cause,
                    (0, 1) => format!("{cause} (1 agent)"),
                    (0, agents) => format!("{cause} ({agents} agents)"),
                    (1, _) => format!("{cause} (1 job request waits)"),
                    (waiting, _) => format!("{cause} ({waiting} job requests wait)"),
                };
                (waiting, Finding { code, severity, message, fix, since: Some(since) })
            })
            .collect();
        since.forget(now);
        findings.sort_by(|(one_waits, one), (other_waits, other)| {
            (other.severity, other_waits).cmp(&(one.severity, one_waits)).then(one.code.cmp(&other.code))
        });
        let omitted = findings.len().saturating_sub(MOST_FINDINGS);
        let mut findings: Vec<Finding> = findings.into_iter().map(|(_, finding)| finding).take(MOST_FINDINGS).collect();
        if let Some(last) = findings.last_mut().filter(|_| omitted > 0) {
            last.message = format!("{}; and {omitted} other causes in pool {}", last.message, shortened(pool, 100));
        }
        findings
    }
}
