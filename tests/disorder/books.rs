//! The books of a schedule: which Jobs there ever were and for what, what became of them, and what must not have
//! happened. Also the fate of each agent, which is drawn here.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};

use kubectl_ado::sandbox::{JobResult, Phase, Request, State};
use serde_json::Value;

use crate::{agent, dice::Dice, history::History, organization::Organization, storm::Storm, story::Schedule};

/// A Job that was made, as its labels say what for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MadeJob {
    pub(crate) pool: String,
    pub(crate) request: String,
    pub(crate) attempt: String,
    pub(crate) name: String,
}

/// What was noted.
#[derive(Clone, Debug, Default)]
struct Notes {
    /// Every Job that was ever made, by its uid.
    made: BTreeMap<String, MadeJob>,
    /// Jobs whose agents ended before they were online.
    died: BTreeSet<String>,
    /// Those of them whose agents could not sign in.
    strangers: BTreeSet<String>,
    /// Jobs whose agents did a job.
    worked: BTreeSet<String>,
    /// Jobs that were deleted before either.
    taken_back: BTreeSet<String>,
    /// Those of them whose job requests still waited.
    needed: BTreeSet<String>,
    /// Jobs that came to be when their job requests had been taken by other agents, or might be.
    overtaken: BTreeSet<String>,
    /// Jobs that came to be when their pool had its most already.
    too_many: BTreeSet<String>,
    wrongs: Vec<String>,
}

impl Notes {
    fn live_in(&self, pool: &str) -> usize {
        let ended = |uid: &String| [&self.died, &self.worked, &self.taken_back].iter().any(|those| those.contains(uid));
        self.made.iter().filter(|(uid, job)| job.pool == pool && !ended(uid)).count()
    }
}

/// What becomes of agents by chance.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Fate {
    /// The chance to die before it is online.
    pub(crate) deaths: f64,
    /// The chance to be evicted.
    pub(crate) evictions: f64,
    /// How many variables of their environment agents tell of.
    pub(crate) variables: usize,
}

/// The books. All who hold them hold the same ones.
#[derive(Clone)]
pub(crate) struct Books {
    organization: Organization,
    storm: Storm,
    /// The chance of an agent to die before it is online, while the storm lasts.
    deaths: f64,
    /// Whether several orchestrators act at once, each on a view of its own.
    rivals: bool,
    /// The most agents in a pool at once, where there is one orchestrator who remembers.
    most: Option<usize>,
    /// How many variables of their environment agents tell of.
    variables: usize,
    /// The chance of an agent to be evicted in the middle of its life.
    evictions: f64,
    history: History,
    notes: Arc<Mutex<Notes>>,
}

impl Books {
    pub(crate) fn new(schedule: &Schedule, organization: Organization, storm: Storm) -> Self {
        let (deaths, rivals) = (schedule.deaths, schedule.orchestrators > 1);
        let remembers = !rivals && !schedule.dies;
        let most = schedule.max_agents.filter(|_| remembers).and_then(|most| usize::try_from(most).ok());
        let history = History::new(storm.weather.clone(), None);
        let (variables, evictions) = (0, 0.0);
        Self { organization, storm, deaths, rivals, most, variables, evictions, history, notes: Arc::default() }
    }

    /// Books of a world in which promises are kept, with the chances of an agent to die early and to be evicted later.
    pub(crate) fn of_world(organization: Organization, storm: Storm, history: History, fate: Fate) -> Self {
        let Fate { deaths, evictions, variables } = fate;
        let (rivals, most, notes) = (false, None, Arc::default());
        Self { organization, storm, deaths, rivals, most, variables, evictions, history, notes }
    }

    pub(crate) fn history(&self) -> &History {
        &self.history
    }

    /// A Job came to be.
    pub(crate) fn made(&self, uid: &str, job: &Value) {
        let metadata = &job["metadata"];
        let label = |name: &str| metadata["labels"][name].as_str().unwrap_or_default().to_owned();
        let made = MadeJob {
            pool: label("kubectl-ado/pool"),
            request: label("kubectl-ado/request"),
            attempt: label("kubectl-ado/attempt"),
            name: metadata["name"].as_str().unwrap_or_default().to_owned(),
        };
        self.storm.log.note(format!("made {made:?}"));
        // By its annotation: a label is shortened.
        let pool = metadata["annotations"]["kubectl-ado/pool"].as_str().unwrap_or(&made.pool);
        let is_assigned = |agent: &str| {
            let holds = |request: &Request| request.agent.as_ref().is_some_and(|holder| holder.name == agent);
            self.organization.see(|state| state.unfinished().any(holds))
        };
        self.history.made(uid, &made.name, pool, made.request.parse().ok(), is_assigned);
        let is_late = self.rivals || self.storm.slow_creates.lock().unwrap().contains(&made.name);
        // Another one was started in its place, be it for this job request or for one whose agent took this one.
        let is_given_up = self.storm.late_creates.lock().unwrap().contains(&made.name);
        let is_taken = self.phase(&made.request).is_some_and(|phase| phase > Phase::Queued);
        let mut notes = self.notes.lock().unwrap();
        if is_given_up || is_late && is_taken {
            notes.overtaken.insert(uid.to_owned());
        }
        if self.most.is_some_and(|most| notes.live_in(&made.pool) >= most) {
            notes.too_many.insert(uid.to_owned());
        }
        notes.made.insert(uid.to_owned(), made);
    }

