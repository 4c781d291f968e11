//! Azure Resource Manager: who may call, how often, and the one table of routes.

use std::sync::Arc;

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use hyper::Method;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::reply::Reply;
use crate::sandbox::{
    azure::{
        AzureFaultKind, Principal,
        entra::plain,
        groups::{Accepted, Fate, Groups, Refusal, Sort},
        shared::Shared,
    },
    http::Call,
};

/// The versions that the container service is published in.
const VERSIONS: [&str; 12] = [
    "2018-10-01",
    "2019-12-01",
    "2020-11-01",
    "2021-03-01",
    "2021-07-01",
    "2021-09-01",
    "2021-10-01",
    "2022-09-01",
    "2023-05-01",
    "2024-05-01-preview",
    "2024-11-01-preview",
    "2025-09-01",
];

const PROVIDER: &str = "microsoft.containerinstance";

pub(super) fn route(
    shared: &Arc<Shared>,
    call: &Call,
    segments: &[&str],
    fault: Option<AzureFaultKind>,
) -> Result<Reply, Refusal> {
    let lower: Vec<String> = segments.iter().map(|segment| segment.to_lowercase()).collect();
    let lower: Vec<&str> = lower.iter().map(String::as_str).collect();
    let ["subscriptions", subscription, rest @ ..] = &lower[..] else {
        return Err(Refusal::new(404, "NotFound", format!("There is nothing at {}.", call.path)));
    };
    let route = name(rest);
    shared.count_call(format!("{} {route}", call.method));
    let principal = match authenticate(shared, call, fault) {
        Ok(principal) => principal,
        Err(reply) => return Ok(*reply),
    };
    version(call, rest)?;
    let sort = match call.method {
        Method::DELETE => Sort::Delete,
        Method::PUT | Method::POST | Method::PATCH => Sort::Write,
        _ => Sort::Read,
    };
    let left = shared.with(|groups, now| groups.throttle(&principal.client_id, sort, now))?;
    if let Some(refusal) = fault.and_then(|fault| fault.refusal(segments.get(7).copied().unwrap_or_default())) {
        return Err(refusal);
    }
    if !subscription.eq_ignore_ascii_case(&shared.settings.subscription) {
        let message = format!("The subscription '{subscription}' could not be found.");
        return Err(Refusal::new(404, "SubscriptionNotFound", message));
    }
    if !principal.contributor {
        let Principal { client_id, object_id, .. } = &principal;
        let message = format!(
            "The client '{client_id}' with object id '{object_id}' does not have authorization to perform action \
             'Microsoft.ContainerInstance/containerGroups/{}' over scope '{}' or the scope is invalid. If access was \
             recently granted, please refresh your credentials.",
            if sort == Sort::Read { "read" } else { "write" },
            call.path
        );
        return Err(Refusal::new(403, "AuthorizationFailed", message));
    }
    let reply = dispatch(shared, call, rest, &segments[2..], fault)?;
    Ok(reply.with(sort.header(), &left.to_string()))
}

/// What is counted: the path without names.
fn name(rest: &[&str]) -> String {
    let rest = match rest {
        ["resourcegroups", _, "providers", _, rest @ ..] | ["providers", _, "locations", _, rest @ ..] => rest,
        ["providers", _, rest @ ..] => rest,
        ["resourcegroups", _, ..] => return "resourceGroups/{name}".to_owned(),
        _ => return "subscriptions/{id}".to_owned(),
    };
    match rest {
        ["containergroups"] => "containerGroups".to_owned(),
        ["containergroups", _] => "containerGroups/{name}".to_owned(),
        ["containergroups", _, "containers", _, "logs"] => "containerGroups/{name}/logs".to_owned(),
        ["containergroups", _, action] => format!("containerGroups/{{name}}/{action}"),
        ["operations", _] => "operations/{id}".to_owned(),
        ["operationresults", _] => "operationResults/{id}".to_owned(),
        other => other.join("/"),
    }
}

fn authenticate(shared: &Arc<Shared>, call: &Call, fault: Option<AzureFaultKind>) -> Result<Principal, Box<Reply>> {
    let refuse = |code: &str, message: &str| {
        let challenge = format!(
            "Bearer authorization_uri=\"{}/{}\", error=\"invalid_token\", error_description=\"{message}\"",
            call.origin(),
            shared.settings.tenant
        );
        let body = json!({ "error": { "code": code, "message": message } });
        Box::new(Reply::json(401, &body).with("www-authenticate", &challenge))
    };
    let header = call.header("authorization").and_then(|header| header.split_once(' '));
    let Some((_, token)) = header.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")) else {
        return Err(refuse("AuthenticationFailed", "Authentication failed. The 'Authorization' header is missing."));
    };
    let granted = shared.tokens.look(token.trim()).filter(|_| fault != Some(AzureFaultKind::Unauthorized));
    let Some(granted) = granted else {
        return Err(refuse("InvalidAuthenticationToken", "The access token is invalid."));
    };
    let now = Timestamp::now();
    if granted.expires <= now {
        let message =
            format!("The access token expiry UTC time '{}' is earlier than current UTC time '{now}'.", granted.expires);
        return Err(refuse("ExpiredAuthenticationToken", &message));
    }
    let ours = shared.settings.manager_audiences.iter().any(|audience| plain(audience) == granted.audience);
    if !ours && granted.audience != call.origin() {
        let message = format!(
            "The access token has been obtained for wrong audience or resource '{}'. It should exactly match with one of \
             the allowed audiences '{}'.",
            granted.audience,
            shared.settings.manager_audiences.join("','")
        );
        return Err(refuse("InvalidAuthenticationTokenAudience", &message));
    }
    Ok(granted.principal)
}

