//! Which token Secrets we have made. The account may create and delete Secrets but not see them, so a ConfigMap
//! remembers their names, written before a Secret is: whatever happens in between, none is forgotten.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};

use crate::core::{Installation, short_hash};

/// How new the current Secret is when an older one may go: an orchestrator that is just being replaced may still be
/// starting agents with it.
const OVERLAP: SignedDuration = SignedDuration::from_secs(30);

/// After what time a Secret that nobody mounts is a leftover, be it another orchestrator's or the current one where all
/// agents are made without a token by now. Whoever uses it says so more often.
const ABANDONED: SignedDuration = SignedDuration::from_hours(24);

/// How often the one who uses a Secret says so.
pub(super) const REFRESH: SignedDuration = SignedDuration::from_hours(6);

const PREFIX: &str = "kubectl-ado-token";

/// Characters of the hash in a Secret's name.
const HASH_LENGTH: usize = 16;

/// The name of the Secret for a token and what goes with it; the same ones have the same name. A name is public, but 80 bits of a hash tell
/// nothing of a token that was made by a machine.
pub(super) fn secret_name(installation: &Installation, token: &str, authorities: Option<&str>) -> String {
    let parts: Vec<&str> = ["token", installation.id(), token].into_iter().chain(authorities).collect();
    format!("{PREFIX}-{}-{}", installation.short(), short_hash(&parts, HASH_LENGTH))
}

/// Whether we could have given a Secret this name. Others may write to the ConfigMap that names are read from, and who may
/// do that must not get other Secrets deleted, above all not the one that the installation mounts (`kubectl-ado-token`).
fn is_secret_name(installation: &Installation, name: &str) -> bool {
    let hash = name.strip_prefix(PREFIX).and_then(|rest| rest.strip_prefix('-'));
    let hash = hash.and_then(|rest| rest.strip_prefix(installation.short())).and_then(|rest| rest.strip_prefix('-'));
    let is_hash =
        |hash: &str| hash.len() == HASH_LENGTH && hash.bytes().all(|c| matches!(c, b'a'..=b'z' | b'2'..=b'7'));
    hash.is_some_and(is_hash)
}

/// The name of the ConfigMap that remembers them.
pub(super) fn note_name(installation: &Installation) -> String {
    format!("kubectl-ado-{}", installation.short())
}

/// Who uses a Secret: several orchestrators may live in one namespace, each with pools and a token of its own.
pub(super) fn user(organization: &str, pools: &[&str]) -> String {
    let mut parts = vec!["token user", organization];
    let mut pools = pools.to_vec();
    pools.sort_unstable();
    parts.extend(pools);
    short_hash(&parts, 12)
}

/// The remembered Secrets: name to who uses it and when they last said so.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Generations(BTreeMap<String, (String, Timestamp)>);

impl Generations {
    /// Reads the data of the ConfigMap; other keys in it are somebody else's.
    pub(super) fn read(data: &BTreeMap<String, String>, installation: &Installation) -> Self {
        let ours = data.iter().filter(|(name, _)| is_secret_name(installation, name));
        let entries = ours.map(|(name, value)| {
            let (user, since) = value.split_once(' ').unwrap_or((value, ""));
            (name.clone(), (user.to_owned(), since.parse().unwrap_or(Timestamp::UNIX_EPOCH)))
        });
        Self(entries.collect())
    }

    /// Whether somebody has to say (again) that the Secret is in use.
    pub(super) fn wants_note(&self, name: &str, user: &str, now: Timestamp) -> bool {
        self.0.get(name).is_none_or(|(known, since)| known != user || now.duration_since(*since) > REFRESH)
    }

    /// The line of the ConfigMap that says so.
    pub(super) fn line(user: &str, now: Timestamp) -> String {
        format!("{user} {now:.0}")
    }

