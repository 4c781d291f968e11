//! What is to be done when Azure has no room for another group: nothing, until there is some. Azure's own count says so at the
//! price of one read; a group that is gone is a reason to ask at once.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use serde_json::Value;
use tokio::time::Instant;

/// The wait before the count is asked for again; it doubles each time that Azure refuses in spite of it.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// With room for so many groups, nobody has to count any more.
const PLENTY: u64 = 30;

/// Of Azure's counts, these limit groups.
const GROUPS: &str = "ContainerGroups";
const CORES: &str = "StandardCores";

/// Whether there is room, as far as is known.
#[derive(Debug, Default)]
pub(super) struct Quota(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// Azure's words, while room is short.
    short: Option<String>,
    /// How many groups may be tried before the count is asked for again.
    permits: u64,
    /// When to ask next.
    ask_at: Option<Instant>,
    /// Whether it was asked for since the last refusal.
    asked: bool,
    /// How often it was refused in spite of the count.
    refusals: u32,
    /// When Azure last refused a group.
    refused_at: Option<Instant>,
}

/// What a start has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    /// Go on.
    Open,
    /// There is no room, in Azure's words.
    Closed(String),
    /// There was no room; ask for the count.
    Ask(String),
}

impl Quota {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether room is short, so that what has ended should go soon.
    pub(super) fn is_short(&self) -> bool {
        self.state().short.is_some()
    }

    /// What a start has to do now. Of several at once, one asks.
    pub(super) fn gate(&self) -> Gate {
        let mut state = self.state();
        let Some(message) = state.short.clone() else { return Gate::Open };
        if let Some(left) = state.permits.checked_sub(1) {
            state.permits = left;
            return Gate::Open;
        }
        let now = Instant::now();
        if state.ask_at.is_some_and(|at| now < at) {
            return Gate::Closed(message);
        }
        state.ask_at = Some(now + FIRST_WAIT);
        state.asked = true;
        Gate::Ask(message)
    }

    /// Azure has refused a group. What was in flight together is refused together: that is one refusal.
    pub(super) fn refused(&self, message: &str) {
        let mut state = self.state();
        if state.short.is_none() || state.asked {
            let wait = FIRST_WAIT * 2u32.pow(state.refusals.min(10));
            state.ask_at = Some(Instant::now() + wait.min(LONGEST_WAIT));
            state.refusals = state.refusals.saturating_add(1);
            state.asked = false;
        }
        state.permits = 0;
        state.refused_at = Some(Instant::now());
        state.short = Some(message.to_owned());
    }

    /// Whether Azure has refused a group since: whoever was let through before has to ask again.
    pub(super) fn refused_since(&self, moment: Instant) -> bool {
        self.state().refused_at.is_some_and(|at| at > moment)
    }

    /// Azure's count has room for so many groups, whoever asked for it included. It may be mistaken: other limits are not
    /// counted.
    pub(super) fn has_room(&self, groups: u64) {
        let mut state = self.state();
        state.permits = groups.saturating_sub(1);
        if groups > PLENTY {
            state.short = None;
        }
    }

    /// Azure has taken a group. Long after the last refusal, room is not short any more, however little is left by the count.
    pub(super) fn worked(&self) {
        let mut state = self.state();
        state.refusals = 0;
        if state.refused_at.is_some_and(|at| at.elapsed() >= LONGEST_WAIT) {
            state.short = None;
        }
    }

    /// A group is gone.
    pub(super) fn group_is_gone(&self) {
        let mut state = self.state();
        state.refusals = 0;
        state.ask_at = None;
    }
}

/// How much of something a region grants, and how much of it is in use.
#[derive(Clone, Debug, PartialEq)]
pub struct Usage {
    /// Azure's name for it: `ContainerGroups`, `StandardCores`.
    pub name: String,
    /// In use.
    pub used: f64,
    /// Granted.
    pub limit: f64,
}

/// What limits groups, by Azure's count of usages.
pub(super) fn usages(usages: &Value) -> Vec<Usage> {
    let list = usages["value"].as_array().map(Vec::as_slice).unwrap_or_default();
    let usage = |usage: &Value| {
        let name = usage["name"]["value"].as_str()?.to_owned();
        Some(Usage { name, used: usage["currentValue"].as_f64()?, limit: usage["limit"].as_f64()? })
    };
    list.iter().filter_map(usage).filter(|usage| [GROUPS, CORES].contains(&usage.name.as_str())).collect()
}

