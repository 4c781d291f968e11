//! Whether Entra gives a token: by which link of the chain, or what each one said.

use super::result::{Check, CheckResult, Section};
use crate::{azure::Credential, core::Code};

/// Asks for a token for `scope`, which is `what`'s. Whether there is one.
pub(super) async fn gives_token(
    credential: &Credential,
    scope: &str,
    what: &str,
    section: Section,
    results: &mut Vec<CheckResult>,
) -> bool {
    let [entra, link] = ["entra", "entra-link"].map(|name| Check(section, name));
    match credential.token(scope).await {
        Ok(token) => {
            results.push(entra.ok(format!("Entra gives a token for {what}")).evidence(token.link));
            true
        }
        Err(error) => {
            let message = format!("Entra gives no token for {what}");
            results.push(entra.fail(Code::TokenRejected, message).fix(error.fix()));
            results.extend(error.said().iter().map(|said| link.info(said.link).evidence(&said.what)));
            false
        }
    }
}
