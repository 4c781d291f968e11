//! `template`: presets, the Job as it would be made, and checks with and without a server.

use serde_json::{Value, json};

use crate::staged::{Staged, help, plugin};

const JOB: &str = "\
apiVersion: batch/v1
kind: Job
metadata:
  name: builder
spec:
  backoffLimit: 0
  template:
    spec:
      containers:
      - name: agent
        image: registry.example/agent:1
        resources: {requests: {cpu: 1}, limits: {memory: 1Gi}}
";

#[test]
fn every_preset_is_valid_and_can_be_written_to_a_file_once() {
    let folder = tempfile::tempdir().unwrap();
    for preset in ["plain", "cache", "dind-rootless"] {
        let text = plugin(&["template", "init", "--preset", preset], &[], "").with(0).out;
        plugin(&["template", "validate"], &[], &text).with(0).says(&["<stdin> is valid"]);
        let file = folder.path().join(format!("{preset}.yaml"));
        let file = file.to_str().unwrap();
        plugin(&["template", "init", "--preset", preset, "-o", file], &[], "").with(0);
        assert_eq!(std::fs::read_to_string(file).unwrap(), text);
        plugin(&["template", "init", "-o", file], &[], "").with(1).says(&["error: ", "fix: "]);
    }
}

#[test]
fn mistakes_are_told_with_line_column_and_what_was_meant() {
    for (wrong, parts) in [
        (JOB.replace("containers", "container"), &["error: <stdin>:9:7: spec.template.spec.containers is missing"][..]),
        (
            JOB.replace("image:", "imagePulPolicy: Always\n        image:"),
            &[
                "error: <stdin>:11:9: unknown field `spec.template.spec.containers[0].imagePulPolicy`\nfix: did you mean `imagePullPolicy`?",
            ],
        ),
        (
            JOB.replace("backoffLimit", "backofLimit"),
            &["error: <stdin>:6:3: unknown field `spec.backofLimit`\nfix: did you mean `backoffLimit`?"],
        ),
        (
            JOB.replace("  name: builder", "  name: builder\n  restartPolicy: Never"),
            &["unknown field `metadata.restartPolicy`", "it belongs somewhere else"],
        ),
        (JOB.replace("kind: Job", "kind: CronJob"), &["has a CronJob and no Job"]),
        (
            JOB.replace("name: agent", "name: 1"),
            &["<stdin>:10:15: spec.template.spec.containers[0].name is 1", "put it in quotes"],
        ),
        (
            JOB.replace("      containers:", "      restartPolicy: Always\n      containers:"),
            &["which a Job cannot have"],
        ),
        (JOB.replace("image: registry.example/agent:1", "command: run"), &["has the wrong type"]),
        ("a: [".to_owned(), &["error: <stdin>:"]),
    ] {
        let ended = plugin(&["template", "validate"], &[], &wrong).with(3);
        assert_eq!(ended.out, "");
        ended.says(parts);
    }
    plugin(&["template", "validate"], &[], JOB).with(0);
}

#[test]
fn a_field_that_a_later_kubernetes_may_know_is_no_error() {
    let later = JOB.replace("      containers:", "      hostnameOverride: builder\n      containers:");
    plugin(&["template", "validate"], &[], &later).with(0).says(&[
        "warning: <stdin>:9:7: unknown field `spec.template.spec.hostnameOverride`: Kubernetes 1.33 does not know it",
        "<stdin> is valid",
    ]);
    let variable = "{name: CPUS, valueFrom: {resourceFieldRef: {resource: limits.cpu, divisor: 1}}}";
    let number = JOB.replace("        image:", &format!("        env: [{variable}]\n        image:"));
    plugin(&["template", "validate"], &[], &number).with(0);
}

