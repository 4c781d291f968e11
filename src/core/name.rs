//! Names of runs. A name is a function of installation, organization, pool, purpose and attempt, so that repeating a
//! step (after a crash, a lost answer, by a second orchestrator) meets what is there instead of making another.

use sha2::{Digest, Sha256};

use super::{Purpose, demand::lower_case};

/// The longest name of a run. A Job's pod gets a dash and five characters more and must still be a DNS label of 63.
pub const MAX_NAME_LENGTH: usize = 57;

/// The prefix of names where neither the environment nor a template gives one.
pub const DEFAULT_PREFIX: &str = "agent-job-";

/// 12 characters of base 32 carry 60 bits: among a million names, two meet with a chance of one in two million.
const HASH_LENGTH: usize = 12;

/// Enough to tell installations apart at a glance; the whole id is on the labels.
const SHORT_ID_LENGTH: usize = 5;

/// Who we are among all that serve the same pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Installation {
    id: String,
    short: String,
}

impl Installation {
    /// An installation by its whole id, which has to be a valid label value.
    #[must_use]
    pub fn new(id: impl Into<String>) -> Self {
        let id = id.into();
        let short = short_hash(&["installation", &id], SHORT_ID_LENGTH);
        Self { id, short }
    }

    /// The installation whose agents live in the namespace with this UID, which no two clusters or namespaces share.
    #[must_use]
    pub fn of_namespace(uid: &str) -> Self {
        Self::new(short_hash(&["namespace", uid], 16))
    }

    /// The installation whose agents live in this resource group of Azure, which no two subscriptions share. Whoever serves it
    /// later is the same one.
    #[must_use]
    pub fn of_resource_group(subscription: &str, resource_group: &str) -> Self {
        let (subscription, resource_group) = (subscription.to_lowercase(), resource_group.to_lowercase());
        Self::new(short_hash(&["resource-group", &subscription, &resource_group], 16))
    }

    /// The whole id, as it stands on labels.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The short form that stands in clear in every name.
    #[must_use]
    pub fn short(&self) -> &str {
        &self.short
    }
}

/// The name of a run and of its agent: `PREFIX-SHORT-HASH`, a DNS label (RFC 1123) of at most [`MAX_NAME_LENGTH`].
#[must_use]
pub fn run_name(
    prefix: &str,
    installation: &Installation,
    organization: &str,
    pool: &str,
    template: &str,
    purpose: Purpose,
    attempt: u32,
) -> String {
    RunNames::new(prefix, installation, organization, pool, template).name(purpose, attempt)
}

/// The names of all runs of one template in one pool. What they have in common is worked out once.
pub(super) struct RunNames {
    start: String,
    template: String,
    request: PartsHash,
    slot: PartsHash,
}

impl RunNames {
    pub(super) fn new(
        prefix: &str,
        installation: &Installation,
        organization: &str,
        pool: &str,
        template: &str,
    ) -> Self {
        // As Azure DevOps compares them: who writes them down in another letter case means the same ones.
        let (organization, pool) = (lower_case(organization), lower_case(pool));
        let common = PartsHash::default().with(installation.id()).with(&organization).with(&pool);
        Self {
            start: format!("{}-{}-", clean_prefix(prefix), installation.short()),
            template: template.to_owned(),
            request: common.clone().with("request"),
            slot: common.with("slot"),
        }
    }

    pub(super) fn name(&self, purpose: Purpose, attempt: u32) -> String {
        let attempt = attempt.to_string();
        let parts = match purpose {
            Purpose::Request(id) => self.request.clone().with(&id.to_string()),
            Purpose::Slot(slot) => self.slot.clone().with(&self.template).with(&slot.to_string()),
        };
        let mut name = String::with_capacity(self.start.len() + HASH_LENGTH);
        name.push_str(&self.start);
        parts.with(&attempt).write(HASH_LENGTH, &mut name);
        name
    }
}

/// The name of the Lease that those orchestrators share who do the same work: `kubectl-ado-SHORT-HASH`. In which order
/// or letter case the pools were written down makes no difference, as it makes none to Azure DevOps.
#[must_use]
pub fn lease_name(installation: &Installation, organization: &str, pools: &[&str]) -> String {
    let mut pools: Vec<_> = pools.iter().map(|pool| lower_case(pool)).collect();
    pools.sort_unstable();
    pools.dedup();
    let organization = lower_case(organization);
    let mut parts = vec!["lease", installation.id(), &organization];
    parts.extend(pools.iter().map(AsRef::as_ref));
    format!("kubectl-ado-{}-{}", installation.short(), short_hash(&parts, HASH_LENGTH))
}

/// Whether two names of pools, or two URLs of organizations, mean the same one to Azure DevOps: in any letter case.
#[must_use]
pub fn is_same_name(one: &str, other: &str) -> bool {
    one == other || lower_case(one) == lower_case(other)
}

/// A prefix fit for a DNS label that starts with a letter or digit: lower case, other characters as dashes, no dash
/// at its ends, short enough for the rest of the name to follow.
#[must_use]
pub fn clean_prefix(prefix: &str) -> String {
    let room = MAX_NAME_LENGTH - HASH_LENGTH - SHORT_ID_LENGTH - 2;
    let mut clean = String::new();
    for c in prefix.to_lowercase().chars() {
        let c = if c.is_ascii_alphanumeric() { c } else { '-' };
        if c != '-' || !(clean.is_empty() || clean.ends_with('-')) {
            clean.push(c);
        }
    }
    clean.truncate(room);
    let clean = clean.trim_end_matches('-');
    if clean.is_empty() { "agent".to_owned() } else { clean.to_owned() }
}

