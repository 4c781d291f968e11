//! How the agents of each template get the right to work: what their configuration asks for, and where it leaves that
//! open, just-in-time if their image and the organization support it. Whether the organization does is tried once on a
//! placeholder, to which no job request can come.
//!
//! Nothing falls to a token because of a fault that may pass: until there is an answer, agents wait. What was seen once is
//! remembered by the placeholders.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::Instant;

use super::pace::BackOff;
use crate::{
    azure_devops::{Error, PoolId, Proof, ProofStep},
    config::Registration,
    core::{
        AgentId, AgentTemplate, Code, Finding, Placeholder, Policy, PoolSnapshot, REGISTRATION_FIX, Recipe,
        placeholder, was_just_in_time,
    },
};

/// When a refusal is tried again: an administrator may have changed something.
const AGAIN: Duration = Duration::from_secs(600);

/// Four calls, each of which Azure DevOps may delay by half a minute.
pub(super) const TRIAL_TIMEOUT: Duration = Duration::from_secs(150);

/// Said until it was tried.
const UNTRIED: &str = "whether the organization supports just-in-time agents has not been tried yet";

/// What the configuration says of one agent template.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wish {
    /// What is asked for.
    pub registration: Registration,
    /// Why its agents cannot be just-in-time ones unless that is asked for by name.
    pub obstacle: Option<String>,
}

/// By pool and agent template.
pub type Wishes = BTreeMap<(String, String), Wish>;

/// What is known of the organization.
#[derive(Debug, Default, PartialEq, Eq)]
enum Supports {
    /// There was no answer yet, and why.
    #[default]
    Untried,
    NoAnswer(String),
    /// It did before this process began.
    Remembered,
    Yes,
    /// It definitely refuses, and why.
    No(String),
}

/// A trial to be made.
#[derive(Debug)]
pub(super) struct Trial {
    pub(super) pool: PoolId,
    /// The pool's place in the policy.
    pub(super) index: usize,
    pub(super) agent: Option<AgentId>,
    pub(super) placeholder: Placeholder,
}

/// The recipes of all templates.
#[derive(Debug, Default)]
pub(super) struct Recipes {
    wishes: Wishes,
    supports: Supports,
    back_off: BackOff,
    /// When it is tried next.
    again: Option<Instant>,
    /// How often it was refused, one after the other.
    refused: u32,
    /// The placeholder that the last trial was made on, which a view of before does not show.
    tried_on: Option<(String, AgentId)>,
}

impl Recipes {
    pub(super) fn new(wishes: Wishes) -> Self {
        Self { wishes, ..Self::default() }
    }

    /// What the placeholders remember.
    pub(super) fn remember(&mut self, policy: &Policy, observed: &PoolSnapshot) {
        let is_open = matches!(self.supports, Supports::Untried | Supports::NoAnswer(_));
        let agents = observed.agents.as_deref().unwrap_or_default();
        if is_open && was_just_in_time(&policy.installation, agents) {
            self.supports = Supports::Remembered;
        }
    }

    /// Writes into the policy what is known. Whether that changed.
    pub(super) fn settle(&self, policy: &mut Policy) -> bool {
        let mut changed = false;
        for pool in &mut policy.pools {
            for template in &mut pool.templates {
                let Some(wish) = self.wishes.get(&(pool.name.clone(), template.name.clone())) else { continue };
                changed |= self.supports.choose(wish, template);
            }
        }
        changed
    }

    /// The trial that is due, if it can be made on one of these pools.
    pub(super) fn due(
        &self,
        policy: &Policy,
        observed: &[(usize, PoolId, &PoolSnapshot)],
        now: Instant,
    ) -> Option<Trial> {
        let is_open = self.supports != Supports::Yes && self.again.is_none_or(|again| now >= again);
        if !is_open || policy.retire {
            return None;
        }
        let candidates = observed.iter().flat_map(|(index, id, snapshot)| {
            let of_pool = self.wishes.iter().filter(|((pool, _), wish)| *pool == snapshot.pool && wish.depends());
            of_pool.map(move |((_, template), _)| (*index, *id, *snapshot, template))
        });
        let mut candidates = candidates.filter_map(|(index, pool, snapshot, template)| {
            let kind = policy.pools.iter().find(|kind| kind.name == snapshot.pool && !kind.removed)?;
            let (agent, placeholder) =
                placeholder(&policy.installation, &policy.organization, kind, snapshot, template)?;
            let tried_on = self.tried_on.as_ref().filter(|(name, _)| *name == placeholder.name).map(|(_, id)| *id);
            Some(Trial { pool, index, agent: agent.or(tried_on), placeholder })
        });
        candidates.next()
    }

    /// The moment to come at which a trial is due that agents wait for.
    pub(super) fn next_at(&self, now: Instant) -> Option<Instant> {
        self.again.filter(|again| *again > now && self.is_waited_for())
    }

