//! Who may call. A personal access token comes as the password of Basic, or as Bearer as an Entra token would. What a
//! caller without a good one gets depends on what it is: a browser is shown a sign-in page, with the status 203.

use base64::{Engine as _, prelude::BASE64_STANDARD};
use hyper::{Method, header::AUTHORIZATION};
use secrecy::ExposeSecret as _;

use super::{Shared, call::Call, reply::Reply};

/// What has come with a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Credential {
    Good,
    None,
    Bad,
}

pub(super) fn credential(shared: &Shared, call: &Call) -> Credential {
    let Some(header) = call.header(AUTHORIZATION.as_str()) else { return Credential::None };
    let wanted = shared.settings.token.expose_secret();
    let (scheme, value) = header.split_once(' ').unwrap_or((header, ""));
    let good = if scheme.eq_ignore_ascii_case("basic") {
        let decoded = BASE64_STANDARD.decode(value.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        decoded.and_then(|pair| pair.split_once(':').map(|(_, token)| token == wanted)).unwrap_or(false)
    } else {
        scheme.eq_ignore_ascii_case("bearer") && value.trim() == wanted
    };
    if good { Credential::Good } else { Credential::Bad }
}

/// `None` lets the call pass; else it is what Azure DevOps says instead.
pub(super) fn refuse(shared: &Shared, call: &Call, segments: &[String]) -> Option<Reply> {
    match credential(shared, call) {
        Credential::Good => None,
        // What a client asks before it knows how to sign in.
        Credential::None if call.method == Method::OPTIONS || segments == ["connectiondata"] => None,
        Credential::None | Credential::Bad => Some(rejected(call)),
    }
}

/// A rejected token, in one of the forms it takes.
fn rejected(call: &Call) -> Reply {
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
