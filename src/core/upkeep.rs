//! What has to be done to agents that exist: fencing the busy, taking back the needless, clearing away the dead.
//!
//! No rule here ever ends a run whose agent has a job request. An idle one is disabled first; only when later looks
//! find it disabled and still without a request is it ended, since Azure DevOps gives a disabled agent none. Whatever is ended,
//! two looks agree on it ([`Look::agrees`](super::memory::Look::agrees)).

use std::{cell::OnceCell, time::Duration};

use jiff::Timestamp;

use super::{
    Agent, AgentAction, AgentChange, AgentId, AgentRef, DeregisterReason, DisableReason, EquipRun, Held, Installation,
    JobRequest, Progress, Purpose, Recipe, RequestId, Run, Stage, StopReason, StopRun,
    lifecycle::{Evidence, Life, State},
    memory::{AGREE_AFTER, Ending, Found},
    placeholder::is_placeholder,
    quick_hash::{HashMap, HashSet},
    sight::{KnownRun, Sight},
};

/// Whoever makes a run ready has this long for it: longer than all the calls that it takes.
const HOLDS_FOR: Duration = Duration::from_secs(60);

/// A registration that is made in an agent's place is made after its run, so without one it is left behind when the looks at runs
/// and at agents cannot have crossed it, whatever the difference between two clocks.
const SWEEP_OURS_AFTER: Duration = Duration::from_secs(120);

/// A registration of ours without a run is left behind when it is this old. Longer than any start takes.
const SWEEP_AFTER: Duration = Duration::from_secs(900);

/// Runs to end, and changes to registrations.
#[derive(Default)]
pub(super) struct Upkeep {
    pub(super) equips: Vec<EquipRun>,
    pub(super) stops: Vec<StopRun>,
    pub(super) agents: Vec<AgentAction>,
    /// What another look has to find again.
    pub(super) found: Vec<Found>,
    /// When time alone makes the next thing due.
    pub(super) wake_at: Option<Timestamp>,
}

/// How long things may take.
#[derive(Clone, Copy)]
pub(super) struct Patience<'a> {
    pub(super) idle: Duration,
    /// Whatever is not at work has to go.
    pub(super) retire: bool,
    /// This process, as held runs name it.
    pub(super) identity: &'a str,
    /// Whether whoever held a run before us is known to have stopped.
    pub(super) elected: bool,
}

/// Which lists have shrunk so suddenly that nothing follows from what they leave out.
#[derive(Clone, Copy, Default)]
pub(super) struct Doubts {
    pub(super) agents: bool,
    pub(super) requests: bool,
    pub(super) runs: bool,
}

/// What has to be done in one pool. `spare` holds, for each template, how many agents more there are than anybody
/// needs; it is used up by those that are taken back.
pub(super) fn upkeep(
    sight: &Sight<'_>,
    spare: &mut [u32],
    patience: Patience<'_>,
    doubts: Doubts,
    now: Timestamp,
) -> Upkeep {
    let mut upkeep = Upkeep::default();
    let mut live: Vec<&KnownRun<'_>> = sight.live().collect();
    // Of several needless ones, those go first that came last: they have cost the least.
    if spare.iter().any(|spare| *spare > 0) {
        live.sort_by_key(|known| std::cmp::Reverse((known.run.created_at, known.run.name.as_str())));
    }
    let waiting = OnceCell::new();
    let mut received = HashMap::default();
    for request in sight.requests {
        match &request.stage {
            Stage::Running(Some(agent)) => {
                received.insert(agent.id, request.id);
            }
            Stage::Waiting | Stage::Assigned(_) | Stage::Running(None) | Stage::Finished => {}
        }
    }
    let mut doubtful = vec![0; spare.len()];
    for known in live.iter().filter(|known| may_have_gone(sight, known)) {
        known.template.into_iter().for_each(|template| doubtful[template] += 1);
    }
    for known in live {
        let (waiting, received, doubtful, run) = (&waiting, &received, &*doubtful, known.run);
        let keeper = Keeper { sight, waiting, received, doubtful, patience, doubts, now, known, run };
        keeper.tend(&mut upkeep, spare);
    }
    upkeep
}

