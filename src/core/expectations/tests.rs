//! Single cases first, then any order of anything against a world that is seen late.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use proptest::prelude::*;

use super::*;
use crate::core::{Purpose, RequestId};

fn at(seconds: i64) -> Timestamp {
    "2026-11-24T08:00:00Z".parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

fn start(name: &str) -> StartRun {
    StartRun {
        name: name.into(),
        pool: "Default".into(),
        template: "default".into(),
        purpose: Purpose::Request(RequestId(1)),
        attempt: 1,
        revision: "r".into(),
        recipe: crate::core::Recipe::default(),
    }
}

fn seen(name: &str, created_at: Timestamp) -> Run {
    let expected = ExpectedStart {
        run: start(name),
        asked_at: created_at,
        created_at: None,
        held: None,
        in_doubt: false,
        until: created_at,
    };
    Run { progress: Progress::Placed, ..expected.as_run() }
}

fn names(runs: &[Run]) -> Vec<&str> {
    runs.iter().map(|run| run.name.as_str()).collect()
}

#[test]
fn what_was_just_started_counts_as_pending_until_it_is_seen() {
    let mut expectations = Expectations::default();
    expectations.starting(&start("a"), at(0));
    expectations.started("a", at(1), None);
    let runs = expectations.merge(Vec::new(), at(2));
    assert!(runs[0].is_live() && runs[0].progress == Progress::Pending && runs[0].created_at == at(1));
    assert_eq!(expectations.merge(vec![seen("a", at(1))], at(3)), [seen("a", at(1))]);
    assert!(expectations.merge(Vec::new(), at(4)).is_empty(), "it was seen, and is gone now");
}

#[test]
fn what_is_seen_before_the_answer_comes_is_not_expected_again() {
    let mut expectations = Expectations::default();
    expectations.starting(&start("a"), at(0));
    assert_eq!(expectations.merge(vec![seen("a", at(0))], at(1)).len(), 1);
    expectations.started("a", at(0), None);
    assert!(expectations.merge(Vec::new(), at(2)).is_empty());
}

#[test]
fn a_refused_start_is_not_expected_unless_an_earlier_one_worked() {
    let mut expectations = Expectations::default();
    expectations.starting(&start("a"), at(0));
    expectations.refused("a", at(0));
    assert!(expectations.merge(Vec::new(), at(0)).is_empty());

    expectations.starting(&start("a"), at(1));
    expectations.started("a", at(1), None);
    expectations.starting(&start("a"), at(2));
    expectations.refused("a", at(2));
    expectations.in_doubt("a", at(2));
    assert_eq!(names(&expectations.merge(Vec::new(), at(100))), ["a"]);
}

#[test]
fn a_start_in_doubt_is_expected_for_seconds_and_a_sure_one_for_minutes() {
    let mut expectations = Expectations::default();
    for name in ["doubtful", "sure"] {
        expectations.starting(&start(name), at(0));
    }
    expectations.started("sure", at(0), None);
    expectations.in_doubt("doubtful", at(10));
    assert_eq!(expectations.merge(Vec::new(), at(12)).len(), 2);
    assert_eq!(names(&expectations.merge(Vec::new(), at(13))), ["sure"]);
    assert_eq!(names(&expectations.merge(Vec::new(), at(299))), ["sure"]);
    assert!(expectations.merge(Vec::new(), at(300)).is_empty());
}

#[test]
fn a_doubt_is_settled_by_asking_and_goes_on_as_long_as_there_is_no_answer() {
    let mut expectations = Expectations::default();
    for name in ["there", "not-there", "unknown"] {
        expectations.starting(&start(name), at(0));
        expectations.in_doubt(name, at(10));
    }
    assert!(expectations.doubts(at(12)).is_empty(), "the watch has its time");
    assert_eq!(expectations.doubts(at(13)).len(), 3);
    expectations.started("there", at(1), None);
    expectations.still_in_doubt("unknown", at(13));
    let runs = expectations.merge(Vec::new(), at(13));
    assert_eq!(names(&runs).into_iter().collect::<BTreeSet<_>>(), ["there", "unknown"].into());
    assert_eq!(expectations.doubts(at(16)), ["unknown"], "what is there is asked for once");
    for second in (16..400).step_by(3) {
        expectations.still_in_doubt("unknown", at(second));
        let _ = expectations.merge(Vec::new(), at(second));
    }
    assert!(!expectations.expects("unknown"), "not for ever");
}

#[test]
fn what_was_stopped_is_gone_at_once_and_a_later_namesake_is_not() {
    let mut expectations = Expectations::default();
    expectations.stopped("a", at(0), at(9));
    assert!(expectations.merge(vec![seen("a", at(0))], at(10)).is_empty());
    assert!(expectations.merge(vec![seen("a", at(0))], at(11)).is_empty(), "as long as it is seen");
    assert_eq!(expectations.merge(vec![seen("a", at(12))], at(13)).len(), 1);
    assert!(expectations.stops.is_empty());
}

#[test]
fn a_stop_is_forgotten_when_the_run_is_gone_or_after_minutes() {
    let mut expectations = Expectations::default();
    expectations.stopped("a", at(0), at(9));
    assert!(expectations.merge(Vec::new(), at(10)).is_empty() && expectations.stops.is_empty());
    expectations.stopped("a", at(0), at(11));
    assert_eq!(expectations.merge(vec![seen("a", at(0))], at(311)).len(), 1, "it goes on whatever we did");
}

#[test]
fn what_was_made_ready_is_not_held_though_it_is_seen_so_for_a_while() {
    let held = |by: &str| Some(Held { by: by.into(), since: at(0) });
    let seen = |created_at, held| Run { held, ..seen("a", created_at) };
    let mut expectations = Expectations::default();
    expectations.starting(&start("a"), at(0));
    assert_eq!(expectations.merge(Vec::new(), at(0))[0].held, None, "nobody knows yet whether it is there");
    expectations.started("a", at(1), held("me"));
    assert_eq!(expectations.merge(Vec::new(), at(1))[0].held, held("me"));
    expectations.equipped("a", at(1), at(2));
    assert_eq!(expectations.merge(Vec::new(), at(2))[0].held, None);
    assert_eq!(expectations.merge(vec![seen(at(1), held("me"))], at(3))[0].held, None, "the watch lags");
    assert_eq!(expectations.merge(vec![seen(at(1), None)], at(4))[0].held, None);
    assert!(expectations.equipped.is_empty(), "it was seen");

    expectations.equipped("a", at(1), at(5));
    assert_eq!(expectations.merge(vec![seen(at(9), held("you"))], at(9))[0].held, held("you"), "a later namesake");
    expectations.equipped("a", at(9), at(10));
    assert_eq!(expectations.merge(vec![seen(at(9), held("me"))], at(310))[0].held, held("me"), "something is wrong");
}

#[test]
fn a_start_after_a_stop_of_the_same_name_is_not_mistaken_for_the_old_one() {
    let mut expectations = Expectations::default();
    expectations.stopped("a", at(0), at(5));
    expectations.starting(&start("a"), at(6));
    assert_eq!(expectations.merge(vec![seen("a", at(0))], at(6))[0].progress, Progress::Pending);
    expectations.started("a", at(6), None);
    assert_eq!(expectations.merge(vec![seen("a", at(0))], at(7))[0].created_at, at(6), "the old one is still seen");
    assert_eq!(expectations.merge(vec![seen("a", at(6))], at(8))[0].progress, Progress::Placed);
}

/// What may happen, in any order.
#[derive(Clone, Debug)]
enum Step {
    /// We start it, and hear of it or not. The create works unless it is there.
    Start(u8, Answer),
    /// We stop it, if we see it.
    Stop(u8),
    /// It ends, and its host forgets it.
    Vanish(u8),
    /// The watch catches up with that many changes.
    CatchUp(u8),
    /// We look.
    Look,
}

#[derive(Clone, Copy, Debug)]
enum Answer {
    Heard,
    LostAndMade,
    Refused,
}

fn step() -> impl Strategy<Value = Step> {
    let answer = prop_oneof![4 => Just(Answer::Heard), 1 => Just(Answer::LostAndMade), 1 => Just(Answer::Refused)];
    prop_oneof![
        4 => (0..4u8, answer).prop_map(|(name, answer)| Step::Start(name, answer)),
        2 => (0..4u8).prop_map(Step::Stop),
        1 => (0..4u8).prop_map(Step::Vanish),
        3 => (1..4u8).prop_map(Step::CatchUp),
        2 => Just(Step::Look),
    ]
}

type World = BTreeMap<String, Timestamp>;

fn runs(world: &World) -> Vec<Run> {
    world.iter().map(|(name, created_at)| seen(name, *created_at)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2048))]

    #[test]
    fn there_are_never_fewer_runs_than_in_reality_and_in_the_end_as_many(steps in prop::collection::vec(step(), 1..40)) {
        let mut expectations = Expectations::default();
        let (mut real, mut shown) = (World::new(), World::new());
        // What the watch has yet to tell: all of reality after each change.
        let mut to_tell: Vec<World> = Vec::new();
        let mut now = at(0);
        for step in steps {
            // All steps together take less than any doubt lasts.
            now += SignedDuration::from_millis(50);
            match step {
                Step::Start(name, answer) => {
                    let name = name.to_string();
                    // Nobody starts what is there for all he knows.
                    let known = expectations.clone().merge(runs(&shown), now);
                    if known.iter().any(|run| run.name == name) {
                        continue;
                    }
                    expectations.starting(&start(&name), now);
                    expectations.starting(&start(&name), now);
                    if !matches!(answer, Answer::Refused) && !real.contains_key(&name) {
                        real.insert(name.clone(), now);
                        to_tell.push(real.clone());
                    }
                    match (answer, real.get(&name)) {
                        (Answer::Heard, Some(created_at)) => expectations.started(&name, *created_at, None),
                        (Answer::Refused, _) => expectations.refused(&name, now),
                        _ => expectations.in_doubt(&name, now),
                    }
                    expectations.refused("never started", now);
                }
                Step::Stop(name) => {
                    let name = name.to_string();
                    if let Some(created_at) = shown.get(&name).copied() {
                        if real.get(&name) == Some(&created_at) {
                            real.remove(&name);
                            to_tell.push(real.clone());
                        }
                        expectations.stopped(&name, created_at, now);
                        expectations.stopped(&name, created_at, now);
                    }
                }
                Step::Vanish(name) => {
                    if real.remove(&name.to_string()).is_some() {
                        to_tell.push(real.clone());
                    }
                }
                Step::CatchUp(changes) => {
                    for _ in 0..changes.min(to_tell.len().try_into().unwrap()) {
                        shown = to_tell.remove(0);
                    }
                }
                Step::Look => {}
            }
            let merged = expectations.merge(runs(&shown), now);
            let live: BTreeSet<&str> = merged.iter().map(|run| run.name.as_str()).collect();
            prop_assert_eq!(live.len(), merged.len(), "no name twice");
            for name in real.keys() {
                prop_assert!(live.contains(name.as_str()), "{} is there and not counted", name);
            }
            prop_assert_eq!(&expectations.merge(runs(&shown), now).len(), &merged.len(), "looking again changes nothing");
        }
        shown = real.clone();
        let merged = expectations.merge(runs(&shown), now + SignedDuration::from_secs(301));
        prop_assert_eq!(names(&merged), real.keys().map(String::as_str).collect::<Vec<_>>());
    }
}
