//! Managed identity: the instance metadata service, and the endpoint that App Service and others have instead.

use std::sync::Arc;

use jiff::Timestamp;
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::{oauth, reply::Reply};
use crate::sandbox::{
    azure::{
        AzureFaultKind, SignIn,
        entra::{NoIdentity, Which},
        shared::Shared,
    },
    http::Call,
};

/// `GET /metadata/identity/oauth2/token`.
pub(super) fn metadata(shared: &Arc<Shared>, call: &Call, fault: Option<AzureFaultKind>) -> Reply {
    shared.count_call("GET metadata token");
    if call.method != hyper::Method::GET {
        return wrong(405, "invalid_request", "Method not allowed");
    }
    if call.header("metadata").is_none_or(|value| !value.eq_ignore_ascii_case("true")) {
        return wrong(400, "invalid_request", "Required metadata header not specified");
    }
    // No proxy is to pass such a call on.
    if call.header("x-forwarded-for").is_some() {
        return wrong(400, "invalid_request", "Request contains a forwarding header");
    }
    if call.query("api-version").is_none_or(|version| version < "2018-02-01") {
        return wrong(400, "invalid_request", "Required query variable 'api-version' is missing or too old");
    }
    token(shared, call, SignIn::Metadata, fault)
}

/// `GET IDENTITY_ENDPOINT`.
pub(super) fn endpoint(shared: &Arc<Shared>, call: &Call, fault: Option<AzureFaultKind>) -> Reply {
    shared.count_call("GET identity endpoint");
    if call.header("x-identity-header") != Some(shared.settings.identity_header.expose_secret()) {
        return wrong(401, "unauthorized_client", "The header X-IDENTITY-HEADER is missing or wrong");
    }
    if call.query("api-version") != Some("2019-08-01") {
        return wrong(400, "invalid_request", "Required query variable 'api-version' is missing or not supported");
    }
    token(shared, call, SignIn::IdentityEndpoint, fault)
}

fn token(shared: &Arc<Shared>, call: &Call, by: SignIn, fault: Option<AzureFaultKind>) -> Reply {
    if let Some(reply) = oauth::trouble(fault) {
        return reply;
    }
    let Some(resource) = call.query("resource").filter(|resource| !resource.is_empty()) else {
        return wrong(400, "invalid_request", "Required query variable 'resource' is missing");
    };
    let which = match (call.query("client_id"), call.query("object_id"), call.query("msi_res_id")) {
        (Some(id), _, _) => Which::ClientId(id),
        (_, Some(id), _) => Which::ObjectId(id),
        (_, _, Some(id)) => Which::ResourceId(id),
        _ => call.query("mi_res_id").map_or(Which::Any, Which::ResourceId),
    };
    let now = Timestamp::now();
    match shared.tenant().identity(which, resource, by, &call.origin(), now) {
        Ok(given) => {
            let seconds = given.lifetime.as_secs();
            let expires = now.as_second().saturating_add(seconds.cast_signed());
            // Numbers as texts, as the service writes them.
            let body = json!({
                "access_token": given.token,
                "client_id": given.client_id,
                "expires_in": seconds.to_string(),
                "expires_on": expires.to_string(),
                "ext_expires_in": seconds.to_string(),
                "not_before": now.as_second().to_string(),
                "resource": resource,
                "token_type": "Bearer",
            });
            Reply::json(200, &body)
        }
        Err(NoIdentity::NotFound) => wrong(400, "invalid_request", "Identity not found"),
        Err(NoIdentity::Ambiguous) => {
            let what = "Multiple user assigned identities exist, please specify the clientId / resourceId of the \
                        identity in the token request";
            wrong(400, "invalid_request", what)
        }
        Err(NoIdentity::Resource) => {
            let what = format!("AADSTS500011: The resource principal named {resource} was not found in the tenant.");
            wrong(400, "invalid_resource", &what)
        }
    }
}

fn wrong(status: u16, error: &str, description: &str) -> Reply {
    Reply::json(status, &json!({ "error": error, "error_description": description }))
}
