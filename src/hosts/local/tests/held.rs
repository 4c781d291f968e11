//! Just-in-time agents: made, held, claimed, made ready, whoever dies in between.

use std::{
    os::unix::{fs::PermissionsExt as _, process::CommandExt as _},
    path::Path,
    process::{Command, Stdio},
};

use super::*;
use crate::{
    core::{EquipRun, Held, Progress},
    hosts::{AgentFiles, HostError, Started},
};

/// Says with which key it runs, then lives until it may go.
const WITH_KEY: &str =
    "echo started with $(cat \"$AZP_AGENT_FILES/.credentials_rsaparams\"); until [[ -e go ]]; do sleep 0.02; done";

fn just_in_time(name: &str) -> StartRun {
    StartRun { recipe: Recipe::JustInTime, ..request(name) }
}

fn files(key: &str) -> AgentFiles {
    let all = [(".agent", "{}"), (".credentials", "{}"), (".credentials_rsaparams", key)];
    all.into_iter().map(|(name, content)| (name, content.to_owned().into())).collect()
}

async fn the_run(host: &LocalHost) -> Run {
    host.runs().await.unwrap().into_iter().find(|run| run.name == NAME).expect("it is reported")
}

fn to_equip(run: &Run, held: Held) -> EquipRun {
    EquipRun { name: run.name.clone(), pool: run.pool.clone(), template: run.template.clone(), held }
}

/// As an orchestrator that comes after another one: looks, claims, makes ready.
async fn take_over(host: &LocalHost, key: &str) -> Result<(), HostError> {
    let run = the_run(host).await;
    let held = run.held.clone().ok_or_else(|| HostError::Unavailable("nobody has to".to_owned()))?;
    host.claim(&to_equip(&run, held)).await?;
    host.equip(NAME, &files(key)).await
}

fn is_unavailable(result: &Result<(), HostError>) -> bool {
    matches!(result, Err(HostError::Unavailable(_)))
}

fn log(host: &LocalHost) -> String {
    fs::read_to_string(host.log(NAME)).unwrap_or_default()
}

/// Two orchestrators on one folder, and a run that the first one has just made.
async fn two(place: &Place) -> (LocalHost, LocalHost) {
    let hosts = (place.host(WITH_KEY).known_as("first"), place.host(WITH_KEY).known_as("second"));
    assert_eq!(hosts.0.start(&just_in_time(NAME)).await, Ok(Started::Created));
    hosts
}

/// The one process that there is goes on with that key, and ends well.
async fn goes_well_with(key: &str, place: &Place, host: &LocalHost) {
    let started = format!("started with {key}\n");
    assert_eq!(logged(host, NAME, &started).await, started);
    let run = the_run(host).await;
    assert_eq!((run.held, run.progress), (None, Progress::Running));
    place.go(NAME);
    assert!(matches!(ended(host, NAME).await.phase, RunPhase::Succeeded(_)));
    assert_eq!(log(host), started, "once");
}

#[tokio::test]
async fn a_just_in_time_run_is_made_without_a_process_or_a_token_and_waits() {
    let place = Place::new();
    let (host, _) = two(&place).await;
    assert_eq!(super::super::folder::names_in(&place.run(NAME)).unwrap(), ["run.json"]);
    assert_eq!(host.start(&just_in_time(NAME)).await, Ok(Started::AlreadyThere));
    let run = the_run(&host).await;
    let by = run.held.as_ref().map(|held| held.by.as_str());
    assert_eq!((run.recipe, by, run.progress), (Recipe::JustInTime, Some("first"), Progress::Pending));
    assert!(run.is_live() && run.runs_since.is_none());
    host.tidy(std::slice::from_ref(&run)).await.unwrap();
    assert_eq!(host.runs().await.unwrap(), [run]);
}

#[tokio::test]
async fn a_held_run_may_wait_longer_than_a_process_may_take_to_show_itself() {
    let place = Place::new();
    let (host, _) = two(&place).await;
    let path = place.run(NAME).join("run.json");
    let mut record: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    record["createdAt"] = "2026-01-01T00:00:00Z".into();
    fs::write(&path, record.to_string()).unwrap();
    assert_eq!(phase(&host, NAME).await, Some(RunPhase::Live));
    host.equip(NAME, &files("k")).await.unwrap();
    let run = place.host("").runs().await.unwrap().remove(0);
    assert!(run.is_live() && run.runs_since > Some(run.created_at), "counted from its start: {run:?}");
    goes_well_with("k", &place, &host).await;
}

