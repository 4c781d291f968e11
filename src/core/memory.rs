//! What earlier looks have shown. It is kept between looks and is only data: all ages in it are measured by one clock that
//! never jumps, the monotonic one of the process. It is lost with the process, and then rules that need it wait longer.

use std::time::Duration;

use jiff::Timestamp;

use super::{
    Agent, AgentId, Moment, Plan, Policy, PoolSnapshot, Progress, Run, Snapshot,
    placeholder::is_placeholder,
    quick_hash::HashMap,
    roster::{Link, Roster},
};

/// Looks that follow each other within this time are close: what is new in the second one began between them.
const CLOSE: Duration = Duration::from_secs(30);

/// Two looks that agree lie at least so far apart: an answer may be repeated by a cache or a proxy.
pub(super) const AGREE_AFTER: Duration = Duration::from_secs(1);

/// And at most so far. Azure DevOps may be asked as seldom as once an hour.
const AGREE_WITHIN: Duration = Duration::from_secs(2 * 3600);

/// A list that has suddenly shrunk is believed when it stays so for this long.
const SHRUNK_FOR: Duration = Duration::from_secs(15);

/// What is known of all pools from earlier looks.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    pools: HashMap<String, PoolMemory>,
}

/// What is known of one pool.
#[derive(Clone, Debug, Default)]
pub(super) struct PoolMemory {
    looked_at: Option<Moment>,
    /// Live runs by their names.
    runs: HashMap<String, Seen>,
    /// Registrations of ours without a run that a look found left behind.
    left_behind: HashMap<AgentId, Doubt<()>>,
    agents: Size,
    requests: Size,
    of_runs: Size,
    /// Whether an agent of this installation was ever in the list.
    had_ours: bool,
}

/// What earlier looks have shown of one live run.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    /// It is the one that was created then. A later one of that name is another one.
    created_at: Timestamp,
    stage: Entry<Stage>,
    agent: Entry<AgentState>,
    /// Whether its agent was ever seen online, or its host marked it as busy.
    pub(super) has_worked: bool,
    /// For how long it was watched running without a registration.
    pub(super) unregistered_for: Duration,
    doubt: Option<Doubt<Ending>>,
}

/// In what state something is, and since which look.
#[derive(Clone, Copy, Debug)]
struct Entry<T> {
    state: T,
    since: Moment,
    /// Whether a close look before showed another state, so that it began then.
    began: bool,
}

/// How far a run's host has seen it come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Progress(Progress),
    /// Its agent has ended, and something else of it goes on.
    Sidecar,
}

/// What the list of agents says of a run's agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AgentState {
    Absent,
    Offline,
    Online,
    Busy,
    /// It has ended a job request.
    Done,
}

/// Why a run is to be ended, in one word. [`StopReason`](super::StopReason) has the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// Its job request is gone, and it has no place yet.
    NotNeeded,
    /// It is disabled, and no request was assigned to its agent.
    TakenBack,
    /// A step of its start took too long, or its agent was lost.
    NeverCame,
    /// It was held, and its agent could not be registered in its place.
    NeverReady,
    /// Its container runs, and its agent was never registered.
    NeverRegistered,
    /// Its agent has ended, and something else of it goes on.
    AgentEnded,
    /// Its job request has long ended, and it goes on.
    Hangs,
}

/// What has to be found twice before anything follows from it.
#[derive(Clone, Copy, Debug)]
struct Doubt<T> {
    what: T,
    /// The first of the looks that agree.
    since: Moment,
    /// The last one.
    last: Moment,
}

/// What a plan found for the first time, or again: to be ended if the next look agrees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// A run that is to be ended.
    Run {
        /// Its pool.
        pool: String,
        /// Its name.
        name: String,
        /// Why.
        ending: Ending,
    },
    /// A registration that is left behind.
    Registration {
        /// Its pool.
        pool: String,
        /// Its agent.
        agent: AgentId,
    },
}

impl Found {
    /// The pool that has to be looked at again.
    #[must_use]
    pub fn pool(&self) -> &str {
        let (Self::Run { pool, .. } | Self::Registration { pool, .. }) = self;
        pool
    }
}

/// How long a list was.
#[derive(Clone, Copy, Debug, Default)]
struct Size {
    last: usize,
    shrunk_since: Option<Moment>,
}

impl Size {
    /// Whether so many are half of what there was, or less, and that is new.
    fn has_shrunk(self, now: usize, moment: Moment) -> bool {
        let is_new = self.shrunk_since.is_none_or(|since| moment.saturating_sub(since) < SHRUNK_FOR);
        self.last > 0 && now * 2 <= self.last && is_new
    }

    fn remember(&mut self, now: usize, moment: Moment) {
        if self.has_shrunk(now, moment) {
            self.shrunk_since.get_or_insert(moment);
        } else {
            *self = Self { last: now, shrunk_since: None };
        }
    }
}

