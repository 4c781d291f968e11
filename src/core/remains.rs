//! What an installation that is being given up still has.

use std::{collections::HashSet, fmt};

use super::{Agent, Installation, Run, placeholder::is_placeholder};

/// What is left of ours in one pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    /// Agents that have not ended.
    pub runs: u32,
    /// Placeholders.
    pub placeholders: u32,
    /// Other registrations, those of running agents included.
    pub registrations: u32,
}

impl Remains {
    /// Of the runs and agents of a pool.
    #[must_use]
    pub fn of(installation: &Installation, runs: &[Run], agents: &[Agent]) -> Self {
        let names: HashSet<String> = runs.iter().map(|run| run.name.to_lowercase()).collect();
        let mut remains = Self { runs: number(runs.iter().filter(|run| run.is_live()).count()), ..Self::default() };
        for agent in agents {
            let ours = agent.installation() == Some(installation.id());
            if ours && is_placeholder(agent) {
                remains.placeholders += 1;
            } else if ours || names.contains(&agent.name.to_lowercase()) {
                remains.registrations += 1;
            }
        }
        remains
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for Remains {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { runs, placeholders, registrations } = self;
        write!(f, "{runs} running agents, {placeholders} placeholders, {registrations} other registrations")
    }
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}
