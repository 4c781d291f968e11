//! Placeholder agents: what each template offers, kept registered while no agent runs.
//!
//! Azure DevOps fails a job at once when no registered agent, online or not, satisfies its demands. One disabled,
//! offline agent per template keeps that from happening. It is also where we remember what an image was seen to
//! offer: tasks add demands of their own that nobody declares, and only a real agent of the image answers them.

use super::{
    Agent, AgentAction, AgentChange, AgentId, AgentRef, AgentTemplate, Capabilities, DeregisterReason,
    INSTALLATION_CAPABILITY, Installation, Placeholder, PoolPolicy, PoolSnapshot, REGISTRATION_CAPABILITY, Recipe,
    Timeouts, demand::lower_case, lifecycle::Evidence, name::short_hash, roster::Roster, sight::Sight,
};

/// Marks a placeholder, with the name of its template.
const MARK: &str = "KUBECTL_ADO_PLACEHOLDER";

/// The revision of the template that the capabilities were learned from.
const LEARNED: &str = "KUBECTL_ADO_LEARNED";

/// A digest of all that we say of a placeholder.
const DIGEST: &str = "KUBECTL_ADO_DIGEST";

/// Says that agents of the template were registered just in time. Whoever comes after us does not fall back to a token while
/// it has no answer of its own.
const JUST_IN_TIME: &str = "KUBECTL_ADO_JUST_IN_TIME";

/// The version that a placeholder claims: a demand for a later agent must not fail a job, since Azure DevOps updates an
/// outdated agent before it gives it one.
const VERSION: &str = "99.999.9";

/// What belongs to one agent and not to its image: it is not copied from a real agent.
const PERSONAL: [&str; 9] = [
    "Agent.Name",
    "Agent.ComputerName",
    "Agent.HomeDirectory",
    "Agent.Version",
    "AZP_AGENT_NAME",
    "HOSTNAME",
    INSTALLATION_CAPABILITY,
    REGISTRATION_CAPABILITY,
    "_",
];

/// What a template's agents are known to offer.
#[derive(Clone, Debug)]
pub(super) struct Learned<'a> {
    /// Seen on an agent that is online, or remembered by the placeholder.
    pub(super) capabilities: &'a Capabilities,
    /// Whether it was learned from the template as it is now, so that its image is known to work.
    pub(super) is_current: bool,
}

/// What is known of one template of the pool's policy.
pub(super) fn learned<'a>(index: usize, sight: &Sight<'a>) -> Option<Learned<'a>> {
    let template = &sight.policy.templates[index];
    let seen = sight.of_template(index).filter_map(|known| Some((known.run, known.online_agent()?)));
    // One of the current revision tells most.
    if let Some((run, agent)) = seen.min_by_key(|(run, _)| run.revision != template.revision) {
        return Some(Learned { capabilities: &agent.capabilities, is_current: run.revision == template.revision });
    }
    let (_, remembered) = sight.roster.placeholders().iter().find(|(of, _)| *of == template.name)?;
    let revision = remembered.capabilities.get(LEARNED)?;
    Some(Learned { capabilities: &remembered.capabilities, is_current: revision == template.revision })
}

/// Whether the agent is a placeholder, anybody's.
pub(super) fn is_placeholder(agent: &Agent) -> bool {
    placeholder_of(agent).is_some()
}

/// The name of the template that a placeholder, anybody's, stands for. An agent that is online is none, whatever it says.
pub(super) fn placeholder_of(agent: &Agent) -> Option<&str> {
    if agent.online { None } else { agent.capabilities.get(MARK) }
}

