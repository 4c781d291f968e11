//! The settings of container groups, from variables and from the file.

use std::time::Duration;

use kubectl_ado::config::{AciConfig, AzureEnvironment, Config, Environment, HostConfig, Os, Registry, RegistrySecret};

use super::{Folder, assert_errors, errors_of, least_and};

const ID: &str = "01234567-89ab-cdef-0123-456789abcdef";
const SUBNET: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.Network/virtualNetworks/v/subnets/s";
const IDENTITY: &str = "/subscriptions/s/resourceGroups/g/providers/Microsoft.ManagedIdentity/userAssignedIdentities/i";

/// The five variables of the original's README, and these.
fn five_and(changes: &[(&str, &str)]) -> Environment {
    let five = [
        ("HOST_TYPE", "aci"),
        ("AZ_SUBSCRIPTION_ID", ID),
        ("AZ_RESOURCE_GROUP", "agents"),
        ("AZ_TENANT_ID", ID),
        ("AZ_REGION", "West Europe"),
        ("AZ_ENVIRONMENT", "AzurePublicCloud"),
    ];
    let all: Vec<_> = five.iter().chain(changes).copied().collect();
    least_and(&all)
}

fn aci(config: &Config) -> &AciConfig {
    let HostConfig::ContainerInstances(aci) = &config.host else { panic!("{:?}", config.host) };
    aci
}

#[test]
fn the_original_s_five_variables_are_enough() {
    let config = Config::load(&five_and(&[]), None).unwrap();
    let expected = AciConfig {
        subscription_id: ID.to_owned(),
        resource_group: "agents".to_owned(),
        tenant_id: ID.to_owned(),
        region: "westeurope".to_owned(),
        environment: AzureEnvironment::Public,
        cpu: 2.0,
        memory_gb: 4.0,
        subnet_id: None,
        identity: None,
        registry: None,
        resource_manager_url: None,
        max_lifetime: Duration::from_secs(86_400),
    };
    assert_eq!(aci(&config), &expected);
    assert_eq!(config.warnings, [""; 0]);
}

#[test]
fn every_setting_is_read_from_variables_and_from_the_file() {
    let folder = Folder::with(&[
        ("group.yaml", "properties: {osType: Windows, containers: [{name: a, properties: {image: x}}]}"),
        ("password", "s3cr3t"),
        (
            "ado.yaml",
            &format!(
                "host: aci\ncontainerInstances:\n  subscriptionId: {ID}\n  resourceGroup: agents\n  tenantId: {ID}\n  \
                 region: westeurope\n  environment: AzurePublicCloud\n  cpu: 1\n  memoryGb: 1.5\n  subnetId: {SUBNET}\n  identity: {IDENTITY}\n  \
                 registry: {{server: contoso.azurecr.io, username: u, passwordFile: password}}\n  template: group.yaml\n  \
                 resourceManagerUrl: http://127.0.0.1:1\n  maxLifetime: 2h\n"
            ),
        ),
    ]);
    let template = folder.path("group.yaml");
    let password = folder.path("password");
    let of_variables = five_and(&[
        ("AZ_CPU", "1"),
        ("AZ_MEMORY_GB", "1.5"),
        ("AZ_SUBNET_ID", SUBNET),
        ("AZ_IDENTITY", IDENTITY),
        ("AZ_REGISTRY", "Contoso.azurecr.io"),
        ("AZ_REGISTRY_USERNAME", "u"),
        ("AZ_REGISTRY_PASSWORD_FILE", password.to_str().unwrap()),
        ("AZ_TEMPLATE_FILE", template.to_str().unwrap()),
        ("AZ_RESOURCE_MANAGER_URL", "http://127.0.0.1:1/"),
        ("AZ_MAX_LIFETIME", "2h"),
    ]);
    let of_file = least_and(&[]);
    let file = folder.path("ado.yaml");
    for (environment, file) in [(of_variables, None), (of_file, Some(file.as_path()))] {
        let config = Config::load(&environment, file).unwrap();
        let aci = aci(&config);
        assert_eq!((aci.cpu, aci.memory_gb, aci.max_lifetime), (1.0, 1.5, Duration::from_secs(7200)));
        assert_eq!((aci.subnet_id.as_deref(), aci.identity.as_deref()), (Some(SUBNET), Some(IDENTITY)));
        let secret = RegistrySecret::Password { username: "u".to_owned(), file: password.clone() };
        assert_eq!(aci.registry, Some(Registry { server: "contoso.azurecr.io".to_owned(), secret }));
        assert_eq!(aci.resource_manager_url.as_deref(), Some("http://127.0.0.1:1"));
        let agent = config.agents.values().next().unwrap();
        assert_eq!(agent.container_group.as_ref().unwrap().path, template);
        assert_eq!(agent.os, Os::Windows);
        assert!(config.files().contains(&template), "a change of it is seen");
    }
}

#[test]
fn a_template_of_its_own_and_what_it_is_made_of_change_the_revision() {
    let folder = Folder::with(&[
        ("a.yaml", "properties: {containers: [{name: agent}]}"),
        ("b.yaml", "properties: {priority: Spot}"),
        (
            "ado.yaml",
            "containerInstances: {template: a.yaml}\npools:\n- name: p\n  templates:\n  - {name: own, capabilities: {x: \"1\"}, containerGroup: b.yaml}\n  - name: default\n",
        ),
    ]);
    let file = folder.path("ado.yaml");
    let revisions = |environment: &Environment| {
        let config = Config::load(environment, Some(&file)).unwrap();
        let agents = config.agents.into_iter().map(|((_, template), agent)| (template, agent.revision()));
        agents.collect::<std::collections::BTreeMap<_, _>>()
    };
    let before = revisions(&five_and(&[]));
    assert_ne!(before["own"], before["default"]);
    assert_ne!(before["default"], revisions(&five_and(&[("AZ_CPU", "4")]))["default"]);
}

