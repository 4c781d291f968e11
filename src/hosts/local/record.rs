//! What is known of a run: `run.json` in its folder, written when it is made and when somebody makes it ready.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::core::{Held, Installation, Purpose, Recipe, RequestId, StartRun};

/// What a run was started for, and who holds it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Record {
    pub(super) installation: String,
    pub(super) organization: String,
    pub(super) pool: String,
    pub(super) template: String,
    purpose: RecordedPurpose,
    pub(super) attempt: u32,
    #[serde(default)]
    pub(super) revision: String,
    /// The name of its recipe.
    #[serde(default)]
    registration: String,
    pub(super) created_at: Timestamp,
    /// When it got the files of its agent, where it had to wait for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    equipped_at: Option<Timestamp>,
    /// Who makes it ready. Means nothing any more once there is a process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    held: Option<RecordedHeld>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct RecordedHeld {
    by: String,
    since: Timestamp,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
enum RecordedPurpose {
    Request(RequestId),
    Slot(u32),
}

impl Record {
    pub(super) fn new(installation: &Installation, organization: &str, run: &StartRun) -> Self {
        Self {
            installation: installation.id().to_owned(),
            organization: organization.to_owned(),
            pool: run.pool.clone(),
            template: run.template.clone(),
            purpose: match run.purpose {
                Purpose::Request(id) => RecordedPurpose::Request(id),
                Purpose::Slot(slot) => RecordedPurpose::Slot(slot),
            },
            attempt: run.attempt,
            revision: run.revision.clone(),
            registration: recipe(run.recipe).name().to_owned(),
            created_at: Timestamp::now(),
            equipped_at: None,
            held: None,
        }
    }

    /// How its agent gets the right to work. A run of an earlier version has a token.
    pub(super) fn recipe(&self) -> Recipe {
        Recipe::of_name(&self.registration).map_or(Recipe::Token, recipe)
    }

    /// Who makes it ready, if it was not.
    pub(super) fn held(&self) -> Option<Held> {
        self.held.as_ref().map(|held| Held { by: held.by.clone(), since: held.since })
    }

    /// The same, to be made ready by that process.
    pub(super) fn held_by(mut self, identity: &str) -> Self {
        self.held = Some(RecordedHeld { by: identity.to_owned(), since: Timestamp::now() });
        self
    }

    /// The same, with all that it needs.
    pub(super) fn equipped(mut self) -> Self {
        self.held = None;
        self.equipped_at = Some(Timestamp::now());
        self
    }

    /// When its process was started.
    pub(super) fn started_at(&self) -> Timestamp {
        self.equipped_at.unwrap_or(self.created_at)
    }

    pub(super) fn purpose(&self) -> Purpose {
        match self.purpose {
            RecordedPurpose::Request(id) => Purpose::Request(id),
            RecordedPurpose::Slot(slot) => Purpose::Slot(slot),
        }
    }
}

/// There are no init containers here: the configuration refuses them, and what comes all the same has a token.
fn recipe(asked: Recipe) -> Recipe {
    match asked {
        Recipe::JustInTime => Recipe::JustInTime,
        Recipe::InitContainer | Recipe::Token => Recipe::Token,
    }
}
