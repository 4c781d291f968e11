//! What is wanted: limits, templates and times, as the configuration says them.

use std::time::Duration;

use jiff::Timestamp;

use super::{Capabilities, DEFAULT_PREFIX, Demand, Installation, Pause, Recipe, Schedule};

/// Everything that decides how many agents there should be.
#[derive(Clone, Debug)]
pub struct Policy {
    /// Who we are.
    pub installation: Installation,
    /// The organization's URL, a part of every run's name.
    pub organization: String,
    /// The most live runs over all pools.
    pub max_agents: Option<u32>,
    /// How long the runs of templates that are no more may take to start.
    pub timeouts: Timeouts,
    /// How long an agent that nobody needs may idle.
    pub idle_timeout: Duration,
    /// The pools we serve.
    pub pools: Vec<PoolPolicy>,
    /// This process, as the runs that it makes ready name it; empty where it makes none.
    pub identity: String,
    /// Set before an uninstall: nothing is started, idle agents are taken back, placeholders and registrations go.
    pub retire: bool,
}

/// How one pool is served.
#[derive(Clone, Debug)]
pub struct PoolPolicy {
    /// The pool's name.
    pub name: String,
    /// The most live runs in it.
    pub max_agents: Option<u32>,
    /// Its agent templates; a job request gets the first one that satisfies it. Never empty.
    pub templates: Vec<AgentTemplate>,
    /// Set while somebody wants no agents started in it.
    pub paused: Option<Pause>,
    /// Set when the configuration has it no more: nothing is started, and what is left of ours is taken back.
    pub removed: bool,
}

impl PoolPolicy {
    /// A pool that the configuration does not have, and of which no more is known than its name.
    #[must_use]
    pub fn left_over(name: &str, timeouts: Timeouts) -> Self {
        let template = AgentTemplate {
            name: "default".to_owned(),
            name_prefix: DEFAULT_PREFIX.to_owned(),
            revision: String::new(),
            recipe: Recipe::default(),
            recipe_reason: None,
            registration_pending: None,
            capabilities: None,
            ignore_demands: Vec::new(),
            scale: Scale::default(),
            schedules: Vec::new(),
            timeouts,
        };
        Self { name: name.to_owned(), max_agents: None, templates: vec![template], paused: None, removed: true }
    }

    /// The same pool after it was removed from the configuration.
    #[must_use]
    pub fn without_agents(mut self) -> Self {
        self.removed = true;
        self.paused = None;
        for template in &mut self.templates {
            template.scale = Scale::default();
            template.schedules.clear();
            template.registration_pending = None;
        }
        self
    }

    /// The pause that holds at a moment.
    #[must_use]
    pub fn pause_at(&self, now: Timestamp) -> Option<&Pause> {
        self.paused.as_ref().filter(|pause| pause.holds(now))
    }

    /// When time alone will change what is wanted: a pause ends, a schedule opens or closes.
    #[must_use]
    pub fn next_change(&self, now: Timestamp) -> Option<Timestamp> {
        let schedules = self.templates.iter().flat_map(|template| &template.schedules);
        let edges = schedules.filter_map(|schedule| schedule.next_edge(now));
        edges.chain(self.pause_at(now).and_then(|pause| pause.until)).min()
    }
}

/// One kind of agent.
#[derive(Clone, Debug)]
pub struct AgentTemplate {
    /// Its name, unique within the pool.
    pub name: String,
    /// The prefix of its runs' names.
    pub name_prefix: String,
    /// A fingerprint of all that its agents are made from.
    pub revision: String,
    /// How its agents get the right to work, as far as that is known by now.
    pub recipe: Recipe,
    /// Why they get it in no safer way.
    pub recipe_reason: Option<String>,
    /// Set while that is not known yet: no agent is started meanwhile, and this is why.
    pub registration_pending: Option<String>,
    /// What its agents are declared to offer; `None` accepts every job request.
    pub capabilities: Option<Capabilities>,
    /// Names of demands that do not count.
    pub ignore_demands: Vec<String>,
    /// How many there should be when no schedule says otherwise.
    pub scale: Scale,
    /// When there should be other numbers; the first one that covers the moment counts.
    pub schedules: Vec<Schedule>,
    /// How long its runs may take to start.
    pub timeouts: Timeouts,
}

/// How long a run may take to start, one time for each step. A step that takes longer ends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// Until its agent is online, once its container runs.
    pub start: Duration,
    /// Until its container runs, once a place was found: the image is pulled, volumes are mounted.
    pub pull: Duration,
    /// Until a place is found, once no queue holds it.
    pub schedule: Duration,
    /// While a queue of others holds it; `None` is for ever.
    pub queue: Option<Duration>,
}

impl Timeouts {
    /// The time to start where nothing is said.
    pub const START: Duration = Duration::from_mins(5);

    /// The time to pull an image, and to find a place, where nothing is said.
    pub const PREPARE: Duration = Duration::from_mins(15);

    /// Where only the time to start is said, no other step has less of it.
    #[must_use]
    pub fn of_start(start: Duration) -> Self {
        Self { start, pull: start.max(Self::PREPARE), schedule: start.max(Self::PREPARE), queue: None }
    }

    /// How long a container may run whose agent is in no list. A list may be wrong, and the agent at work: this takes longer than
    /// what shows in a list.
    #[must_use]
    pub fn unregistered(&self) -> Duration {
        self.start + self.start.max(Duration::from_mins(1))
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self::of_start(Self::START)
    }
}

/// How many agents of a template there should be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scale {
    /// Agents kept alive, busy or idle.
    pub min: u32,
    /// Idle agents kept ready.
    pub idle: u32,
    /// The most agents; `None` is no maximum.
    pub max: Option<u32>,
}

/// How long ended runs stay to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// One that ended well.
    pub finished: Duration,
    /// One that ended badly.
    pub failed: Duration,
}

impl AgentTemplate {
    /// The numbers that hold at a moment.
    #[must_use]
    pub fn scale_at(&self, now: Timestamp) -> Scale {
        let schedule = self.schedules.iter().find(|schedule| schedule.covers(now));
        schedule.map_or(self.scale, |schedule| schedule.over(self.scale))
    }

    /// The first demand that keeps its agents from serving the request.
    #[must_use]
    pub fn unmet<'a>(&self, demands: &'a [Demand]) -> Option<&'a Demand> {
        let declared = self.capabilities.as_ref()?;
        demands.iter().find(|demand| !self.ignores(demand) && !declared.will_satisfy(demand))
    }

    /// Whether the demand is one that does not count.
    #[must_use]
    pub fn ignores(&self, demand: &Demand) -> bool {
        self.ignore_demands.iter().any(|name| name.eq_ignore_ascii_case(&demand.name))
    }
}
