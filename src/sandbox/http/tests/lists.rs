//! Lists that are wrong, pools that change, and a clock that does.

use jiff::{SignedDuration, Timestamp, fmt::rfc2822::DateTimeParser};

use super::*;

async fn names(sandbox: &Sandbox, path: &str) -> Vec<String> {
    let list = get(sandbox, path).await;
    let elements = list["value"].as_array().unwrap();
    assert_eq!(list["count"], elements.len());
    elements.iter().map(|element| element["name"].as_str().unwrap_or("?").to_owned()).collect()
}

#[tokio::test]
async fn lists_are_empty_or_shorter_or_doubled_or_bent_with_status_200() {
    let sandbox = start(Settings::default());
    let (id, pool) = pool(&sandbox);
    for name in ["a", "b", "c"] {
        sandbox.add_agent(id, AgentSpec::named(name)).unwrap();
    }
    let agents = format!("{pool}/agents");
    for (fault, expected) in [
        ("empty-list", &[][..]),
        ("half-list", &["b"]),
        ("short-list=2", &["c"]),
        ("doubled-list", &["a", "a", "b", "b", "c", "c"]),
        ("misshapen-list=name", &["?", "?", "?"]),
        ("out-of-sight", &[]),
    ] {
        sandbox.inject(format!("{fault}@agents*1").parse().unwrap());
        assert_eq!(names(&sandbox, &agents).await, expected, "{fault}");
        assert_eq!(names(&sandbox, &agents).await, ["a", "b", "c"]);
    }
    // An agent by its number is no list.
    sandbox.inject("empty-list".parse().unwrap());
    assert_eq!(get(&sandbox, &format!("{agents}/1")).await["name"], "a");
}

#[tokio::test]
async fn a_stale_list_is_one_of_a_while_ago() {
    let sandbox = start(Settings::default());
    let (id, pool) = pool(&sandbox);
    let agents = format!("{pool}/agents");
    assert!(names(&sandbox, &agents).await.is_empty());
    sandbox.add_agent(id, AgentSpec::named("a")).unwrap();
    sandbox.inject("stale-list=60s@agents*1".parse().unwrap());
    assert!(names(&sandbox, &agents).await.is_empty());
    assert_eq!(names(&sandbox, &agents).await, ["a"]);
}

#[tokio::test]
async fn a_token_may_only_read_or_lose_sight_of_a_pool() {
    let sandbox = start(Settings::default());
    let (id, pool) = pool(&sandbox);
    let other = sandbox.add_pool("other").unwrap();
    let agent = sandbox.add_agent(id, AgentSpec::named("a")).unwrap();
    let agents = format!("{pool}/agents");
    sandbox.inject(FaultKind::ReadOnly.always());
    assert_eq!(names(&sandbox, &agents).await, ["a"]);
    for (method, path) in [
        (Method::POST, agents.clone()),
        (Method::PATCH, format!("{agents}/{agent}")),
        (Method::PUT, format!("{agents}/{agent}")),
        (Method::DELETE, format!("{agents}/{agent}")),
        (Method::DELETE, pool.clone()),
    ] {
        let (status, key) = refused(&sandbox, method.clone(), &path, Some(json!({ "name": "a" }))).await;
        assert_eq!((status, key.as_str()), (403, "AccessDeniedException"), "{method} {path}");
    }
    open_session(&sandbox, &pool, agent).await;

    sandbox.clear_faults();
    sandbox.inject(FaultKind::OutOfSight.always().on(format!("pools/{id}")));
    sandbox.inject(FaultKind::OutOfSight.always().on("poolName=Linux"));
    assert!(names(&sandbox, "distributedtask/pools?poolName=Linux%20Builds").await.is_empty());
    assert!(names(&sandbox, &agents).await.is_empty());
    assert!(names(&sandbox, &format!("{pool}/jobrequests")).await.is_empty());
    assert_eq!(refused(&sandbox, Method::GET, &pool, None).await, (404, "TaskAgentPoolNotFoundException".to_owned()));
    assert_eq!(refused(&sandbox, Method::DELETE, &format!("{agents}/{agent}"), None).await.0, 404);
    assert_eq!(get(&sandbox, &format!("distributedtask/pools/{other}")).await["name"], "other");
}

#[tokio::test]
async fn a_late_reply_comes_after_the_call_is_done() {
    let sandbox = start(Settings::default());
    let (id, pool) = pool(&sandbox);
    sandbox.inject(FaultKind::LateReply(Duration::from_secs(600)).always().on("POST"));
    let agents = format!("{pool}/agents");
    let registration = try_call(&sandbox, Method::POST, &agents, Some(json!({ "name": "late" })));
    let registered = sandbox.until(Duration::from_secs(20), |state| state.pool(id).unwrap().size() == 1);
    tokio::select! {
        answer = registration => panic!("{answer:?}"),
        registered = registered => assert!(registered),
    }
}

#[tokio::test]
async fn pools_are_made_renamed_and_deleted_as_their_owner_does_it() {
    let sandbox = start(Settings::default());
    let (id, path) = pool(&sandbox);
    let pools = "distributedtask/pools";
    let renamed = call(&sandbox, Method::PATCH, &path, Some(json!({ "name": "Linux-old" }))).await;
    assert_eq!(renamed.json::<Value>().await.unwrap()["name"], "Linux-old");
    let made = call(&sandbox, Method::POST, pools, Some(json!({ "name": "Linux Builds" }))).await;
    let made: Value = made.json().await.unwrap();
    assert_ne!(made["id"], id);
    assert_eq!(get(&sandbox, &format!("{pools}?poolName=linux%20builds")).await["value"][0]["id"], made["id"]);
    let taken = refused(&sandbox, Method::PATCH, &path, Some(json!({ "name": "linux builds" }))).await;
    assert_eq!(taken, (409, "TaskAgentPoolExistsException".to_owned()));
    assert_eq!(refused(&sandbox, Method::POST, pools, Some(json!({ "name": "" }))).await.0, 400);
    assert_eq!(call(&sandbox, Method::DELETE, &path, None).await.status(), 204);
    assert_eq!(refused(&sandbox, Method::GET, &path, None).await, (404, "TaskAgentPoolNotFoundException".to_owned()));
}

#[tokio::test]
async fn the_organizations_clock_shows_in_its_stamps_and_in_each_answers_date() {
    let sandbox = start(Settings::default());
    let (id, _) = pool(&sandbox);
    sandbox.add_agent(id, AgentSpec::named("a")).unwrap();
    for hours in [2, -3, 0] {
        let ahead = SignedDuration::from_hours(hours);
        sandbox.set_clock_ahead(ahead);
        let request = sandbox.queue(id, JobSpec::new("ci", "x")).unwrap();
        let about = |moment: Timestamp| (moment.duration_since(Timestamp::now()) - ahead).abs().as_secs() < 60;
        assert!(about(sandbox.request(request).unwrap().queued_at), "{hours}");
        let response = call(&sandbox, Method::GET, "connectionData", None).await;
        let dates: Vec<_> = response.headers().get_all("date").iter().collect();
        assert_eq!(dates.len(), 1);
        let date = DateTimeParser::new().parse_timestamp(dates[0].to_str().unwrap()).unwrap();
        assert!(about(date), "{hours}: {date}");
    }
}
