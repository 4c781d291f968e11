//! The organization's token: from a Secret, and never in clear.

use super::*;

#[test]
fn the_token_is_a_file_from_the_secret() {
    let job = Setup::of(None).job();
    let agent = &pod(&job)["containers"][0];
    assert_eq!(variable(agent, "AZP_TOKEN_FILE"), "/run/secrets/kubectl-ado/token");
    assert_eq!(
        agent["volumeMounts"],
        json!([{"name": "kubectl-ado-token", "mountPath": "/run/secrets/kubectl-ado", "readOnly": true}])
    );
    let secret = json!({"secretName": "the-secret", "items": [{"key": "pat", "path": "token"}], "defaultMode": 0o440});
    assert_eq!(pod(&job)["volumes"], json!([{"name": "kubectl-ado-token", "secret": secret}]));
}

#[test]
fn a_credential_of_the_template_s_own_stays() {
    let own = json!({"name": "AZP_TOKEN", "valueFrom": {"secretKeyRef": {"name": "mine", "key": "pat"}}});
    for own in [own, json!({"name": "AZP_TOKEN_FILE", "value": "/mnt/vault/pat"})] {
        let made = container(&json!({"env": [own]})).make().unwrap();
        assert_eq!(pod(&made.job)["containers"][0]["env"][0], own);
        assert!(pod(&made.job).get("volumes").is_none() && made.warnings.is_empty());
        assert!(made.job["metadata"]["annotations"].get("kubectl-ado/token-secret").is_none());
    }
}

#[test]
fn a_plaintext_token_is_taken_out_of_every_container() {
    let leaky = |name: &str| json!({"name": name, "image": "i", "env": [{"name": "AZP_TOKEN", "value": "s3cr3t"}]});
    let spec = json!({"initContainers": [leaky("before")], "containers": [leaky("agent"), leaky("beside")]});
    let made = from(json!({"spec": {"template": {"spec": spec}}})).make().unwrap();
    assert!(!made.job.to_string().contains("s3cr3t"));
    assert_eq!(made.warnings.len(), 3);
    for container in [&pod(&made.job)["initContainers"][0], &pod(&made.job)["containers"][1]] {
        assert_eq!(variable(container, "AZP_TOKEN_FILE"), "/run/secrets/kubectl-ado/token");
    }
    assert_eq!(pod(&made.job)["volumes"].as_array().unwrap().len(), 1);
}

#[test]
fn volume_and_mount_of_the_token_step_aside_for_the_template_s() {
    let mounts = json!([{"name": "kubectl-ado-token", "mountPath": "/run/secrets/kubectl-ado/"}]);
    let spec =
        json!({"containers": [{"volumeMounts": mounts}], "volumes": [{"name": "kubectl-ado-token", "emptyDir": {}}]});
    let job = from(json!({"spec": {"template": {"spec": spec}}})).job();
    assert_eq!(pod(&job)["volumes"][1]["name"], "kubectl-ado-token-2");
    let mount = &pod(&job)["containers"][0]["volumeMounts"][1];
    assert_eq!(
        (&mount["name"], &mount["mountPath"]),
        (&json!("kubectl-ado-token-2"), &json!("/run/secrets/kubectl-ado-2"))
    );
}
