//! The ledger by itself: lists, looks, and what is put away when.

use super::*;
use crate::core::{Purpose, Recipe, RequestId};

const RETENTION: Retention = Retention { finished: Duration::from_secs(600), failed: Duration::from_secs(86_400) };

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

fn seen(name: &str, provisioning: &str) -> Seen {
    let start = StartRun {
        name: name.to_owned(),
        pool: "Linux".to_owned(),
        template: "default".to_owned(),
        purpose: Purpose::Request(RequestId(1)),
        attempt: 1,
        revision: "r".to_owned(),
        recipe: Recipe::Token,
    };
    Seen {
        run: start.expected(at(0)),
        deadline: at(10_000),
        container: "agent".to_owned(),
        provisioning: provisioning.to_owned(),
        in_full: false,
        has_run: false,
        exit_code: None,
    }
}

fn looked(name: &str, phase: RunPhase, progress: Progress) -> Seen {
    let seen = seen(name, "Succeeded");
    Seen { run: Run { phase, progress, ..seen.run }, in_full: true, has_run: true, ..seen }
}

fn ledger(list: Vec<Seen>) -> Ledger {
    let mut ledger = Ledger::new(RETENTION);
    ledger.listed(list, Instant::now());
    ledger
}

fn chores(ledger: &Ledger, short: bool, now: i64) -> Vec<(String, What)> {
    let chores = ledger.chores(short, |pool| pool == "Linux", at(now));
    chores.into_iter().map(|chore| (chore.seen.run.name, chore.what)).collect()
}

