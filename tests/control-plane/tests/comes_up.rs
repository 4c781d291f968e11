//! The control plane comes up, tells users apart, and says who asked for what.

use control_plane::ControlPlane;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Api;
use kube::api::ListParams;

#[tokio::test]
async fn it_comes_up_and_the_default_service_account_exists() {
    let plane = ControlPlane::shared();
    let accounts: Api<ServiceAccount> = Api::namespaced(plane.client().await, "default");
    accounts.get("default").await.unwrap();
    assert!(plane.url().starts_with("https://127.0.0.1:"));
    assert!(plane.kubectl(&["version"]).unwrap().contains("Server Version: v1."));
}

#[tokio::test]
async fn a_service_account_without_rights_is_refused_and_the_audit_log_says_so() {
    let plane = ControlPlane::shared();
    let namespace = plane.namespace("refused").await;
    let namespace = namespace.name();
    let kubeconfig = plane.service_account_kubeconfig(namespace, "default").await;

    let jobs: Api<Job> = Api::default_namespaced(plane.client_of(&kubeconfig).await);
    let error = jobs.list(&ListParams::default()).await.unwrap_err();
    let kube::Error::Api(status) = &error else { panic!("{error:?}") };
    assert_eq!(status.code, 403);
    let said = plane.kubectl_of(&kubeconfig, &["get", "jobs"]).unwrap_err().to_string();
    assert!(said.contains("Forbidden"), "{said}");

    let user = format!("system:serviceaccount:{namespace}:default");
    let events = plane.audit_events();
    let event = events.iter().find(|event| event.user == user && event.resource == "jobs").unwrap();
    let seen = (event.verb.as_str(), event.group.as_str(), event.namespace.as_str(), event.code);
    assert_eq!(seen, ("list", "batch", namespace, 403));
}

#[tokio::test]
async fn each_test_has_a_namespace_of_its_own() {
    let plane = ControlPlane::shared();
    let (one, other) = (plane.namespace("own").await, plane.namespace("own").await);
    assert_ne!(one, other);
    plane.apply(one.name(), r#"{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "here"}}"#).unwrap();
    plane.kubectl(&["get", "configmap", "here", "-n", one.name()]).unwrap();
    plane.kubectl(&["get", "configmap", "here", "-n", other.name()]).unwrap_err();
}
