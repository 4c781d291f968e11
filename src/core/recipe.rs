//! How an agent gets the right to work for its pool.

use std::fmt;

use jiff::Timestamp;

/// Which credential an agent is made with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Recipe {
    /// We register it, and it gets three files that let it act as that one agent. No token of the organization.
    JustInTime,
    /// An init container registers it with the organization's token, which is mounted there alone.
    InitContainer,
    /// It registers itself with the organization's token.
    #[default]
    Token,
}

impl Recipe {
    /// Its name in configuration and output.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::JustInTime => "just-in-time",
            Self::InitContainer => "init-container",
            Self::Token => "token",
        }
    }

    /// The recipe of a name.
    #[must_use]
    pub fn of_name(name: &str) -> Option<Self> {
        [Self::JustInTime, Self::InitContainer, Self::Token].into_iter().find(|recipe| recipe.name() == name)
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The mark of a run that was made and whose agent is not registered yet: it starts when it has its files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The process that makes it ready.
    pub by: String,
    /// Since when.
    pub since: Timestamp,
}

/// A run that has to be made ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EquipRun {
    /// The name of the run and of its agent.
    pub name: String,
    /// The pool it serves.
    pub pool: String,
    /// The agent template it was made from.
    pub template: String,
    /// Who was to do it. Whoever does it now claims it from them first.
    pub held: Held,
}