fn version(call: &Call, rest: &[&str]) -> Result<(), Refusal> {
    let Some(version) = call.query("api-version").filter(|version| !version.is_empty()) else {
        let message = "The api-version query parameter (?api-version=) is required for all requests.";
        return Err(Refusal::new(400, "MissingApiVersionParameter", message));
    };
    // Operations are told of in whatever version their URL was given out with.
    if rest.contains(&PROVIDER) && !VERSIONS.contains(&version) {
        let message = format!(
            "No registered resource provider found for API version '{version}' for type 'containerGroups'. The supported \
             api-versions are '{}'.",
            VERSIONS.join(", ")
        );
        return Err(Refusal::new(400, "NoRegisteredProviderFound", message));
    }
    Ok(())
}

/// `rest` is the path after the subscription in lower case, `written` the same as it came.
fn dispatch(
    shared: &Arc<Shared>,
    call: &Call,
    rest: &[&str],
    written: &[&str],
    fault: Option<AzureFaultKind>,
) -> Result<Reply, Refusal> {
    let see = |look: &dyn Fn(&Groups) -> Result<Value, Refusal>| shared.see(look).map(|value| Reply::json(200, &value));
    match (call.method.as_str(), rest) {
        ("GET", []) => Ok(Reply::json(200, &subscription(shared))),
        ("GET", ["providers", PROVIDER, "containergroups"]) => Ok(list(shared, call, None)),
        ("GET", ["providers", PROVIDER, "locations", region, "usages"]) => see(&|groups| Ok(groups.usages(region))),
        ("GET", ["providers", PROVIDER, "locations", _, "operations", number]) => {
            operation(shared, call, number, false)
        }
        ("GET", ["providers", PROVIDER, "locations", _, "operationresults", number]) => {
            operation(shared, call, number, true)
        }
        (_, ["resourcegroups", _, inside @ ..]) => {
            let resource_group = existing(shared, written.get(1).copied().unwrap_or_default())?;
            match (call.method.as_str(), inside) {
                ("GET", []) => Ok(Reply::json(200, &resource_group_view(shared, &resource_group))),
                ("GET", ["providers", "microsoft.authorization", "permissions"]) => {
                    let may = json!({ "value": [{ "actions": ["*"], "notActions": [], "dataActions": [] }] });
                    Ok(Reply::json(200, &may))
                }
                ("GET", ["providers", PROVIDER, "containergroups"]) => Ok(list(shared, call, Some(&resource_group))),
                (_, ["providers", PROVIDER, "containergroups", _, more @ ..]) => {
                    // As it was written: only lower case is a good name.
                    let name = written.get(5).copied().unwrap_or_default();
                    group(shared, call, &resource_group, name, more, fault)
                }
                _ => Err(nothing(call)),
            }
        }
        _ => Err(nothing(call)),
    }
}

fn group(
    shared: &Arc<Shared>,
    call: &Call,
    resource_group: &str,
    name: &str,
    more: &[&str],
    fault: Option<AzureFaultKind>,
) -> Result<Reply, Refusal> {
    let accepted = match (call.method.as_str(), more) {
        ("GET", []) => return Ok(Reply::json(200, &shared.see(|groups| groups.get(resource_group, name))?)),
        ("GET", ["containers", container, "logs"]) => return logs(shared, call, resource_group, name, container),
        ("PUT", []) => {
            let body = call.value().map_err(|error| Refusal::content(&error.to_string()))?;
            let fate = fault.map_or(Fate::Run, AzureFaultKind::fate);
            shared.with(|groups, now| groups.put(resource_group, name, body, fate, now))
        }
        ("PATCH", []) => {
            let body = call.value().unwrap_or_default();
            shared.with(|groups, now| groups.tag(resource_group, name, &body, now))
        }
        ("DELETE", []) => shared.with(|groups, now| groups.delete(resource_group, name, now)),
        ("POST", ["stop"]) => shared.with(|groups, now| groups.stop(resource_group, name, now)),
        ("POST", ["start"]) => shared.with(|groups, now| groups.start(resource_group, name, now)),
        ("POST", ["restart"]) => shared.with(|groups, now| groups.restart(resource_group, name, now)),
        _ => return Err(nothing(call)),
    }?;
    let region = shared.see(|groups| groups.region_of(resource_group, name));
    Ok(match accepted {
        Accepted::Done(Some(view)) => Reply::json(200, &view),
        Accepted::Done(None) | Accepted::Absent => Reply::empty(204),
        Accepted::Created(view, number) => going_on(shared, call, Reply::json(201, &view), &region, number),
        Accepted::Updated(view, number) => going_on(shared, call, Reply::json(200, &view), &region, number),
        Accepted::GoingOn(number) => going_on(shared, call, Reply::empty(202), &region, number),
    })
}