/// How many more groups of so many cores the region has room for, by Azure's count of usages.
pub(super) fn room(usages: &Value, cores: f64) -> u64 {
    let usages = self::usages(usages);
    let left = |name: &str| {
        let usage = usages.iter().find(|usage| usage.name == name)?;
        Some((usage.limit - usage.used).max(0.0))
    };
    // What is not counted is no hindrance.
    let groups = left(GROUPS).unwrap_or(f64::MAX);
    let by_cores = if cores > 0.0 { left(CORES).map_or(f64::MAX, |left| left / cores) } else { f64::MAX };
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Saturates, and is not negative.
    let room = groups.min(by_cores) as u64;
    room
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn ask() -> Gate {
        Gate::Ask("full".to_owned())
    }

    fn closed() -> Gate {
        Gate::Closed("full".to_owned())
    }

    #[tokio::test(start_paused = true)]
    async fn without_room_the_count_is_asked_for_now_and_then_and_at_once_when_a_group_is_gone() {
        let quota = Quota::default();
        assert_eq!(quota.gate(), Gate::Open);
        quota.refused("full");
        quota.refused("full");
        assert_eq!(quota.gate(), closed());
        tokio::time::advance(FIRST_WAIT).await;
        assert_eq!((quota.gate(), quota.gate()), (ask(), closed()));
        quota.group_is_gone();
        assert_eq!(quota.gate(), ask());
    }

    #[tokio::test(start_paused = true)]
    async fn as_many_start_as_there_is_room_for() {
        let quota = Quota::default();
        quota.refused("full");
        quota.group_is_gone();
        assert_eq!(quota.gate(), ask());
        quota.has_room(3);
        assert_eq!([quota.gate(), quota.gate(), quota.gate()], [Gate::Open, Gate::Open, closed()]);
        assert!(quota.is_short());
        quota.group_is_gone();
        assert_eq!(quota.gate(), ask());
        quota.has_room(PLENTY + 1);
        assert!(!quota.is_short());
    }

    #[tokio::test(start_paused = true)]
    async fn a_count_that_is_mistaken_again_and_again_is_trusted_less_and_less() {
        let quota = Quota::default();
        let mut waits = Vec::new();
        for _ in 0..6 {
            quota.refused("full");
            let before = Instant::now();
            while quota.gate() != ask() {
                tokio::time::advance(Duration::from_secs(1)).await;
            }
            waits.push(before.elapsed().as_secs());
            quota.has_room(1);
        }
        assert_eq!(waits, [5, 10, 20, 40, 60, 60]);
    }

    #[test]
    fn there_is_room_where_groups_and_cores_are_left() {
        let usages = |groups: f64, cores: f64| {
            json!({"value": [
                {"name": {"value": "ContainerGroups"}, "currentValue": groups, "limit": 20},
                {"name": {"value": "StandardCores"}, "currentValue": cores, "limit": 100.0}]})
        };
        assert_eq!(room(&usages(18.0, 10.0), 2.0), 2);
        assert_eq!(room(&usages(20.0, 10.0), 2.0), 0);
        assert_eq!(room(&usages(1.0, 99.0), 2.0), 0);
        assert_eq!(room(&usages(25.0, 0.0), 2.0), 0);
        assert!(room(&json!({}), 2.0) > PLENTY);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_was_let_through_asks_again_only_after_another_refusal() {
        let quota = Quota::default();
        quota.refused("no room");
        tokio::time::advance(FIRST_WAIT).await;
        assert!(matches!(quota.gate(), Gate::Ask(_)));
        quota.has_room(1);
        let passed = Instant::now();
        assert!(!quota.refused_since(passed), "its own place is still there");
        assert!(matches!(quota.gate(), Gate::Closed(_)), "and nobody else's");
        tokio::time::advance(Duration::from_secs(1)).await;
        quota.refused("no room");
        assert!(quota.refused_since(passed));
    }

    #[tokio::test(start_paused = true)]
    async fn room_is_not_short_for_ever_where_there_is_never_much() {
        let quota = Quota::default();
        quota.refused("no room");
        tokio::time::advance(FIRST_WAIT).await;
        assert!(matches!(quota.gate(), Gate::Ask(_)));
        quota.has_room(3);
        quota.worked();
        assert!(quota.is_short(), "it was short a moment ago");
        tokio::time::advance(LONGEST_WAIT).await;
        quota.worked();
        assert!(!quota.is_short());
    }
}
