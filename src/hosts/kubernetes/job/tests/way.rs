//! The way to Azure DevOps through a proxy, and past a private authority.

use super::*;

fn way() -> Way {
    let text = |text: &str| Some(text.to_owned());
    Way { proxy: text("http://proxy:3128"), no_proxy: text("10.0.0.1"), authorities: text("PEM") }
}

#[test]
fn an_agent_that_registers_itself_is_told_the_proxy_and_finds_the_authorities_beside_its_token() {
    let job = Setup::of(None).over(way()).job();
    let agent = &pod(&job)["containers"][0];
    assert_eq!(variable(agent, "VSTS_HTTP_PROXY"), "http://proxy:3128");
    assert_eq!(variable(agent, "NO_PROXY"), "10.0.0.1");
    assert_eq!(variable(agent, "AZP_CA_FILE"), "/run/secrets/kubectl-ado/ca.pem");
    let items = json!([{"key": "pat", "path": "token"}, {"key": "ca.pem", "path": "ca.pem"}]);
    assert_eq!(pod(&job)["volumes"][0]["secret"]["items"], items);
}

#[test]
fn so_is_the_init_container_that_registers_another_one() {
    let job = Setup::of(None).registered(Recipe::InitContainer).over(way()).job();
    let init = &pod(&job)["initContainers"][0];
    assert_eq!(variable(init, "VSTS_HTTP_PROXY"), "http://proxy:3128");
    assert_eq!(variable(init, "AZP_CA_FILE"), "/run/secrets/kubectl-ado/ca.pem");
    assert_eq!(variable(&pod(&job)["containers"][0], "AZP_CA_FILE"), &Value::Null, "its files say it");
}

#[test]
fn a_just_in_time_agent_has_the_authorities_among_its_files() {
    let job = Setup::of(None).registered(Recipe::JustInTime).over(way()).job();
    let agent = &pod(&job)["containers"][0];
    assert_eq!(variable(agent, "VSTS_HTTP_PROXY"), "http://proxy:3128");
    assert_eq!(variable(agent, "AZP_CA_FILE"), &Value::Null);
}

#[test]
fn a_foreign_image_and_what_a_template_says_stay_as_they_are() {
    let job = Setup::of(None).image("registry.example/agent:1").over(way()).job();
    assert!(!job.to_string().contains("proxy:3128") && !job.to_string().contains("ca.pem"));
    let template =
        yaml("spec: {template: {spec: {containers: [{name: a, env: [{name: VSTS_HTTP_PROXY, value: mine}]}]}}}");
    let job = Setup::of(Some(template)).over(way()).job();
    assert_eq!(variable(&pod(&job)["containers"][0], "VSTS_HTTP_PROXY"), "mine");
}
