//! Every rule of the merge, and the promise behind them: what is not ours stays as its owner wrote it.

mod registration;
mod socket;
mod template;
mod token;
mod ttl;
mod way;

use std::path::PathBuf;

use serde_json::{Value, json};

use super::*;
use crate::{
    config::{JobTemplate, Registration, Way},
    core::RequestId,
};

/// The first example of ado-agent-orchestrator's README, word for word.
const WITH_LIMITS: &str = r#"
apiVersion: batch/v1
kind: Job
metadata:
  name: custom-job
spec:
  template:
    spec:
      containers:
      - name: custom-job
        image: ghcr.io/akanieski/ado-pipelines-linux:latest
        resources:
          requests:
            memory: "100Mi"
            cpu: "1"
          limits:
            memory: "200Mi"
            cpu: "2"
        env:
          - name: AZP_URL
            value: https://dev.azure.com/your-org
          - name: AZP_TOKEN
            value: xxxqhugutbqvpoxxxicdab2ojaipkw6kexxxau57bybmvksp5jpq
          - name: AZP_POOL
            value: Default
      restartPolicy: Never
"#;

/// The Job of its second example, word for word.
const WITH_VOLUME: &str = r#"
apiVersion: batch/v1
kind: Job
metadata:
  name: custom-job
spec:
  template:
    spec:
      containers:
      - name: custom-job
        image: ghcr.io/akanieski/ado-pipelines-linux:0.0.1-preview
        volumeMounts:
          - mountPath: "/root/.nuget/packages"
            name: nuget-cache
      volumes:
        - name: nuget-cache
          persistentVolumeClaim:
            claimName: nuget-cache-claim
"#;

struct Setup {
    agent: AgentSpec,
    docker_socket: Option<PathBuf>,
    purpose: Purpose,
    recipe: Recipe,
    way: Way,
}

impl Setup {
    fn of(job: Option<Value>) -> Self {
        let job_template =
            job.map(|job| JobTemplate { path: "job.yaml".into(), job, others: Vec::new(), warnings: Vec::new() });
        let agent = AgentSpec {
            image: None,
            os: Os::Linux,
            job_template,
            container_group: None,
            host_settings: String::new(),
            registration: Registration::Auto,
        };
        Self {
            agent,
            docker_socket: None,
            purpose: Purpose::Request(RequestId(42)),
            recipe: Recipe::Token,
            way: Way::default(),
        }
    }

    fn image(mut self, image: &str) -> Self {
        self.agent.image = Some(image.to_owned());
        self
    }

    fn os(mut self, os: Os) -> Self {
        self.agent.os = os;
        self
    }

    fn socket(mut self, path: &str) -> Self {
        self.docker_socket = Some(path.into());
        self
    }

    fn registered(mut self, recipe: Recipe) -> Self {
        self.recipe = recipe;
        self
    }

    fn over(mut self, way: Way) -> Self {
        self.way = way;
        self
    }

    fn make(&self) -> Result<MadeJob, TemplateError> {
        let token = SecretKey { name: "the-secret".into(), key: "pat".into() };
        let held = Held { by: "me".into(), since: "2026-11-24T08:00:00Z".parse().unwrap() };
        let grant = match self.recipe {
            Recipe::JustInTime => Grant::Files(Some(&held)),
            Recipe::InitContainer => Grant::InitContainer(&token),
            Recipe::Token => Grant::Token(&token),
        };
        let run = StartRun {
            name: "agent-job-abcde-0123456789ab".into(),
            pool: "Linux Builds ☃".into(),
            template: "default".into(),
            purpose: self.purpose,
            attempt: 2,
            revision: "r1".to_owned(),
            recipe: self.recipe,
        };
        make_job(
            &run,
            &JobSettings {
                installation: &Installation::new("0123456789abcdef"),
                organization: "https://dev.azure.com/contoso",
                namespace: "agents",
                agent: &self.agent,
                grant,
                docker_socket: self.docker_socket.as_deref(),
                retention: Retention { finished: Duration::from_secs(600), failed: Duration::from_secs(86_400) },
                way: &self.way,
                certified: self.way.authorities.is_some(),
                lease: Some("kubectl-ado-abcde-0123456789ab"),
            },
        )
    }