/// Whether its agent may have done its job and be gone, before its host has told: one that registers itself may as well be about
/// to, and of one that is registered in its place nothing else is left to think. It counts as supply, so that no agent is
/// started in vain, and no other one is ended for it.
fn may_have_gone(sight: &Sight<'_>, known: &KnownRun<'_>) -> bool {
    let KnownRun { run, agent, .. } = known;
    let has_begun = run.progress == Progress::Running || run.recipe == Recipe::JustInTime && run.held.is_none();
    agent.is_none() && has_begun && !run.agent_has_ended() && !sight.is_at_work(known)
}

/// The rules for one live run.
struct Keeper<'a> {
    sight: &'a Sight<'a>,
    /// Requests that no agent has received, once somebody asks.
    waiting: &'a OnceCell<HashSet<RequestId>>,
    /// Which request an agent has received.
    received: &'a HashMap<AgentId, RequestId>,
    /// For each template how many of its agents may have gone.
    doubtful: &'a [u32],
    patience: Patience<'a>,
    doubts: Doubts,
    now: Timestamp,
    known: &'a KnownRun<'a>,
    run: &'a Run,
}

impl Keeper<'_> {
    fn tend(&self, upkeep: &mut Upkeep, spare: &mut [u32]) {
        let stops = upkeep.stops.len();
        self.judge(upkeep, spare);
        // What is ended is not made ready as well.
        if let Some(held) = self.run.held.as_ref().filter(|_| upkeep.stops.len() == stops) {
            self.equip(held, upkeep);
        }
    }

    fn judge(&self, upkeep: &mut Upkeep, spare: &mut [u32]) {
        let KnownRun { template, agent, is_unseen_at_work, .. } = *self.known;
        if let Some(agent) = agent.filter(|agent| self.sight.roster.is_taken(agent)) {
            self.fence(agent, upkeep);
            return;
        }
        if is_unseen_at_work {
            return;
        }
        let life = self.sight.life(self.known);
        match (life.state, agent) {
            (State::Busy | State::Ended, _) => {}
            (State::Idle, Some(agent)) => self.take_back(agent, template, upkeep, spare),
            (State::Done, Some(agent)) if agent.online && agent.enabled => {
                self.wake_in(life.due_in, upkeep);
                if life.overdue.is_some() {
                    // Its request was cancelled before it was fenced; it may be given another one at any moment.
                    let finished_at = agent.last_finished_at.unwrap_or(self.run.created_at);
                    self.disable(agent, DisableReason::IdleSince(finished_at), upkeep);
                }
            }
            (State::Sidecar | State::Done | State::Disabled, _) => self.end_if_overdue(life, upkeep),
            _ => self.starting(life, agent, template, upkeep, spare),
        }
    }

    /// Whoever made it goes on with it. Another one does when that process is known to have stopped, or has had its time.
    fn equip(&self, held: &Held, upkeep: &mut Upkeep) {
        let Patience { identity, elected, retire, .. } = self.patience;
        // An agent that is online has its files; only the mark was left. Of a template that is no more, none is wanted.
        let has_files = self.known.agent.is_some_and(|agent| agent.online);
        if retire
            || has_files
            || self.known.template.is_none()
            || !(held.by == identity || elected || self.is_due(held.since + HOLDS_FOR, upkeep))
        {
            return;
        }
        let Run { name, template, .. } = self.run;
        let (name, pool, template) = (name.clone(), self.sight.policy.name.clone(), template.clone());
        upkeep.equips.push(EquipRun { name, pool, template, held: held.clone() });
    }

    /// A second job must not land on an agent that is about to end.
    fn fence(&self, agent: &Agent, upkeep: &mut Upkeep) {
        if let Some(request) = self.received.get(&agent.id).filter(|_| agent.enabled) {
            self.disable(agent, DisableReason::Received(*request), upkeep);
        }
    }

    fn take_back(&self, agent: &Agent, template: Option<usize>, upkeep: &mut Upkeep, spare: &mut [u32]) {
        if self.patience.retire {
            self.disable(agent, DisableReason::Retiring, upkeep);
            return;
        }
        let current = template.map(|index| &self.sight.policy.templates[index].revision);
        if current != Some(&self.run.revision) {
            self.disable(agent, DisableReason::Outdated, upkeep);
            return;
        }
        let Some(spare) = template.map(|index| &mut spare[index]).filter(|spare| **spare > 0) else { return };
        *spare -= 1;
        let since = agent.status_changed_at.or(agent.created_at).unwrap_or(self.sight.evidence.azure_devops);
        let idles_for = self.sight.evidence.azure_devops.duration_since(since);
        let left = jiff::SignedDuration::try_from(self.patience.idle).unwrap_or(jiff::SignedDuration::MAX) - idles_for;
        let left = Duration::try_from(left).ok().filter(|left| !left.is_zero());
        self.wake_in(left, upkeep);
        if left.is_none() {
            self.disable(agent, DisableReason::IdleSince(since), upkeep);
        }
    }

    fn starting(
        &self,
        life: Life,
        agent: Option<&Agent>,
        template: Option<usize>,
        upkeep: &mut Upkeep,
        spare: &mut [u32],
    ) {
        if life.overdue.is_some() {
            self.end_if_overdue(life, upkeep);
            return;
        }
        self.wake_in(life.due_in, upkeep);
        let outdated = template.is_none_or(|index| self.sight.policy.templates[index].revision != self.run.revision);
        let is_spare = |spare: u32| template.is_some_and(|index| spare > self.doubtful[index]);
        let gone = |spare| {
            let is_for_nobody = || matches!(self.run.purpose, Purpose::Request(id) if !self.waits(id));
            self.patience.retire || is_spare(spare) && is_for_nobody()
        };
        // The registration of a just-in-time agent comes before its place.
        let registered = agent.is_some() && self.run.recipe != Recipe::JustInTime;
        let unplaced = !registered && matches!(life.state, State::Queued | State::Held | State::Unplaced);
        if let Some(spare) = template.map(|index| &mut spare[index]).filter(|spare| **spare > 0)
            && unplaced
            && (outdated || gone(*spare))
        {
            *spare -= 1;
            // A request that is left out of a list may wait all the same.
            if !self.doubts.requests {
                self.end(Ending::NotNeeded, life.state, upkeep);
            }
        }
    }

    fn waits(&self, id: RequestId) -> bool {
        let waits = |request: &&JobRequest| matches!(request.stage, Stage::Waiting | Stage::Assigned(_));
        let all = || self.sight.requests.iter().filter(waits).map(|request| request.id).collect();
        self.waiting.get_or_init(all).contains(&id)
    }

    fn is_due(&self, moment: Timestamp, upkeep: &mut Upkeep) -> bool {
        if self.now < moment {
            upkeep.wake_at = Some(upkeep.wake_at.map_or(moment, |earlier| earlier.min(moment)));
        }
        self.now >= moment
    }

    fn wake_in(&self, left: Option<Duration>, upkeep: &mut Upkeep) {
        if let Some(moment) = left.and_then(|left| self.now.checked_add(left).ok()) {
            upkeep.wake_at = Some(upkeep.wake_at.map_or(moment, |earlier| earlier.min(moment)));
        }
    }

    fn end_if_overdue(&self, life: Life, upkeep: &mut Upkeep) {
        self.wake_in(life.due_in, upkeep);
        if let Some(ending) = life.overdue {
            self.end(ending, life.state, upkeep);
        }
    }

    /// Ends the run if an earlier look found the same, and none has reason to doubt this one.
    fn end(&self, ending: Ending, state: State, upkeep: &mut Upkeep) {
        if self.doubts.agents {
            return;
        }
        let (name, pool) = (self.run.name.clone(), self.sight.policy.name.clone());
        upkeep.found.push(Found::Run { pool: pool.clone(), name: name.clone(), ending });
        if !self.sight.evidence.look.agrees(self.run, ending) {
            self.wake_in(Some(AGREE_AFTER), upkeep);
            return;
        }
        // An agent that has the organization's token takes itself back.
        let agent = self.known.agent.filter(|_| self.run.recipe != Recipe::Token).map(reference);
        upkeep.stops.push(StopRun { name, pool, reason: self.reason(ending, state), agent });
    }

    fn reason(&self, ending: Ending, state: State) -> StopReason {
        let trouble = || self.run.trouble.as_ref().map(|trouble| trouble.message.clone());
        let step = match state {
            State::Queued => Some("a queue of the cluster held it"),
            State::Unplaced => Some("no place was found for it"),
            State::Placed => Some("its container did not start: the image was still pulled, or a volume mounted"),
            _ => None,
        };
        match ending {
            Ending::NotNeeded => StopReason::NotNeeded,
            Ending::TakenBack => StopReason::TakenBack,
            Ending::NeverCame => StopReason::NeverCame(trouble().or(step.map(str::to_owned))),
            Ending::NeverReady => StopReason::NeverReady,
            Ending::NeverRegistered => StopReason::NeverRegistered,
            Ending::AgentEnded => StopReason::AgentEnded,
            Ending::Hangs => StopReason::Hangs,
        }
    }

    fn disable(&self, agent: &Agent, reason: DisableReason, upkeep: &mut Upkeep) {
        let change = AgentChange::Disable(reference(agent), reason);
        upkeep.agents.push(AgentAction { pool: self.sight.policy.name.clone(), change });
    }
}

