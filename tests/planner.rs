//! The planner, seen from outside: what it starts in situations that a person can picture, and what it never does in
//! any situation at all.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "helpers of tests fail by panicking")]

use std::{collections::HashSet, time::Duration};

use jiff::Timestamp;
use kubectl_ado::core::{
    Agent, AgentChange, AgentId, AgentRef, AgentTemplate, Demand, Installation, JobRequest, LimitScope, ParallelJobs,
    Plan, Policy, PoolPolicy, PoolSnapshot, Progress, Purpose, RequestId, Run, RunPhase, Scale, Snapshot, Stage,
    Verdict, plan,
};
use proptest::prelude::*;

const NOW: i64 = 1_800_000_000;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(NOW + seconds).unwrap()
}

fn template(name: &str, capabilities: Option<&[(&str, &str)]>) -> AgentTemplate {
    AgentTemplate {
        name: name.into(),
        name_prefix: "agent-job".into(),
        revision: "r1".into(),
        capabilities: capabilities.map(|pairs| pairs.iter().copied().collect()),
        ignore_demands: Vec::new(),
        scale: Scale::default(),
        schedules: Vec::new(),
    }
}

fn pool_policy(name: &str, templates: Vec<AgentTemplate>) -> PoolPolicy {
    PoolPolicy { name: name.into(), max_agents: None, templates }
}

fn policy(pools: Vec<PoolPolicy>) -> Policy {
    Policy {
        installation: Installation::new("test"),
        organization: "https://dev.azure.com/contoso".into(),
        max_agents: None,
        start_timeout: Duration::from_secs(300),
        idle_timeout: Duration::from_secs(600),
        pools,
    }
}

/// One pool `A` with one template that accepts everything.
fn simple() -> Policy {
    policy(vec![pool_policy("A", vec![template("default", None)])])
}

fn request(id: i64, demands: &[&str]) -> JobRequest {
    JobRequest {
        id: RequestId(id),
        queued_at: Some(at(-60 + id)),
        received_at: None,
        stage: Stage::Waiting,
        demands: demands.iter().map(|text| Demand::parse(text)).collect(),
        plan_type: Some("Build".into()),
        parallelism_tag: Some("Private".into()),
        pipeline: None,
        pipeline_run: None,
        priority: 0,
    }
}

fn running(id: i64, agent: &Agent) -> JobRequest {
    let agent = AgentRef { id: agent.id, name: agent.name.clone() };
    JobRequest { stage: Stage::Running(Some(agent)), ..request(id, &[]) }
}

fn run(name: &str, purpose: Purpose, phase: RunPhase) -> Run {
    Run {
        name: name.into(),
        pool: "A".into(),
        template: "default".into(),
        purpose,
        attempt: 1,
        created_at: at(-10),
        phase,
        revision: "r1".into(),
        progress: Progress::Running,
        trouble: None,
        agent_ended_at: None,
    }
}

fn starting(name: &str, request: i64) -> Run {
    run(name, Purpose::Request(RequestId(request)), RunPhase::Live)
}

fn agent(id: i64, name: &str) -> Agent {
    Agent {
        id: AgentId(id),
        name: name.into(),
        enabled: true,
        online: true,
        assigned: None,
        created_at: Some(at(-60)),
        status_changed_at: Some(at(-30)),
        last_finished_at: None,
        capabilities: [("Agent.OS", "Linux"), ("docker", "/usr/bin/docker")].into_iter().collect(),
    }
}

/// A pool that has been used before: somebody's agent is registered and offline.
fn snapshot(requests: Vec<JobRequest>, runs: Vec<Run>, mut agents: Vec<Agent>) -> Snapshot {
    agents.push(Agent { online: false, ..agent(1000, "old-box") });
    let pools = vec![PoolSnapshot { pool: "A".into(), runs, requests, agents: Some(agents) }];
    Snapshot { pools, ..Snapshot::default() }
}

fn decide(policy: &Policy, snapshot: &Snapshot) -> Plan {
    plan(policy, snapshot, at(0))
}

