//! The tests that concern the install and a pool, whatever is asked about: does anybody run, lead, report; does Azure
//! DevOps answer; is the pool there and not paused.

use std::time::Duration;

use jiff::Timestamp;

use super::answer::{Cause, Explanation};
use crate::{
    commands::observed::{InstallStatus, since},
    core::{Code, Finding, PoolReport, Severity, shell_operand},
    output::age,
};

/// While polls come this often, Azure DevOps' wish for patience delays nobody much.
const POLLED_LATELY: Duration = Duration::from_secs(60);

/// What is known, and at which moment.
pub(super) struct Known<'a> {
    pub(super) status: &'a InstallStatus,
    pub(super) now: Timestamp,
}

impl Known<'_> {
    pub(super) fn ago(&self, moment: Timestamp) -> String {
        format!("{} ago", age(since(moment, self.now)))
    }

    /// The first finding of these codes that concerns this pool or none.
    pub(super) fn finding(&self, codes: &[Code], pool: Option<&str>) -> Option<&Finding> {
        let concerns = |of: &Option<String>| match (of, pool) {
            (None, _) => true,
            (Some(of), Some(pool)) => of.to_lowercase() == pool.to_lowercase(),
            (Some(_), None) => false,
        };
        let found = self.status.findings.iter().filter(|found| concerns(&found.pool));
        found.map(|found| &found.finding).find(|finding| codes.contains(&finding.code))
    }

    fn cause(&self, codes: &[Code], pool: Option<&str>) -> Option<Cause> {
        self.finding(codes, pool).map(Cause::of)
    }

    /// Whether the orchestrator runs, leads and reports.
    pub(super) fn test_orchestrator(&self, explanation: &mut Explanation) {
        let orchestrator = &self.status.orchestrator;
        let not_ready = self.finding(&[Code::OrchestratorNotReady], None);
        // One that is ready of two is enough to lead.
        let cause = not_ready.map(|finding| Cause { stops: finding.severity == Severity::Error, ..Cause::of(finding) });
        let unread = self.finding(&[Code::Forbidden, Code::ClusterUnreachable], None);
        explanation.test(cause, || {
            if !self.status.in_cluster() {
                return format!("the orchestrator on {} runs", orchestrator.leader.as_deref().unwrap_or("<unknown>"));
            }
            let name = orchestrator.deployment.as_deref().unwrap_or("<unknown>");
            let count = |number: Option<i32>| number.map_or("?".to_owned(), |number| number.to_string());
            let (ready, desired) = (count(orchestrator.ready), count(orchestrator.desired));
            format!("the orchestrator {}/{name} runs: {ready}/{desired} ready", self.status.namespace)
        });
        if let Some(finding) = unread.filter(|finding| finding.severity < Severity::Error) {
            explanation.note(Cause::of(finding));
        }
        if self.status.in_cluster() {
            explanation.test(self.cause(&[Code::NoLeader], None), || {
                let renewed = orchestrator.lease_renewed_at.map(|at| format!(", renewed {}", self.ago(at)));
                let leader = orchestrator.leader.as_deref().unwrap_or("somebody");
                format!("{leader} leads{}", renewed.unwrap_or_default())
            });
        }
        let report = self.cause(&[Code::StatusStale, Code::StatusMissing], None);
        let unread = unread.filter(|finding| finding.severity == Severity::Error).map(Cause::of);
        explanation.test(report.or(unread), || match orchestrator.reported_at {
            Some(at) => format!("it reported {}", self.ago(at)),
            None => "it has reported".to_owned(),
        });
    }

    /// Whether Azure DevOps answers, and agents can be made.
    pub(super) fn test_surroundings(&self, explanation: &mut Explanation, pool: &PoolReport) {
        let name = Some(pool.name.as_str());
        let access = [Code::TokenRejected, Code::TokenLacksRights, Code::OrganizationNotFound, Code::Unreachable];
        let impatient = self.finding(&[Code::Throttled, Code::ServiceFailing], name);
        let is_late = pool.last_polled_at.is_none_or(|polled| since(polled, self.now) > POLLED_LATELY);
        let impatient = impatient.map(|finding| Cause { stops: is_late, ..Cause::of(finding) });
        explanation.test(self.cause(&access, name).or(impatient), || {
            let url = self.status.organization.as_ref().map(|organization| organization.url.as_str());
            let polled = pool.last_polled_at.map(|polled| format!(", last poll {}", self.ago(polled)));
            format!("{} answers{}", url.unwrap_or("Azure DevOps"), polled.unwrap_or_default())
        });
        explanation.test(
            self.cause(&[Code::HostFailing, Code::OrchestratorForbidden, Code::NamespaceMissing], name),
            || {
                if self.status.in_cluster() {
                    format!("agents can be made in namespace {}", self.status.agents_namespace)
                } else {
                    format!("the host {} answers", self.status.orchestrator.host.as_deref().unwrap_or_default())
                }
            },
        );
    }

    /// Whether the pool is there, ours to serve, and not paused.
    pub(super) fn test_pool(&self, explanation: &mut Explanation, pool: &PoolReport) {
        let name = Some(pool.name.as_str());
        explanation.test(self.cause(&[Code::PoolNotFound, Code::PoolIsHosted, Code::PoolNotManageable], name), || {
            let live: u32 = pool.templates.iter().map(|template| template.live).sum();
            format!("pool {} is served, {live} agents are live", pool.name)
        });
        if let Some(finding) = self.finding(&[Code::NoPlaceholder], name) {
            explanation.note(Cause::of(finding));
        }
        let paused = pool.paused.as_ref().map(|pause| {
            let why = pause.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
            let until = pause.until.map(|until| format!(", until {until:.0}")).unwrap_or_default();
            let fix = format!("kubectl ado resume {}", shell_operand(&pool.name));
            Cause {
                code: Code::Paused,
                message: format!("pool {} is paused{until}{why}", pool.name),
                fix: Some(fix),
                stops: true,
            }
        });
        explanation.test(self.cause(&[Code::Paused], name).or(paused), || "it is not paused".to_owned());
    }
}
