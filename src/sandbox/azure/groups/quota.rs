//! How much there may be in a region. Groups that have finished count until they are deleted.

use serde_json::{Value, json};

use super::{
    Groups, Refusal,
    check::cores,
    model::{Key, plain_region},
};

impl Groups {
    /// Whether a group of so many cores still fits, in the place of the one with this key.
    pub(super) fn fits(&self, region: &str, wanted: f64, in_place_of: &Key) -> Result<(), Refusal> {
        let others = || {
            let groups = self.groups.iter().filter(|(key, _)| *key != in_place_of);
            groups.map(|(_, group)| group).filter(|group| group.location() == region)
        };
        let (used, limit) = (others().count(), self.rules.groups_per_region);
        if used >= limit as usize {
            let (limit, used) = (f64::from(limit), used as f64);
            return Err(Refusal::quota(self.rules.quota_status, "ContainerGroups", region, limit, used, 1.0));
        }
        let used: f64 = others().map(|group| cores(&group.body)).sum();
        if used + wanted > self.rules.cores_per_region {
            let limit = self.rules.cores_per_region;
            return Err(Refusal::quota(self.rules.quota_status, "StandardCores", region, limit, used, wanted));
        }
        Ok(())
    }

    /// What is used of a region's quotas.
    #[must_use]
    pub fn usages(&self, region: &str) -> Value {
        let region = plain_region(region);
        let groups = || self.groups.values().filter(|group| group.location() == region);
        let cores: f64 = groups().map(|group| cores(&group.body)).sum();
        let usage = |name: &str, localized: &str, current: Value, limit: Value| {
            json!({
                "id": format!(
                    "/subscriptions/{}/providers/Microsoft.ContainerInstance/locations/{region}/usages/{name}",
                    self.subscription
                ),
                "unit": "Count",
                "currentValue": current,
                "limit": limit,
                "name": { "value": name, "localizedValue": localized },
            })
        };
        json!({ "value": [
            usage("ContainerGroups", "Container Groups", json!(groups().count()), json!(self.rules.groups_per_region)),
            usage("StandardCores", "Standard Cores", json!(cores.ceil() as u64), json!(self.rules.cores_per_region as u64)),
        ] })
    }
}
