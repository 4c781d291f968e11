//! What stays, for how long, and what does not.

use super::*;
use crate::hosts::HostError;

#[tokio::test]
async fn an_ended_run_keeps_its_record_and_its_log_alone() {
    let place = Place::new();
    let host = place.host("echo hello; mkdir -p _work/deep; echo x >_work/deep/file; exit 4");
    host.start(&request(NAME)).await.unwrap();
    let run = ended(&host, NAME).await;
    assert!(!place.run(NAME).join("token").exists(), "the token goes with the process");
    host.tidy(std::slice::from_ref(&run)).await.unwrap();

    let left = super::super::folder::names_in(&place.run(NAME)).unwrap();
    assert_eq!(left, ["exit", "process", "run.json"]);
    assert_eq!(fs::read_to_string(host.log(NAME)).unwrap(), "hello\n");
    assert_eq!(host.runs().await.unwrap(), [run]);
}

#[tokio::test]
async fn tidying_leaves_a_live_run_alone() {
    let place = Place::keeping_nothing();
    let host = place.host("echo started; until [[ -e go ]]; do sleep 0.02; done; cat $AZP_TOKEN_FILE");
    host.start(&request(NAME)).await.unwrap();
    for _ in 0..3 {
        host.tidy(&host.runs().await.unwrap()).await.unwrap();
    }
    logged(&host, NAME, "started").await;
    place.go(NAME);
    assert!(matches!(ended(&host, NAME).await.phase, RunPhase::Succeeded(_)));
}

#[tokio::test]
async fn a_run_that_is_older_than_its_retention_goes_with_its_log() {
    let mut place = Place::keeping_nothing();
    place.retention.failed = Duration::from_secs(86_400);
    let host = place.host("[[ $AZP_AGENT_NAME == well ]]");
    for name in ["well", "badly"] {
        host.start(&request(name)).await.unwrap();
    }
    host.wait_until_all_ended(None).await.unwrap();
    host.tidy(&host.runs().await.unwrap()).await.unwrap();
    let names: Vec<_> = host.runs().await.unwrap().into_iter().map(|run| run.name).collect();
    assert_eq!(names, ["badly"]);
    assert!(host.log("well").exists(), "logs are kept as long as those of failed runs");

    place.retention.failed = Duration::ZERO;
    let host = place.host("");
    host.tidy(&host.runs().await.unwrap()).await.unwrap();
    assert_eq!(host.runs().await.unwrap(), []);
    assert!(!host.log("well").exists() && !host.log("badly").exists());
}

#[tokio::test]
async fn what_was_seen_to_end_and_made_anew_since_is_not_removed() {
    let place = Place::keeping_nothing();
    let host = place.host(UNTIL_GO);
    host.start(&request(NAME)).await.unwrap();
    logged(&host, NAME, "started").await;
    place.go(NAME);
    let old = ended(&host, NAME).await;
    host.tidy(std::slice::from_ref(&old)).await.unwrap();
    host.start(&request(NAME)).await.unwrap();
    host.tidy(&[old]).await.unwrap();
    assert_eq!(phase(&host, NAME).await, Some(RunPhase::Live));
}

#[tokio::test]
async fn half_made_folders_are_removed() {
    let place = Place::new();
    let host = place.host("");
    fs::create_dir_all(place.run(NAME).join("agent")).unwrap();
    host.tidy(&[]).await.unwrap();
    assert!(!place.run(NAME).exists());
}

#[tokio::test]
async fn clearing_leaves_no_folder_behind() {
    let place = Place::new();
    let installation = LocalHost::installation(&place.path(), None).unwrap();
    let host = place.host_with(UNTIL_GO, installation.id(), TokenSource::Value(TOKEN.into()));
    for name in ["a", "b"] {
        host.start(&request(name)).await.unwrap();
    }
    host.clear(None).await.unwrap();
    assert_eq!(host.runs().await.unwrap().len(), 2, "what lives stays");
    host.stop_all(Duration::ZERO).await.unwrap();
    host.clear(Some(vec!["Another".to_owned()])).await.unwrap();
    assert_eq!(host.runs().await.unwrap().len(), 2, "what is of other pools stays");
    host.clear(None).await.unwrap();
    assert!(!place.path().exists());
}

#[test]
fn the_installation_id_is_made_once_and_for_all_who_ask_at_once() {
    let place = Place::new();
    let path = place.path();
    let id = || LocalHost::installation(&path, None).unwrap().id().to_owned();
    let ids: Vec<_> = std::thread::scope(|scope| {
        let asking: Vec<_> = (0..8).map(|_| scope.spawn(id)).collect();
        asking.into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    assert!(ids.iter().all(|id| *id == ids[0] && id.len() == 26), "{ids:?}");
    assert_eq!(id(), ids[0]);
    assert_eq!(LocalHost::installation(&path, Some("mine")).unwrap().id(), "mine");
    assert_ne!(LocalHost::installation(&place.folder.path().join("other"), None).unwrap().id(), ids[0]);
}

#[test]
fn a_spoilt_installation_id_is_an_error_that_says_how_to_mend_it() {
    let place = Place::new();
    fs::create_dir_all(place.path()).unwrap();
    fs::write(place.path().join("installation-id"), "\n").unwrap();
    let error = LocalHost::installation(&place.path(), None).unwrap_err();
    assert!(
        matches!(&error, HostError::Refused { fix: Some(fix), .. } if fix.contains("INSTALLATION_ID")),
        "{error:?}"
    );
}

#[test]
fn a_folder_that_cannot_be_is_an_error_that_names_it() {
    let place = Place::new();
    let file = place.folder.path().join("file");
    fs::write(&file, "").unwrap();
    let config = LocalConfig { folder: file.join("below") };
    let token = TokenSource::Value(TOKEN.into());
    let error = LocalHost::open(&config, URL, token, Installation::new("ours"), place.retention).unwrap_err();
    assert_eq!(error.reason(), "invalid");
    assert!(error.to_string().contains("/file/below"), "{error}");
}
