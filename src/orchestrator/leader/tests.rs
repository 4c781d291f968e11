//! Candidates over a Lease that is kept in memory, in paused time. What can happen between any two steps is
//! `core::lease`'s to show; here it is the loop around it.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use tokio::time::{sleep, timeout};

use super::*;
use crate::core::{LeaseRecord, LeaseView};

const T: LeaseTiming = LeaseTiming::STANDARD;

/// An API server with one Lease; each candidate has its own way to it.
#[derive(Clone, Default)]
struct Store {
    lease: Rc<RefCell<Option<LeaseView>>>,
    fault: Rc<Cell<Option<ErrorKind>>>,
    calls: Rc<Cell<u64>>,
}

impl Store {
    fn another_way(&self) -> Self {
        Self { lease: Rc::clone(&self.lease), ..Self::default() }
    }

    async fn answer(&self) -> Result<(), ClusterError> {
        self.calls.set(self.calls.get() + 1);
        match self.fault.get() {
            None => Ok(()),
            Some(kind) => {
                if kind == ErrorKind::Timeout {
                    sleep(Duration::from_secs(3)).await;
                }
                Err(error(kind))
            }
        }
    }
}

fn error(kind: ErrorKind) -> ClusterError {
    ClusterError { kind, message: "cannot".into(), fix: None }
}

impl LeaseStore for Store {
    async fn get(&self) -> Result<Option<LeaseView>, ClusterError> {
        self.answer().await?;
        Ok(self.lease.borrow().clone())
    }

    async fn put(&self, version: Option<&str>, record: &LeaseRecord) -> Result<LeaseView, ClusterError> {
        self.answer().await?;
        let mut lease = self.lease.borrow_mut();
        let current = lease.as_ref().map(|lease| lease.version.as_str());
        if current != version {
            return Err(error(ErrorKind::Conflict));
        }
        let next = current.map_or(1, |version| version.parse::<u64>().unwrap() + 1);
        Ok(lease.insert(LeaseView { version: next.to_string(), record: record.clone() }).clone())
    }
}

fn candidate(name: &str, store: &Store) -> (Candidate<Store>, Leadership, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::default());
    let (candidate, leadership) = Candidate::new(store.clone(), name.into(), T, Arc::clone(&metrics));
    (candidate, leadership, metrics)
}

/// Keeps both for as long as something else takes. The first one comes first, and wins where nobody leads.
async fn during<T>(one: &mut Candidate<Store>, other: &mut Candidate<Store>, something: impl Future<Output = T>) -> T {
    tokio::select! {
        biased;
        never = one.keep() => match never {},
        never = other.keep() => match never {},
        done = something => done,
    }
}

fn shows(metrics: &Metrics, line: &str) -> bool {
    metrics.text().unwrap().lines().any(|known| known == line)
}

#[tokio::test(start_paused = true)]
async fn one_leads_and_when_it_is_gone_the_other_does_within_a_term_and_a_look() {
    let store = Store::default();
    let (mut one, one_leads, metrics) = candidate("one", &store);
    let (mut other, other_leads, others_metrics) = candidate("other", &store);
    during(&mut one, &mut other, async {
        one_leads.until_may_act().await;
        for _ in 0..100 {
            sleep(Duration::from_secs(1)).await;
            assert!(one_leads.may_act() && !other_leads.may_act());
        }
    })
    .await;
    assert!(shows(&metrics, "kubectl_ado_leader 1") && shows(&others_metrics, "kubectl_ado_leader 0"));

    drop(one);
    let gone = Instant::now();
    tokio::select! {
        never = other.keep() => match never {},
        () = other_leads.until_may_act() => {}
    }
    assert!(gone.elapsed() <= T.lease + T.look, "{:?}", gone.elapsed());
    assert!(!one_leads.may_act(), "what remains of the one that is gone may not act any more");
}

#[tokio::test(start_paused = true)]
async fn one_that_resigns_lets_the_other_lead_at_its_next_look() {
    let store = Store::default();
    let (mut one, one_leads, _) = candidate("one", &store);
    let (mut other, other_leads, _) = candidate("other", &store);
    during(&mut one, &mut other, one_leads.until_may_act()).await;
    one.release().await;
    assert!(!one_leads.may_act());
    assert_eq!(store.lease.borrow().as_ref().unwrap().record.holder, None);
    let asked = Instant::now();
    tokio::select! {
        never = other.keep() => match never {},
        () = other_leads.until_may_act() => {}
    }
    assert!(asked.elapsed() <= T.look, "{:?}", asked.elapsed());
    assert_eq!(store.lease.borrow().as_ref().unwrap().record.transitions, 1);
}