    /// How far the job request of a Job has come.
    fn phase(&self, request: &str) -> Option<Phase> {
        let id = request.parse().ok()?;
        self.organization.see(|state| state.find_request(id).map(kubectl_ado::sandbox::Request::phase))
    }

    /// A Job is gone.
    pub(crate) fn deleted(&self, uid: &str) {
        let pool = self.history.see(|lives| lives.get(uid).map(|life| life.pool.clone())).unwrap_or_default();
        // In the pool that has the name now: an agent registers itself by the name.
        let number = self.organization.pool_named(&pool);
        let waits = |request: i64| {
            let found = |request: &Request| request.phase() < Phase::Received && Some(request.pool) == number;
            self.organization.see(|state| state.find_request(request).is_some_and(found))
        };
        self.history.gone(uid, waits);
        let mut notes = self.notes.lock().unwrap();
        let Some(MadeJob { name, request, .. }) = notes.made.get(uid).cloned() else { return };
        self.storm.log.note(format!("the Job {name} was deleted"));
        if notes.died.contains(uid) || notes.worked.contains(uid) {
            return;
        }
        if self.organization.see(|state| is_busy(state, &name)) {
            notes.wrongs.push(format!("the Job {name} was deleted while its agent was busy"));
        }
        if self.phase(&request).is_some_and(|phase| phase < Phase::Received) {
            notes.needed.insert(uid.to_owned());
        }
        notes.taken_back.insert(uid.to_owned());
    }

    /// Whether the agent dies before it is online.
    pub(crate) fn dies(&self, uid: &str, dice: &Dice) -> bool {
        let dies = !self.storm.is_over() && dice.chance(self.deaths);
        if dies {
            self.notes.lock().unwrap().died.insert(uid.to_owned());
            self.history.ended(uid, true);
        }
        dies
    }

    /// When the agent is evicted, counted from the moment when its container runs.
    pub(crate) fn evicted_after(&self, dice: &Dice) -> Option<Duration> {
        let is_evicted = self.evictions > 0.0 && !self.storm.is_over() && dice.chance(self.evictions);
        is_evicted.then(|| dice.time(1_000..=60_000))
    }

    /// The pod of a Job was evicted.
    pub(crate) fn evicted(&self, uid: &str) {
        self.storm.log.note(format!("the pod of {uid} is evicted"));
        self.notes.lock().unwrap().died.insert(uid.to_owned());
        self.history.ended(uid, true);
    }

    /// An agent takes a step.
    pub(crate) fn takes(&self, uid: &str, step: agent::Step) {
        match step {
            agent::Step::Online => self.history.online(uid),
            agent::Step::Received => self.history.received(uid),
            agent::Step::Done => self.history.done(uid),
        }
    }

    /// An agent ended because it could not sign in.
    pub(crate) fn cannot_sign_in(&self, uid: &str) {
        let mut notes = self.notes.lock().unwrap();
        let Some(MadeJob { name, .. }) = notes.made.get(uid).cloned() else { return };
        self.storm.log.note(format!("the agent {name} cannot sign in"));
        notes.died.insert(uid.to_owned());
        notes.strangers.insert(uid.to_owned());
        self.history.ended(uid, true);
        // Where several act at once, one who was held up may register the agent anew when another has claimed its Job.
        let is_claimed = self.rivals && self.storm.claimed.lock().unwrap().contains(&name);
        if !is_claimed {
            notes.wrongs.push(format!("the agent {name} cannot sign in"));
        }
    }

    /// How many agents could not sign in.
    pub(crate) fn strangers(&self) -> usize {
        self.notes.lock().unwrap().strangers.len()
    }

    /// An agent has done its job.
    pub(crate) fn worked(&self, uid: &str) {
        self.history.ended(uid, false);
        self.notes.lock().unwrap().worked.insert(uid.to_owned());
    }

