//! Just-in-time runs between their Job and their Secret: what is asked of the API server, and what its refusals mean.

use std::time::Duration;

use tokio::time::sleep;

use super::*;

const SOON: Duration = Duration::from_millis(100);

fn just_in_time(request: i64) -> StartRun {
    StartRun { recipe: Recipe::JustInTime, ..start(request) }
}

fn files() -> AgentFiles {
    AgentFiles::from([(".agent", "{}".into()), (".credentials_rsaparams", "a key of some length".into())])
}

/// The Job as it is held by somebody.
fn held(request: i64, mark: &str) -> Value {
    let mut held = job(request);
    held["spec"]["suspend"] = json!(true);
    held["metadata"]["annotations"]["kubectl-ado/registration"] = json!("just-in-time");
    held["metadata"]["annotations"]["kubectl-ado/held"] = json!(mark);
    held
}

fn seen(run: &Run) -> EquipRun {
    let Run { name, pool, template, held, .. } = run.clone();
    EquipRun { name, pool, template, held: held.unwrap() }
}

fn calls(fake: &Fake, call: &str) -> Vec<Value> {
    fake.with(|server| server.calls.iter().filter(|(made, _)| made == call).map(|(_, with)| with.clone()).collect())
}

/// A host that has just made the Job of request 1.
async fn begun(fake: &Fake) -> KubernetesHost {
    let host = fake.host();
    host.runs().await.unwrap();
    assert_eq!(host.start(&just_in_time(1)).await, Ok(Started::Created));
    host
}

