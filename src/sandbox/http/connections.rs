//! Connections: accepted until the server is dropped, with what is asked read whole, and closed without an answer where a
//! fault wants that.

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::{
    Request, Response,
    body::{Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use super::call::Call;

/// Bodies are small: an agent's capabilities are the largest. Azure takes no more either.
const MAX_BODY: usize = 4 << 20;

/// The connection is closed instead of an answer.
#[derive(Debug, thiserror::Error)]
#[error("connection dropped on purpose")]
pub(in crate::sandbox) struct Dropped;

/// What is asked: `METHOD /path?query`, and all of it.
pub(in crate::sandbox) struct Asked {
    pub(in crate::sandbox) line: String,
    pub(in crate::sandbox) call: Call,
}

/// Serves until it is dropped, which closes all connections. `beside` goes on meanwhile.
pub(in crate::sandbox) async fn serve<A>(
    listener: TcpListener,
    beside: impl Future<Output = ()> + Send + 'static,
    answer: impl Fn(Asked) -> A + Clone + Send + Sync + 'static,
) where
    A: Future<Output = Result<Response<Full<Bytes>>, Dropped>> + Send + 'static,
{
    let mut connections = JoinSet::new();
    connections.spawn(beside);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, answer.clone()));
                }
                // Out of file descriptors, for one; that passes.
                Err(error) => {
                    tracing::warn!(%error, "the sandbox cannot accept a connection");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn connection<A>(stream: TcpStream, answer: impl Fn(Asked) -> A + Clone + Send + Sync + 'static)
where
    A: Future<Output = Result<Response<Full<Bytes>>, Dropped>> + Send + 'static,
{
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let answer = answer.clone();
        async move { answer(read(request).await).await }
    });
    // What ends a connection is its client's or a fault's doing.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

async fn read(request: Request<Incoming>) -> Asked {
    let (head, body) = request.into_parts();
    let body = Limited::new(body, MAX_BODY).collect().await;
    let call = Call::new(&head, body.map(http_body_util::Collected::to_bytes).unwrap_or_default());
    Asked { line: format!("{} {}", head.method, head.uri), call }
}