/// Where to ask how it goes on.
fn going_on(shared: &Arc<Shared>, call: &Call, reply: Reply, region: &str, number: u64) -> Reply {
    let version = call.query("api-version").unwrap_or_default();
    let url = |kind: &str| {
        format!(
            "{}/subscriptions/{}/providers/Microsoft.ContainerInstance/locations/{region}/{kind}/{number}?api-version={version}",
            call.origin(),
            shared.settings.subscription
        )
    };
    let seconds = shared.see(|groups| groups.rules().retry_after).to_string();
    let reply = reply.with("azure-asyncoperation", &url("operations")).with("retry-after", &seconds);
    reply.with("location", &url("operationResults"))
}

fn operation(shared: &Arc<Shared>, call: &Call, number: &str, result: bool) -> Result<Reply, Refusal> {
    let number = number.parse().unwrap_or_default();
    let (view, is_over, group) = shared.see(|groups| groups.operation(number, &call.path))?;
    let seconds = shared.see(|groups| groups.rules().retry_after).to_string();
    Ok(match (result, is_over) {
        (true, false) => {
            let version = call.query("api-version").unwrap_or_default();
            let here = format!("{}{}?api-version={version}", call.origin(), call.path);
            Reply::empty(202).with("retry-after", &seconds).with("location", &here)
        }
        (true, true) => group.map_or_else(|| Reply::empty(204), |group| Reply::json(200, &group)),
        (false, false) => Reply::json(200, &view).with("retry-after", &seconds),
        (false, true) => Reply::json(200, &view),
    })
}

fn list(shared: &Arc<Shared>, call: &Call, resource_group: Option<&str>) -> Reply {
    let token = call.query("$skiptoken").and_then(|token| BASE64_URL_SAFE_NO_PAD.decode(token).ok());
    let after = token.and_then(|bytes| String::from_utf8(bytes).ok());
    let page = shared.settings.page_size;
    let (values, next) = shared.see(|groups| groups.list(resource_group, after.as_deref(), page));
    let mut body = json!({ "value": values });
    if let Some(next) = next {
        let version = call.query("api-version").unwrap_or_default();
        let token = BASE64_URL_SAFE_NO_PAD.encode(next);
        body["nextLink"] = json!(format!("{}{}?api-version={version}&%24skiptoken={token}", call.origin(), call.path));
    }
    Reply::json(200, &body)
}

fn logs(
    shared: &Arc<Shared>,
    call: &Call,
    resource_group: &str,
    name: &str,
    container: &str,
) -> Result<Reply, Refusal> {
    let process = shared.see(|groups| groups.process_of(resource_group, name, container))?;
    let text = process.map(|process| shared.processes.log(process)).unwrap_or_default();
    let tail = call.query("tail").and_then(|tail| tail.parse::<usize>().ok());
    let text = match tail {
        Some(tail) => {
            let lines: Vec<&str> = text.lines().collect();
            let mut last = lines[lines.len().saturating_sub(tail)..].join("\n");
            last.push('\n');
            last
        }
        None => text,
    };
    Ok(Reply::json(200, &json!({ "content": text })))
}

fn existing(shared: &Arc<Shared>, name: &str) -> Result<String, Refusal> {
    let known = shared.settings.resource_groups.iter().find(|known| known.eq_ignore_ascii_case(name));
    known.cloned().ok_or_else(|| {
        Refusal::new(404, "ResourceGroupNotFound", format!("Resource group '{name}' could not be found."))
    })
}

fn subscription(shared: &Arc<Shared>) -> Value {
    let id = &shared.settings.subscription;
    json!({ "id": format!("/subscriptions/{id}"), "subscriptionId": id, "displayName": "sandbox", "state": "Enabled" })
}

fn resource_group_view(shared: &Arc<Shared>, name: &str) -> Value {
    json!({
        "id": format!("/subscriptions/{}/resourceGroups/{name}", shared.settings.subscription),
        "name": name,
        "type": "Microsoft.Resources/resourceGroups",
        "location": "westeurope",
        "properties": { "provisioningState": "Succeeded" },
    })
}

fn nothing(call: &Call) -> Refusal {
    let message = format!("No HTTP resource was found that matches {} {}.", call.method, call.path);
    Refusal::new(404, "NotFound", message)
}
