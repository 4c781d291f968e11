//! The organization's token: in one Secret, mounted into the agents, and nowhere else.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use k8s_openapi::api::{batch::v1::Job, core::v1::Secret};
use kube::api::{DeleteParams, ListParams, PostParams};
use kubectl_ado::sandbox::{Sandbox, Settings};
use serde_json::{Value, json};

use crate::world::{World, assert_holds_no_token, environment, eventually};

/// How long the Secret of a former token stays after the first use of the new one: an orchestrator that is just being
/// replaced may still start agents with it.
const OVERLAP: Duration = Duration::from_secs(30);

async fn secrets(world: &World) -> Vec<Secret> {
    world.all::<Secret>().list(&ListParams::default()).await.unwrap().items
}

async fn names_of_secrets(world: &World) -> BTreeSet<String> {
    secrets(world).await.into_iter().filter_map(|secret| secret.metadata.name).collect()
}

/// The Secret and the key that an agent's token is mounted from, and the whole mount.
fn mounted(job: &Job) -> (String, String) {
    let job = json!(job);
    let pod = &job["spec"]["template"]["spec"];
    let file = pod["containers"][0]["env"].as_array().unwrap();
    let file = file.iter().find(|variable| variable["name"] == "AZP_TOKEN_FILE").unwrap()["value"].as_str().unwrap();
    let mounts = pod["containers"][0]["volumeMounts"].as_array().unwrap();
    let mount = mounts.iter().find(|mount| file.starts_with(mount["mountPath"].as_str().unwrap())).unwrap();
    assert_eq!(mount["readOnly"], true);
    let volume = pod["volumes"].as_array().unwrap().iter().find(|volume| volume["name"] == mount["name"]).unwrap();
    let [item] = &volume["secret"]["items"].as_array().unwrap()[..] else { panic!("{volume}") };
    assert_eq!(file, format!("{}/{}", mount["mountPath"].as_str().unwrap(), item["path"].as_str().unwrap()));
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    (text(&volume["secret"]["secretName"]), text(&item["key"]))
}

