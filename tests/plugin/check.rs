//! `check`: what is well, what is not and why, each with its code and its mend.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use jiff::{SignedDuration, Timestamp};
use kubectl_ado::sandbox::{FaultKind, PoolKind, PoolSpec};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::{
    staged::{Ended, Staged, help, status},
    world::World,
};

/// `check --pre` for an organization and pools, with the world's token unless another one is given.
fn before(world: &World, url: &str, pools: &str, token: &str, more: &[&str]) -> Ended {
    let file = world.folder.path().join("pat");
    std::fs::write(&file, token).unwrap();
    let arguments = ["check", "--pre", "--org", url, "--pool", pools, "--pat-file", file.to_str().unwrap()];
    let variables = [("KUBECONFIG", world.admin()), ("ADO_NAMESPACE", world.namespace.name().to_owned())];
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let ended = crate::staged::plugin(&[&arguments, more].concat(), &variables, "");
    crate::world::assert_holds_no_token(&(ended.out.clone() + &ended.err), token, "what check says");
    ended
}

/// The lines of a table with what follows them.
#[track_caller]
fn line(text: &str, part: &str) -> String {
    let found = text.lines().position(|line| line.contains(part)).unwrap_or_else(|| panic!("no {part:?} in\n{text}"));
    text.lines().skip(found).take(2).collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn deep_tries_step_by_step_whether_just_in_time_agents_work_and_leaves_nothing() {
    let world = World::new("check-deep").await;
    let pool = world.pool("Linux");
    let deep = || before(&world, &world.sandbox.url(), "Linux", world.sandbox.token(), &["--deep"]);
    deep().with(0).says(&[
        "OK    just-in-time agents in \"Linux\": register an agent with a key",
        "OK    just-in-time agents in \"Linux\": exchange its assertion for a token",
        "OK    just-in-time agents in \"Linux\": open its session",
        "OK    just-in-time agents in \"Linux\": close its session",
        "that it was tried on is removed",
    ]);
    assert_eq!(world.sandbox.assertions().verified, 1);
    let only_the_old_one = || {
        let names: Vec<_> = world.sandbox.agents(pool).into_iter().map(|agent| agent.name).collect();
        assert_eq!(names, ["placeholder"]);
    };
    only_the_old_one();

    world.sandbox.inject(FaultKind::InvalidClient.always());
    let ended = deep().with(0);
    let refused = line(&ended.out, "exchange its assertion for a token did not work");
    assert!(refused.starts_with("WARN") && refused.contains("invalid_client"), "{refused}");
    ended.says(&[
        "OK    just-in-time agents in \"Linux\": register an agent with a key",
        "-     just-in-time agents in \"Linux\": open its session: the step before has to work first",
        "that it was tried on is removed",
    ]);
    only_the_old_one();

    let arguments = ["check", "--deep", "--pre", "--org", &world.sandbox.url(), "--pool", "Linux"];
    let ended = crate::staged::plugin(&arguments, &[("KUBECONFIG", "/nowhere")], "").with(2);
    assert!(ended.err.contains("--deep needs a token") && ended.err.contains("--pat-file"), "{}", ended.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn before_an_install_all_is_well() {
    let world = World::new("check-pre").await;
    world.pool("Linux");
    let ended = before(&world, &world.sandbox.url(), "Linux", world.sandbox.token(), &[]).with(0);
    ended.says(&[
        "azure-devops\n------------\n",
        "OK    127.0.0.1 accepts connections",
        "OK    the token is accepted (Sandbox <sandbox@example.com>)",
        "OK    agent pool \"Linux\" exists and is self-hosted",
        "OK    agents can be registered in \"Linux\"",
        "OK    \"Linux\" has registered agents (1)",
        "\ncluster\n-------\nOK    the cluster answers: Kubernetes v1.",
        "Pod Security level privileged (no label)",
        "OK    you may apply an install",
        "OK    the cluster takes the 6 objects of an install (server-side dry run)",
        "OK    the cluster takes an agent's Job",
        "OK    the cluster admits an agent's pod",
        " 0 failed, ",
    ]);
    let absent = before(&world, &world.sandbox.url(), "Linux", world.sandbox.token(), &["-n", "check-absent"]);
    absent.with(0).says(&[
        "INFO  namespace \"check-absent\" does not exist yet; install creates it",
        "-     dry run of the 6 objects: their namespace does not exist yet",
    ]);
    assert_eq!(world.jobs().await.len(), 0, "nothing was made");
    assert_eq!(world.sandbox.agents(world.sandbox.see(|state| state.pool_named("Linux").unwrap().id)).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_trouble_on_the_way_to_azure_devops_is_told_by_itself_and_the_cluster_is_checked_all_the_same() {
    let world = World::new("check-way").await;
    world.pool("Linux");
    let token = world.sandbox.token();
    let closed = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap().local_addr().unwrap();

    let ended = before(&world, &format!("http://{closed}/contoso"), "Linux", token, &[]).with(3);
    assert!(
        line(&ended.out, "no connection to").starts_with("FAIL  ADO104 no connection to 127.0.0.1"),
        "{}",
        ended.out
    );
    assert!(line(&ended.out, "no connection to").contains("\n      fix: correct the URL and its port"));
    ended.says(&["-     token: the way to Azure DevOps has to work first", "OK    the cluster answers", "1 failed"]);

    let ended = before(&world, "https://tfs.invalid/DefaultCollection", "Linux", token, &[]).with(3);
    let told = line(&ended.out, "cannot be resolved");
    assert!(told.starts_with("FAIL  ADO104 the name of tfs.invalid cannot be resolved"), "{told}");
    assert!(told.contains("fix: correct the organization's URL"), "{told}");

    let port = untrusted_server().await;
    let ended = before(&world, &format!("https://localhost:{port}/contoso"), "Linux", token, &[]).with(3);
    let told = line(&ended.out, "no TLS with");
    assert!(told.starts_with("FAIL  ADO104 no TLS with localhost") && told.contains("--ca-file"), "{told}");
    ended.says(&["OK    localhost accepts connections", "certificate"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_is_not_there_is_told_from_an_organization_that_is_not() {
    let world = World::new("check-proxy").await;
    let closed = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap().local_addr().unwrap();
    let proxy = format!("http://user:s3cr3t-pass@{closed}");
    let arguments =
        ["check", "--pre", "--org", "https://tfs.invalid/C", "--pool", "Linux", "-n", world.namespace.name()];
    let variables = [("KUBECONFIG", world.admin()), ("HTTPS_PROXY", proxy)];
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let ended = crate::staged::plugin(&arguments, &variables, "").with(3);
    assert!(!ended.out.contains("s3cr3t-pass"), "{}", ended.out);
    ended.says(&[
        "OK    a proxy leads to https://tfs.invalid/C (http://127.0.0.1:",
        "OK    the proxy 127.0.0.1 has an address",
        "FAIL  ADO104 no connection to the proxy 127.0.0.1",
        "fix: correct HTTPS_PROXY, or add the host to NO_PROXY",
        "OK    the cluster answers",
    ]);
}

/// A TLS server whose certificate nobody signed.
async fn untrusted_server() -> u16 {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("localhost:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let _ = acceptor.accept(connection).await;
        }
    });
    port
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_and_the_pools_are_told_apart() {
    let world = World::new("check-pools").await;
    world.pool("Linux");
    world.sandbox.add_pool(PoolSpec { name: "Azure Pipelines".into(), kind: PoolKind::Hosted }).unwrap();
    world.sandbox.add_pool("Empty").unwrap();
    let (url, token) = (world.sandbox.url(), world.sandbox.token());

    let ended = before(&world, &url, "Linux", "not-the-token-at-all-1234567890", &[]).with(3);
    let told = line(&ended.out, "token is not accepted");
    assert!(told.starts_with("FAIL  ADO101 ") && told.contains("fix: make a token with the scope"), "{told}");
    ended.says(&["-     agent pool \"Linux\": the token has to work first"]);

    let ended = before(&world, &url, "Linx,Azure Pipelines,Empty", token, &[]).with(3);
    assert!(line(&ended.out, "\"Linx\" does not exist").starts_with("FAIL  ADO201 "), "{}", ended.out);
    assert!(line(&ended.out, "\"Azure Pipelines\" cannot be served").starts_with("FAIL  ADO202 "), "{}", ended.out);
    ended.says(&["OK    agent pool \"Empty\" exists", "INFO  \"Empty\" has no registered agent yet"]);

    let wrong = url.replace("/sandbox", "/nobody");
    let ended = before(&world, &wrong, "Linux", token, &["-o", "short"]).with(3);
    ended.says(&["FAIL  azure-devops: ADO103 "]);

    world.sandbox.inject(FaultKind::Forbidden.always().on("DELETE"));
    let ended = before(&world, &url, "Linux", token, &[]).with(3);
    assert!(line(&ended.out, "may not register agents").starts_with("FAIL  ADO102 "), "{}", ended.out);
    world.sandbox.clear_faults();
    world.sandbox.inject(FaultKind::ServerError.always().on("permissions"));
    let ended = before(&world, &url, "Linux", token, &[]).with(0);
    ended.says(&["INFO  whether agents can be registered in \"Linux\" is unknown"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_healthy_install_passes_for_people_and_for_machines() {
    let staged = Staged::new("check-healthy", &["Linux", "Windows"]).await;
    staged.healthy(&["Linux", "Windows"]).await;
    staged.run(&["check"]).with(0).says(&[
        "OK    the token is accepted (says the orchestrator)",
        "OK    agent pool \"Linux\" is served",
        "OK    the orchestrator's account may do its work",
        "(SubjectAccessReview)",
        "server-side dry run as system:serviceaccount:",
        "\norchestrator\n------------\nOK    kubectl-ado is installed",
        "OK    the Deployment is rolled out (1 of 1 ready)",
        "OK    an orchestrator leads",
        "OK    every pool was polled",
        "OK    the configuration is valid and in force",
        " 0 failed, 1 skipped",
    ]);
    let json: Value = serde_json::from_str(&staged.run(&["check", "-o", "json"]).with(0).out).unwrap();
    assert_eq!((&json["apiVersion"], &json["kind"]), (&json!("kubectl-ado/v1alpha1"), &json!("CheckReport")));
    assert_eq!((&json["success"], &json["summary"]["failed"]), (&json!(true), &json!(0)));
    assert_eq!(json["checks"][0]["section"], "azure-devops");
    let yaml: Value = serde_yaml::from_str(&staged.run(&["check", "-o", "yaml"]).with(0).out).unwrap();
    assert_eq!(yaml["kind"], "CheckReport");

    // With a token Azure DevOps is asked from here.
    let file = staged.world.folder.path().join("pat");
    std::fs::write(&file, staged.world.sandbox.token()).unwrap();
    let given = staged.run(&["check", "--pat-file", file.to_str().unwrap()]).with(0);
    given.says(&["OK    agents can be registered in \"Windows\"", "<sandbox@example.com>"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_with_an_install_is_told_with_its_code() {
    let staged = Staged::new("check-ill", &["Linux"]).await;
    // Nothing runs yet: no pod is ready, and nobody has written a status.
    staged.run(&["check"]).with(3).says(&[
        "FAIL  ADO502 no orchestrator is ready",
        "FAIL  ADO507 ",
        "-     leader: no status names the Lease",
    ]);

    staged.healthy(&["Linux"]).await;
    let now = Timestamp::now();
    let url = staged.world.sandbox.url();
    let mut report = status(staged.namespace(), &url, &["Linux"], now);
    report["conditions"][2] = json!({
        "type": "Authorized", "status": "False", "reason": "TokenRejected", "message": "401", "lastTransitionTime": now});
    report["findings"] =
        json!([{"code": "ADO101", "severity": "error", "message": "rejected", "fix": "kubectl ado auth set"}]);
    staged.report(&report);
    let ended = staged.run(&["check"]).with(3);
    assert_eq!(
        line(&ended.out, "ADO101"),
        "FAIL  ADO101 Azure DevOps does not accept the token (401)\n      fix: kubectl ado auth set"
    );
    staged.run(&["check", "--fail-on", "never"]).with(0);

    staged.report(&status(staged.namespace(), &url, &["Linux"], now - SignedDuration::from_mins(5)));
    staged
        .run(&["check", "-o", "short"])
        .with(3)
        .says(&["FAIL  orchestrator: ADO504 the orchestrator's status is old"]);

    staged.report(&status(staged.namespace(), &url, &["Linux"], Timestamp::now()));
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "jobs"}, "spec": {"hard": {"count/jobs.batch": "0", "pods": "1"}}});
    staged.apply(&quota);
    let label = "pod-security.kubernetes.io/enforce=restricted";
    staged.world.plane.kubectl(&["label", "namespace", staged.namespace(), label]).unwrap();
    let drop = r#"[{"op": "remove", "path": "/rules/3"}]"#;
    staged
        .world
        .plane
        .kubectl(&["patch", "role", "kubectl-ado", "-n", staged.namespace(), "--type=json", "-p", drop])
        .unwrap();
    crate::world::eventually("the right is gone", || !staged.can_i(&staged.world.kubeconfig, "create", "secrets"))
        .await;
    let counted = || {
        let arguments = ["get", "quota", "jobs", "-n", staged.namespace(), "-o", "jsonpath={.status.used.pods}"];
        staged.world.plane.kubectl(&arguments).unwrap() == "1"
    };
    crate::world::eventually("the quota is counted", counted).await;
    staged.run(&["check"]).with(3).says(&[
        "Pod Security level restricted",
        "FAIL  ADO303 the orchestrator's account lacks rights",
        "denied: create secrets, delete secrets",
        "WARN  ADO305 ",
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_do_nothing_gets_an_answer_to_each_check_all_the_same() {
    let staged = Staged::new("check-nobody", &["Linux"]).await;
    staged.healthy(&["Linux"]).await;
    let nobody = staged.user("nobody").await;
    let ended = staged.run_as(&nobody, &["check"], "").with(3);
    ended.says(&[
        "-     the token is accepted: there is no install to ask",
        "OK    the cluster answers",
        "FAIL  ADO302 you may not apply an install",
        "FAIL  ADO302 whether kubectl-ado is installed may not be seen",
        "kubectl ado permissions check -o yaml",
        "-     rollout: ",
    ]);
    // With the Role that `permissions check` prints, the same person sees all of it.
    let somebody = staged.user_for(&["check"]).await;
    staged.run_as(&somebody, &["check"], "").with(0).says(&[
        "OK    the orchestrator's account may do its work",
        "(SelfSubjectAccessReview, impersonated)",
        "OK    the Deployment is rolled out",
        "OK    an orchestrator leads",
    ]);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_cluster_azure_devops_is_checked_all_the_same_and_it_ends_in_time() {
    let world = World::new("check-gone").await;
    world.pool("Linux");
    let none = before(&world, &world.sandbox.url(), "Linux", world.sandbox.token(), &["--kubeconfig", "/nonexistent"]);
    none.with(3).says(&[
        "OK    the token is accepted",
        "FAIL  ADO301 the kubeconfig /nonexistent does not exist",
        "fix: correct --kubeconfig",
    ]);
    // A server that takes connections and never answers.
    let silent = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let there = std::fs::read_to_string(world.admin()).unwrap();
    let gone = there.replace(world.plane.url(), &format!("https://{}", silent.local_addr().unwrap()));
    let path = world.folder.path().join("gone.kubeconfig");
    std::fs::write(&path, gone).unwrap();
    let ended = before(
        &world,
        &world.sandbox.url(),
        "Linux",
        world.sandbox.token(),
        &["--kubeconfig", path.to_str().unwrap(), "--request-timeout", "1"],
    )
    .with(3);
    assert!(ended.took < Duration::from_secs(3), "{:?}", ended.took);
    ended.says(&[
        "OK    the token is accepted",
        "FAIL  ADO301 ",
        "-     what you may do: the cluster has to answer first",
    ]);
}

#[test]
fn the_help_of_check() {
    insta::assert_snapshot!(help(&["check"]));
}