fn verdict(plan: &Plan, id: i64) -> &Verdict {
    let verdicts = plan.pools.iter().flat_map(|pool| &pool.verdicts);
    &verdicts.into_iter().find(|(of, _)| *of == RequestId(id)).expect("a verdict").1
}

fn started_for(plan: &Plan) -> Vec<i64> {
    plan.starts
        .iter()
        .filter_map(|start| match start.purpose {
            Purpose::Request(id) => Some(id.0),
            Purpose::Slot(_) => None,
        })
        .collect()
}

#[test]
fn each_waiting_request_gets_one_agent_the_oldest_first() {
    let plan = decide(&simple(), &snapshot(vec![request(2, &[]), request(1, &[])], vec![], vec![]));
    assert_eq!(started_for(&plan), [1, 2]);
    assert!(matches!(verdict(&plan, 1), Verdict::Starting { .. }));
}

#[test]
fn a_higher_priority_goes_before_an_older_request() {
    let urgent = JobRequest { priority: 5, ..request(9, &[]) };
    let plan = decide(&simple(), &snapshot(vec![request(1, &[]), urgent], vec![], vec![]));
    assert_eq!(started_for(&plan), [9, 1]);
}

#[test]
fn agents_that_start_count() {
    let plan = decide(&simple(), &snapshot(vec![request(1, &[]), request(2, &[])], vec![starting("r1", 1)], vec![]));
    assert_eq!(started_for(&plan), [2]);
    assert_eq!(*verdict(&plan, 1), Verdict::Covered);
}

#[test]
fn an_idle_agent_of_somebody_else_counts_too() {
    let plan = decide(&simple(), &snapshot(vec![request(1, &["docker"])], vec![], vec![agent(7, "theirs")]));
    assert!(plan.starts.is_empty());
}

#[test]
fn an_agent_that_is_offline_disabled_or_busy_does_not_count() {
    for spoil in [
        (|agent: &mut Agent| agent.online = false) as fn(&mut Agent),
        |agent| agent.enabled = false,
        |agent| agent.assigned = Some(RequestId(99)),
    ] {
        let mut theirs = agent(7, "theirs");
        spoil(&mut theirs);
        let plan = decide(&simple(), &snapshot(vec![request(1, &[])], vec![], vec![theirs]));
        assert_eq!(started_for(&plan), [1]);
    }
}

#[test]
fn a_request_whose_agent_was_taken_by_another_is_served_by_the_others_agent() {
    // r1 was started for request 1 and took request 2; r2, started for request 2, is still starting.
    let busy = Agent { assigned: Some(RequestId(2)), ..agent(1, "r1") };
    let requests = vec![request(1, &[]), running(2, &busy)];
    let plan = decide(&simple(), &snapshot(requests, vec![starting("r1", 1), starting("r2", 2)], vec![busy]));
    assert!(plan.starts.is_empty());
    assert_eq!(*verdict(&plan, 1), Verdict::Covered);
}

#[test]
fn when_nobody_is_left_the_request_gets_a_second_attempt_with_another_name() {
    let busy = Agent { assigned: Some(RequestId(2)), ..agent(1, "r1") };
    let requests = vec![request(1, &[]), running(2, &busy)];
    let plan = decide(&simple(), &snapshot(requests, vec![starting("r1", 1)], vec![busy]));
    assert_eq!(started_for(&plan), [1]);
    assert_eq!(plan.starts[0].attempt, 2);
}

#[test]
fn an_agent_that_a_running_request_names_is_not_idle_even_when_its_own_record_says_so() {
    let idle = agent(1, "r1");
    let requests = vec![running(1, &idle), request(2, &[])];
    let plan = decide(&simple(), &snapshot(requests, vec![starting("r1", 1)], vec![idle]));
    assert_eq!(started_for(&plan), [2]);
}