/// Registrations that are ours and have nothing behind them. Others' are never touched, nor are those that Azure DevOps
/// still believes busy.
pub(super) fn registrations(
    sight: &Sight<'_>,
    installation: &Installation,
    retire: bool,
    doubts: Doubts,
) -> (Vec<AgentAction>, Vec<Found>) {
    let (mut actions, mut found) = (Vec::new(), Vec::new());
    if doubts.agents {
        return (actions, found);
    }
    let Evidence { azure_devops, look, .. } = sight.evidence;
    for (agent, run) in sight.roster.agents_and_runs() {
        let ours = || agent.installation() == Some(installation.id());
        let after = if agent.is_registered_in_its_place() { SWEEP_OURS_AFTER } else { SWEEP_AFTER };
        let old = || retire || agent.created_at.is_some_and(|created_at| azure_devops >= created_at + after);
        let reason = match run {
            Some(run) if run.is_live() => continue,
            Some(_) => DeregisterReason::Ended,
            // One that we registered has a run for as long as it may live; without one, whoever is online there has taken
            // its key somewhere else.
            None if (!agent.online || agent.is_registered_in_its_place()) && old() && ours() => {
                DeregisterReason::LeftBehind
            }
            None => continue,
        };
        if is_placeholder(agent) || sight.roster.is_taken(agent) {
            continue;
        }
        if reason == DeregisterReason::LeftBehind {
            // The list of runs may have left out the one that it belongs to.
            if doubts.runs {
                continue;
            }
            found.push(Found::Registration { pool: sight.policy.name.clone(), agent: agent.id });
            if !look.agrees_on_registration(agent.id) {
                continue;
            }
        }
        let change = AgentChange::Deregister(reference(agent), reason);
        actions.push(AgentAction { pool: sight.policy.name.clone(), change });
    }
    (actions, found)
}

fn reference(agent: &Agent) -> AgentRef {
    AgentRef { id: agent.id, name: agent.name.clone() }
}
