//! Starting, finding again, ending by itself.

use super::*;
use crate::hosts::{HostError, Started};

#[tokio::test]
async fn a_run_is_live_until_its_script_ends_well() {
    let place = Place::new();
    let host = place.host(UNTIL_GO);
    assert_eq!(host.start(&request(NAME)).await, Ok(Started::Created));

    let runs = host.runs().await.unwrap();
    assert_eq!(runs.len(), 1);
    let run = &runs[0];
    assert_eq!((run.name.as_str(), run.pool.as_str(), run.template.as_str()), (NAME, "Linux Builds", "default"));
    assert_eq!((run.purpose, run.attempt, run.is_live()), (Purpose::Request(RequestId(7)), 1, true));

    logged(&host, NAME, "started").await;
    assert_eq!(phase(&host, NAME).await, Some(RunPhase::Live));
    place.go(NAME);
    assert!(matches!(ended(&host, NAME).await.phase, RunPhase::Succeeded(at) if at >= run.created_at));
}

#[tokio::test]
async fn a_script_that_fails_is_a_failed_run_with_its_exit_code_and_its_log() {
    let place = Place::new();
    let host = place.host("echo error: no >&2; exit 3");
    host.start(&request(NAME)).await.unwrap();
    let run = ended(&host, NAME).await;
    assert_eq!(reason(&run), format!("exit code 3; see {}", host.log(NAME).display()));
    assert_eq!(fs::read_to_string(host.log(NAME)).unwrap(), "error: no\n");
}