#[test]
fn slips_that_are_allowed_are_warned_of() {
    let odd = "\
apiVersion: batch/v1
kind: Job
spec:
  backoffLimit: 3
  template:
    spec:
      containers:
      - name: agent
        env:
        - {name: AZP_TOKEN, value: secret-in-clear}
        volumeMounts:
        - {name: npm, mountPath: /root/.npm}
      volumes:
      - name: npm
        emptyDir: {}
";
    let ended = plugin(&["template", "validate"], &[], odd).with(0);
    assert!(!ended.err.contains("secret-in-clear"), "{}", ended.err);
    ended.says(&[
        "warning: <stdin>:12:34: spec.template.spec.containers[0].volumeMounts[0].mountPath /root/.npm is in a home that our image does not use",
        "mount it at /home/agent/.npm",
        "resources.requests is missing",
        "resources.limits is missing",
        "spec.backoffLimit is not 0",
        "value is a token in clear",
        "<stdin> is valid",
    ]);
    // Another image has the home that its owner gave it.
    let theirs = odd.replace("- name: agent\n", "- name: agent\n        image: registry.example/agent:1\n");
    assert!(!plugin(&["template", "validate"], &[], &theirs).with(0).err.contains("/home/agent"));
    let json: Value =
        serde_json::from_str(&plugin(&["template", "validate", "-o", "json"], &[], odd).with(0).out).unwrap();
    assert_eq!((&json["kind"], &json["valid"]), (&json!("TemplateValidation"), &json!(true)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_asked_as_the_orchestrators_account() {
    let staged = Staged::new("template-server", &["Linux"]).await;
    for preset in ["plain", "cache", "dind-rootless"] {
        let text = plugin(&["template", "init", "--preset", preset], &[], "").with(0).out;
        staged.run_with(&["template", "validate", "--server"], &text).with(0).says(&["<stdin> is valid"]);
    }
    let wrong = JOB.replace("memory: 1Gi", "memory: lots");
    staged.run_with(&["template", "validate"], &wrong).with(0);
    let refused = staged.run_with(&["template", "validate", "--server"], &wrong).with(3);
    refused.says(&["ADO402", "quantit", "(as system:serviceaccount:"]);
    // Which fields there are, the server knows: this one has come since the types that we were built with.
    let later = JOB.replace("      containers:", "      hostnameOverride: builder\n      containers:");
    let taken = staged.run_with(&["template", "validate", "--server"], &later).with(0);
    assert!(!taken.err.contains("hostnameOverride"), "{}", taken.err);
    let misspelt = JOB.replace("image:", "imagePulPolicy: Always\n        image:");
    staged
        .run_with(&["template", "validate", "--server"], &misspelt)
        .with(3)
        .says(&["error: <stdin>:11:9: unknown field `spec.template.spec.containers[0].imagePulPolicy`", "ADO402"]);
    let foreign = JOB.replace("      containers:", "      somethingElse: true\n      containers:");
    staged.run_with(&["template", "validate", "--server"], &foreign).with(3).says(&["unknown field", "somethingElse"]);
    let label = r#"[{"op": "replace", "path": "/rules/0/verbs", "value": ["get"]}]"#;
    staged
        .world
        .plane
        .kubectl(&["patch", "role", "kubectl-ado", "-n", staged.namespace(), "--type=json", "-p", label])
        .unwrap();
    crate::world::eventually("the right is gone", || !staged.can_i(&staged.world.kubeconfig, "create", "jobs.batch"))
        .await;
    staged.run_with(&["template", "validate", "--server"], JOB).with(3).says(&["ADO303"]);
    assert_eq!(staged.world.jobs().await.len(), 0);

    // Somebody who may not impersonate it asks as themselves, and is told so.
    let user = staged.user("creator").await;
    staged.apply(&json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": {"name": "creator"}, "rules": [
        {"apiGroups": ["batch"], "resources": ["jobs"], "verbs": ["create"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["list"]}]}));
    staged.apply(
        &json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": {"name": "creator"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "creator"},
        "subjects": [{"kind": "ServiceAccount", "name": "creator"}]}),
    );
    crate::world::eventually("the Role counts", || staged.can_i(&user, "create", "jobs.batch")).await;
    let told = staged.run_as(&user, &["template", "validate", "--server"], JOB).with(0);
    told.says(&["warning: the dry run was made as you; you may not impersonate"]);
    let nobody = staged.user_for(&["config", "view"]).await;
    let refused = staged.run_as(&nobody, &["template", "validate", "--server"], JOB).with(1);
    refused.says(&["neither impersonate the orchestrator's account nor create Jobs", "fix: "]);
    let user = staged.user_for(&["template", "validate"]).await;
    staged.run_as(&user, &["template", "validate", "--server"], JOB).with(3).says(&["(as system:serviceaccount:"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn render_makes_the_job_that_serve_makes() {
    let staged = Staged::new("template-render", &["Linux"]).await;
    let pool = staged.world.sandbox.see(|state| state.pool_named("Linux").unwrap().id);
    let request = staged.world.queue(pool, 1)[0];
    let serve = staged.world.serve("Linux").unset("JOB_IMAGE").start();
    let made = staged.world.until_jobs(1).await;
    drop(serve);
    let rendered =
        staged.run(&["template", "render", "--pool", "linux", "--request", &request.to_string(), "-o", "json"]).with(0);
    let rendered: Value = serde_json::from_str(&rendered.out).unwrap();
    assert_eq!(rendered["metadata"]["name"], made[0].metadata.name.clone().unwrap());
    let stored = &staged.world.stored_jobs()[0];
    let pod = |job: &Value| job["spec"]["template"]["spec"].clone();
    let (ours, theirs) = (pod(&rendered), pod(stored));
    assert_eq!(ours["containers"][0]["env"], theirs["containers"][0]["env"]);
    assert_eq!(ours["containers"][0]["volumeMounts"], theirs["containers"][0]["volumeMounts"]);
    assert_eq!(ours["securityContext"], theirs["securityContext"]);
    assert_eq!(ours["volumes"], theirs["volumes"]);
    assert_eq!(ours["volumes"][0]["secret"]["secretName"], rendered["metadata"]["name"], "the files of this one agent");
}

#[test]
fn render_of_a_file_asks_no_cluster() {
    let ended = plugin(&["template", "render", "-f", "-", "--pool", "Linux"], &[], JOB).with(0);
    let job: Value = serde_yaml::from_str(&ended.out).unwrap();
    assert!(job["metadata"]["name"].as_str().unwrap().starts_with("builder-"), "{}", ended.out);
    assert_eq!(job["metadata"]["annotations"]["kubectl-ado/pool"], "Linux");
    let wrong = JOB.replace("containers", "container");
    let ended = plugin(&["template", "render", "-f", "-"], &[], &wrong).with(3);
    ended.says(&["error: -:9:7: spec.template.spec.containers is missing"]);
}

#[test]
fn the_help_of_template() {
    let all = [&["template"][..], &["template", "init"], &["template", "render"], &["template", "validate"]];
    insta::assert_snapshot!(all.map(help).join("\n\n"));
}
