//! Job templates: those of the original project's README, and wrong ones.

use std::path::Path;

use kubectl_ado::config::{Config, JobTemplate};
use serde_json::json;

use crate::{Folder, assert_errors, errors_of, least_and};

#[test]
fn the_job_with_limits_of_the_original_readme_loads_with_nothing_lost() {
    let template = JobTemplate::load(Path::new("tests/fixtures/original/job-with-limits.yaml")).unwrap();
    let expected = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "custom-job"},
        "spec": {"template": {"spec": {
            "containers": [{
                "name": "custom-job",
                "image": "ghcr.io/akanieski/ado-pipelines-linux:latest",
                "resources": {
                    "requests": {"memory": "100Mi", "cpu": "1"},
                    "limits": {"memory": "200Mi", "cpu": "2"},
                },
                "env": [
                    {"name": "AZP_URL", "value": "https://dev.azure.com/your-org"},
                    {"name": "AZP_TOKEN", "value": "xxxqhugutbqvpoxxxicdab2ojaipkw6kexxxau57bybmvksp5jpq"},
                    {"name": "AZP_POOL", "value": "Default"},
                ],
            }],
            "restartPolicy": "Never",
        }}},
    });
    assert_eq!(template.job, expected);
    assert_eq!(template.others, [json!(null); 0]);
    assert_eq!(template.name_prefix(), Some("custom-job"));
    assert_eq!(template.image(), Some("ghcr.io/akanieski/ado-pipelines-linux:latest"));
    let [warning] = &template.warnings[..] else { panic!("{:?}", template.warnings) };
    assert!(warning.contains("job-with-limits.yaml:22:20: spec.template.spec.containers[0].env[1].value"), "{warning}");
    assert!(!format!("{warning}{template:?}").contains("xxxqhug"));
}

#[test]
fn the_job_with_a_volume_of_the_original_readme_loads_with_nothing_lost() {
    let template = JobTemplate::load(Path::new("tests/fixtures/original/job-with-volume.yaml")).unwrap();
    let job = json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "custom-job"},
        "spec": {"template": {"spec": {
            "containers": [{
                "name": "custom-job",
                "image": "ghcr.io/akanieski/ado-pipelines-linux:0.0.1-preview",
                "volumeMounts": [{"mountPath": "/root/.nuget/packages", "name": "nuget-cache"}],
            }],
            "volumes": [{"name": "nuget-cache", "persistentVolumeClaim": {"claimName": "nuget-cache-claim"}}],
        }}},
    });
    let volume = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": "nuget-cache"},
        "spec": {
            "capacity": {"storage": "10Gi"},
            "accessModes": ["ReadWriteMany"],
            "hostPath": {"path": "/tmp/nuget-cache"},
            "storageClassName": "slow",
        },
    });
    let claim = json!({
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "nuget-cache-claim"},
        "spec": {
            "accessModes": ["ReadWriteMany"],
            "volumeMode": "Filesystem",
            "resources": {"requests": {"storage": "10Gi"}},
            "storageClassName": "slow",
        },
    });
    assert_eq!((template.job, template.others), (job, vec![volume, claim]));
    assert_eq!(template.warnings, [""; 0]);
}

#[test]
fn fields_that_no_version_of_kubernetes_knows_are_kept() {
    let text = "apiVersion: batch/v1\nkind: Job\nx-a: {b: [1, 2.5, null, {c: ~}]}\nspec:\n  podReplacementPolicy: Failed\n  \
                template: {spec: {containers: [{name: a, newField: 0644}]}}\n";
    let template = JobTemplate::parse(Path::new("job.yaml"), text).unwrap();
    assert_eq!(template.job["x-a"], json!({"b": [1, 2.5, null, {"c": null}]}));
    assert_eq!(template.job["spec"]["podReplacementPolicy"], "Failed");
    assert_eq!(template.job["spec"]["template"]["spec"]["containers"][0]["newField"], 420);
}

#[test]
fn the_agents_container_is_the_one_named_agent_else_the_first() {
    let text = "apiVersion: batch/v1\nkind: Job\nspec: {template: {spec: {containers: [{name: a, image: x}, {name: agent, image: z}]}}}\n";
    let template = JobTemplate::parse(Path::new("job.yaml"), text).unwrap();
    assert_eq!((template.agent_container(), template.image()), (1, Some("z")));
    let template = JobTemplate::parse(Path::new("job.yaml"), &text.replace("name: agent", "name: b")).unwrap();
    assert_eq!((template.agent_container(), template.image(), template.name_prefix()), (0, Some("x"), None));
}

