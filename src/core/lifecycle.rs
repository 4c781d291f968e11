//! The life of a run, from what is seen of it: one state, and what time alone may make of it. `docs/lifecycle-of-a-run.md`
//! has the same as a table, with who may end a run in which state.
//!
//! A run that was ever seen at work is never ended because a list does not show its agent.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    Agent, Progress, Run, Timeouts,
    memory::{AgentState, Ending, Look},
};

/// After its job request an agent has this long to report and end; a container that goes on is stuck.
const HANGS_AFTER: Duration = Duration::from_secs(300);

/// What goes on beside an ended agent (a sidecar) has this long to notice.
const SIDECAR_GRACE: Duration = Duration::from_secs(30);

/// An agent that has taken its own registration back ends within seconds. One that is watched for so long without a registration
/// hangs.
const FINISHES_WITHIN: Duration = Duration::from_secs(3600);

/// What has gone from the list may have done its job, or the list may be wrong: for so long no other agent is started for it.
const GONE_COUNTS_FOR: Duration = Duration::from_secs(60);

/// How far a run has come in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// A queue of others holds it.
    Queued,
    /// It waits for its files, which we make.
    Held,
    /// No place was found for it.
    Unplaced,
    /// It has a place; its image is pulled, its volumes are mounted.
    Placed,
    /// Its container runs, and its agent was never seen in the list.
    Unregistered,
    /// Its container runs, and its agent is registered and was never seen online.
    ComingOnline,
    /// Its agent was online, and is so no longer.
    Lost,
    /// Its agent is online and free.
    Idle,
    /// The same, and Azure DevOps gives it no request.
    Disabled,
    /// Its agent has a job request.
    Busy,
    /// Its agent has ended a job request and is still registered.
    Done,
    /// Its agent was seen at work, and has taken its registration back.
    Finishing,
    /// Its agent has ended, and the run is about to.
    Ended,
    /// Its agent has ended, and something else of it goes on.
    Sidecar,
}

/// What is to be said of one live run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Life {
    pub(super) state: State,
    /// Why its time is over, if it is.
    pub(super) overdue: Option<Ending>,
    /// When time alone makes it overdue.
    pub(super) due_in: Option<Duration>,
    /// Whether it may still serve a request that waits, though it is not online.
    pub(super) may_serve: bool,
}

/// What the life of a run is read from, besides the run.
#[derive(Clone, Copy)]
pub(super) struct Evidence<'a> {
    pub(super) look: Look<'a>,
    /// Whether the list of agents can be trusted where it leaves one out.
    pub(super) trusts_agents: bool,
    /// Now, by the clock that stamps runs.
    pub(super) host: Timestamp,
    /// Now, by the clock that stamps agents.
    pub(super) azure_devops: Timestamp,
}

