//! Counts the requests of a client.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use axum::http::{Request, Response};
use prometheus::IntCounterVec;
use tower::{Layer, Service};

/// A layer that counts a client's requests.
#[derive(Debug, Clone)]
pub struct CountRequests {
    requests: IntCounterVec,
    host: String,
}

impl CountRequests {
    pub(super) fn new(requests: IntCounterVec, host: &str) -> Self {
        Self {
            requests,
            host: host.to_owned(),
        }
    }
}

impl<S> Layer<S> for CountRequests {
    type Service = CountedService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CountedService {
            inner,
            count: self.clone(),
        }
    }
}

/// A client whose requests are counted.
#[derive(Debug, Clone)]
pub struct CountedService<S> {
    inner: S,
    count: CountRequests,
}

impl<S, RequestBody, ResponseBody> Service<Request<RequestBody>> for CountedService<S>
where
    S: Service<Request<RequestBody>, Response = Response<ResponseBody>>,
    S::Future: Send + 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let method = request.method().clone();
        let response = self.inner.call(request);
        let CountRequests { requests, host } = self.count.clone();
        Box::pin(async move {
            let response = response.await;
            let code = response.as_ref().map(Response::status);
            let code = code.as_ref().map_or("<error>", |code| code.as_str());
            requests
                .with_label_values(&[code, method.as_str(), host.as_str()])
                .inc();
            response
        })
    }
}
