//! Tokens of Entra.

use super::*;

async fn name_of(
    sandbox: &Sandbox,
    sign: impl FnOnce(reqwest::RequestBuilder) -> reqwest::RequestBuilder,
) -> Option<String> {
    let request = client().get(format!("{}/_apis/connectionData", sandbox.url()));
    let answer = sign(request.header("X-TFS-FedAuthRedirect", "Suppress")).send().await.unwrap();
    let body: Value = answer.json().await.unwrap();
    body["authenticatedUser"]["providerDisplayName"].as_str().map(str::to_owned)
}

#[tokio::test]
async fn a_token_of_entra_is_taken_as_bearer_and_as_a_password_for_as_long_as_it_is_good() {
    let sandbox = start(Settings::default());
    let good = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let still = std::sync::Arc::clone(&good);
    assert_eq!(name_of(&sandbox, |request| request.bearer_auth("entra-1")).await, None, "nobody of Entra is a user");
    sandbox.accept_tokens(move |token| {
        (token == "entra-1" && still.load(std::sync::atomic::Ordering::Relaxed)).then(|| "ado-agents".to_owned())
    });
    let name = Some("ado-agents".to_owned());
    assert_eq!(name_of(&sandbox, |request| request.bearer_auth("entra-1")).await, name);
    assert_eq!(name_of(&sandbox, |request| request.basic_auth("", Some("entra-1"))).await, name);
    assert_eq!(name_of(&sandbox, |request| request.bearer_auth("entra-2")).await, None);
    assert_eq!(
        name_of(&sandbox, |request| request.basic_auth("", Some(sandbox.token()))).await,
        Some("Sandbox".into())
    );
    good.store(false, std::sync::atomic::Ordering::Relaxed);
    assert_eq!(name_of(&sandbox, |request| request.bearer_auth("entra-1")).await, None);
}
