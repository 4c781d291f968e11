//! What both stand-ins have in common as servers, whatever they serve.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use secrecy::SecretString;
use tokio::{net::TcpListener, sync::watch, time::Instant};

/// Listens on this address; port 0 is any free one. Has to be called within a tokio runtime. Gives the address that it has
/// become, too.
pub(super) fn listen(address: SocketAddr) -> io::Result<(TcpListener, SocketAddr)> {
    let listener = std::net::TcpListener::bind(address)?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    Ok((TcpListener::from_std(listener)?, address))
}

/// How whoever listens on this address is reached on this machine. One that listens everywhere is reached from elsewhere by
/// whatever address this machine has there.
pub(super) fn here(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address {
            SocketAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

/// Waits until it is reached, at most so long, and looks again after each change. Returns whether it is.
pub(super) async fn until(
    mut changes: watch::Receiver<u64>,
    within: Duration,
    mut reached: impl FnMut() -> bool,
) -> bool {
    // Without one it is for ever.
    let deadline = Instant::now().checked_add(within);
    loop {
        changes.borrow_and_update();
        if reached() {
            return true;
        }
        let changed = changes.changed();
        let in_time = match deadline {
            Some(deadline) => tokio::time::timeout_at(deadline, changed).await.is_ok_and(|changed| changed.is_ok()),
            None => changed.await.is_ok(),
        };
        if !in_time {
            return reached();
        }
    }
}

/// No code panics while it holds a lock; if it does, the data is still whole.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A secret that nobody guesses, so that one stand-in's clients do not get into another's by mistake.
pub(super) fn random_secret() -> SecretString {
    let random = || RandomState::new().build_hasher().finish();
    format!("{:016x}{:016x}{:016x}", random(), random(), random()).into()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn whoever_listens_everywhere_is_reached_by_loopback() {
        for (listens, reached) in [
            ("0.0.0.0:80", "127.0.0.1:80"),
            ("[::]:80", "[::1]:80"),
            ("192.0.2.1:80", "192.0.2.1:80"),
            ("127.0.0.1:80", "127.0.0.1:80"),
        ] {
            assert_eq!(here(listens.parse().unwrap()), reached.parse().unwrap());
        }
    }

    #[tokio::test]
    async fn a_wait_ends_when_it_is_reached_and_when_nothing_can_change_any_more() {
        let changed = watch::Sender::new(0);
        assert!(!until(changed.subscribe(), Duration::ZERO, || false).await);
        let waiting = tokio::spawn({
            let changes = changed.subscribe();
            // Longer than any clock goes.
            async move { until(changes.clone(), Duration::MAX, || *changes.borrow() == 2).await }
        });
        changed.send_replace(1);
        changed.send_replace(2);
        assert!(waiting.await.unwrap());
        let changes = changed.subscribe();
        drop(changed);
        assert!(!until(changes, Duration::MAX, || false).await);
    }

    #[test]
    fn no_secret_is_made_twice() {
        assert_ne!(random_secret().expose_secret(), random_secret().expose_secret());
    }
}
