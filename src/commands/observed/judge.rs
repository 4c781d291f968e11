//! From what was observed to how it stands. Pure: the time is passed in.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::document::{InstallStatus, Orchestrator, PlacedFinding};
use crate::{
    cluster::{ClusterError, ErrorKind, LeaseSeen, Observation, Rollout},
    core::{API_VERSION, Code, Finding, PoolReport, Report, Severity},
    output::age,
};

/// The orchestrator writes at least every 30 seconds.
const STALE_AFTER: Duration = Duration::from_secs(90);

/// How much this machine's clock and the orchestrator's may differ before a Lease that is renewed every five seconds
/// seems to have run out.
pub(in crate::commands) const CLOCKS_DIFFER: Duration = Duration::from_secs(15);

/// The term of a Lease that names none.
const USUAL_TERM: Duration = Duration::from_secs(15);

/// How long ago a moment was; nothing where it is yet to come.
pub(in crate::commands) fn since(moment: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(now.duration_since(moment)).unwrap_or_default()
}

/// The pod of an identity, which has something random after it.
fn pod_of(identity: &str) -> String {
    identity.rsplit_once('_').map_or(identity, |(pod, _)| pod).to_owned()
}

/// How an install stands, by this program's version and at this moment.
pub(in crate::commands) fn judge(seen: &Observation, version: &str, now: Timestamp) -> InstallStatus {
    let mut judge = Judge { seen, now, findings: Vec::new() };
    let rollout = judge.rollout();
    let (leader, leads) = judge.leader();
    let (lease_name, report, is_old) = judge.report();
    let report = report.as_ref();
    if let Some(report) = report {
        reported(report, &mut judge.findings);
    }
    let by_report = report.map(|report| report.orchestrator.version.clone());
    let running = by_report.or_else(|| rollout.as_ref().and_then(|rollout| rollout.version.clone()));
    if let Some(running) = running.as_ref().filter(|running| is_other_version(running, version)) {
        let message = format!("the plugin is {version}, the orchestrator {running}");
        judge.add(Code::VersionsDiffer, message, Some(versions_fix(running, version).to_owned()));
    }
    let findings = judge.findings;
    let lease = seen.lease.as_ref().ok().and_then(Option::as_ref);
    let orchestrator = Orchestrator {
        deployment: rollout.as_ref().map(|rollout| rollout.name.clone()),
        desired: rollout.as_ref().map(|rollout| rollout.desired),
        ready: rollout.as_ref().map(|rollout| rollout.ready),
        image: rollout.as_ref().and_then(|rollout| rollout.image.clone()),
        version: running,
        lease: lease_name.or_else(|| lease.map(|lease| lease.name.clone())),
        leader,
        lease_renewed_at: lease.and_then(|lease| lease.record.renewed_at),
        ..report.map(Orchestrator::of_report).unwrap_or_default()
    };
    let stale = is_old || leads == Some(false);
    status(seen.namespace.clone(), seen.agents_namespace.clone(), orchestrator, report, findings, stale)
}

/// A tag such as `v0.1.0` is the same version; one that is no version (`latest`, `dev`) says nothing.
pub(in crate::commands) fn is_other_version(running: &str, ours: &str) -> bool {
    let running = running.strip_prefix('v').unwrap_or(running);
    running.starts_with(|c: char| c.is_ascii_digit()) && running != ours
}

/// What to do about an orchestrator of another version.
pub(in crate::commands) fn versions_fix(running: &str, ours: &str) -> &'static str {
    if is_newer(running, ours) { UPGRADE_THE_PLUGIN } else { "kubectl ado upgrade" }
}

/// What to do about a plugin that is older than the orchestrator: `kubectl ado upgrade` would take that one back.
pub(in crate::commands) const UPGRADE_THE_PLUGIN: &str = "kubectl krew upgrade ado";

/// Whether a version is newer than ours. What is no version says nothing.
pub(in crate::commands) fn is_newer(running: &str, ours: &str) -> bool {
    let version = |text: &str| semver::Version::parse(text.strip_prefix('v').unwrap_or(text)).ok();
    version(running).zip(version(ours)).is_some_and(|(running, ours)| running > ours)
}

