//! Agents that do not register themselves: what of their Job is different, and that no token comes near a pipeline job.

use super::*;

const FILES: &str = "/run/secrets/kubectl-ado-agent";

fn names(list: &Value) -> Vec<&str> {
    list.as_array().into_iter().flatten().map(|item| item["name"].as_str().unwrap()).collect()
}

#[test]
fn a_just_in_time_agent_is_held_and_gets_its_files_from_a_secret_named_like_it() {
    let made = Setup::of(None).registered(Recipe::JustInTime).make().unwrap();
    let job = &made.job;
    assert_eq!(job["spec"]["suspend"], true);
    let annotations = &job["metadata"]["annotations"];
    assert_eq!(annotations["kubectl-ado/registration"], "just-in-time");
    assert_eq!(annotations["kubectl-ado/held"], "me 2026-11-24T08:00:00.000Z");
    for absent in ["kubectl-ado/own-suspend", "kubectl-ado/token-secret"] {
        assert_eq!(annotations[absent], Value::Null);
    }
    let secret = json!({"secretName": "agent-job-abcde-0123456789ab", "defaultMode": 0o440});
    assert_eq!(pod(job)["volumes"], json!([{"secret": secret, "name": "kubectl-ado-agent"}]));
    let agent = &pod(job)["containers"][0];
    assert_eq!(agent["volumeMounts"], json!([{"name": "kubectl-ado-agent", "mountPath": FILES, "readOnly": true}]));
    assert_eq!(variable(agent, "AZP_AGENT_FILES"), FILES);
    assert_eq!(variable(agent, "KUBECTL_ADO_REGISTRATION"), "just-in-time");
    assert_eq!(variable(agent, "AZP_TOKEN_FILE"), &Value::Null);
    assert_eq!(pod(job)["automountServiceAccountToken"], false);
    assert!(!job.to_string().contains("the-secret") && made.warnings.is_empty());
}

#[test]
fn a_foreign_image_reads_its_files_as_whoever_it_is_and_a_template_says_what_else_it_gets() {
    let job = Setup::of(None).image("theirs").registered(Recipe::JustInTime).job();
    assert_eq!(pod(&job)["volumes"][0]["secret"]["defaultMode"], 0o444);
    let template = json!({"spec": {"template": {"spec": {"automountServiceAccountToken": true}}}});
    assert_eq!(pod(&from(template).registered(Recipe::JustInTime).job())["automountServiceAccountToken"], true);
    let silent = from(json!({})).registered(Recipe::JustInTime).job();
    assert_eq!(pod(&silent)["automountServiceAccountToken"], false);
}

#[test]
fn a_suspension_that_is_somebody_else_s_stays_theirs() {
    let queued = json!({"metadata": {"labels": {"kueue.x-k8s.io/queue-name": "builds"}}});
    let once = json!({"metadata": {"annotations": {"kueue.x-k8s.io/queue-name": "builds"}}});
    let own = json!({"spec": {"suspend": true}});
    for (template, suspend) in [(queued, Value::Null), (once, Value::Null), (own, json!(true))] {
        let job = from(template).registered(Recipe::JustInTime).job();
        assert_eq!(job["spec"].get("suspend").unwrap_or(&Value::Null), &suspend);
        assert_eq!(job["metadata"]["annotations"]["kubectl-ado/own-suspend"], "true");
        assert!(job["metadata"]["annotations"]["kubectl-ado/held"].is_string());
    }
    let job = from(json!({"spec": {"suspend": false}})).registered(Recipe::JustInTime).job();
    assert_eq!(job["spec"]["suspend"], true);
    assert_eq!(job["metadata"]["annotations"]["kubectl-ado/own-suspend"], Value::Null);
}

