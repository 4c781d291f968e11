//! What holds in any situation at all.

use std::{
    collections::{BTreeMap, HashSet},
    time::Duration,
};

use kubectl_ado::core::{
    Agent, AgentChange, AgentId, AgentRef, HostKind, JobRequest, Memory, ParallelJobs, Pause, Plan, Policy, PoolView,
    Purpose, RequestId, Run, RunPhase, Scale, Since, Snapshot, Stage, Verdict, pool_report,
};
use proptest::prelude::*;

use crate::situation::*;

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
    let held = prop_oneof![8 => Just((false, false)), 1 => Just((true, false)), 1 => Just((false, true))];
    (prop::option::of(0u32..8), prop::option::of(0u32..8), 0u32..4, 0u32..4, prop::option::of(0u32..5), held).prop_map(
        |(over_all, pool, min, idle, max, (paused, retire))| {
            let mut gpu = template("gpu", Some(&[("gpu", "1"), ("docker", "1")]));
            gpu.scale = Scale { min: 0, idle, max };
            let mut default = template("default", None);
            default.scale = Scale { min, idle: 0, max: None };
            let mut policy = policy(vec![pool_policy("A", vec![gpu, default])]);
            policy.max_agents = over_all;
            policy.pools[0].max_agents = pool;
            policy.pools[0].paused = paused.then(Pause::default);
            policy.retire = retire;
            policy
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(90_000))]

    #[test]
    fn whatever_is_observed_the_plan_keeps_its_promises(policy in any_policy(), observed in any_snapshot()) {
        let decided = decide(&policy, &observed);

        // Where nothing may be started, nothing is.
        let held = policy.retire || policy.pools[0].paused.is_some();
        prop_assert!(!held || decided.starts.is_empty());

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
        prop_assert_eq!(verdicts.into_iter().collect::<HashSet<_>>(), waiting.clone());

        // The report says of each of them why it waits, and of no other.
        let view = PoolView {
            policy: &policy,
            host: HostKind::Kubernetes,
            pool: &policy.pools[0],
            observed: Some((&observed.pools[0], &decided.pools[0])),
            agents: observed.pools[0].agents.as_deref(),
            polled_at: None,
            failure: None,
            troubles: &[],
            refusals: &BTreeMap::new(),
        };
        let report = pool_report(view, &mut Since::default(), at(0));
        for request in &report.requests {
            prop_assert_eq!(request.verdict.is_some(), waiting.contains(&request.id));
        }
        prop_assert_eq!(report.requests.len(), observed.pools[0].requests.len());

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
        let started = after(observed.clone(), &Plan { starts: decided.starts.clone(), ..Plan::default() });
        let again = look(&mut Memory::default(), &policy, &started, Duration::ZERO);
        prop_assert!(again.starts.is_empty(), "{:?} then {:?}", decided.starts, again.starts);

        // And once all of its actions did, the world soon comes to rest: what is disabled is ended, what ended is
        // replaced where it is wanted, and that is all.
        let mut world = after(observed, &decided);
        let mut rounds = 0;
        loop {
            let next = decide(&policy, &world);
            if next.is_idle() {
                break;
            }
            rounds += 1;
            prop_assert!(rounds < 5, "it does not come to rest: {next:?}");
            world = after(world, &next);
        }
    }
}
