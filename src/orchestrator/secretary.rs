//! Beside the loop: writes the status down where others find it, and brings what people ask.
//!
//! Only the one who leads does. Nothing waits for it: a call that fails is one line in the log, and the next one comes.

use std::{convert::Infallible, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::{Leadership, board::Board, events::Events};
use crate::{
    cluster::{ClusterError, ErrorKind, StatusStore},
    core::{Code, Control, Finding, Report, Severity},
};

/// Times between two looks at what people ask, and between two statuses that differ.
const SELDOM: Duration = Duration::from_secs(5);

/// A status that says the same is written again after this time, as a sign of life.
const SIGN_OF_LIFE: Duration = Duration::from_secs(30);

/// Putting the status together to find that it says the same is cheap, not free.
const UNCHANGED: Duration = Duration::from_secs(1);

/// What has just changed is rarely the last thing that changes.
const SETTLE: Duration = Duration::from_millis(300);

/// The pause after a call that failed.
const AGAIN: Duration = Duration::from_secs(2);

/// Writes the status and reads what people ask.
pub(super) struct Secretary<S> {
    store: S,
    board: Arc<Board>,
    leadership: Leadership,
    control_due: Instant,
    written: Option<Written>,
    write_due: Instant,
    /// Something has changed since it was last written.
    dirty: bool,
    begun: bool,
    events: Events,
    /// By subject: what was last said, so that it is not said again.
    told: [Option<String>; 3],
}

/// What was written last.
struct Written {
    at: Instant,
    /// Without the moments that change with every poll.
    content: Report,
}

/// What the calls are for.
#[derive(Clone, Copy)]
enum Errand {
    Status,
    Control,
    Event,
}

impl<S: StatusStore> Secretary<S> {
    pub(super) fn new(store: S, board: Arc<Board>, leadership: Leadership) -> Self {
        // What a pool that is paused would start now cannot be taken back.
        board.ask_first();
        let now = Instant::now();
        Self {
            store,
            board,
            leadership,
            control_due: now,
            written: None,
            write_due: now,
            dirty: true,
            begun: false,
            events: Events::default(),
            told: [const { None }; 3],
        }
    }

    /// Works for as long as some other work takes.
    pub(super) async fn keep_during<T>(mut self, work: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            done = work => done,
            never = self.keep() => match never {},
        }
    }

    async fn keep(&mut self) -> Infallible {
        loop {
            if !self.leadership.may_act() {
                self.begun = false;
                self.leadership.until_may_act().await;
            }
            if !std::mem::replace(&mut self.begun, true) {
                (self.control_due, self.written) = (Instant::now(), None);
                self.take_over().await;
            }
            if Instant::now() >= self.control_due {
                self.read_control().await;
            }
            if Instant::now() >= self.due() && self.leadership.may_act() {
                self.write(Timestamp::now()).await;
            }
            tokio::select! {
                () = sleep_until(self.due().min(self.control_due)) => {}
                () = self.board.changed(), if !self.dirty => self.touch(),
            }
        }
    }

    /// When the next status is due.
    fn due(&self) -> Instant {
        let sign_of_life = self.written.as_ref().map(|written| written.at + SIGN_OF_LIFE);
        match sign_of_life {
            Some(sign_of_life) if !self.dirty => sign_of_life.max(self.write_due),
            _ => self.write_due,
        }
    }

    /// Something has changed, and rarely alone.
    fn touch(&mut self) {
        self.dirty = true;
        self.write_due = self.write_due.max(Instant::now() + SETTLE);
    }

    /// What another one has told already is not told again.
    async fn take_over(&mut self) {
        match self.store.read().await {
            Ok(Some(text)) => {
                if let Ok(report) = serde_json::from_str::<Report>(&text) {
                    self.events.knows(&report);
                    self.board.continues(&report);
                }
            }
            Ok(None) => {}
            Err(error) => self.failed(Errand::Status, &error),
        }
    }

    async fn read_control(&mut self) {
        self.control_due = Instant::now() + SELDOM;
        let text = match self.store.control().await {
            Ok(text) => {
                self.works(Errand::Control);
                text
            }
            Err(error) => {
                self.failed(Errand::Control, &error);
                if error.kind == ErrorKind::Forbidden {
                    // Nobody can ask us anything, and nothing is gained by waiting.
                    self.board.asks(Control::default());
                } else {
                    self.control_due = Instant::now() + AGAIN;
                }
                return;
            }
        };
        let control = text.map_or_else(|| Ok(Control::default()), |text| serde_json::from_str::<Control>(&text));
        match control {
            Ok(control) => {
                self.board.control_trouble(None);
                let paused = control.pools.keys().cloned().collect::<Vec<_>>().join(", ");
                let retire = control.retire;
                if self.board.asks(control) {
                    info!(paused, retire, "asked for something else");
                    // Who asked is looking for the answer.
                    (self.dirty, self.write_due) = (true, Instant::now() + SETTLE);
                }
            }
            Err(error) => {
                let message =
                    format!("what is asked for in the control ConfigMap cannot be read and is left as it was: {error}");
                if self.board.known().control.is_none() {
                    warn!("{message}");
                }
                let fix = Some("kubectl ado resume writes it anew".to_owned());
                let finding =
                    Finding { severity: Severity::Warning, ..Finding::new(Code::ConfigRejected, message, fix) };
                self.board.control_trouble(Some(finding));
                self.board.asks_the_same();
            }
        }
    }

    async fn write(&mut self, now: Timestamp) {
        let Some(report) = self.board.report(now) else { return };
        let content = without_moments(report.clone());
        let is_old = |written: &Written| written.at.elapsed() >= SIGN_OF_LIFE;
        let same = self.written.as_ref().is_some_and(|written| written.content == content && !is_old(written));
        self.dirty = false;
        if same {
            self.write_due = Instant::now() + UNCHANGED;
            return;
        }
        let Ok(text) = serde_json::to_string(&report) else { return };
        match self.store.write(&text).await {
            Ok(()) => {
                self.works(Errand::Status);
                self.written = Some(Written { at: Instant::now(), content });
                self.write_due = Instant::now() + SELDOM;
            }
            Err(error) => {
                self.failed(Errand::Status, &error);
                self.dirty = true;
                self.write_due = Instant::now() + if error.kind.is_transient() { AGAIN } else { SIGN_OF_LIFE };
                return;
            }
        }
        for happening in self.events.since(&report, &self.board.troubled_runs()) {
            if !self.leadership.may_act() {
                return;
            }
            match self.store.tell(&happening, now).await {
                Ok(()) => self.works(Errand::Event),
                Err(error) => {
                    self.failed(Errand::Event, &error);
                    return;
                }
            }
        }
    }

    fn works(&mut self, errand: Errand) {
        if self.told[errand as usize].take().is_some() {
            info!("{} works again", errand.subject());
        }
    }

    fn failed(&mut self, errand: Errand, error: &ClusterError) {
        let told = &mut self.told[errand as usize];
        if told.as_ref() != Some(&error.message) {
            warn!(fix = error.fix.as_deref(), "{} does not work: {error}", errand.subject());
            *told = Some(error.message.clone());
        }
    }
}

impl Errand {
    fn subject(self) -> &'static str {
        match self {
            Self::Status => "writing the status",
            Self::Control => "reading what is asked for",
            Self::Event => "telling of Events",
        }
    }
}

/// What tells two statuses apart.
fn without_moments(mut report: Report) -> Report {
    report.reported_at = Timestamp::UNIX_EPOCH;
    for pool in &mut report.pools {
        pool.last_polled_at = None;
    }
    report
}

#[cfg(test)]
mod tests;
