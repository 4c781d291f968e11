//! What the organization does with job requests, told in virtual time.

use std::time::Duration;

use proptest::prelude::*;

use super::*;

const POOL: &str = "linux";

/// An organization with one pool at a moment of its own.
struct Story {
    state: State,
    pool: i64,
    now: Timestamp,
}

impl Story {
    fn new(rules: Rules) -> Self {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let mut state = State::new(rules);
        let pool = state.add_pool(POOL.into(), now).unwrap();
        Self { state, pool, now }
    }

    fn pass(&mut self, time: Duration) {
        self.now = after(self.now, time);
        self.state.advance(self.now);
    }

    fn register(&mut self, name: &str) -> i64 {
        self.state.register(self.pool, AgentSpec::named(name), self.now).unwrap()
    }

    fn open(&mut self, agent: i64) -> String {
        let draft = SessionDraft { agent, ..SessionDraft::default() };
        self.state.open_session(self.pool, draft, self.now).unwrap()
    }

    fn online(&mut self, name: &str) -> (i64, String) {
        let agent = self.register(name);
        (agent, self.open(agent))
    }

    fn queue(&mut self, name: &str) -> i64 {
        self.queue_job(JobSpec::new("ci", name))
    }

    fn queue_job(&mut self, job: JobSpec) -> i64 {
        self.now = after(self.now, Duration::from_millis(1));
        self.state.queue(self.pool, job, self.now).unwrap()
    }

    fn message(&mut self, session: &str) -> Option<MessageContent> {
        let message = self.state.next_message(self.pool, session, 0, self.now).unwrap()?;
        self.state.delete_message(self.pool, session, message.id, self.now).unwrap();
        Some(message.content)
    }

    fn renew(&mut self, request: i64) -> Result<(), Refusal> {
        self.state.renew(self.pool, request, self.now).map(|_| ())
    }

    fn finish(&mut self, request: i64) {
        self.state.finish(self.pool, request, JobResult::Succeeded, false, self.now).unwrap();
    }

    fn request(&self, id: i64) -> &Request {
        self.state.find_request(id).unwrap()
    }

    fn phase(&self, id: i64) -> Phase {
        self.request(id).phase()
    }

    fn agent_of(&self, id: i64) -> Option<&str> {
        self.request(id).agent.as_ref().map(|agent| agent.name.as_str())
    }
}

#[test]
fn a_request_is_queued_assigned_received_and_finished() {
    let mut story = Story::new(Rules::default());
    let agent = story.register("a");
    let request = story.queue("build");
    assert_eq!(story.phase(request), Phase::Queued);

    let session = story.open(agent);
    assert_eq!(story.phase(request), Phase::Assigned);
    assert_eq!(story.agent_of(request), Some("a"));
    assert_eq!(story.message(&session), Some(MessageContent::Job(request)));

    story.renew(request).unwrap();
    assert_eq!(story.phase(request), Phase::Received);
    assert_eq!(story.request(request).locked_until, Some(after(story.now, Duration::from_secs(600))));

    story.finish(request);
    assert_eq!(story.request(request).result, Some(JobResult::Succeeded));
    let agent = story.state.agent(story.pool, agent).unwrap();
    assert_eq!((agent.assigned, agent.last_completed), (None, Some(request)));
    assert_eq!(story.state.history().next().unwrap().received, 1);
}

#[test]
fn a_job_that_no_registered_agent_could_serve_fails_at_once() {
    let mut story = Story::new(Rules::default());
    let request = story.queue("in an empty pool");
    assert!(story.request(request).was_unservable());

    story.state.register(story.pool, AgentSpec::named("a").with("docker", "1").disabled(), story.now).unwrap();
    let gpu = story.queue_job(JobSpec::new("ci", "gpu").demand("gpu").demand("Agent.OS -equals Linux"));
    assert_eq!(
        story.request(gpu).problem.as_deref(),
        Some("No agent found in pool linux which satisfies the specified demands: gpu, Agent.OS -equals Linux")
    );
    // Offline and disabled, and yet it keeps the job from failing.
    let docker = story.queue_job(JobSpec::new("ci", "docker").demand("DOCKER").demand("Agent.Version -gtVersion 3.0"));
    assert_eq!(story.phase(docker), Phase::Queued);
}

