//! A connection to one TiProxy, and the requests that are made over it one after the other.

use std::net::SocketAddr;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use futures::StreamExt;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_util::task::AbortOnDropHandle;

use super::{AskError, Obedience};
use crate::proxy_api::exposition::Page;
use crate::proxy_api::observation::{Answer, Health};
use crate::proxy_api::question::Order;

const HEALTH_PATH: &str = "/api/debug/health";
/// With the slash: TiProxy answers the path without it by a redirect.
const METRICS_PATH: &str = "/metrics/";
/// In TOML, which the configuration is compared in. As JSON it would leave out the same, and have other numbers.
const CONFIG_PATH: &str = "/api/admin/config/";
pub(super) const MOST_HEALTH_BYTES: usize = 64 * 1024;
/// A page of metrics grows with the TiDBs; it is never kept.
const MOST_METRICS_BYTES: usize = 32 * 1024 * 1024;
/// As long as a `ConfigMap` can be.
pub(super) const MOST_CONFIG_BYTES: usize = 1024 * 1024;

/// A connection to one TiProxy.
pub(super) struct Connection {
    requests: SendRequest<Body>,
    host: String,
    /// Moves the bytes.
    _driver: AbortOnDropHandle<()>,
}

impl Connection {
    pub(super) async fn over(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        address: SocketAddr,
    ) -> Result<Self, AskError> {
        let (requests, connection) = handshake(TokioIo::new(stream)).await.map_err(AskError::Http)?;
        let driver = tokio::spawn(async move {
            // Whoever waits for an answer learns of it.
            let _ = connection.await;
        });
        Ok(Self {
            requests,
            host: address.to_string(),
            _driver: AbortOnDropHandle::new(driver),
        })
    }

    pub(super) async fn health(&mut self, answer: &mut Answer) -> Result<(), AskError> {
        let mut body = Vec::new();
        let take = |piece: &Bytes| body.extend_from_slice(piece);
        let status = self.get(HEALTH_PATH, MOST_HEALTH_BYTES, take).await?;
        let told: Told = serde_json::from_slice(&body).unwrap_or_default();
        answer.config_checksum = told.config_checksum;
        answer.health = match status {
            StatusCode::OK => Health::Healthy,
            StatusCode::BAD_GATEWAY => Health::Unhealthy {
                reason: told.unhealthy_reason.filter(|reason| !reason.is_empty()),
            },
            StatusCode::INTERNAL_SERVER_ERROR => Health::Starting,
            status => return Err(unexpected(HEALTH_PATH, status)),
        };
        Ok(())
    }

    pub(super) async fn metrics(&mut self, answer: &mut Answer) -> Result<(), AskError> {
        let mut page = Page::default();
        let mut read = Answer {
            health: answer.health.clone(),
            config_checksum: answer.config_checksum,
            ..Answer::default()
        };
        let take = |piece: &Bytes| page.take(piece, &mut read);
        let status = self.get(METRICS_PATH, MOST_METRICS_BYTES, take).await?;
        if status != StatusCode::OK {
            return Err(unexpected(METRICS_PATH, status));
        }
        page.end(&mut read);
        *answer = read;
        Ok(())
    }

    /// The configuration that it runs with.
    pub(super) async fn config(&mut self) -> Result<String, AskError> {
        let mut body = Vec::new();
        let take = |piece: &Bytes| body.extend_from_slice(piece);
        let status = self.get(CONFIG_PATH, MOST_CONFIG_BYTES, take).await?;
        if status != StatusCode::OK {
            return Err(unexpected(CONFIG_PATH, status));
        }
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// Tells it something about its health.
    pub(super) async fn order(&mut self, order: Order) -> Result<Obedience, AskError> {
        let (method, body) = match order {
            Order::Mark => {
                let told = serde_json::json!({"healthy": false, "reason": Health::MARK});
                (Method::PUT, Body::from(told.to_string()))
            }
            Order::Unmark => (Method::DELETE, Body::empty()),
        };
        let status = self
            .request(method, HEALTH_PATH, body, MOST_HEALTH_BYTES, |_| {})
            .await?;
        match status {
            StatusCode::OK => Ok(Obedience::Complies),
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => Ok(Obedience::HasNoOverride),
            status => Err(unexpected(HEALTH_PATH, status)),
        }
    }

    async fn get(
        &mut self,
        path: &'static str,
        most_bytes: usize,
        take: impl FnMut(&Bytes),
    ) -> Result<StatusCode, AskError> {
        self.request(Method::GET, path, Body::empty(), most_bytes, take)
            .await
    }

    async fn request(
        &mut self,
        method: Method,
        path: &'static str,
        body: Body,
        most_bytes: usize,
        mut take: impl FnMut(&Bytes),
    ) -> Result<StatusCode, AskError> {
        self.requests.ready().await.map_err(AskError::Http)?;
        let mut request = Request::new(body);
        if method == Method::PUT {
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(header::CONTENT_TYPE, json);
        }
        *request.method_mut() = method;
        *request.uri_mut() = Uri::from_static(path);
        // An address is always a valid header.
        if let Ok(host) = self.host.parse() {
            request.headers_mut().insert(header::HOST, host);
        }
        let response = self
            .requests
            .send_request(request)
            .await
            .map_err(AskError::Http)?;
        let status = response.status();
        let mut pieces = Body::new(response.into_body()).into_data_stream();
        let mut length = 0_usize;
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(AskError::Body)?;
            length = length.saturating_add(piece.len());
            if length > most_bytes {
                return Err(AskError::TooLong(path));
            }
            take(&piece);
        }
        Ok(status)
    }
}

fn unexpected(path: &'static str, status: StatusCode) -> AskError {
    AskError::Status { path, status }
}

/// The body of an answer about health.
#[derive(Default, Deserialize)]
struct Told {
    unhealthy_reason: Option<String>,
    config_checksum: Option<u64>,
}
