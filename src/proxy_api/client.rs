//! A client of TiProxy's HTTP API: a connection for a few requests, none of which can hang or fill the memory.

use std::net::SocketAddr;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{Request, StatusCode, header};
use futures::StreamExt;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_util::task::AbortOnDropHandle;

use super::exposition::Page;
use super::observation::{Answer, Health};
use super::tls::{CertificateError, CertificateFiles, Tls};

const HEALTH_PATH: &str = "/api/debug/health";
/// With the slash: TiProxy answers the path without it by a redirect.
const METRICS_PATH: &str = "/metrics/";
/// How long it may take to connect.
const MOST_CONNECT: Duration = Duration::from_secs(2);
/// How long everything may take.
const MOST_TIME: Duration = Duration::from_secs(5);
const MOST_HEALTH_BYTES: usize = 64 * 1024;
/// A page of metrics grows with the TiDBs; it is never kept.
const MOST_METRICS_BYTES: usize = 32 * 1024 * 1024;

/// Where a TiProxy's API is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address of its Pod and the port.
    pub address: SocketAddr,
    /// Whether it speaks TLS.
    pub tls: bool,
}

/// Why a TiProxy could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody listens there, or the way is barred.
    #[error("cannot connect")]
    Connect(#[source] std::io::Error),
    /// It took too long.
    #[error("it takes too long")]
    Timeout,
    /// No TLS came about.
    #[error("no TLS comes about")]
    Tls(#[source] std::io::Error),
    /// What came is no HTTP.
    #[error("the answer is no HTTP")]
    Http(#[source] hyper::Error),
    /// The answer broke off.
    #[error("the answer breaks off")]
    Body(#[source] axum::Error),
    /// The answer is longer than any that TiProxy gives.
    #[error("the answer to {0} is too long")]
    TooLong(&'static str),
    /// The answer is none that TiProxy gives.
    #[error("the answer to {path} has the status {status}")]
    Status {
        /// What was asked for.
        path: &'static str,
        /// The status.
        status: StatusCode,
    },
}

impl AskError {
    /// The label of this error in metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Connect(_) => "unreachable",
            Self::Timeout => "timeout",
            Self::Tls(_) => "tls",
            Self::Http(_) | Self::Body(_) | Self::TooLong(_) | Self::Status { .. } => "invalid",
        }
    }
}

/// Asks TiProxies.
#[derive(Debug)]
pub struct Client {
    tls: Tls,
}

impl Client {
    /// A client that shows this certificate, if one is demanded.
    pub fn new(files: Option<CertificateFiles>) -> Result<Self, CertificateError> {
        Ok(Self {
            tls: Tls::new(files)?,
        })
    }

    /// Asks a TiProxy for all that is of interest.
    pub async fn ask(&self, endpoint: Endpoint) -> Result<Answer, AskError> {
        let asked = timeout(MOST_TIME, self.ask_without_limit(endpoint));
        asked.await.unwrap_or(Err(AskError::Timeout))
    }

    async fn ask_without_limit(&self, endpoint: Endpoint) -> Result<Answer, AskError> {
        let mut connection = self.connect(endpoint).await?;
        let mut answer = Answer {
            health: connection.health().await?,
            ..Answer::default()
        };
        // It answers nothing else before it has started.
        if answer.health != Health::Starting {
            connection.metrics(&mut answer).await?;
        }
        Ok(answer)
    }

    async fn connect(&self, endpoint: Endpoint) -> Result<Connection, AskError> {
        let connected = timeout(MOST_CONNECT, TcpStream::connect(endpoint.address));
        let stream = connected
            .await
            .map_err(|_| AskError::Timeout)?
            .map_err(AskError::Connect)?;
        if !endpoint.tls {
            return Connection::over(stream, endpoint.address).await;
        }
        let connector = TlsConnector::from(self.tls.config());
        let name = ServerName::IpAddress(endpoint.address.ip().into());
        let stream = connector.connect(name, stream).await.map_err(AskError::Tls)?;
        Connection::over(stream, endpoint.address).await
    }
}

/// A connection to one TiProxy.
struct Connection {
    requests: SendRequest<Body>,
    host: String,
    /// Moves the bytes.
    _driver: AbortOnDropHandle<()>,
}

impl Connection {
    async fn over(
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

    async fn health(&mut self) -> Result<Health, AskError> {
        let mut body = Vec::new();
        let take = |piece: &Bytes| body.extend_from_slice(piece);
        let status = self.get(HEALTH_PATH, MOST_HEALTH_BYTES, take).await?;
        match status {
            StatusCode::OK => Ok(Health::Healthy),
            StatusCode::BAD_GATEWAY => {
                let told: Told = serde_json::from_slice(&body).unwrap_or_default();
                Ok(Health::Unhealthy {
                    reason: told.unhealthy_reason.filter(|reason| !reason.is_empty()),
                })
            }
            StatusCode::INTERNAL_SERVER_ERROR => Ok(Health::Starting),
            status => Err(AskError::Status {
                path: HEALTH_PATH,
                status,
            }),
        }
    }

    async fn metrics(&mut self, answer: &mut Answer) -> Result<(), AskError> {
        let mut page = Page::default();
        let mut read = Answer::default();
        let take = |piece: &Bytes| page.take(piece, &mut read);
        let status = self.get(METRICS_PATH, MOST_METRICS_BYTES, take).await?;
        if status != StatusCode::OK {
            return Err(AskError::Status {
                path: METRICS_PATH,
                status,
            });
        }
        page.end(&mut read);
        *answer = Answer {
            health: answer.health.clone(),
            ..read
        };
        Ok(())
    }

    async fn get(
        &mut self,
        path: &'static str,
        most_bytes: usize,
        mut take: impl FnMut(&Bytes),
    ) -> Result<StatusCode, AskError> {
        self.requests.ready().await.map_err(AskError::Http)?;
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = axum::http::Uri::from_static(path);
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

/// The body of an answer about health.
#[derive(Default, Deserialize)]
struct Told {
    unhealthy_reason: Option<String>,
}

#[cfg(test)]
mod tests;
