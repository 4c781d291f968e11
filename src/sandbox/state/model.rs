//! What the organization holds: pools, agents with their sessions, job requests.

use std::collections::{BTreeMap, HashMap, VecDeque};

use jiff::Timestamp;

use super::{Authorization, JobSpec, PoolKind, SessionKey};
use crate::core::{Capabilities, Demand};

/// An agent pool.
#[derive(Clone, Debug)]
pub struct Pool {
    /// Its number.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: PoolKind,
    /// When it was made.
    pub created_at: Timestamp,
    pub(super) agents: BTreeMap<i64, Agent>,
    /// The agents' numbers by their names in lower case.
    pub(super) names: HashMap<String, i64>,
    pub(super) last_agent: i64,
    /// The numbers of its requests that ended before anybody looked.
    pub(super) old_requests: std::ops::Range<i64>,
}

impl Pool {
    /// Its registered agents.
    pub fn agents(&self) -> impl Iterator<Item = &Agent> {
        self.agents.values()
    }

    /// How many agents are registered.
    #[must_use]
    pub fn size(&self) -> usize {
        self.agents.len()
    }
}

/// A registered agent.
#[derive(Clone, Debug)]
pub struct Agent {
    /// Its number in the pool.
    pub id: i64,
    /// Its name in the pool.
    pub name: String,
    /// The version of its software.
    pub version: String,
    /// Its operating system, in words.
    pub os_description: String,
    /// Whether it may be given job requests.
    pub enabled: bool,
    /// Whether it holds a session and has polled lately.
    pub online: bool,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it last went online or offline.
    pub status_changed_at: Timestamp,
    /// What its machine offers.
    pub system_capabilities: BTreeMap<String, String>,
    /// What its owner says it offers besides.
    pub user_capabilities: BTreeMap<String, String>,
    /// How it signs in, if it was registered with a key.
    pub authorization: Option<Authorization>,
    /// The request it has been given and not finished.
    pub assigned: Option<i64>,
    /// The request it finished last.
    pub last_completed: Option<i64>,
    pub(super) session: Option<Session>,
    pub(super) offers: Capabilities,
}

impl Agent {
    /// Whether its capabilities satisfy all the demands.
    #[must_use]
    pub fn satisfies(&self, demands: &[Demand]) -> bool {
        demands.iter().all(|demand| self.offers.satisfy(demand))
    }

    pub(super) fn is_ready(&self) -> bool {
        self.online
            && self.enabled
            && self.assigned.is_none()
            && self.session.as_ref().is_some_and(|session| !session.closing)
    }

    /// Capabilities of both kinds count; where both have a name, the owner's word is preferred.
    pub(super) fn refresh_offers(&mut self) {
        self.offers = self.system_capabilities.iter().chain(&self.user_capabilities).collect();
    }
}

/// An agent's open session, through which it is sent messages.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) last_seen: Timestamp,
    /// Long polls that are waiting right now; while there are any, the agent is online.
    pub(super) open_polls: u32,
    /// The agent has said that it takes no more requests.
    pub(super) closing: bool,
    pub(super) messages: VecDeque<Message>,
    pub(super) last_message: i64,
    /// What messages are encrypted with, if the agent has a key.
    pub(super) key: Option<SessionKey>,
}

/// A message for an agent. It stays until the agent deletes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Message {
    /// Its number in the session.
    pub id: i64,
    /// What it says.
    pub content: MessageContent,
    /// Whether the agent has fetched it.
    pub delivered: bool,
}

/// What a message says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageContent {
    /// Here is a job request for you.
    Job(i64),
    /// Stop working on this request.
    Cancel(i64),
}

/// An agent as a job request names it. Stays true when the agent is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentRef {
    /// Its number in the pool.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// The version of its software.
    pub version: String,
    /// Its operating system, in words.
    pub os_description: String,
}

/// How a job request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobResult {
    /// All went well.
    Succeeded,
    /// It went well enough.
    SucceededWithIssues,
    /// A step failed, or no agent could ever serve it.
    Failed,
    /// Somebody canceled it, or it took too long.
    Canceled,
    /// It was not run.
    Skipped,
    /// Its agent was not heard of any more.
    Abandoned,
}

impl JobResult {
    const ALL: [Self; 6] =
        [Self::Succeeded, Self::SucceededWithIssues, Self::Failed, Self::Canceled, Self::Skipped, Self::Abandoned];

    /// Its name on the wire.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Succeeded => "succeeded",
            Self::SucceededWithIssues => "succeededWithIssues",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
            Self::Skipped => "skipped",
            Self::Abandoned => "abandoned",
        }
    }

    /// Reads its name in any case, or its number, which some clients send.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        let by_number = || Self::ALL.get(name.parse::<usize>().ok()?).copied();
        Self::ALL.into_iter().find(|result| result.name().eq_ignore_ascii_case(name)).or_else(by_number)
    }
}

/// How far a job request has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// It has no agent.
    Queued,
    /// An agent has been sent it and has not taken it yet.
    Assigned,
    /// An agent works on it.
    Received,
    /// It has ended.
    Finished,
}

/// A pipeline job that wants an agent.
#[derive(Clone, Debug)]
pub struct Request {
    /// Its number, unique in the organization.
    pub id: i64,
    /// Its pool's number.
    pub pool: i64,
    /// Its pipeline's number.
    pub definition: i64,
    /// What it is.
    pub job: JobSpec,
    /// When it was queued.
    pub queued_at: Timestamp,
    /// When an agent was reserved for it.
    pub assigned_at: Option<Timestamp>,
    /// When its agent took it.
    pub received_at: Option<Timestamp>,
    /// Until when its agent holds it.
    pub locked_until: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// How it ended.
    pub result: Option<JobResult>,
    /// The agent that has it, or had it when it ended.
    pub agent: Option<AgentRef>,
    /// Why it ended badly, if no step of it is to blame.
    pub problem: Option<String>,
    /// By when a running job that was canceled has to stop.
    pub cancel_by: Option<Timestamp>,
    pub(super) demands: Vec<Demand>,
    pub(super) bumped: u64,
}

impl Request {
    /// How far it has come.
    #[must_use]
    pub fn phase(&self) -> Phase {
        match (self.finished_at, self.received_at, self.assigned_at) {
            (Some(_), ..) => Phase::Finished,
            (None, Some(_), _) => Phase::Received,
            (None, None, Some(_)) => Phase::Assigned,
            (None, None, None) => Phase::Queued,
        }
    }

    /// What it asks of an agent.
    #[must_use]
    pub fn demands(&self) -> &[Demand] {
        &self.demands
    }

    /// Whether it failed because no registered agent could ever serve it.
    #[must_use]
    pub fn was_unservable(&self) -> bool {
        self.phase() == Phase::Finished && self.agent.is_none() && self.result == Some(JobResult::Failed)
    }
}
