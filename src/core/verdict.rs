//! Why a job request is still waiting, one verdict each. Logs and commands read these and nothing else.

use std::fmt;

use jiff::Timestamp;

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
    },
    /// The organization's parallel jobs are used up, so that another agent would only idle.
    ParallelJobs {
        /// Their tag, `Private` or `Public`.
        tag: String,
        /// How many the organization has.
        total: u32,
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

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Assigned { agent } => write!(f, "assigned to agent {agent}"),
            Self::Covered => f.write_str("an agent is free for it or starting"),
            Self::Starting { run, template } => write!(f, "starting agent {run} from template {template}"),
            Self::Pinned => f.write_str("only one certain agent can serve it"),
            Self::NoTemplate { demand } => write!(f, "no agent template satisfies the demand \"{demand}\""),
            Self::AtMaximum { scope, limit } => write!(f, "at the maximum of {limit} agents of the {scope}"),
            Self::ParallelJobs { tag, total } => {
                write!(f, "all {total} parallel jobs ({tag}) of the organization are in use")
            }
            Self::BackingOff { until, attempt, reason } => {
                write!(f, "attempt {attempt} waits until {until:.0}: the last agent failed ({reason})")
            }
        }
    }
}
