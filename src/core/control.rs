//! What people ask of a running orchestrator, in the one document that `pause`, `resume` and `uninstall` write and the
//! orchestrator reads.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Pause;

/// Stands for all pools in [`Control::pools`].
pub const ALL_POOLS: &str = "*";

/// What is asked of the orchestrator. Nothing of it is forgotten by a restart.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Control {
    /// The pools that start no new agents, by name, or [`ALL_POOLS`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub pools: BTreeMap<String, Pause>,
    /// Set before an uninstall: start nothing, take back what is idle, remove placeholders and registrations.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retire: bool,
}

impl Control {
    /// The pause that holds for a pool at a moment. Names are compared as Azure DevOps does.
    #[must_use]
    pub fn pause(&self, pool: &str, now: Timestamp) -> Option<&Pause> {
        let named = self.pools.iter().filter(|(name, _)| name.to_lowercase() == pool.to_lowercase());
        let all = self.pools.iter().filter(|(name, _)| *name == ALL_POOLS);
        named.chain(all).map(|(_, pause)| pause).find(|pause| pause.holds(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_holds_for_its_pool_or_for_all_until_it_ends() {
        let until = "2026-01-01T12:00:00Z".parse().unwrap();
        let ending = Pause { until: Some(until), ..Pause::default() };
        let control = Control { pools: [("Linux".to_owned(), ending)].into(), retire: false };
        assert!(control.pause("linux", "2026-01-01T11:59:59Z".parse().unwrap()).is_some());
        assert!(control.pause("linux", until).is_none());
        assert!(control.pause("gpu", "2026-01-01T11:59:59Z".parse().unwrap()).is_none());
        let all = Control { pools: [(ALL_POOLS.to_owned(), Pause::default())].into(), retire: false };
        assert!(all.pause("gpu", until).is_some());
    }
}
