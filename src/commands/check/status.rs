//! The checks of Azure DevOps as the orchestrator has made them, for people who may not read the token: from the
//! conditions and findings of its status.

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::ConfigMap;
use kube::{Api, api::ListParams};

use super::result::{Check, CheckResult, Section};
use crate::{
    cluster::{Cluster, ClusterError, STATUS_KEY, STATUS_LABELS},
    core::{Code, Finding, Recipe, Report, Severity},
};

/// After this time a status says how things were.
const STALE: SignedDuration = SignedDuration::from_secs(90);

/// The conditions that speak of Azure DevOps, with what they say when they are true.
const CONDITIONS: [(&str, &str, &str); 3] = [
    ("Connected", "reach", "Azure DevOps is reached"),
    ("Authorized", "token", "the token is accepted"),
    ("PoolsFound", "pools", "the agent pools are found"),
];

/// The newest status in a namespace.
pub(in crate::commands) async fn newest_report(
    cluster: &Cluster,
    namespace: &str,
) -> Result<Option<Report>, ClusterError> {
    let api: Api<ConfigMap> = Api::namespaced(cluster.client.clone(), namespace);
    let parameters = ListParams::default().labels(STATUS_LABELS);
    let what = format!("list the ConfigMaps in namespace \"{namespace}\"");
    let found = cluster.call(&what, api.list(&parameters)).await?;
    let read = |map: &ConfigMap| serde_json::from_str::<Report>(map.data.as_ref()?.get(STATUS_KEY)?).ok();
    Ok(found.items.iter().filter_map(read).max_by_key(|report| report.reported_at))
}

pub(super) fn is_stale(report: &Report, now: Timestamp) -> bool {
    now.duration_since(report.reported_at) > STALE
}

/// The checks, as the status has them. `without` says why there is no status.
pub(super) fn azure_devops(report: Option<&Report>, without: &str, now: Timestamp) -> Vec<CheckResult> {
    let Some(report) = report.filter(|report| !is_stale(report, now)) else {
        let why = if report.is_some() { "the orchestrator's status is old" } else { without };
        let give = "a token with --pat-file checks it from here";
        return CONDITIONS
            .iter()
            .map(|(_, name, what)| Check(Section::AzureDevops, name).skipped(format!("{what}: {why}; {give}")))
            .collect();
    };
    let mut results: Vec<CheckResult> = Vec::new();
    for (kind, name, what) in CONDITIONS {
        let check = Check(Section::AzureDevops, name);
        let Some(condition) = report.conditions.iter().find(|condition| condition.kind == kind) else {
            results.push(check.skipped(format!("{what}: the orchestrator's status does not say")));
            continue;
        };
        let findings = || report.findings.iter().chain(report.pools.iter().flat_map(|pool| &pool.findings));
        let code = Code::ALL.iter().copied().find(|code| code.reason() == condition.reason);
        results.push(match condition.status.as_str() {
            "True" => {
                let identity = report.organization.identity.as_ref().filter(|_| kind == "Authorized");
                check.ok(what).evidence(match identity {
                    Some(identity) => format!("says the orchestrator, which is {identity}"),
                    None => "says the orchestrator".to_owned(),
                })
            }
            "False" => {
                let code = code.unwrap_or(Code::ServiceFailing);
                let finding = findings().find(|finding| finding.code == code);
                let result = check.fail(code, code.title()).evidence(&condition.message);
                result.fix(finding.and_then(|finding| finding.fix.clone()).unwrap_or_else(|| default_fix(code)))
            }
            _ => check.info(format!("{what}: unknown")).evidence(&condition.message),
        });
    }
    for pool in &report.pools {
        let check = Check(Section::AzureDevops, "pool");
        let findings: Vec<_> =
            pool.findings.iter().filter(|finding| (100..300).contains(&finding.code.number())).collect();
        if findings.is_empty() {
            let polled = pool.last_polled_at.map(|at| format!("polled at {at:.0}")).unwrap_or_default();
            results.push(check.ok(format!("agent pool \"{}\" is served", pool.name)).evidence(polled));
        }
        results.extend(findings.into_iter().map(|finding| of_finding(check, &pool.name, finding)));
    }
    results
}

/// How the agents of each template get the right to work.
pub(super) fn registrations(report: Option<&Report>) -> Vec<CheckResult> {
    let check = Check(Section::Orchestrator, "registration");
    let pools = report.iter().flat_map(|report| &report.pools);
    let templates = pools.flat_map(|pool| pool.templates.iter().map(move |template| (pool, template)));
    templates
        .map(|(pool, template)| {
            let message = format!("agent pool \"{}\": {}", pool.name, template.registers());
            if template.registration == Recipe::Token.name() { check.info(message) } else { check.ok(message) }
        })
        .collect()
}

fn default_fix(code: Code) -> String {
    format!("kubectl ado explain {code}")
}

fn of_finding(check: Check, pool: &str, finding: &Finding) -> CheckResult {
    let message = format!("agent pool \"{pool}\": {}", finding.message);
    let result = match finding.severity {
        Severity::Info => CheckResult { code: Some(finding.code), ..check.info(message) },
        Severity::Warning => check.warn(finding.code, message),
        Severity::Error => check.fail(finding.code, message),
    };
    match &finding.fix {
        Some(fix) => result.fix(fix),
        None if finding.severity > Severity::Info => result.fix(default_fix(finding.code)),
        None => result,
    }
}
