//! Telling of each call as it comes out, and what follows from it.

use std::collections::BTreeMap;

use tokio::time::Instant;

use super::Engine;
use crate::{
    azure_devops::{AzureDevOps, Error, PoolId, Proof},
    core::{AgentAction, EquipRun, HostKind, JobRequest, LeaseView, ParallelJobs, StopReason, StopRun},
    hosts::{AgentHost, HostError, Started},
    orchestrator::{
        act::{self, Acted},
        calls::{ALL_POOLS, Call, Family, Kind},
        equip,
        holds::{Next, Scope},
        observe::Polled,
        trouble,
    },
};

/// How a call came out.
pub(super) enum Outcome {
    /// With the listing that the poll was sent with.
    Polled(u64, Polled),
    SeenAgain(Result<Vec<JobRequest>, Error>),
    SawLeases(Vec<(String, Result<Option<LeaseView>, HostError>)>),
    Number(Result<PoolId, Error>),
    Started(Acted),
    Equipped(EquipRun, Result<(), HostError>),
    Stopped(StopRun, Result<(), HostError>),
    Changed(AgentAction, Result<(), Error>),
    Tried(Option<Proof>),
    ParallelJobs(Result<BTreeMap<String, ParallelJobs>, Error>),
    MarkedBusy(Result<(), HostError>),
    Tidied(Result<(), HostError>),
}

