//! Agents that no request asks for: the least number of them, and those that are kept idle.

use super::{Planner, PoolWork, Refusal};
use crate::core::{Purpose, Verdict, placeholder::has_to_learn};

impl Planner<'_> {
    /// Fills up what is missing to the least number of agents and of idle ones.
    pub(super) fn fill_slots(&mut self) {
        for index in 0..self.pools.len() {
            let templates = self.pools[index].policy.templates.len();
            for template in 0..templates {
                self.fill_to_minimum(index, template);
            }
            for template in 0..templates {
                self.fill_idle(index, template);
            }
        }
    }

    fn fill_to_minimum(&mut self, index: usize, template: usize) {
        let PoolWork { policy, survey, .. } = &mut self.pools[index];
        let (sight, known) = (&survey.sight, survey.learned[template].as_ref());
        let to_learn = sight.knows_agents && has_to_learn(&policy.templates[template], known, &sight.roster);
        let least = survey.scales[template].min.max(u32::from(to_learn));
        if survey.templates[template].live >= least {
            return;
        }
        let satisfiable = survey.satisfiable(template);
        let mut open = std::mem::take(&mut survey.open).into_iter();
        let mut left = Vec::new();
        while self.pools[index].survey.templates[template].live < least {
            if let Err(refusal) = self.start_warm(index, template) {
                self.unfilled(index, template, refusal);
                break;
            }
            // The new agent serves a request that is still open rather than idle.
            let survey = &mut self.pools[index].survey;
            let served = open.by_ref().find(|open| {
                let fits = satisfiable[open.demands];
                if !fits {
                    left.push(*open);
                }
                fits
            });
            match served {
                Some(open) => survey.judge(open, Verdict::Covered),
                None => survey.templates[template].spare += 1,
            }
        }
        left.extend(open);
        self.pools[index].survey.open = left;
    }

    /// No agent is kept idle while a request that it satisfies waits: it would not be idle, and the limit or back-off
    /// that the request waits for would be got round.
    fn fill_idle(&mut self, index: usize, template: usize) {
        let survey = &self.pools[index].survey;
        let wanted = survey.scales[template].idle;
        if survey.templates[template].spare >= wanted {
            return;
        }
        let satisfiable = survey.satisfiable(template);
        if survey.open.iter().any(|open| satisfiable[open.demands]) {
            return;
        }
        while self.pools[index].survey.templates[template].spare < wanted {
            if let Err(refusal) = self.start_warm(index, template) {
                self.unfilled(index, template, refusal);
                return;
            }
            self.pools[index].survey.templates[template].spare += 1;
        }
    }

    /// What keeps a warm agent from being started is told where it is a trouble of agents; all else is as it should be.
    fn unfilled(&mut self, index: usize, template: usize, refusal: Refusal) {
        let verdict = self.refused(index, template, refusal);
        if verdict.is_trouble_of_agents() {
            self.pools[index].unfilled.push(verdict);
        }
    }

    /// Starts an agent in the first warm slot that is neither in use nor backing off. Whether the template itself fails is
    /// for its health to say; what else keeps one slot from being filled holds for the next one just as well.
    fn start_warm(&mut self, index: usize, template: usize) -> Result<(), Refusal> {
        let mut slot = self.pools[index].survey.templates[template].free_slot();
        loop {
            match self.start(index, template, Purpose::Slot(slot)) {
                Ok(_) => {
                    self.pools[index].survey.templates[template].slots.insert(slot);
                    return Ok(());
                }
                // A slot of which no run is known does not wait, so this comes to an end.
                Err(Refusal::BackOff(_)) => slot = self.pools[index].survey.templates[template].free_slot_after(slot),
                Err(refusal) => return Err(refusal),
            }
        }
    }
}