impl<T: PartialEq + Copy> Doubt<T> {
    /// The same thing found again, or for the first time.
    fn again(known: Option<&Self>, what: T, moment: Moment) -> Self {
        let same = known.filter(|known| known.what == what && known.is_recent(moment));
        Self { what, since: same.map_or(moment, |known| known.since), last: moment }
    }

    fn is_recent(&self, moment: Moment) -> bool {
        moment.saturating_sub(self.last) <= AGREE_WITHIN
    }

    fn agrees(&self, what: T, moment: Moment) -> bool {
        self.what == what && self.is_recent(moment) && moment.saturating_sub(self.since) >= AGREE_AFTER
    }
}

impl<T: PartialEq + Copy> Entry<T> {
    fn again(known: Option<Self>, state: T, is_close: bool, moment: Moment) -> Self {
        match known {
            Some(known) if known.state == state => known,
            _ => Self { state, since: moment, began: is_close },
        }
    }
}

impl Memory {
    /// What is known of a pool by the name that the policy gives it.
    pub(super) fn pool(&self, name: &str) -> Option<&PoolMemory> {
        self.pools.get(name)
    }

    /// Whether something was found in a pool that ends or removes something as soon as another look agrees.
    #[must_use]
    pub fn awaits_another_look(&self, plan: &Plan, pool: &str, looked_at: Moment) -> bool {
        let memory = self.pools.get(pool);
        plan.found.iter().filter(|found| found.pool() == pool).any(|found| {
            let agrees = memory.is_some_and(|memory| match found {
                Found::Run { name, ending, .. } => {
                    let doubt = memory.runs.get(name).and_then(|seen| seen.doubt.as_ref());
                    doubt.is_some_and(|doubt| doubt.agrees(*ending, looked_at))
                }
                Found::Registration { agent, .. } => {
                    memory.left_behind.get(agent).is_some_and(|doubt| doubt.agrees((), looked_at))
                }
            });
            !agrees
        })
    }

    /// Keeps what a look has shown and what was found in it, once the plan is made.
    pub fn remember(&mut self, policy: &Policy, snapshot: &Snapshot, plan: &Plan) {
        self.pools.retain(|name, _| policy.pools.iter().any(|pool| pool.name == *name));
        for observed in &snapshot.pools {
            self.pools.entry(observed.pool.clone()).or_default().remember(
                observed,
                &plan.found,
                policy.installation.id(),
                snapshot.looked_at,
            );
        }
    }
}

impl PoolMemory {
    fn remember(&mut self, observed: &PoolSnapshot, found: &[Found], installation: &str, moment: Moment) {
        let look = Look { memory: Some(&*self), moment };
        let is_close = look.is_close();
        let credible = look.trusts_agents(observed, installation);
        let live: Vec<&Run> = observed.runs.iter().filter(|run| run.is_live()).collect();
        let (roster, links) = Roster::of(observed, &live);
        let gap = self.looked_at.map_or(Duration::ZERO, |last| moment.saturating_sub(last)).min(CLOSE);

        let endings: HashMap<&str, Ending> = found
            .iter()
            .filter_map(|found| match found {
                Found::Run { pool, name, ending } if *pool == observed.pool => Some((name.as_str(), *ending)),
                _ => None,
            })
            .collect();
        let mut runs = HashMap::default();
        for (run, Link { agent, is_at_work }) in live.into_iter().zip(links) {
            let known = self.runs.remove(&run.name).filter(|known| known.created_at == run.created_at);
            let state = match agent {
                Some(agent) if roster.is_taken(agent) => AgentState::Busy,
                None if is_at_work => AgentState::Busy,
                Some(agent) if agent.last_finished_at.is_some() => AgentState::Done,
                Some(agent) if agent.online => AgentState::Online,
                Some(_) => AgentState::Offline,
                None => AgentState::Absent,
            };
            let works = matches!(state, AgentState::Busy | AgentState::Done | AgentState::Online) || run.was_busy;
            let runs_unregistered = state == AgentState::Absent && run.progress == Progress::Running;
            let before = known.as_ref().map_or(Duration::ZERO, |known| known.unregistered_for);
            let unregistered_for = match runs_unregistered {
                _ if observed.agents.is_none() => before,
                // What was absent at both ends was watched between them.
                true if credible && known.as_ref().is_some_and(|known| known.agent.state == state) => before + gap,
                true => before,
                false => Duration::ZERO,
            };
            let ending = endings.get(run.name.as_str());
            let doubt =
                ending.map(|ending| Doubt::again(known.as_ref().and_then(|it| it.doubt.as_ref()), *ending, moment));
            let (stage, of_agent) = (known.as_ref().map(|known| known.stage), known.as_ref().map(|known| known.agent));
            runs.insert(
                run.name.clone(),
                Seen {
                    created_at: run.created_at,
                    stage: Entry::again(stage, Stage::of(run), is_close, moment),
                    agent: Entry::again(of_agent, state, is_close, moment),
                    has_worked: works || known.is_some_and(|known| known.has_worked),
                    unregistered_for,
                    doubt,
                },
            );
        }
        self.runs = runs;
        let left = found.iter().filter_map(|found| match found {
            Found::Registration { pool, agent } if *pool == observed.pool => {
                Some((*agent, Doubt::again(self.left_behind.get(agent), (), moment)))
            }
            _ => None,
        });
        self.left_behind = left.collect();
        if let Some(agents) = &observed.agents {
            self.agents.remember(agents.len(), moment);
            self.had_ours |= agents.iter().any(|agent| agent.installation() == Some(installation));
        }
        self.requests.remember(observed.requests.len(), moment);
        self.of_runs.remember(observed.runs.len(), moment);
        self.looked_at = Some(moment);
    }
}

