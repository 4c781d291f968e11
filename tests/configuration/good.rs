//! Configurations that work, among them every one that the original project's README shows.

use std::{path::Path, time::Duration};

use kubectl_ado::{
    config::{Authentication, AzureEnvironment, Config, HostConfig, Os, Polling, Registration, SecretKey, TokenSource},
    core::{Demand, Recipe, Scale, Timeouts},
};
use serde_json::Value;

use crate::{Folder, least_and};

fn names_of_pools(config: &Config) -> Vec<&str> {
    config.pools.iter().map(|pool| pool.name.as_str()).collect()
}

#[test]
fn the_least_that_is_required_is_enough() {
    let config = Config::load(&least_and(&[]), None).unwrap();
    assert_eq!(config.organization.url, "https://dev.azure.com/contoso");
    assert_eq!(names_of_pools(&config), ["Pool1", "Pool2"]);
    let HostConfig::Kubernetes(kubernetes) = &config.host else { panic!("{:?}", config.host) };
    assert_eq!((kubernetes.namespace.as_str(), kubernetes.initialize_namespace), ("default", true));
    assert_eq!((config.polling, config.run_once), (Polling::Adaptive, false));
    assert_eq!(config.listen, "127.0.0.1:0".parse().unwrap());
    assert_eq!(config.timeouts, Timeouts::default());
    assert_eq!(
        (config.retention.finished, config.retention.failed),
        (Duration::from_mins(10), Duration::from_hours(24))
    );
    let template = &config.pools[0].templates[0];
    assert_eq!((template.name.as_str(), template.name_prefix.as_str()), ("default", "agent-job-"));
    assert_eq!((template.scale, config.pools[0].max_agents), (Scale::default(), None));
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn the_deployment_of_the_original_readme_works() {
    let deployment = std::fs::read_to_string("tests/fixtures/original/deployment.yaml").unwrap();
    let deployment: Value = serde_yaml::from_str(&deployment).unwrap();
    let variables = deployment.pointer("/spec/template/spec/containers/0/env").unwrap().as_array().unwrap();
    let text = |variable: &Value, key: &str| variable[key].as_str().unwrap().to_owned();
    let mut environment: Vec<_> = variables.iter().map(|it| (text(it, "name"), text(it, "value"))).collect();
    environment.push(("KUBERNETES_SERVICE_HOST".into(), "10.0.0.1".into()));
    let config = Config::load(&environment.into_iter().collect(), None).unwrap();
    assert_eq!(config.organization.url, "https://dev.azure.com/yourorg");
    assert_eq!(names_of_pools(&config), ["Pool1", "Pool2"]);
    let HostConfig::Kubernetes(kubernetes) = &config.host else { panic!("{:?}", config.host) };
    assert_eq!(kubernetes.namespace, "ado");
    let spec = &config.agents[&("Pool1".to_owned(), "default".to_owned())];
    assert_eq!(spec.image.as_deref(), Some("ghcr.io/akanieski/ado-pipelines-linux:latest"));
    assert_eq!(config.listen, "0.0.0.0:8080".parse().unwrap());
    assert_eq!(config.warnings, [""; 0]);
}

/// The lines `NAME=value   # comment` of one of the README's blocks.
fn block(path: &str) -> Vec<(String, String)> {
    let text = std::fs::read_to_string(path).unwrap();
    let line = |line: &str| {
        let (name, rest) = line.split_once('=').unwrap();
        (name.to_owned(), rest.split('#').next().unwrap().trim().to_owned())
    };
    text.lines().map(line).collect()
}

#[test]
fn the_variables_of_the_original_readme_work() {
    let mut variables = block("tests/fixtures/original/variables.txt");
    let template = "tests/fixtures/original/job-with-volume.yaml";
    for (name, value) in &mut variables {
        if name == "JOB_DEFINITION_FILE" {
            template.clone_into(value);
        }
    }
    let variables: Vec<(&str, &str)> = variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let config = Config::load(&least_and(&variables), None).unwrap();
    assert_eq!((config.polling, config.run_once), (Polling::Every(Duration::from_secs(1)), true));
    let HostConfig::Kubernetes(kubernetes) = &config.host else { panic!("{:?}", config.host) };
    assert_eq!(kubernetes.docker_socket.as_deref(), Some(Path::new("/var/run/docker.sock")));
    assert_eq!(config.pools[0].templates[0].name_prefix, "custom-job");
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn container_instances_are_chosen_by_their_variables_where_there_is_no_cluster() {
    let id = "01234567-89AB-cdef-0123-456789abcdef";
    let mut variables = block("tests/fixtures/original/container-instances.txt");
    for (name, value) in &mut variables {
        match name.as_str() {
            "AZ_RESOURCE_GROUP" => "agents".clone_into(value),
            "AZ_SUBSCRIPTION_ID" | "AZ_TENANT_ID" => id.clone_into(value),
            _ => {}
        }
    }
    let mut variables: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let config = Config::load(&least_and(&variables), None).unwrap();
    let HostConfig::ContainerInstances(aci) = &config.host else { panic!("{:?}", config.host) };
    assert_eq!((aci.region.as_str(), aci.environment), ("eastus", AzureEnvironment::Public));
    assert_eq!(aci.subscription_id, id.to_lowercase());

    let folder = Folder::with(&[("config", "")]);
    let kubeconfig = folder.path("config");
    variables.push(("KUBECONFIG", kubeconfig.to_str().unwrap()));
    let config = Config::load(&least_and(&variables), None).unwrap();
    assert!(matches!(config.host, HostConfig::Kubernetes(_)));

    for (text, cloud) in [
        ("AzurePublicCloud", AzureEnvironment::Public),
        ("azureglobalcloud", AzureEnvironment::Public),
        ("AzureCloud", AzureEnvironment::Public),
        ("AzureChina", AzureEnvironment::China),
        ("AZURECHINACLOUD", AzureEnvironment::China),
        ("AzureChinaCloud", AzureEnvironment::China),
        ("AzureUSGovernment", AzureEnvironment::UsGovernment),
        ("azureusgovernmentcloud", AzureEnvironment::UsGovernment),
        ("AzurePublicCloud", AzureEnvironment::Public),
    ] {
        variables.extend([("HOST_TYPE", "AzureContainerInstances"), ("AZ_ENVIRONMENT", text)]);
        let config = Config::load(&least_and(&variables), None).unwrap();
        let HostConfig::ContainerInstances(aci) = &config.host else { panic!("{:?}", config.host) };
        assert_eq!(aci.environment, cloud, "{text}");
    }
}

#[test]
fn every_variable_reaches_the_configuration() {
    let folder = Folder::with(&[("token", "abc\r\n"), ("ca.pem", "-----BEGIN CERTIFICATE-----\n")]);
    let (token, ca) = (folder.path("token"), folder.path("ca.pem"));
    let config = Config::load(
        &least_and(&[
            ("ORG_URL", "https://tfs.example/tfs/DefaultCollection/"),
            ("ORG_PAT", ""),
            ("ORG_PAT_FILE", token.to_str().unwrap()),
            ("AGENT_POOLS", " Büro 7 , 構築,"),
            ("ADO_CA_FILE", ca.to_str().unwrap()),
            ("HOST_TYPE", "K8S"),
            ("JOB_NAMESPACE", "agents"),
            ("INITIALIZE_NAMESPACE", "No"),
            ("JOB_IMAGE", "registry.example/agent:1"),
            ("JOB_OS", "Windows"),
            ("JOB_PREFIX", "build"),
            ("JOB_TOKEN_SECRET", "ado:pat"),
            ("MINIMUM_AGENT_COUNT", "1"),
            ("MINIMUM_IDLE_AGENT_COUNT", "2"),
            ("MAXIMUM_AGENT_COUNT", "3"),
            ("INSTALLATION_ID", "blue"),
            ("LISTEN_ADDRESS", ":9090"),
        ]),
        None,
    )
    .unwrap();
    assert_eq!(config.organization.url, "https://tfs.example/tfs/DefaultCollection");
    assert!(
        matches!(&config.organization.authentication, Authentication::Pat(TokenSource::File(path)) if *path == token)
    );
    assert_eq!(names_of_pools(&config), ["Büro 7", "構築"]);
    let HostConfig::Kubernetes(kubernetes) = &config.host else { panic!("{:?}", config.host) };
    assert_eq!((kubernetes.namespace.as_str(), kubernetes.initialize_namespace), ("agents", false));
    assert_eq!(kubernetes.token_secret, Some(SecretKey { name: "ado".into(), key: "pat".into() }));
    for pool in &config.pools {
        assert_eq!((pool.max_agents, pool.templates[0].scale), (Some(3), Scale { min: 1, idle: 2, max: None }));
        assert_eq!(pool.templates[0].name_prefix, "build");
        let spec = &config.agents[&(pool.name.clone(), "default".to_owned())];
        assert_eq!((spec.image.as_deref(), spec.os), (Some("registry.example/agent:1"), Os::Windows));
    }
    assert_eq!((config.installation_id.as_deref(), config.listen), (Some("blue"), "0.0.0.0:9090".parse().unwrap()));
    assert_eq!(config.ca_file, Some(ca));
    assert_eq!(config.warnings, ["AGENT_POOLS has a comma with no name beside it"]);
}

#[test]
fn the_local_host_keeps_its_agents_where_state_belongs() {
    for (variables, folder) in [
        (&[("HOME", "/home/a")][..], "/home/a/.local/state/kubectl-ado/agents"),
        (&[("HOME", "/home/a"), ("XDG_STATE_HOME", "/state")], "/state/kubectl-ado/agents"),
        (&[("HOME", "/home/a"), ("AGENT_FOLDER", "/agents")], "/agents"),
    ] {
        let variables: Vec<_> = variables.iter().copied().chain([("HOST_TYPE", "local")]).collect();
        let config = Config::load(&least_and(&variables), None).unwrap();
        let HostConfig::Local(local) = &config.host else { panic!("{:?}", config.host) };
        assert_eq!(local.folder, Path::new(folder));
    }
}

const CANON: &str = r#"
organization: {url: https://dev.azure.com/contoso, authentication: pat, tokenFile: token}
host: kubernetes
namespace: agents
limits: {maxAgents: 60, respectParallelJobs: true}
defaults: {startTimeout: 5m, idleTimeout: 10m, keepFinished: 10m, keepFailed: 24h, registration: auto}
pools:
- name: Linux Builds
  limits: {maxAgents: 40}
  templates:                      # a request gets the first one whose capabilities satisfy its demands
  - name: gpu
    capabilities: {gpu: "true", cuda: "12.4"}
    image: registry.example/agent-gpu:1
    maxAgents: 4
    jobTemplate: gpu.yaml
  - name: default                 # no capabilities declared: accepts every request, as the seed did
    minAgents: 0
    idleAgents: 1
    schedules: [{days: [mon, tue, wed, thu, fri], from: "07:30", to: "18:00", timeZone: Europe/Berlin, idleAgents: 4}]
"#;

#[test]
fn each_template_may_have_its_own_times_to_start() {
    let of = |defaults: &str, own: &str| {
        let text = format!(
            "organization: {{url: https://dev.azure.com/contoso, tokenFile: token}}\nhost: kubernetes\nnamespace: a\n\
             defaults: {{{defaults}}}\npools:\n- name: P\n  templates:\n  - {{name: t, {own}}}\n"
        );
        let folder = Folder::with(&[("ado.yaml", &text), ("token", "abc")]);
        let environment = [("HOME", "/nowhere")].into_iter().collect();
        Config::load(&environment, Some(&folder.path("ado.yaml"))).unwrap().pools[0].templates[0].timeouts
    };
    let minutes = Duration::from_mins;
    assert_eq!(of("", "minAgents: 0"), Timeouts::default());
    // Who gave a slow image more time before there were several steps has given it to each of them.
    let slow = Timeouts { start: minutes(30), pull: minutes(30), schedule: minutes(30), queue: None };
    assert_eq!(of("startTimeout: 30m", "minAgents: 0"), slow);
    assert_eq!(of("startTimeout: 1m", "startTimeout: 30m"), slow);
    let all = Timeouts { start: minutes(1), pull: minutes(2), schedule: minutes(3), queue: Some(minutes(4)) };
    assert_eq!(of("pullTimeout: 9m, queueTimeout: 4m", "startTimeout: 1m, pullTimeout: 2m, scheduleTimeout: 3m"), all);
}

const GPU: &str =
    "apiVersion: batch/v1\nkind: Job\nmetadata: {name: gpu}\nspec: {template: {spec: {containers: [{name: a}]}}}\n";

#[test]
fn the_canon_of_the_file_is_understood_also_in_a_folder() {
    let folder = Folder::with(&[("ado.yaml", CANON), ("token", "abc"), ("gpu.yaml", GPU)]);
    for path in [folder.path("ado.yaml"), folder.path("")] {
        let config = Config::load(&[("HOME", "/nowhere")].into_iter().collect(), Some(&path)).unwrap();
        assert_eq!((config.max_agents, config.respect_parallel_jobs), (Some(60), true));
        assert_eq!(config.idle_timeout, Duration::from_mins(10));
        assert!(config.agents.values().all(|agent| agent.registration == Registration::Auto));
        let [pool] = &config.pools[..] else { panic!("{:?}", config.pools) };
        assert_eq!((pool.name.as_str(), pool.max_agents), ("Linux Builds", Some(40)));
        let [gpu, default] = &pool.templates[..] else { panic!("{pool:?}") };
        assert!(gpu.unmet(&[Demand::parse("cuda -equals 12.4")]).is_none());
        assert!(gpu.unmet(&[Demand::parse("docker")]).is_some());
        assert_eq!((gpu.scale.max, gpu.name_prefix.as_str()), (Some(4), "gpu"));
        assert!(default.capabilities.is_none());
        assert_eq!(default.scale_at("2026-01-05T12:00:00Z".parse().unwrap()).idle, 4);
        assert_eq!(default.scale_at("2026-01-04T12:00:00Z".parse().unwrap()).idle, 1);
        let spec = &config.agents[&("Linux Builds".to_owned(), "gpu".to_owned())];
        assert_eq!(spec.image.as_deref(), Some("registry.example/agent-gpu:1"));
        assert_eq!(config.warnings, [""; 0]);
    }
}

#[test]
fn the_example_file_with_every_key_loads() {
    let folder = Folder::with(&[("token", "abc")]);
    let text = std::fs::read_to_string("docs/ado.example.yaml").unwrap().replace("/run/secrets/ado/token", "token");
    std::fs::write(folder.path("ado.yaml"), text).unwrap();
    let config = Config::load(&[("HOME", "/nowhere")].into_iter().collect(), Some(&folder.path("ado.yaml"))).unwrap();
    assert_eq!(names_of_pools(&config), ["Linux Builds", "Windows"]);
    assert_eq!((config.pools[0].max_agents, config.pools[1].max_agents), (Some(40), Some(50)));
    assert_eq!(config.pools[0].templates[0].ignore_demands, ["team"]);
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn the_environment_fills_what_the_file_leaves_out_and_the_file_wins() {
    let folder =
        Folder::with(&[("ado.yaml", "namespace: file\ndefaults: {idleAgents: 2}\npools: [{name: a}, {name: b}]\n")]);
    let environment = least_and(&[
        ("AGENT_POOLS", "A,B"),
        ("JOB_NAMESPACE", "variable"),
        ("MINIMUM_AGENT_COUNT", "3"),
        ("MINIMUM_IDLE_AGENT_COUNT", "2"),
        ("RUN_ONCE", "1"),
    ]);
    let config = Config::load(&environment, Some(&folder.path("ado.yaml"))).unwrap();
    let HostConfig::Kubernetes(kubernetes) = &config.host else { panic!("{:?}", config.host) };
    assert_eq!((kubernetes.namespace.as_str(), config.run_once), ("file", true));
    assert_eq!(config.pools[1].templates[0].scale, Scale { min: 3, idle: 2, max: None });
    let warnings = folder.strip(&config.warnings.join("\n"));
    assert_eq!(warnings, "JOB_NAMESPACE is not used: ado.yaml:1:12: namespace says otherwise, and the file wins");
}

#[test]
fn counts_of_a_pool_belong_to_the_template_that_accepts_every_request() {
    let text = "pools:\n- name: a\n  templates:\n  - {name: x, capabilities: {gpu: \"1\"}}\n  - {name: y}\n  - {name: z}\n- name: b\n  \
                templates: [{name: x, capabilities: {}}, {name: y, capabilities: {}}]\n";
    let folder = Folder::with(&[("ado.yaml", text)]);
    let environment = least_and(&[("AGENT_POOLS", ""), ("MINIMUM_AGENT_COUNT", "3")]);
    let config = Config::load(&environment, Some(&folder.path("ado.yaml"))).unwrap();
    let least =
        |pool: usize| config.pools[pool].templates.iter().map(|template| template.scale.min).collect::<Vec<_>>();
    assert_eq!((least(0), least(1)), (vec![0, 3, 0], vec![0, 0]));
    let warnings = folder.strip(&config.warnings.join("\n"));
    assert!(warnings.contains("MINIMUM_AGENT_COUNT is not used for the pool \"b\""), "{warnings}");
    assert!(warnings.contains("ado.yaml:6:5: pools[0].templates[2]: the template z gets no request"), "{warnings}");
}

#[test]
fn a_text_that_is_read_elsewhere_needs_only_the_files_that_are_handed_over() {
    let environment: kubectl_ado::config::Environment =
        [("ORG_PAT_FILE", "/run/secrets/kubectl-ado/token"), ("JOB_NAMESPACE", "ado")].into_iter().collect();
    let text = "organization: {url: https://dev.azure.com/contoso, caFile: /not/here.pem}\npools: [{name: Linux}]\n\
                jobTemplate: job.yaml\n";
    let job = "apiVersion: batch/v1\nkind: Job\nspec: {template: {spec: {containers: [{name: agent}]}}}\n";
    let read = |files: &[(&str, &str)]| {
        let files = files.iter().map(|(path, text)| (path.into(), (*text).to_owned())).collect();
        Config::of_files(&environment, "conf/ado.yaml".as_ref(), text, files)
    };
    let config = read(&[("conf/job.yaml", job)]).unwrap();
    assert!(config.agents.values().all(|agents| agents.job_template.is_some()));
    let missing = read(&[]).unwrap_err().to_string();
    assert!(missing.contains("jobTemplate names \"conf/job.yaml\", which does not come along"), "{missing}");
    let wrong = read(&[("conf/job.yaml", "kind: Pod\n")]).unwrap_err().to_string();
    assert!(wrong.contains("conf/ado.yaml:3:14: jobTemplate: conf/job.yaml"), "{wrong}");
    let unknown = Config::of_files(&environment, "ado.yaml".as_ref(), "pool: []\n", [].into()).unwrap_err();
    assert!(unknown.to_string().contains("ado.yaml:1:1: unknown key `pool`"), "{unknown}");
}

#[test]
fn each_template_may_say_how_its_agents_get_the_right_to_work() {
    let file = "organization: {url: https://dev.azure.com/contoso, tokenFile: /token}\ndefaults: {registration: token}\n\
                pools: [{name: A, templates: [{name: one, registration: just-in-time}, {name: two, os: windows, image: i}]}]\n";
    let folder = Folder::with(&[("ado.yaml", &file.replace("/token", "token")), ("token", "abc")]);
    let config = Config::load(&[("HOME", "/nowhere")].into_iter().collect(), Some(&folder.path("ado.yaml"))).unwrap();
    let of = |template: &str| config.agents[&("A".to_owned(), template.to_owned())].registration;
    assert_eq!(of("one"), Registration::Only(Recipe::JustInTime));
    assert_eq!(of("two"), Registration::Only(Recipe::Token));
}