    fn job(&self) -> Value {
        self.make().unwrap().job
    }
}

fn yaml(text: &str) -> Value {
    serde_yaml::from_str(text).unwrap()
}

fn from(template: Value) -> Setup {
    Setup::of(Some(template))
}

/// A Job with one container.
fn container(container: &Value) -> Setup {
    from(json!({"spec": {"template": {"spec": {"containers": [container]}}}}))
}

fn pod(job: &Value) -> &Value {
    &job["spec"]["template"]["spec"]
}

fn variable<'a>(container: &'a Value, name: &str) -> &'a Value {
    let found = container["env"].as_array().unwrap().iter().filter(|variable| variable["name"] == name);
    let found: Vec<_> = found.collect();
    assert!(found.len() <= 1, "{name} is there twice");
    found.first().map_or(&Value::Null, |variable| &variable["value"])
}

/// Everything of the template that is not in the Job as it was, by its path.
fn lost(theirs: &Value, made: &Value, path: &str, losses: &mut Vec<String>) {
    match (theirs, made) {
        (Value::Object(theirs), Value::Object(made)) => {
            for (key, value) in theirs {
                let made = made.get(key).unwrap_or(&Value::Null);
                lost(value, made, &format!("{path}.{key}"), losses);
            }
        }
        (Value::Array(theirs), Value::Array(made)) => {
            for (index, value) in theirs.iter().enumerate() {
                let same = value["name"].as_str().and_then(|name| made.iter().find(|item| item["name"] == name));
                let place = value["name"].as_str().map_or_else(|| index.to_string(), str::to_owned);
                let same = same.or_else(|| made.get(index)).unwrap_or(&Value::Null);
                lost(value, same, &format!("{path}[{place}]"), losses);
            }
        }
        _ if theirs == made => {}
        _ => losses.push(path.to_owned()),
    }
}

fn losses(template: &Value, made: &Value) -> Vec<String> {
    let mut losses = Vec::new();
    lost(template, made, "", &mut losses);
    losses
}

#[test]
fn name_and_namespace_are_ours_and_a_generated_name_is_gone() {
    let made = from(json!({"metadata": {"name": "x", "generateName": "x-", "namespace": "other"}})).make().unwrap();
    let metadata = &made.job["metadata"];
    assert_eq!(metadata["name"], "agent-job-abcde-0123456789ab");
    assert_eq!(metadata["namespace"], "agents");
    assert!(metadata.get("generateName").is_none());
    assert!(made.warnings[0].contains("\"other\""));
}

#[test]
fn job_and_pod_say_whose_they_are_and_what_they_are_for() {
    let job = Setup::of(None).job();
    for metadata in [&job["metadata"], &job["spec"]["template"]["metadata"]] {
        let labels = &metadata["labels"];
        assert_eq!(labels["app.kubernetes.io/managed-by"], "kubectl-ado");
        assert_eq!(labels["app.kubernetes.io/component"], "agent");
        assert_eq!(labels["kubectl-ado/installation"], "0123456789abcdef");
        assert_eq!(labels["kubectl-ado/pool"], pool_label("Linux Builds ☃").as_str());
        assert_eq!(labels["kubectl-ado/template"], "default");
        assert_eq!(labels["kubectl-ado/request"], "42");
        assert_eq!(labels["kubectl-ado/attempt"], "2");
        assert_eq!(metadata["annotations"]["kubectl-ado/pool"], "Linux Builds ☃");
        assert_eq!(metadata["annotations"]["kubectl-ado/organization"], "https://dev.azure.com/contoso");
    }
    assert_eq!(job["metadata"]["annotations"]["kubectl-ado/token-secret"], "the-secret");
}

