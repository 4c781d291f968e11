//! Signing in without a personal access token.

use kubectl_ado::config::{
    Authentication, AzureEnvironment, Config, CredentialKind, Credentials, Environment, HostConfig,
};

use crate::{Folder, assert_errors, errors_of, least_and};

const TENANT: &str = "01234567-89ab-cdef-0123-456789abcdef";

/// The least environment with Entra in the token's place, and these variables.
fn entra_and(changes: &[(&str, &str)]) -> Environment {
    let with: Vec<_> =
        [("ORG_AUTHENTICATION", "entra"), ("ORG_PAT", "")].into_iter().chain(changes.iter().copied()).collect();
    least_and(&with)
}

fn is_entra(config: &Config) -> bool {
    matches!(config.organization.authentication, Authentication::Entra)
}

#[test]
fn entra_needs_no_token_and_is_asked_for_by_variable_or_file() {
    assert!(is_entra(&Config::load(&entra_and(&[]), None).unwrap()));
    let folder = Folder::with(&[("ado.yaml", "organization: {authentication: Entra}\n")]);
    let config = Config::load(&least_and(&[("ORG_PAT", "")]), Some(&folder.path("ado.yaml"))).unwrap();
    assert!(is_entra(&config) && config.warnings.is_empty(), "{:?}", config.warnings);
    assert!(!is_entra(&Config::load(&least_and(&[("ORG_AUTHENTICATION", "pat")]), None).unwrap()));
    assert!(!is_entra(&Config::load(&least_and(&[]), None).unwrap()), "a token alone is what it was");
}

#[test]
fn a_token_beside_it_is_not_used_and_said_to_be_so() {
    for unused in [("ORG_PAT", "0123456789"), ("ORG_PAT_FILE", "/nowhere/token")] {
        let config = Config::load(&entra_and(&[unused]), None).unwrap();
        let expected = format!("{} is not used: ORG_AUTHENTICATION is entra", unused.0);
        assert_eq!(config.warnings, [expected]);
    }
}

#[test]
fn azure_devops_server_is_told_not_to_know_it() {
    let server = Config::load(&entra_and(&[("ORG_URL", "https://tfs.example/tfs/C")]), None).unwrap();
    assert!(server.warnings[0].contains("Azure DevOps Server knows no tokens of Entra"), "{:?}", server.warnings);
}

#[test]
fn the_variables_of_the_sdks_are_read_and_the_seed_s_tenant_fills_in() {
    let config = Config::load(
        &entra_and(&[
            ("AZURE_CLIENT_ID", "app"),
            ("AZURE_CLIENT_SECRET", "s3cr3t-value"),
            ("AZURE_TOKEN_CREDENTIALS", "environmentcredential"),
            ("AZ_TENANT_ID", TENANT),
            ("AZ_ENVIRONMENT", "AzureChina"),
        ]),
        None,
    )
    .unwrap();
    assert_eq!(config.entra.tenant_id.as_deref(), Some(TENANT));
    assert_eq!(config.entra.client_id.as_deref(), Some("app"));
    assert_eq!(config.entra.credentials, Credentials::Only(CredentialKind::Environment));
    assert_eq!(config.entra.cloud, AzureEnvironment::China);
    assert!(!format!("{config:?}").contains("s3cr3t"));
    let both = [("AZ_TENANT_ID", TENANT), ("AZURE_TENANT_ID", "contoso.onmicrosoft.com")];
    let config = Config::load(&entra_and(&both), None).unwrap();
    assert_eq!(config.entra.tenant_id.as_deref(), Some("contoso.onmicrosoft.com"));
}

#[test]
fn what_is_wrong_with_them_matters_where_a_token_is_needed_alone() {
    let wrong =
        [("AZURE_TOKEN_CREDENTIALS", "SharedTokenCacheCredential"), ("AZURE_AUTHORITY_HOST", "http://login.example")];
    let answer = errors_of(&entra_and(&wrong), &Folder::with(&[]));
    assert_errors(
        &answer,
        &[
            &["AZURE_AUTHORITY_HOST begins with http://", "fix: for example https://login.microsoftonline.com/"],
            &["AZURE_TOKEN_CREDENTIALS is \"SharedTokenCacheCredential\"", "WorkloadIdentityCredential", "fix: unset"],
        ],
    );
    assert!(Config::load(&least_and(&wrong), None).unwrap().warnings.is_empty(), "they may be there for somebody else");
    let aci = [
        ("AZ_SUBSCRIPTION_ID", TENANT),
        ("AZ_RESOURCE_GROUP", "agents"),
        ("AZ_TENANT_ID", TENANT),
        ("AZ_REGION", "westeurope"),
    ];
    let variables: Vec<_> = aci.into_iter().chain(wrong).collect();
    assert!(errors_of(&least_and(&variables), &Folder::with(&[])).contains("AZURE_TOKEN_CREDENTIALS"));
}

#[test]
fn hosts_have_all_their_names_and_container_groups_are_found_by_their_variables() {
    let aci = [
        ("AZ_SUBSCRIPTION_ID", TENANT),
        ("AZ_RESOURCE_GROUP", "agents"),
        ("AZ_TENANT_ID", TENANT),
        ("AZ_REGION", "West Europe"),
    ];
    let host = |more: &[(&str, &str)]| {
        let variables: Vec<_> = aci.into_iter().chain(more.iter().copied()).collect();
        match Config::load(&least_and(&variables), None).unwrap().host {
            HostConfig::Kubernetes(_) => "kubernetes",
            HostConfig::ContainerInstances(_) => "aci",
            HostConfig::Local(_) => "local",
        }
    };
    for (text, expected) in [
        ("kubernetes", "kubernetes"),
        ("Kubernetes", "kubernetes"),
        ("K8S", "kubernetes"),
        ("aci", "aci"),
        ("ACI", "aci"),
        ("AzureContainerInstance", "aci"),
        ("azurecontainerinstances", "aci"),
    ] {
        assert_eq!(host(&[("HOST_TYPE", text)]), expected, "{text}");
    }
    assert_eq!(host(&[("HOST_TYPE", "local"), ("AGENT_FOLDER", "/tmp/agents")]), "local");
    assert_eq!(host(&[]), "aci", "no HOST_TYPE, no cluster");
    assert_eq!(host(&[("KUBERNETES_SERVICE_HOST", "10.0.0.1")]), "kubernetes");
}
