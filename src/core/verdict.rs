//! Why a job request is still waiting, one verdict each. Logs and commands read these and nothing else.

use std::fmt;

use jiff::Timestamp;

use super::{Trouble, TroubleKind};

/// What is being done about a waiting job request, or what stands in the way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// An agent is reserved for it and about to take it.
    Assigned {
        /// The agent's name.
        agent: String,
    },
    /// An idle or starting agent is free for it.
    Covered,
    /// A new agent is started for it.
    Starting {
        /// The run's name.
        run: String,
        /// Its agent template.
        template: String,
    },
    /// An agent was started for it, and a queue of the cluster holds it.
    HeldByQueue {
        /// The run's name.
        run: String,
    },
    /// Only a certain agent can serve it; that is not ours to start.
    Pinned,
    /// No agent template of the pool satisfies one of its demands.
    NoTemplate {
        /// The demand that the last template fails.
        demand: String,
    },
    /// A limit of ours is reached.
    AtMaximum {
        /// Which one.
        scope: LimitScope,
        /// How many it allows.
        limit: u32,
        /// The agent template that the request would get an agent of.
        template: String,
    },
    /// Somebody wants no agents started in its pool.
    Paused {
        /// Why, in the words of whoever did it.
        reason: Option<String>,
        /// When that ends by itself.
        until: Option<Timestamp>,
    },
    /// This installation is being uninstalled.
    Retiring,
    /// The configuration has its pool no more.
    PoolRemoved,
    /// It is not known yet whether agents of its template can be registered just in time, and none gets a token meanwhile.
    RegistrationPending {
        /// The agent template.
        template: String,
        /// Why that is not known.
        reason: String,
    },
    /// The organization's parallel jobs are used up, so that another agent would only idle.
    ParallelJobs {
        /// Their tag, `Private` or `Public`.
        tag: String,
        /// How many the organization has.
        total: u32,
    },
    /// An agent that was started for it, or for another one, has trouble that more of them would only share.
    Trouble {
        /// The run that has it.
        run: String,
        /// Which.
        trouble: Trouble,
    },
    /// The image of its agent template has yet to be seen working, and is being tried by a few agents.
    TryingOut {
        /// By how many at once.
        limit: u32,
        /// Their agent template.
        template: String,
    },
    /// The last agents of its template failed one after the other; the next try waits.
    TemplateFails {
        /// The agent template.
        template: String,
        /// Until when.
        until: Timestamp,
        /// How many failed.
        failures: u32,
        /// Why the last one failed.
        reason: String,
    },
    /// Its last agent failed; the next try waits.
    BackingOff {
        /// Until when.
        until: Timestamp,
        /// The next attempt's number.
        attempt: u32,
        /// Why the last one failed.
        reason: String,
    },
}

impl Verdict {
    /// Whether agents that were started are what stands in the way.
    #[must_use]
    pub fn is_trouble_of_agents(&self) -> bool {
        matches!(self, Self::Trouble { .. } | Self::TemplateFails { .. } | Self::BackingOff { .. })
    }
}

/// What a maximum applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitScope {
    /// One agent template.
    Template,
    /// One pool.
    Pool,
    /// All pools of this installation.
    Installation,
}

impl fmt::Display for LimitScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Template => "agent template",
            Self::Pool => "pool",
            Self::Installation => "installation",
        })
    }
}

impl fmt::Display for TroubleKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Image => "the image cannot be pulled",
            Self::Unschedulable => "no node takes the agent",
            Self::Quota => "a quota is used up",
            Self::Refused => "the agent's pod is refused",
            Self::Volume => "a volume of the agent cannot be mounted",
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Assigned { agent } => write!(f, "assigned to agent {agent}"),
            Self::Covered => f.write_str("an agent is free for it or starting"),
            Self::Starting { run, template } => write!(f, "starting agent {run} from template {template}"),
            Self::HeldByQueue { run } => {
                write!(f, "the agent that was started for it ({run}) is suspended: a queue of the cluster holds it")
            }
            Self::Pinned => f.write_str("only one certain agent can serve it"),
            Self::NoTemplate { demand } => write!(f, "no agent template satisfies the demand \"{demand}\""),
            Self::AtMaximum { scope, limit, .. } => write!(f, "at the maximum of {limit} agents of the {scope}"),
            Self::Paused { reason, until } => {
                f.write_str("the pool is paused")?;
                if let Some(until) = until {
                    write!(f, " until {until:.0}")?;
                }
                reason.as_ref().map_or(Ok(()), |reason| write!(f, ": {reason}"))
            }
            Self::Retiring => f.write_str("kubectl-ado is being uninstalled and starts no more agents"),
            Self::PoolRemoved => {
                f.write_str("the configuration does not have the pool any more, so no agents are started in it")
            }
            Self::RegistrationPending { template, reason } => {
                write!(f, "agents of template {template} wait until it is known how to register them: {reason}")
            }
            Self::ParallelJobs { tag, total } => {
                write!(f, "all {total} parallel jobs ({tag}) of the organization are in use")
            }
            Self::Trouble { run, trouble } => write!(f, "{} ({run}): {}", trouble.kind, trouble.message),
            Self::TryingOut { limit, template } => {
                write!(f, "template {template} is being tried out by {limit} agents before more are started")
            }
            Self::TemplateFails { template, until, failures, reason } => {
                write!(
                    f,
                    "{failures} agents of template {template} failed ({reason}); the next one waits until {until:.0}"
                )
            }
            Self::BackingOff { until, attempt, reason } => {
                write!(f, "attempt {attempt} waits until {until:.0}: the last agent failed ({reason})")
            }
        }
    }
}