/// What has to be done so that each template of the pool has its placeholder, and no others of ours are left. `learned`
/// holds what is known of each template.
pub(super) fn tend(
    installation: &Installation,
    organization: &str,
    sight: &Sight<'_>,
    learned: &[Option<Learned<'_>>],
) -> Vec<AgentAction> {
    let Sight { policy, roster, .. } = sight;
    let mut actions = Vec::new();
    for (template, known) in policy.templates.iter().zip(learned) {
        let name = name(installation, organization, &policy.name, template);
        let there = roster.named(&name);
        let capabilities = capabilities(template, installation, &name, known.as_ref(), there);
        let placeholder = Placeholder { name, template: template.name.clone(), capabilities };
        let change = match there {
            None => AgentChange::Register(placeholder),
            // A real agent under that name is not ours to change.
            Some(agent) if !is_placeholder(agent) => continue,
            Some(agent) if !agent.enabled && says_the_same(&agent.capabilities, &placeholder.capabilities) => continue,
            Some(agent) => AgentChange::Update(agent.id, placeholder),
        };
        actions.push(AgentAction { pool: policy.name.clone(), change });
    }
    let orphans = roster.placeholders().iter().filter(|(of, agent)| {
        agent.installation() == Some(installation.id()) && !policy.templates.iter().any(|kind| kind.name == *of)
    });
    actions.extend(orphans.map(|(_, agent)| AgentAction {
        pool: policy.name.clone(),
        change: AgentChange::Deregister(
            AgentRef { id: agent.id, name: agent.name.clone() },
            DeregisterReason::NoTemplate,
        ),
    }));
    actions
}

/// The placeholder of a template as it should be, with the number that it has if it is registered: for whoever wants to
/// try something on an agent that no job request can come to. `None` where nobody looked at the agents, or where a real
/// agent has the name.
#[must_use]
pub fn placeholder(
    installation: &Installation,
    organization: &str,
    pool: &PoolPolicy,
    observed: &PoolSnapshot,
    template: &str,
) -> Option<(Option<AgentId>, Placeholder)> {
    let sight = Sight::of(pool, observed, &[], Evidence::none(), Timeouts::default());
    let index = pool.templates.iter().position(|kind| kind.name == template).filter(|_| sight.knows_agents)?;
    let kind = &pool.templates[index];
    let name = name(installation, organization, &pool.name, kind);
    let there = sight.roster.named(&name);
    if there.is_some_and(|agent| !is_placeholder(agent)) {
        return None;
    }
    let capabilities = capabilities(kind, installation, &name, learned(index, &sight).as_ref(), there);
    Some((there.map(|agent| agent.id), Placeholder { name, template: template.to_owned(), capabilities }))
}

/// Whether a placeholder of ours says that its template's agents were registered just in time.
#[must_use]
pub fn was_just_in_time(installation: &Installation, agents: &[Agent]) -> bool {
    let says_so = |agent: &&Agent| agent.capabilities.get(JUST_IN_TIME).is_some();
    agents.iter().filter(says_so).any(|agent| is_placeholder(agent) && agent.installation() == Some(installation.id()))
}

/// All placeholders of ours go.
pub(super) fn retire_placeholders(pool: &str, installation: &Installation, roster: &Roster<'_>) -> Vec<AgentAction> {
    let ours = |agent: &&Agent| is_placeholder(agent) && agent.installation() == Some(installation.id());
    let deregister = |agent: &Agent| AgentAction {
        pool: pool.to_owned(),
        change: AgentChange::Deregister(
            AgentRef { id: agent.id, name: agent.name.clone() },
            DeregisterReason::Retiring,
        ),
    };
    roster.agents().iter().filter(ours).map(deregister).collect()
}

/// Whether a placeholder is as it should be. An administrator may have given it capabilities of his own, or other values
/// for ours; those are his, and setting ours again and again would not change them.
fn says_the_same(there: &Capabilities, wanted: &Capabilities) -> bool {
    there.get(DIGEST) == wanted.get(DIGEST) && wanted.iter().all(|(name, _)| there.get(name).is_some())
}

/// Whether an agent has to be started once to learn what the template's image offers: nothing is declared, nothing was
/// learned, and nobody else's agent in the pool keeps jobs from failing.
pub(super) fn has_to_learn(template: &AgentTemplate, known: Option<&Learned<'_>>, roster: &Roster<'_>) -> bool {
    template.capabilities.is_none() && known.is_none() && roster.agents().iter().all(is_placeholder)
}

fn name(installation: &Installation, organization: &str, pool: &str, template: &AgentTemplate) -> String {
    let (organization, pool) = (lower_case(organization), lower_case(pool));
    let hash = short_hash(&[installation.id(), &organization, &pool, "placeholder", &template.name], 12);
    format!("placeholder-{}-{hash}", installation.short())
}

fn capabilities(
    template: &AgentTemplate,
    installation: &Installation,
    name: &str,
    known: Option<&Learned<'_>>,
    there: Option<&Agent>,
) -> Capabilities {
    let mut capabilities = Capabilities::default();
    // What was learned of an earlier revision is better than nothing, and stays until there is better.
    if let Some(known) = known {
        capabilities = known.capabilities.clone();
        for name in PERSONAL.into_iter().chain([DIGEST, MARK]) {
            capabilities.remove(name);
        }
        let remembered = there.and_then(|agent| agent.capabilities.get(LEARNED)).unwrap_or_default();
        let revision = if known.is_current { template.revision.as_str() } else { remembered };
        capabilities.set(LEARNED, revision);
    }
    for (declared, value) in template.capabilities.iter().flat_map(Capabilities::iter) {
        capabilities.set(declared, value);
    }
    capabilities.set("Agent.Name", name);
    capabilities.set("Agent.Version", VERSION);
    capabilities.add_default("Agent.OS", "Linux");
    capabilities.set(MARK, &template.name);
    capabilities.remove(JUST_IN_TIME);
    if template.recipe == Recipe::JustInTime && template.registration_pending.is_none() {
        capabilities.set(JUST_IN_TIME, "true");
    }
    capabilities.set(INSTALLATION_CAPABILITY, installation.id());
    let all: Vec<&str> = capabilities.iter().flat_map(|(name, value)| [name, value]).collect();
    let digest = short_hash(&all, 16);
    capabilities.set(DIGEST, &digest);
    capabilities
}
