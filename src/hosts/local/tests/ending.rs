//! Stopping.

use super::*;

#[tokio::test]
async fn stop_ends_the_whole_group_and_those_who_left_it() {
    let place = Place::new();
    let host = place.host("trap '' TERM; bash -c 'sleep 1000 & sleep 1000' & setsid sleep 1000 & echo started; wait");
    host.start(&request(NAME)).await.unwrap();
    logged(&host, NAME, "started").await;
    eventually("all processes", || (processes(&host, NAME).len() >= 6).then_some(())).await;

    host.stop(NAME, Duration::from_millis(100)).await.unwrap();
    assert_eq!(processes(&host, NAME), Vec::<i32>::new());
    assert!(reason(&ended(&host, NAME).await).starts_with("it was stopped"));
    assert!(!place.run(NAME).join("agent").exists());
}

#[tokio::test]
async fn the_script_alone_is_told_to_stop_and_may_take_its_time() {
    let place = Place::new();
    let script = "
        bash -c 'trap \"echo the job was disturbed\" TERM; until [[ -e go ]]; do sleep 0.02; done; echo job done' &
        trap 'echo told; wait; exit 7' TERM
        echo started
        wait";
    let host = place.host(script);
    host.start(&request(NAME)).await.unwrap();
    logged(&host, NAME, "started").await;

    let stop = host.stop(NAME, Duration::from_secs(30));
    let go = async {
        logged(&host, NAME, "told").await;
        place.go(NAME);
    };
    let (stopped, ()) = tokio::join!(stop, go);
    stopped.unwrap();
    assert!(reason(&ended(&host, NAME).await).starts_with("exit code 7;"));
    let log = fs::read_to_string(host.log(NAME)).unwrap();
    assert_eq!(log, "started\ntold\njob done\n");
}

#[tokio::test]
async fn a_signal_to_the_whole_group_does_not_cost_the_exit_code() {
    let place = Place::new();
    let host = place.host("trap 'exit 7' TERM; kill -TERM -- -$PPID; sleep 1000 & wait");
    host.start(&request(NAME)).await.unwrap();
    assert!(reason(&ended(&host, NAME).await).starts_with("exit code 7;"));
}

#[tokio::test]
async fn stop_all_ends_adopted_runs_too_and_those_that_have_just_begun() {
    let place = Place::new();
    let first = place.host("echo started; sleep 1000");
    first.start(&request("a")).await.unwrap();
    logged(&first, "a", "started").await;
    drop(first);

    let host = place.host("sleep 1000");
    host.start(&request("b")).await.unwrap();
    host.stop_all(Duration::ZERO).await.unwrap();
    assert_eq!(host.wait_until_all_ended(Some(Duration::ZERO)).await.unwrap(), Vec::<String>::new());
    for name in ["a", "b"] {
        assert_eq!(processes(&host, name), Vec::<i32>::new());
        assert!(matches!(phase(&host, name).await, Some(RunPhase::Failed(..))));
    }
}

#[tokio::test]
async fn a_run_that_is_ended_without_having_failed_leaves_nothing_that_the_next_one_waits_for() {
    let place = Place::new();
    let host = place.host("trap 'exit 143' TERM; echo started; sleep 1000 & wait");
    let stopped_for = async |reason: StopReason, recipe| {
        host.start(&StartRun { recipe, ..request(NAME) }).await.unwrap();
        if recipe == Recipe::Token {
            logged(&host, NAME, "started").await;
        }
        let stop = StopRun { name: NAME.into(), pool: "Default".into(), reason, agent: None };
        AgentHost::stop(&host, &stop).await.unwrap();
        assert_eq!(processes(&host, NAME), Vec::<i32>::new());
        phase(&host, NAME).await
    };
    assert_eq!(stopped_for(StopReason::TakenBack, Recipe::Token).await, None);
    assert!(host.log(NAME).exists(), "its log can still be read");
    assert_eq!(stopped_for(StopReason::NeverReady, Recipe::JustInTime).await, None);
    assert!(matches!(stopped_for(StopReason::NeverCame(None), Recipe::Token).await, Some(RunPhase::Failed(..))));
}

#[tokio::test]
async fn stopping_what_has_ended_or_never_was_is_fine() {
    let place = Place::new();
    let host = place.host("exit 0");
    host.start(&request(NAME)).await.unwrap();
    ended(&host, NAME).await;
    for name in [NAME, "nobody", "../../x"] {
        host.stop(name, Duration::from_secs(5)).await.unwrap();
    }
    assert!(matches!(phase(&host, NAME).await, Some(RunPhase::Succeeded(_))));
}

#[tokio::test]
async fn waiting_for_all_to_end_names_those_that_do_not() {
    let place = Place::new();
    let host = place.host(UNTIL_GO);
    for name in ["a", "b"] {
        host.start(&request(name)).await.unwrap();
    }
    place.go("a");
    eventually("a is done", || place.run("a").join("exit").exists().then_some(())).await;
    eventually("a is gone", || processes(&host, "a").is_empty().then_some(())).await;
    assert_eq!(host.wait_until_all_ended(Some(Duration::ZERO)).await.unwrap(), ["b"]);
    let (live, ()) = tokio::join!(host.wait_until_all_ended(None), async { place.go("b") });
    assert_eq!(live.unwrap(), Vec::<String>::new());
}

#[tokio::test]
async fn an_ended_child_is_no_zombie() {
    let place = Place::new();
    let host = place.host("exit 0");
    host.start(&request(NAME)).await.unwrap();
    let pid = host.shared.children().get(NAME).expect("a child").id();
    ended(&host, NAME).await;
    // The first look may see it dead before it can be collected.
    host.runs().await.unwrap();
    assert!(host.shared.children().is_empty());
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    assert!(!stat.contains(") Z "), "{stat}");
}
