//! What each answer of the API server says about its clock.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use hyper::{Response, header::DATE};
use tokio::time::Instant;
use tower::{Layer, Service};

use crate::clock::ServerClock;

/// Notes the `Date` of each answer.
#[derive(Clone)]
pub(super) struct Dates(pub(super) ServerClock);

impl<S> Layer<S> for Dates {
    type Service = Dated<S>;

    fn layer(&self, inner: S) -> Dated<S> {
        Dated { inner, clock: self.0.clone() }
    }
}

#[derive(Clone)]
pub(super) struct Dated<S> {
    inner: S,
    clock: ServerClock,
}

impl<S, Q, B> Service<Q> for Dated<S>
where
    S: Service<Q, Response = Response<B>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Q) -> Self::Future {
        let (clock, sent) = (self.clock.clone(), Instant::now());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await?;
            clock.note(answer.headers().get(DATE).and_then(|date| date.to_str().ok()), sent);
            Ok(answer)
        })
    }
}
