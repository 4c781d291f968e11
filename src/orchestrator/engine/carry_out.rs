//! Doing what was decided, and telling of each act as it comes out.

use std::cell::RefCell;

use tokio::time::Instant;

use super::{Engine, Outcome};
use crate::{
    azure_devops::{AzureDevOps, Error},
    core::{AgentAction, AgentChange, Plan, StopReason},
    hosts::AgentHost,
    orchestrator::{
        Stop,
        act::{Acted, Sides, change_agents, equip_runs, start_runs, stop_runs},
        trouble,
    },
};

impl<A: AzureDevOps, H: AgentHost> Engine<'_, A, H> {
    /// What is ended makes room for what is started. No second job may land on a busy agent, so that it is disabled beside
    /// all else; other registrations come last, because nobody waits for them. From `old_from` on
    /// no agent is started any more.
    pub(super) async fn carry_out(
        &mut self,
        decided: Plan,
        old_from: Option<Instant>,
        stop: &Stop,
        outcome: &mut Outcome,
    ) {
        let Self { azure_devops, host, holds, journal, leadership, metrics, policy, pools, board, .. } = self;
        let now = self.settings.now;
        let kind = board.host_kind();
        let Plan { starts, equips, stops, agents, .. } = decided;
        let go_on = || leadership.may_act() && !stop.is_wanted();
        let numbers = policy.pools.iter().zip(&*pools).filter_map(|(pool, state)| Some((pool.name.clone(), state.id?)));
        let numbers = numbers.collect();
        let sides = Sides { azure_devops: *azure_devops, host: *host, policy: &*policy, numbers, go_on: &go_on };
        let numbered = |actions: Vec<AgentAction>| {
            let number = |action: AgentAction| Some((*sides.numbers.get(action.pool.as_str())?, action));
            actions.into_iter().filter_map(number).collect::<Vec<_>>()
        };
        let (fences, agents): (Vec<_>, Vec<_>) =
            agents.into_iter().partition(|action| matches!(action.change, AgentChange::Disable(..)));
        // They are told of one at a time, though they are made side by side.
        let (journal, outcome, holds) = (RefCell::new(journal), RefCell::new(outcome), RefCell::new(holds));
        let changed = |action: &AgentAction, result: Result<(), Error>| {
            journal.borrow_mut().changed(action, &result);
            board.registered(
                &action.pool,
                result.err().as_ref().and_then(|error| trouble::of_registration(error, kind)),
            );
        };
        let fencing = change_agents(*azure_devops, numbered(fences), go_on, changed);
        let stopping = stop_runs(&sides, stops, go_on, |run, result| {
            journal.borrow_mut().stopped(run, &result);
            if let StopReason::NeverCame(trouble) = &run.reason {
                board.never_came(&run.pool, trouble.as_deref(), now());
            }
            match result {
                Ok(()) => metrics.stopped(&run.pool, run.reason.word()),
                Err(_) => outcome.borrow_mut().failures += 1,
            }
        });
        let equipping = equip_runs(&sides, equips, &holds, |run, result| {
            journal.borrow_mut().equipped(run, &result);
            let refusal = result.as_ref().err().and_then(|error| trouble::of_start(error, &run.name, kind));
            board.started(&run.pool, &run.template, refusal);
            if result.is_err() {
                outcome.borrow_mut().failures += 1;
            }
        });
        let may_start = || go_on() && old_from.is_none_or(|from| Instant::now() < from);
        let starting = start_runs(&sides, starts, &holds, may_start, |acted: &Acted| {
            journal.borrow_mut().acted(acted);
            let refusal =
                acted.result.as_ref().err().and_then(|error| trouble::of_start(error, &acted.start.name, kind));
            board.started(&acted.start.pool, &acted.start.template, refusal);
            match &acted.result {
                Ok(_) => {
                    metrics.started(&acted.start.pool);
                    outcome.borrow_mut().started += 1;
                }
                Err(refusal) => {
                    metrics.start_failed(&acted.start.pool, refusal.reason());
                    outcome.borrow_mut().failures += 1;
                }
            }
        });
        let ending_and_starting = async {
            stopping.await;
            tokio::join!(starting, equipping);
        };
        tokio::join!(fencing, ending_and_starting);
        change_agents(*azure_devops, numbered(agents), go_on, changed).await;
    }
}