    /// The Secrets that no Job mounts and no orchestrator uses any more.
    pub(super) fn obsolete(
        &self,
        current: &str,
        user: &str,
        mounted: &BTreeSet<String>,
        now: Timestamp,
    ) -> Vec<String> {
        // A current one that nobody has noted has not been mounted either: a former one may be in use until then.
        let settled = self.0.get(current).is_some_and(|(_, since)| now.duration_since(*since) >= OVERLAP);
        self.0
            .iter()
            .filter(|(name, (owner, since))| {
                let is_former = owner == user && name.as_str() != current;
                let unused = if is_former { settled } else { now.duration_since(*since) >= ABANDONED };
                !mounted.contains(*name) && unused
            })
            .map(|(name, _)| name.clone())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: &str = "2026-11-24T08:00:00Z";

    fn after(seconds: i64) -> Timestamp {
        START.parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
    }

    /// The name of a Secret of ours; the word stands for a hash.
    fn secret(word: &str) -> String {
        format!("{PREFIX}-{}-{word:a<HASH_LENGTH$}", Installation::new("us").short())
    }

    fn noted(entries: &[(&str, &str)]) -> Generations {
        let line = |user: &str| Generations::line(user, after(0));
        let mut data: BTreeMap<_, _> = entries.iter().map(|(word, user)| (secret(word), line(user))).collect();
        data.insert("status".into(), "somebody else's".into());
        Generations::read(&data, &Installation::new("us"))
    }

    fn obsolete(generations: &Generations, mounted: &[&str], now: Timestamp) -> Vec<String> {
        let mounted = mounted.iter().map(|word| secret(word)).collect();
        generations.obsolete(&secret("new"), "me", &mounted, now)
    }

    #[test]
    fn only_a_name_of_our_own_exact_form_is_ever_deleted() {
        let us = Installation::new("us");
        let real = secret_name(&us, "a former token", None);
        let odd = [
            "kubectl-ado-token".to_owned(),
            "kubectl-ado-token-".to_owned(),
            "kubectl-ado-token-backup".to_owned(),
            format!("{real}a"),
            real[..real.len() - 1].to_owned(),
            format!("x{real}"),
            real.to_uppercase(),
            format!("{}1", &real[..real.len() - 1]),
            format!("{}/", &real[..real.len() - 1]),
            secret_name(&Installation::new("them"), "a former token", None),
        ];
        let old = Generations::line("me", after(0));
        let data = odd.iter().chain([&real, &secret("new")]).map(|name| (name.clone(), old.clone())).collect();
        let generations = Generations::read(&data, &us);
        assert_eq!(generations.obsolete(&secret("new"), "me", &BTreeSet::new(), after(3600)), [real]);
    }

    #[test]
    fn the_same_token_has_the_same_name_and_no_other_has_it() {
        let us = Installation::new("us");
        let name = |us: &Installation, token| secret_name(us, token, None);
        assert_eq!(name(&us, "t1"), name(&us, "t1"));
        assert_ne!(name(&us, "t1"), name(&us, "t2"));
        assert_ne!(name(&us, "t1"), secret_name(&us, "t1", Some("PEM")), "other authorities are another Secret");
        assert_ne!(name(&us, "t1"), name(&Installation::new("them"), "t1"));
        assert!(!name(&us, "s3cr3t").contains("s3cr3t"));
    }

    #[test]
    fn an_old_secret_goes_when_no_job_mounts_it() {
        let generations = noted(&[("old", "me"), ("new", "me")]);
        assert_eq!(obsolete(&generations, &[], after(40)), [secret("old")]);
        assert!(obsolete(&generations, &["old"], after(40)).is_empty());
        assert!(obsolete(&generations, &[], after(10)).is_empty(), "the new one has to settle first");
        assert!(obsolete(&noted(&[("old", "me")]), &[], after(40)).is_empty(), "the new one is not there yet");
    }

    #[test]
    fn the_current_secret_goes_when_no_agent_is_made_with_a_token_any_more() {
        let generations = noted(&[("new", "me")]);
        assert!(obsolete(&generations, &[], after(3600)).is_empty());
        assert!(obsolete(&generations, &["new"], after(25 * 3600)).is_empty());
        assert_eq!(obsolete(&generations, &[], after(25 * 3600)), [secret("new")]);
    }

    #[test]
    fn another_orchestrator_s_secret_stays_until_it_is_abandoned() {
        let generations = noted(&[("theirs", "them"), ("new", "me")]);
        assert!(obsolete(&generations, &[], after(3600)).is_empty());
        assert_eq!(obsolete(&generations, &["new"], after(25 * 3600)), [secret("theirs")]);
    }

    #[test]
    fn use_is_noted_when_it_is_new_and_again_after_hours() {
        let generations = noted(&[("new", "me")]);
        assert!(!generations.wants_note(&secret("new"), "me", after(3600)));
        assert!(generations.wants_note(&secret("new"), "me", after(7 * 3600)));
        assert!(generations.wants_note(&secret("new"), "them", after(1)));
        assert!(generations.wants_note(&secret("other"), "me", after(1)));
    }

    #[test]
    fn the_order_of_pools_does_not_make_another_user() {
        assert_eq!(user("o", &["a", "b"]), user("o", &["b", "a"]));
        assert_ne!(user("o", &["a"]), user("o", &["b"]));
    }
}