#[test]
fn a_request_reserved_for_an_agent_that_can_take_it_is_served_and_else_not() {
    let reserved = |agent: &Agent| {
        let agent = AgentRef { id: agent.id, name: agent.name.clone() };
        JobRequest { stage: Stage::Assigned(agent), ..request(1, &[]) }
    };
    let ready = agent(1, "theirs");
    let plan = decide(&simple(), &snapshot(vec![reserved(&ready)], vec![], vec![ready]));
    assert!(plan.starts.is_empty());
    assert!(matches!(verdict(&plan, 1), Verdict::Assigned { .. }));

    let offline = Agent { online: false, ..agent(1, "theirs") };
    let plan = decide(&simple(), &snapshot(vec![reserved(&offline)], vec![], vec![offline]));
    assert_eq!(started_for(&plan), [1]);
}

#[test]
fn an_agent_that_never_comes_online_stops_counting_as_one_that_will() {
    let mut late = starting("r1", 1);
    late.created_at = at(-301);
    let plan = decide(&simple(), &snapshot(vec![request(1, &[])], vec![late], vec![]));
    assert_eq!(plan.starts[0].attempt, 2);
}

#[test]
fn requests_that_only_a_certain_agent_can_serve_are_left_alone() {
    let maintenance = JobRequest { plan_type: Some("PoolMaintenance".into()), ..request(1, &[]) };
    let pinned = request(2, &["Agent.Name -equals build-7"]);
    let plan = decide(&simple(), &snapshot(vec![maintenance, pinned], vec![], vec![]));
    assert!(plan.starts.is_empty());
    assert_eq!(*verdict(&plan, 2), Verdict::Pinned);
}

#[test]
fn a_request_gets_the_first_template_that_satisfies_it_and_no_other() {
    let policy =
        policy(vec![pool_policy("A", vec![template("gpu", Some(&[("gpu", "1")])), template("default", None)])]);
    let plan = decide(&policy, &snapshot(vec![request(1, &[]), request(2, &["gpu", "docker"])], vec![], vec![]));
    let templates: Vec<_> = plan.starts.iter().map(|start| start.template.as_str()).collect();
    assert_eq!(templates, ["gpu", "default"]);
}

#[test]
fn a_demand_that_no_template_satisfies_is_named() {
    let policy = policy(vec![pool_policy("A", vec![template("small", Some(&[("docker", "1")]))])]);
    let plan = decide(&policy, &snapshot(vec![request(1, &["docker", "gpu"])], vec![], vec![]));
    assert!(plan.starts.is_empty());
    assert_eq!(*verdict(&plan, 1), Verdict::NoTemplate { demand: "gpu".into() });
}

#[test]
fn what_an_image_offers_is_learned_from_its_first_agent() {
    let plan = decide(&simple(), &snapshot(vec![request(1, &["gpu"])], vec![starting("r1", 1)], vec![agent(1, "r1")]));
    assert!(plan.starts.is_empty(), "another agent of the same image would not help");
    assert_eq!(*verdict(&plan, 1), Verdict::NoTemplate { demand: "gpu".into() });
}

#[test]
fn each_limit_holds_and_is_named() {
    let requests = || (1..=5).map(|id| request(id, &[])).collect::<Vec<_>>();
    let mut by_template = simple();
    by_template.pools[0].templates[0].scale.max = Some(2);
    let mut by_pool = simple();
    by_pool.pools[0].max_agents = Some(2);
    let mut over_all = simple();
    over_all.max_agents = Some(2);
    for (policy, scope) in
        [(by_template, LimitScope::Template), (by_pool, LimitScope::Pool), (over_all, LimitScope::Installation)]
    {
        let plan = decide(&policy, &snapshot(requests(), vec![], vec![]));
        assert_eq!(started_for(&plan), [1, 2]);
        assert_eq!(*verdict(&plan, 3), Verdict::AtMaximum { scope, limit: 2 });
    }
}

#[test]
fn a_limit_over_all_is_shared_fairly_between_pools() {
    let mut policy = policy(vec![
        pool_policy("A", vec![template("default", None)]),
        pool_policy("B", vec![template("default", None)]),
    ]);
    policy.max_agents = Some(4);
    let mut observed = snapshot((1..=20).map(|id| request(id, &[])).collect(), vec![], vec![]);
    let requests = (21..=22).map(|id| request(id, &[])).collect();
    observed.pools.push(PoolSnapshot { pool: "B".into(), runs: vec![], requests, agents: Some(vec![]) });
    let plan = decide(&policy, &observed);
    assert_eq!(plan.starts.iter().filter(|start| start.pool == "B").count(), 2);
}

