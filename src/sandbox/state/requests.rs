//! A job request's life: queued, assigned, received, finished. Assignment is in `assignment`, lapses in `lapse`.

use jiff::Timestamp;

use super::{JobResult, JobSpec, MessageContent, Phase, Refusal, Request, State, after};
use crate::core::Demand;

impl State {
    /// Queues a pipeline job. If no registered agent could ever serve it, online or not, it fails at once; the
    /// request's `problem` says so.
    ///
    /// # Errors
    ///
    /// [`Refusal::PoolNotFound`].
    pub fn queue(&mut self, pool: i64, job: JobSpec, now: Timestamp) -> Result<i64, Refusal> {
        self.lapse(now);
        let into = self.pool(pool)?;
        let demands: Vec<Demand> = job.demands.iter().map(|demand| Demand::parse(demand)).collect();
        let servable = into.agents.values().any(|agent| agent.satisfies(&demands));
        let problem = (!servable).then(|| {
            let demands = job.demands.join(", ");
            format!("No agent found in pool {} which satisfies the specified demands: {demands}", into.name)
        });
        self.last_request += 1;
        let id = self.last_request;
        let request = Request {
            id,
            pool,
            definition: self.definition(&job.pipeline),
            job,
            queued_at: now,
            assigned_at: None,
            received_at: None,
            locked_until: None,
            finished_at: None,
            result: None,
            agent: None,
            problem: None,
            cancel_by: None,
            demands,
            bumped: 0,
        };
        self.waiting.insert(&request);
        self.unfinished.insert((pool, id));
        self.requests.insert(id, request);
        self.changed();
        if problem.is_some() {
            self.end(id, JobResult::Failed, problem, now);
        }
        self.assign(now);
        Ok(id)
    }

    /// Cancels a request: one that waits ends at once; one that runs ends when its agent has stopped it, or is told
    /// to have ended when the cancel timeout is over. One that has ended stays as it is.
    ///
    /// # Errors
    ///
    /// [`Refusal::JobNotFound`].
    pub fn cancel(&mut self, id: i64, now: Timestamp) -> Result<(), Refusal> {
        self.lapse(now);
        let request = self.requests.get(&id).ok_or(Refusal::JobNotFound(id))?;
        match request.phase() {
            Phase::Queued => self.end(id, JobResult::Canceled, None, now),
            Phase::Assigned => {
                self.send(id, MessageContent::Cancel(id));
                self.end(id, JobResult::Canceled, None, now);
            }
            Phase::Received if request.cancel_by.is_none() => self.stop_running(id, now),
            Phase::Received | Phase::Finished => {}
        }
        self.assign(now);
        Ok(())
    }

    /// The agent takes the request, or holds on to it.
    ///
    /// # Errors
    ///
    /// [`Refusal::JobTokenExpired`] if no agent has it (any more), [`Refusal::JobNotFound`].
    pub fn renew(&mut self, pool: i64, id: i64, now: Timestamp) -> Result<&Request, Refusal> {
        self.lapse(now);
        let locked_until = after(now, self.rules.lease);
        let request = self.held(pool, id)?;
        request.locked_until = Some(locked_until);
        let first = request.received_at.is_none();
        let agent = request.agent.as_ref().map(|agent| agent.id);
        let timeout = request.job.timeout;
        if first {
            request.received_at = Some(now);
            if let Some(record) = agent.and_then(|agent| self.history.get_mut(&(pool, agent))) {
                record.received += 1;
            }
            if let Some(timeout) = timeout {
                self.wake_by(after(now, timeout));
            }
            self.changed();
        }
        self.wake_by(locked_until);
        self.assign(now);
        self.request(pool, id)
    }

    /// The agent has finished the request. With `shutting_down` it says that it takes no other one.
    ///
    /// # Errors
    ///
    /// [`Refusal::JobTokenExpired`] if no agent has it (any more), [`Refusal::JobNotFound`].
    pub fn finish(
        &mut self,
        pool: i64,
        id: i64,
        result: JobResult,
        shutting_down: bool,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        self.lapse(now);
        let agent = self.held(pool, id)?.agent.as_ref().map(|agent| agent.id);
        if shutting_down && let Some(agent) = agent {
            let session = self.agent_mut(pool, agent)?.session.as_mut();
            if let Some(session) = session {
                session.closing = true;
            }
        }
        self.end(id, result, None, now);
        self.assign(now);
        Ok(())
    }

    /// Puts a waiting request before all others.
    ///
    /// # Errors
    ///
    /// [`Refusal::JobNotFound`].
    pub fn bump_to_top(&mut self, pool: i64, id: i64, now: Timestamp) -> Result<(), Refusal> {
        self.lapse(now);
        self.request(pool, id)?;
        self.last_bump += 1;
        if let Some(request) = self.requests.get_mut(&id) {
            let waited = self.waiting.remove(request);
            request.bumped = self.last_bump;
            if waited {
                self.waiting.insert(request);
            }
        }
        self.changed();
        self.assign(now);
        Ok(())
    }

    /// Ends a request and frees its agent.
    pub(super) fn end(&mut self, id: i64, result: JobResult, problem: Option<String>, moment: Timestamp) {
        let Some(request) = self.requests.get_mut(&id) else { return };
        self.waiting.remove(request);
        self.unfinished.remove(&(request.pool, id));
        request.finished_at = Some(moment);
        request.result = Some(result);
        request.problem = problem;
        let agent = request.agent.as_ref().map(|agent| (request.pool, agent.id));
        if let Some(agent) = agent.and_then(|(pool, agent)| self.agent_mut(pool, agent).ok()) {
            agent.assigned = None;
            agent.last_completed = Some(id);
            if let Some(session) = &mut agent.session {
                session.messages.retain(|message| message.delivered || message.content != MessageContent::Job(id));
            }
        }
        self.candidates.extend(agent);
        self.changed();
    }

    /// Tells the agent of a running request to stop it.
    pub(super) fn stop_running(&mut self, id: i64, now: Timestamp) {
        let deadline = after(now, self.rules.cancel_timeout);
        if let Some(request) = self.requests.get_mut(&id) {
            request.cancel_by = Some(deadline);
        }
        self.send(id, MessageContent::Cancel(id));
        self.wake_by(deadline);
        self.changed();
    }

    fn send(&mut self, id: i64, content: MessageContent) {
        let Some(request) = self.requests.get(&id) else { return };
        let Some(agent) = request.agent.as_ref().map(|agent| agent.id) else { return };
        let pool = request.pool;
        if let Some(session) = self.agent_mut(pool, agent).ok().and_then(|agent| agent.session.as_mut()) {
            session.push(content);
        }
    }

    /// A request that an agent has.
    fn held(&mut self, pool: i64, id: i64) -> Result<&mut Request, Refusal> {
        self.pool(pool)?;
        let request = self.requests.get_mut(&id).filter(|request| request.pool == pool);
        let request = request.ok_or(Refusal::JobNotFound(id))?;
        match request.phase() {
            Phase::Assigned | Phase::Received => Ok(request),
            Phase::Queued | Phase::Finished => Err(Refusal::JobTokenExpired(id)),
        }
    }

    fn definition(&mut self, pipeline: &str) -> i64 {
        let known = self.pipelines.iter().position(|known| known == pipeline);
        let index = known.unwrap_or_else(|| {
            self.pipelines.push(pipeline.to_owned());
            self.pipelines.len() - 1
        });
        i64::try_from(index + 1).unwrap_or(i64::MAX)
    }
}
