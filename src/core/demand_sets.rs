//! What the waiting requests of a pool ask for, each set of demands once: ten thousand requests come from a few pipelines.

use std::collections::BTreeSet;

use super::{Capabilities, Demand, demand::lower_case, quick_hash::HashMap};

/// The place of a set among [`DemandSets`].
pub(super) type SetId = usize;

#[derive(Default)]
pub(super) struct DemandSets<'a> {
    /// Each demand that occurs, once.
    demands: Vec<&'a Demand>,
    /// The names of the capabilities that they ask for, in lower case, once.
    names: Vec<String>,
    sets: Vec<DemandSet<'a>>,
    by_list: HashMap<&'a [Demand], SetId>,
    by_members: HashMap<BTreeSet<usize>, SetId>,
    by_demand: HashMap<&'a Demand, usize>,
}

struct DemandSet<'a> {
    /// As the first request with it has them.
    list: &'a [Demand],
    /// Their places among all demands.
    members: BTreeSet<usize>,
}

/// Which demands an agent satisfies, for each of [`DemandSets::demands`].
pub(super) type Satisfied = Vec<bool>;

impl<'a> DemandSets<'a> {
    /// The set with these demands; the same one whatever order they come in.
    pub(super) fn add(&mut self, list: &'a [Demand]) -> SetId {
        if let Some(&known) = self.by_list.get(list) {
            return known;
        }
        let members: BTreeSet<usize> = list.iter().map(|demand| self.add_demand(demand)).collect();
        let new = self.sets.len();
        let set = *self.by_members.entry(members.clone()).or_insert(new);
        if set == new {
            self.sets.push(DemandSet { list, members });
        }
        self.by_list.insert(list, set);
        set
    }

    fn add_demand(&mut self, demand: &'a Demand) -> usize {
        let new = self.demands.len();
        let place = *self.by_demand.entry(demand).or_insert(new);
        if place == new {
            self.demands.push(demand);
            let name = lower_case(&demand.name);
            if !self.names.iter().any(|known| *known == name) {
                self.names.push(name.into_owned());
            }
        }
        place
    }

    /// The demands of a set.
    pub(super) fn list(&self, set: SetId) -> &'a [Demand] {
        self.sets[set].list
    }

    pub(super) fn demands(&self) -> &[&'a Demand] {
        &self.demands
    }

    pub(super) fn len(&self) -> usize {
        self.sets.len()
    }

    /// All that matters here of what an agent offers: agents that are alike in this satisfy the same demands.
    pub(super) fn offered_by<'c>(&self, capabilities: &'c Capabilities) -> Vec<Option<&'c str>> {
        self.names.iter().map(|name| capabilities.get_lower_case(name)).collect()
    }

    /// Whether somebody who satisfies these demands satisfies the whole set.
    pub(super) fn is_satisfied(&self, set: SetId, satisfied: &Satisfied) -> bool {
        self.sets[set].members.iter().all(|&demand| satisfied[demand])
    }
}