#[tokio::test(start_paused = true)]
async fn groups_are_looked_at_as_often_as_it_matters() {
    let mut ledger = ledger(vec![seen("new", "Pending"), seen("runs", "Succeeded"), seen("ended", "Succeeded")]);
    assert_eq!(ledger.to_look_at(1), ["ended", "new", "runs"]);
    ledger.looked("new", Some(looked("new", RunPhase::Live, Progress::Pending)));
    ledger.looked("runs", Some(looked("runs", RunPhase::Live, Progress::Running)));
    ledger.looked("ended", Some(looked("ended", RunPhase::Succeeded(at(5)), Progress::Ended)));
    assert_eq!(ledger.to_look_at(1), [""; 0]);
    tokio::time::advance(Duration::from_secs(4)).await;
    assert_eq!((ledger.to_look_at(1), ledger.to_look_at(4)), (vec!["new".to_owned()], Vec::new()));
    ledger.busy(&["runs".to_owned()].into());
    ledger.busy(&BTreeSet::new());
    assert!(ledger.to_look_at(1).contains(&"runs".to_owned()), "its job has ended");
    tokio::time::advance(Duration::from_secs(11)).await;
    assert_eq!(ledger.to_look_at(1).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_a_list_tells_anew_is_looked_at_at_once() {
    let mut ledger = ledger(vec![seen("a", "Creating")]);
    let first = Seen { provisioning: "Creating".to_owned(), ..looked("a", RunPhase::Live, Progress::Pending) };
    ledger.looked("a", Some(first));
    ledger.listed(vec![seen("a", "Creating")], Instant::now());
    assert_eq!(ledger.to_look_at(1), [""; 0]);
    ledger.listed(vec![seen("a", "Failed")], Instant::now());
    assert_eq!(ledger.to_look_at(1), ["a"]);
    assert!(ledger.runs(at(1))[0].is_live(), "not before the reason is known");
}

#[tokio::test(start_paused = true)]
async fn what_has_ended_goes_and_stays_known() {
    let mut ledger = ledger(vec![seen("a", "Succeeded"), seen("b", "Succeeded"), seen("c", "Succeeded")]);
    ledger.looked("a", Some(looked("a", RunPhase::Succeeded(at(100)), Progress::Ended)));
    ledger.looked("b", Some(looked("b", RunPhase::Failed(at(100), "x".to_owned()), Progress::Ended)));
    ledger.looked("c", Some(looked("c", RunPhase::Live, Progress::Running)));
    let keep_log = ("b".to_owned(), What::KeepLog);
    assert_eq!(chores(&ledger, false, 110), [("a".to_owned(), What::Ended), keep_log]);
    ledger.groups.get_mut("b").unwrap().log = Log::Kept;
    assert_eq!(chores(&ledger, false, 399), [("a".to_owned(), What::Ended)]);
    assert_eq!(chores(&ledger, true, 110).len(), 2, "the quota is short");
    assert_eq!(chores(&ledger, false, 400).len(), 2, "no next attempt waits any longer");
    assert_eq!(chores(&ledger, false, 10_000).first().unwrap(), &("c".to_owned(), What::Overdue));

    let run = ledger.groups["a"].seen.run.clone();
    ledger.deleted("a", run.created_at, at(120));
    ledger.remember(run);
    let ended = |ledger: &mut Ledger, now| ledger.runs(at(now)).iter().any(|run| run.name == "a" && !run.is_live());
    assert!(ended(&mut ledger, 121));
    assert_eq!(ledger.listed(vec![seen("b", "Succeeded"), seen("c", "Succeeded")], Instant::now()), 1);
    assert!(ended(&mut ledger, 699) && !ended(&mut ledger, 700));
}

#[tokio::test(start_paused = true)]
async fn groups_of_pools_that_are_not_served_go_later() {
    let mut other = looked("a", RunPhase::Succeeded(at(100)), Progress::Ended);
    other.run.pool = "Windows".to_owned();
    let mut ledger = ledger(vec![]);
    ledger.looked("a", Some(other));
    assert_eq!(chores(&ledger, true, 999), []);
    assert_eq!(chores(&ledger, false, 1000), [("a".to_owned(), What::Ended)]);
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_does_not_come_about_is_asked_for_again() {
    let mut ledger = ledger(vec![]);
    ledger.looked("a", Some(looked("a", RunPhase::Succeeded(at(100)), Progress::Ended)));
    ledger.deleted("a", at(0), at(110));
    assert_eq!((chores(&ledger, false, 200), ledger.is_going("a")), (vec![], true));
    tokio::time::advance(Duration::from_secs(301)).await;
    assert_eq!(chores(&ledger, false, 500), [("a".to_owned(), What::Ended)]);
}

#[tokio::test(start_paused = true)]
async fn a_group_that_was_made_while_a_list_was_written_stays() {
    let mut ledger = Ledger::new(RETENTION);
    let begun = Instant::now();
    tokio::time::advance(Duration::from_secs(1)).await;
    ledger.looked("a", Some(looked("a", RunPhase::Live, Progress::Running)));
    assert_eq!(ledger.listed(vec![], begun), 0);
    assert_eq!(ledger.runs(at(1)).len(), 1);
    assert_eq!(ledger.listed(vec![], Instant::now()), 1);
}

#[tokio::test(start_paused = true)]
async fn a_deletion_that_was_refused_is_asked_for_less_and_less_often_and_the_overdue_go_first() {
    let mut ledger = ledger(vec![seen("a", "Succeeded"), seen("b", "Succeeded")]);
    ledger.looked("a", Some(looked("a", RunPhase::Succeeded(at(100)), Progress::Ended)));
    ledger.looked("b", Some(looked("b", RunPhase::Live, Progress::Running)));
    let both = [("b".to_owned(), What::Overdue), ("a".to_owned(), What::Ended)];
    assert_eq!(chores(&ledger, false, 20_000), both);
    for wait in [5, 10, 20] {
        ledger.not_deleted("b", None);
        assert_eq!(chores(&ledger, false, 20_000).len(), 1);
        tokio::time::advance(Duration::from_secs(wait - 1)).await;
        assert_eq!(chores(&ledger, false, 20_000).len(), 1, "not before {wait} s");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(chores(&ledger, false, 20_000), both);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refused_deletion_lasts_until_the_group_goes_also_while_nobody_tries() {
    let refused = HostError::Refused { reason: "locked", message: "cannot delete".to_owned(), fix: None };
    let mut ledger = ledger(vec![seen("a", "Succeeded")]);
    ledger.looked("a", Some(looked("a", RunPhase::Succeeded(at(100)), Progress::Ended)));
    ledger.not_deleted("a", Some(refused.clone()));
    assert_eq!((chores(&ledger, false, 200), ledger.lasting_refusal()), (vec![], Some(refused)));
    // What passes by itself is no refusal.
    ledger.not_deleted("a", Some(HostError::Unavailable("busy".to_owned())));
    assert_eq!(ledger.lasting_refusal(), None);
    ledger.not_deleted("a", Some(HostError::Refused { reason: "locked", message: String::new(), fix: None }));
    ledger.deleted("a", at(0), at(200));
    assert_eq!(ledger.lasting_refusal(), None);
}

#[tokio::test(start_paused = true)]
async fn a_group_of_another_installation_is_named_once_and_goes_when_its_time_is_long_over() {
    let former = Former { name: "a".to_owned(), who: "installation green".to_owned(), deadline: at(1000) };
    let mut ledger = ledger(vec![]);
    assert_eq!(ledger.listed_former(vec![former.clone()]), std::slice::from_ref(&former));
    assert_eq!(ledger.listed_former(vec![former.clone()]), []);
    assert_eq!(ledger.given_up(at(1599)), []);
    assert_eq!(ledger.given_up(at(1600)), std::slice::from_ref(&former));
    assert_eq!(ledger.given_up(at(1601)), [], "it is on its way");
    tokio::time::advance(Duration::from_secs(301)).await;
    assert_eq!(ledger.given_up(at(1902)), [former]);
    ledger.listed_former(vec![]);
    assert_eq!(ledger.given_up(at(2000)), []);
}
