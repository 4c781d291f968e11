//! Who may call. A personal access token comes as the password of Basic or as Bearer, and so do a token of Entra and that of
//! an agent which has signed in. What a caller without a good one gets depends on what it is: a browser is
//! shown a sign-in page, with the status 203.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hyper::{Method, header::AUTHORIZATION};
use jiff::{SignedDuration, Timestamp};
use secrecy::ExposeSecret as _;

use super::{Shared, call::Call, grants::AgentCaller, oauth, reply::Reply};
use crate::sandbox::state::Request;

/// How long after the end of a job its worker may report.
const AFTER_THE_END: SignedDuration = SignedDuration::from_mins(5);

/// Who is calling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Caller {
    /// Whoever has the personal access token, and may do everything.
    Owner,
    /// Somebody of Entra, by this name, who is a user of the organization and may do everything too.
    User(String),
    /// An agent, which may do little.
    Agent(AgentCaller),
    /// The worker of this job request, which may report what becomes of it.
    Job(i64),
    /// Somebody without a token, where none is needed.
    Nobody,
}

/// Lets a call pass, or says what Azure DevOps says instead.
pub(super) fn admit(shared: &Shared, call: &Call, segments: &[String]) -> Result<Caller, Box<Reply>> {
    if segments.len() > 2 && segments[..2] == oauth::PATH {
        return Ok(Caller::Nobody);
    }
    let Some(header) = call.header(AUTHORIZATION.as_str()) else {
        // What a client asks before it knows how to sign in. The refusal of a private organization tells it that, whoever
        // asks.
        let is_question = segments == ["connectiondata"];
        return match call.method == Method::OPTIONS || (is_question && shared.settings.is_public) {
            true => Ok(Caller::Nobody),
            false if is_question => Err(Box::new(unauthorized(call))),
            false => Err(Box::new(rejected(call))),
        };
    };
    let Some(token) = token(header) else { return Err(Box::new(rejected(call))) };
    if let Some(caller) = caller(shared, &token) {
        return Ok(caller);
    }
    let of_agent = shared.grants().caller(&token, shared.now());
    Err(Box::new(if of_agent.is_some() { revoked() } else { rejected(call) }))
}

/// The token of an agent whose registration was deleted or replaced.
pub(super) fn revoked() -> Reply {
    let message = "The agent's access token has been revoked.";
    Reply::error(401, "TaskAgentAccessTokenExpiredException", message)
}

fn caller(shared: &Shared, token: &str) -> Option<Caller> {
    if token == shared.settings.token.expose_secret() {
        return Some(Caller::Owner);
    }
    if let Some(name) = shared.user(token) {
        return Some(Caller::User(name));
    }
    let job = shared.grants().job(token);
    if let Some(request) = job {
        let now = shared.now();
        return shared.see(|state| is_open(state.find_request(request)?, now).then_some(Caller::Job(request)));
    }
    let agent = shared.grants().caller(token, shared.now())?;
    shared.see(|state| agent.is_registered(state)).then_some(Caller::Agent(agent))
}

/// Whether a request's worker may still report.
fn is_open(request: &Request, now: Timestamp) -> bool {
    request.finished_at.is_none_or(|finished| now.duration_since(finished) < AFTER_THE_END)
}

fn token(header: &str) -> Option<String> {
    let (scheme, value) = header.split_once(' ')?;
    if scheme.eq_ignore_ascii_case("basic") {
        let pair = String::from_utf8(BASE64_STANDARD.decode(value.trim()).ok()?).ok()?;
        pair.split_once(':').map(|(_, token)| token.to_owned())
    } else {
        scheme.eq_ignore_ascii_case("bearer").then(|| value.trim().to_owned())
    }
}

/// A rejected token, in one of the forms it takes.
pub(super) fn rejected(call: &Call) -> Reply {
    let suppress = call.header("x-tfs-fedauthredirect").is_some_and(|value| value.eq_ignore_ascii_case("suppress"));
    let for_people = call.method == Method::GET || call.method == Method::POST;
    if for_people && !suppress {
        return Reply::html(203, "Azure DevOps Services | Sign In");
    }
    unauthorized(call)
}

pub(super) fn unauthorized(call: &Call) -> Reply {
    let message = "TF400813: The user '' is not authorized to access this resource.";
    Reply::error(401, "UnauthorizedRequestException", message)
        .with(
            "www-authenticate",
            "Bearer authorization_uri=https://login.microsoftonline.com/00000000-0000-0000-0000-000000000000",
        )
        .with("www-authenticate", &format!("Basic realm=\"{}/\"", call.origin()))
        .with("www-authenticate", "TFS-Federated")
}
