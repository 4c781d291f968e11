//! The stream of a watch: what happened since a version, then what happens, bookmarks in between, until its time is up.

use std::{convert::Infallible, time::Duration};

use futures::{Stream, stream};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::{
    Response,
    body::{Bytes, Frame},
    header::CONTENT_TYPE,
};
use tokio::time::{Instant, sleep_until};

use super::{
    Cluster,
    problem::Problem,
    read::{Watched, error_line},
    resource::Query,
    server::Answer,
};
use crate::versions::Waiter;

/// How long a watch goes on where its caller does not say.
const USUAL_TIME: Duration = Duration::from_secs(1800);

/// The time from one bookmark to the next. The real one sends one about each minute.
const BOOKMARKS: Duration = Duration::from_secs(60);

struct Watch {
    cluster: Cluster,
    watched: Watched,
    waiter: Waiter,
    /// The version up to which everything has been sent.
    sent: u64,
    /// Lines that are to be sent first.
    ready: Vec<String>,
    late: Duration,
    end: Instant,
    /// When the next bookmark is due, if they are wanted.
    bookmark: Option<Instant>,
    is_over: bool,
    /// How often a backup had been restored when it began.
    restored: u64,
}

/// The answer to a watch. Every event comes late by `late`.
pub(super) fn answer(cluster: &Cluster, watched: Watched, query: &Query, late: Duration) -> Response<Answer> {
    let now = Instant::now();
    let end = now + query.number("timeoutSeconds").map_or(USUAL_TIME, Duration::from_secs);
    let mut watch = Watch {
        cluster: cluster.clone(),
        watched,
        waiter: cluster.waiter(),
        sent: 0,
        ready: Vec::new(),
        late,
        end,
        bookmark: query.is_set("allowWatchBookmarks").then(|| now + BOOKMARKS),
        is_over: false,
        restored: cluster.see(|store| store.restored()),
    };
    watch.begin(query.number("resourceVersion").unwrap_or_default());
    let body = StreamBody::new(watch.lines()).boxed_unsync();
    Response::builder().status(200).header(CONTENT_TYPE, "application/json").body(body).unwrap()
}

impl Watch {
    /// From version 0 on means: all there is, then what happens.
    fn begin(&mut self, since: u64) {
        let (newest, oldest) = self.cluster.see(|store| (store.version(), store.oldest()));
        if since == 0 {
            let Watched { resource, namespace, selector, .. } = &self.watched;
            let all = self.cluster.see(|store| store.list(resource, namespace, newest));
            let wanted = all.values().filter(|object| selector.matches(&object.value));
            self.ready = wanted.map(|object| self.watched.added(object)).collect();
            self.ready.reverse();
            self.sent = newest;
        } else if since < oldest {
            let problem = Problem::expired(&format!("too old resource version: {since} ({oldest})"));
            self.ready = vec![error_line(&problem)];
            self.is_over = true;
        } else {
            self.sent = since;
        }
    }

    fn lines(self) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send {
        stream::unfold(self, |mut watch| async move {
            let line = watch.next().await?;
            Some((Ok(Frame::data(Bytes::from(line))), watch))
        })
    }

    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some(line) = self.ready.pop() {
                return Some(line);
            }
            if self.is_over {
                return None;
            }
            self.waiter.look();
            if self.cluster.see(|store| store.restored()) != self.restored {
                return None;
            }
            let mut due = None;
            for change in self.cluster.changes_since(self.sent) {
                let shown_at = change.at + self.late;
                if shown_at > Instant::now() {
                    due = Some(shown_at);
                    break;
                }
                self.sent = change.version;
                if let Some(line) = self.watched.event(&change) {
                    return Some(line);
                }
            }
            let until = [Some(self.end), self.bookmark, due].into_iter().flatten().min().unwrap_or(self.end);
            tokio::select! {
                biased;
                () = self.waiter.changed(), if due.is_none() => {}
                () = sleep_until(until) => {}
            }
            let now = Instant::now();
            if now >= self.end {
                self.is_over = true;
            } else if self.bookmark.is_some_and(|bookmark| bookmark <= now) {
                self.bookmark = Some(now + BOOKMARKS);
                // One that waits for a version which is yet to come hears nothing at all.
                if self.sent > self.cluster.see(|store| store.version()) {
                    continue;
                }
                return Some(self.watched.bookmark(self.sent.max(1)));
            }
        }
    }
}
