//! The resources that exist here. Clients made with Azure DevOps' libraries find their routes by these ids.

use serde_json::{Value, json};

use super::reply::Reply;

struct Location {
    id: &'static str,
    area: &'static str,
    name: &'static str,
    template: &'static str,
    version: u32,
    /// Others exist as previews alone.
    is_released: bool,
}

const fn location(id: &'static str, name: &'static str, template: &'static str) -> Location {
    Location { id, area: "distributedtask", name, template, version: 1, is_released: false }
}

const LOCATIONS: [Location; 20] = [
    Location {
        is_released: true,
        ..location("a8c47e17-4d56-4a56-92bb-de7ea7dc65be", "pools", "_apis/{area}/{resource}/{poolId}")
    },
    Location {
        is_released: true,
        ..location("e298ef32-5878-4cab-993c-043836571f42", "agents", "_apis/{area}/pools/{poolId}/{resource}/{agentId}")
    },
    location(
        "30ba3ada-fedf-4da8-bbb5-dacf2f82e176",
        "usercapabilities",
        "_apis/{area}/pools/{poolId}/agents/{agentId}/{resource}",
    ),
    location(
        "8cc1b02b-ae49-4516-b5ad-4f9b29967c30",
        "updates",
        "_apis/{area}/pools/{poolId}/agents/{agentId}/{resource}",
    ),
    location(
        "fc825784-c92a-4299-9221-998a02d1b54f",
        "jobrequests",
        "_apis/{area}/pools/{poolId}/{resource}/{requestId}",
    ),
    location("134e239e-2df3-4794-a6f6-24f1f19ec8dc", "sessions", "_apis/{area}/pools/{poolId}/{resource}/{sessionId}"),
    location("c3a054f6-7a8a-49c0-944e-3a8e5d7adfd7", "messages", "_apis/{area}/pools/{poolId}/{resource}/{messageId}"),
    Location {
        version: 2,
        ..location(
            "8ffcd551-079c-493a-9c02-54346299d144",
            "packages",
            "_apis/{area}/{resource}/{packageType}/{platform}/{version}",
        )
    },
    Location {
        version: 2,
        ..location("eae1d376-a8b1-4475-9041-1dfdbe8f0143", "resourceusage", "_apis/{area}/{resource}")
    },
    location("60aac929-f0cd-4bc8-9ce4-6b30e8f1b1bd", "tasks", "_apis/{area}/{resource}/{taskId}/{versionString}"),
    location(
        "5cecd946-d704-471e-a45f-3b4064fcfaba",
        "plans",
        "{scopeIdentifier}/_apis/{area}/hubs/{hubName}/{resource}/{planId}",
    ),
    location(
        "83597576-cc2c-453c-bea6-2882ae6a1653",
        "timelines",
        "{scopeIdentifier}/_apis/{area}/hubs/{hubName}/plans/{planId}/{resource}/{timelineId}",
    ),
    location(
        "8893bc5b-35b2-4be7-83cb-99e683551db4",
        "records",
        "{scopeIdentifier}/_apis/{area}/hubs/{hubName}/plans/{planId}/timelines/{timelineId}/{resource}/{recordId}",
    ),
    location(
        "858983e4-19bd-4c5e-864c-507b59b58b12",
        "feed",
        "{scopeIdentifier}/_apis/{area}/hubs/{hubName}/plans/{planId}/timelines/{timelineId}/records/{recordId}/{resource}",
    ),
    location(
        "46f5667d-263a-4684-91b1-dff7fdcf64e2",
        "logs",
        "{scopeIdentifier}/_apis/{area}/hubs/{hubName}/plans/{planId}/{resource}/{logId}",
    ),
    location(
        "557624af-b29e-4c20-8ab0-0399d2204f3f",
        "events",
        "{scopeIdentifier}/_apis/{area}/hubs/{hubName}/plans/{planId}/{resource}",
    ),
    location(
        "7898f959-9cdf-4096-b29e-7f293031629e",
        "attachments",
        "{scopeIdentifier}/_apis/{area}/hubs/{hubName}/plans/{planId}/timelines/{timelineId}/records/{recordId}/{resource}/{type}/{name}",
    ),
    Location {
        area: "FeatureAvailability",
        ..location("3e2b80f8-9e6f-441e-8393-005610692d9c", "FeatureFlags", "_apis/{resource}/{name}")
    },
    Location {
        area: "customerintelligence",
        ..location("b5cc35c2-ff2b-491d-a085-24b6e9f396fd", "Events", "_apis/{area}/{resource}")
    },
    Location {
        area: "Location",
        ..location("e81700f7-3be2-46de-8624-2eb35882fcaa", "ResourceAreas", "_apis/{resource}/{areaId}")
    },
];

/// All of them, or those of one area.
pub(super) fn list(area: Option<&str>) -> Reply {
    let wanted = LOCATIONS.iter().filter(|location| area.is_none_or(|area| location.area.eq_ignore_ascii_case(area)));
    let values = wanted.map(|location| -> Value {
        json!({
            "id": location.id,
            "area": location.area,
            "resourceName": location.name,
            "routeTemplate": location.template,
            "resourceVersion": location.version,
            "minVersion": "1.0",
            "maxVersion": "7.2",
            "releasedVersion": if location.is_released { "7.1" } else { "0.0" },
        })
    });
    Reply::list(values.collect())
}