/// A pool's name as a label value, for selecting by eye: readable where the name allows it, always unique by a hash
/// where it does not.
#[must_use]
pub fn pool_label(pool: &str) -> String {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let ends = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    if pool.len() <= 63 && pool.chars().all(fits) && ends(pool.chars().next()) && ends(pool.chars().last()) {
        return pool.to_owned();
    }
    let mut readable: String = pool.chars().map(|c| if fits(c) { c } else { '-' }).take(48).collect();
    readable = readable.trim_matches(|c: char| !c.is_ascii_alphanumeric()).to_owned();
    let hash = short_hash(&["pool", pool], HASH_LENGTH);
    if readable.is_empty() { hash } else { format!("{readable}-{hash}") }
}

/// The first characters (at most 51) of the SHA-256 of the parts in lower-case base 32. Parts are kept apart by
/// their lengths, so that no two lists of parts read the same.
#[must_use]
pub fn short_hash(parts: &[&str], length: usize) -> String {
    let mut hash = String::with_capacity(length);
    parts.iter().fold(PartsHash::default(), |hash, part| hash.with(part)).write(length, &mut hash);
    hash
}

/// The hash of a list of parts while it grows.
#[derive(Clone, Default)]
struct PartsHash(Sha256);

impl PartsHash {
    fn with(mut self, part: &str) -> Self {
        self.0.update((part.len() as u64).to_be_bytes());
        self.0.update(part.as_bytes());
        self
    }

    fn write(self, length: usize, text: &mut String) {
        const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
        let (mut bits, mut held, mut left) = (0u32, 0, length);
        for byte in self.0.finalize() {
            bits = bits << 8 | u32::from(byte);
            held += 8;
            while held >= 5 && left > 0 {
                held -= 5;
                left -= 1;
                text.push(char::from(ALPHABET[(bits >> held & 31) as usize]));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::core::RequestId;

    fn name(prefix: &str, pool: &str, request: i64, attempt: u32) -> String {
        let us = Installation::new("0123456789abcdef");
        run_name(
            prefix,
            &us,
            "https://dev.azure.com/contoso",
            pool,
            "default",
            Purpose::Request(RequestId(request)),
            attempt,
        )
    }

    fn is_dns_label(text: &str, longest: usize) -> bool {
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        !text.is_empty()
            && text.len() <= longest
            && text.chars().all(fits)
            && !text.starts_with('-')
            && !text.ends_with('-')
    }

    #[test]
    fn a_prefix_counts_with_or_without_its_trailing_dash() {
        assert_eq!(name("agent-job-", "Pool1", 1, 1), name("agent-job", "Pool1", 1, 1));
        assert!(name("agent-job-", "Pool1", 1, 1).starts_with("agent-job-"));
    }

    #[test]
    fn another_attempt_request_pool_or_installation_is_another_name() {
        let base = name("a", "Pool1", 1, 1);
        assert_eq!(base, name("a", "Pool1", 1, 1));
        assert_ne!(base, name("a", "Pool1", 1, 2));
        assert_ne!(base, name("a", "Pool1", 2, 1));
        assert_ne!(base, name("a", "Pool2", 1, 1));
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        assert_ne!(short_hash(&["ab", "c"], 12), short_hash(&["a", "bc"], 12));
    }

    #[test]
    fn one_lease_for_each_installation_organization_and_set_of_pools() {
        let lease = |id: &str, organization: &str, pools: &[&str]| {
            let name = lease_name(&Installation::new(id), organization, pools);
            assert!(name.starts_with("kubectl-ado-") && is_dns_label(&name, 63), "{name}");
            name
        };
        let base = lease("a", "https://dev.azure.com/contoso", &["One", "Two"]);
        assert_eq!(base, lease("a", "https://dev.azure.com/Contoso", &["two", "One", "Two"]));
        assert_ne!(base, lease("b", "https://dev.azure.com/contoso", &["One", "Two"]));
        assert_ne!(base, lease("a", "https://dev.azure.com/fabrikam", &["One", "Two"]));
        assert_ne!(base, lease("a", "https://dev.azure.com/contoso", &["One"]));
        assert_ne!(base, lease("a", "https://dev.azure.com/contoso", &["OneTwo"]));
    }

    #[test]
    fn an_ordinary_pool_name_is_its_own_label() {
        assert_eq!(pool_label("Linux_Builds-1.x"), "Linux_Builds-1.x");
        assert!(pool_label("Linux Builds").starts_with("Linux-Builds-"));
        assert_ne!(pool_label("Linux Builds"), pool_label("Linux/Builds"));
    }

    proptest! {
        #[test]
        fn any_prefix_and_any_pool_give_a_dns_label(prefix in "\\PC{0,80}", pool in "\\PC{1,80}", request: i64) {
            let name = name(&prefix, &pool, request, 3);
            prop_assert!(is_dns_label(&name, MAX_NAME_LENGTH), "{name}");
        }

        #[test]
        fn any_pool_gives_a_label_value(pool in "\\PC{1,80}") {
            let label = pool_label(&pool);
            let lower = label.to_lowercase().replace(['_', '.'], "-");
            prop_assert!(is_dns_label(&lower, 63), "{label}");
        }
    }
}