impl Stage {
    fn of(run: &Run) -> Self {
        if run.agent_ended_at.is_some() { Self::Sidecar } else { Self::Progress(run.progress) }
    }
}

/// One look, beside what earlier ones have shown.
#[derive(Clone, Copy)]
pub(super) struct Look<'a> {
    pub(super) memory: Option<&'a PoolMemory>,
    pub(super) moment: Moment,
}

impl<'a> Look<'a> {
    /// What was seen of the run before.
    pub(super) fn seen(&self, run: &Run) -> Option<&'a Seen> {
        self.memory?.runs.get(&run.name).filter(|seen| seen.created_at == run.created_at)
    }

    fn is_close(&self) -> bool {
        let last = self.memory.and_then(|memory| memory.looked_at);
        last.is_some_and(|last| self.moment.saturating_sub(last) <= CLOSE)
    }

    /// How long its host has seen it where it is. `stamp` is when it came there and `clock` the moment, both by the clock that
    /// stamps it; they count only where we have not seen it come there.
    pub(super) fn age_on_host(&self, run: &Run, stamp: Timestamp, clock: Timestamp) -> Duration {
        self.age(self.seen(run).map(|seen| seen.stage), Stage::of(run), stamp, clock)
    }

    /// The same of what the list of agents says.
    pub(super) fn age_of_agent(&self, run: &Run, state: AgentState, stamp: Timestamp, clock: Timestamp) -> Duration {
        self.age(self.seen(run).map(|seen| seen.agent), state, stamp, clock)
    }

    fn age<T: PartialEq + Copy>(
        &self,
        entry: Option<Entry<T>>,
        state: T,
        stamp: Timestamp,
        clock: Timestamp,
    ) -> Duration {
        let by_stamp = || Duration::try_from(clock.duration_since(stamp)).unwrap_or_default();
        match entry.filter(|entry| entry.state == state) {
            Some(Entry { since, began: true, .. }) => self.moment.saturating_sub(since),
            Some(Entry { since, .. }) => by_stamp().max(self.moment.saturating_sub(since)),
            None if self.is_close() => Duration::ZERO,
            None => by_stamp(),
        }
    }

    /// Whether an earlier look found the same of the run.
    pub(super) fn agrees(&self, run: &Run, ending: Ending) -> bool {
        let doubt = self.seen(run).and_then(|seen| seen.doubt.as_ref());
        doubt.is_some_and(|doubt| doubt.agrees(ending, self.moment))
    }

    /// Whether an earlier look found the registration left behind, too.
    pub(super) fn agrees_on_registration(&self, agent: AgentId) -> bool {
        let doubt = self.memory.and_then(|memory| memory.left_behind.get(&agent));
        doubt.is_some_and(|doubt| doubt.agrees((), self.moment))
    }

    /// Whether the list of agents has shrunk to nothing, or by half or more, while runs are live.
    pub(super) fn agents_have_shrunk(&self, observed: &PoolSnapshot) -> bool {
        let Some((memory, agents)) = self.memory.zip(observed.agents.as_ref()) else { return false };
        memory.agents.has_shrunk(agents.len(), self.moment) && observed.runs.iter().any(Run::is_live)
    }

    /// The same of the requests. That one of them goes is ordinary.
    pub(super) fn requests_have_shrunk(&self, observed: &PoolSnapshot) -> bool {
        let now = observed.requests.len();
        self.memory.is_some_and(|memory| memory.requests.last > now + 1 && memory.requests.has_shrunk(now, self.moment))
    }

    /// The same of our runs.
    pub(super) fn runs_have_shrunk(&self, observed: &PoolSnapshot) -> bool {
        self.memory.is_some_and(|memory| memory.of_runs.has_shrunk(observed.runs.len(), self.moment))
    }

    /// Whether the list of agents can be trusted where it leaves an agent out: it is not empty, has not shrunk, and has one of
    /// ours in it if it ever had.
    pub(super) fn trusts_agents(&self, observed: &PoolSnapshot, installation: &str) -> bool {
        let Some(agents) = &observed.agents else { return false };
        let is_ours = |agent: &Agent| agent.installation() == Some(installation);
        let had_ours = self.memory.is_some_and(|memory| memory.had_ours);
        let has_ours =
            || agents.iter().any(|agent| is_placeholder(agent) && is_ours(agent)) || agents.iter().any(is_ours);
        !agents.is_empty() && !self.agents_have_shrunk(observed) && (!had_ours || has_ours())
    }
}
