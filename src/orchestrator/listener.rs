//! The one listener: `/healthz`, `/readyz`, `/metrics` and `/status`. Anybody who reaches it may connect, so a probe never
//! waits for another connection: docs/decisions/0023-listener.md.

use std::{
    collections::{BTreeMap, HashMap},
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    body::Bytes,
    header::{CONTENT_TYPE, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::Timestamp;
use tokio::{
    net::{TcpListener, TcpStream},
    task::AbortHandle,
    time::timeout,
};

use super::{Metrics, board::Board};
use crate::core::HostKind;

/// A loop that has not come round for this long is stuck: each of its calls ends within half a minute.
const STUCK_AFTER_SECONDS: u64 = 180;

/// How many connections are open at the same time. One more takes the place of another, see [`Connections::room`].
const MOST_CONNECTIONS: usize = 64;

/// The memory that one connection may take for what it reads.
const BUFFER: usize = 16 * 1024;

/// A client that has not sent its request by then is dropped.
const HEADER_DEADLINE: Duration = Duration::from_secs(2);

/// A connection is over by then, whatever the client does.
const DEADLINE: Duration = Duration::from_secs(20);

/// Binds the listener.
pub(super) async fn bind(address: SocketAddr) -> std::io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Answers until it is dropped.
pub(super) async fn answer(listener: TcpListener, metrics: Arc<Metrics>, board: Arc<Board>) {
    let connections = Arc::new(Connections::default());
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                let peer = peer.ip().to_canonical();
                let (metrics, board) = (Arc::clone(&metrics), Arc::clone(&board));
                let respond = move |request: &Request<_>| respond(request, peer, &metrics, &board, Timestamp::now());
                Connections::open(&connections, stream, peer, respond);
            }
            Err(error) => {
                // Out of file handles, most likely: trying again at once would spin.
                tracing::warn!(%error, "the listener cannot accept a connection");
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// The open connections, in the order in which they came.
#[derive(Default)]
struct Connections(Mutex<Open>);

#[derive(Default)]
struct Open {
    next: u64,
    by_number: BTreeMap<u64, Connection>,
}

struct Connection {
    peer: IpAddr,
    /// Whether its request has come.
    has_asked: bool,
    task: AbortHandle,
}

impl Connections {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Serves one connection. It never waits for others: where there are too many, one of them is dropped.
    fn open<R>(of: &Arc<Self>, stream: TcpStream, peer: IpAddr, respond: R)
    where
        R: Fn(&Request<hyper::body::Incoming>) -> Response<Full<Bytes>> + Send + Sync + 'static,
    {
        let dropped = of.lock().room();
        if let Some(dropped) = dropped {
            dropped.abort();
        }
        let mut open = of.lock();
        let number = open.next;
        open.next += 1;
        let all = Arc::clone(of);
        let task = tokio::spawn(async move {
            let asked = Arc::clone(&all);
            let service = service_fn(move |request| {
                if let Some(connection) = asked.lock().by_number.get_mut(&number) {
                    connection.has_asked = true;
                }
                let response = respond(&request);
                async move { Ok::<_, Infallible>(response) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_DEADLINE)
                .max_buf_size(BUFFER)
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service);
            // A client that went away, or is too slow, has itself to blame.
            let _ = timeout(DEADLINE, served).await;
            all.lock().by_number.remove(&number);
        });
        open.by_number.insert(number, Connection { peer, has_asked: false, task: task.abort_handle() });
    }
}

impl Open {
    /// Makes room for one more. Who sends no request goes first, from the address that has the most of such connections
    /// the oldest one: so nobody who opens many can push out the probe of another.
    fn room(&mut self) -> Option<AbortHandle> {
        if self.by_number.len() < MOST_CONNECTIONS {
            return None;
        }
        let mut silent: HashMap<IpAddr, usize> = HashMap::new();
        for connection in self.by_number.values().filter(|connection| !connection.has_asked) {
            *silent.entry(connection.peer).or_default() += 1;
        }
        let most = silent.values().max().copied();
        let goes = |connection: &Connection| !connection.has_asked && silent.get(&connection.peer).copied() == most;
        let victim = self.by_number.iter().find(|(_, connection)| goes(connection)).or(self.by_number.iter().next());
        let number = *victim?.0;
        self.by_number.remove(&number).map(|connection| connection.task)
    }
}

/// Whether somebody at this address may read the status, which names pipelines, runs and agents. In a cluster every pod
/// reaches the listener, those of pipelines included, and the status is in a ConfigMap for who may read that: what is left
/// is `kubectl port-forward`, which comes from the pod's own loopback address. Elsewhere LISTEN_ADDRESS decides.
fn may_read_status(host: HostKind, peer: IpAddr) -> bool {
    peer.is_loopback() || host != HostKind::Kubernetes
}

fn respond<B>(
    request: &Request<B>,
    peer: IpAddr,
    metrics: &Metrics,
    board: &Board,
    now: Timestamp,
) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        return text(StatusCode::METHOD_NOT_ALLOWED, "only GET\n");
    }
    match request.uri().path() {
        "/healthz" => match metrics.since_last_pass(now) {
            Some(seconds) if seconds > STUCK_AFTER_SECONDS => {
                text(StatusCode::SERVICE_UNAVAILABLE, &format!("the last pass ended {seconds} s ago\n"))
            }
            _ => text(StatusCode::OK, "ok\n"),
        },
        "/readyz" if metrics.has_polled() => text(StatusCode::OK, "ok\n"),
        "/readyz" => text(StatusCode::SERVICE_UNAVAILABLE, "no agent pool has been polled with success yet\n"),
        "/metrics" => match metrics.text() {
            Ok(body) => {
                of_type(text(StatusCode::OK, &body), "application/openmetrics-text; version=1.0.0; charset=utf-8")
            }
            Err(_) => text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics cannot be written\n"),
        },
        "/status" if !may_read_status(board.host_kind(), peer) => text(
            StatusCode::FORBIDDEN,
            "the status is for this machine alone: use kubectl port-forward, or kubectl ado status\n",
        ),
        "/status" => match board.report(now).map(|report| serde_json::to_string(&report)) {
            Some(Ok(body)) => of_type(text(StatusCode::OK, &body), "application/json"),
            _ => text(StatusCode::SERVICE_UNAVAILABLE, "nothing is served yet\n"),
        },
        _ => text(StatusCode::NOT_FOUND, "try /healthz, /readyz, /metrics or /status\n"),
    }
}

fn of_type(mut response: Response<Full<Bytes>>, kind: &'static str) -> Response<Full<Bytes>> {
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

fn text(status: StatusCode, body: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body.to_owned())));
    *response.status_mut() = status;
    of_type(response, "text/plain; charset=utf-8")
}

