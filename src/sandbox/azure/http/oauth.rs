//! The token endpoint.

use std::{collections::HashMap, sync::Arc};

use jiff::Timestamp;
use serde_json::json;

use super::reply::Reply;
use crate::sandbox::{
    azure::{AzureFaultKind, SignIn, shared::Shared},
    http::Call,
};

pub(super) fn token(shared: &Arc<Shared>, call: &Call, tenant: &str, fault: Option<AzureFaultKind>) -> Reply {
    let form: HashMap<String, String> = call.form().unwrap_or_default().into_iter().collect();
    let now = Timestamp::now();
    let (by, outcome) = shared.tenant().sign_in(tenant, &form, &call.origin(), now);
    shared.count_call(match by {
        Some(SignIn::Secret) => "POST token client_secret",
        Some(SignIn::Certificate) => "POST token certificate",
        Some(_) => "POST token federated",
        None => "POST token",
    });
    if let Some(reply) = trouble(fault) {
        return reply;
    }
    let reply = match outcome {
        Ok(given) => {
            let seconds = given.lifetime.as_secs();
            let body = json!({
                "token_type": "Bearer",
                "expires_in": seconds,
                "ext_expires_in": seconds,
                "access_token": given.token,
            });
            Reply::json(200, &body)
        }
        Err(refused) => Reply::json(refused.status, &refused.body(now)),
    };
    reply.with("cache-control", "no-store, no-cache")
}

/// What a fault makes of a call for a token.
pub(super) fn trouble(fault: Option<AzureFaultKind>) -> Option<Reply> {
    let (status, retry_after) = match fault? {
        AzureFaultKind::Throttled(time) => (429, Some(time.as_secs())),
        AzureFaultKind::ServerError => (500, None),
        AzureFaultKind::Unavailable => (503, None),
        AzureFaultKind::Unauthorized => (401, None),
        _ => return None,
    };
    let body = json!({
        "error": if status == 401 { "invalid_client" } else { "temporarily_unavailable" },
        "error_description": "AADSTS90033: A transient error has occurred. Please try again.",
    });
    Some(Reply::json(status, &body).retrying_after(retry_after))
}
