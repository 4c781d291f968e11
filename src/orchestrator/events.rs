//! Which changes of the status are worth an Event: what is newly wrong, and a pause that is over.

use std::collections::BTreeSet;

use crate::{
    cluster::{Happening, Subject},
    core::{Code, Finding, Report, Severity},
    text::harmless,
};

/// More Events than these at once would only hide each other.
const MOST: usize = 20;

/// What has been told.
#[derive(Debug, Default)]
pub(super) struct Events {
    /// By pool, or none: the codes that stand.
    standing: BTreeSet<(Option<String>, Code)>,
    /// By run: the troubles that were told.
    runs: BTreeSet<(String, Code)>,
}

/// A live run that something keeps from starting.
pub(super) struct TroubledRun {
    pub(super) name: String,
    pub(super) code: Code,
    pub(super) message: String,
}

impl Events {
    /// What somebody else has written is told already.
    pub(super) fn knows(&mut self, report: &Report) {
        self.standing = standing(report).map(|(pool, finding)| (pool.map(str::to_owned), finding.code)).collect();
    }

    /// What is new in a report.
    pub(super) fn since(&mut self, report: &Report, runs: &[TroubledRun]) -> Vec<Happening> {
        let mut happenings = Vec::new();
        let mut now = BTreeSet::new();
        for (pool, finding) in standing(report) {
            let key = (pool.map(str::to_owned), finding.code);
            if !self.standing.contains(&key) && !now.contains(&key) {
                happenings.push(Happening {
                    subject: Subject::Orchestrator,
                    reason: finding.code.reason(),
                    message: of_pool(pool, &finding.message),
                    warning: true,
                });
            }
            now.insert(key);
        }
        for (pool, _) in self.standing.iter().filter(|key| key.1 == Code::Paused && !now.contains(*key)) {
            happenings.push(Happening {
                subject: Subject::Orchestrator,
                reason: "Resumed",
                message: of_pool(pool.as_deref(), "the pool is no longer paused"),
                warning: false,
            });
        }
        self.standing = now;

        let troubled: BTreeSet<(String, Code)> = runs.iter().map(|run| (run.name.clone(), run.code)).collect();
        for run in runs.iter().filter(|run| !self.runs.contains(&(run.name.clone(), run.code))) {
            happenings.push(Happening {
                subject: Subject::Job(run.name.clone()),
                reason: run.code.reason(),
                message: shown(&run.message),
                warning: true,
            });
        }
        self.runs = troubled;
        happenings.truncate(MOST);
        happenings
    }
}

/// The findings that a person must know of.
fn standing(report: &Report) -> impl Iterator<Item = (Option<&str>, &Finding)> {
    let of_pools =
        report.pools.iter().flat_map(|pool| pool.findings.iter().map(|finding| (Some(pool.name.as_str()), finding)));
    let of_all = report.findings.iter().map(|finding| (None, finding));
    of_all.chain(of_pools).filter(|(_, finding)| finding.severity >= Severity::Warning)
}

fn of_pool(pool: Option<&str>, message: &str) -> String {
    shown(&pool.map_or(message.to_owned(), |pool| format!("pool {pool}: {message}")))
}

/// A message as an Event may show it. The API server takes a kilobyte.
fn shown(message: &str) -> String {
    harmless(message).chars().take(800).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::{OrchestratorReport, OrganizationReport, PoolReport, PoolState};

    fn report(findings: Vec<Finding>) -> Report {
        let pool = PoolReport {
            name: "Linux".into(),
            state: PoolState::Healthy,
            paused: None,
            last_polled_at: None,
            queued: 0,
            oldest_queued_at: None,
            starting: 0,
            busy: 0,
            idle: 0,
            offline: None,
            min: 0,
            max: None,
            templates: Vec::new(),
            findings,
            requests: Vec::new(),
            requests_omitted: 0,
            agents: Vec::new(),
            agents_omitted: 0,
            runs: Vec::new(),
        };
        Report {
            api_version: crate::core::API_VERSION.into(),
            kind: "Status".into(),
            reported_at: jiff::Timestamp::UNIX_EPOCH,
            orchestrator: OrchestratorReport {
                version: String::new(),
                identity: String::new(),
                started_at: jiff::Timestamp::UNIX_EPOCH,
                installation: String::new(),
                installation_short: String::new(),
                host: "kubernetes".into(),
                namespace: None,
                lease: None,
            },
            organization: OrganizationReport { url: String::new(), authentication: "pat".into(), identity: None },
            conditions: Vec::new(),
            findings: Vec::new(),
            pools: vec![pool],
        }
    }

    fn reasons(happenings: &[Happening]) -> Vec<&'static str> {
        happenings.iter().map(|happening| happening.reason).collect()
    }

    #[test]
    fn what_is_wrong_is_told_once_and_the_end_of_a_pause_too() {
        let finding = |code, message: &str| Finding::new(code, message, None);
        let mut events = Events::default();
        let wrong = report(vec![
            finding(Code::TokenRejected, "401"),
            finding(Code::Paused, "release"),
            finding(Code::Pinned, "only information"),
        ]);
        let told = events.since(&wrong, &[]);
        assert_eq!(reasons(&told), ["TokenRejected", "Paused"]);
        assert_eq!(told[0].message, "pool Linux: 401");
        assert!(events.since(&wrong, &[]).is_empty());
        assert_eq!(
            reasons(&events.since(&report(vec![finding(Code::Paused, "other words")]), &[])),
            Vec::<&str>::new()
        );
        assert_eq!(reasons(&events.since(&report(vec![]), &[])), ["Resumed"]);
        assert_eq!(reasons(&events.since(&wrong, &[])), ["TokenRejected", "Paused"], "it is news again");

        let mut successor = Events::default();
        successor.knows(&wrong);
        assert!(successor.since(&wrong, &[]).is_empty());
    }

    #[test]
    fn an_event_shows_nothing_that_steers() {
        let finding = Finding::new(Code::TokenRejected, "a\u{202e}b\nc", None);
        let run = TroubledRun { name: "run-1".into(), code: Code::ImageNotPulled, message: "no\r\u{9b}tag".into() };
        let told = Events::default().since(&report(vec![finding]), &[run]);
        assert_eq!(told[0].message, "pool Linux: a\\u{202e}b\\nc");
        assert_eq!(told[1].message, "no\\r\\u{9b}tag");
    }

    #[test]
    fn an_agent_in_trouble_is_told_of_once_on_its_job() {
        let runs = [TroubledRun { name: "run-1".into(), code: Code::ImageNotPulled, message: "no such tag".into() }];
        let mut events = Events::default();
        let told = events.since(&report(vec![]), &runs);
        assert_eq!(told[0].subject, Subject::Job("run-1".into()));
        assert!(events.since(&report(vec![]), &runs).is_empty());
    }
}