#[test]
fn runs_in_pools_that_could_not_be_observed_count_towards_the_limit_over_all() {
    let mut policy = simple();
    policy.max_agents = Some(3);
    let observed = Snapshot { live_elsewhere: 2, ..snapshot(vec![request(1, &[]), request(2, &[])], vec![], vec![]) };
    assert_eq!(started_for(&decide(&policy, &observed)), [1]);
}

#[test]
fn parallel_jobs_that_are_used_up_start_nobody() {
    let mut observed = snapshot((1..=4).map(|id| request(id, &[])).collect(), vec![starting("r1", 1)], vec![]);
    observed.parallel_jobs.insert("Private".into(), ParallelJobs { total: 5, used: 3 });
    let plan = decide(&simple(), &observed);
    assert_eq!(started_for(&plan), [2], "five in all, three in use, one for the agent that starts already");
    assert_eq!(*verdict(&plan, 3), Verdict::ParallelJobs { tag: "Private".into(), total: 5 });
}

#[test]
fn minimum_and_idle_counts_are_filled_up_once_and_not_added_to() {
    let mut policy = simple();
    policy.pools[0].templates[0].scale = Scale { min: 5, idle: 2, max: None };
    let live: Vec<Run> = (0..4).map(|slot| run(&format!("s{slot}"), Purpose::Slot(slot), RunPhase::Live)).collect();
    let plan = decide(&policy, &snapshot(vec![], live, vec![]));
    assert_eq!(plan.starts.len(), 1);
    assert_eq!(plan.starts[0].purpose, Purpose::Slot(4));
}

#[test]
fn an_idle_agent_that_a_request_needs_is_replaced() {
    let mut policy = simple();
    policy.pools[0].templates[0].scale = Scale { min: 0, idle: 1, max: None };
    let warm = run("s0", Purpose::Slot(0), RunPhase::Live);
    let plan = decide(&policy, &snapshot(vec![request(1, &[])], vec![warm], vec![agent(1, "s0")]));
    assert_eq!(plan.starts.len(), 1);
    assert_eq!(plan.starts[0].purpose, Purpose::Slot(1));
}

#[test]
fn a_warm_slot_that_ended_well_is_filled_again_under_a_new_name() {
    let mut policy = simple();
    policy.pools[0].templates[0].scale = Scale { min: 1, idle: 0, max: None };
    let ended = run("s0", Purpose::Slot(0), RunPhase::Succeeded(at(-1)));
    let plan = decide(&policy, &snapshot(vec![], vec![ended], vec![]));
    assert_eq!((plan.starts[0].purpose, plan.starts[0].attempt), (Purpose::Slot(0), 2));
}

#[test]
fn a_failed_agent_is_tried_again_after_a_wait_that_doubles_and_survives_a_restart() {
    for (attempt, wait) in [(1, 10), (2, 20), (3, 40), (6, 300), (60, 300)] {
        let failed = |ago: i64| {
            let phase = RunPhase::Failed(at(-ago), "exit code 1".into());
            Run { attempt, ..run("r1", Purpose::Request(RequestId(1)), phase) }
        };
        let early = decide(&simple(), &snapshot(vec![request(1, &[])], vec![failed(wait - 1)], vec![]));
        assert!(early.starts.is_empty(), "attempt {attempt}");
        assert!(matches!(verdict(&early, 1), Verdict::BackingOff { until, .. } if *until == at(1)));
        let due = decide(&simple(), &snapshot(vec![request(1, &[])], vec![failed(wait)], vec![]));
        assert_eq!(due.starts[0].attempt, attempt + 1);
    }
}

#[test]
fn a_pool_that_was_not_observed_is_left_alone() {
    let plan = decide(&simple(), &Snapshot::default());
    assert_eq!(plan, Plan::default());
}

// === any situation at all ===

fn any_stage() -> impl Strategy<Value = u8> {
    0u8..4
}

