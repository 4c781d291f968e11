//! `oauth2/token`: where an agent exchanges its assertion for a token. A form goes in, and what comes out is OAuth's
//! JSON (RFC 6749 and 7523), not Azure DevOps' own.

use std::collections::HashMap;

use serde_json::json;

use super::{Shared, call::Call, reply::Reply};
use crate::sandbox::sign_ins::AssertionFault;

mod assertion;

use assertion::Assertion;

const GRANT_TYPE: &str = "client_credentials";
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// The path after `_apis`, but for the organization's id.
pub(super) const PATH: [&str; 2] = ["oauth2", "token"];

/// A refusal, in OAuth's words. Agents read it at the status 400 alone.
struct Refused {
    status: u16,
    error: &'static str,
    description: String,
}

impl Refused {
    fn request(description: impl Into<String>) -> Self {
        Self { status: 400, error: "invalid_request", description: description.into() }
    }
}

impl From<Refused> for Reply {
    fn from(Refused { status, error, description }: Refused) -> Self {
        Reply::json(&json!({ "error": error, "error_description": description })).with_status(status)
    }
}

/// The client is none, as an answer.
pub(super) fn invalid_client(description: impl Into<String>) -> Reply {
    Refused { status: 400, error: "invalid_client", description: description.into() }.into()
}

pub(super) fn token(shared: &Shared, call: &Call) -> Reply {
    exchange(shared, call).unwrap_or_else(Reply::from)
}

fn exchange(shared: &Shared, call: &Call) -> Result<Reply, Refused> {
    let form = call.form().ok_or_else(|| Refused::request("The body is no form."))?;
    let form: HashMap<String, String> = form.into_iter().collect();
    let field = |name: &str| {
        let value = form.get(name).map(String::as_str).filter(|value| !value.is_empty());
        value.ok_or_else(|| Refused::request(format!("The field {name} is missing.")))
    };
    let grant_type = field("grant_type")?;
    if grant_type != GRANT_TYPE {
        let description = format!("The grant type {grant_type} is not supported; it is {GRANT_TYPE}.");
        return Err(Refused { status: 400, error: "unsupported_grant_type", description });
    }
    let assertion_type = field("client_assertion_type")?;
    if assertion_type != ASSERTION_TYPE {
        return Err(Refused::request(format!("The client assertion type is not {ASSERTION_TYPE}.")));
    }
    let verified = verify(shared, field("client_assertion")?);
    shared.grants().count(verified.as_ref().map(|_| ()).map_err(|fault| *fault));
    let (client_id, agent) = verified.map_err(|fault| told(shared, fault))?;

    let lifetime = shared.settings.token_lifetime;
    let granted = shared.grants().grant(agent, &client_id, lifetime, shared.now());
    let access_token = granted.ok_or_else(|| Refused {
        status: 500,
        error: "server_error",
        description: "There are no random numbers.".to_owned(),
    })?;
    let reply = json!({ "access_token": access_token, "token_type": "bearer", "expires_in": lifetime.as_secs() });
    Ok(Reply::json(&reply).with("cache-control", "no-store"))
}

/// The client that the assertion is by, and its pool and agent.
fn verify(shared: &Shared, text: &str) -> Result<(String, (i64, i64)), AssertionFault> {
    let assertion = Assertion::read(text)?;
    let client_id = assertion.client_id().to_owned();
    let (pool, agent, authorization) = shared
        .see(|state| {
            let (pool, agent) = state.client(&client_id)?;
            Some((pool, agent.id, agent.authorization.clone()?))
        })
        .ok_or(AssertionFault::UnknownClient)?;
    let now = shared.now();
    assertion.verify(&authorization, now)?;
    shared.grants().use_up(&client_id, assertion.id(), assertion.accepted_until(), now)?;
    Ok((client_id, (pool, agent)))
}

/// The agent tells a clock that is wrong from all else by the words about the server's time, and waits for it to be put
/// right.
fn told(shared: &Shared, fault: AssertionFault) -> Refused {
    let time = match fault {
        AssertionFault::TooEarly | AssertionFault::Expired => format!(" Current server time is {:.0}.", shared.now()),
        _ => String::new(),
    };
    Refused { status: 400, error: "invalid_client", description: format!("The client assertion: {fault}.{time}") }
}
