//! The secretary with a store in memory, in paused time.

use std::{cell::RefCell, rc::Rc};

use super::*;
use crate::{
    cluster::Happening,
    core::{Counts, Pause, PoolPlan, PoolSnapshot},
    orchestrator::{facts::Facts, fixtures::policy},
};

#[derive(Clone, Default)]
struct Store(Rc<RefCell<Kept>>);

#[derive(Default)]
struct Kept {
    written: Vec<(Instant, Report)>,
    control: Option<String>,
    control_reads: Vec<Instant>,
    events: Vec<Happening>,
    broken: bool,
}

impl Store {
    fn answer<T>(&self, answer: T) -> Result<T, ClusterError> {
        if self.0.borrow().broken {
            let message = "no".to_owned();
            return Err(ClusterError { kind: ErrorKind::Unreachable, message, fix: None });
        }
        Ok(answer)
    }

    fn writes(&self) -> usize {
        self.0.borrow().written.len()
    }
}

impl StatusStore for Store {
    async fn write(&self, status: &str) -> Result<(), ClusterError> {
        self.answer(())?;
        let report = serde_json::from_str(status).unwrap();
        self.0.borrow_mut().written.push((Instant::now(), report));
        Ok(())
    }

    async fn read(&self) -> Result<Option<String>, ClusterError> {
        self.answer(None)
    }

    async fn control(&self) -> Result<Option<String>, ClusterError> {
        self.0.borrow_mut().control_reads.push(Instant::now());
        self.answer(self.0.borrow().control.clone())
    }

    async fn tell(&self, happening: &Happening, _: Timestamp) -> Result<(), ClusterError> {
        self.0.borrow_mut().events.push(happening.clone());
        Ok(())
    }
}

fn office() -> (Arc<Board>, Store, Secretary<Store>) {
    let (board, store) = (Arc::new(Board::default()), Store::default());
    board.serves(&policy(&["Linux"]), Facts::default());
    let secretary = Secretary::new(store.clone(), Arc::clone(&board), Leadership::none());
    (board, store, secretary)
}

/// A poll that found so many job requests waiting.
fn polled(board: &Board, waiting: u32) {
    let snapshot =
        PoolSnapshot { pool: "Linux".into(), runs: Vec::new(), requests: Vec::new(), agents: Some(Vec::new()) };
    let counts = Counts { waiting, ..Counts::default() };
    let plan = PoolPlan { pool: "Linux".into(), counts, verdicts: Vec::new(), busy: Vec::new(), unfilled: Vec::new() };
    board.planned(vec![snapshot], vec![plan], Timestamp::now());
}

async fn wait(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn the_same_is_written_every_half_minute_and_changes_every_five_seconds_at_most() {
    let (board, store, secretary) = office();
    secretary
        .keep_during(async {
            for _ in 0..100 {
                polled(&board, 0);
                wait(1).await;
            }
            assert!((4..=5).contains(&store.writes()), "{}", store.writes());
            let before = store.writes();
            for waiting in 0..100 {
                polled(&board, waiting);
                wait(1).await;
            }
            let kept = store.0.borrow();
            let times: Vec<Instant> = kept.written[before..].iter().map(|(at, _)| *at).collect();
            assert!((18..=22).contains(&times.len()), "{}", times.len());
            assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= SELDOM), "{times:?}");
            assert!(kept.control_reads.windows(2).all(|pair| pair[1] - pair[0] >= SELDOM));
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_pause_is_in_the_status_within_six_seconds_and_nothing_is_done_before_it_is_known() {
    let (board, store, secretary) = office();
    let pause = Control { pools: [("*".to_owned(), Pause::default())].into(), retire: false };
    secretary
        .keep_during(async {
            board.until_asked().await;
            assert_eq!(store.0.borrow().control_reads.len(), 1, "asked before anything else");
            for second in 0..60u32 {
                polled(&board, second);
                wait(1).await;
            }
            store.0.borrow_mut().control = Some(serde_json::to_string(&pause).unwrap());
            for second in 0..6u32 {
                polled(&board, second);
                wait(1).await;
            }
            let kept = store.0.borrow();
            assert!(kept.written.last().unwrap().1.pools[0].paused.is_some());
            assert!(kept.events.iter().any(|event| event.reason == "Paused"));
        })
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_does_not_answer_holds_up_nobody_and_is_written_to_when_it_does() {
    let (board, store, secretary) = office();
    store.0.borrow_mut().broken = true;
    secretary
        .keep_during(async {
            polled(&board, 1);
            wait(60).await;
            assert_eq!(store.writes(), 0);
            store.0.borrow_mut().broken = false;
            wait(5).await;
            assert_eq!(store.0.borrow().written.last().unwrap().1.pools[0].queued, 1);
        })
        .await;
}
