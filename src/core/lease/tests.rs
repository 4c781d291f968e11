//! The election, one situation after the other.

use super::*;

const T: LeaseTiming = LeaseTiming::STANDARD;

fn s(seconds: u64) -> Moment {
    Moment::from_secs(seconds)
}

fn clock(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_800_000_000 + seconds).unwrap()
}

fn held_by(holder: &str, renewed: i64) -> LeaseView {
    let record = LeaseRecord {
        holder: Some(holder.to_owned()).filter(|holder| !holder.is_empty()),
        renewed_at: Some(clock(renewed)),
        term: Some(T.lease),
        ..LeaseRecord::default()
    };
    LeaseView { version: renewed.to_string(), record }
}

#[test]
fn each_situation_has_its_step() {
    let seen = |holder: &str, first_seen, looked_at| {
        let LeaseView { version, record } = held_by(holder, 0);
        Some(ObservedLease { record, version: Some(version), first_seen: s(first_seen), looked_at: s(looked_at) })
    };
    let deleted = |observed: Option<ObservedLease>| observed.map(|seen| ObservedLease { version: None, ..seen });
    let never =
        Some(ObservedLease { record: LeaseRecord::default(), version: None, first_seen: s(100), looked_at: s(100) });
    for (what, observed, renewed, step) in [
        ("nothing is known", None, None, LeaseStep::Look),
        ("there is none", never, None, LeaseStep::Create),
        ("released", seen("", 100, 100), None, LeaseStep::TakeOver),
        ("ours, just renewed", seen("me", 98, 98), Some(s(98)), LeaseStep::Wait(s(103))),
        ("ours, due", seen("me", 95, 95), Some(s(95)), LeaseStep::Renew),
        ("ours by a write that was never confirmed", seen("me", 99, 99), None, LeaseStep::Renew),
        ("theirs, just looked", seen("them", 90, 99), None, LeaseStep::Wait(s(101))),
        ("theirs, about to be free", seen("them", 86, 99), None, LeaseStep::Wait(s(101))),
        ("theirs, not looked for a while", seen("them", 90, 98), None, LeaseStep::Look),
        ("theirs, unchanged for a term", seen("them", 85, 99), None, LeaseStep::TakeOver),
        ("theirs, deleted", deleted(seen("them", 90, 99)), None, LeaseStep::Wait(s(101))),
        ("theirs, deleted and its term over", deleted(seen("them", 85, 99)), None, LeaseStep::Create),
        ("ours, deleted", deleted(seen("me", 99, 99)), Some(s(98)), LeaseStep::Create),
    ] {
        assert_eq!(evaluate(observed.as_ref(), renewed, "me", s(100), &T), step, "{what}");
    }
}

#[test]
fn a_longer_promise_is_kept_and_an_absurd_one_is_not() {
    for (promised, free_after) in [(None, 15), (Some(1), 15), (Some(30), 30), (Some(86_400), 60)] {
        let mut election = Election::new("me", T);
        let mut view = held_by("them", 0);
        view.record.term = promised.map(s);
        election.saw(Some(view.clone()), s(0));
        election.saw(Some(view), s(free_after) - Duration::from_millis(1));
        assert_eq!(election.step(s(free_after) - Duration::from_millis(1)), LeaseStep::Wait(s(free_after)));
        assert_eq!(election.step(s(free_after)), LeaseStep::TakeOver, "{promised:?}");
    }
}

#[test]
fn a_holder_is_judged_by_our_clock_however_wrong_its_own_is() {
    for skew in [-1_000_000, 0, 1_000_000] {
        let mut election = Election::new("me", T);
        for look in 0..10 {
            let now = u64::from(look * 3_u32);
            election.saw(Some(held_by("them", skew + i64::from(look))), s(now));
            assert_eq!(election.step(s(now + 1)), LeaseStep::Wait(s(now + 2)), "it renews, so it lives");
        }
        assert_eq!(election.step(s(27 + 15)), LeaseStep::TakeOver);
    }
}

#[test]
fn a_term_counts_from_when_the_renewal_was_sent_and_ends_before_anybody_may_take_over() {
    let mut election = Election::new("me", T);
    election.saw(None, s(0));
    election.wrote(held_by("me", 0), s(1), s(4));
    assert_eq!(election.may_act_until(), Some(s(11)));
    election.failed(s(7));
    assert_eq!(election.may_act_until(), Some(s(11)), "a failed renewal neither lengthens nor ends it");
    assert_eq!(election.step(s(6)), LeaseStep::Wait(s(7)));
    assert_eq!(election.step(s(7)), LeaseStep::Look);
    election.saw(Some(held_by("me", 5)), s(8));
    assert_eq!(election.may_act_until(), Some(s(11)), "only what was confirmed counts");
    assert_eq!(election.step(s(8)), LeaseStep::Renew);
}

#[test]
fn whoever_sees_another_holder_or_no_lease_stops_at_once() {
    for seen in [Some(held_by("them", 9)), None] {
        let mut election = Election::new("me", T);
        election.wrote(held_by("me", 0), s(0), s(0));
        election.saw(seen, s(1));
        assert_eq!(election.may_act_until(), None);
    }
}

#[test]
fn a_record_tells_people_who_took_it_when_and_how_often_it_changed_hands() {
    let mut election = Election::new("me", T);
    election.saw(None, s(0));
    let first = election.claim(clock(0));
    assert_eq!((first.transitions, first.acquired_at, first.renewed_at), (0, Some(clock(0)), Some(clock(0))));
    election.wrote(LeaseView { version: "1".into(), record: first }, s(0), s(0));
    let renewed = election.claim(clock(0));
    assert_eq!((renewed.transitions, renewed.acquired_at), (0, Some(clock(0))));
    assert_ne!(renewed.renewed_at, Some(clock(0)), "a clock that stands still");

    let mut other = Election::new("other", T);
    other.saw(Some(LeaseView { version: "2".into(), record: renewed }), s(0));
    assert_eq!(other.claim(clock(60)).transitions, 1);
    assert_eq!(other.claim(clock(60)).acquired_at, Some(clock(60)));
}

#[test]
fn only_what_is_ours_is_released_and_then_anybody_may_have_it_at_once() {
    let mut election = Election::new("me", T);
    assert_eq!(election.resign(), None);
    election.saw(Some(held_by("them", 0)), s(0));
    assert_eq!(election.resign(), None);
    election.wrote(held_by("me", 3), s(3), s(3));
    let (version, record) = election.resign().unwrap();
    assert_eq!((version.as_str(), &record.holder, election.may_act_until()), ("3", &None, None));
    let mut other = Election::new("other", T);
    other.saw(Some(LeaseView { version: "4".into(), record }), s(0));
    assert_eq!(other.step(s(0)), LeaseStep::TakeOver);
}