fn any_snapshot() -> impl Strategy<Value = Snapshot> {
    let any_request =
        (1i64..30, any_stage(), prop::sample::subsequence(vec!["docker", "gpu", "cuda -gtVersion 12"], 0..3), 1i64..12);
    let any_run = (1i64..30, 0u8..3, 1u32..3, any::<bool>(), prop::sample::select(vec!["gpu", "default"]), -400i64..0);
    let any_agent = (1i64..12, any::<bool>(), any::<bool>(), prop::option::of(1i64..30), any::<bool>(), any::<bool>());
    (
        prop::collection::btree_map(1i64..30, any_request, 0..14),
        prop::collection::btree_map(0u32..40, any_run, 0..10),
        prop::collection::btree_map(1i64..12, any_agent, 0..10),
        prop::option::of((0u32..8, 0u32..8)),
    )
        .prop_map(|(requests, runs, agents, parallel)| {
            let requests = requests.into_iter().map(|(id, (_, stage, demands, agent))| {
                let agent = AgentRef { id: AgentId(agent), name: format!("run-{agent}") };
                let stage = match stage {
                    0 | 1 => Stage::Waiting,
                    2 => Stage::Assigned(agent),
                    _ => Stage::Running(Some(agent)),
                };
                JobRequest { stage, ..request(id, &demands) }
            });
            let runs = runs.into_iter().map(|(number, (of, phase, attempt, slot, template, age))| Run {
                attempt,
                template: template.into(),
                created_at: at(age),
                ..run(
                    &format!("run-{number}"),
                    if slot { Purpose::Slot(number) } else { Purpose::Request(RequestId(of)) },
                    match phase {
                        0 => RunPhase::Succeeded(at(age)),
                        1 => RunPhase::Failed(at(age), "exit code 1".into()),
                        _ => RunPhase::Live,
                    },
                )
            });
            let runs: Vec<Run> = runs.collect();
            // An agent of ours offers what its template says; others may offer anything.
            let has_gpu =
                |name: &str, or: bool| runs.iter().find(|run| run.name == name).map_or(or, |run| run.template == "gpu");
            let agents = agents.into_iter().map(|(id, (_, online, enabled, assigned, gpu, ours))| {
                let name = if ours { format!("run-{id}") } else { format!("theirs-{id}") };
                let gpu = has_gpu(&name, gpu).then_some(("gpu", "1"));
                Agent {
                    online,
                    enabled,
                    assigned: assigned.map(RequestId),
                    capabilities: [("docker", "1")].into_iter().chain(gpu).collect(),
                    ..agent(id, &name)
                }
            });
            let agents = agents.collect();
            let mut observed = snapshot(requests.collect(), runs, agents);
            if let Some((total, used)) = parallel {
                observed.parallel_jobs.insert("Private".into(), ParallelJobs { total, used });
            }
            observed
        })
}

fn any_policy() -> impl Strategy<Value = Policy> {
    (prop::option::of(0u32..8), prop::option::of(0u32..8), 0u32..4, 0u32..4, prop::option::of(0u32..5)).prop_map(
        |(over_all, pool, min, idle, max)| {
            let mut gpu = template("gpu", Some(&[("gpu", "1"), ("docker", "1")]));
            gpu.scale = Scale { min: 0, idle, max };
            let mut default = template("default", None);
            default.scale = Scale { min, idle: 0, max: None };
            let mut policy = policy(vec![pool_policy("A", vec![gpu, default])]);
            policy.max_agents = over_all;
            policy.pools[0].max_agents = pool;
            policy
        },
    )
}