#[test]
fn user_capabilities_count_and_a_session_brings_the_real_system_capabilities() {
    let mut story = Story::new(Rules::default());
    let agent = story.register("a");
    let user = AgentChange {
        user_capabilities: Some([("team".to_owned(), "Blue".to_owned())].into()),
        ..AgentChange::default()
    };
    story.state.change_agent(story.pool, agent, user, story.now).unwrap();
    let request = story.queue_job(JobSpec::new("ci", "x").demand("Team -equals blue"));
    let draft = SessionDraft {
        agent,
        system_capabilities: Some([("gpu".to_owned(), "1".to_owned())].into()),
        ..Default::default()
    };
    story.state.open_session(story.pool, draft, story.now).unwrap();
    assert_eq!(story.phase(request), Phase::Assigned);
    let gpu = story.queue_job(JobSpec::new("ci", "y").demand("gpu"));
    assert!(!story.request(gpu).was_unservable());
}

#[test]
fn the_oldest_request_is_served_first_unless_priority_or_a_bump_says_otherwise() {
    let mut story = Story::new(Rules::default());
    story.register("placeholder");
    let old = story.queue("old");
    let young = story.queue("young");
    let urgent = story.queue_job(JobSpec::new("ci", "urgent").priority(5));
    let bumped = story.queue("bumped");
    story.state.bump_to_top(story.pool, bumped, story.now).unwrap();
    let mut order = Vec::new();
    let (_, session) = story.online("a");
    while let Some(MessageContent::Job(request)) = story.message(&session) {
        story.renew(request).unwrap();
        story.finish(request);
        order.push(request);
    }
    assert_eq!(order, [bumped, urgent, old, young]);
}

#[test]
fn only_an_agent_that_is_online_enabled_idle_and_fit_is_given_a_request() {
    let mut story = Story::new(Rules::default());
    let (disabled, _) = story.online("disabled");
    let change = AgentChange { enabled: Some(false), ..AgentChange::default() };
    story.state.change_agent(story.pool, disabled, change, story.now).unwrap();
    let fit = story.state.register(story.pool, AgentSpec::named("fit").with("docker", "1"), story.now).unwrap();
    let first = story.queue_job(JobSpec::new("ci", "x").demand("docker"));
    let second = story.queue_job(JobSpec::new("ci", "y").demand("docker"));
    story.online("unfit");
    assert_eq!(story.phase(first), Phase::Queued);
    story.open(fit);
    assert_eq!(story.agent_of(first), Some("fit"));
    assert_eq!(story.phase(second), Phase::Queued);
}

#[test]
fn private_requests_wait_for_a_parallel_job_and_public_ones_do_not() {
    let mut story = Story::new(Rules { parallel_jobs: Some(1), ..Rules::default() });
    for name in ["a", "b", "c"] {
        story.online(name);
    }
    let first = story.queue("first");
    let second = story.queue("second");
    let public = story.queue_job(JobSpec::new("oss", "public").public());
    assert_eq!([first, second, public].map(|id| story.phase(id)), [Phase::Assigned, Phase::Queued, Phase::Assigned]);
    assert_eq!(story.state.usage("Private").running.len(), 1);
    story.renew(first).unwrap();
    story.finish(first);
    assert_eq!(story.phase(second), Phase::Assigned);
}

#[test]
fn a_waiting_request_is_canceled_at_once_and_a_running_one_by_its_agent() {
    let mut story = Story::new(Rules::default());
    let (_, session) = story.online("a");
    let running = story.queue("running");
    let waiting = story.queue("waiting");
    assert_eq!(story.message(&session), Some(MessageContent::Job(running)));
    story.renew(running).unwrap();

    story.state.cancel(waiting, story.now).unwrap();
    assert_eq!(story.request(waiting).result, Some(JobResult::Canceled));

    story.state.cancel(running, story.now).unwrap();
    assert_eq!(story.phase(running), Phase::Received);
    assert_eq!(story.message(&session), Some(MessageContent::Cancel(running)));
    story.state.finish(story.pool, running, JobResult::Canceled, false, story.now).unwrap();
    assert_eq!(story.request(running).result, Some(JobResult::Canceled));
}

#[test]
fn a_canceled_request_ends_even_if_its_agent_does_not_stop() {
    let mut story = Story::new(Rules::default());
    story.online("a");
    let request = story.queue("stubborn");
    story.renew(request).unwrap();
    story.state.cancel(request, story.now).unwrap();
    story.pass(Duration::from_secs(300));
    assert_eq!(story.request(request).result, Some(JobResult::Canceled));
    assert_eq!(story.renew(request), Err(Refusal::JobTokenExpired(request)));
}

