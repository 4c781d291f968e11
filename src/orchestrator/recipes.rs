//! How the agents of each template get the right to work: what their configuration asks for, and where it leaves that
//! open, just-in-time if their image and the organization carry it. Whether the organization does is tried once on a
//! placeholder, to which no job request can come.

use std::{collections::BTreeMap, time::Duration};

use tokio::time::{Instant, timeout};

use crate::{
    azure_devops::{AzureDevOps, Error, PoolId, Proof, ProofStep},
    config::Registration,
    core::{AgentTemplate, Policy, PoolSnapshot, Recipe, placeholder},
};

/// When a refusal is tried again: an administrator may have changed something.
const AGAIN: Duration = Duration::from_secs(600);

/// When it is first tried again where there was no answer; then after twice that time, and so on.
const SOON: Duration = Duration::from_secs(30);

/// The pools wait meanwhile. Four calls that are answered at all take a second.
const PATIENCE: Duration = Duration::from_secs(10);

/// Said until it was tried.
const UNTRIED: &str = "whether the organization carries more could not be tried yet";

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
#[derive(Debug, Default)]
enum Carries {
    /// Nobody has tried.
    #[default]
    Untried,
    Yes,
    /// Why not, and when to try again.
    No(String, Instant),
}

/// The recipes of all templates.
#[derive(Debug, Default)]
pub(super) struct Recipes {
    wishes: Wishes,
    carries: Carries,
    /// How often there was no answer, one after the other.
    unanswered: u32,
    /// The placeholder that a trial has registered, until somebody has taken note.
    registered: Option<String>,
}

impl Recipes {
    pub(super) fn new(wishes: Wishes) -> Self {
        Self { wishes, ..Self::default() }
    }

    /// Finds out what can be found out now, and writes it into the policy. Whether that changed.
    pub(super) async fn settle<A: AzureDevOps>(
        &mut self,
        azure_devops: &A,
        policy: &mut Policy,
        observed: &[(PoolId, &PoolSnapshot)],
    ) -> bool {
        if self.is_due(policy) {
            self.carries = self.try_it(azure_devops, policy, observed).await;
        }
        let mut changed = false;
        for pool in &mut policy.pools {
            for template in &mut pool.templates {
                let Some(wish) = self.wishes.get(&(pool.name.clone(), template.name.clone())) else { continue };
                changed |= self.carries.choose(wish, template);
            }
        }
        changed
    }

    /// The placeholder that the last trial has registered, which no view shows yet.
    pub(super) fn take_registered(&mut self) -> Option<String> {
        self.registered.take()
    }

    fn is_due(&self, policy: &Policy) -> bool {
        let is_wanted = self.wishes.values().any(Wish::depends);
        let is_open = match &self.carries {
            Carries::Untried => true,
            Carries::Yes => false,
            Carries::No(_, again) => Instant::now() >= *again,
        };
        is_wanted && is_open && !policy.retire
    }

    async fn try_it<A: AzureDevOps>(
        &mut self,
        azure_devops: &A,
        policy: &Policy,
        observed: &[(PoolId, &PoolSnapshot)],
    ) -> Carries {
        let candidates = observed.iter().flat_map(|(id, snapshot)| {
            let of_pool = self.wishes.iter().filter(|((pool, _), wish)| *pool == snapshot.pool && wish.depends());
            of_pool.map(move |((_, template), _)| (*id, *snapshot, template))
        });
        let mut candidates = candidates.filter_map(|(id, snapshot, template)| {
            let pool = policy.pools.iter().find(|pool| pool.name == snapshot.pool)?;
            let (agent, placeholder) =
                placeholder(&policy.installation, &policy.organization, pool, snapshot, template)?;
            Some((id, agent, placeholder))
        });
        let Some((pool, agent, placeholder)) = candidates.next() else { return std::mem::take(&mut self.carries) };
        let proof = timeout(PATIENCE, azure_devops.prove(pool, agent, &placeholder)).await;
        let failed = match proof {
            Ok(Proof { agent: tried_on, failed }) => {
                self.registered = tried_on.filter(|_| agent.is_none()).map(|_| placeholder.name.clone());
                failed
            }
            Err(_) => Some((ProofStep::SignIn, Error::Unreachable(format!("no answer within {PATIENCE:?}")))),
        };
        match failed {
            None => {
                if !matches!(self.carries, Carries::Yes) {
                    tracing::info!("the organization carries just-in-time agents");
                }
                Carries::Yes
            }
            Some((step, error)) => {
                let reason = format!("the organization did not {step}: {error}");
                if !matches!(&self.carries, Carries::No(known, _) if *known == reason) {
                    tracing::warn!("agents are not registered just in time: {reason}");
                }
                self.unanswered = if may_pass(&error) { self.unanswered + 1 } else { 0 };
                let wait = match self.unanswered {
                    0 => AGAIN,
                    times => (SOON * (1 << (times - 1).min(5))).min(AGAIN),
                };
                Carries::No(reason, Instant::now() + wait)
            }
        }
    }
}

impl Wish {
    /// Whether it depends on what the organization carries.
    fn depends(&self) -> bool {
        self.registration == Registration::Auto && self.obstacle.is_none()
    }
}

impl Carries {
    fn choose(&self, wish: &Wish, template: &mut AgentTemplate) -> bool {
        let (recipe, reason) = match (wish.registration, &wish.obstacle, self) {
            (Registration::Only(recipe), ..) => (recipe, None),
            (Registration::Auto, Some(obstacle), _) => (Recipe::Token, Some(obstacle.clone())),
            (Registration::Auto, None, Self::Yes) => (Recipe::JustInTime, None),
            (Registration::Auto, None, Self::No(reason, _)) => (Recipe::Token, Some(reason.clone())),
            (Registration::Auto, None, Self::Untried) => (Recipe::Token, Some(UNTRIED.to_owned())),
        };
        let changed = template.recipe != recipe || template.recipe_reason != reason;
        (template.recipe, template.recipe_reason) = (recipe, reason);
        changed
    }
}

fn may_pass(error: &Error) -> bool {
    matches!(error, Error::Unreachable(_) | Error::Unavailable { .. } | Error::Throttled(_))
}

#[cfg(test)]
mod tests;
