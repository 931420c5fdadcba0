//! HTTP as simple as it can be, with TLS or without.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use crate::mysql::packet::Io;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where an API is, and how it is spoken to.
#[derive(Clone, Debug)]
pub struct Endpoint {
    /// A port of this machine.
    pub port: u16,
    /// TLS, if it is spoken.
    pub tls: Option<Arc<ClientConfig>>,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The code.
    pub status: u16,
    /// Where else to ask.
    pub location: Option<String>,
    /// What follows the head.
    pub body: String,
}

impl Answer {
    /// The body, which must be JSON.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

impl Endpoint {
    /// Without TLS.
    #[must_use]
    pub fn plain(port: u16) -> Self {
        Self { port, tls: None }
    }

    /// With TLS, and a certificate that is shown if given.
    #[must_use]
    pub fn tls(port: u16, config: Arc<ClientConfig>) -> Self {
        Self {
            port,
            tls: Some(config),
        }
    }

    /// What a path answers.
    pub async fn get(&self, path: &str) -> Answer {
        self.request("GET", path, "").await.unwrap()
    }

    /// What a path answers to a body.
    pub async fn put(&self, path: &str, body: &str) -> Answer {
        let answer = self.request("PUT", path, body).await;
        answer.unwrap_or_else(|error| panic!("PUT {path} {body}: {error}"))
    }

    /// A request; the error is that nobody answers.
    pub async fn request(&self, method: &str, path: &str, body: &str) -> io::Result<Answer> {
        tokio::time::timeout(PATIENCE, self.exchange(method, path, body)).await?
    }

    async fn exchange(&self, method: &str, path: &str, body: &str) -> io::Result<Answer> {
        let mut stream = connect(self.port, self.tls.as_ref()).await?;
        // HTTP/1.0, so that the body ends with the connection.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await?;
        stream.flush().await?;
        let mut bytes = Vec::new();
        match stream.read_to_end(&mut bytes).await {
            Ok(_) => {}
            // Not everybody says goodbye in TLS.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !bytes.is_empty() => {}
            Err(error) => return Err(error),
        }
        parse(&String::from_utf8_lossy(&bytes)).ok_or_else(|| io::ErrorKind::InvalidData.into())
    }
}

fn parse(text: &str) -> Option<Answer> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let location = lines
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("location"))
        .map(|(_, value)| value.to_owned());
    Some(Answer {
        status,
        location,
        body: body.to_owned(),
    })
}

/// A connection to a port of this machine.
pub async fn connect(port: u16, tls: Option<&Arc<ClientConfig>>) -> io::Result<Box<dyn Io>> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await?;
    match tls {
        None => Ok(Box::new(stream)),
        Some(config) => Ok(Box::new(secured(Box::new(stream), config).await?)),
    }
}

/// TLS over a connection.
pub async fn secured(
    stream: Box<dyn Io>,
    config: &Arc<ClientConfig>,
) -> io::Result<tokio_rustls::client::TlsStream<Box<dyn Io>>> {
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::clone(config)).connect(name, stream).await
}