#[tokio::test(start_paused = true)]
async fn who_has_made_a_job_makes_it_ready_in_two_calls() {
    let fake = Fake::default();
    let host = begun(&fake).await;
    let run = host.runs().await.unwrap().remove(0);
    assert_eq!((run.held.unwrap().by.as_str(), run.recipe), ("me", Recipe::JustInTime));
    host.equip(&start(1).name, &files()).await.unwrap();
    assert_eq!(host.runs().await.unwrap()[0].held, None, "it is ready, though no watch has shown it");

    let [secret] = &calls(&fake, "create secrets")[..] else { panic!() };
    assert_eq!((&secret["metadata"]["name"], &secret["immutable"]), (&json!("agent-job-us-1"), &json!(true)));
    let owner = json!([{"apiVersion": "batch/v1", "kind": "Job", "name": "agent-job-us-1", "uid": "made"}]);
    assert_eq!(secret["metadata"]["ownerReferences"], owner);
    assert_eq!(secret["metadata"]["labels"]["app.kubernetes.io/component"], "agent-files");
    assert_eq!(secret["data"], json!({".agent": "e30=", ".credentials_rsaparams": "YSBrZXkgb2Ygc29tZSBsZW5ndGg="}));
    let mark = calls(&fake, "create jobs")[0]["metadata"]["annotations"]["kubectl-ado/held"].clone();
    let path = "/metadata/annotations/kubectl-ado~1held";
    assert_eq!(
        calls(&fake, "patch jobs"),
        [json!([
            {"op": "test", "path": "/metadata/uid", "value": "made"},
            {"op": "test", "path": path, "value": mark},
            {"op": "remove", "path": path},
            {"op": "replace", "path": "/spec/suspend", "value": false},
        ])]
    );
    assert_eq!((fake.count("get jobs"), fake.count("delete secrets")), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn it_is_not_held_as_long_as_the_watch_shows_what_was() {
    let fake = Fake::default();
    let host = begun(&fake).await;
    host.equip(&start(1).name, &files()).await.unwrap();
    fake.add("jobs", &held(1, "me 2026-11-24T08:00:00.000Z"));
    sleep(SOON).await;
    assert_eq!(host.runs().await.unwrap()[0].held, None);
    fake.tell("jobs", "MODIFIED", &job(1));
    sleep(SOON).await;
    assert_eq!(host.runs().await.unwrap()[0].held, None);
}

/// The Job that was just made, as the API server has it, with this mark or the one that it was made with.
fn is_stored(fake: &Fake, mark: Option<&str>) {
    let made = calls(fake, "create jobs")[0]["metadata"]["annotations"]["kubectl-ado/held"].clone();
    let mut job = held(1, mark.unwrap_or(made.as_str().unwrap()));
    job["metadata"]["uid"] = json!("made");
    fake.add("jobs", &job);
}

#[tokio::test(start_paused = true)]
async fn a_secret_that_is_there_goes_by_its_uid_and_is_made_anew() {
    let fake = Fake::default();
    let host = begun(&fake).await;
    is_stored(&fake, None);
    fake.with(|server| server.refused_once = vec![("create secrets", 409, "AlreadyExists")]);
    host.equip(&start(1).name, &files()).await.unwrap();
    let deletions = calls(&fake, "delete secrets");
    assert_eq!(deletions[0]["dryRun"], json!(["All"]), "it is asked for its uid");
    assert_eq!(deletions[1]["preconditions"], json!({"uid": "s1"}));
    assert_eq!((fake.count("create secrets"), fake.count("get secrets")), (2, 0));

    let fake = Fake::default();
    let host = begun(&fake).await;
    is_stored(&fake, None);
    fake.with(|server| server.refused_once = vec![("create secrets", 409, "AlreadyExists"); 9]);
    let error = host.equip(&start(1).name, &files()).await.unwrap_err();
    assert_eq!(error.reason(), "unavailable");
    assert_eq!(fake.count("patch jobs"), 0, "without its Secret it stays as it is");
}

#[tokio::test(start_paused = true)]
async fn the_secret_of_somebody_who_has_claimed_the_job_meanwhile_is_left_alone() {
    let fake = Fake::default();
    let host = begun(&fake).await;
    is_stored(&fake, Some("him 2026-11-24T08:01:00.000Z"));
    fake.with(|server| server.refused_once = vec![("create secrets", 409, "AlreadyExists")]);
    let error = host.equip(&start(1).name, &files()).await.unwrap_err();
    assert!(error.to_string().contains("claimed by another"), "{error}");
    let deletions = calls(&fake, "delete secrets");
    assert!(deletions.iter().all(|with| with["dryRun"] == json!(["All"])), "{deletions:?}");
}

#[tokio::test(start_paused = true)]
async fn a_suspension_of_somebody_else_s_is_not_touched() {
    let fake = Fake::default();
    let mut theirs = held(1, "him 2026-11-24T08:00:00.000Z");
    theirs["metadata"]["annotations"]["kubectl-ado/own-suspend"] = json!("true");
    fake.add("jobs", &theirs);
    let host = fake.host();
    let run = host.runs().await.unwrap().remove(0);
    host.claim(&seen(&run)).await.unwrap();
    host.equip(&run.name, &files()).await.unwrap();
    let resume = calls(&fake, "patch jobs").pop().unwrap();
    assert!(!resume.to_string().contains("suspend"), "{resume}");
}

#[tokio::test(start_paused = true)]
async fn who_finds_one_held_claims_it_by_the_mark_that_was_seen() {
    let fake = Fake::default();
    fake.add("jobs", &held(1, "him 2026-11-24T08:00:00.000Z"));
    let host = fake.host();
    let run = host.runs().await.unwrap().remove(0);
    host.claim(&seen(&run)).await.unwrap();
    let [claim] = &calls(&fake, "patch jobs")[..] else { panic!() };
    assert_eq!(claim[0], json!({"op": "test", "path": "/metadata/uid", "value": "j1"}));
    assert_eq!((&claim[1]["op"], &claim[1]["value"]), (&json!("test"), &json!("him 2026-11-24T08:00:00.000Z")));
    assert_eq!(claim[2]["op"], "replace");
    assert!(claim[2]["value"].as_str().unwrap().starts_with("me "));

    host.equip(&run.name, &files()).await.unwrap();
    let resume = calls(&fake, "patch jobs").pop().unwrap();
    assert_eq!(resume[1]["value"], claim[2]["value"], "it holds as long as the mark is ours");
    assert_eq!(fake.count("get jobs"), 0, "the watch has told enough");
}

#[tokio::test(start_paused = true)]
async fn a_failed_test_means_that_another_has_claimed_it() {
    let fake = Fake::default();
    fake.add("jobs", &held(1, "him 2026-11-24T08:00:00.000Z"));
    let host = fake.host();
    let run = host.runs().await.unwrap().remove(0);
    for code in [(422, "Invalid"), (409, "Conflict")] {
        fake.with(|server| server.refused.insert("patch", code));
        let error = host.claim(&seen(&run)).await.unwrap_err();
        assert!(matches!(&error, HostError::Unavailable(why) if why.contains("was claimed by another")), "{error}");
    }
    let error = host.equip(&run.name, &files()).await.unwrap_err();
    assert!(error.to_string().contains("was claimed by another"), "{error}");
    assert_eq!(fake.count("create secrets"), 0);
}

#[tokio::test(start_paused = true)]
async fn one_whose_job_is_claimed_between_secret_and_resume_hears_so() {
    let fake = Fake::default();
    let host = begun(&fake).await;
    fake.with(|server| {
        server.objects.insert("jobs", vec![held(1, "him 2026-11-24T08:00:50.000Z")]);
        server.refused.insert("patch", (422, "Invalid"));
    });
    let error = host.equip(&start(1).name, &files()).await.unwrap_err();
    assert!(error.to_string().contains("was claimed by another"), "{error}");
    assert_eq!(fake.count("delete secrets"), 0, "it is the other's to replace");
}

#[tokio::test(start_paused = true)]
async fn a_resume_whose_answer_was_lost_has_worked() {
    let fake = Fake::default();
    let host = begun(&fake).await;
    let mut ready = job(1);
    ready["metadata"]["uid"] = json!("made");
    ready["spec"]["suspend"] = json!(false);
    fake.with(|server| server.objects.insert("jobs", vec![ready]));
    // It was sent twice on its way, and the second time its test failed.
    fake.with(|server| server.refused_once = vec![("patch jobs", 422, "Invalid")]);
    host.equip(&start(1).name, &files()).await.unwrap();

    // The answer is 504, and nobody knows.
    let host = begun(&fake).await;
    fake.with(|server| server.refused_once = vec![("patch jobs", 504, "Timeout")]);
    assert_eq!(host.equip(&start(1).name, &files()).await.unwrap_err().reason(), "unavailable");
    let secrets = fake.count("create secrets");
    host.equip(&start(1).name, &files()).await.unwrap();
    assert_eq!(fake.count("create secrets"), secrets, "its Secret is in use by now");
    assert_eq!(host.runs().await.unwrap()[0].held, None);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_is_gone_gets_nothing_more() {
    let fake = Fake::default();
    let host = begun(&fake).await;
    fake.with(|server| server.refused_once = vec![("patch jobs", 404, "NotFound")]);
    let error = host.equip(&start(1).name, &files()).await.unwrap_err();
    assert_eq!(error, HostError::Unavailable("the Job \"agent-job-us-1\" is gone".into()));
    let error = host.equip(&start(1).name, &files()).await.unwrap_err();
    assert_eq!(error, HostError::Unavailable("the Job \"agent-job-us-1\" is gone".into()));
    assert_eq!(fake.count("create secrets"), 1);
}

#[tokio::test(start_paused = true)]
async fn who_took_too_long_begins_anew_before_another_may_claim_it() {
    let fake = Fake::default();
    let host = begun(&fake).await;
    sleep(Duration::from_secs(46)).await;
    let error = host.equip(&start(1).name, &files()).await.unwrap_err();
    assert!(error.to_string().contains("took too long"), "{error}");
    assert_eq!((fake.count("create secrets"), fake.count("patch jobs")), (0, 0));
    let run = EquipRun {
        name: start(1).name,
        pool: "Default".into(),
        template: "default".into(),
        held: host.runs().await.unwrap()[0].held.clone().unwrap(),
    };
    host.claim(&run).await.unwrap();
    host.equip(&run.name, &files()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_just_in_time_run_needs_no_secret_with_a_token() {
    let fake = Fake::default();
    let host = fake.managed_host();
    host.runs().await.unwrap();
    host.start(&just_in_time(1)).await.unwrap();
    assert_eq!(fake.count("create secrets"), 0);
    let made = calls(&fake, "create jobs").pop().unwrap();
    assert!(!made.to_string().contains("AZP_TOKEN"), "{made}");
}

#[tokio::test(start_paused = true)]
async fn nobody_asks_why_a_held_job_has_no_pod() {
    let fake = Fake::default();
    fake.add("jobs", &held(1, "him 2026-11-24T08:00:00.000Z"));
    let host = fake.host();
    host.runs().await.unwrap();
    sleep(Duration::from_secs(60)).await;
    assert_eq!(fake.count("list events"), 0);
    fake.tell("jobs", "MODIFIED", &job(1));
    sleep(Duration::from_secs(5)).await;
    assert!(fake.count("list events") > 0);
}

#[tokio::test(start_paused = true)]
async fn a_secret_of_somebody_else_that_has_the_name_of_a_job_is_never_deleted() {
    let fake = Fake::default();
    let host = begun(&fake).await;
    fake.with(|server| {
        server.refused_once.push(("create secrets", 409, "AlreadyExists"));
        server.objects.entry("secrets").or_default().push(json!({"metadata": {"uid": "s2", "labels": {}}}));
    });
    let refused = host.equip(&start(1).name, &files()).await;
    assert!(
        matches!(&refused, Err(HostError::Collision { owner, .. }) if owner.contains("somebody else")),
        "{refused:?}"
    );
    let asked = calls(&fake, "delete secrets");
    assert!(!asked.is_empty() && asked.iter().all(|body| body["dryRun"] == json!(["All"])), "{asked:?}");
}
