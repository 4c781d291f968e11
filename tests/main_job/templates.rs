//! Job templates: what their owners wrote is in the Jobs that are made, and what is ours is in its place.

use std::process::Command;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use kube::Api;
use kubectl_ado::sandbox::{AgentSpec, JobSpec};
use serde_json::{Value, json};

use crate::world::{Running, Serve, World, environment, project_file};

const WITH_LIMITS: &str = "tests/fixtures/original/job-with-limits.yaml";
const WITH_VOLUME: &str = "tests/fixtures/original/job-with-volume.yaml";

/// How the token that stands in clear in the original README's example begins.
const THEIR_TOKEN: &str = "xxxqhugutbqvpo";

fn with_template(world: &World, pools: &str, template: &str) -> Serve {
    std::fs::write(world.folder.path().join("job.yaml"), template).unwrap();
    world.serve(pools).set("JOB_DEFINITION_FILE", "job.yaml")
}

/// The documents of a file as they would be read by anybody.
fn documents(yaml: &str) -> Vec<Value> {
    serde_yaml::from_multiple(yaml).unwrap()
}

/// Where a document that is wanted is not found in another one; items of lists are known by their names.
fn losses(wanted: &Value, found: &Value) -> Vec<String> {
    fn look(path: &str, wanted: &Value, found: &Value, losses: &mut Vec<String>) {
        match (wanted, found) {
            (Value::Object(wanted), Value::Object(found)) => {
                for (key, wanted) in wanted {
                    look(&format!("{path}.{key}"), wanted, found.get(key).unwrap_or(&Value::Null), losses);
                }
            }
            (Value::Array(wanted), Value::Array(found)) => {
                for (index, wanted) in wanted.iter().enumerate() {
                    let (key, found) = match wanted["name"].as_str() {
                        Some(name) => (name.to_owned(), found.iter().find(|item| item["name"] == name)),
                        None => (index.to_string(), found.get(index)),
                    };
                    look(&format!("{path}[{key}]"), wanted, found.unwrap_or(&Value::Null), losses);
                }
            }
            (wanted, found) if wanted == found => {}
            _ => losses.push(path.to_owned()),
        }
    }
    let mut losses_found = Vec::new();
    look("", wanted, found, &mut losses_found);
    losses_found
}

/// The log's errors.
fn errors(serve: &Running) -> Vec<Value> {
    serve.lines().into_iter().filter(|line| line["level"] == "ERROR").collect()
}