/// How an orchestrator without a cluster stands, by its report alone.
pub(in crate::commands) fn judge_report(report: &Report, version: &str, now: Timestamp) -> InstallStatus {
    let mut findings = Vec::new();
    reported(report, &mut findings);
    let old = since(report.reported_at, now);
    let is_old = old > STALE_AFTER;
    if is_old {
        let message = format!("the status was written {} ago; what is shown is how things were then", age(old));
        let fix = "see in its log whether the orchestrator still runs".to_owned();
        findings.push(PlacedFinding { pool: None, finding: Finding::new(Code::StatusStale, message, Some(fix)) });
    }
    let running = report.orchestrator.version.clone();
    if is_other_version(&running, version) {
        let message = format!("the plugin is {version}, the orchestrator {running}");
        let finding = Finding::new(Code::VersionsDiffer, message, Some("use the same version of both".to_owned()));
        findings.push(PlacedFinding { pool: None, finding });
    }
    let namespace = report.orchestrator.namespace.clone().unwrap_or_default();
    let orchestrator = Orchestrator {
        version: Some(running),
        leader: Some(pod_of(&report.orchestrator.identity)),
        ..Orchestrator::of_report(report)
    };
    status(namespace.clone(), namespace, orchestrator, Some(report), findings, is_old)
}

fn status(
    namespace: String,
    agents_namespace: String,
    orchestrator: Orchestrator,
    report: Option<&Report>,
    mut findings: Vec<PlacedFinding>,
    stale: bool,
) -> InstallStatus {
    findings.sort_by_key(|found| (std::cmp::Reverse(found.finding.severity), found.finding.code));
    InstallStatus {
        api_version: API_VERSION.to_owned(),
        kind: "InstallStatus".to_owned(),
        healthy: !findings.iter().any(|found| found.finding.severity == Severity::Error),
        stale,
        namespace,
        agents_namespace,
        orchestrator,
        organization: report.map(|report| report.organization.clone()),
        conditions: report.map(|report| report.conditions.clone()).unwrap_or_default(),
        findings,
        pools: report.map(|report| report.pools.clone()).unwrap_or_default(),
        jobs: None,
    }
}

impl Orchestrator {
    /// What its own report tells of it.
    fn of_report(report: &Report) -> Self {
        Self {
            host: Some(report.orchestrator.host.clone()),
            installation: Some(report.orchestrator.installation.clone()),
            started_at: Some(report.orchestrator.started_at),
            reported_at: Some(report.reported_at),
            last_polled_at: report.pools.iter().filter_map(|pool| pool.last_polled_at).max(),
            ..Self::default()
        }
    }
}

struct Judge<'a> {
    seen: &'a Observation,
    now: Timestamp,
    findings: Vec<PlacedFinding>,
}

