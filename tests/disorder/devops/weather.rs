//! What goes wrong between asking Azure DevOps and its answer.

use std::{sync::atomic::Ordering, time::Duration};

use jiff::Timestamp;
use kubectl_ado::{azure_devops::Error, sandbox::State};
use tokio::time::{sleep, timeout};

use super::{FakeAzureDevOps, REQUESTS};
use crate::storm::Storm;

/// As long as the real client waits for an answer, or longer.
const DEADLINE: Duration = Duration::from_secs(20);

/// What goes wrong with one call.
#[derive(Clone, Debug)]
enum Fault {
    None,
    Fails(Error),
    SlowBefore(Duration),
    SlowAfter(Duration),
    /// A view of a while ago; for a change, that it is made and the answer lost.
    Stale(Duration),
}

impl FakeAzureDevOps {
    fn choose(&self) -> Fault {
        let Storm { dice, tempo, .. } = &self.storm;
        if !self.storm.strikes() {
            return Fault::None;
        }
        match dice.number(0..=4) {
            0 => Fault::SlowBefore(dice.time(tempo.slow.clone())),
            1 => Fault::SlowAfter(dice.time(tempo.slow.clone())),
            2 => Fault::Stale(dice.time(tempo.stale.clone())),
            _ => Fault::Fails(self.error()),
        }
    }

    fn error(&self) -> Error {
        let said = || "so the weather wants it".to_owned();
        match self.storm.dice.number(0..=7) {
            0 => Error::Unauthorized(said()),
            1 => Error::Forbidden(said()),
            2 => Error::NoSuchPool(said()),
            3 => Error::NotFound(said()),
            4 => Error::Throttled(self.storm.dice.time(self.storm.tempo.slow.clone())),
            5 => Error::Unavailable { status: 503, message: said() },
            6 => Error::Unreachable(said()),
            _ => Error::Unreadable(said()),
        }
    }

    /// A question, which the organization answers as it is at one moment between asking and answering.
    pub(super) async fn ask<T>(&self, what: &str, answer: impl Fn(&State) -> Result<T, Error>) -> Result<T, Error> {
        let fault = self.choose();
        self.storm.log.note(format!("azure devops, {what}: {fault:?}"));
        if matches!(fault, Fault::Stale(_)) && what == REQUESTS {
            self.storm.stale_looks.fetch_add(1, Ordering::Relaxed);
        }
        let asked = async {
            sleep(self.storm.latency()).await;
            match fault {
                Fault::Fails(error) => return Err(error),
                Fault::SlowBefore(time) => sleep(time).await,
                _ => {}
            }
            let answer = match fault {
                Fault::Stale(age) => self.organization.see_past(age, answer),
                _ => self.organization.see(answer),
            };
            sleep(self.storm.latency()).await;
            if let Fault::SlowAfter(time) = fault {
                sleep(time).await;
            }
            answer
        };
        timeout(DEADLINE, asked).await.unwrap_or_else(|_| Err(Error::Unreachable("the deadline has passed".to_owned())))
    }

    /// A change, which takes effect whether or not its sender is still there.
    pub(super) async fn tell<T, F>(&self, what: &str, change: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut State, Timestamp) -> Result<T, Error> + Send + 'static,
    {
        let fault = self.choose();
        self.storm.log.note(format!("azure devops, {what}: {fault:?}"));
        let (there, back) = (self.storm.latency(), self.storm.latency());
        let (before, after) = match fault {
            Fault::Fails(error) => {
                sleep(there + back).await;
                return Err(error);
            }
            Fault::SlowBefore(time) => (there + time, back),
            Fault::SlowAfter(time) => (there, back + time),
            _ => (there, back),
        };
        let organization = self.organization.clone();
        let made = tokio::spawn(async move {
            sleep(before).await;
            organization.change(change)
        });
        let told = async {
            let outcome = made.await.unwrap();
            sleep(after).await;
            if let Fault::Stale(_) = fault { Err(Error::Unreachable("the answer is lost".to_owned())) } else { outcome }
        };
        timeout(DEADLINE, told).await.unwrap_or_else(|_| Err(Error::Unreachable("the deadline has passed".to_owned())))
    }
}
