//! Throttling, retries and deadlines.

use std::time::{Duration, Instant};

use tokio::{io::AsyncReadExt, net::TcpListener};

use super::{QUICK, Reply, Server, html, nothing, problem, reply};
use crate::azure_devops::{AzureDevOps, Error, PoolId, call::Timing};

#[tokio::test]
async fn a_wish_to_be_left_alone_on_a_good_answer_delays_every_next_call() {
    for headers in [&[("retry-after", "0.3")][..], &[("x-ratelimit-delay", "0.300")]] {
        let first = headers.iter().fold(nothing(), |reply, (name, value)| reply.header(name, value));
        let server = Server::start([first, nothing()]).await;
        let client = server.client();
        client.job_requests(PoolId(1)).await.unwrap();
        let (one, two) = tokio::join!(client.agents(PoolId(1)), client.job_requests(PoolId(2)));
        one.unwrap();
        two.unwrap();
        let seen = server.seen();
        assert_eq!(seen.len(), 3);
        for later in &seen[1..] {
            assert!(later.at - seen[0].at >= Duration::from_millis(295));
        }
    }
}

#[tokio::test]
async fn a_long_pause_is_an_error_at_once_and_nothing_is_sent() {
    let server = Server::start([nothing().header("retry-after", "600")]).await;
    let client = server.client();
    client.job_requests(PoolId(1)).await.unwrap();
    let Err(Error::Throttled(left)) = client.agents(PoolId(1)).await else { panic!("not throttled") };
    assert!(left > Duration::from_secs(590) && left <= Duration::from_secs(600), "{left:?}");
    assert_eq!(server.seen().len(), 1);
}

#[tokio::test]
async fn an_allowance_that_is_used_up_is_waited_for() {
    let reset = jiff::Timestamp::now().as_second() + 500;
    let used_up = nothing().header("x-ratelimit-remaining", "0").header("x-ratelimit-reset", &reset.to_string());
    let server = Server::start([used_up]).await;
    let client = server.client();
    client.job_requests(PoolId(1)).await.unwrap();
    assert!(matches!(client.agents(PoolId(1)).await, Err(Error::Throttled(left)) if left > Duration::from_secs(480)));
}

#[tokio::test]
async fn malformed_wishes_are_ignored() {
    let odd =
        nothing().header("retry-after", "soon").header("x-ratelimit-reset", "x").header("x-ratelimit-delay", "-3");
    let server = Server::start([odd]).await;
    let client = server.client();
    let start = Instant::now();
    client.job_requests(PoolId(1)).await.unwrap();
    client.job_requests(PoolId(1)).await.unwrap();
    assert!(start.elapsed() < Duration::from_secs(2));
}

#[tokio::test]
async fn a_refused_call_is_not_repeated_until_the_time_has_passed() {
    let server = Server::start([reply(429, "").header("retry-after", "0.2"), nothing()]).await;
    let client = server.client();
    assert!(matches!(client.job_requests(PoolId(1)).await, Err(Error::Throttled(_))));
    client.job_requests(PoolId(1)).await.unwrap();
    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen[1].at - seen[0].at >= Duration::from_millis(195));
}

#[tokio::test]
async fn what_may_go_well_the_next_time_is_tried_again() {
    let cut_body = nothing().cut();
    let cut_json = reply(200, r#"{"count":1,"value":[{"requestId":1"#);
    for answer in [reply(500, ""), html(502), problem(503, "X", "m"), reply(504, ""), cut_body, cut_json] {
        let server = Server::start([answer.clone(), answer, nothing()]).await;
        server.client().job_requests(PoolId(1)).await.unwrap();
        assert_eq!(server.seen().len(), 3);
    }
}

#[tokio::test]
async fn after_three_tries_it_gives_up() {
    let server = Server::start([reply(500, "")]).await;
    assert!(matches!(server.client().job_requests(PoolId(1)).await, Err(Error::Unavailable { status: 500, .. })));
    assert_eq!(server.seen().len(), 3);

    let server = Server::start([nothing().cut()]).await;
    assert!(matches!(server.client().job_requests(PoolId(1)).await, Err(Error::Unreadable(_))));
    assert_eq!(server.seen().len(), 3);
}

#[tokio::test]
async fn what_will_fail_the_same_way_is_not_tried_again() {
    let broken = reply(200, r#"{"value":[}"#);
    for answer in [reply(401, ""), reply(403, ""), reply(404, ""), reply(409, ""), reply(429, ""), html(203), broken] {
        let server = Server::start([answer]).await;
        server.client().job_requests(PoolId(1)).await.unwrap_err();
        assert_eq!(server.seen().len(), 1);
    }
}

#[tokio::test]
async fn a_dropped_connection_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/contoso", listener.local_addr().unwrap());
    let drop_one = tokio::spawn(async move {
        let (mut connection, _) = listener.accept().await.unwrap();
        let _ = connection.read(&mut [0; 512]).await.unwrap();
        drop(connection);
        Server::on(listener, [nothing()])
    });
    let client = crate::azure_devops::RestClient::with_timing(
        &url,
        crate::config::TokenSource::Value(super::TOKEN.into()),
        None,
        QUICK,
    );
    client.unwrap().job_requests(PoolId(1)).await.unwrap();
    assert_eq!(drop_one.await.unwrap().seen().len(), 1);
}

#[tokio::test]
async fn a_call_that_hangs_ends_at_its_deadline() {
    let hang: Reply = nothing().never();
    let server = Server::start([hang]).await;
    let timing = Timing { call: Duration::from_millis(200), ..QUICK };
    let start = Instant::now();
    let error = server.client_with(timing).job_requests(PoolId(1)).await.unwrap_err();
    assert_eq!(error, Error::Unreachable("127.0.0.1 did not answer within 200ms".to_owned()));
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[tokio::test]
async fn retries_end_at_the_deadline_too() {
    let server = Server::start([reply(503, "")]).await;
    let timing = Timing { call: Duration::from_millis(300), first_retry: Duration::from_secs(60), ..QUICK };
    let start = Instant::now();
    server.client_with(timing).job_requests(PoolId(1)).await.unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(3));
    assert_eq!(server.seen().len(), 1);
}