#[test]
fn a_job_that_runs_too_long_is_canceled() {
    let mut story = Story::new(Rules::default());
    let (_, session) = story.online("a");
    let job = JobSpec { timeout: Some(Duration::from_secs(90)), ..JobSpec::new("ci", "slow") };
    let request = story.queue_job(job);
    story.message(&session);
    story.renew(request).unwrap();
    story.pass(Duration::from_secs(91));
    assert_eq!(story.message(&session), Some(MessageContent::Cancel(request)));
}

#[test]
fn a_request_whose_agent_is_not_heard_of_is_abandoned_when_its_lease_lapses() {
    let mut story = Story::new(Rules::default());
    story.online("a");
    let request = story.queue("lost");
    story.renew(request).unwrap();
    story.pass(Duration::from_secs(599));
    assert_eq!(story.phase(request), Phase::Received);
    assert_eq!(story.state.online_agents(), 0, "it has not polled for two minutes");
    story.pass(Duration::from_secs(1));
    assert_eq!(story.request(request).result, Some(JobResult::Abandoned));
    assert!(story.request(request).problem.as_deref().unwrap().contains("stopped hearing from agent a"));
    assert_eq!(story.state.next_alarm(), None);
}

#[test]
fn a_request_that_was_not_received_goes_back_when_the_session_ends() {
    let mut story = Story::new(Rules::default());
    let (_, session) = story.online("a");
    let request = story.queue("x");
    assert_eq!(story.agent_of(request), Some("a"));
    story.state.close_session(story.pool, &session, story.now).unwrap();
    assert_eq!(story.phase(request), Phase::Queued);
    story.online("b");
    assert_eq!(story.agent_of(request), Some("b"));
}

#[test]
fn an_agent_that_shuts_down_after_its_job_is_given_no_other() {
    let mut story = Story::new(Rules::default());
    let (_, session) = story.online("once");
    let first = story.queue("first");
    let second = story.queue("second");
    story.renew(first).unwrap();
    story.state.finish(story.pool, first, JobResult::Failed, true, story.now).unwrap();
    assert_eq!(story.phase(second), Phase::Queued);
    story.state.close_session(story.pool, &session, story.now).unwrap();
    assert_eq!(story.phase(second), Phase::Queued);
}

#[test]
fn an_agent_has_one_session_until_it_has_not_polled_for_a_while() {
    let mut story = Story::new(Rules::default());
    let (agent, first) = story.online("a");
    let draft = || SessionDraft { agent, ..SessionDraft::default() };
    let conflict = story.state.open_session(story.pool, draft(), story.now);
    assert_eq!(conflict, Err(Refusal::SessionConflict("a".to_owned())));

    story.state.begin_poll(story.pool, &first, story.now).unwrap();
    story.pass(Duration::from_secs(3600));
    assert_eq!(story.state.online_agents(), 1, "a long poll is a sign of life");
    story.state.end_poll(story.pool, &first, story.now);
    story.pass(Duration::from_secs(120));
    assert_eq!(story.state.online_agents(), 0);

    let second = story.open(agent);
    assert_eq!(story.state.next_message(story.pool, &first, 0, story.now), Err(Refusal::SessionExpired(first.clone())));
    assert_eq!(story.state.next_message(story.pool, &second, 0, story.now), Ok(None));
}

#[test]
fn a_name_is_taken_once_and_a_busy_agent_cannot_be_removed() {
    let mut story = Story::new(Rules::default());
    let (agent, _) = story.online("a");
    let again = story.state.register(story.pool, AgentSpec::named("A"), story.now);
    assert_eq!(again, Err(Refusal::AgentExists { pool: story.pool, agent: "A".to_owned() }));

    let request = story.queue("x");
    let busy = Refusal::JobStillRunning { agent: "a".to_owned(), pool: POOL.to_owned() };
    assert_eq!(story.state.remove_agent(story.pool, agent, story.now), Err(busy));
    story.renew(request).unwrap();
    story.finish(request);
    story.state.remove_agent(story.pool, agent, story.now).unwrap();
    let record = story.state.history().next().unwrap();
    assert!(record.removed_at.is_some() && !record.was_surplus());
    assert_eq!((story.state.online_agents(), story.state.peak_online_agents()), (0, 1));
}

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
        assert_eq!(state.waiting.contains(&Turn::of(request)), request.phase() == Phase::Queued);
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
