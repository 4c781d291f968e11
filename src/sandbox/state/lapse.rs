//! What happens by itself when time passes: sessions that are not polled, leases that are not renewed, jobs that run
//! too long, canceled jobs that do not stop.

use jiff::Timestamp;

use super::{Agent, JobResult, Phase, Request, Rules, State, after};

impl State {
    /// Does everything that was due until `now`, and sets the alarm for what is due next.
    pub(super) fn lapse(&mut self, now: Timestamp) {
        if self.alarm.is_none_or(|alarm| alarm > now) {
            return;
        }
        self.lapse_sessions(now);
        self.lapse_requests(now);
        let sessions = self
            .pools
            .values()
            .flat_map(|pool| pool.agents.values())
            .filter_map(|agent| offline_at(agent, &self.rules));
        let requests = self.held_requests().filter_map(due).map(|(moment, _)| moment);
        self.alarm = sessions.chain(requests).min();
    }

    fn lapse_sessions(&mut self, now: Timestamp) {
        let mut lapsed = 0;
        for agent in self.pools.values_mut().flat_map(|pool| pool.agents.values_mut()) {
            if let Some(moment) = offline_at(agent, &self.rules).filter(|&moment| moment <= now) {
                agent.online = false;
                agent.status_changed_at = moment;
                lapsed += 1;
            }
        }
        if lapsed > 0 {
            self.online -= lapsed;
            self.changed();
        }
    }

    fn lapse_requests(&mut self, now: Timestamp) {
        // A job that runs too long is canceled, which sets another date; hence the loop.
        loop {
            let over: Vec<(i64, Timestamp, Due)> = self
                .held_requests()
                .filter_map(|request| due(request).map(|(moment, what)| (request.id, moment, what)))
                .filter(|&(_, moment, _)| moment <= now)
                .collect();
            if over.is_empty() {
                return;
            }
            for (id, moment, what) in over {
                match what {
                    Due::Lease => self.end(id, JobResult::Abandoned, Some(stopped_hearing(&self.requests, id)), moment),
                    Due::Cancel => self.end(id, JobResult::Canceled, None, moment),
                    Due::Timeout => self.stop_running(id, moment),
                }
            }
        }
    }
}

/// When an online agent will count as offline unless it polls.
fn offline_at(agent: &Agent, rules: &Rules) -> Option<Timestamp> {
    let session = agent.session.as_ref().filter(|session| agent.online && session.open_polls == 0)?;
    Some(after(session.last_seen, rules.offline_after))
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Lease,
    Cancel,
    Timeout,
}

/// What will happen next to a request with an agent if the agent does nothing.
fn due(request: &Request) -> Option<(Timestamp, Due)> {
    if let Some(moment) = request.cancel_by {
        // Canceled is what it was to be, whether its agent stops it or is gone.
        return Some((request.locked_until.map_or(moment, |lock| lock.min(moment)), Due::Cancel));
    }
    let lease = request.locked_until.map(|moment| (moment, Due::Lease));
    let timeout = match (request.phase(), request.received_at, request.job.timeout) {
        (Phase::Received, Some(received), Some(timeout)) => Some((after(received, timeout), Due::Timeout)),
        _ => None,
    };
    lease.into_iter().chain(timeout).min_by_key(|&(moment, _)| moment)
}

fn stopped_hearing(requests: &std::collections::BTreeMap<i64, Request>, id: i64) -> String {
    let agent = requests.get(&id).and_then(|request| request.agent.as_ref()).map_or("", |agent| agent.name.as_str());
    format!(
        "We stopped hearing from agent {agent}. Verify the agent machine is running and has a healthy network connection."
    )
}