impl<A: AzureDevOps, H: AgentHost> Engine<'_, A, H> {
    /// A call came out.
    pub(super) fn came_out(&mut self, (call, outcome, _): (Call, Outcome, Instant)) {
        let Call { pool, kind, object } = call;
        if kind.family() != Family::Question {
            self.expected.touched(pool, kind.family(), &object, self.listing);
        }
        match outcome {
            Outcome::Polled(listing, polled) => self.polled(pool, listing, polled),
            Outcome::SeenAgain(result) => self.seen_again(pool, result),
            Outcome::Number(result) => self.numbered(pool, result),
            Outcome::SawLeases(seen) => self.saw_leases(seen),
            Outcome::Started(acted) => self.started(pool, &acted),
            Outcome::Equipped(run, result) => self.equipped(pool, &run, &result),
            Outcome::Stopped(run, result) => self.stopped(pool, &run, &result),
            Outcome::Changed(action, result) => self.changed(pool, &action, &result),
            Outcome::Tried(proof) => self.tried(pool, &object, proof),
            Outcome::ParallelJobs(result) => self.told_parallel_jobs(&result),
            Outcome::MarkedBusy(result) => {
                self.kept_house(Kind::MarkBusy, "marking busy agents", result);
            }
            Outcome::Tidied(result) => {
                // What passes by itself is for the log; what somebody has to put right is for the status.
                let lasting = result.as_ref().err().filter(|error| matches!(error, HostError::Refused { .. }));
                self.board.tidied(lasting.map(|error| trouble::of_host(error, self.board.host_kind())));
                if self.kept_house(Kind::Tidy, "tidying up", result) {
                    self.outcome.failures += 1;
                }
            }
        }
        self.dispatch();
    }

    fn started(&mut self, pool: usize, acted: &Acted) {
        let Acted { start, result } = acted;
        // One that waits for its files is there although they did not come.
        let may_be_there = matches!(result, Ok(_) | Err(HostError::Unavailable(_))) || equip::is_held(start);
        self.expected.ended(&start.name, may_be_there, self.listing);
        let scope = Scope::new(pool, Kind::Start, &start.template);
        match result {
            Ok(_) => self.holds.worked(&scope),
            Err(error) => self.holds.failed(&scope, Next::after_host(error), Instant::now()),
        }
        self.journal.acted(acted);
        let kind = self.board.host_kind();
        let refusal = result.as_ref().err().and_then(|error| trouble::of_start(error, &start.name, kind));
        self.board.started(&start.pool, &start.template, refusal);
        match result {
            Ok(Started::Created) => {
                self.metrics.started(&start.pool);
                self.outcome.started += 1;
            }
            // Somebody else has counted it.
            Ok(Started::AlreadyThere) => {}
            Err(refusal) => {
                self.metrics.start_failed(&start.pool, refusal.reason());
                self.outcome.failures += 1;
            }
        }
    }

    fn equipped(&mut self, pool: usize, run: &EquipRun, result: &Result<(), HostError>) {
        self.expected.ended(&run.name, true, self.listing);
        let scope = Scope::new(pool, Kind::Start, &run.template);
        match result {
            Ok(()) => self.holds.worked(&scope),
            Err(error) => self.holds.failed(&scope, Next::after_host(error), Instant::now()),
        }
        self.journal.equipped(run, result);
        let kind = self.board.host_kind();
        let refusal = result.as_ref().err().and_then(|error| trouble::of_start(error, &run.name, kind));
        self.board.started(&run.pool, &run.template, refusal);
        if result.is_err() {
            self.outcome.failures += 1;
        }
    }

    fn stopped(&mut self, pool: usize, run: &StopRun, result: &Result<(), HostError>) {
        let (all, one) = (Scope::new(pool, Kind::Stop, ""), Scope::new(pool, Kind::Stop, &run.name));
        let now = Instant::now();
        match result {
            Ok(()) => {
                self.holds.worked(&all);
                self.holds.worked(&one);
                self.metrics.stopped(&run.pool, run.reason.word());
                self.expected.ended(&run.name, false, self.listing);
                match &run.reason {
                    StopReason::NeverCame(trouble) => {
                        self.board.never_came(&run.pool, trouble.as_deref(), self.now());
                    }
                    StopReason::NeverRegistered => {
                        self.board.never_came(&run.pool, Some(&run.reason.to_string()), self.now());
                    }
                    // Why it could not be registered is a finding of its own.
                    StopReason::NeverReady
                    | StopReason::NotNeeded
                    | StopReason::TakenBack
                    | StopReason::AgentEnded
                    | StopReason::Hangs => {}
                }
            }
            Err(error) => {
                self.outcome.failures += 1;
                // What is refused for one is refused for all; what does not answer may be one of them alone.
                let speaks_for_all = matches!(error, HostError::Refused { .. } | HostError::Credential(_));
                self.holds.failed(&all, if speaks_for_all { Next::Seldom } else { Next::AtOnce }, now);
                self.holds.failed(&one, Next::Soon(std::time::Duration::ZERO), now);
            }
        }
        self.journal.stopped(run, result);
    }

    fn changed(&mut self, pool: usize, action: &AgentAction, result: &Result<(), Error>) {
        let (kind, object) = act::kind_of(&action.change);
        let (all, one) = (Scope::new(pool, kind, ""), Scope::new(pool, kind, object));
        let now = Instant::now();
        match result {
            Ok(()) => {
                self.holds.worked(&all);
                self.holds.worked(&one);
            }
            Err(error) => {
                let of_one = matches!(error, Error::Gone(_) | Error::Taken(_) | Error::Busy(_));
                let next = Next::after_change(error);
                self.holds.failed(&all, if of_one { Next::AtOnce } else { next }, now);
                self.holds.failed(&one, next, now);
            }
        }
        self.journal.changed(action, kind.word(), result);
        let host = self.board.host_kind();
        let finding = result.as_ref().err().and_then(|error| trouble::of_registration(error, host));
        self.board.registered(&action.pool, kind.word(), finding);
    }

    fn tried(&mut self, pool: usize, placeholder: &str, proof: Option<Proof>) {
        let agents_changed = proof.as_ref().is_some_and(|proof| {
            matches!(proof.failed, Some((_, Error::Taken(_) | Error::Gone(_) | Error::Busy(_))))
                || proof.agent.is_some()
        });
        self.recipes.tried(placeholder, proof, Instant::now());
        self.board.trial(self.recipes.finding());
        if self.recipes.settle(&mut self.policy) {
            self.board.registers(&self.policy);
            // Agents may be started that waited for this.
            self.pools.iter_mut().for_each(|pool| pool.due = pool.due.min(Instant::now()));
        }
        if agents_changed {
            self.pools[pool].look_due = Instant::now();
        }
    }

    fn told_parallel_jobs(&mut self, result: &Result<BTreeMap<String, ParallelJobs>, Error>) {
        let now = Instant::now();
        let trouble = result.as_ref().err().map(|error| (error.to_string(), error.fix()));
        self.journal.trouble("parallel jobs", trouble);
        if self.parallel_jobs.came_out(result.as_ref(), now) {
            // What waits was decided on something else.
            for pool in self.pools.iter_mut().filter(|pool| !pool.to_do.starts.is_empty()) {
                pool.to_do.starts.clear();
                pool.due = pool.due.min(now);
            }
        }
    }

    fn seen_again(&mut self, pool: usize, result: Result<Vec<JobRequest>, Error>) {
        let (scope, now) = (Scope::new(pool, Kind::SecondLook, ""), Instant::now());
        match result {
            Ok(requests) => {
                self.holds.worked(&scope);
                self.pools[pool].to_do.seen_again(&requests, now);
            }
            // The pool's next poll says what is wrong.
            Err(error) => self.holds.failed(&scope, Next::after_change(&error), now),
        }
    }

    /// Something that concerns no single pool was done or not. Whether it failed.
    fn kept_house(&mut self, kind: Kind, subject: &'static str, result: Result<(), HostError>) -> bool {
        let scope = Scope::new(ALL_POOLS, kind, "");
        match &result {
            Ok(()) => self.holds.worked(&scope),
            // One container group that Azure does not let go of has a back-off of its own, and holds up no other one.
            Err(HostError::Refused { .. } | HostError::Credential(_))
                if self.board.host_kind() != HostKind::ContainerInstances =>
            {
                self.holds.failed(&scope, Next::Seldom, Instant::now());
            }
            Err(error) => self.holds.failed(&scope, Next::after_host(error), Instant::now()),
        }
        let failed = result.is_err();
        self.journal.trouble(subject, result.err().map(|error| (error.to_string(), error.fix())));
        failed
    }
}