#[cfg(test)]
mod tests {
    use std::{net::Ipv4Addr, time::Instant};

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;

    /// More than there are places, and more than a person would think of.
    const SILENT: usize = 400;

    async fn listener() -> SocketAddr {
        let listener = bind((Ipv4Addr::LOCALHOST, 0).into()).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(answer(listener, Arc::default(), Arc::default()));
        address
    }

    /// What is answered, and how long that took.
    async fn get(address: SocketAddr, path: &str) -> (String, Duration) {
        let began = Instant::now();
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        (answer, began.elapsed())
    }

    #[tokio::test]
    async fn a_probe_is_answered_at_once_whoever_holds_connections() {
        let address = listener().await;
        let mut silent = Vec::new();
        for round in 0..4 {
            for _ in 0..SILENT {
                silent.push(TcpStream::connect(address).await.unwrap());
            }
            let (answer, took) = get(address, "/healthz").await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
            assert!(took < Duration::from_secs(1), "round {round} took {took:?}");
        }
    }

    #[tokio::test]
    async fn a_client_that_never_ends_its_request_is_dropped_after_two_seconds() {
        let mut stream = TcpStream::connect(listener().await).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
        let began = Instant::now();
        let mut rest = Vec::new();
        timeout(Duration::from_secs(8), stream.read_to_end(&mut rest)).await.unwrap().unwrap();
        assert!(began.elapsed() >= Duration::from_secs(1), "{:?}", began.elapsed());
    }

    #[test]
    fn the_address_with_the_most_silent_connections_loses_its_oldest_one() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let _guard = runtime.enter();
        let task = || tokio::spawn(async {}).abort_handle();
        let address = |last: u8| IpAddr::from([10, 0, 0, last]);
        let mut open = Open::default();
        assert!(open.room().is_none());
        // The probe came first, then one that is being answered, then somebody who opens many.
        open.by_number.insert(0, Connection { peer: address(1), has_asked: false, task: task() });
        open.by_number.insert(1, Connection { peer: address(2), has_asked: true, task: task() });
        for number in 2..MOST_CONNECTIONS as u64 {
            open.by_number.insert(number, Connection { peer: address(2), has_asked: false, task: task() });
        }
        assert!(open.room().is_some());
        assert!(open.by_number.contains_key(&0) && open.by_number.contains_key(&1));
        assert!(!open.by_number.contains_key(&2));
        assert!(open.room().is_none(), "there is room now");

        for (number, connection) in &mut open.by_number {
            connection.has_asked = *number != 0;
        }
        open.by_number.insert(1000, Connection { peer: address(2), has_asked: true, task: task() });
        assert!(open.room().is_some());
        assert!(!open.by_number.contains_key(&0), "who has not asked goes before who is answered");
    }

    #[test]
    fn in_a_cluster_the_status_is_for_the_pod_itself() {
        let request = Request::get("/status").body(()).unwrap();
        let (metrics, board) = (Metrics::default(), Board::default());
        let status = |peer: &str| {
            let peer: IpAddr = peer.parse().unwrap();
            respond(&request, peer.to_canonical(), &metrics, &board, Timestamp::now()).status()
        };
        assert_eq!(board.host_kind(), HostKind::Kubernetes, "what is assumed until it is known");
        for pod in ["10.244.0.7", "fd00::7", "::ffff:10.244.0.7"] {
            assert_eq!(status(pod), StatusCode::FORBIDDEN, "{pod}");
        }
        for own in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
            assert_eq!(status(own), StatusCode::SERVICE_UNAVAILABLE, "{own}: nothing is served yet");
        }
        assert!(may_read_status(HostKind::Local, "192.0.2.1".parse().unwrap()), "there LISTEN_ADDRESS decides");
    }
}