#[test]
fn marks_of_a_copied_job_do_not_stay() {
    let copied = json!({"metadata": {"annotations": {"kubectl-ado/held": "x", "kubectl-ado/registration": "just-in-time",
        "kubectl-ado/own-suspend": "true"}}});
    let annotations = from(copied).job()["metadata"]["annotations"].clone();
    for mark in ["held", "registration", "own-suspend"] {
        assert_eq!(annotations[format!("kubectl-ado/{mark}")], Value::Null);
    }
}

#[test]
fn a_token_of_the_template_s_own_does_not_reach_a_just_in_time_agent() {
    let own = json!({"name": "AZP_TOKEN", "valueFrom": {"secretKeyRef": {"name": "mine", "key": "pat"}}});
    let plain = json!({"name": "AZP_TOKEN", "value": "s3cr3t"});
    for token in [own, json!({"name": "AZP_TOKEN_FILE", "value": "/mnt/vault/pat"}), plain] {
        let mounts = json!([{"name": "vault", "mountPath": "/mnt/vault"}]);
        let env = json!([{"name": "X", "value": "y"}, token]);
        let made = container(&json!({"name": "agent", "env": env, "volumeMounts": mounts}))
            .registered(Recipe::JustInTime)
            .make()
            .unwrap();
        let agent = &pod(&made.job)["containers"][0];
        assert!(!agent["env"].to_string().contains("AZP_TOKEN"), "{agent}");
        assert_eq!(variable(agent, "X"), "y");
        assert_eq!(names(&agent["volumeMounts"]), ["vault", "kubectl-ado-agent"], "nothing but the variable goes");
        let [warning] = &made.warnings[..] else { panic!("{:?}", made.warnings) };
        assert!(warning.contains(token["name"].as_str().unwrap()) && warning.contains("just-in-time"), "{warning}");
        assert!(!warning.contains("s3cr3t"));
    }
}

#[test]
fn another_container_s_own_credential_is_its_owner_s_business_unless_it_is_plain_text() {
    let own = json!({"name": "AZP_TOKEN", "valueFrom": {"secretKeyRef": {"name": "mine", "key": "pat"}}});
    let spec = json!({
        "initContainers": [{"name": "fetch", "env": [own]}],
        "containers": [{"name": "agent"}, {"name": "beside", "env": [{"name": "AZP_TOKEN", "value": "s3cr3t"}]}],
    });
    for recipe in [Recipe::JustInTime, Recipe::InitContainer] {
        let made = from(json!({"spec": {"template": {"spec": spec}}})).registered(recipe).make().unwrap();
        assert_eq!(pod(&made.job)["initContainers"][0]["env"], json!([own]));
        assert_eq!(pod(&made.job)["containers"][1]["env"], json!([]));
        assert!(made.warnings.len() == 1 && made.warnings[0].contains("\"beside\""), "{:?}", made.warnings);
    }
}

#[test]
fn an_init_container_registers_the_agent_and_it_alone_has_the_token() {
    let made = Setup::of(None).registered(Recipe::InitContainer).make().unwrap();
    let job = &made.job;
    assert_eq!(job["metadata"]["annotations"]["kubectl-ado/registration"], "init-container");
    assert_eq!(job["metadata"]["annotations"]["kubectl-ado/token-secret"], "the-secret");
    assert!(job["spec"].get("suspend").is_none() && made.warnings.is_empty());
    let (init, agent) = (&pod(job)["initContainers"][0], &pod(job)["containers"][0]);
    assert_eq!((&init["name"], &init["image"]), (&json!("kubectl-ado-register"), &agent["image"]));
    assert_eq!(init["securityContext"], agent["securityContext"]);
    for container in [init, agent] {
        assert_eq!(variable(container, "AZP_AGENT_FILES"), FILES);
        assert_eq!(variable(container, "KUBECTL_ADO_REGISTRATION"), "init-container");
        assert_eq!(variable(container, "AZP_AGENT_NAME"), "agent-job-abcde-0123456789ab");
    }
    assert_eq!(variable(init, "AZP_REGISTER_ONLY"), "1");
    assert_eq!(variable(init, "AZP_TOKEN_FILE"), "/run/secrets/kubectl-ado/token");
    for absent in ["AZP_REGISTER_ONLY", "AZP_TOKEN_FILE"] {
        assert_eq!(variable(agent, absent), &Value::Null);
    }
    let mounts = json!([
        {"name": "kubectl-ado-agent", "mountPath": FILES},
        {"name": "kubectl-ado-token", "mountPath": "/run/secrets/kubectl-ado", "readOnly": true},
    ]);
    assert_eq!(init["volumeMounts"], mounts);
    assert_eq!(agent["volumeMounts"], json!([{"name": "kubectl-ado-agent", "mountPath": FILES, "readOnly": true}]));
    assert_eq!(pod(job)["volumes"][0]["emptyDir"]["medium"], "Memory");
}

