//! Files of runs that a pipeline step has overwritten: agents run as our own user.

use super::*;
use crate::hosts::HostError;

fn refusal(result: Result<(), HostError>) -> (String, String) {
    match result {
        Err(HostError::Refused { message, fix: Some(fix), .. }) => (message, fix),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn an_unreadable_record_of_an_ended_run_stops_no_other_run() {
    let place = Place::new();
    let host = place.host("[[ $AZP_AGENT_NAME == bad ]] || { echo started; until [[ -e go ]]; do sleep 0.02; done; }");
    host.start(&request("bad")).await.unwrap();
    ended(&host, "bad").await;
    fs::write(place.run("bad").join("run.json"), "{").unwrap();
    host.start(&request("good")).await.unwrap();
    let names = |runs: Vec<Run>| runs.into_iter().map(|run| run.name).collect::<Vec<_>>();
    assert_eq!(names(host.runs().await.unwrap()), ["bad", "good"], "its record is remembered");

    // An orchestrator that starts now remembers nothing.
    let next = place.host(UNTIL_GO);
    let runs = next.runs().await.unwrap();
    assert_eq!(names(runs.clone()), ["good"]);
    next.start(&request("third")).await.unwrap();
    let (message, fix) = refusal(next.tidy(&runs).await);
    assert!(message.contains("\"bad\"") && message.contains("run.json"), "{message}");
    assert!(fix.contains(&place.run("bad").display().to_string()), "{fix}");
    assert!(matches!(next.start(&request("bad")).await, Err(HostError::Refused { .. })), "its name stays taken");
    next.stop_all(Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_live_run_keeps_its_place_whatever_its_files_say() {
    let place = Place::new();
    let host = place.host(UNTIL_GO);
    host.start(&request(NAME)).await.unwrap();
    logged(&host, NAME, "started").await;
    fs::write(place.run(NAME).join("run.json"), "\u{0}").unwrap();
    let remembered = host.runs().await.unwrap();
    assert_eq!((remembered[0].pool.as_str(), remembered.len()), ("Linux Builds", 1));

    let next = place.host(UNTIL_GO);
    let runs = next.runs().await.unwrap();
    assert_eq!((runs.len(), runs[0].name.as_str(), &runs[0].phase), (1, NAME, &RunPhase::Live));
    next.stop(NAME, Duration::ZERO).await.unwrap();
    assert_eq!(phase(&next, NAME).await, Some(RunPhase::Live), "nobody knows whose it is");

    let process = place.run(NAME).join("process");
    fs::remove_file(&process).unwrap();
    fs::create_dir(&process).unwrap();
    assert_eq!(phase(&host, NAME).await, Some(RunPhase::Live));
    place.go(NAME);
}

#[tokio::test]
async fn an_exit_file_that_cannot_be_read_is_a_failure_of_that_run_alone() {
    let place = Place::new();
    let host = place.host("exit 0");
    host.start(&request(NAME)).await.unwrap();
    ended(&host, NAME).await;
    let exit = place.run(NAME).join("exit");
    fs::remove_file(&exit).unwrap();
    fs::create_dir(&exit).unwrap();
    let run = ended(&host, NAME).await;
    assert!(reason(&run).contains("exit"), "{run:?}");
    let (message, _) = refusal(host.tidy(&[run]).await);
    assert!(message.contains(NAME), "{message}");
}
