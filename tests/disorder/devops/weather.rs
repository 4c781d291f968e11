//! What goes wrong between asking Azure DevOps and its answer.

use std::{sync::atomic::Ordering, time::Duration};

use jiff::Timestamp;
use kubectl_ado::{azure_devops::Error, sandbox::State};
use tokio::time::{Instant, sleep, timeout};

use super::FakeAzureDevOps;
use crate::{
    clock::{self, Machine},
    storm::Storm,
    weather::{Call, Shape},
};

/// What a call is, in which pool, and in words.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'a> {
    pub(super) call: Call,
    pub(super) pool: Option<&'a str>,
    pub(super) what: &'a str,
}

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
    pub(super) async fn ask<T>(
        &self,
        asked: Asked<'_>,
        answer: impl Fn(&State) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let fault = self.choose();
        let delay = self.note(asked, &fault);
        if matches!(fault, Fault::Stale(_)) && asked.call == Call::Requests {
            self.storm.stale_looks.fetch_add(1, Ordering::Relaxed);
        }
        let asked = async {
            sleep(self.storm.latency()).await;
            sleep(delay / 2).await;
            match fault {
                Fault::Fails(error) => return Err(error),
                Fault::SlowBefore(time) => sleep(time).await,
                _ => {}
            }
            let answer = match fault {
                Fault::Stale(age) => self.organization.see_past(age, answer),
                _ => self.organization.see(answer),
            };
            sleep(delay / 2).await;
            sleep(self.storm.latency()).await;
            if let Fault::SlowAfter(time) = fault {
                sleep(time).await;
            }
            answer
        };
        self.in_time(asked).await
    }

    /// A change, which takes effect whether or not its sender is still there.
    pub(super) async fn tell<T, F>(&self, asked: Asked<'_>, change: F) -> Result<T, Error>
    where
        T: Send + 'static,
        F: FnOnce(&mut State, Timestamp) -> Result<T, Error> + Send + 'static,
    {
        let fault = self.choose();
        let delay = self.note(asked, &fault);
        let (there, back) = (self.storm.latency() + delay / 2, self.storm.latency() + delay / 2);
        if self.storm.weather.is_read_only(asked.pool) {
            // A key is another one each time; what it is for is the same.
            let what = asked.what.split(" the key ").next().unwrap_or_default();
            self.storm.weather.refused(&format!("{what}, pool {:?}", asked.pool));
            let refused = async {
                sleep(there + back).await;
                Err(Error::Forbidden("Access denied. This identity needs Manage permissions to do it.".to_owned()))
            };
            return self.in_time(refused).await;
        }
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
        self.in_time(told).await
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
        let sent = Instant::now();
        let ended = timeout(self.storm.deadline, work).await;
        if ended.is_ok() {
            let date = clock::dated(clock::shown_by(Machine::AzureDevOps, clock::now()));
            self.clock.note(Some(&date), sent);
        }
        ended.unwrap_or_else(|_| Err(Error::Unreachable("the deadline has passed".to_owned())))
    }

    /// Notes a call, and says how long it takes.
    fn note(&self, asked: Asked<'_>, fault: &Fault) -> Duration {
        let Asked { call, pool, what } = asked;
        let delay = self.storm.weather.delay(call, pool);
        let slow = if delay.is_zero() { String::new() } else { format!(", slow by {delay:?}") };
        self.storm.log.note(format!("azure devops, {what}: {fault:?}{slow}"));
        delay
    }

    /// A list as the weather lets it be seen.
    pub(super) fn shaped<T: Clone>(&self, call: Call, pool: &str, list: Vec<T>) -> Result<Vec<T>, Error> {
        let shape = self.storm.weather.shape(call, pool);
        if let Some(shape) = shape {
            self.storm.log.note(format!("azure devops, {call:?} of {pool}: {shape:?} (whole: {})", list.len()));
        }
        Ok(match shape {
            None => list,
            Some(Shape::Empty) => Vec::new(),
            Some(Shape::Halved) => list[..list.len() / 2].to_vec(),
            Some(Shape::Doubled) => list.iter().flat_map(|one| [one.clone(), one.clone()]).collect(),
            Some(Shape::Misshapen) if list.is_empty() => list,
            Some(Shape::Misshapen) => {
                return Err(Error::Unreadable("an element of the list has no \"id\"".to_owned()));
            }
        })
    }
}
