//! The agents' side of the world: they come online, are given job requests, and report how those ended.

use std::time::Duration;

use jiff::Timestamp;

use super::{World, spec};
use crate::{
    core::RunPhase,
    sandbox::{AgentSpec, JobResult, Refusal, state},
    simulation::{
        events::{Event, Serial},
        host::Online,
    },
};

impl World<'_> {
    pub(super) fn comes_online(&mut self, serial: Serial, now: Timestamp) {
        let Some(tracked) = self.host.live(serial) else { return };
        let name = tracked.run.name.clone();
        let kind = self.kinds.all().find(|kind| kind.name == tracked.run.template);
        let mut offer = kind.map(|kind| kind.capabilities.clone()).unwrap_or_default();
        for (mark, value) in self.marks.iter() {
            offer.set(mark, value);
        }
        match self.sign_on(&spec(&name, &offer), now) {
            Ok((id, session)) => {
                if let Some(tracked) = self.host.live_mut(serial) {
                    tracked.agent = Some(Online { id, session, since: now, request: None });
                    self.idle.insert(serial);
                }
            }
            Err(refusal) => self.end(serial, Some(RunPhase::Failed(now, refusal.to_string())), now),
        }
    }

    /// Registers an agent, in the place of one of its name, and waits for its first message.
    fn sign_on(&mut self, spec: &AgentSpec, now: Timestamp) -> Result<(i64, String), Refusal> {
        let (state, pool) = (&mut self.state, self.pool);
        let id = match state.register(pool, spec.clone(), now) {
            Err(Refusal::AgentExists { .. }) => {
                let known = state.pool(pool)?.agents().find(|agent| agent.name.eq_ignore_ascii_case(&spec.name));
                let id = known.map_or(0, |agent| agent.id);
                state.replace(pool, id, spec.clone(), now)?;
                self.replaced += 1;
                id
            }
            registered => registered?,
        };
        let draft = state::SessionDraft { agent: id, ..state::SessionDraft::default() };
        let session = state.open_session(pool, draft, now)?;
        // The poll stays open, so the agent is online as long as it lives.
        state.begin_poll(pool, &session, now)?;
        Ok((id, session))
    }

    /// Idle agents that have been given a job request take it.
    pub(super) fn ask_for_messages(&mut self, now: Timestamp) {
        if self.waiting == 0 || self.idle.is_empty() || self.state.version() == self.asked_at {
            return;
        }
        let given = |&serial: &Serial| {
            let agent = self.state.agent(self.pool, self.host.agent(serial)?.id).ok()?;
            Some((serial, agent.assigned?))
        };
        let takers: Vec<(Serial, i64)> = self.idle.iter().filter_map(given).collect();
        for (serial, request) in takers {
            self.receive(serial, request, now);
        }
        self.asked_at = self.state.version();
    }

    fn receive(&mut self, serial: Serial, request: i64, now: Timestamp) {
        if self.state.renew(self.pool, request, now).is_err() {
            return;
        }
        self.idle.remove(&serial);
        self.idled(serial, now);
        self.tally.received += 1;
        self.waiting -= 1;
        self.busy += 1;
        self.progress_at = now;
        if let Some(agent) = self.host.live_mut(serial).and_then(|tracked| tracked.agent.as_mut()) {
            agent.request = Some(request);
        }
        let duration = self.job_of.get(&request).map_or(Duration::ZERO, |&number| self.jobs[number].duration);
        self.events.add(now + duration, Event::JobDone(serial));
    }

    /// The agent of a run, if it has a job request, reports how that ended, and goes.
    pub(super) fn job_ends(&mut self, serial: Serial, result: JobResult, now: Timestamp) {
        let Some(request) = self.host.agent(serial).and_then(|agent| agent.request) else { return };
        let _ = self.state.finish(self.pool, request, result, true, now);
        self.busy -= 1;
        self.progress_at = now;
        self.end(serial, Some(RunPhase::Succeeded(now)), now);
    }

    /// Counts the time that an agent has been idle.
    pub(super) fn idled(&mut self, serial: Serial, until: Timestamp) {
        if let Some(agent) = self.host.agent(serial) {
            self.tally.idle += until.duration_since(agent.since).unsigned_abs();
        }
    }
}
