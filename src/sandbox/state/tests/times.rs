//! How requests and sessions end: canceled, too late, not heard of any more.

use std::time::Duration;

use super::*;

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
