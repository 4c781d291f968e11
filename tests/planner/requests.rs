//! Which agents are started for which requests.

use std::time::Duration;

use kubectl_ado::core::{
    Agent, AgentRef, JobRequest, LimitScope, Memory, ParallelJobs, Plan, PoolSnapshot, Progress, Purpose, RequestId,
    Run, RunPhase, Scale, Snapshot, Stage, Verdict,
};

use crate::situation::*;

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
    let late = Run { created_at: at(-901), progress: Progress::Pending, runs_since: None, ..starting("r1", 1) };
    let observed = snapshot(vec![request(1, &[])], vec![late], vec![]);
    let mut memory = Memory::default();
    let first = look(&mut memory, &simple(), &observed, Duration::from_secs(1));
    assert!(first.starts.is_empty() && first.stops.is_empty(), "not beside one that is not ended: {first:?}");
    let second = look(&mut memory, &simple(), &observed, Duration::from_secs(2));
    assert_eq!((second.stops.len(), second.starts[0].attempt), (1, 2));
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
        assert_eq!(*verdict(&plan, 3), Verdict::AtMaximum { scope, limit: 2, template: "default".into() });
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