impl Evidence<'_> {
    /// Where nobody asks for lives.
    pub(super) fn none() -> Self {
        let (host, azure_devops) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH);
        Self { look: Look { memory: None, moment: Duration::ZERO }, trusts_agents: false, host, azure_devops }
    }

    pub(super) fn state(&self, run: &Run, agent: Option<&Agent>, is_at_work: bool) -> State {
        let has_worked = || run.was_busy || self.look.seen(run).is_some_and(|seen| seen.has_worked);
        match agent {
            _ if is_at_work => State::Busy,
            _ if run.agent_ended_at.is_some() => State::Sidecar,
            Some(agent) if agent.last_finished_at.is_some() => State::Done,
            Some(agent) if agent.online && agent.enabled => State::Idle,
            Some(agent) if agent.online => State::Disabled,
            _ if run.progress == Progress::Ended => State::Ended,
            _ if run.held.is_some() => State::Held,
            None if has_worked() => State::Finishing,
            _ => match run.progress {
                Progress::Queued => State::Queued,
                Progress::Pending => State::Unplaced,
                Progress::Placed => State::Placed,
                Progress::Running | Progress::Ended if agent.is_none() => State::Unregistered,
                Progress::Running | Progress::Ended if has_worked() => State::Lost,
                Progress::Running | Progress::Ended => State::ComingOnline,
            },
        }
    }

    pub(super) fn life(&self, run: &Run, agent: Option<&Agent>, is_at_work: bool, timeouts: &Timeouts) -> Life {
        let state = self.state(run, agent, is_at_work);
        let life = |overdue, due_in, may_serve| Life { state, overdue, due_in, may_serve };
        let after = |age: Duration, limit: Option<Duration>, ending| match limit {
            Some(limit) if age >= limit => (Some(ending), None),
            Some(limit) => (None, Some(limit - age)),
            None => (None, None),
        };
        // A run whose end is agreed on serves nobody from that plan on, and until then nothing is started beside it.
        let unless_ended = |(overdue, due_in): (Option<Ending>, Option<Duration>)| {
            let may_serve = overdue.is_none_or(|ending| !self.look.agrees(run, ending));
            life(overdue, due_in, may_serve)
        };
        let within = |limit, ending| unless_ended(after(self.age_on_host(run), limit, ending));
        let on_host = |limit| within(limit, Ending::NeverCame);
        match state {
            State::Busy | State::Idle | State::Ended => life(None, None, false),
            State::Disabled => life(Some(Ending::TakenBack), None, false),
            State::Queued => on_host(timeouts.queue),
            State::Held => {
                // Its registration may be on its way while it is ended: no other one is started before it is gone.
                let is_given_up = self.age_on_host(run) >= timeouts.start + GONE_COUNTS_FOR;
                Life { may_serve: !is_given_up, ..within(Some(timeouts.start), Ending::NeverReady) }
            }
            State::Unplaced => on_host(Some(timeouts.schedule)),
            State::Placed => on_host(Some(timeouts.pull)),
            State::ComingOnline | State::Lost => {
                unless_ended(after(self.offline_for(run, agent), Some(timeouts.start), Ending::NeverCame))
            }
            State::Unregistered => {
                let limit = timeouts.unregistered();
                let (overdue, due_in) = self.watched(run, limit, Ending::NeverRegistered);
                let is_given_up = self.age_on_host(run) >= limit + GONE_COUNTS_FOR;
                Life { may_serve: !is_given_up, ..unless_ended((overdue, due_in)) }
            }
            State::Finishing => {
                let (overdue, due_in) = self.watched(run, FINISHES_WITHIN, Ending::Hangs);
                let gone_for = self.look.age_of_agent(run, AgentState::Absent, run.created_at, self.host);
                life(overdue, due_in, gone_for < GONE_COUNTS_FOR)
            }
            State::Sidecar => {
                let (overdue, due_in) = after(self.age_on_host(run), Some(SIDECAR_GRACE), Ending::AgentEnded);
                life(overdue, due_in, false)
            }
            State::Done => {
                let at = agent.and_then(|agent| agent.last_finished_at).unwrap_or(self.azure_devops);
                let age = self.look.age_of_agent(run, AgentState::Done, at, self.azure_devops);
                let (overdue, due_in) = after(age, Some(HANGS_AFTER), Ending::Hangs);
                life(overdue, due_in, false)
            }
        }
    }

    /// How long it is where its host sees it. The kubelet's stamps are of another clock than the Job's: they are taken for no
    /// earlier than that, and for no later than now.
    fn age_on_host(&self, run: &Run) -> Duration {
        let stamp = match run.progress {
            _ if run.agent_ended_at.is_some() => run.agent_ended_at,
            Progress::Running => run.runs_since,
            _ => run.progress_since,
        };
        let earliest = run.progress_since.unwrap_or(run.created_at).max(run.created_at);
        let stamp = stamp.unwrap_or(earliest).max(earliest).min(self.host.max(earliest));
        self.look.age_on_host(run, stamp, self.host)
    }

    fn offline_for(&self, run: &Run, agent: Option<&Agent>) -> Duration {
        let began = agent.and_then(|agent| agent.status_changed_at.or(agent.created_at));
        let by_agent = began.map(|at| self.look.age_of_agent(run, AgentState::Offline, at, self.azure_devops));
        // One that is registered in its place is offline before its container runs.
        by_agent.map_or(self.age_on_host(run), |age| age.min(self.age_on_host(run)))
    }

    /// Only looks at lists that can be trusted count, and the time between them as far as they are close.
    fn watched(&self, run: &Run, limit: Duration, ending: Ending) -> (Option<Ending>, Option<Duration>) {
        let watched = self.look.seen(run).map_or(Duration::ZERO, |seen| seen.unregistered_for);
        if watched < limit {
            return (None, Some(limit - watched));
        }
        (self.trusts_agents.then_some(ending), None)
    }
}
