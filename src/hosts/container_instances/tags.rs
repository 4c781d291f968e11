//! Whose a container group is and what it is for, as tags of Azure: all that is known of a group by whoever finds it.
//!
//! Azure gives a tag's value 256 characters and its name no `<>%&\?/`. Names of pools may be longer and stand in other
//! letters elsewhere, so that what has to be told apart has a hash beside it.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::core::{Installation, Purpose, Recipe, RequestId, StartRun, short_hash};

const MANAGED_BY: &str = "managed-by";
const US: &str = "kubectl-ado";

const INSTALLATION: &str = "kubectl-ado-installation";
const ORGANIZATION: &str = "kubectl-ado-organization";
const ORGANIZATION_HASH: &str = "kubectl-ado-organization-hash";
const POOL: &str = "kubectl-ado-pool";
const POOL_HASH: &str = "kubectl-ado-pool-hash";
const TEMPLATE: &str = "kubectl-ado-template";
const REQUEST: &str = "kubectl-ado-request";
const SLOT: &str = "kubectl-ado-slot";
const ATTEMPT: &str = "kubectl-ado-attempt";
const REVISION: &str = "kubectl-ado-revision";
const RECIPE: &str = "kubectl-ado-registration";
const CREATED: &str = "kubectl-ado-created-at";
const DEADLINE: &str = "kubectl-ado-deadline";

/// All that begin so are ours.
const PREFIX: &str = "kubectl-ado-";

/// The longest value of a tag.
const LONGEST: usize = 256;

const HASH_LENGTH: usize = 16;

/// So long after its deadline, a group of another installation has been given up by its own orchestrator.
pub(super) const FORMER_GRACE: Duration = Duration::from_secs(600);

/// Who we are.
#[derive(Clone, Debug)]
pub(super) struct Owner {
    pub(super) installation: Installation,
    /// Its URL.
    pub(super) organization: String,
}

/// What the tags of a group of ours say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tagged {
    pub(super) pool: String,
    pub(super) template: String,
    pub(super) purpose: Purpose,
    pub(super) attempt: u32,
    pub(super) revision: String,
    pub(super) recipe: Recipe,
    pub(super) created_at: Timestamp,
    pub(super) deadline: Timestamp,
}

/// Whose a group is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    Ours(Box<Tagged>),
    /// With words for who that is.
    Anothers(String),
}

/// The tags of a group that is made now.
pub(super) fn tags(run: &StartRun, owner: &Owner, created_at: Timestamp, deadline: Timestamp) -> Map<String, Value> {
    let mut tags = Map::new();
    let mut set = |name: &str, value: &str| drop(tags.insert(name.to_owned(), Value::from(fit(value))));
    set(MANAGED_BY, US);
    set(INSTALLATION, owner.installation.id());
    set(ORGANIZATION, &owner.organization);
    set(ORGANIZATION_HASH, &organization_hash(&owner.organization));
    set(POOL, &run.pool);
    set(POOL_HASH, &pool_hash(&run.pool));
    set(TEMPLATE, &run.template);
    match run.purpose {
        Purpose::Request(id) => set(REQUEST, &id.to_string()),
        Purpose::Slot(slot) => set(SLOT, &slot.to_string()),
    }
    set(ATTEMPT, &run.attempt.to_string());
    set(REVISION, &run.revision);
    set(RECIPE, run.recipe.name());
    set(CREATED, &created_at.to_string());
    set(DEADLINE, &deadline.to_string());
    tags
}

/// Whether a tag is one of ours, which no template sets.
pub(super) fn is_ours(name: &str) -> bool {
    let name = name.to_lowercase();
    name == MANAGED_BY || name.starts_with(PREFIX)
}

