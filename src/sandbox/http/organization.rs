//! What belongs to the organization as a whole: who is calling, where things are, the agent package, parallel jobs.

use serde_json::{Value, json};

use super::{Shared, agents::base, authorization::Caller, call::Call, reply::Reply, wire};
use crate::sandbox::state::Refusal;

/// What Azure DevOps calls a number that is as good as none.
const UNLIMITED: i64 = i32::MAX as i64;

/// The service that the locations are of: that of a Server. Microsoft's libraries ask that one for its resources
/// (`OPTIONS _apis/`), where from one in the cloud they expect definitions of further services, and fail without.
const SERVICE_OWNER: &str = "87966eaa-cb2a-443f-be3c-47bd3b5bf3cb";

/// Who is calling. A caller without a token is nobody in particular, and no error.
pub(super) fn connection_data(shared: &Shared, call: &Call, caller: &Caller) -> Reply {
    let user = match caller {
        Caller::Owner => json!({
            "id": wire::guid(9, 1),
            "descriptor": format!("Microsoft.IdentityModel.Claims.ClaimsIdentity;{}\\sandbox@example.com", wire::HOST_ID),
            "subjectDescriptor": "aad.c2FuZGJveA",
            "providerDisplayName": "Sandbox",
            "isActive": true,
            "properties": { "Account": { "$type": "System.String", "$value": "sandbox@example.com" } },
        }),
        Caller::User(name) => json!({
            "id": wire::guid(9, 2),
            "descriptor": format!("Microsoft.VisualStudio.Services.Claims.AadServicePrincipal;{}\\{name}", wire::HOST_ID),
            "subjectDescriptor": "aadsp.c2FuZGJveA",
            "providerDisplayName": name,
            "isActive": true,
            "properties": {},
        }),
        Caller::Agent(agent) => {
            let id = wire::guid(7, agent.pool * 1_000_000 + agent.agent);
            json!({
                "id": id,
                "descriptor": format!("Microsoft.TeamFoundation.ServiceIdentity;{}:Agent:{id}", wire::HOST_ID),
                "subjectDescriptor": "svc.c2FuZGJveA",
                "providerDisplayName": format!("Agent {}", agent.agent),
                "isActive": true,
                "properties": {},
            })
        }
        Caller::Job(request) => json!({
            "id": wire::guid(10, *request),
            "descriptor": format!("Microsoft.TeamFoundation.ServiceIdentity;{}:Build:{request}", wire::HOST_ID),
            "subjectDescriptor": "svc.c2FuZGJveA",
            "providerDisplayName": "Sandbox Build Service",
            "isActive": true,
            "properties": {},
        }),
        Caller::Nobody => json!({
            "id": "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa",
            "descriptor": "System:PublicAccess;aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa",
            "subjectDescriptor": "acs.YWFhYWFhYWEtYWFhYS1hYWFhLWFhYWEtYWFhYWFhYWFhYWFh",
            "providerDisplayName": "Anonymous",
            "isActive": true,
            "properties": {},
        }),
    };
    let base = base(shared, call);
    Reply::json(&json!({
        "authenticatedUser": user,
        "authorizedUser": user,
        "instanceId": wire::HOST_ID,
        "deploymentId": wire::guid(8, 1),
        "deploymentType": "hosted",
        "locationServiceData": {
            "serviceOwner": SERVICE_OWNER,
            "defaultAccessMappingMoniker": "CodexAccessMapping",
            "lastChangeId": 1,
            "lastChangeId64": 1,
            "clientCacheFresh": false,
            "clientCacheTimeToLive": 3600,
            "accessMappings": [{
                "displayName": "Codex Access Mapping",
                "moniker": "CodexAccessMapping",
                "accessPoint": format!("{base}/"),
                "serviceOwner": "00000000-0000-0000-0000-000000000000",
                "virtualDirectory": "",
            }],
            "serviceDefinitions": [],
        },
    }))
}

/// Where other services of the organization are. There are none, so everything is at the organization's own URL.
pub(super) fn resource_areas() -> Reply {
    Reply::list(Vec::new())
}

/// A feature flag. All are off.
pub(super) fn feature_flag(name: &str) -> Reply {
    Reply::json(&json!({
        "name": name,
        "description": "",
        "uri": "",
        "effectiveState": "Off",
        "explicitState": "Undefined",
    }))
}

/// The agent package, by platform in the path or in the query.
pub(super) fn packages(shared: &Shared, call: &Call, rest: &[&str]) -> Result<Reply, Refusal> {
    let top = call.number("$top")?.or(call.number("top")?);
    let top = top.map_or(usize::MAX, |top| usize::try_from(top).unwrap_or(0));
    let platform = rest.first().copied().or_else(|| call.query("platform"));
    let packages = shared.package.descriptions(platform, rest.get(1).copied(), &call.origin());
    match rest {
        [_, _] => packages
            .into_iter()
            .next()
            .map(|package| Reply::json(&package))
            .ok_or_else(|| Refusal::Invalid("There is no such agent package.".to_owned())),
        _ => Ok(Reply::list(packages.into_iter().take(top).collect())),
    }
}

/// How many parallel jobs there are and how many are in use.
pub(super) fn resource_usage(shared: &Shared, call: &Call) -> Reply {
    let tag = call.query("parallelismTag").unwrap_or("Private");
    let hosted = call.flag("poolIsHosted");
    let base = base(shared, call);
    shared.see(|state| {
        let mut usage = state.usage(tag);
        if hosted {
            usage.running.clear();
        }
        let total = if hosted { 1 } else { usage.total.map_or(UNLIMITED, i64::from) };
        let mut json = json!({
            "resourceLimit": {
                "failedToReachAllProviders": false,
                "hostId": wire::HOST_ID,
                "isHosted": hosted,
                "isPremium": true,
                "parallelismTag": tag,
                "resourceLimitsData": {},
                "totalCount": total,
                "totalMinutes": null,
            },
            "usedCount": usage.running.len(),
            "usedMinutes": null,
        });
        if call.flag("includeRunningRequests") {
            let running: Vec<Value> = usage.running.iter().map(|request| wire::request(request, &base)).collect();
            json["runningRequests"] = running.into();
        }
        Reply::json(&json)
    })
}
