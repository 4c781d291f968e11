//! The pool's number, which is asked for by its name again and again: a pool may be renamed and another one be made with its
//! name. Nothing drastic is done to a run before the number was seen to be right.

use std::time::Duration;

use tokio::time::Instant;

use super::{Engine, came_out};
use crate::{
    azure_devops::{AzureDevOps, Error, PoolId},
    core::{StopReason, StopRun, is_same_name},
    hosts::AgentHost,
    orchestrator::{
        calls::{Call, Kind},
        holds::{Next, Scope},
    },
};

/// How often it is asked for.
pub(super) const ASK_AGAIN: Duration = Duration::from_secs(180);

/// How old a number may be when something drastic follows from it.
const FRESH: Duration = Duration::from_secs(60);

/// Whether a run is ended because its agent does not show in the pool, or shows no sign of life there.
fn is_drastic(stop: &StopRun) -> bool {
    !matches!(
        stop.reason,
        StopReason::NotNeeded | StopReason::TakenBack | StopReason::NeverReady | StopReason::AgentEnded
    )
}

impl<A: AzureDevOps, H: AgentHost> Engine<'_, A, H> {
    /// Whether a run may be ended by what its pool shows. Where that is in doubt, the number is asked for, and the next plan
    /// says it again.
    pub(super) fn may_stop(&mut self, index: usize, stop: &StopRun) -> bool {
        if !is_drastic(stop) {
            return true;
        }
        let now = Instant::now();
        let state = &mut self.pools[index];
        if now < state.id_seen + FRESH || self.single_pass {
            return true;
        }
        state.id_due = state.id_due.min(now);
        false
    }

    pub(super) fn ask_for_number(&mut self, index: usize) {
        let (state, now) = (&self.pools[index], Instant::now());
        let scope = Scope::new(index, Kind::PoolNumber, "");
        let in_flight = self.calls.has(index, Kind::PoolNumber);
        if state.id.is_none() || now < state.id_due || in_flight || !self.holds.allow(&scope, now) {
            return;
        }
        let (azure_devops, pool) = (self.azure_devops.clone(), self.policy.pools[index].name.clone());
        let call = Call { pool: index, kind: Kind::PoolNumber, object: String::new() };
        self.calls.begin(call, async move { came_out::Outcome::Number(azure_devops.pool(&pool).await) });
    }

    /// The number was asked for.
    pub(super) fn numbered(&mut self, index: usize, result: Result<PoolId, Error>) {
        let now = Instant::now();
        let name = &self.policy.pools[index].name;
        let state = &mut self.pools[index];
        let Some(before) = state.id else { return };
        match result {
            Ok(number) if number == before => {
                (state.id_seen, state.id_due) = (now, now + ASK_AGAIN);
            }
            Ok(number) => {
                tracing::warn!(
                    pool = name,
                    before = before.0,
                    now = number.0,
                    "the agent pool of this name is another one now: the new one is served, and agents that were started \
                     before finish in the old one"
                );
                (state.id, state.id_seen, state.id_due) = (Some(number), now, now + ASK_AGAIN);
                state.forget();
                state.ask_again();
                let live = self.runs.iter().filter(|run| is_same_name(&run.pool, name) && run.is_live());
                state.of_before.extend(live.map(|run| run.name.clone()));
                self.board.replaced(name, before.0, number.0, (self.settings.now)());
            }
            Err(Error::NoSuchPool(_) | Error::NotFound(_) | Error::Forbidden(_)) => {
                // The next poll asks for it once more and says what is wrong.
                state.id = None;
                state.forget();
                state.ask_again();
            }
            Err(error) => {
                self.holds.failed(&Scope::new(index, Kind::PoolNumber, ""), Next::after_change(&error), now);
                return;
            }
        }
        self.holds.worked(&Scope::new(index, Kind::PoolNumber, ""));
    }
}