/// Whose a group with these tags is. `pools` are those that are served, as they are written.
pub(super) fn whose<'a>(tags: &Value, owner: &Owner, pools: impl IntoIterator<Item = &'a str>) -> Whose {
    // Azure keeps the case of a tag's name, and tells no two apart by it.
    let text = |name: &str| {
        let tags = tags.as_object()?;
        tags.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?.1.as_str()
    };
    if text(MANAGED_BY) != Some(US) || text(INSTALLATION).is_none() {
        return Whose::Anothers("somebody else: it has none of our tags".to_owned());
    }
    let installation = text(INSTALLATION).unwrap_or_default();
    let is_ours = installation == owner.installation.id()
        && text(ORGANIZATION_HASH) == Some(&organization_hash(&owner.organization));
    if !is_ours {
        let organization = text(ORGANIZATION).unwrap_or("an organization that is not told");
        return Whose::Anothers(format!("installation {installation} for {organization}"));
    }
    let purpose = || match (text(REQUEST), text(SLOT)) {
        (Some(request), _) => Some(Purpose::Request(RequestId(request.parse().ok()?))),
        (None, slot) => Some(Purpose::Slot(slot?.parse().ok()?)),
    };
    let tagged = || {
        let hash = text(POOL_HASH)?;
        let known = pools.into_iter().find(|pool| pool_hash(pool) == hash);
        Some(Tagged {
            pool: known.or_else(|| text(POOL))?.to_owned(),
            template: text(TEMPLATE)?.to_owned(),
            purpose: purpose()?,
            attempt: text(ATTEMPT)?.parse().ok()?,
            revision: text(REVISION)?.to_owned(),
            recipe: Recipe::of_name(text(RECIPE)?)?,
            created_at: text(CREATED)?.parse().ok()?,
            deadline: text(DEADLINE)?.parse().ok()?,
        })
    };
    match tagged() {
        Some(tagged) => Whose::Ours(Box::new(tagged)),
        None => Whose::Anothers("this installation, and somebody has changed its tags".to_owned()),
    }
}

/// A group that an orchestrator of another installation made, or this one under a former id or organization.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Former {
    pub(super) name: String,
    /// Whose it is, in words.
    pub(super) who: String,
    /// Until when its own orchestrator has to have deleted it.
    pub(super) deadline: Timestamp,
}

/// What the tags of a group say that some orchestrator of ours made and that is not this installation's.
pub(super) fn former(name: &str, tags: &Value, who: String) -> Option<Former> {
    let text = |name: &str| {
        let tags = tags.as_object()?;
        tags.iter().find(|(known, _)| known.eq_ignore_ascii_case(name))?.1.as_str()
    };
    let is_made_by_us = text(MANAGED_BY) == Some(US) && text(INSTALLATION).is_some() && text(CREATED).is_some();
    let deadline = text(DEADLINE).filter(|_| is_made_by_us)?.parse().ok()?;
    Some(Former { name: name.to_owned(), who, deadline })
}

/// The case of letters makes no difference to Azure DevOps, neither here nor in the names of pools.
fn organization_hash(organization: &str) -> String {
    short_hash(&["organization", &organization.to_lowercase()], HASH_LENGTH)
}

fn pool_hash(pool: &str) -> String {
    short_hash(&["pool", &pool.to_lowercase()], HASH_LENGTH)
}

