//! The wish to stop, as something that many places can wait for.

use std::sync::OnceLock;

use tokio::sync::watch;

/// Says that it is time to stop. Dropping it says so too.
#[derive(Debug)]
pub struct Stopper(watch::Sender<bool>);

/// Waits for the time to stop.
#[derive(Clone, Debug)]
pub struct Stop(watch::Receiver<bool>);

/// A stopper and what waits for it.
#[must_use]
pub fn stop_pair() -> (Stopper, Stop) {
    let (sender, receiver) = watch::channel(false);
    (Stopper(sender), Stop(receiver))
}

impl Stopper {
    /// Says it. Saying it again changes nothing.
    pub fn stop(&self) {
        self.0.send_replace(true);
    }
}

impl Stop {
    /// The time to stop never comes.
    pub(super) fn never() -> Self {
        static NEVER: OnceLock<(Stopper, Stop)> = OnceLock::new();
        NEVER.get_or_init(stop_pair).1.clone()
    }

    /// Waits until it is time to stop; returns at once when it was time before.
    pub async fn wanted(&self) {
        let mut receiver = self.0.clone();
        // An error means that the stopper is gone, which is the same wish.
        let _ = receiver.wait_for(|&stop| stop).await;
    }

    /// Whether it is time to stop.
    #[must_use]
    pub fn is_wanted(&self) -> bool {
        *self.0.borrow() || self.0.has_changed().is_err()
    }
}