#[tokio::test]
async fn starting_it_again_is_harmless_also_when_it_has_ended() {
    let place = Place::new();
    let host = place.host(UNTIL_GO);
    assert_eq!(host.start(&request(NAME)).await, Ok(Started::Created));
    assert_eq!(host.start(&request(NAME)).await, Ok(Started::AlreadyThere));
    place.go(NAME);
    ended(&host, NAME).await;
    assert_eq!(host.start(&request(NAME)).await, Ok(Started::AlreadyThere));
    assert_eq!(fs::read_to_string(host.log(NAME)).unwrap(), "started\n");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_starts_at_once_one_makes_a_process() {
    let place = Place::new();
    let hosts: Vec<_> = (0..8).map(|_| place.host(UNTIL_GO)).collect();
    let run = request(NAME);
    let started = futures::future::join_all(hosts.iter().map(|host| host.start(&run))).await;
    let count = |what| started.iter().filter(|&started| *started == Ok(what)).count();
    assert_eq!((count(Started::Created), count(Started::AlreadyThere)), (1, 7), "{started:?}");
    place.go(NAME);
    ended(&hosts[0], NAME).await;
    assert_eq!(fs::read_to_string(hosts[0].log(NAME)).unwrap(), "started\n");
}

#[tokio::test]
async fn an_orchestrator_that_starts_again_finds_what_runs() {
    let place = Place::new();
    let first = place.host(UNTIL_GO);
    first.start(&request(NAME)).await.unwrap();
    let before = first.runs().await.unwrap();
    drop(first);

    let second = place.host("exit 99");
    assert_eq!(second.runs().await.unwrap(), before);
    assert_eq!(second.start(&request(NAME)).await, Ok(Started::AlreadyThere));
    logged(&second, NAME, "started").await;
    assert_eq!(phase(&second, NAME).await, Some(RunPhase::Live));
    place.go(NAME);
    assert!(matches!(ended(&second, NAME).await.phase, RunPhase::Succeeded(_)));
}

#[tokio::test]
async fn the_moment_of_the_end_stays_what_it_is() {
    let place = Place::new();
    let host = place.host("kill -KILL $PPID; sleep 1000");
    host.start(&request(NAME)).await.unwrap();
    let run = ended(&host, NAME).await;
    assert!(reason(&run).starts_with("it ended without an exit code (killed?); see /"), "{run:?}");
    assert_eq!(place.host("").runs().await.unwrap(), [run]);
}

#[tokio::test]
async fn what_a_killed_run_left_running_is_ended() {
    let place = Place::new();
    let host = place.host("kill -KILL $PPID; sleep 1000");
    host.start(&request(NAME)).await.unwrap();
    ended(&host, NAME).await;
    assert_ne!(processes(&host, NAME), Vec::<i32>::new());
    host.tidy(&host.runs().await.unwrap()).await.unwrap();
    assert_eq!(processes(&host, NAME), Vec::<i32>::new());
}

#[tokio::test]
async fn what_an_ended_run_left_running_in_its_group_goes_with_it() {
    let place = Place::new();
    let host = place.host("sleep 1000 & exit 0");
    host.start(&request(NAME)).await.unwrap();
    assert!(matches!(ended(&host, NAME).await.phase, RunPhase::Succeeded(_)));
    eventually("the group is gone", || processes(&host, NAME).is_empty().then_some(())).await;
}

#[tokio::test]
async fn another_process_with_the_same_number_is_not_mistaken_for_the_run() {
    let place = Place::new();
    let host = place.host("exit 0");
    host.start(&request(NAME)).await.unwrap();
    ended(&host, NAME).await;
    // This very process has the number now; were it taken for the run, it would be killed.
    fs::write(place.run(NAME).join("process"), format!("{} 12345@before\n", std::process::id())).unwrap();
    fs::remove_file(place.run(NAME).join("exit")).unwrap();
    let run = ended(&host, NAME).await;
    assert!(reason(&run).starts_with("it ended without an exit code"), "{run:?}");
    host.stop(NAME, Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_run_whose_process_never_appeared_has_failed_after_ten_seconds() {
    let place = Place::new();
    let host = place.host(UNTIL_GO);
    let mut record = super::super::Record::new(&Installation::new("ours"), URL, &request(NAME));
    let here = place.run(NAME);
    fs::create_dir_all(&here).unwrap();
    fs::write(here.join("run.json"), serde_json::to_string(&record).unwrap()).unwrap();
    assert_eq!(phase(&host, NAME).await, Some(RunPhase::Live));

    record.created_at -= Duration::from_secs(11);
    fs::write(here.join("run.json"), serde_json::to_string(&record).unwrap()).unwrap();
    assert!(reason(&host.runs().await.unwrap()[0]).starts_with("it never started"));
}

#[tokio::test]
async fn a_folder_that_a_crash_left_half_made_is_made_anew() {
    let place = Place::new();
    let host = place.host("cat old; exit 0");
    fs::create_dir_all(place.run(NAME).join("agent")).unwrap();
    fs::write(place.run(NAME).join("agent/old"), "old").unwrap();
    assert_eq!(host.runs().await.unwrap(), []);
    assert_eq!(host.start(&request(NAME)).await, Ok(Started::Created));
    assert!(matches!(ended(&host, NAME).await.phase, RunPhase::Succeeded(_)));
    assert!(!fs::read_to_string(host.log(NAME)).unwrap().starts_with("old"));
}

#[tokio::test]
async fn a_name_that_another_installation_has_is_a_collision() {
    let place = Place::new();
    let theirs = place.host_with("exit 0", "theirs", TokenSource::Value(TOKEN.into()));
    theirs.start(&request(NAME)).await.unwrap();
    let ours = place.host("exit 0");
    let error = ours.start(&request(NAME)).await.unwrap_err();
    assert_eq!(error.reason(), "collision");
    assert!(error.to_string().contains("installation theirs"), "{error}");
    assert_eq!(ours.runs().await.unwrap(), []);
    ours.stop(NAME, Duration::ZERO).await.unwrap();
    assert!(matches!(ended(&theirs, NAME).await.phase, RunPhase::Succeeded(_)));
}

#[tokio::test]
async fn a_name_that_leads_out_of_the_folder_is_refused() {
    let place = Place::new();
    let host = place.host("exit 0");
    for name in ["", "..", "../x", "/tmp/x", "-x", "A"] {
        assert!(matches!(host.start(&request(name)).await, Err(HostError::Refused { .. })), "{name}");
    }
}