#[test]
fn wrong_templates_are_answered_with_the_variable_and_the_place() {
    let job = |rest: &str| format!("apiVersion: batch/v1\nkind: Job\n{rest}");
    let pod = |pod: &str| job(&format!("spec:\n  template:\n    spec: {pod}\n"));
    let good = pod("{containers: [{name: a}]}");
    let table: &[(String, &[&[&str]])] = &[
        (String::new(), &[&["job.yaml has no Job in it, only nothing", "fix: add a document"]]),
        ("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n".into(), &[&["job.yaml has no Job in it, only Pod"]]),
        ("a: [\n".into(), &[&["job.yaml:1:4: unclosed bracket"]]),
        ("- a\n".into(), &[&["job.yaml:1:1: the document is a list"]]),
        (
            "kind: Job\nspec: {template: {spec: {containers: [{name: a}]}}}\n".into(),
            &[&["job.yaml:1:1: apiVersion is missing"]],
        ),
        (format!("{good}---\n{good}"), &[&["job.yaml:7:1: this is a second Job"]]),
        (format!("{good}---\napiVersion: v1\nkind: ConfigMap\n"), &[&["job.yaml:7:1: metadata is missing"]]),
        (
            format!("{good}---\napiVersion: v1\nkind: ConfigMap\nmetadata: {{}}\n"),
            &[&["job.yaml:9:11: metadata.name is missing"]],
        ),
        (format!("{good}---\nkind: ConfigMap\nmetadata: {{name: a}}\n"), &[&["job.yaml:7:1: apiVersion is missing"]]),
        (
            format!("{good}---\napiVersion: v1\nkind: List\nitems: []\n"),
            &[&["job.yaml:7:1: a List is not read", "documents of their own"]],
        ),
        (
            "apiVersion: batch/v1\nkind: CronJob\nmetadata: {name: a}\n".into(),
            &[&["has a CronJob and no Job", "spec.jobTemplate"]],
        ),
        (good.replace("batch/v1", "batch/v1beta1"), &[&["job.yaml:1:13: apiVersion is \"batch/v1beta1\""]]),
        (job("spec: 1\n"), &[&["job.yaml:3:7: spec is 1; it has to be a mapping"]]),
        (job(""), &[&["job.yaml:1:1: spec is missing"]]),
        (
            job("metadata: {name: 7}\nspec: {template: {spec: {containers: [{name: a}]}}}\n"),
            &[&["job.yaml:3:18: metadata.name is 7", "quotes"]],
        ),
        (
            job("metadata: {labels: {v: 1.10}}\nspec: {template: {spec: {containers: [{name: a}]}}}\n"),
            &[&["job.yaml:3:24: metadata.labels.v is 1.1"]],
        ),
        (pod("{containers: []}"), &[&["job.yaml:5:24: spec.template.spec.containers is empty"]]),
        (pod("{containers: {name: a}}"), &[&["spec.template.spec.containers is a mapping; it has to be a list"]]),
        (pod("{volumes: []}"), &[&["job.yaml:5:11: spec.template.spec.containers is missing"]]),
        (pod("{containers: [{image: a}]}"), &[&["containers[0].name is missing"]]),
        (pod("{containers: [{name: a}, {name: a}]}"), &[&["containers[1].name is \"a\" a second time"]]),
        (pod("{containers: [{name: a, image: 1}]}"), &[&["containers[0].image is 1"]]),
        (
            pod("{containers: [{name: a, env: [{name: A, value: yes}]}]}"),
            &[&["containers[0].env[0].value is true", "quotes"]],
        ),
        (pod("{restartPolicy: Always, containers: [{name: a}]}"), &[&["restartPolicy is Always", "fix: use Never"]]),
        (pod("{containers: [{name: a}], containers: [{name: b}]}"), &[&["containers stands there already at line 5"]]),
        (
            job("spec: {parallelism: 3, template: {spec: {containers: [{name: a}]}}}\n"),
            &[&["job.yaml:3:21: spec.parallelism is 3"]],
        ),
        (job("spec: {selector: {}, template: {spec: {containers: [{name: a}]}}}\n"), &[&["spec.selector"]]),
    ];
    for (text, expected) in table {
        let folder = Folder::with(&[("job.yaml", text)]);
        let path = folder.path("job.yaml");
        let answer = errors_of(&least_and(&[("JOB_DEFINITION_FILE", path.to_str().unwrap())]), &folder);
        assert_errors(&answer, expected);
        assert!(answer.starts_with("error: JOB_DEFINITION_FILE: "), "{answer}");
    }
}

#[test]
fn a_job_template_gives_name_and_image_and_its_own_agent_template_may_replace_the_image() {
    let job = "apiVersion: batch/v1\nkind: Job\nmetadata: {name: mine, namespace: other}\n\
               spec: {template: {spec: {containers: [{name: a, image: theirs}]}}}\n";
    let file = "image: general\njobTemplate: job.yaml\njobPrefix: general\npools:\n- name: a\n  templates:\n  - {name: x, image: own, capabilities: {}}\n  - name: y\n";
    let folder = Folder::with(&[("ado.yaml", file), ("job.yaml", job)]);
    let config = Config::load(&least_and(&[]), Some(&folder.path("ado.yaml"))).unwrap();
    let spec = |template: &str| &config.agents[&("a".to_owned(), template.to_owned())];
    assert_eq!((spec("x").image.as_deref(), spec("y").image.as_deref()), (Some("own"), None));
    assert!(config.pools[0].templates.iter().all(|template| template.name_prefix == "mine"));
    let warnings = folder.strip(&config.warnings.join("\n"));
    assert!(warnings.contains("ado.yaml:1:8: image is not used where the Job template names an image"), "{warnings}");
    assert!(warnings.contains("the Job's namespace other is not used; Jobs are made in default"), "{warnings}");
}
