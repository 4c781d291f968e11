//! The agents that could take a waiting request, ours and others', and how readily each of them is given away.

use std::collections::BTreeSet;

use super::{
    Agent, Purpose, RequestId,
    demand_sets::{DemandSets, Satisfied, SetId},
    quick_hash::HashMap,
};

/// How readily a free agent is given to a request: others' first, then ours that nobody would miss, and last those that
/// the template wants idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Use {
    Others,
    Unneeded,
    WantedIdle,
}

/// An agent that could take a request.
pub(super) struct Free {
    /// The agent template of one of ours.
    pub(super) template: Option<usize>,
    pub(super) readiness: Use,
    /// The request that it was started for.
    pub(super) started_for: Option<RequestId>,
    /// The place of what it satisfies among [`Supply::offers`].
    pub(super) offer: usize,
}

/// How many agents of one template there are.
#[derive(Default)]
pub(super) struct Tally {
    /// Not ended.
    pub(super) live: u32,
    /// Not ended and not online yet.
    pub(super) starting: u32,
    /// The agent has ended or taken its registration back, and its run has yet to say how it came out.
    pub(super) undecided: u32,
    /// Idle or starting, and not needed by a waiting request.
    pub(super) spare: u32,
    /// Warm slots in use.
    pub(super) slots: BTreeSet<u32>,
    /// All warm slots before this one are in use.
    pub(super) first_free_slot: u32,
}

impl Tally {
    /// The first warm slot that is not in use.
    pub(super) fn free_slot(&mut self) -> u32 {
        while self.slots.contains(&self.first_free_slot) {
            self.first_free_slot += 1;
        }
        self.first_free_slot
    }

    /// The first one after `slot` that is not in use.
    pub(super) fn free_slot_after(&self, slot: u32) -> u32 {
        let mut next = slot + 1;
        while self.slots.contains(&next) {
            next += 1;
        }
        next
    }
}

/// All free agents of a pool; what they satisfy is worked out once for all that are alike.
pub(super) struct Supply<'s, 'a> {
    demands: &'s DemandSets<'a>,
    pub(super) free: Vec<Free>,
    /// Every combination of demands that some agent satisfies.
    pub(super) offers: Vec<Satisfied>,
    by_satisfied: HashMap<Satisfied, usize>,
    by_capabilities: HashMap<Vec<Option<&'a str>>, usize>,
    by_template: HashMap<Option<usize>, usize>,
}

impl<'s, 'a> Supply<'s, 'a> {
    pub(super) fn new(demands: &'s DemandSets<'a>) -> Self {
        Self {
            demands,
            free: Vec::new(),
            offers: Vec::new(),
            by_satisfied: HashMap::default(),
            by_capabilities: HashMap::default(),
            by_template: HashMap::default(),
        }
    }

    /// An agent of ours that is online.
    pub(super) fn add_online(&mut self, agent: &'a Agent, template: Option<usize>, purpose: Purpose) {
        let offer = self.offer_of(agent);
        self.add_ours(template, purpose, offer);
    }

    /// An agent of ours that has yet to come online; `satisfies` says what one of its template will.
    pub(super) fn add_starting(
        &mut self,
        template: Option<usize>,
        purpose: Purpose,
        satisfies: impl Fn(usize) -> Satisfied,
    ) {
        let offer = match self.by_template.get(&template) {
            Some(&known) => known,
            None => {
                let nothing = || vec![false; self.demands.demands().len()];
                let offer = self.add_offer(template.map_or_else(nothing, satisfies));
                self.by_template.insert(template, offer);
                offer
            }
        };
        self.add_ours(template, purpose, offer);
    }

    /// An agent of somebody else.
    pub(super) fn add_others(&mut self, agent: &'a Agent) {
        let offer = self.offer_of(agent);
        self.free.push(Free { template: None, readiness: Use::Others, started_for: None, offer });
    }

    fn add_ours(&mut self, template: Option<usize>, purpose: Purpose, offer: usize) {
        let started_for = match purpose {
            Purpose::Request(id) => Some(id),
            Purpose::Slot(_) => None,
        };
        self.free.push(Free { template, readiness: Use::Unneeded, started_for, offer });
    }

    fn offer_of(&mut self, agent: &'a Agent) -> usize {
        let capabilities = self.demands.offered_by(&agent.capabilities);
        if let Some(&known) = self.by_capabilities.get(&capabilities) {
            return known;
        }
        let satisfied = self.demands.demands().iter().map(|demand| agent.capabilities.satisfy(demand)).collect();
        let offer = self.add_offer(satisfied);
        self.by_capabilities.insert(capabilities, offer);
        offer
    }

    fn add_offer(&mut self, satisfied: Satisfied) -> usize {
        *self.by_satisfied.entry(satisfied).or_insert_with_key(|satisfied| {
            self.offers.push(satisfied.clone());
            self.offers.len() - 1
        })
    }

    /// Whether some free agent could serve a request with this set of demands, if nobody else needed it.
    pub(super) fn reaches(&self, set: SetId) -> bool {
        self.offers.iter().any(|offer| self.demands.is_satisfied(set, offer))
    }

    /// Marks as many free agents of each template as it wants idle; warm ones rather than those started for a request.
    pub(super) fn keep_wanted_idle(&mut self, wanted: impl Iterator<Item = u32>) {
        self.free.sort_by_key(|free| free.started_for.is_some());
        let mut wanted: Vec<u32> = wanted.collect();
        for free in &mut self.free {
            if let Some(wanted) = free.template.map(|template| &mut wanted[template]).filter(|wanted| **wanted > 0) {
                *wanted -= 1;
                free.readiness = Use::WantedIdle;
            }
        }
    }
}