/// The world right after the plan's actions took effect, before anything else happened.
fn after(mut observed: Snapshot, plan: &Plan) -> Snapshot {
    let pool = &mut observed.pools[0];
    pool.runs.retain(|run| !plan.stops.iter().any(|stop| stop.name == run.name));
    pool.runs.extend(plan.starts.iter().map(|start| start.expected(at(0))));
    let agents = pool.agents.get_or_insert_default();
    for action in &plan.agents {
        match &action.change {
            AgentChange::Disable(agent, _) => {
                agents.iter_mut().filter(|other| other.id == agent.id).for_each(|agent| agent.enabled = false);
            }
            AgentChange::Deregister(agent, _) => agents.retain(|other| other.id != agent.id),
            AgentChange::Register(placeholder) => agents.push(Agent {
                enabled: false,
                online: false,
                capabilities: placeholder.capabilities.clone(),
                ..agent(2000 + agents.len() as i64, &placeholder.name)
            }),
            AgentChange::Update(id, placeholder) => {
                for agent in agents.iter_mut().filter(|agent| agent.id == *id) {
                    agent.capabilities = placeholder.capabilities.clone();
                    agent.enabled = false;
                }
            }
        }
    }
    observed
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(90_000))]

    #[test]
    fn whatever_is_observed_the_plan_keeps_its_promises(policy in any_policy(), observed in any_snapshot()) {
        let decided = plan(&policy, &observed, at(0));

        // Never more live agents than the limits, as far as it is the plan's doing.
        let live = observed.pools[0].runs.iter().filter(|run| run.is_live()).count();
        for limit in [policy.max_agents, policy.pools[0].max_agents].into_iter().flatten() {
            prop_assert!(decided.starts.is_empty() || live + decided.starts.len() <= limit as usize);
        }

        // Never two runs for one purpose and attempt, never one that exists.
        let existing: HashSet<(Purpose, &str, u32)> =
            observed.pools[0].runs.iter().map(|run| (run.purpose, run.template.as_str(), run.attempt)).collect();
        let names: HashSet<&str> = decided.starts.iter().map(|start| start.name.as_str()).collect();
        prop_assert_eq!(names.len(), decided.starts.len());
        for start in &decided.starts {
            prop_assert!(!existing.contains(&(start.purpose, start.template.as_str(), start.attempt)));
        }

        // Every request that no agent has received has a verdict, and exactly one.
        let verdicts: Vec<RequestId> = decided.pools[0].verdicts.iter().map(|(id, _)| *id).collect();
        let waiting: HashSet<RequestId> = observed.pools[0].requests.iter()
            .filter(|request| matches!(request.stage, Stage::Waiting | Stage::Assigned(_)))
            .map(|request| request.id).collect();
        prop_assert_eq!(verdicts.len(), waiting.len());
        prop_assert_eq!(verdicts.into_iter().collect::<HashSet<_>>(), waiting);

        // Starts and verdicts tell the same story.
        for (id, verdict) in &decided.pools[0].verdicts {
            let started = decided.starts.iter().filter(|start| start.purpose == Purpose::Request(*id)).count();
            prop_assert_eq!(started, usize::from(matches!(verdict, Verdict::Starting { .. })));
        }

        // No busy agent is ever ended, nor is its registration removed.
        let busy: HashSet<String> = observed.pools[0].agents.iter().flatten()
            .filter(|agent| agent.assigned.is_some() || observed.pools[0].requests.iter().any(|request| {
                matches!(&request.stage, Stage::Running(Some(by)) if by.id == agent.id)
            }))
            .map(|agent| agent.name.clone()).collect();
        for stop in &decided.stops {
            prop_assert!(!busy.contains(&stop.name), "{stop:?}");
        }
        for action in &decided.agents {
            if let AgentChange::Deregister(agent, _) = &action.change {
                prop_assert!(!busy.contains(&agent.name), "{action:?}");
                // And never somebody else's.
                prop_assert!(!agent.name.starts_with("theirs"), "{action:?}");
            }
        }

        // Once its starts took effect there is nothing left to start.
        let again = plan(&policy, &after(observed.clone(), &Plan { starts: decided.starts.clone(), ..Plan::default() }), at(0));
        prop_assert!(again.starts.is_empty(), "{:?} then {:?}", decided.starts, again.starts);

        // And once all of its actions did, the world soon comes to rest: what is disabled is ended, what ended is
        // replaced where it is wanted, and that is all.
        let mut world = after(observed, &decided);
        let mut rounds = 0;
        loop {
            let next = plan(&policy, &world, at(0));
            if next.is_idle() {
                break;
            }
            rounds += 1;
            prop_assert!(rounds < 5, "it does not come to rest: {next:?}");
            world = after(world, &next);
        }
    }
}
