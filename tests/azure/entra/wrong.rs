//! What is said when it does not work: one readable error, with what mends it and nothing secret.

use kubectl_ado::{azure, azure_devops::Error, sandbox::azure::Application};

use super::{World, certificate};

#[tokio::test]
async fn wrong_credentials_give_one_readable_error_with_a_line_for_each_link() {
    let folder = tempfile::tempdir().unwrap();
    let unknown = folder.path().join("unknown.pem");
    certificate(&unknown);
    let stale = folder.path().join("stale");
    std::fs::write(&stale, "eyJhbGciOiJSUzI1NiJ9.stale.token").unwrap();
    let world = World::with([Application::new("certified", "cert-app"), Application::new("pod", "pod-app")]);
    let first = world.first();
    let path = |path: &std::path::Path| path.display().to_string();
    let cases = [
        (
            vec![("AZURE_CLIENT_ID", first.clone()), ("AZURE_CLIENT_SECRET", "not-the-secret".to_owned())],
            "EnvironmentCredential (client secret)",
            "AADSTS7000215",
            "AZURE_CLIENT_SECRET",
        ),
        (
            vec![("AZURE_CLIENT_ID", "nobody".to_owned()), ("AZURE_CLIENT_SECRET", "not-the-secret".to_owned())],
            "EnvironmentCredential (client secret)",
            "AADSTS700016",
            "AZURE_CLIENT_ID",
        ),
        (
            vec![
                ("AZURE_TENANT_ID", "elsewhere.test".to_owned()),
                ("AZURE_CLIENT_ID", first),
                ("AZURE_CLIENT_SECRET", "not-the-secret".to_owned()),
            ],
            "EnvironmentCredential (client secret)",
            "AADSTS90002",
            "AZURE_TENANT_ID",
        ),
        (
            vec![("AZURE_CLIENT_ID", "cert-app".to_owned()), ("AZURE_CLIENT_CERTIFICATE_PATH", path(&unknown))],
            "EnvironmentCredential (certificate)",
            "AADSTS700027",
            "upload the certificate",
        ),
        (
            vec![("AZURE_CLIENT_ID", "pod-app".to_owned()), ("AZURE_FEDERATED_TOKEN_FILE", path(&stale))],
            "WorkloadIdentityCredential",
            "AADSTS70021",
            "federated credential",
        ),
    ];
    for (variables, link, code, fix) in cases {
        let error = world.credential(&variables).token(azure::AZURE_DEVOPS).await.unwrap_err();
        let said = error.said().iter().find(|said| said.link == link).unwrap_or_else(|| panic!("{error}"));
        assert!(said.what.starts_with(code), "{code}: {error}");
        assert!(error.fix().contains(fix), "{fix}: {}", error.fix());
        let text = format!("{error}\n{}\n{error:?}", error.one_line());
        assert!(!text.contains("not-the-secret") && !text.contains("stale.token"), "{text}");
        assert!(!text.contains("Trace ID"), "{text}");
        let lines = error.to_string().lines().count();
        assert_eq!(lines, 1 + error.said().len(), "one line for each link: {error}");
    }
}

#[tokio::test]
async fn an_identity_that_is_no_user_of_the_organization_is_told_so_and_asked_for_twice_at_most() {
    let world = World::new();
    world.sandbox.accept_tokens(|_| None);
    let client = world.client(&world.credential(&world.by_secret()));
    let error = client.identity().await.unwrap_err();
    assert!(matches!(error, Error::StrangeIdentity(_)), "{error:?}");
    assert!(error.fix().unwrap().contains("Organization settings > Users"));
    for _ in 0..3 {
        assert!(client.identity().await.is_err());
    }
    assert_eq!(world.azure.calls()["POST token client_secret"], 2, "the first one and one new one");
}

#[tokio::test]
async fn check_says_which_link_gave_the_token_and_whose_it_is_or_what_each_link_said() {
    let world = World::new();
    world.sandbox.add_pool("Default").unwrap();
    let file = world.folder.path().join("ado.yaml");
    let text =
        format!("organization: {{url: {}, authentication: entra}}\npools: [{{name: Default}}]\n", world.sandbox.url());
    std::fs::write(&file, text).unwrap();
    let check = ["check", "--pre", "-f", "ado.yaml"];
    let kubeconfig = ("KUBECONFIG", "/nowhere/config".to_owned());
    let with =
        |variables: Vec<(&'static str, String)>| variables.into_iter().chain([kubeconfig.clone()]).collect::<Vec<_>>();

    let (status, said) = world.process(&check, &with(world.by_secret())).ended().await;
    assert!(status.success(), "{said}");
    assert!(said.contains("Entra gives a token for Azure DevOps") && said.contains("(client secret)"), "{said}");
    assert!(said.contains("the token is accepted") && said.contains("orchestrator"), "{said}");
    world.assert_tells_nothing(&said, "what check says");

    let wrong = [("AZURE_CLIENT_ID", world.first()), ("AZURE_CLIENT_SECRET", "not-the-secret".to_owned())];
    let (status, said) = world.process(&check, &with(wrong.to_vec())).ended().await;
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains("Entra gives no token for Azure DevOps") && said.contains("ADO101"), "{said}");
    assert!(said.contains("AADSTS7000215") && said.contains("WorkloadIdentityCredential"), "{said}");
    assert!(!said.contains("not-the-secret"), "{said}");

    world.sandbox.accept_tokens(|_| None);
    let (status, said) = world.process(&check, &with(world.by_secret())).ended().await;
    assert_eq!(status.code(), Some(3), "{said}");
    assert!(said.contains("Organization settings > Users"), "{said}");
    world.assert_tells_nothing(&said, "what check says");
}
