//! What holds whatever is done.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Act {
    Pass(u16),
    Register(bool),
    Open(usize),
    Close(usize),
    Toggle(usize),
    Remove(usize),
    Queue { gpu: bool, public: bool, priority: i64 },
    Cancel(usize),
    Renew(usize),
    Finish(usize, bool),
    Bump(usize),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (0u16..700).prop_map(Act::Pass),
        any::<bool>().prop_map(Act::Register),
        (0usize..8).prop_map(Act::Open),
        (0usize..8).prop_map(Act::Close),
        (0usize..8).prop_map(Act::Toggle),
        (0usize..8).prop_map(Act::Remove),
        (any::<bool>(), any::<bool>(), 0i64..3).prop_map(|(gpu, public, priority)| Act::Queue {
            gpu,
            public,
            priority
        }),
        (0usize..12).prop_map(Act::Cancel),
        (0usize..12).prop_map(Act::Renew),
        (0usize..12, any::<bool>()).prop_map(|(request, last)| Act::Finish(request, last)),
        (0usize..12).prop_map(Act::Bump),
    ]
}

/// Does it if it can be done; a refusal is as good.
fn perform(story: &mut Story, act: &Act, number: usize) {
    let (pool, now) = (story.pool, story.now);
    let agent = |state: &State, index: usize| {
        let agents: Vec<i64> = state.pool(pool).unwrap().agents().map(|agent| agent.id).collect();
        agents.get(index % agents.len().max(1)).copied().unwrap_or(0)
    };
    let request = |state: &State, index: usize| {
        let requests: Vec<i64> = state.requests().rev().take(12).map(|request| request.id).collect();
        requests.get(index % requests.len().max(1)).copied().unwrap_or(0)
    };
    let state = &mut story.state;
    match *act {
        Act::Pass(seconds) => story.pass(Duration::from_secs(seconds.into())),
        Act::Register(gpu) => {
            let spec = AgentSpec::named(format!("agent-{number}"));
            let _ = state.register(pool, if gpu { spec.with("gpu", "1") } else { spec }, now);
        }
        Act::Open(index) => {
            let draft = SessionDraft { agent: agent(state, index), ..SessionDraft::default() };
            let _ = state.open_session(pool, draft, now);
        }
        Act::Close(index) => {
            let of = agent(state, index);
            let session = state.agent(pool, of).ok().and_then(|a| a.session.as_ref()).map(|s| s.id.clone());
            let _ = session.map(|session| state.close_session(pool, &session, now));
        }
        Act::Toggle(index) => {
            let id = agent(state, index);
            let enabled = state.agent(pool, id).ok().map(|agent| !agent.enabled);
            let _ = state.change_agent(pool, id, AgentChange { enabled, ..AgentChange::default() }, now);
        }
        Act::Remove(index) => drop(state.remove_agent(pool, agent(state, index), now)),
        Act::Queue { gpu, public, priority } => {
            let mut job = JobSpec::new("ci", "x").priority(priority);
            job = if gpu { job.demand("gpu") } else { job };
            state.queue(pool, if public { job.public() } else { job }, now).unwrap();
        }
        Act::Cancel(index) => drop(state.cancel(request(state, index), now)),
        Act::Renew(index) => drop(state.renew(pool, request(state, index), now).map(|_| ())),
        Act::Finish(index, last) => {
            drop(state.finish(pool, request(state, index), JobResult::Succeeded, last, now));
        }
        Act::Bump(index) => drop(state.bump_to_top(pool, request(state, index), now)),
    }
}

fn check(state: &State, pool: i64, limit: usize) {
    let mut held = std::collections::HashMap::new();
    for agent in state.pool(pool).unwrap().agents() {
        if let Some(request) = agent.assigned {
            assert!(held.insert(request, agent.id).is_none(), "request {request} is held twice");
            assert_eq!(state.find_request(request).unwrap().agent.as_ref().map(|agent| agent.id), Some(agent.id));
        }
    }
    let mut private = 0;
    for request in state.requests() {
        match request.phase() {
            Phase::Queued => assert!(request.agent.is_none() && request.result.is_none()),
            Phase::Assigned | Phase::Received => {
                assert!(held.contains_key(&request.id), "request {} is held by nobody", request.id);
                private += usize::from(request.job.parallelism_tag == "Private");
            }
            Phase::Finished => assert!(request.result.is_some() && !held.contains_key(&request.id)),
        }
        assert_eq!(state.waiting.contains(request), request.phase() == Phase::Queued);
        assert_eq!(state.unfinished.contains(&(pool, request.id)), request.phase() != Phase::Finished);
    }
    assert!(private <= limit, "{private} private requests run, {limit} may");
    let online = state.pool(pool).unwrap().agents().filter(|agent| agent.online).count();
    assert_eq!(online, state.online_agents());
    assert!(online <= state.peak_online_agents());
    // Nothing waits that could run.
    let ready: Vec<&Agent> = state.pool(pool).unwrap().agents().filter(|agent| agent.is_ready()).collect();
    for request in state.requests().filter(|request| request.phase() == Phase::Queued) {
        let licence = private < limit || request.job.parallelism_tag == "Public";
        assert!(!licence || !ready.iter().any(|agent| agent.satisfies(request.demands())), "{request:?} waits");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]
    #[test]
    fn whatever_happens_no_request_is_held_twice_and_none_waits_that_could_run(
        acts in prop::collection::vec(act(), 1..120),
    ) {
        let mut story = Story::new(Rules { parallel_jobs: Some(2), ..Rules::default() });
        for (number, act) in acts.iter().enumerate() {
            perform(&mut story, act, number);
            check(&story.state, story.pool, 2);
        }
    }
}
