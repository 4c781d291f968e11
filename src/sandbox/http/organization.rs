//! What belongs to the organization as a whole: who is calling, where things are, the agent package, parallel jobs.

use serde_json::{Value, json};

use super::{Shared, agents::base, authorization::Caller, call::Call, reply::Reply, wire};
use crate::sandbox::state::Refusal;

/// What Azure DevOps calls a number that is as good as none.
const UNLIMITED: i64 = i32::MAX as i64;

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
            "serviceOwner": "00025394-6065-48ca-87d9-7f5672854ef7",
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

/// The resources that exist here. Clients made with Azure DevOps' libraries find their routes by these ids.
pub(super) fn locations() -> Reply {
    let pool = "_apis/{area}/pools/{poolId}/{resource}";
    let resources = [
        ("a8c47e17-4d56-4a56-92bb-de7ea7dc65be", "pools", "_apis/{area}/{resource}/{poolId}".to_owned(), 1),
        ("e298ef32-5878-4cab-993c-043836571f42", "agents", format!("{pool}/{{agentId}}"), 1),
        ("fc825784-c92a-4299-9221-998a02d1b54f", "jobrequests", format!("{pool}/{{requestId}}"), 1),
        ("134e239e-2df3-4794-a6f6-24f1f19ec8dc", "sessions", format!("{pool}/{{sessionId}}"), 1),
        ("c3a054f6-7a8a-49c0-944e-3a8e5d7adfd7", "messages", format!("{pool}/{{messageId}}"), 1),
        (
            "8ffcd551-079c-493a-9c02-54346299d144",
            "packages",
            "_apis/{area}/{resource}/{packageType}/{platform}/{version}".to_owned(),
            2,
        ),
        ("eae1d376-a8b1-4475-9041-1dfdbe8f0143", "resourceusage", "_apis/{area}/{resource}".to_owned(), 2),
    ];
    let documented = ["pools", "agents"];
    let values = resources.into_iter().map(|(id, name, template, version)| {
        json!({
            "id": id,
            "area": "distributedtask",
            "resourceName": name,
            "routeTemplate": template,
            "resourceVersion": version,
            "minVersion": "1.0",
            "maxVersion": "7.2",
            "releasedVersion": if documented.contains(&name) { "7.1" } else { "0.0" },
        })
    });
    Reply::list(values.collect())
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