#[test]
fn an_identity_of_the_groups_pulls_their_image_too() {
    let config = Config::load(&five_and(&[("AZ_REGISTRY", "r.example"), ("AZ_IDENTITY", IDENTITY)]), None).unwrap();
    let secret = RegistrySecret::Identity(IDENTITY.to_owned());
    assert_eq!(aci(&config).registry, Some(Registry { server: "r.example".to_owned(), secret }));
}

#[test]
fn a_job_template_is_passed_over_and_a_group_s_is_no_job_s() {
    let folder = Folder::with(&[("job.yaml", "kind: Pod"), ("group.yaml", "properties: {}")]);
    let (job, group) = (folder.path("job.yaml"), folder.path("group.yaml"));
    let config = Config::load(&five_and(&[("JOB_DEFINITION_FILE", job.to_str().unwrap())]), None).unwrap();
    assert!(config.agents.values().all(|agent| agent.job_template.is_none()));
    assert!(
        config.warnings[0].contains("JOB_DEFINITION_FILE is not used")
            && config.warnings[0].contains("AZ_TEMPLATE_FILE")
    );
    let elsewhere = least_and(&[("HOST_TYPE", "kubernetes"), ("AZ_TEMPLATE_FILE", group.to_str().unwrap())]);
    let config = Config::load(&elsewhere, None).unwrap();
    assert!(config.agents.values().all(|agent| agent.container_group.is_none()));
}

#[test]
fn what_is_wrong_is_said_with_its_mend() {
    let folder = Folder::with(&[("group.yaml", "properties:\n  containers:\n  - image: x\n")]);
    let template = folder.path("group.yaml");
    let cases: &[super::Case<'_>] = &[
        (&[("AZ_CPU", "many")], &[&["AZ_CPU is \"many\"; it has to be a number of cores from 0.1 to 128"]]),
        (&[("AZ_MEMORY_GB", "0")], &[&["AZ_MEMORY_GB is \"0\"", "gigabytes"]]),
        (&[("AZ_SUBNET_ID", "agents")], &[&["AZ_SUBNET_ID is \"agents\"", "fix: az network vnet subnet show"]]),
        (&[("AZ_IDENTITY", SUBNET)], &[&["AZ_IDENTITY is", "fix: az identity show"]]),
        (&[("AZ_MAX_LIFETIME", "24")], &[&["AZ_MAX_LIFETIME is \"24\"", "from 10m to 30d"]]),
        (
            &[("AZ_RESOURCE_MANAGER_URL", "http://example.org")],
            &[&["AZ_RESOURCE_MANAGER_URL begins with http://", "fix: for example https://"]],
        ),
        (&[("AZ_REGISTRY", "https://r.example/x")], &[&["AZ_REGISTRY is", "without https://"]]),
        (&[("AZ_REGISTRY", "r.example")], &[&["AZ_REGISTRY names a registry", "AcrPull"]]),
        (&[("AZ_REGISTRY_USERNAME", "u")], &[&["AZ_REGISTRY_USERNAME says how to sign in", "fix: set AZ_REGISTRY"]]),
        (
            &[("AZ_REGISTRY", "r.example"), ("AZ_REGISTRY_USERNAME", "u")],
            &[&["AZ_REGISTRY_USERNAME is set alone", "AZ_REGISTRY_PASSWORD_FILE"]],
        ),
        (
            &[("AZ_REGISTRY", "r.example"), ("AZ_REGISTRY_IDENTITY", IDENTITY), ("AZ_REGISTRY_USERNAME", "u")],
            &[&["AZ_REGISTRY_USERNAME is set beside an identity"]],
        ),
        (
            &[("AZ_TEMPLATE_FILE", template.to_str().unwrap())],
            &[&["AZ_TEMPLATE_FILE: group.yaml:3:5: properties.containers[0] has no name", "fix: add the key `name`"]],
        ),
    ];
    for (variables, expected) in cases {
        assert_errors(&errors_of(&five_and(variables), &folder), expected);
    }
}

#[test]
fn the_file_s_slips_have_line_and_column() {
    for (text, expected) in [
        (
            "containerInstances: {cpu: \"2\"}\n",
            &["ado.yaml:1:27: containerInstances.cpu is the text \"2\"; it has to be a number", "leave the quotes out"]
                [..],
        ),
        (
            "containerInstances:\n  memoryGB: 4\n",
            &["ado.yaml:2:3: unknown key `memoryGB` in containerInstances", "did you mean `memoryGb`?"],
        ),
        (
            "containerInstances: {registry: {name: x}}\n",
            &[
                "unknown key `name` in containerInstances.registry",
                "the keys here are server, identity, username, passwordFile",
            ],
        ),
        ("containerInstances: {maxLifetime: 1m}\n", &["containerInstances.maxLifetime is \"1m\"", "from 10m to 30d"]),
    ] {
        let folder = Folder::with(&[("ado.yaml", text)]);
        assert_errors(&errors_of(&five_and(&[]), &folder), &[expected]);
    }
}
