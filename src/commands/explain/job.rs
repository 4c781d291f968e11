//! What an agent's Job is at, and what keeps it: the cluster first, then Azure DevOps.

use super::{
    answer::{Cause, Explanation},
    common::Known,
    request::{cause_of, told, trouble_of},
};
use crate::{
    commands::{agents::agent_status, jobs::of_job},
    core::{Code, RunPhase},
    hosts::kubernetes::AgentJob,
};

/// What a Job is at.
pub(super) fn explain(known: &Known<'_>, job: &AgentJob) -> Explanation {
    let (request, agent) = of_job(known.status, job);
    let of = job.pool.as_ref().map(|pool| format!(" of pool {pool}")).unwrap_or_default();
    let title = format!("{} {}{of}, created {}", known.status.host().noun(), job.name, known.ago(job.created_at));
    let mut explanation = Explanation::new("job", job.name.clone(), title);
    let logs = known.status.in_cluster().then(|| format!("kubectl ado logs {}", job.name));
    let failed = match &job.phase {
        RunPhase::Failed(_, reason) => {
            let message = match &job.failure {
                Some(failure) if failure != reason => format!("it failed: {failure} ({reason})"),
                Some(_) | None => format!("it failed: {reason}"),
            };
            Some(Cause { code: Code::AgentsFail, message, fix: logs, stops: true })
        }
        RunPhase::Live | RunPhase::Succeeded(_) => None,
    };
    explanation.test(failed, || told(known, job));
    if matches!(job.phase, RunPhase::Succeeded(_)) {
        explanation.conclude(|| "Its agent has done its work.".to_owned());
        return explanation;
    }
    // The orchestrator sees more than a pod shows, such as why there is none.
    let requests = known.status.pools.iter().flat_map(|pool| &pool.requests);
    let verdicts = requests.filter_map(|request| request.verdict.as_ref());
    let verdict = verdicts.into_iter().find(|verdict| verdict.run.as_ref() == Some(&job.name));
    let trouble = trouble_of(known, job).or_else(|| verdict.and_then(cause_of).filter(|_| job.progress.is_none()));
    explanation.test(trouble, || match known.status.in_cluster() {
        true => "nothing keeps its pod from starting".to_owned(),
        false => "nothing keeps it from starting".to_owned(),
    });
    known.test_orchestrator(&mut explanation);
    explanation.test(None, || match agent {
        Some(agent) => format!("its agent is registered: {}", agent_status(agent)),
        None => "its agent is not registered yet".to_owned(),
    });
    explanation.conclude(|| match (request, agent) {
        (Some(request), Some(_)) if request.received_at.is_some() => {
            let pipeline = request.pipeline.as_ref().map(|name| format!(" \"{name}\"")).unwrap_or_default();
            format!("It works on job request {}{pipeline}.", request.id)
        }
        (_, Some(agent)) if agent.online => "It is ready for a job request.".to_owned(),
        _ => "It is starting.".to_owned(),
    });
    explanation
}
