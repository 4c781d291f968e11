//! Whether the identity may do what agents take, by Azure's own word on its permissions: listing groups shows only that it may
//! read.

use serde_json::Value;

use super::ContainerInstancesHost;
use crate::hosts::HostError;

/// The version of the API that tells of permissions.
const PERMISSIONS: &str = "2022-04-01";

/// What agents take in their resource group.
const NEEDED: [&str; 4] = [
    "Microsoft.ContainerInstance/containerGroups/read",
    "Microsoft.ContainerInstance/containerGroups/write",
    "Microsoft.ContainerInstance/containerGroups/delete",
    "Microsoft.ContainerInstance/containerGroups/containers/logs/read",
];

impl ContainerInstancesHost {
    /// The actions that agents take and the identity lacks in the resource group.
    ///
    /// # Errors
    ///
    /// Azure does not say what it may do.
    pub async fn missing_rights(&self) -> Result<Vec<&'static str>, HostError> {
        let (subscription, group) = (&self.aci.subscription_id, &self.aci.resource_group);
        let path = format!(
            "/subscriptions/{subscription}/resourceGroups/{group}/providers/Microsoft.Authorization/permissions?api-version={PERMISSIONS}"
        );
        let permissions = self.arm.list(&path).await;
        let permissions = permissions.map_err(|error| self.refused(&error, "read what the identity may do", &[]))?;
        Ok(NEEDED.into_iter().filter(|action| !allows(&permissions, action)).collect())
    }
}

/// Whether any of the permissions has an action and does not take it back.
fn allows(permissions: &[Value], action: &str) -> bool {
    let any = |permission: &Value, list: &str| {
        let patterns = permission[list].as_array().into_iter().flatten().filter_map(Value::as_str);
        patterns.into_iter().any(|pattern| matches(&pattern.to_lowercase(), &action.to_lowercase()))
    };
    permissions.iter().any(|permission| any(permission, "actions") && !any(permission, "notActions"))
}

/// Azure's patterns: `*` stands for any text.
fn matches(pattern: &str, action: &str) -> bool {
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = action.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else { return rest.is_empty() };
    for part in between {
        let Some((_, after)) = rest.split_once(part) else { return false };
        rest = after;
    }
    rest.ends_with(last)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lacks(permissions: &Value) -> usize {
        let permissions = permissions.as_array().unwrap();
        NEEDED.iter().filter(|action| !allows(permissions, action)).count()
    }

    #[test]
    fn a_reader_lacks_what_changes_and_a_contributor_nothing() {
        let contributor = json!({"actions": ["*"], "notActions": ["Microsoft.Authorization/*/Delete"]});
        assert_eq!(lacks(&json!([contributor])), 0);
        let reader = json!({"actions": ["*/read"], "notActions": []});
        assert_eq!(lacks(&json!([reader])), 2);
        let ours = json!({"actions": ["microsoft.containerinstance/containergroups/*"], "notActions": []});
        assert_eq!(lacks(&json!([reader, ours])), 0);
        let but = json!({"actions": ["*"], "notActions": ["Microsoft.ContainerInstance/containerGroups/delete"]});
        assert_eq!(lacks(&json!([but])), 1);
        assert_eq!(lacks(&json!([])), 4);
    }

    #[test]
    fn a_star_stands_for_any_text() {
        assert!(matches("a/*/read", "a/b/c/read") && matches("*", "x") && matches("a", "a"));
        assert!(!matches("a/*/read", "a/b/write") && !matches("a", "ab") && !matches("*/read", "read/x"));
    }
}