/// As much of a text as a tag takes, without what steers a terminal.
fn fit(text: &str) -> String {
    let plain = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    let mut length = 0;
    plain
        .take_while(|c| {
            length += c.len_utf16();
            length <= LONGEST
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner() -> Owner {
        let organization = "https://dev.azure.com/Contoso".to_owned();
        Owner { installation: Installation::new("blue"), organization }
    }

    fn run(pool: &str, purpose: Purpose) -> StartRun {
        StartRun {
            name: "agent-job-a-b".to_owned(),
            pool: pool.to_owned(),
            template: "default".to_owned(),
            purpose,
            attempt: 3,
            revision: "r1".to_owned(),
            recipe: Recipe::JustInTime,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn a_group_tells_its_run_whatever_the_pool_is_called() {
        let long = "構".repeat(300);
        for pool in ["Linux Builds", "a<b>&%\\?/", "Büro 7\u{7}", long.as_str()] {
            for purpose in [Purpose::Request(RequestId(4711)), Purpose::Slot(2)] {
                let made = tags(&run(pool, purpose), &owner(), at(100), at(900));
                assert!(made.len() <= 15);
                for (name, value) in &made {
                    assert!(!name.contains(['<', '>', '%', '&', '\\', '?', '/']) && name.len() <= 128, "{name}");
                    let value = value.as_str().unwrap();
                    assert!(value.encode_utf16().count() <= 256 && !value.contains(char::is_control), "{value}");
                }
                let Whose::Ours(read) = whose(&Value::Object(made), &owner(), ["Other", pool]) else {
                    panic!("{pool}")
                };
                let expected = Tagged {
                    pool: pool.to_owned(),
                    template: "default".to_owned(),
                    purpose,
                    attempt: 3,
                    revision: "r1".to_owned(),
                    recipe: Recipe::JustInTime,
                    created_at: at(100),
                    deadline: at(900),
                };
                assert_eq!(*read, expected);
            }
        }
    }

    #[test]
    fn a_pool_that_is_not_served_keeps_the_name_that_the_tag_has() {
        let made = Value::Object(tags(&run("Gone", Purpose::Slot(0)), &owner(), at(0), at(1)));
        let Whose::Ours(read) = whose(&made, &owner(), ["Linux"]) else { panic!("{made}") };
        assert_eq!(read.pool, "Gone");
        let Whose::Ours(read) = whose(&made, &owner(), ["GONE"]) else { panic!("{made}") };
        assert_eq!(read.pool, "GONE");
    }

    #[test]
    fn others_groups_are_told_apart() {
        let made = tags(&run("p", Purpose::Slot(0)), &owner(), at(0), at(1));
        let with = |name: &str, value: Option<&str>| {
            let mut tags = made.clone();
            match value {
                Some(value) => drop(tags.insert(name.to_owned(), value.into())),
                None => drop(tags.shift_remove(name)),
            }
            match whose(&Value::Object(tags), &owner(), ["p"]) {
                Whose::Ours(_) => panic!("{name}"),
                Whose::Anothers(who) => who,
            }
        };
        assert!(with(MANAGED_BY, None).contains("none of our tags"));
        assert!(with(MANAGED_BY, Some("terraform")).contains("none of our tags"));
        assert!(with(INSTALLATION, Some("green")).contains("installation green for https://dev.azure.com/Contoso"));
        assert!(with(ORGANIZATION_HASH, Some("x")).contains("installation blue"));
        for name in [ATTEMPT, CREATED, DEADLINE, SLOT, RECIPE] {
            assert!(with(name, Some("?")).contains("changed its tags"), "{name}");
        }
        assert!(matches!(whose(&Value::Null, &owner(), []), Whose::Anothers(_)));
    }

    #[test]
    fn a_group_of_another_installation_tells_until_when_it_may_be_there() {
        let other = Owner { installation: Installation::new("green"), ..owner() };
        let made = Value::Object(tags(&run("p", Purpose::Slot(0)), &other, at(0), at(900)));
        let Whose::Anothers(who) = whose(&made, &owner(), ["p"]) else { panic!("{made}") };
        let found = former("a", &made, who.clone());
        assert_eq!(found, Some(Former { name: "a".to_owned(), who, deadline: at(900) }));
        // One that merely has two of our tags was made by somebody else.
        let tagged = serde_json::json!({MANAGED_BY: US, INSTALLATION: "green", DEADLINE: at(900).to_string()});
        assert_eq!(former("a", &tagged, String::new()), None);
        assert_eq!(former("a", &serde_json::json!({DEADLINE: at(900).to_string()}), String::new()), None);
    }

    #[test]
    fn the_case_of_tags_names_does_not_count() {
        let made = tags(&run("p", Purpose::Slot(0)), &owner(), at(0), at(1));
        let upper: Map<_, _> = made.into_iter().map(|(name, value)| (name.to_uppercase(), value)).collect();
        assert!(matches!(whose(&Value::Object(upper), &owner(), ["p"]), Whose::Ours(_)));
        assert!(is_ours("Kubectl-ADO-pool") && is_ours("managed-by") && !is_ours("team"));
    }
}
