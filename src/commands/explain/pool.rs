//! Whether anything stops the job requests of a pool.

use super::{
    answer::{Cause, Explanation},
    common::Known,
};
use crate::core::{Code, PoolReport};

const DEMANDS: &[Code] = &[Code::UnsatisfiedDemand];
const LIMITS: &[Code] = &[Code::AtMaximum, Code::ParallelJobsUsedUp];
const AGENTS: &[Code] = &[
    Code::PodRefused,
    Code::QuotaUsedUp,
    Code::ImageNotPulled,
    Code::TemplateRefused,
    Code::Unschedulable,
    Code::VolumeMissing,
    Code::AgentsFail,
];
const NOTES: &[Code] = &[Code::Pinned, Code::TryingOut, Code::StartTimeout, Code::VersionsDiffer, Code::ClusterTooOld];

/// A pool by its name, where the orchestrator has not told of any.
pub(super) fn unreported(known: &Known<'_>, name: &str) -> Explanation {
    let mut explanation = Explanation::new("pool", name, format!("pool {name}"));
    known.test_orchestrator(&mut explanation);
    explanation
}

/// What stops a pool's job requests.
pub(super) fn explain(known: &Known<'_>, pool: &PoolReport) -> Explanation {
    let (queued, starting, busy, idle) = (pool.queued, pool.starting, pool.busy, pool.idle);
    let title = format!("pool {}: {queued} queued, {starting} starting, {busy} busy, {idle} idle", pool.name);
    let mut explanation = Explanation::new("pool", pool.name.clone(), title);
    known.test_orchestrator(&mut explanation);
    known.test_surroundings(&mut explanation, pool);
    let name = Some(pool.name.as_str());
    let find = |codes: &[Code]| known.finding(codes, name).map(Cause::of);
    explanation.test(find(&[Code::ConfigRejected]), || "its configuration is accepted".to_owned());
    known.test_pool(&mut explanation, pool);
    explanation.test(find(DEMANDS), || "an agent template meets the demands of each job request".to_owned());
    explanation.test(find(LIMITS), || match pool.max {
        Some(max) => format!("no maximum is in the way: {} of {max} agents", starting + busy + idle),
        None => "no maximum is in the way".to_owned(),
    });
    explanation.test(find(AGENTS), || "its agents start".to_owned());
    for template in &pool.templates {
        explanation.test(None, || template.registers());
    }
    for code in NOTES {
        if let Some(finding) = known.finding(&[*code], name) {
            explanation.note(Cause::of(finding));
        }
    }
    explanation.conclude(|| match queued {
        0 => "Nothing waits.".to_owned(),
        _ => "Nothing stops its job requests.".to_owned(),
    });
    explanation
}