#[tokio::test(start_paused = true)]
async fn one_that_follows_releases_nothing() {
    let store = Store::default();
    let (mut one, one_leads, _) = candidate("one", &store);
    let (mut other, ..) = candidate("other", &store);
    during(&mut one, &mut other, one_leads.until_may_act()).await;
    other.release().await;
    assert_eq!(store.lease.borrow().as_ref().unwrap().record.holder.as_deref(), Some("one"));
}

#[tokio::test(start_paused = true)]
async fn one_that_is_cut_off_stops_before_the_other_takes_over_and_follows_when_it_is_back() {
    for kind in [ErrorKind::Timeout, ErrorKind::Unreachable, ErrorKind::Busy] {
        let store = Store::default();
        let (mut one, one_leads, metrics) = candidate("one", &store);
        let others_way = store.another_way();
        let (mut other, other_leads, _) = candidate("other", &others_way);
        during(&mut one, &mut other, async {
            one_leads.until_may_act().await;
            sleep(Duration::from_secs(33)).await;
            store.fault.set(Some(kind));
            let cut_off = Instant::now();
            while one_leads.may_act() {
                assert!(!other_leads.may_act());
                sleep(Duration::from_millis(100)).await;
            }
            assert!(cut_off.elapsed() <= T.act + Duration::from_millis(100), "{kind:?} {:?}", cut_off.elapsed());
            other_leads.until_may_act().await;
            assert!(cut_off.elapsed() <= T.lease + T.look, "{kind:?} {:?}", cut_off.elapsed());
            store.fault.set(None);
            sleep(Duration::from_secs(60)).await;
            assert!(other_leads.may_act() && !one_leads.may_act());
        })
        .await;
        assert!(shows(&metrics, "kubectl_ado_leader 0"));
    }
}

#[tokio::test(start_paused = true)]
async fn a_short_failure_costs_nobody_the_lead() {
    let store = Store::default();
    let (mut one, one_leads, _) = candidate("one", &store);
    let others_way = store.another_way();
    let (mut other, other_leads, _) = candidate("other", &others_way);
    during(&mut one, &mut other, async {
        one_leads.until_may_act().await;
        for _ in 0..20 {
            store.fault.set(Some(ErrorKind::Busy));
            sleep(Duration::from_secs(5)).await;
            store.fault.set(None);
            sleep(Duration::from_secs(6)).await;
            assert!(one_leads.may_act() && !other_leads.may_act());
        }
    })
    .await;
    assert_eq!(store.lease.borrow().as_ref().unwrap().record.transitions, 0);
}

#[tokio::test(start_paused = true)]
async fn without_the_right_all_act_and_with_it_one_does() {
    let store = Store::default();
    store.fault.set(Some(ErrorKind::Forbidden));
    let (mut one, one_leads, metrics) = candidate("one", &store);
    let (mut other, other_leads, _) = candidate("other", &store);
    during(&mut one, &mut other, async {
        timeout(Duration::from_secs(1), one_leads.until_may_act()).await.unwrap();
        timeout(Duration::from_secs(1), other_leads.until_may_act()).await.unwrap();
        sleep(Duration::from_secs(600)).await;
        assert!(one_leads.may_act() && other_leads.may_act());
        assert!(store.calls.get() < 100, "{} calls", store.calls.get());
        store.fault.set(None);
        sleep(Duration::from_secs(60)).await;
        assert!(one_leads.may_act() != other_leads.may_act());
    })
    .await;
    assert!(shows(&metrics, &format!("kubectl_ado_leader {}", u8::from(one_leads.may_act()))));
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_is_deleted_is_made_anew_by_the_one_who_held_it() {
    let store = Store::default();
    let (mut one, one_leads, _) = candidate("one", &store);
    let (mut other, other_leads, _) = candidate("other", &store);
    during(&mut one, &mut other, async {
        one_leads.until_may_act().await;
        sleep(Duration::from_secs(4)).await;
        for _ in 0..10 {
            *store.lease.borrow_mut() = None;
            sleep(Duration::from_secs(12)).await;
            assert!(one_leads.may_act() && !other_leads.may_act());
        }
    })
    .await;
}

#[tokio::test]
async fn no_election_is_leave_to_act() {
    assert!(Leadership::none().may_act());
    timeout(Duration::from_secs(1), Leadership::none().until_may_act()).await.unwrap();
}

#[test]
fn no_two_candidates_have_one_name() {
    assert_ne!(identity(), identity());
    assert!(identity().len() > 9);
}
