//! Which kinds of agents a workload needs. A trace says what jobs demand and not what agents offer; since its jobs ran,
//! there were agents that satisfied them.

use std::collections::BTreeSet;

use super::Job;
use crate::{
    core::{Capabilities, Demand, DemandTest},
    sandbox::AgentSpec,
};

/// One kind of agent.
#[derive(Clone, Debug)]
pub(super) struct Kind {
    /// Its name; the agent template's, for those that have templates.
    pub(super) name: String,
    /// What its agents offer besides their names.
    pub(super) capabilities: Capabilities,
    /// All demands that it is made for, as on the wire.
    pub(super) demands: BTreeSet<String>,
}

/// The kinds of agents for a workload.
#[derive(Clone, Debug)]
pub(super) struct Kinds {
    /// As few as possible: one, unless demands contradict each other.
    pub(super) merged: Vec<Kind>,
    /// One for each different set of demands, apart from those for a version of the agent.
    pub(super) exact: Vec<Kind>,
}

impl Kinds {
    pub(super) fn of(jobs: &[Job]) -> Self {
        let mut kinds = Self { merged: vec![Kind::named("default".to_owned())], exact: Vec::new() };
        let sets: BTreeSet<BTreeSet<&str>> =
            jobs.iter().map(|job| job.demands.iter().map(|demand| demand.trim()).collect()).collect();
        for set in sets {
            add(&mut kinds.merged, "default", &set, |_| true);
            let key = exact_key(set.iter().copied());
            add(&mut kinds.exact, "exact", &set, |kind| exact_key(kind.demands.iter().map(String::as_str)) == key);
        }
        kinds
    }

    /// All kinds, each once by name.
    pub(super) fn all(&self) -> impl Iterator<Item = &Kind> {
        self.merged.iter().chain(&self.exact)
    }
}

/// What the go-operator knows a set of demands by: all of it but demands for a version of the agent.
pub(super) fn exact_key<'a>(demands: impl Iterator<Item = &'a str>) -> BTreeSet<&'a str> {
    demands.map(str::trim).filter(|demand| !demand.starts_with("Agent.Version")).collect()
}

/// Adds a set of demands to the first kind that may take it and can, or makes another kind for it.
fn add(kinds: &mut Vec<Kind>, name: &str, set: &BTreeSet<&str>, may_take: impl Fn(&Kind) -> bool) {
    if kinds.iter_mut().any(|kind| may_take(kind) && kind.take_on(set)) {
        return;
    }
    let mut kind = Kind::named(if kinds.is_empty() { name.to_owned() } else { format!("{name}-{}", kinds.len() + 1) });
    kind.take_on(set);
    kinds.push(kind);
}

impl Kind {
    /// An agent that offers what every Linux agent reports of itself.
    fn named(name: String) -> Self {
        let mut capabilities: Capabilities = AgentSpec::named("").system_capabilities.into_iter().collect();
        capabilities.remove("Agent.Name");
        capabilities.remove("Agent.ComputerName");
        Self { name, capabilities, demands: BTreeSet::new() }
    }

    /// Offers whatever satisfies these demands too, if that is possible. Nothing is offered for a demand that pins one
    /// agent by its name.
    fn take_on(&mut self, set: &BTreeSet<&str>) -> bool {
        let wanted: Vec<Demand> = set.iter().filter_map(|text| ordinary(text)).collect();
        let mut offer = self.capabilities.clone();
        for demand in &wanted {
            if !offer.satisfy(demand) {
                let value = match &demand.test {
                    DemandTest::Equals(value) | DemandTest::AtLeast(value) => value.as_str(),
                    DemandTest::Exists | DemandTest::Unknown(..) => "1",
                };
                offer.set(&demand.name, value);
            }
        }
        let earlier = self.demands.iter().filter_map(|text| ordinary(text));
        if !earlier.chain(wanted).all(|demand| offer.satisfy(&demand)) {
            return false;
        }
        self.capabilities = offer;
        self.demands.extend(set.iter().map(|&demand| demand.to_owned()));
        true
    }
}

/// A demand, unless it is for the name that each agent has of its own.
fn ordinary(text: &str) -> Option<Demand> {
    let by_name = |name: &str| ["agent.name", "agent.computername"].contains(&name.to_lowercase().as_str());
    Some(Demand::parse(text)).filter(|demand| !by_name(&demand.name))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn kinds(sets: &[&[&str]]) -> Kinds {
        let job = |set: &&[&str]| Job {
            at: Duration::ZERO,
            demands: set.iter().map(|&demand| demand.to_owned()).collect(),
            duration: Duration::ZERO,
        };
        Kinds::of(&sets.iter().map(job).collect::<Vec<_>>())
    }

    #[test]
    fn demands_that_one_agent_can_satisfy_make_one_kind() {
        let kinds = kinds(&[&[], &["docker"], &["cuda -gtVersion 12.4", "docker"], &["cuda -gtVersion 11"]]);
        assert_eq!((kinds.merged.len(), kinds.exact.len()), (1, 4));
        assert!(kinds.merged[0].capabilities.satisfy(&Demand::parse("cuda -gtVersion 12.4")));
        assert!(kinds.merged[0].capabilities.satisfy(&Demand::parse("Agent.OS -equals linux")));
    }

    #[test]
    fn demands_that_contradict_each_other_make_two() {
        let kinds = kinds(&[&["Agent.OS -equals Windows_NT"], &["Agent.OS -equals Linux"]]);
        let systems: Vec<_> = kinds.merged.iter().filter_map(|kind| kind.capabilities.get("Agent.OS")).collect();
        assert_eq!(systems, ["Linux", "Windows_NT"]);
        assert_eq!((kinds.merged[0].name.as_str(), kinds.merged[1].name.as_str()), ("default", "default-2"));
    }

    #[test]
    fn a_demand_for_a_version_of_the_agent_makes_no_exact_kind_of_its_own() {
        assert_eq!(kinds(&[&["docker"], &["docker", "Agent.Version -gtVersion 2.163.1"]]).exact.len(), 1);
    }

    #[test]
    fn nothing_is_offered_for_a_demand_that_pins_an_agent() {
        let kinds = kinds(&[&["Agent.Name -equals build-7"]]);
        assert_eq!(kinds.merged[0].capabilities.get("Agent.Name"), None);
    }
}