#[test]
fn a_slot_is_labelled_as_one_and_labels_of_a_copied_job_do_not_stay() {
    let copied =
        json!({"metadata": {"labels": {"kubectl-ado/request": "7"}, "annotations": {"kubectl-ado/request": "7"}}});
    let job = Setup { purpose: Purpose::Slot(3), ..from(copied) }.job();
    assert_eq!(job["metadata"]["labels"]["kubectl-ado/slot"], "3");
    assert!(job["metadata"]["labels"].get("kubectl-ado/request").is_none());
    assert!(job["metadata"]["annotations"].get("kubectl-ado/request").is_none());
}

#[test]
fn a_managed_by_label_of_the_template_is_replaced_with_a_warning() {
    let made = from(json!({"metadata": {"labels": {"app.kubernetes.io/managed-by": "Helm"}}})).make().unwrap();
    assert_eq!(made.job["metadata"]["labels"]["app.kubernetes.io/managed-by"], "kubectl-ado");
    assert!(made.warnings[0].contains("Helm"));
}

#[test]
fn the_agent_is_told_where_it_belongs_in_place_of_what_the_template_says() {
    let env = json!([
        {"name": "FIRST", "value": "1"},
        {"name": "AZP_POOL", "valueFrom": {"configMapKeyRef": {"name": "x", "key": "y"}}},
        {"name": "AZP_AGENT_NAME", "value": "mine"},
    ]);
    let job = container(&json!({"name": "a", "image": "i", "env": env})).job();
    let agent = &pod(&job)["containers"][0];
    assert_eq!(variable(agent, "AZP_URL"), "https://dev.azure.com/contoso");
    assert_eq!(variable(agent, "AZP_POOL"), "Linux Builds ☃");
    assert_eq!(variable(agent, "AZP_AGENT_NAME"), "agent-job-abcde-0123456789ab");
    assert_eq!(variable(agent, "KUBECTL_ADO_INSTALLATION"), "0123456789abcdef");
    assert_eq!(variable(agent, "VSTS_AGENT_INPUT_ONCE"), "true");
    assert_eq!(agent["env"][1], json!({"name": "AZP_POOL", "value": "Linux Builds ☃"}), "in its old place");
}

#[test]
fn whether_the_agent_runs_once_is_the_template_s_to_say() {
    let job = container(&json!({"env": [{"name": "VSTS_AGENT_INPUT_ONCE", "value": "false"}]})).job();
    assert_eq!(variable(&pod(&job)["containers"][0], "VSTS_AGENT_INPUT_ONCE"), "false");
}

#[test]
fn the_container_named_agent_is_the_agent_else_the_first() {
    let two = |second: &str| {
        let containers = json!([{"name": "a", "image": "i"}, {"name": second, "image": "i"}]);
        from(json!({"spec": {"template": {"spec": {"containers": containers}}}})).job()
    };
    let has_variables = |job: &Value, index: usize| pod(job)["containers"][index].get("env").is_some();
    assert!(has_variables(&two("b"), 0) && !has_variables(&two("b"), 1));
    assert!(has_variables(&two("agent"), 1) && !has_variables(&two("agent"), 0));
}

#[test]
fn an_image_from_the_configuration_goes_before_the_template_s() {
    let image = |setup: Setup| pod(&setup.job())["containers"][0]["image"].as_str().unwrap().to_owned();
    assert_eq!(image(container(&json!({"image": "theirs"}))), "theirs");
    assert_eq!(image(container(&json!({"image": "theirs"})).image("ours")), "ours");
    assert_eq!(image(container(&json!({})).image("ours")), "ours");
    assert_eq!(image(container(&json!({}))), DEFAULT_AGENT_IMAGE);
}

