//! What the status document says of one pool, put together from what was observed, planned and wanted.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;

use super::{
    Agent, AgentOwner, AgentReport, Code, Finding, HostKind, Installation, JobRequest, Pause, Policy, PoolPlan,
    PoolPolicy, PoolReport, PoolSnapshot, PoolState, Recipe, RequestId, RequestReport, Severity, Stage, TemplateReport,
    Verdict, VerdictReport,
    findings::{Causes, Since},
    placeholder::is_placeholder,
    verdict_report::shortened,
};

/// Names and demands are users' texts and may be long.
const LONGEST_TEXT: usize = 200;

/// More demands than these tell nobody anything.
const MOST_DEMANDS: usize = 20;

/// All that is known of a pool.
#[derive(Clone, Copy, Debug)]
pub struct PoolView<'a> {
    /// What is wanted of all.
    pub policy: &'a Policy,
    /// Where its agents run.
    pub host: HostKind,
    /// What is wanted of this pool.
    pub pool: &'a PoolPolicy,
    /// What was last observed, and what was made of it.
    pub observed: Option<(&'a PoolSnapshot, &'a PoolPlan)>,
    /// Its agents as they were last looked at, which the last poll need not have done.
    pub agents: Option<&'a [Agent]>,
    /// The last poll that worked.
    pub polled_at: Option<Timestamp>,
    /// Why the last poll did not.
    pub failure: Option<&'a Finding>,
    /// What else is wrong with it.
    pub troubles: &'a [Finding],
    /// By agent template: why the host starts no agents of it.
    pub refusals: &'a BTreeMap<String, Finding>,
}

/// The pool at a moment. `since` remembers how long each finding has been there.
#[must_use]
pub fn pool_report(view: PoolView<'_>, since: &mut Since, now: Timestamp) -> PoolReport {
    let PoolView { pool, policy, observed, .. } = view;
    let counts = observed.map(|(_, plan)| plan.counts).unwrap_or_default();
    let verdicts = verdicts(&view);
    let causes = causes(&view, &verdicts, now);
    let findings = causes.findings(&pool.name, since, now);
    let scales: Vec<_> = pool.templates.iter().map(|template| template.scale_at(now)).collect();
    let most_of_templates = scales.iter().map(|scale| scale.max).sum::<Option<u32>>();
    let offline =
        |agents: &[Agent]| count(agents.iter().filter(|agent| !agent.online && !is_placeholder(agent)).count());
    PoolReport {
        name: pool.name.clone(),
        state: state(&view, &verdicts, &findings, now),
        paused: pause(policy, pool, now),
        last_polled_at: view.polled_at,
        queued: counts.waiting,
        oldest_queued_at: counts.oldest_queued_at,
        starting: counts.starting + about_to_start(&verdicts),
        busy: counts.busy,
        idle: counts.idle,
        offline: view.agents.map(offline),
        min: scales.iter().map(|scale| scale.min).sum(),
        max: [pool.max_agents, most_of_templates, policy.max_agents].into_iter().flatten().min(),
        templates: templates(&view, now),
        findings,
        requests: requests(&view, &verdicts),
        requests_omitted: 0,
        agents: agents(&view),
        agents_omitted: 0,
        runs: Vec::new(),
    }
}

/// Agents that the plan starts and nobody has seen yet.
fn about_to_start(verdicts: &HashMap<RequestId, (&Verdict, VerdictReport)>) -> u32 {
    let starts = |(verdict, report): &&(&Verdict, VerdictReport)| {
        matches!(verdict, Verdict::Starting { .. }) && report.code.is_none()
    };
    count(verdicts.values().filter(starts).count())
}

/// Leaves at most so many job requests and agents in the reports of all pools together, shared out evenly.
pub fn cap(pools: &mut [PoolReport], requests: usize, agents: usize) {
    let shares_of_requests = shares(&pools.iter().map(|pool| pool.requests.len()).collect::<Vec<_>>(), requests);
    let shares_of_agents = shares(&pools.iter().map(|pool| pool.agents.len()).collect::<Vec<_>>(), agents);
    for (pool, (requests, agents)) in pools.iter_mut().zip(shares_of_requests.into_iter().zip(shares_of_agents)) {
        pool.requests_omitted += count(pool.requests.len() - requests);
        pool.requests.truncate(requests);
        pool.agents_omitted += count(pool.agents.len() - agents);
        pool.agents.truncate(agents);
    }
}

/// Each gets what it wants or the same as the others.
fn shares(wanted: &[usize], mut left: usize) -> Vec<usize> {
    let mut shares = vec![0; wanted.len()];
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by_key(|&index| wanted[index]);
    for (place, &index) in order.iter().enumerate() {
        shares[index] = wanted[index].min(left / (order.len() - place));
        left -= shares[index];
    }
    shares
}