/// Runs a line in a shell in which kubectl may do everything.
fn as_admin(world: &World, line: &str) -> String {
    let folder = world.plane.programs().kubectl.parent().unwrap().display().to_string();
    let path = format!("{folder}:{}", std::env::var("PATH").unwrap());
    let mut shell = Command::new("bash");
    shell.args(["-euo", "pipefail", "-c", line]).env("PATH", path).env("KUBECONFIG", world.plane.kubeconfig());
    let output = shell.output().unwrap();
    assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn pod(job: &Value) -> &Value {
    &job["spec"]["template"]["spec"]
}

#[tokio::test(flavor = "multi_thread")]
async fn the_original_readme_s_job_with_limits_keeps_every_field_but_the_hard_coded_ones() {
    let world = World::new("limits").await;
    let (one, two) = (world.pool("Pool1"), world.pool("Pool 2"));
    world.queue(one, 2);
    world.queue(two, 1);
    let template = project_file(WITH_LIMITS);
    assert!(template.contains(THEIR_TOKEN));

    let serve = with_template(&world, "Pool1,Pool 2", &template).start();
    let jobs = world.jobs_stay(3).await;
    let wanted = documents(&template).remove(0);
    for job in world.stored_jobs() {
        let env = ".spec.template.spec.containers[custom-job].env";
        let replaced = [
            ".metadata.name".to_owned(),
            format!("{env}[AZP_URL].value"),
            format!("{env}[AZP_TOKEN]"),
            format!("{env}[AZP_POOL].value"),
        ];
        assert_eq!(losses(&wanted, &job), replaced);
        assert!(job["metadata"]["name"].as_str().unwrap().starts_with("custom-job-"));
    }
    let mut pools: Vec<_> = jobs.iter().map(|job| environment(job)["AZP_POOL"].clone()).collect();
    pools.sort();
    assert_eq!(pools, ["Pool 2", "Pool1", "Pool1"]);
    for job in &jobs {
        let environment = environment(job);
        assert_eq!(environment["AZP_URL"], world.sandbox.url());
        assert_eq!(Some(&environment["AZP_AGENT_NAME"]), job.metadata.name.as_ref());
        assert!(environment.contains_key("AZP_TOKEN_FILE") && !environment.contains_key("AZP_TOKEN"));
    }

    serve.says("job.yaml:22:20").await;
    assert!(!serve.log().contains(THEIR_TOKEN));
    assert!(!world.all_that_can_be_read().await.contains(THEIR_TOKEN));
    world.the_token_is_nowhere().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_with_a_template_and_may_not_be_made_is_told_with_the_line_that_mends_it_and_jobs_are_made() {
    let world = World::new("volume-told").await;
    let pool = world.pool("Default");
    world.queue(pool, 2);
    let template = project_file(WITH_VOLUME);

    let serve = with_template(&world, "Default", &template).start();
    world.jobs_stay(2).await;
    let wanted = documents(&template);
    for job in world.stored_jobs() {
        assert_eq!(losses(&wanted[0], &job), [".metadata.name"]);
        assert_eq!(pod(&job)["restartPolicy"], "Never");
        assert!(job["metadata"]["name"].as_str().unwrap().starts_with("custom-job-"));
    }

    for document in &wanted[1..] {
        let name = document["metadata"]["name"].as_str().unwrap();
        let what = format!("{} \"{name}\"", document["kind"].as_str().unwrap());
        let told = errors(&serve).into_iter().find(|line| line["message"].as_str().unwrap().contains(&what));
        let fix = told.unwrap_or_else(|| panic!("{what} is not told of:\n{}", serve.log()))["fix"].take();
        let fix = fix.as_str().unwrap();
        assert!(fix.contains("kubectl apply"), "{fix}");
        // The line is one for a shell, and makes what is missing.
        as_admin(&world, &format!("{fix} --dry-run=server"));
        assert!(as_admin(&world, &format!("{fix} --dry-run=client -o name")).contains(name));
    }
    world.the_token_is_nowhere().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_with_a_template_is_made_where_the_rights_are_granted_and_a_restart_finds_it() {
    let world = World::new("volume-made").await;
    let pool = world.pool("Default");
    world.queue(pool, 1);
    let template = project_file(WITH_VOLUME);
    let serve = with_template(&world, "Default", &template).set("KUBECONFIG", world.admin());

    for _ in 0..2 {
        let serve = serve.start();
        world.jobs_stay(1).await;
        assert_eq!(errors(&serve), [json!(null); 0], "{}", serve.log());
        let claim = world.all::<PersistentVolumeClaim>().get("nuget-cache-claim").await.unwrap();
        let volume: PersistentVolume = Api::all(world.client.clone()).get("nuget-cache").await.unwrap();
        let wanted = documents(&template);
        assert_eq!(losses(&wanted[1]["spec"], &json!(volume)["spec"]), [""; 0]);
        assert_eq!(losses(&wanted[2]["spec"], &json!(claim)["spec"]), [""; 0]);
        serve.kill();
    }
    world.the_token_is_nowhere().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_is_made_under_the_role_with_the_rule_that_its_comment_shows() {
    let world = World::new("claim").await;
    let rule = "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: claims}\nrules:\n";
    // The example in the comment, word for word.
    let comment = project_file("manifests/role.yaml");
    let lines = comment.lines().skip_while(|line| !line.starts_with("# - apiGroups")).take(3);
    let rule = lines.fold(rule.to_owned(), |rule, line| rule + line.trim_start_matches("# ") + "\n");
    let rule = rule.replace("\nresources", "\n  resources").replace("\nverbs", "\n  verbs");
    world.plane.apply(world.namespace.name(), &rule).unwrap();
    let account = format!("--serviceaccount={}:kubectl-ado", world.namespace);
    let bind = ["create", "rolebinding", "claims", "--role=claims", &account, "-n", world.namespace.name()];
    world.plane.kubectl(&bind).unwrap();
    let pool = world.pool("Default");
    world.queue(pool, 1);
    let template = "apiVersion: batch/v1\nkind: Job\nspec: {template: {spec: {containers: [{name: agent}]}}}\n---\n\
                    apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: cache}\n\
                    spec: {accessModes: [ReadWriteMany], storageClassName: unheard-of, resources: {requests: {storage: 1Gi}}}\n";

    let serve = with_template(&world, "Default", template).start();
    world.jobs_stay(1).await;
    assert_eq!(errors(&serve), [json!(null); 0]);
    world.all::<PersistentVolumeClaim>().get("cache").await.unwrap();
    world.the_token_is_nowhere().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_owner_of_a_template_wrote_survives_newer_fields_and_sidecars_too() {
    let world = World::new("survives").await;
    let pool = world.pool("Default");
    world.queue(pool, 1);
    let template = r#"
apiVersion: batch/v1
kind: Job
metadata:
  name: mine
  labels: {team: builds, "example.org/tier": "1"}
  annotations: {note: "yes", "example.org/owner": "me"}
spec:
  ttlSecondsAfterFinished: 4321
  backoffLimit: 3
  activeDeadlineSeconds: 7200
  podFailurePolicy:
    rules:
    - {action: Ignore, onPodConditions: [{type: DisruptionTarget, status: "True"}]}
  template:
    metadata:
      labels: {team: builds}
      annotations: {"cluster-autoscaler.kubernetes.io/safe-to-evict": "true", note: "no"}
    spec:
      terminationGracePeriodSeconds: 77
      automountServiceAccountToken: true
      securityContext: {runAsUser: 0, fsGroup: 7}
      tolerations: [{key: dedicated, operator: Equal, value: agents, effect: NoSchedule}]
      topologySpreadConstraints:
      - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: ScheduleAnyway, labelSelector: {matchLabels: {team: builds}}}
      initContainers:
      - {name: docker, image: "docker:dind", restartPolicy: Always, securityContext: {privileged: true}}
      - {name: warm-up, image: busybox, command: [sh, -c, "true"]}
      containers:
      - name: helper
        image: helper:1
        env: [{name: AZP_POOL, value: the helper's own}]
        restartPolicy: Never
        restartPolicyRules: [{action: Restart, exitCodes: {operator: In, values: [42]}}]
      - name: agent
        image: mine:1
        env:
        - {name: NODE, valueFrom: {fieldRef: {fieldPath: spec.nodeName}}}
        - {name: AZP_WORK, value: /cache/_work}
        envFrom: [{configMapRef: {name: settings, optional: true}}]
        volumeMounts: [{name: cache, mountPath: /cache}]
        resources: {limits: {cpu: "2", memory: 3Gi}}
      volumes:
      - {name: cache, emptyDir: {sizeLimit: 5Gi}}
"#;

    let _serve = with_template(&world, "Default", template).start();
    let typed = world.jobs_stay(1).await.remove(0);
    let job = world.stored_jobs().remove(0);
    assert_eq!(losses(&documents(template)[0], &job), [".metadata.name"]);
    // One of the fields is younger than the types that this is built with.
    assert_eq!(losses(&job["spec"], &json!(typed)["spec"]), [".template.spec.containers[helper].restartPolicyRules"]);
    world.the_token_is_nowhere().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_field_that_the_cluster_does_not_know_keeps_no_job_from_being_made() {
    let world = World::new("future").await;
    let pool = world.pool("Default");
    world.queue(pool, 1);
    let template = "apiVersion: batch/v1\nkind: Job\nspec:\n  futurePolicy: {a: [1, null]}\n  \
                    template: {spec: {futureField: 1, containers: [{name: agent}]}}\n";
    let serve = with_template(&world, "Default", template).start();
    world.jobs_stay(1).await;
    assert_eq!(errors(&serve), [json!(null); 0]);
    world.the_token_is_nowhere().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_container_named_agent_is_the_agent_and_the_others_are_left_alone() {
    let world = World::new("containers").await;
    let pool = world.pool("Default");
    world.queue(pool, 1);
    let template = "apiVersion: batch/v1\nkind: Job\nspec: {template: {spec: {containers: [\
                    {name: first, image: first:1}, {name: agent, image: second:1}, {name: third, image: third:1}]}}}\n";

    let _serve = with_template(&world, "Default", template).start();
    world.jobs_stay(1).await;
    let job = world.stored_jobs().remove(0);
    let named = |name: &str| pod(&job)["containers"].as_array().unwrap().iter().find(|it| it["name"] == name).unwrap();
    for other in ["first", "third"] {
        assert!(named(other).get("env").is_none() && named(other).get("volumeMounts").is_none(), "{}", named(other));
    }
    let variables = named("agent")["env"].to_string();
    for variable in ["AZP_URL", "AZP_POOL", "AZP_AGENT_NAME", "AZP_TOKEN_FILE"] {
        assert!(variables.contains(&format!("\"{variable}\"")), "{variables}");
    }
    world.the_token_is_nowhere().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_image_is_the_template_s_and_else_that_of_job_image() {
    let world = World::new("image").await;
    let pool = world.pool("Default");
    world.queue(pool, 1);
    for (image, expected) in [(", image: theirs:1", "theirs:1"), ("", "ours:1")] {
        let template = format!(
            "apiVersion: batch/v1\nkind: Job\nmetadata: {{name: {}}}\nspec: {{template: {{spec: {{containers: [{{name: agent{image}}}]}}}}}}\n",
            expected.trim_end_matches(":1"),
        );
        let (code, log) = with_template(&world, "Default", &template).set("JOB_IMAGE", "ours:1").once().await;
        assert_eq!(code, 0, "{log}");
        assert_eq!(log.contains("JOB_IMAGE is not used"), !image.is_empty(), "{log}");
        let job = world.stored_jobs().remove(0);
        assert_eq!(pod(&job)["containers"][0]["image"], expected);
        let name = job["metadata"]["name"].as_str().unwrap();
        world.plane.kubectl(&["delete", "job", name, "-n", world.namespace.name()]).unwrap();
    }
    world.the_token_is_nowhere().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_docker_socket_is_mounted_as_a_socket_with_and_without_a_template() {
    let world = World::new("socket").await;
    let pool = world.pool("Default");
    world.queue(pool, 1);
    let plain = world.serve("Default");
    let template = with_template(&world, "Default", &project_file(WITH_VOLUME));
    for serve in [plain, template] {
        let (code, log) = serve.set("JOB_DOCKER_SOCKET_PATH", "/var/run/docker.sock").once().await;
        assert_eq!(code, 0, "{log}");
        let job = world.stored_jobs().remove(0);
        let volumes = pod(&job)["volumes"].as_array().unwrap();
        let socket = json!({"path": "/var/run/docker.sock", "type": "Socket"});
        let volume = volumes.iter().find(|volume| volume["hostPath"] == socket).unwrap()["name"].clone();
        let mount = json!({"name": volume, "mountPath": "/var/run/docker.sock"});
        assert!(pod(&job)["containers"][0]["volumeMounts"].as_array().unwrap().contains(&mount), "{job}");
        let name = job["metadata"]["name"].as_str().unwrap();
        world.plane.kubectl(&["delete", "job", name, "-n", world.namespace.name()]).unwrap();
    }
    world.the_token_is_nowhere().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_template_ends_serve_with_its_place_before_any_call_goes_out() {
    let world = World::new("broken").await;
    world.pool("Default");
    let job = "apiVersion: batch/v1\nkind: Job\nspec:\n  template:\n    spec:\n";
    let good = format!("{job}      containers: [{{name: agent}}]\n");
    for (template, place) in [
        (format!("{job}      containers: [\n"), "job.yaml:6:19: "),
        (format!("{job}      restartPolicy: Never\n"), "job.yaml:6:7: spec.template.spec.containers"),
        (format!("{job}      containers: []\n"), "job.yaml:6:19: spec.template.spec.containers"),
        (format!("{good}---\n{good}"), "job.yaml:8:1: this is a second Job"),
    ] {
        let mut serve = with_template(&world, "Default", &template).start();
        assert_eq!(serve.ended().await.code(), Some(2), "{template}{}", serve.log());
        let log = serve.log();
        let told = log.lines().filter(|line| line.starts_with("error: ")).collect::<Vec<_>>();
        assert_eq!(told.len(), 1, "{log}");
        assert!(told[0].starts_with("error: JOB_DEFINITION_FILE") && told[0].contains(place), "{log}");
    }
    assert!(world.sandbox.calls().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_gets_the_agent_template_of_ado_yaml_that_offers_what_it_demands() {
    let world = World::new("two-templates").await;
    let pool = world.pool("Linux Builds");
    let known = AgentSpec::named("known").with("gpu", "true").with("cuda", "12.4").with("docker", "").disabled();
    world.sandbox.add_agent(pool, known).unwrap();
    let job = |name: &str, demand: &str| JobSpec::new("pipeline", name).demand(demand);
    for (name, demand) in [("a", "gpu"), ("b", "cuda -gtVersion 12"), ("c", "docker"), ("d", "docker")] {
        world.sandbox.queue(pool, job(name, demand)).unwrap();
    }
    let file = |name: &str, text: &str| std::fs::write(world.folder.path().join(name), text).unwrap();
    file("token", world.sandbox.token());
    file(
        "gpu.yaml",
        "apiVersion: batch/v1\nkind: Job\nmetadata: {name: with-gpu}\nspec: {template: {spec: {containers: [\
         {name: agent, image: replaced, resources: {limits: {nvidia.com/gpu: 1}}}]}}}\n",
    );
    file(
        "ado.yaml",
        &format!(
            "organization: {{url: {}, authentication: pat, tokenFile: token}}\nhost: kubernetes\nnamespace: {}\n\
             pools:\n- name: Linux Builds\n  limits: {{maxAgents: 40}}\n  templates:\n  \
             - name: gpu\n    capabilities: {{gpu: \"true\", cuda: \"12.4\"}}\n    image: registry.example/agent-gpu:1\n    \
             maxAgents: 4\n    jobTemplate: gpu.yaml\n  \
             - name: default\n    minAgents: 0\n    image: registry.example/agent:1\n",
            world.sandbox.url(),
            world.namespace,
        ),
    );

    let serve = ["ORG_URL", "ORG_PAT", "AGENT_POOLS", "JOB_NAMESPACE", "JOB_IMAGE"]
        .into_iter()
        .fold(world.serve(""), Serve::unset);
    let _serve = serve.argument("--config").argument("ado.yaml").start();
    world.jobs_stay(4).await;
    let mut images = Vec::new();
    for job in world.stored_jobs() {
        let container = &pod(&job)["containers"][0];
        let image = container["image"].as_str().unwrap();
        let (template, prefix, gpus) = match image {
            "registry.example/agent-gpu:1" => ("gpu", "with-gpu-", json!("1")),
            _ => ("default", "agent-job-", Value::Null),
        };
        assert_eq!(job["metadata"]["labels"]["kubectl-ado/template"], template);
        assert!(job["metadata"]["name"].as_str().unwrap().starts_with(prefix));
        assert_eq!(container["resources"]["limits"]["nvidia.com/gpu"], gpus);
        let request = job["metadata"]["labels"]["kubectl-ado/request"].as_str().unwrap().parse().unwrap();
        images.push((world.sandbox.request(request).unwrap().job.name, template));
    }
    images.sort();
    assert_eq!(
        images,
        [("a", "gpu"), ("b", "gpu"), ("c", "default"), ("d", "default")].map(|(a, b)| (a.to_owned(), b))
    );
    world.the_token_is_nowhere().await;
}