/// How often a text, or its form in base 64, is found in everything of the namespace, Secrets included.
fn found_in_the_namespace(world: &World, text: &str) -> usize {
    let kinds = world.plane.kubectl(&["api-resources", "--namespaced", "--verbs=list", "-o", "name"]).unwrap();
    let kinds = kinds.lines().collect::<Vec<_>>().join(",");
    let all = world.plane.kubectl(&["get", &kinds, "-n", world.namespace.name(), "-o", "json"]).unwrap();
    assert!(all.contains("\"Secret\"") && all.contains("\"Job\"") && all.contains("\"ConfigMap\""));
    [text.to_owned(), STANDARD.encode(text), STANDARD.encode(format!("{text}\n"))]
        .iter()
        .map(|form| all.matches(form.as_str()).count())
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_in_one_immutable_secret_and_in_nothing_else() {
    let world = World::new("token").await;
    let pool = world.pool("Default");
    world.queue(pool, 3);
    std::fs::write(world.folder.path().join("pat"), format!("{}\r\n", world.sandbox.token())).unwrap();
    let serve = world.serve("Default").unset("ORG_PAT").set("ORG_PAT_FILE", "pat");

    let running = serve.start();
    let jobs = world.jobs_stay(3).await;
    let [secret] = &secrets(&world).await[..] else { panic!("{:?}", names_of_secrets(&world).await) };
    let name = secret.metadata.name.as_ref().unwrap();
    assert_eq!(secret.immutable, Some(true));
    let data: Vec<_> = secret.data.as_ref().unwrap().iter().collect();
    assert!(data.len() == 1 && data[0].0 == "token" && data[0].1.0 == world.sandbox.token().as_bytes());
    for job in &jobs {
        assert_eq!(mounted(job), (name.clone(), "token".to_owned()));
        assert!(!environment(job).contains_key("AZP_TOKEN"));
    }
    assert_eq!(found_in_the_namespace(&world, world.sandbox.token()), 1);

    // A restart uses the same one.
    running.kill();
    let _running = serve.start();
    world.queue(pool, 1);
    for job in world.jobs_stay(4).await {
        assert_eq!(mounted(&job).0, *name);
    }
    assert_eq!(names_of_secrets(&world).await, [name.clone()].into());
    assert_eq!(found_in_the_namespace(&world, world.sandbox.token()), 1);
    world.the_token_is_nowhere().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_secret_that_exists_is_mounted_and_none_is_made() {
    let world = World::new("own-secret").await;
    let pool = world.pool("Default");
    for (name, key) in [("mine", "token"), ("mine-too", "pat")] {
        let secret = json!({"metadata": {"name": name}, "stringData": {key: "a token for agents alone"}});
        let secret = serde_json::from_value(secret).unwrap();
        world.all::<Secret>().create(&PostParams::default(), &secret).await.unwrap();
    }
    for (setting, count, expected) in [("mine", 1, ("mine", "token")), ("mine-too:pat", 2, ("mine-too", "pat"))] {
        let request = world.queue(pool, 1)[0];
        let _serve = world.serve("Default").set("JOB_TOKEN_SECRET", setting).start();
        let jobs = world.jobs_stay(count).await;
        let is_new = |job: &&Job| job.metadata.labels.as_ref().unwrap()["kubectl-ado/request"] == request.to_string();
        let (secret, key) = mounted(jobs.iter().find(is_new).unwrap());
        assert_eq!((secret.as_str(), key.as_str()), expected);
    }
    assert_eq!(names_of_secrets(&world).await, ["mine".to_owned(), "mine-too".to_owned()].into());
    world.the_token_is_nowhere().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_token_is_a_new_secret_and_the_old_one_goes_when_no_job_mounts_it() {
    let mut world = World::new("rotation").await;
    let pool = world.pool("Default");
    world.queue(pool, 1);
    let first = world.sandbox.token().to_owned();
    let write = |token: &str| {
        let new = world.folder.path().join("new");
        std::fs::write(&new, format!("{token}\n")).unwrap();
        std::fs::rename(new, world.folder.path().join("pat")).unwrap();
    };
    write(&first);
    let serve = world.serve("Default").unset("ORG_PAT").set("ORG_PAT_FILE", "pat").start();
    let old_job = world.jobs_stay(1).await.remove(0);
    let (old, _) = mounted(&old_job);

    // The organization revokes the token and takes another one: the same address, pool and first request.
    let second = "second-generation-of-the-token-0123456789";
    write(second);
    world.sandbox.stop();
    let settings = Settings { token: second.into(), ..Settings::default() };
    let mut restarted = Err(std::io::Error::other("not started"));
    eventually("the organization is back", || {
        restarted = Sandbox::start(world.sandbox.address(), settings.clone());
        restarted.is_ok()
    })
    .await;
    world.sandbox = restarted.unwrap();
    let pool = world.pool("Default");
    let requests = world.queue(pool, 2);

    let jobs = world.jobs_stay(2).await;
    let noted = Instant::now();
    let new_job = jobs.iter().find(|job| job.metadata.uid != old_job.metadata.uid).unwrap();
    let (new, _) = mounted(new_job);
    assert_ne!(new, old);
    let value = world.all::<Secret>().get(&new).await.unwrap().data.unwrap().remove("token").unwrap();
    assert_eq!(value.0, second.as_bytes());
    assert_eq!(names_of_secrets(&world).await, [old.clone(), new.clone()].into());

    // Nothing but time makes the new one the settled one; the clock is the machine's.
    eventually("the new Secret has settled", || noted.elapsed() > OVERLAP).await;
    world.passes(4).await;
    assert_eq!(names_of_secrets(&world).await, [old.clone(), new.clone()].into(), "a Job still mounts the old one");
    let name = old_job.metadata.name.as_ref().unwrap();
    world.sandbox.cancel(requests[0]).unwrap();
    world.all::<Job>().delete(name, &DeleteParams::background()).await.unwrap();
    serve.says("deleted the Secret of a former token").await;
    assert_eq!(names_of_secrets(&world).await, [new].into());

    for token in [&first, second] {
        assert_holds_no_token(&serve.log(), token, "the log");
        assert_holds_no_token(&world.all_that_can_be_read().await, token, "the namespace");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_in_no_log_line_even_where_everything_is_logged() {
    let world = World::new("trace").await;
    let pool = world.pool("Default");
    world.queue(pool, 2);
    let account = std::fs::read_to_string(&world.kubeconfig).unwrap();
    let account = account.split("token").nth(1).unwrap().trim_matches(|c: char| !c.is_ascii_alphanumeric());
    let account = account.split(|c: char| c.is_whitespace() || c == '"').next().unwrap().to_owned();
    assert!(account.starts_with("eyJ"), "a ServiceAccount's token is a JWT");

    let levels = "trace,hyper=trace,hyper_util=trace,h2=trace,reqwest=trace,kube=trace,kube_client=trace,rustls=trace,tower=trace";
    for levels in ["trace,hyper=trace", levels] {
        let serve = world.serve("Default").set("RUST_LOG", levels).start();
        world.jobs_stay(2).await;
        let address = serve.address().await;
        for path in ["metrics", "readyz", "healthz", "nothing"] {
            let answer = reqwest::get(format!("http://{address}/{path}")).await.unwrap().text().await.unwrap();
            assert_holds_no_token(&answer, world.sandbox.token(), path);
        }
        let log = serve.kill();
        for part in ["hyper", "kube_client", "TRACE"] {
            assert!(log.contains(part), "not everything is logged: {part} is missing");
        }
        assert_holds_no_token(&log, world.sandbox.token(), "the log");
        assert!(!log.contains(&account), "the account's token is in the log");
        // In whatever form bytes are printed.
        let bytes = format!("{:?}", world.sandbox.token().as_bytes());
        assert!(!log.contains(bytes.trim_matches(['[', ']'])), "the token is in the log, byte by byte");
    }
    world.the_token_is_nowhere().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_is_rejected_is_told_of_without_it() {
    let world = World::new("rejected").await;
    world.pool("Default");
    let wrong = "wrong-but-secret-token-0123456789";
    let mut serve = world.serve("Default").set("ORG_PAT", wrong).set("RUN_ONCE", "1").start();
    assert_eq!(serve.ended().await.code(), Some(1));
    assert!(serve.log().contains("ERROR"), "{}", serve.log());
    assert_holds_no_token(&serve.log(), wrong, "the log");

    world.the_token_is_nowhere().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_put_where_names_belong_is_refused_and_not_repeated() {
    let world = World::new("misplaced").await;
    world.pool("Default");
    let variables =
        ["AGENT_POOLS", "INSTALLATION_ID", "JOB_IMAGE", "JOB_NAMESPACE", "JOB_PREFIX", "JOB_TOKEN_SECRET", "ORG_URL"];
    for variable in variables {
        let url = format!("{}/{}", world.sandbox.url(), world.sandbox.token());
        let value = if variable == "ORG_URL" { url } else { world.sandbox.token().to_owned() };
        let mut serve = world.serve("Default").set(variable, value).start();
        assert_eq!(serve.ended().await.code(), Some(2), "{variable}");
        // Reading it fails the test where the token is in it.
        assert!(serve.log().contains(&format!("error: {variable} ")), "{}", serve.log());
    }
    assert!(world.sandbox.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_is_on_no_command_line() {
    let world = World::new("argv").await;
    let pool = world.pool("Default");
    world.queue(pool, 1);
    let serve = world.serve("Default").start();
    world.jobs_stay(1).await;
    let of_process = |pid: &str| std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    assert!(String::from_utf8_lossy(&of_process(&serve.pid().to_string())).contains("serve"));
    // Nor on that of any process that it might have started.
    for process in std::fs::read_dir("/proc").unwrap().flatten() {
        let line = of_process(&process.file_name().to_string_lossy());
        assert_holds_no_token(&String::from_utf8_lossy(&line), world.sandbox.token(), "a command line");
    }
    world.the_token_is_nowhere().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_template_that_holds_the_organization_s_token_elsewhere_makes_no_job() {
    let world = World::new("leaky").await;
    let pool = world.pool("Default");
    world.queue(pool, 1);
    let template = format!(
        "apiVersion: batch/v1\nkind: Job\nspec: {{template: {{spec: {{containers: [{{name: agent, args: [\"--pat={}\"]}}]}}}}}}\n",
        world.sandbox.token()
    );
    std::fs::write(world.folder.path().join("job.yaml"), template).unwrap();
    let serve = world.serve("Default").set("JOB_DEFINITION_FILE", "job.yaml").start();
    serve.says("holds the organization's token as plain text").await;
    world.jobs_stay(0).await;
    world.the_token_is_nowhere().await;
}