/// A pool that is being given up counts as paused.
fn pause(policy: &Policy, pool: &PoolPolicy, now: Timestamp) -> Option<Pause> {
    if policy.retire {
        return Some(Pause { reason: Some("kubectl-ado is being uninstalled".to_owned()), ..Pause::default() });
    }
    pool.pause_at(now).cloned()
}

/// The plan's verdicts, where the host has not refused what was planned.
fn verdicts<'a>(view: &PoolView<'a>) -> HashMap<RequestId, (&'a Verdict, VerdictReport)> {
    let plan = view.observed.map(|(_, plan)| plan);
    let verdicts = plan.into_iter().flat_map(|plan| &plan.verdicts);
    verdicts
        .map(|(id, verdict)| {
            let report = verdict.report(&view.pool.name, view.host);
            let refused = match verdict {
                Verdict::Starting { template, .. } => view.refusals.get(template),
                _ => None,
            };
            let report = match refused {
                Some(finding) => VerdictReport {
                    reason: finding.code.reason().to_owned(),
                    message: finding.message.clone(),
                    code: Some(finding.code),
                    fix: finding.fix.clone(),
                    ..report
                },
                None => report,
            };
            (*id, (verdict, report))
        })
        .collect()
}

fn causes(view: &PoolView<'_>, verdicts: &HashMap<RequestId, (&Verdict, VerdictReport)>, now: Timestamp) -> Causes {
    let mut causes = Causes::default();
    for finding in view.failure.into_iter().chain(view.troubles) {
        causes.add(finding);
    }
    for finding in view.refusals.values() {
        causes.add(finding);
    }
    if pause(view.policy, view.pool, now).is_some() {
        causes.paused(view.pool, view.host, view.policy.retire, now);
    }
    for (verdict, report) in verdicts.values() {
        match (verdict, report.code) {
            (Verdict::Starting { .. }, Some(code)) => causes.waits(code, &report.message, report.fix.clone()),
            (_, Some(code)) => causes.waits(code, &verdict.cause(), report.fix.clone()),
            (_, None) => {}
        }
    }
    if view.pool.removed {
        causes.verdict(&Verdict::PoolRemoved, &view.pool.name, view.host, 0);
    }
    for template in &view.pool.templates {
        if let Some(reason) = &template.registration_pending {
            let (template, reason) = (template.name.clone(), reason.clone());
            causes.verdict(&Verdict::RegistrationPending { template, reason }, &view.pool.name, view.host, 0);
        }
    }
    if let Some((snapshot, plan)) = view.observed {
        for verdict in &plan.unfilled {
            causes.verdict(verdict, &view.pool.name, view.host, 0);
        }
        for run in snapshot.runs.iter().filter(|run| run.is_live()) {
            if let Some(trouble) = run.trouble.clone() {
                let verdict = Verdict::Trouble { run: run.name.clone(), trouble };
                causes.verdict(&verdict, &view.pool.name, view.host, 1);
            }
        }
    }
    causes
}

fn state(
    view: &PoolView<'_>,
    verdicts: &HashMap<RequestId, (&Verdict, VerdictReport)>,
    findings: &[Finding],
    now: Timestamp,
) -> PoolState {
    let limited = |code| matches!(code, Code::AtMaximum | Code::ParallelJobsUsedUp | Code::QuotaUsedUp);
    let is_wrong = |finding: &Finding| finding.severity == Severity::Error;
    let starting = |(_, plan): (&PoolSnapshot, &PoolPlan)| plan.counts.starting > 0;
    if view.failure.is_some() || findings.iter().any(is_wrong) {
        PoolState::Degraded
    } else if pause(view.policy, view.pool, now).is_some() {
        PoolState::Paused
    } else if view.observed.is_none() {
        PoolState::Unknown
    } else if verdicts.values().any(|(_, report)| report.code.is_some_and(limited)) {
        PoolState::AtLimit
    } else if view.observed.is_some_and(starting)
        || verdicts.values().any(|(verdict, _)| matches!(verdict, Verdict::Starting { .. }))
    {
        PoolState::Scaling
    } else {
        PoolState::Healthy
    }
}

/// Why its agents get the right to work in no safer way. Processes of the orchestrator's own user can read what it can, however
/// they were registered.
fn registration_reason(host: HostKind, template: &super::AgentTemplate) -> Option<String> {
    let is_open = host == HostKind::Local && template.recipe != Recipe::Token;
    let open =
        is_open.then_some("a pipeline step can read it all the same, because it runs as the orchestrator's user");
    match (open, &template.recipe_reason) {
        (Some(open), Some(reason)) => Some(format!("{open} ({reason})")),
        (Some(open), None) => Some(open.to_owned()),
        (None, reason) => reason.clone(),
    }
}

