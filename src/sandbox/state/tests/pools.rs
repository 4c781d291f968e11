//! Pools that are renamed, deleted, made again.

use super::*;

#[test]
fn a_renamed_pool_keeps_its_number_and_frees_its_name() {
    let mut story = Story::new(Rules::default());
    let agent = story.register("a");
    let taken = story.state.add_pool("windows".into(), story.now).unwrap();
    let refused = story.state.rename_pool(story.pool, "Windows".to_owned(), story.now);
    assert_eq!(refused, Err(Refusal::PoolExists("Windows".to_owned())));
    assert!(story.state.rename_pool(story.pool, " ".to_owned(), story.now).is_err());
    assert_eq!(story.state.rename_pool(99, "x".to_owned(), story.now), Err(Refusal::PoolNotFound(99)));

    story.state.rename_pool(story.pool, "linux-old".to_owned(), story.now).unwrap();
    assert!(story.state.pool_named(POOL).is_none());
    assert_eq!(story.state.pool_named("LINUX-OLD").unwrap().id, story.pool);
    assert!(story.state.agent(story.pool, agent).is_ok());
    let again = story.state.add_pool(POOL.into(), story.now).unwrap();
    assert!(again > taken && again != story.pool);
    // In another case it is still its own name.
    story.state.rename_pool(again, "LINUX".to_owned(), story.now).unwrap();
}

#[test]
fn a_deleted_pool_takes_its_agents_and_requests_along_and_its_number_is_never_used_again() {
    let mut story = Story::new(Rules::default());
    let agent = story.register("a");
    let session = story.open(agent);
    let running = story.queue("running");
    story.renew(running).unwrap();
    let waiting = story.queue("waiting");
    story.state.remove_pool(story.pool, story.now).unwrap();
    for request in [running, waiting] {
        let request = story.state.find_request(request).unwrap();
        assert_eq!(request.result, Some(JobResult::Canceled));
        assert_eq!(request.problem.as_deref(), Some("The agent pool linux was deleted."));
    }
    assert_eq!(story.state.unfinished().count(), 0);
    assert_eq!(story.state.online_agents(), 0);
    assert!(story.state.history().all(|agent| agent.removed_at.is_some()));
    assert_eq!(story.state.session_of(&session), None);
    assert!(matches!(story.state.begin_poll(story.pool, &session, story.now), Err(Refusal::PoolNotFound(_))));
    assert_eq!(story.state.remove_pool(story.pool, story.now), Err(Refusal::PoolNotFound(story.pool)));
    // It was the last one, and yet the next one has another number.
    assert_ne!(story.state.add_pool(POOL.into(), story.now).unwrap(), story.pool);
}