#[test]
fn the_init_container_is_like_the_agent_but_for_what_an_init_container_may_not_have() {
    let agent = json!({
        "name": "agent", "image": "theirs", "command": ["/start"], "imagePullPolicy": "Always", "ports": [{"containerPort": 1}],
        "livenessProbe": {}, "lifecycle": {}, "restartPolicyRules": [], "resources": {"limits": {"cpu": "1"}},
        "env": [
            {"name": "https_proxy", "value": "http://proxy"},
            {"name": "AZP_TOKEN", "valueFrom": {"secretKeyRef": {"name": "mine", "key": "pat"}}},
        ],
    });
    let made = container(&agent).registered(Recipe::InitContainer).make().unwrap();
    let init = &pod(&made.job)["initContainers"][0];
    for key in ["image", "command", "imagePullPolicy", "resources"] {
        assert_eq!(init[key], agent[key], "{key}");
    }
    for key in ["ports", "livenessProbe", "lifecycle", "restartPolicyRules"] {
        assert!(init.get(key).is_none(), "{key}");
    }
    assert_eq!(variable(init, "https_proxy"), "http://proxy");
    // Its own credential moves with it.
    assert_eq!(init["env"][1], agent["env"][1]);
    assert_eq!(variable(init, "AZP_TOKEN_FILE"), &Value::Null);
    assert!(!pod(&made.job)["containers"][0]["env"].to_string().contains("AZP_TOKEN"));
    assert!(made.job["metadata"]["annotations"].get("kubectl-ado/token-secret").is_none());
    assert!(made.warnings.len() == 1 && made.warnings[0].contains("only the init container"), "{:?}", made.warnings);
}

#[test]
fn names_and_places_step_aside_for_the_template_s() {
    let spec = json!({
        "initContainers": [{"name": "kubectl-ado-register", "image": "i"}],
        "containers": [{"volumeMounts": [{"name": "kubectl-ado-agent", "mountPath": FILES}]}],
        "volumes": [{"name": "kubectl-ado-agent", "emptyDir": {}}],
    });
    let job = from(json!({"spec": {"template": {"spec": spec}}})).registered(Recipe::InitContainer).job();
    let other = format!("{FILES}-2");
    assert_eq!(names(&pod(&job)["initContainers"]), ["kubectl-ado-register", "kubectl-ado-register-2"]);
    assert_eq!(names(&pod(&job)["volumes"]), ["kubectl-ado-agent", "kubectl-ado-agent-2", "kubectl-ado-token"]);
    for container in [&pod(&job)["initContainers"][1], &pod(&job)["containers"][0]] {
        assert_eq!(variable(container, "AZP_AGENT_FILES"), other.as_str());
        assert_eq!(container["volumeMounts"][1]["mountPath"], other.as_str());
    }
}

#[test]
fn whatever_the_recipe_nothing_of_the_template_s_is_lost() {
    for recipe in [Recipe::JustInTime, Recipe::InitContainer] {
        assert_eq!(
            losses(&yaml(WITH_VOLUME), &from(yaml(WITH_VOLUME)).registered(recipe).job()),
            [".metadata.name"],
            "{recipe}"
        );
    }
}