    /// Whether a trial is due that agents wait for, so that it is worth a look at a pool's agents.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.is_waited_for() && self.again.is_none_or(|again| now >= again)
    }

    /// Whether agents wait for an answer.
    pub(super) fn is_waited_for(&self) -> bool {
        let is_open = matches!(self.supports, Supports::Untried | Supports::NoAnswer(_));
        is_open && self.wishes.values().any(Wish::depends)
    }

    /// How a trial on a placeholder came out; `None` without an answer in time.
    pub(super) fn tried(&mut self, placeholder: &str, proof: Option<Proof>, now: Instant) {
        let at_register = |proof: &&Proof| !matches!(proof.failed, Some((ProofStep::Register, _)));
        let tried_on = proof.as_ref().filter(at_register).and_then(|proof| proof.agent);
        self.tried_on = tried_on.map(|id| (placeholder.to_owned(), id));
        let no_answer = || {
            let seconds = TRIAL_TIMEOUT.as_secs();
            Some((ProofStep::SignIn, Error::Unreachable(format!("no answer within {seconds} s"))))
        };
        let failed = proof.map_or_else(no_answer, |proof| proof.failed);
        let Some((step, error)) = failed else {
            if self.supports != Supports::Yes {
                tracing::info!("the organization carries just-in-time agents");
            }
            *self = Self { wishes: std::mem::take(&mut self.wishes), supports: Supports::Yes, ..Self::default() };
            return;
        };
        let reason = format!("the organization did not {step}: {error}");
        let was_seen = matches!(self.supports, Supports::Yes | Supports::Remembered);
        if may_pass(step, &error) {
            self.refused = 0;
            self.again = Some(now + self.back_off.failed().max(error.retry_after().unwrap_or_default()));
            // What was seen before, or refused before, holds until there is another answer.
            if matches!(self.supports, Supports::Untried | Supports::NoAnswer(_)) {
                if self.supports == Supports::Untried {
                    tracing::warn!("whether agents can be registered just in time is not known yet: {reason}");
                }
                self.supports = Supports::NoAnswer(reason);
            }
            return;
        }
        self.refused += 1;
        if was_seen && self.refused < 2 {
            self.again = Some(now + self.back_off.failed());
            return;
        }
        self.back_off.succeeded();
        self.again = Some(now + AGAIN);
        let no = Supports::No(reason);
        if self.supports != no {
            if let Supports::No(reason) = &no {
                tracing::warn!("agents are not registered just in time: {reason}");
            }
            self.supports = no;
        }
    }

    /// What people should know of it.
    pub(super) fn finding(&self) -> Option<Finding> {
        let mut depends = self.wishes.iter().filter(|(_, wish)| wish.depends()).map(|((pool, _), _)| pool.as_str());
        let Supports::No(reason) = &self.supports else { return None };
        depends.next()?;
        let message = format!("agents of templates with registration: auto hold the organization's token: {reason}");
        Some(Finding::new(Code::RegistrationByToken, message, Some(REGISTRATION_FIX.to_owned())))
    }
}

impl Wish {
    /// Whether it depends on what the organization supports.
    fn depends(&self) -> bool {
        self.registration == Registration::Auto && self.obstacle.is_none()
    }
}

impl Supports {
    fn choose(&self, wish: &Wish, template: &mut AgentTemplate) -> bool {
        let (recipe, reason, pending) = match (wish.registration, &wish.obstacle, self) {
            (Registration::Only(recipe), ..) => (recipe, None, None),
            (Registration::Auto, Some(obstacle), _) => (Recipe::Token, Some(obstacle.clone()), None),
            (Registration::Auto, None, Self::Yes | Self::Remembered) => (Recipe::JustInTime, None, None),
            (Registration::Auto, None, Self::No(reason)) => (Recipe::Token, Some(reason.clone()), None),
            (Registration::Auto, None, Self::NoAnswer(reason)) => (Recipe::JustInTime, None, Some(reason.clone())),
            (Registration::Auto, None, Self::Untried) => (Recipe::JustInTime, None, Some(UNTRIED.to_owned())),
        };
        let changed =
            template.recipe != recipe || template.recipe_reason != reason || template.registration_pending != pending;
        (template.recipe, template.recipe_reason, template.registration_pending) = (recipe, reason, pending);
        changed
    }
}

/// Whether a failure says nothing about what the organization supports: no answer, a fault of its own, a token of ours that is
/// not accepted at the moment, an agent of that name that came or went meanwhile.
fn may_pass(step: ProofStep, error: &Error) -> bool {
    match error {
        Error::Unreachable(_)
        | Error::Throttled(_)
        | Error::Unreadable(_)
        | Error::Taken(_)
        | Error::Gone(_)
        | Error::Busy(_)
        | Error::Token(_)
        | Error::Entra { .. }
        | Error::NoSuchPool(_)
        | Error::UnfitPool { .. } => true,
        Error::Unavailable { status, .. } => *status >= 500 || matches!(status, 408 | 409 | 425 | 429),
        Error::Unauthorized(_) | Error::StrangeIdentity(_) | Error::NotFound(_) => step == ProofStep::Register,
        Error::Forbidden(_) => false,
    }
}

#[cfg(test)]
mod tests;