impl Judge<'_> {
    fn place(&mut self, finding: Finding) {
        self.findings.push(PlacedFinding { pool: None, finding });
    }

    fn add(&mut self, code: Code, message: impl Into<String>, fix: Option<String>) {
        self.place(Finding::new(code, message, fix));
    }

    fn logs(&self) -> Option<String> {
        Some(format!("kubectl ado logs -n {}", self.seen.namespace))
    }

    /// A section that cannot be read: who may not is told so, and the rest is shown.
    fn unread(&mut self, error: &ClusterError, severity: Severity) {
        let code = if error.kind == ErrorKind::Forbidden { Code::Forbidden } else { Code::ClusterUnreachable };
        let mut finding = Finding::new(code, error.message.clone(), error.fix.clone());
        finding.severity = severity;
        self.place(finding);
    }

    fn rollout(&mut self) -> Option<Rollout> {
        let rollout = match &self.seen.rollout {
            Ok(rollout) => rollout.clone()?,
            Err(error) => {
                self.unread(error, Severity::Warning);
                return None;
            }
        };
        let Rollout { name, desired, ready, .. } = &rollout;
        let namespace = &self.seen.namespace;
        if *desired == 0 {
            let fix = format!("kubectl -n {namespace} scale deployment {name} --replicas=1");
            self.add(Code::OrchestratorNotReady, format!("the Deployment {name} is scaled to 0"), Some(fix));
        } else if ready < desired {
            let why = match &self.seen.pods {
                Ok(pods) => match pods.first() {
                    Some(pod) => format!("{}: {}", pod.name, pod.reason),
                    None => "it has no pods".to_owned(),
                },
                Err(error) => error.message.clone(),
            };
            let message = format!("{ready} of {desired} pods of the Deployment {name} are ready: {why}");
            let first = self.seen.pods.as_ref().ok().and_then(|pods| pods.first());
            let fix = match first {
                Some(pod) => format!("kubectl -n {namespace} describe pod {}", pod.name),
                None => format!("kubectl -n {namespace} describe deployment {name}"),
            };
            let mut finding = Finding::new(Code::OrchestratorNotReady, message, Some(fix));
            if *ready > 0 {
                finding.severity = Severity::Warning;
            }
            self.place(finding);
        }
        Some(rollout)
    }

    /// Who leads, and whether anybody does, where that can be told.
    fn leader(&mut self) -> (Option<String>, Option<bool>) {
        let lease = match &self.seen.lease {
            Ok(lease) => lease.clone(),
            Err(error) => {
                self.unread(error, Severity::Warning);
                return (None, None);
            }
        };
        let fix = self.logs();
        let Some(LeaseSeen { name, record }) = lease else {
            self.add(Code::NoLeader, "there is no Lease: no orchestrator has ever led", fix);
            return (None, Some(false));
        };
        let Some(holder) = record.holder.as_deref().filter(|holder| !holder.is_empty()) else {
            self.add(Code::NoLeader, format!("nobody holds the Lease {name}"), fix);
            return (None, Some(false));
        };
        let holder = pod_of(holder);
        let silent = record.renewed_at.map(|renewed| since(renewed, self.now));
        let term = record.term.unwrap_or(USUAL_TERM);
        match silent {
            Some(silent) if silent > term + CLOCKS_DIFFER => {
                let message =
                    format!("{holder} renewed the Lease {name} {} ago, and nobody has taken it since", age(silent));
                self.add(Code::NoLeader, message, fix);
                (Some(holder), Some(false))
            }
            _ => (Some(holder), Some(true)),
        }
    }

    /// The Lease's name, the report, and whether it is too old to believe.
    fn report(&mut self) -> (Option<String>, Option<Report>, bool) {
        let fix = self.logs();
        let status = match &self.seen.status {
            Ok(Some(status)) => status.clone(),
            Ok(None) => {
                let message = format!("there is no status in namespace \"{}\"", self.seen.agents_namespace);
                self.add(Code::StatusMissing, message, fix);
                return (None, None, false);
            }
            Err(error) => {
                self.unread(error, Severity::Error);
                return (None, None, false);
            }
        };
        match status.report {
            Ok(report) => {
                let old = since(report.reported_at, self.now);
                let is_old = old > STALE_AFTER;
                if is_old {
                    let message =
                        format!("the status was written {} ago; what is shown is how things were then", age(old));
                    self.add(Code::StatusStale, message, fix);
                }
                (Some(status.lease), Some(report), is_old)
            }
            Err(error) => {
                let message = format!("the status in {}-status cannot be understood: {error}", status.lease);
                let fix = "kubectl ado version tells which of the two is older; for a newer plugin: kubectl krew upgrade ado, for a \
                           newer orchestrator: kubectl ado upgrade";
                self.add(Code::StatusMissing, message, Some(fix.to_owned()));
                (Some(status.lease), None, false)
            }
        }
    }
}

/// What an orchestrator reports of itself and of its pools.
fn reported(report: &Report, findings: &mut Vec<PlacedFinding>) {
    let mut place = |pool: Option<&String>, finding| findings.push(PlacedFinding { pool: pool.cloned(), finding });
    for finding in &report.findings {
        place(None, finding.clone());
    }
    for pool in &report.pools {
        for finding in pool.findings.iter().cloned().chain(waiting(pool)) {
            place(Some(&pool.name), finding);
        }
    }
}

