//! What the edges are told to do besides starting agents: taking them back, and tending their registrations.

use std::fmt;

use jiff::Timestamp;

use super::{AgentId, AgentRef, Capabilities, RequestId};

/// A run to be ended. Never one whose agent has a job request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StopRun {
    /// The run's name.
    pub name: String,
    /// Its pool.
    pub pool: String,
    /// Why.
    pub reason: StopReason,
    /// Its agent, where that cannot take its registration back by itself: it goes when the run has ended.
    pub agent: Option<AgentRef>,
}

/// Why a run is ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StopReason {
    /// Its job request is gone, and no place was found for it yet.
    NotNeeded,
    /// It was disabled, because it idled or is outdated, and nothing was assigned to it since.
    TakenBack,
    /// Its agent did not come online in time, or was lost; with the trouble it had.
    NeverCame(Option<String>),
    /// It was held, and its agent could not be registered in its place.
    NeverReady,
    /// Its container runs, and its agent was never registered.
    NeverRegistered,
    /// Its agent has ended, and something else of it goes on.
    AgentEnded,
    /// Its job request has long ended, and it goes on.
    Hangs,
}

/// Something to be done to an agent's registration in a pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentAction {
    /// The pool's name.
    pub pool: String,
    /// What.
    pub change: AgentChange,
}

/// What is done to an agent's registration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentChange {
    /// Azure DevOps gives it no further job request.
    Disable(AgentRef, DisableReason),
    /// Its registration is removed.
    Deregister(AgentRef, DeregisterReason),
    /// A placeholder is registered.
    Register(Placeholder),
    /// A placeholder gets other capabilities.
    Update(AgentId, Placeholder),
}

/// Why an agent is disabled.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DisableReason {
    /// It has received its one job request.
    Received(RequestId),
    /// Nobody has needed it since.
    IdleSince(Timestamp),
    /// Its template, image or version has changed.
    Outdated,
    /// Its pool is served no more, or this installation is being uninstalled.
    Retiring,
}

/// Why a registration is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeregisterReason {
    /// Its run has ended.
    Ended,
    /// It is ours, offline and without a run for so long that nothing of it can be left.
    LeftBehind,
    /// The placeholder of a template that is no more.
    NoTemplate,
    /// A placeholder of a pool that is served no more.
    Retiring,
}

/// An agent that never runs. It stands for what a template offers, because Azure DevOps fails a job at once when no
/// registered agent satisfies it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placeholder {
    /// Its name in the pool.
    pub name: String,
    /// Its template.
    pub template: String,
    /// What it stands for, our own marks included.
    pub capabilities: Capabilities,
}

impl StopReason {
    /// Whether its agent has failed, so that the next attempt waits. One that nobody needed, or that we could not make
    /// ready, says nothing about the next one.
    #[must_use]
    pub fn is_failure(&self) -> bool {
        match self {
            Self::NeverCame(_) | Self::NeverRegistered | Self::AgentEnded | Self::Hangs => true,
            Self::NotNeeded | Self::TakenBack | Self::NeverReady => false,
        }
    }

    /// One word for metrics.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::NotNeeded => "not_needed",
            Self::TakenBack => "taken_back",
            Self::NeverCame(_) => "never_came",
            Self::NeverReady => "never_ready",
            Self::NeverRegistered => "never_registered",
            Self::AgentEnded => "agent_ended",
            Self::Hangs => "hangs",
        }
    }
}

impl fmt::Display for StopReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotNeeded => f.write_str("its job request is gone and no place was found for it yet"),
            Self::TakenBack => f.write_str("nobody needs it"),
            Self::NeverCame(None) => f.write_str("its agent did not come online in time"),
            Self::NeverCame(Some(trouble)) => write!(f, "its agent did not come online in time: {trouble}"),
            Self::NeverReady => f.write_str("its agent could not be registered in time"),
            Self::NeverRegistered => f.write_str("its container runs and its agent was never registered"),
            Self::AgentEnded => f.write_str("its agent has ended and something else of it goes on"),
            Self::Hangs => f.write_str("its job request has long ended and it goes on"),
        }
    }
}

impl fmt::Display for DisableReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Received(id) => write!(f, "it has received job request {id}"),
            Self::IdleSince(since) => write!(f, "it idles since {since:.0}"),
            Self::Outdated => f.write_str("its template has changed"),
            Self::Retiring => f.write_str("its pool is served no more"),
        }
    }
}

impl fmt::Display for DeregisterReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ended => "its run has ended",
            Self::LeftBehind => "it was left behind",
            Self::NoTemplate => "its agent template is no more",
            Self::Retiring => "its pool is served no more",
        })
    }
}