#[tokio::test]
async fn an_equipped_agent_has_its_files_and_no_token() {
    let place = Place::new();
    let host = place.host("env -0 >out; mv out all; sleep 1000");
    host.start(&just_in_time(NAME)).await.unwrap();
    host.equip(NAME, &files("private")).await.unwrap();
    let here = place.run(NAME);
    let all = here.join("agent/all");
    eventually("the environment", || all.exists().then_some(())).await;
    let environment = fs::read_to_string(all).unwrap();
    let has = |entry: &str| environment.split('\0').any(|other| other == entry);
    assert!(has(&format!("AZP_AGENT_FILES={}", here.join("files").display())), "{environment}");
    assert!(has("KUBECTL_ADO_REGISTRATION=just-in-time") && has(&format!("AZP_AGENT_NAME={NAME}")), "{environment}");
    assert!(!environment.contains("AZP_TOKEN"), "{environment}");

    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(here.join("files")), 0o700);
    for (name, content) in files("private") {
        let path = here.join("files").join(name);
        assert_eq!(mode(path.clone()), 0o600);
        assert_eq!(fs::read_to_string(path).unwrap(), secrecy::ExposeSecret::expose_secret(&content));
    }
    let mut folders = vec![here.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else {
                assert!(!String::from_utf8_lossy(&fs::read(&entry).unwrap()).contains(TOKEN), "{}", entry.display());
            }
        }
    }
    host.stop(NAME, Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn an_ended_run_keeps_no_key() {
    let place = Place::new();
    let host = place.host("exit 0");
    host.start(&just_in_time(NAME)).await.unwrap();
    host.equip(NAME, &files("k")).await.unwrap();
    let run = ended(&host, NAME).await;
    assert!(!place.run(NAME).join("files").exists(), "it goes with the process");
    assert_eq!((run.recipe, &run.held), (Recipe::JustInTime, &None));
    host.tidy(&[run]).await.unwrap();
    assert_eq!(super::super::folder::names_in(&place.run(NAME)).unwrap(), ["exit", "process", "run.json"]);
}

#[tokio::test]
async fn only_who_holds_a_run_makes_it_ready() {
    let place = Place::new();
    let (first, second) = two(&place).await;
    assert!(is_unavailable(&second.equip(NAME, &files("thief")).await));
    assert_eq!(super::super::folder::names_in(&place.run(NAME)).unwrap(), ["run.json"]);
    take_over(&second, "second").await.unwrap();
    assert!(is_unavailable(&first.equip(NAME, &files("late")).await));
    goes_well_with("second", &place, &second).await;
    assert!(is_unavailable(&second.equip(NAME, &files("twice")).await), "it has started and ended");
}

#[tokio::test]
async fn a_claim_of_what_has_changed_since_it_was_seen_fails() {
    let place = Place::new();
    let (first, second) = two(&place).await;
    let run = the_run(&second).await;
    let seen = to_equip(&run, run.held.clone().unwrap());
    second.claim(&seen).await.unwrap();
    assert!(is_unavailable(&first.claim(&seen).await));
    let run = the_run(&first).await;
    let held = run.held.clone().unwrap();
    assert!(held.by == "second" && held.since > seen.held.since, "{held:?}");
    first.claim(&to_equip(&run, held)).await.unwrap();
    for name in ["nobody", "../x"] {
        assert!(is_unavailable(&first.claim(&EquipRun { name: name.to_owned(), ..seen.clone() }).await), "{name}");
        assert!(is_unavailable(&first.equip(name, &files("k")).await), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_many_who_take_a_run_over_at_once_one_makes_a_process() {
    let place = Place::new();
    let (first, _) = two(&place).await;
    let hosts: Vec<_> = (0..8).map(|n| place.host(WITH_KEY).known_as(&format!("other {n}"))).collect();
    let taken = futures::future::join_all(hosts.iter().map(|host| take_over(host, "theirs"))).await;
    assert!(taken.iter().any(Result::is_ok), "{taken:?}");
    // Who was beaten at one look may have claimed at the next one; the last mark is the one that counts.
    assert!(taken.iter().all(|taken| taken.is_ok() || is_unavailable(taken)), "{taken:?}");
    goes_well_with("theirs", &place, &first).await;
}

#[tokio::test]
async fn killed_with_the_files_half_written_the_next_one_begins_from_the_start() {
    let place = Place::new();
    let (first, second) = two(&place).await;
    first.shared.furnish_held(NAME, &files("first")).unwrap();
    fs::write(place.run(NAME).join("files/.proxy"), "http://old").unwrap();
    drop(first);
    assert!(the_run(&second).await.held.is_some());
    take_over(&second, "second").await.unwrap();
    assert!(!place.run(NAME).join("files/.proxy").exists());
    goes_well_with("second", &place, &second).await;
}

#[tokio::test]
async fn killed_before_it_took_its_mark_away_its_process_is_the_one_that_counts() {
    let place = Place::new();
    let (first, second) = two(&place).await;
    let run = the_run(&first).await;
    first.shared.furnish_held(NAME, &files("first")).unwrap();
    let record = first.shared.folder.record(NAME).unwrap().unwrap();
    first.shared.set_going(NAME, &record).unwrap();
    logged(&second, NAME, "started").await;
    drop(first);
    assert!(second.shared.folder.record(NAME).unwrap().unwrap().held().is_some(), "the mark is still there");
    assert_eq!(the_run(&second).await.held, None);
    assert!(is_unavailable(&second.claim(&to_equip(&run, run.held.clone().unwrap())).await));
    goes_well_with("first", &place, &second).await;
}

/// What a killed orchestrator started and what has not yet said that it is there, for as long as it likes.
fn slow_to_show_itself(run: &Path) -> std::process::Child {
    let mut slow = Command::new("sleep");
    slow.arg("1000").env_clear().env("AZP_AGENT_ROOT", run.join("agent")).stdin(Stdio::null()).process_group(0);
    slow.spawn().unwrap()
}

#[tokio::test]
async fn killed_before_its_process_showed_itself_that_one_is_ended_before_another_is_started() {
    let place = Place::new();
    let (first, second) = two(&place).await;
    first.shared.furnish_held(NAME, &files("first")).unwrap();
    let mut slow = slow_to_show_itself(&place.run(NAME));
    eventually("it is there", || (!processes(&first, NAME).is_empty()).then_some(())).await;
    drop(first);
    take_over(&second, "second").await.unwrap();
    assert!(!slow.wait().unwrap().success(), "ended");
    goes_well_with("second", &place, &second).await;
}

#[tokio::test]
async fn killed_after_a_claim_the_next_one_claims_it_from_there() {
    let place = Place::new();
    let (_, second) = two(&place).await;
    let run = the_run(&second).await;
    second.claim(&to_equip(&run, run.held.clone().unwrap())).await.unwrap();
    drop(second);
    let third = place.host(WITH_KEY).known_as("third");
    take_over(&third, "third").await.unwrap();
    goes_well_with("third", &place, &third).await;
}

#[tokio::test]
async fn a_second_process_of_a_run_gives_up() {
    let place = Place::new();
    let (host, _) = two(&place).await;
    host.equip(NAME, &files("k")).await.unwrap();
    logged(&host, NAME, "started").await;
    let before = fs::read_to_string(place.run(NAME).join("process")).unwrap();
    let record = host.shared.folder.record(NAME).unwrap().unwrap();
    let mut another = host.shared.launcher.spawn(&host.shared.folder, NAME, &record).unwrap();
    let code = eventually("it gives up", || another.try_wait().unwrap()).await;
    assert_eq!(code.code(), Some(1));
    assert_eq!(fs::read_to_string(place.run(NAME).join("process")).unwrap(), before);
    assert!(the_run(&host).await.is_live() && place.run(NAME).join("files").exists());
    assert_eq!(log(&host).matches("started").count(), 1);
    host.stop(NAME, Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_held_run_that_is_stopped_has_failed_and_is_not_made_ready_any_more() {
    let place = Place::new();
    let (first, second) = two(&place).await;
    let run = the_run(&first).await;
    second.stop(NAME, Duration::from_secs(30)).await.unwrap();
    let stopped = ended(&first, NAME).await;
    assert!(reason(&stopped).starts_with("it was stopped"), "{stopped:?}");
    assert_eq!(stopped.held, None);
    assert!(is_unavailable(&first.equip(NAME, &files("k")).await));
    assert!(is_unavailable(&second.claim(&to_equip(&run, run.held.clone().unwrap())).await));
    assert_eq!(processes(&first, NAME), Vec::<i32>::new());
}

#[tokio::test]
async fn a_run_that_was_stopped_while_it_was_made_ready_leaves_nothing_running() {
    let place = Place::new();
    let (first, second) = two(&place).await;
    first.shared.furnish_held(NAME, &files("first")).unwrap();
    let mut slow = slow_to_show_itself(&place.run(NAME));
    eventually("it is there", || (!processes(&first, NAME).is_empty()).then_some(())).await;
    second.stop(NAME, Duration::ZERO).await.unwrap();
    assert!(!slow.wait().unwrap().success());
    assert!(!place.run(NAME).join("files").exists());
    assert!(reason(&the_run(&second).await).starts_with("it was stopped"));
}

#[tokio::test]
async fn the_agents_own_script_asks_for_no_token() {
    let place = Place::new();
    let config = LocalConfig { folder: place.path() };
    let token = TokenSource::Value(TOKEN.into());
    let host = LocalHost::open(&config, URL, token, Installation::new("ours"), place.retention).unwrap();
    host.start(&just_in_time(NAME)).await.unwrap();
    host.equip(NAME, &files("k")).await.unwrap();
    assert!(reason(&ended(&host, NAME).await).starts_with("exit code 1;"));
    // All that is missing here is the agent itself.
    assert!(log(&host).contains("/files/packages names no package for the platform "), "{}", log(&host));
}

#[tokio::test]
async fn the_init_container_recipe_is_the_token_recipe_here() {
    let place = Place::new();
    let host = place.host("cat \"$AZP_TOKEN_FILE\"; exit 0");
    host.start(&StartRun { recipe: Recipe::InitContainer, ..request(NAME) }).await.unwrap();
    let run = ended(&host, NAME).await;
    assert_eq!((run.recipe, log(&host).as_str()), (Recipe::Token, TOKEN));
}
