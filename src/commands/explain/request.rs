//! Why a job request waits.

use super::{
    answer::{Cause, Explanation},
    common::Known,
};
use crate::{
    commands::observed::{InstallStatus, since},
    core::{Code, PoolReport, Progress, RequestId, RequestReport, RunPhase, VerdictReport},
    hosts::kubernetes::AgentJob,
    output::age,
};

const DEMANDS: &[Code] = &[Code::UnsatisfiedDemand, Code::Pinned];
const LIMITS: &[Code] = &[Code::AtMaximum, Code::ParallelJobsUsedUp];

const REFUSED: &[Code] = &[Code::TemplateRefused, Code::PodRefused, Code::QuotaUsedUp];

/// The job request of this number, and its pool.
pub(super) fn find(status: &InstallStatus, id: RequestId) -> Option<(&PoolReport, &RequestReport)> {
    status.pools.iter().find_map(|pool| Some((pool, pool.requests.iter().find(|request| request.id == id)?)))
}

/// Why a job request that nobody knows of waits: the orchestrator may not look, or it is over, or waits elsewhere.
pub(super) fn unknown(known: &Known<'_>, name: &str, jobs: &[AgentJob]) -> Explanation {
    let mut explanation = Explanation::new("request", name, format!("job request {name}"));
    known.test_orchestrator(&mut explanation);
    let omitted: u32 = known.status.pools.iter().map(|pool| pool.requests_omitted).sum();
    let mut message = format!("no pool that is served has it: {}", known.status.pool_names());
    if omitted > 0 {
        message.push_str(&format!("; {omitted} more job requests are not in the status"));
    }
    if let Some(job) = jobs.last() {
        let (noun, ago) = (known.status.host().noun(), known.ago(job.created_at));
        message.push_str(&format!("; the {noun} {} was started for it {ago}", job.name));
    }
    let fix = "kubectl ado queue lists what waits; the pool's page in Azure DevOps (Organization settings, Agent pools, Jobs) shows \
               where it went";
    let cause = Cause { code: Code::RequestUnknown, message, fix: Some(fix.to_owned()), stops: true };
    explanation.test(Some(cause), String::new);
    explanation
}

/// Why a job request waits, or what became of it. `jobs` are those that were started for it.
pub(super) fn explain(known: &Known<'_>, pool: &PoolReport, request: &RequestReport, jobs: &[AgentJob]) -> Explanation {
    let mut explanation = Explanation::new("request", request.id.to_string(), title(known, pool, request));
    if let Some(received) = request.received_at {
        let agent = request.agent.as_deref().unwrap_or("an agent");
        explanation.test(None, || format!("{agent} received it {}", known.ago(received)));
        explanation.conclude(|| "It does not wait any more.".to_owned());
        return explanation;
    }
    known.test_orchestrator(&mut explanation);
    explanation.test(None, || "no agent has received it yet".to_owned());
    known.test_surroundings(&mut explanation, pool);
    known.test_pool(&mut explanation, pool);
    let verdict = request.verdict.as_ref();
    let by_verdict = |codes: &[Code]| {
        let verdict = verdict?;
        cause_of(verdict).filter(|cause| codes.contains(&cause.code))
    };
    explanation.test(by_verdict(DEMANDS), || match request.demands.as_slice() {
        [] => "it demands nothing".to_owned(),
        demands => format!("an agent template meets its demands: {}", demands.join(", ")),
    });
    explanation.test(by_verdict(LIMITS), || match pool.max {
        Some(max) => format!("no maximum is reached: {} of {max} agents", pool.starting + pool.busy + pool.idle),
        None => "no maximum is reached".to_owned(),
    });
    // What is left of the verdicts concerns the agent that was, or would be, started for it.
    let of_verdict = verdict.and_then(cause_of);
    let job = verdict.and_then(|verdict| jobs.iter().find(|job| Some(&job.name) == verdict.run.as_ref()));
    let job = job.or(jobs.iter().rfind(|job| job.phase == RunPhase::Live));
    let of_job = job.and_then(|job| trouble_of(known, job));
    // A start that was refused is told of the pool.
    let refused = pool.findings.iter().find(|finding| REFUSED.contains(&finding.code)).map(Cause::of);
    explanation.test(of_verdict.or(of_job).or(refused), || match (job, verdict) {
        (Some(job), _) => told(known, job),
        (None, Some(verdict)) => format!("an agent is seen to: {}", verdict.reason),
        (None, None) => "the planner has nothing against it".to_owned(),
    });
    explanation.conclude(|| match verdict {
        Some(verdict) => format!("Nothing stops it: {}.", verdict.message.trim_end_matches('.')),
        None => "Nothing stops it.".to_owned(),
    });
    explanation
}

fn title(known: &Known<'_>, pool: &PoolReport, request: &RequestReport) -> String {
    let pipeline = request.pipeline.as_ref().map(|name| format!(" \"{name}\"")).unwrap_or_default();
    let run = request.pipeline_run.as_ref().map(|name| format!(" ({name})")).unwrap_or_default();
    let queued = request.queued_at.map(|at| format!(" queued {}", age(since(at, known.now)))).unwrap_or_default();
    format!("job request {}{pipeline}{run}{queued} in pool {}", request.id, pool.name)
}

/// What a verdict says stands in the way. An image that is being tried out is on its way; all else stops.
pub(super) fn cause_of(verdict: &VerdictReport) -> Option<Cause> {
    let code = verdict.code?;
    let until = verdict.until.map(|until| format!(" (next try {until:.0})"));
    let until = until.filter(|_| !verdict.message.contains("until")).unwrap_or_default();
    let message = format!("{}{until}", verdict.message);
    Some(Cause { code, message, fix: verdict.fix.clone(), stops: code != Code::TryingOut })
}

/// What keeps a Job's agent from starting, by the cluster or another host itself.
pub(super) fn trouble_of(known: &Known<'_>, job: &AgentJob) -> Option<Cause> {
    let trouble = job.trouble.as_ref()?;
    let fix = trouble.kind.fix(known.status.host());
    let message = format!("{}: {}", job.name, trouble.message);
    Some(Cause { code: trouble.kind.code(), message, fix: Some(fix.to_owned()), stops: true })
}

/// How far a Job, or what stands for it on another host, has come.
pub(super) fn told(known: &Known<'_>, job: &AgentJob) -> String {
    let place = job.node.as_ref().map(|node| format!(" on node {node}")).unwrap_or_default();
    let how = match (&job.phase, job.progress) {
        (RunPhase::Succeeded(_), _) => "has ended well".to_owned(),
        (RunPhase::Failed(_, reason), _) => format!("has failed: {reason}"),
        (RunPhase::Live, Some(progress)) if !known.status.in_cluster() => match progress {
            Progress::Queued => "waits in a queue",
            Progress::Pending => "waits for a place",
            Progress::Placed => "starts",
            Progress::Running => "runs",
            Progress::Ended => "has ended",
        }
        .to_owned(),
        (RunPhase::Live, None) => "has no pod yet".to_owned(),
        (RunPhase::Live, Some(Progress::Queued)) => "is suspended: a queue of the cluster holds it".to_owned(),
        (RunPhase::Live, Some(Progress::Pending)) => "has a pod that waits for a node".to_owned(),
        (RunPhase::Live, Some(Progress::Placed)) => format!("has a pod that starts{place}"),
        (RunPhase::Live, Some(Progress::Running)) => format!("has a pod that runs{place}"),
        (RunPhase::Live, Some(Progress::Ended)) => "has a pod that has ended".to_owned(),
    };
    format!("the {} {} {how}", known.status.host().noun(), job.name)
}
