//! What the organization does with job requests, told in virtual time.

use std::time::Duration;

use super::*;

mod life;
mod pools;
mod properties;
mod times;

const POOL: &str = "linux";

/// An organization with one pool at a moment of its own.
struct Story {
    state: State,
    pool: i64,
    now: Timestamp,
}

impl Story {
    fn new(rules: Rules) -> Self {
        let now: Timestamp = "2026-03-01T12:00:00Z".parse().unwrap();
        let mut state = State::new(rules);
        let pool = state.add_pool(POOL.into(), now).unwrap();
        Self { state, pool, now }
    }

    fn pass(&mut self, time: Duration) {
        self.now = after(self.now, time);
        self.state.advance(self.now);
    }

    fn register(&mut self, name: &str) -> i64 {
        self.state.register(self.pool, AgentSpec::named(name), self.now).unwrap()
    }

    fn open(&mut self, agent: i64) -> String {
        let draft = SessionDraft { agent, ..SessionDraft::default() };
        self.state.open_session(self.pool, draft, self.now).unwrap()
    }

    fn online(&mut self, name: &str) -> (i64, String) {
        let agent = self.register(name);
        (agent, self.open(agent))
    }

    fn queue(&mut self, name: &str) -> i64 {
        self.queue_job(JobSpec::new("ci", name))
    }

    fn queue_job(&mut self, job: JobSpec) -> i64 {
        self.now = after(self.now, Duration::from_millis(1));
        self.state.queue(self.pool, job, self.now).unwrap()
    }

    fn message(&mut self, session: &str) -> Option<MessageContent> {
        let message = self.state.next_message(self.pool, session, 0, self.now).unwrap()?;
        self.state.delete_message(self.pool, session, message.id, self.now).unwrap();
        Some(message.content)
    }

    fn renew(&mut self, request: i64) -> Result<(), Refusal> {
        self.state.renew(self.pool, request, self.now).map(|_| ())
    }

    fn finish(&mut self, request: i64) {
        self.state.finish(self.pool, request, JobResult::Succeeded, false, self.now).unwrap();
    }

    fn request(&self, id: i64) -> &Request {
        self.state.find_request(id).unwrap()
    }

    fn phase(&self, id: i64) -> Phase {
        self.request(id).phase()
    }

    fn agent_of(&self, id: i64) -> Option<&str> {
        self.request(id).agent.as_ref().map(|agent| agent.name.as_str())
    }
}