    /// How many Jobs there are beyond one for each served job and each agent that died. Those that were taken back do not
    /// count.
    pub(crate) fn surplus(&self) -> usize {
        let served = self.count(was_served);
        let notes = self.notes.lock().unwrap();
        notes.made.len().saturating_sub(notes.taken_back.len() + notes.died.len() + served)
    }

    /// Everything that has to be true in the end; else what is not.
    pub(crate) fn check(&self) -> Result<(), String> {
        let served = self.count(was_served);
        let cancelled = self.count(|request| !was_served(request) && request.result == Some(JobResult::Canceled));
        let all = self.count(|_| true);
        let notes = self.notes.lock().unwrap();
        if !notes.wrongs.is_empty() || all != served + cancelled {
            return Err(format!("{:?}; {} jobs ended otherwise", notes.wrongs, all - served - cancelled));
        }
        // A call that is on its way for long may be given up, and another agent started, before it takes effect.
        if !notes.too_many.is_empty() && self.storm.slow_creates.lock().unwrap().is_empty() {
            return Err(format!("more agents than the most: {:?}", notes.too_many));
        }
        let kept = notes.made.iter().filter(|(uid, _)| !notes.taken_back.contains(*uid));
        let attempts: Vec<_> = kept.map(|(_, job)| (&job.pool, &job.request, &job.attempt)).collect();
        if attempts.iter().collect::<BTreeSet<_>>().len() < attempts.len() {
            return Err(format!("two Jobs for one attempt: {:?}", notes.made));
        }
        let [died, overtaken, needed] = [notes.died.len(), notes.overtaken.len(), notes.needed.len()];
        let (kept, taken_back) = (attempts.len(), notes.taken_back.len());
        let stale_looks = self.storm.stale_looks.load(Ordering::Relaxed);
        // A Job is surplus only where its job request was cancelled, or was served by another agent while the call that
        // made the Job was on its way, or where a rival did not know yet of the Jobs that were there. A Job that is needed
        // is taken back only where Azure DevOps itself showed a view of before its job request was queued.
        let is_explained = self.rivals || taken_back <= cancelled + overtaken + needed;
        if kept == served + died && is_explained && (needed == 0 || stale_looks > 0) {
            return Ok(());
        }
        Err(format!(
            "{kept} Jobs for {served} served and {cancelled} cancelled jobs; {died} agents died, {overtaken} were \
             overtaken; {taken_back} Jobs were taken back, {needed} of them needed, {stale_looks} stale looks"
        ))
    }

    /// Whether there never was a Job more than served jobs and dead agents.
    pub(crate) fn is_exact(&self) -> bool {
        let served = self.count(was_served);
        let notes = self.notes.lock().unwrap();
        notes.made.len() == served + notes.died.len()
    }

    fn count(&self, which: impl Fn(&Request) -> bool) -> usize {
        self.organization.see(|state| state.requests().filter(|request| which(request)).count())
    }

    /// What the agent of a Job is to do, by the environment of its container and the files that it finds.
    pub(crate) fn plan(&self, container: &Value, files: Option<agent::Files>, dice: &Dice) -> agent::Plan {
        let variable = |name| variable(container, name).unwrap_or_default().to_owned();
        agent::Plan {
            files,
            pool: variable("AZP_POOL"),
            name: variable("AZP_AGENT_NAME"),
            installation: variable("KUBECTL_ADO_INSTALLATION"),
            takes_up: dice.time(self.storm.tempo.takes_up.clone()),
            work: dice.time(self.storm.tempo.work.clone()),
            removes_itself: dice.chance(0.7),
            lingers: dice.time(self.storm.tempo.lingers.clone()),
            variables: self.variables,
        }
    }

    pub(crate) fn organization(&self) -> &Organization {
        &self.organization
    }

    pub(crate) fn storm(&self) -> &Storm {
        &self.storm
    }
}

/// A variable of a container's environment.
pub(crate) fn variable<'a>(container: &'a Value, name: &str) -> Option<&'a str> {
    let mut variables = container["env"].as_array().into_iter().flatten();
    variables.find(|variable| variable["name"] == name)?["value"].as_str()
}

/// Whether an agent had the job to its end, be it that it was told then to stop.
fn was_served(request: &Request) -> bool {
    request.received_at.is_some() && matches!(request.result, Some(JobResult::Succeeded | JobResult::Canceled))
}

/// Whether the agent of this name has a job, which nobody may take from it.
fn is_busy(state: &State, agent: &str) -> bool {
    state.unfinished().any(|request| {
        request.phase() == Phase::Received && request.agent.as_ref().is_some_and(|holder| holder.name == agent)
    })
}