#[test]
fn our_own_image_is_hardened_by_default() {
    for setup in [Setup::of(None), Setup::of(None).image(DEFAULT_AGENT_IMAGE)] {
        let job = setup.job();
        let pod = pod(&job);
        assert_eq!(pod["automountServiceAccountToken"], false);
        assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
        assert_eq!(pod["securityContext"]["seccompProfile"]["type"], "RuntimeDefault");
        assert_eq!(pod["containers"][0]["securityContext"]["capabilities"]["drop"], json!(["ALL"]));
        assert_eq!(pod["containers"][0]["securityContext"]["allowPrivilegeEscalation"], false);
        assert_eq!(pod["nodeSelector"]["kubernetes.io/os"], "linux");
        assert_eq!(pod["terminationGracePeriodSeconds"], 3600);
    }
}

#[test]
fn a_foreign_image_is_left_as_its_owner_made_it() {
    let job = Setup::of(None).image("ghcr.io/akanieski/ado-pipelines-linux:latest").job();
    let pod = pod(&job);
    assert_eq!(pod["automountServiceAccountToken"], false);
    assert!(pod.get("securityContext").is_none() && pod["containers"][0].get("securityContext").is_none());
    assert_eq!(pod["volumes"][0]["secret"]["defaultMode"], 0o444, "whoever the agent runs as can read it");
}

#[test]
fn windows_agents_go_to_windows_nodes() {
    let job = Setup::of(None).os(Os::Windows).image("agent-windows").job();
    assert_eq!(pod(&job)["nodeSelector"]["kubernetes.io/os"], "windows");
    assert!(pod(&job).get("securityContext").is_none());
    assert!(pod(&from(json!({})).os(Os::Windows).job()).get("nodeSelector").is_none(), "a template says it itself");
}

#[test]
fn autoscalers_leave_agents_where_they_are() {
    let job = Setup::of(None).job();
    let annotations = &job["spec"]["template"]["metadata"]["annotations"];
    assert_eq!(annotations["cluster-autoscaler.kubernetes.io/safe-to-evict"], "false");
    assert_eq!(annotations["karpenter.sh/do-not-disrupt"], "true");
}

#[test]
fn missing_and_empty_parts_are_created() {
    for template in
        ["{}", "metadata:\nspec:\n", "spec:\n  template:\n    metadata:\n      labels:\n    spec:\n      containers:\n"]
    {
        let job = from(yaml(template)).job();
        assert_eq!((&job["apiVersion"], &job["kind"]), (&json!("batch/v1"), &json!("Job")));
        assert_eq!(pod(&job)["containers"][0]["name"], "agent");
    }
}

#[test]
fn a_wrong_type_is_refused_by_its_path() {
    for (template, message) in [
        ("[]", "the template has to be an object, not a list"),
        ("metadata: x", "metadata has to be an object, not a string"),
        ("spec: {template: 5}", "spec.template has to be an object, not a number"),
        ("spec: {template: {spec: {containers: {}}}}", "spec.template.spec.containers has to be a list, not an object"),
        (
            "spec: {template: {spec: {containers: [a]}}}",
            "spec.template.spec.containers[0] has to be an object, not a string",
        ),
        (
            "spec: {template: {spec: {containers: [{env: {A: b}}]}}}",
            "spec.template.spec.containers[0].env has to be a list, not an object",
        ),
        (
            "spec: {template: {spec: {containers: [{env: [{name: true}]}]}}}",
            "spec.template.spec.containers[0].env[0].name has to be a string, not true or false",
        ),
    ] {
        assert_eq!(from(yaml(template)).make().unwrap_err().to_string(), message);
    }
}

#[test]
fn several_pods_in_one_job_are_worth_a_warning() {
    let made = from(json!({"spec": {"parallelism": 3, "completions": 1}})).make().unwrap();
    assert!(made.warnings.len() == 1 && made.warnings[0].contains("spec.parallelism"));
}
