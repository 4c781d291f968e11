//! Which link is asked, and what is said where none gives a token.

use super::*;

#[tokio::test]
async fn a_client_secret_is_exchanged_for_a_token_of_the_scope_in_the_tenant() {
    let server = StandIn::giving(3600).await;
    let token = server.credential(&SECRET).token(SCOPE).await.unwrap();
    assert_eq!((text(&token).as_str(), token.link), ("token-1", "EnvironmentCredential (client secret)"));
    let asked = &server.asked()[0];
    assert_eq!(asked.path, "/contoso.test/oauth2/v2.0/token");
    for (name, value) in [
        ("grant_type", "client_credentials"),
        ("client_id", "app-1"),
        ("client_secret", "s3cr3t~value"),
        ("scope", SCOPE),
    ] {
        assert_eq!(asked.form[name], value);
    }
}

#[tokio::test]
async fn a_link_that_is_set_up_and_does_not_work_is_no_reason_to_be_somebody_else() {
    let server = StandIn::answering(|asked| match asked.path.as_str() {
        "/contoso.test/oauth2/v2.0/token" => (
            401,
            json!({"error": "invalid_client", "error_description":
                "AADSTS7000215: Invalid client secret provided: s3cr3t~value. Trace ID: 1 Correlation ID: 2"}),
        ),
        _ => (200, json!({"access_token": "of-the-machine", "expires_in": "3600"})),
    })
    .await;
    let error = server.credential(&SECRET).token(SCOPE).await.unwrap_err();
    let text = error.to_string();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "no token of Entra could be had");
    assert_eq!(
        lines[1],
        "  EnvironmentCredential (client secret): AADSTS7000215: Invalid client secret provided: ***."
    );
    assert_eq!(lines[2], "  WorkloadIdentityCredential: not tried: EnvironmentCredential (client secret) is set up");
    assert_eq!(lines.len(), 6, "one line for each link: {text}");
    assert!(error.fix().contains("AZURE_CLIENT_SECRET"), "{}", error.fix());
    assert_eq!(server.asked().len(), 1);
}

#[tokio::test]
async fn what_is_not_set_up_is_passed_over_and_the_first_that_works_is_kept() {
    let server = StandIn::giving(1).await;
    let credential = server.credential(&[("PATH", "/nowhere")]);
    assert_eq!(credential.token(SCOPE).await.unwrap().link, "ManagedIdentityCredential");
    assert_eq!(
        credential.token("https://management.azure.com/.default").await.unwrap().link,
        "ManagedIdentityCredential"
    );
    server.now_answers(|_| (400, json!({"error": "invalid_request", "error_description": "Identity not found"})));
    let error = credential.token("other/.default").await.unwrap_err();
    assert_eq!(error.said().len(), 1, "{error}");
}

#[tokio::test]
async fn where_nothing_is_set_up_each_link_says_what_it_lacks() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let metadata = format!("http://{nobody}");
    let variables = [
        ("AZURE_POD_IDENTITY_AUTHORITY_HOST", &*metadata),
        ("PATH", "/nowhere:relative"),
        ("AZURE_CLIENT_ID", "app-1"),
    ];
    let config = EntraConfig::of_environment(&variables.into_iter().collect()).unwrap();
    let error = credential(&config).token(SCOPE).await.unwrap_err();
    let said: Vec<_> = error.said().iter().map(|said| (said.link, said.what.as_str())).collect();
    assert_eq!(
        said[0],
        ("EnvironmentCredential", "neither AZURE_CLIENT_SECRET nor AZURE_CLIENT_CERTIFICATE_PATH is set")
    );
    assert_eq!(said[1], ("WorkloadIdentityCredential", "AZURE_FEDERATED_TOKEN_FILE is not set"));
    assert!(said[2].1.starts_with("this is no machine of Azure's: no answer from 127.0.0.1 ("), "{said:?}");
    assert_eq!(
        said[3..],
        [("AzureCliCredential", "az is not on the PATH"), ("AzureDeveloperCliCredential", "azd is not on the PATH")]
    );
    assert!(error.fix().contains("AZURE_TENANT_ID"));
    assert!(!error.one_line().contains('\n'));
}

#[tokio::test]
async fn the_chain_is_as_narrow_as_it_was_asked_to_be() {
    let server = StandIn::giving(3600).await;
    let only = [("AZURE_TOKEN_CREDENTIALS", "managedidentitycredential")];
    let variables: Vec<_> = SECRET.into_iter().chain(only).collect();
    assert_eq!(server.credential(&variables).token(SCOPE).await.unwrap().link, "ManagedIdentityCredential");
    let dev = [("AZURE_TOKEN_CREDENTIALS", "dev"), ("PATH", "/nowhere")];
    let variables: Vec<_> = SECRET.into_iter().chain(dev).collect();
    assert_eq!(server.credential(&variables).token(SCOPE).await.unwrap_err().said().len(), 2);
    let in_a_pod = [("AZURE_TENANT_ID", "t"), ("KUBERNETES_SERVICE_HOST", "10.0.0.1")];
    server.now_answers(|_| (400, json!({})));
    assert_eq!(server.credential(&in_a_pod).token(SCOPE).await.unwrap_err().said().len(), 3);
}

#[tokio::test]
async fn an_authority_that_answers_nonsense_or_nothing_is_named() {
    let server = StandIn::answering(|_| (200, json!({"hello": "world"}))).await;
    let error = server.credential(&SECRET).token(SCOPE).await.unwrap_err();
    assert!(error.said()[0].what.contains("something that is no token"), "{error}");
    server.now_answers(|_| (502, json!("bad gateway")));
    let error = server.credential(&SECRET).token(SCOPE).await.unwrap_err();
    assert_eq!(error.said()[0].what, format!("{} answered 502", server.url));
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let host = format!("http://{nobody}");
    let variables: Vec<_> = SECRET.into_iter().chain([("AZURE_AUTHORITY_HOST", &*host)]).collect();
    let config = EntraConfig::of_environment(&variables.into_iter().collect()).unwrap();
    let error = credential(&config).token(SCOPE).await.unwrap_err();
    assert!(error.said()[0].what.starts_with(&format!("{host} does not answer: ")), "{error}");
    assert!(error.fix().contains("AZURE_AUTHORITY_HOST"));
}