fn templates(view: &PoolView<'_>, now: Timestamp) -> Vec<TemplateReport> {
    let runs = view.observed.map(|(snapshot, _)| snapshot.runs.as_slice()).unwrap_or_default();
    let live = |name: &str| count(runs.iter().filter(|run| run.is_live() && run.template == name).count());
    let report = |template: &super::AgentTemplate| {
        let scale = template.scale_at(now);
        TemplateReport {
            name: template.name.clone(),
            registration: template.recipe.name().to_owned(),
            registration_reason: registration_reason(view.host, template),
            live: live(&template.name),
            min: scale.min,
            idle: scale.idle,
            max: scale.max,
        }
    };
    view.pool.templates.iter().map(report).collect()
}

/// Those that something stops first, then by age.
fn requests(view: &PoolView<'_>, verdicts: &HashMap<RequestId, (&Verdict, VerdictReport)>) -> Vec<RequestReport> {
    let observed = view.observed.map(|(snapshot, _)| snapshot.requests.as_slice()).unwrap_or_default();
    let unfinished = observed.iter().filter(|request| request.stage != Stage::Finished);
    let mut reports: Vec<RequestReport> =
        unfinished.map(|request| request_report(request, verdicts.get(&request.id))).collect();
    reports.sort_by_key(|report| {
        let code = report.verdict.as_ref().and_then(|verdict| verdict.code);
        let stopped = code.map(Code::severity);
        (std::cmp::Reverse(stopped), report.received_at.is_some(), report.queued_at, report.id)
    });
    reports
}

fn request_report(request: &JobRequest, verdict: Option<&(&Verdict, VerdictReport)>) -> RequestReport {
    let of_stage = match &request.stage {
        Stage::Assigned(agent) | Stage::Running(Some(agent)) => Some(agent.name.clone()),
        Stage::Waiting | Stage::Running(None) | Stage::Finished => None,
    };
    let of_verdict = match verdict {
        Some((Verdict::Assigned { agent }, _)) => Some(agent.clone()),
        _ => None,
    };
    let short = |text: &Option<String>| text.as_deref().map(|text| shortened(text, LONGEST_TEXT));
    let demands = request.demands.iter().take(MOST_DEMANDS);
    RequestReport {
        id: request.id,
        pipeline: short(&request.pipeline),
        pipeline_run: short(&request.pipeline_run),
        url: request.url.clone(),
        queued_at: request.queued_at,
        received_at: request.received_at,
        agent: of_verdict.or(of_stage),
        demands: demands.map(|demand| shortened(&demand.to_string(), LONGEST_TEXT)).collect(),
        verdict: verdict.map(|(_, report)| report.clone()),
    }
}

fn agents(view: &PoolView<'_>) -> Vec<AgentReport> {
    let runs = view.observed.map(|(snapshot, _)| snapshot.runs.as_slice()).unwrap_or_default();
    let runs: HashSet<String> = runs.iter().map(|run| run.name.to_lowercase()).collect();
    let mut reports: Vec<AgentReport> = view
        .agents
        .unwrap_or_default()
        .iter()
        .map(|agent| AgentReport {
            id: agent.id,
            name: agent.name.clone(),
            owner: owner(agent, &view.policy.installation, &runs),
            enabled: agent.enabled,
            online: agent.online,
            request: agent.assigned,
            created_at: agent.created_at,
        })
        .collect();
    // What is cut off is what belongs to others and sleeps.
    reports.sort_by_key(|agent| (agent.owner == AgentOwner::Foreign, !agent.online, agent.id));
    reports
}

/// Whose an agent is. One of ours is known by its run even before its capabilities have come.
fn owner(agent: &Agent, ours: &Installation, runs: &HashSet<String>) -> AgentOwner {
    match agent.installation() {
        Some(id) if id == ours.id() && is_placeholder(agent) => AgentOwner::Placeholder,
        Some(id) if id == ours.id() => AgentOwner::Ours,
        _ if runs.contains(&agent.name.to_lowercase()) => AgentOwner::Ours,
        Some(_) => AgentOwner::Installation,
        None => AgentOwner::Foreign,
    }
}

pub(super) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_shared_out_is_all_used_and_the_small_ones_get_all_they_want() {
        assert_eq!(shares(&[500, 3, 500], 200), [98, 3, 99]);
        assert_eq!(shares(&[5, 3], 200), [5, 3]);
        assert_eq!(shares(&[9, 9], 0), [0, 0]);
        assert_eq!(shares(&[], 9), Vec::<usize>::new());
    }
}
