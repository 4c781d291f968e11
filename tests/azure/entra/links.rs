//! Every credential of the chain, and the organization that is signed in to with it.

use kubectl_ado::{
    azure,
    sandbox::azure::{Application, SignIn},
};

use super::{AZURE_DEVOPS, World, certificate};

/// Signs in, and tells by which link, as whom, and what Entra saw of it.
async fn signed_in(world: &World, variables: &[(&str, String)]) -> (&'static str, String, SignIn) {
    let credential = world.credential(variables);
    let token = credential.token(azure::AZURE_DEVOPS).await.unwrap();
    let principal = {
        use secrecy::ExposeSecret;
        world.azure.tokens().accepts(token.secret.expose_secret(), AZURE_DEVOPS, jiff::Timestamp::now()).unwrap()
    };
    let name = world.client(&credential).identity().await.unwrap().name;
    assert_eq!(name, principal.name);
    (token.link, name, principal.sign_in)
}

#[tokio::test]
async fn a_client_secret_signs_in() {
    let world = World::new();
    let expected = ("EnvironmentCredential (client secret)", "orchestrator".to_owned(), SignIn::Secret);
    assert_eq!(signed_in(&world, &world.by_secret()).await, expected);
}

#[tokio::test]
async fn a_certificate_signs_in() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("certificate.pem");
    let application = Application::new("certified", "cert-app").with_certificate(&certificate(&path));
    let world = World::with([application]);
    let variables =
        [("AZURE_CLIENT_ID", "cert-app".to_owned()), ("AZURE_CLIENT_CERTIFICATE_PATH", path.display().to_string())];
    let expected = ("EnvironmentCredential (certificate)", "certified".to_owned(), SignIn::Certificate);
    assert_eq!(signed_in(&world, &variables).await, expected);
}

#[tokio::test]
async fn workload_identity_signs_in_with_the_file_as_it_is_now() {
    let world = World::with([Application::new("pod", "pod-app").with_federated_token("signed.by-cluster.1".into())]);
    let file = world.folder.path().join("azure-identity-token");
    std::fs::write(&file, "signed.by-cluster.1").unwrap();
    let variables =
        [("AZURE_CLIENT_ID", "pod-app".to_owned()), ("AZURE_FEDERATED_TOKEN_FILE", file.display().to_string())];
    let expected = ("WorkloadIdentityCredential", "pod".to_owned(), SignIn::Federated);
    assert_eq!(signed_in(&world, &variables).await, expected);

    // The cluster renews it, and Entra takes the old one no more.
    let credential = world.credential(&variables);
    credential.token(azure::AZURE_DEVOPS).await.unwrap();
    world.azure.set_federated_tokens("pod-app", vec!["signed.by-cluster.2".into()]);
    std::fs::write(&file, "signed.by-cluster.2\n").unwrap();
    world.azure.tokens().revoke_all();
    assert_eq!(world.client(&credential).identity().await.unwrap().name, "pod", "by a new token, after one refusal");
}

#[tokio::test]
async fn a_managed_identity_signs_in_with_and_without_its_client_id_from_either_source() {
    let world = World::with([
        Application::new("machine", "system-app").as_system_assigned(),
        Application::new("assigned", "user-app").as_user_assigned("/subscriptions/s/x"),
    ]);
    let endpoint = [
        ("IDENTITY_ENDPOINT", world.azure.identity_endpoint()),
        ("IDENTITY_HEADER", {
            use secrecy::ExposeSecret;
            world.azure.settings().identity_header.expose_secret().to_owned()
        }),
    ];
    for (source, sign_in) in [(&[][..], SignIn::Metadata), (&endpoint[..], SignIn::IdentityEndpoint)] {
        for (client_id, name) in [("", "machine"), ("user-app", "assigned")] {
            let own = [("AZURE_CLIENT_ID", client_id.to_owned())];
            let variables: Vec<_> = source.iter().cloned().chain(own).collect();
            let expected = ("ManagedIdentityCredential", name.to_owned(), sign_in);
            assert_eq!(signed_in(&world, &variables).await, expected);
        }
    }
}

#[cfg(unix)]
#[tokio::test]
async fn whoever_is_signed_in_with_the_azure_cli_is_who_we_are() {
    use std::os::unix::fs::PermissionsExt;

    let world = World::with([Application::new("Jamie", "person")]);
    let token = world.azure.token("person", AZURE_DEVOPS).unwrap();
    let until = jiff::Timestamp::now().as_second() + 3600;
    let az = world.folder.path().join("az");
    let printed = format!(r#"{{"accessToken": "{token}", "expires_on": {until}, "tokenType": "Bearer"}}"#);
    std::fs::write(&az, format!("#!/bin/sh\necho '{printed}'\n")).unwrap();
    std::fs::set_permissions(&az, std::fs::Permissions::from_mode(0o755)).unwrap();
    // This machine has no identity of its own: the stand-in knows none that is managed.
    let variables = [("PATH", world.folder.path().display().to_string())];
    let expected = ("AzureCliCredential", "Jamie".to_owned(), SignIn::Handle);
    assert_eq!(signed_in(&world, &variables).await, expected);
}
