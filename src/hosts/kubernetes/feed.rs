//! Keeps a view of the Jobs or the pods: lists them once, in pages, then watches from there.
//!
//! kube's own `watcher` does the same, and tells neither that a watch which broke is alive again nor of one that hangs:
//! its list and its start of a watch wait for an answer without end. Here each call has its deadline and each sign of
//! life is noted, so that a stale view is known to be one.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures::TryStreamExt;
use kube::{
    Client,
    api::{ListParams, WatchEvent, WatchParams},
    core::Request,
};
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep, timeout};

use super::{
    failure::refused,
    view::{Tabled, View},
};
use crate::cluster::{ClusterError, ErrorKind, call};

/// The text of a page is held as a whole while it is read: fifty pods are about a quarter of a megabyte.
pub(super) const PAGE_SIZE: u32 = 50;

/// How long one watch lasts. Its end and its successor's start are the sign of life of a watch that has nothing to tell.
pub(super) const WATCH_SECONDS: u32 = 20;

/// After this time without a word a watch is dead, even if nobody has closed the connection.
const SILENCE: Duration = Duration::from_secs(WATCH_SECONDS as u64 + 4);

/// After this time all is listed anew, more or less, so that two kinds of objects are not listed at the same moment. Whatever
/// a watch misses is known by then. Above all, of an API server whose etcd was restored from a backup a watch never learns
/// anything: it begins at a version that is yet to come, which is answered with silence.
const RELIST: Duration = Duration::from_secs(300);

/// How long a list that did not come is done without while the watch goes on.
const RELIST_AGAIN: Duration = Duration::from_secs(30);

/// The least time between two watches.
const SHORTEST_WATCH: Duration = Duration::from_secs(1);

const FIRST_BACK_OFF: Duration = Duration::from_millis(500);

/// Shorter than a view takes to become stale, so that a short outage costs nothing.
const LONGEST_BACK_OFF: Duration = Duration::from_secs(8);

/// Where the objects are.
#[derive(Clone)]
pub(super) struct Source {
    pub(super) client: Client,
    pub(super) namespace: String,
    /// The label selector of our installation.
    pub(super) selector: String,
}

#[derive(Deserialize)]
#[serde(bound = "T: DeserializeOwned")]
struct Page<T> {
    metadata: PageMetadata,
    items: Vec<T>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PageMetadata {
    #[serde(rename = "continue", default)]
    next: String,
    #[serde(default)]
    resource_version: String,
}

/// Up to where a view is known.
struct Known {
    /// The resource version that the next watch begins at.
    version: String,
    /// When all is to be listed anew.
    relist_at: Instant,
}

/// Keeps the view of one kind of objects, for as long as it is polled.
pub(super) async fn follow<T: Tabled>(source: Source, view: Arc<View>) {
    let mut known = None;
    let mut back_off = FIRST_BACK_OFF;
    loop {
        let began = Instant::now();
        match go_on::<T>(&source, &view, &mut known).await {
            Ok(()) => {
                back_off = FIRST_BACK_OFF;
                sleep(SHORTEST_WATCH.saturating_sub(began.elapsed())).await;
            }
            Err(error) => {
                if error.kind == ErrorKind::Expired {
                    known = None;
                }
                tracing::debug!(what = T::WHAT, %error, "watch failed");
                view.is_failing::<T>(refused(error, &source.namespace));
                sleep(back_off.mul_f64(0.75 + fastrand::f64() / 2.0)).await;
                back_off = LONGEST_BACK_OFF.min(back_off * 2);
            }
        }
    }
}

/// Lists where nothing is known or much time has passed, then watches once. `Ok` when that watch came to its end.
async fn go_on<T: Tabled>(source: &Source, view: &View, known: &mut Option<Known>) -> Result<(), ClusterError> {
    let Known { version, .. } = match known {
        Some(known) if Instant::now() < known.relist_at => known,
        _ => match list_kept::<T>(source, view).await {
            Ok((items, version)) => {
                view.replace::<T>(items);
                let relist_at = Instant::now() + RELIST.mul_f64(0.75 + fastrand::f64() / 2.0);
                known.insert(Known { version, relist_at })
            }
            // The watch may work while a list does not.
            Err(error) => match known {
                Some(known) if error.kind != ErrorKind::Expired => {
                    tracing::debug!(what = T::WHAT, %error, "listing anew failed");
                    known.relist_at = Instant::now() + RELIST_AGAIN;
                    known
                }
                _ => return Err(error),
            },
        },
    };
    let what = format!("watch the {} in namespace \"{}\"", T::WHAT, source.namespace);
    let params = WatchParams::default().labels(&source.selector).timeout(WATCH_SECONDS);
    let events = call(&what, async {
        let request =
            Request::new(T::path(&source.namespace)).watch(&params, version).map_err(kube::Error::BuildRequest)?;
        source.client.request_events::<T>(request).await
    });
    let mut events = Box::pin(events.await?);
    view.is_alive::<T>();
    while let Ok(event) = timeout(SILENCE, events.try_next()).await {
        let next = match event.map_err(|error| ClusterError::from_kube(&what, &error))? {
            None => break,
            Some(WatchEvent::Added(object) | WatchEvent::Modified(object)) => {
                let next = object.version().to_owned();
                view.apply(object);
                next
            }
            Some(WatchEvent::Deleted(object)) => {
                let next = object.version().to_owned();
                view.remove::<T>(object.name());
                next
            }
            Some(WatchEvent::Bookmark(bookmark)) => bookmark.metadata.resource_version,
            Some(WatchEvent::Error(status)) => {
                return Err(ClusterError::from_kube(&what, &kube::Error::Api(status)));
            }
        };
        view.is_alive::<T>();
        if is_before(&next, version) {
            tracing::info!(what = T::WHAT, next, known = version, "the API server has gone back; all is listed anew");
            *known = None;
            return Ok(());
        }
        *version = next;
    }
    Ok(())
}

/// Whether one resource version is older than another. Versions of one resource are numbers that grow; what is no number
/// cannot be compared.
fn is_before(one: &str, other: &str) -> bool {
    matches!((one.parse::<u64>(), other.parse::<u64>()), (Ok(one), Ok(other)) if one < other)
}

async fn list_kept<T: Tabled>(
    source: &Source,
    view: &View,
) -> Result<(HashMap<String, T::Kept>, String), ClusterError> {
    let what = format!("list the {} in namespace \"{}\"", T::WHAT, source.namespace);
    let params = ListParams::default().labels(&source.selector);
    let mut kept = HashMap::new();
    let keep = |object: T| drop(kept.insert(object.name().to_owned(), object.keep(&view.organization)));
    let version = list(&source.client, &what, &T::path(&source.namespace), params, keep).await?;
    Ok((kept, version))
}

/// Lists page by page, and gives the resource version of the whole.
pub(super) async fn list<T: DeserializeOwned>(
    client: &Client,
    what: &str,
    path: &str,
    params: ListParams,
    mut each: impl FnMut(T),
) -> Result<String, ClusterError> {
    let mut params = params.limit(PAGE_SIZE);
    loop {
        let page = call(what, async {
            let request = Request::new(path).list(&params).map_err(kube::Error::BuildRequest)?;
            let text = client.request_text(request).await?;
            serde_json::from_str::<Page<T>>(&text).map_err(kube::Error::SerdeError)
        });
        let Page { metadata, items } = page.await?;
        items.into_iter().for_each(&mut each);
        if metadata.next.is_empty() {
            return Ok(metadata.resource_version);
        }
        params = params.continue_token(&metadata.next);
    }
}
