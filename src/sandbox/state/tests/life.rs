//! Who is given which request, and when none is.

use std::time::Duration;

use super::*;

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

#[test]
fn a_client_id_lives_as_long_as_its_registration() {
    let mut story = Story::new(Rules::default());
    let public_key = PublicKey { exponent: vec![1, 0, 1], modulus: vec![0xff; 256] };
    let key = KeySpec { public_key, authorization_url: "http://here/token".to_owned() };
    let spec = AgentSpec { key: Some(key), ..AgentSpec::named("a") };
    let agent = story.state.register(story.pool, spec.clone(), story.now).unwrap();
    let client = |story: &Story| {
        let authorization = story.state.agent(story.pool, agent).unwrap().authorization.clone();
        authorization.map(|authorization| authorization.client_id)
    };
    let first = client(&story).unwrap();
    assert_eq!(story.state.client(&first).map(|(pool, agent)| (pool, agent.id)), Some((story.pool, agent)));
    story.state.replace(story.pool, agent, spec.clone(), story.now).unwrap();
    let second = client(&story).unwrap();
    assert!(first != second && story.state.client(&first).is_none() && story.state.client(&second).is_some());
    story.state.replace(story.pool, agent, AgentSpec::named("a"), story.now).unwrap();
    assert!(client(&story).is_none() && story.state.client(&second).is_none());
    story.state.replace(story.pool, agent, spec, story.now).unwrap();
    let third = client(&story).unwrap();
    story.state.remove_agent(story.pool, agent, story.now).unwrap();
    assert!(story.state.client(&third).is_none());
}
