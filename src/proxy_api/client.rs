//! A client of TiProxy's HTTP API: a connection for a few requests, none of which can hang or fill the memory.

mod connection;

use std::net::SocketAddr;
use std::time::Duration;

use axum::http::StatusCode;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use self::connection::Connection;
use super::observation::{Answer, Health};
use super::question::{Order, Question};
use super::tls::{CertificateError, CertificateFiles, Tls};

/// How long it may take to connect.
const MOST_CONNECT: Duration = Duration::from_secs(2);
/// How long everything may take.
const MOST_TIME: Duration = Duration::from_secs(5);

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

/// What came of a question.
#[derive(Debug)]
pub struct Said {
    /// Its health and its metrics.
    pub answer: Answer,
    /// What it was told about its health, if anything, and what it did.
    pub ordered: Option<(Order, Result<Obedience, AskError>)>,
    /// The configuration that it runs with, if it was asked for that. There may be secrets in it.
    pub config: Option<Result<String, AskError>>,
}

/// What a TiProxy does when it is told something about its health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obedience {
    /// It complies.
    Complies,
    /// It cannot: its version has no override.
    HasNoOverride,
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

    /// Asks a TiProxy for all that is of interest. Nothing that goes wrong after its health and metrics have been read
    /// spoils them.
    pub async fn ask(&self, endpoint: Endpoint, question: &Question) -> Result<Said, AskError> {
        let deadline = Instant::now() + MOST_TIME;
        let read = timeout_at(deadline, self.read(endpoint)).await;
        let (mut connection, answer) = read.unwrap_or(Err(AskError::Timeout))?;
        let mut said = Said {
            answer,
            ordered: None,
            config: None,
        };
        // It answers nothing else before it has started.
        if said.answer.health == Health::Starting {
            return Ok(said);
        }
        if let Some(order) = question.order(&said.answer.health) {
            let obedience = timeout_at(deadline, connection.order(order)).await;
            said.ordered = Some((order, obedience.unwrap_or(Err(AskError::Timeout))));
        }
        if question.asks_config(said.answer.config_checksum) {
            let config = timeout_at(deadline, connection.config()).await;
            said.config = Some(config.unwrap_or(Err(AskError::Timeout)));
        }
        Ok(said)
    }

    async fn read(&self, endpoint: Endpoint) -> Result<(Connection, Answer), AskError> {
        let mut connection = self.connect(endpoint).await?;
        let mut answer = Answer::default();
        connection.health(&mut answer).await?;
        if answer.health != Health::Starting {
            connection.metrics(&mut answer).await?;
        }
        Ok((connection, answer))
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

#[cfg(test)]
mod tests;