/// What stops job requests of a pool and is not among its findings: one finding for each code and fix.
fn waiting(pool: &PoolReport) -> Vec<Finding> {
    let mut stopped: BTreeMap<(Code, Option<&str>), Vec<&crate::core::RequestReport>> = BTreeMap::new();
    for request in &pool.requests {
        let Some(verdict) = request.verdict.as_ref() else { continue };
        let Some(code) = verdict.code else { continue };
        if pool.findings.iter().all(|finding| finding.code != code) {
            stopped.entry((code, verdict.fix.as_deref())).or_default().push(request);
        }
    }
    let findings = stopped.into_iter().filter_map(|((code, fix), requests)| {
        let first = requests.first()?;
        let message = &first.verdict.as_ref()?.message;
        let message = match requests.len() {
            1 => format!("job request {} waits: {message}", first.id),
            several => format!("{several} job requests wait ({}, …): {message}", first.id),
        };
        Some(Finding { since: first.queued_at, ..Finding::new(code, message, fix.map(str::to_owned)) })
    });
    findings.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{cluster::StatusSeen, core::LeaseRecord};

    const NOW: &str = "2026-01-01T12:00:00Z";

    fn now() -> Timestamp {
        NOW.parse().unwrap()
    }

    fn report(age: i64) -> Report {
        let reported_at = now() - jiff::SignedDuration::from_secs(age);
        serde_json::from_value(serde_json::json!({
            "apiVersion": API_VERSION, "kind": "Status", "reportedAt": reported_at,
            "orchestrator": {"version": "0.1.0", "identity": "kubectl-ado-7c9-x2x_abc", "startedAt": reported_at,
                "installation": "id", "installationShort": "id", "host": "kubernetes"},
            "organization": {"url": "https://dev.azure.com/contoso", "authentication": "pat"},
            "conditions": [], "pools": []
        }))
        .unwrap()
    }

    fn seen(report_age: i64, lease_age: i64) -> Observation {
        let renewed_at = Some(now() - jiff::SignedDuration::from_secs(lease_age));
        let holder = Some("kubectl-ado-7c9-x2x_abc".to_owned());
        let record = LeaseRecord { holder, renewed_at, term: Some(Duration::from_secs(15)), ..LeaseRecord::default() };
        let rollout =
            Rollout { name: "kubectl-ado".into(), desired: 1, ready: 1, image: None, version: Some("0.1.0".into()) };
        Observation {
            namespace: "ado-system".into(),
            agents_namespace: "ado-system".into(),
            rollout: Ok(Some(rollout)),
            status: Ok(Some(StatusSeen { lease: "l".into(), report: Ok(report(report_age)) })),
            lease: Ok(Some(LeaseSeen { name: "l".into(), record })),
            pods: Ok(Vec::new()),
        }
    }

    fn codes(status: &InstallStatus) -> Vec<u16> {
        status.findings.iter().map(|found| found.finding.code.number()).collect()
    }

    #[test]
    fn a_fresh_report_and_a_lease_that_is_renewed_are_well() {
        let status = judge(&seen(30, 3), "0.1.0", now());
        assert!(status.healthy && !status.stale, "{status:?}");
        assert_eq!(status.orchestrator.leader.as_deref(), Some("kubectl-ado-7c9-x2x"));
    }

    #[test]
    fn a_report_is_stale_by_its_own_age_or_when_nobody_leads() {
        let old = judge(&seen(91, 3), "0.1.0", now());
        assert_eq!((codes(&old), old.stale), (vec![504], true));
        let leaderless = judge(&seen(30, 31), "0.1.0", now());
        assert_eq!((codes(&leaderless), leaderless.stale), (vec![503], true));
        // A machine whose clock is behind sees a report of the future.
        assert!(judge(&seen(-300, -300), "0.1.0", now()).healthy);
    }

    #[test]
    fn a_section_that_may_not_be_read_says_so_and_the_rest_is_judged() {
        let forbidden = ClusterError { kind: ErrorKind::Forbidden, message: "cannot list".into(), fix: None };
        let status = judge(&Observation { lease: Err(forbidden.clone()), ..seen(30, 3) }, "0.1.0", now());
        assert_eq!((codes(&status), status.healthy), (vec![302], true));
        let status = judge(&Observation { status: Err(forbidden), ..seen(30, 3) }, "0.1.0", now());
        assert_eq!((codes(&status), status.healthy), (vec![302], false));
    }

    #[test]
    fn versions_are_compared_where_they_are_versions() {
        assert!(is_other_version("v0.2.0", "0.1.0"));
        assert!(!is_other_version("v0.1.0", "0.1.0"));
        assert!(!is_other_version("latest", "0.1.0"));
        for (running, newer) in [("v0.2.0", true), ("0.10.0", true), ("0.1.1-rc.1", true), ("0.1.0-rc.1", false)] {
            assert_eq!(is_newer(running, "0.1.0"), newer, "{running}");
        }
        assert!(!is_newer("latest", "0.1.0") && !is_newer("0.1.0", "0.1.0"));
        assert_eq!(versions_fix("0.2.0", "0.1.0"), UPGRADE_THE_PLUGIN);
        assert_eq!(versions_fix("0.0.9", "0.1.0"), "kubectl ado upgrade");
    }
}
