//! As much of a TiDB as a real TiProxy needs: a status port, and a SQL port that lets everybody in.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::mysql::packet::Io;
use crate::mysql::session::Next;
use crate::mysql::{Greeting, greet};
use rustls::ServerConfig;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// A running TiDB; dropping it ends it.
#[derive(Debug)]
pub struct Tidb {
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its SQL port.
    pub sql: u16,
    /// Its status port.
    pub status: u16,
    healthy: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

/// TLS of its ports.
#[derive(Clone, Debug, Default)]
pub struct TidbTls {
    /// Of the SQL port.
    pub sql: Option<Arc<ServerConfig>>,
    /// Of the status port.
    pub status: Option<Arc<ServerConfig>>,
}

/// What it calls itself.
pub const VERSION: &str = "8.0.11-TiDB-v8.5.0";

impl Tidb {
    /// Starts one at free ports; one that is signed can hand sessions over.
    pub async fn start(labels: BTreeMap<String, String>, signed: bool, tls: TidbTls) -> Self {
        let healthy = Arc::new(AtomicBool::new(true));
        let sql = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let status = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        Self {
            labels,
            sql: sql.local_addr().unwrap().port(),
            status: status.local_addr().unwrap().port(),
            tasks: vec![
                tokio::spawn(serve_sql(sql, signed, tls.sql)),
                tokio::spawn(serve_status(status, signed, Arc::clone(&healthy), tls.status)),
            ],
            healthy,
        }
    }

    /// Makes it fail its health check, or pass it again.
    pub fn set_healthy(&self, healthy: bool) {
        self.healthy.store(healthy, Ordering::SeqCst);
    }

    /// What stands in etcd under its key.
    #[must_use]
    pub fn info(&self) -> String {
        json!({
            "version": VERSION, "git_hash": "none", "ip": "127.0.0.1", "status_port": self.status,
            "deploy_path": "/", "start_timestamp": 1, "labels": self.labels,
        })
        .to_string()
    }
}

impl Drop for Tidb {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

async fn serve_sql(listener: TcpListener, signed: bool, tls: Option<Arc<ServerConfig>>) {
    let greeting = Greeting {
        version: VERSION.to_owned(),
        connection: 1,
        tls,
    };
    while let Ok((stream, _)) = listener.accept().await {
        let greeting = greeting.clone();
        tokio::spawn(async move {
            let Ok(login) = greet(stream, &greeting).await else {
                return;
            };
            let Ok(mut session) = login.accept(signed).await else {
                return;
            };
            while let Ok(command) = session.command().await {
                if !matches!(session.answer(&command).await, Ok(Next::Command)) {
                    return;
                }
            }
        });
    }
}

async fn serve_status(
    listener: TcpListener,
    signed: bool,
    healthy: Arc<AtomicBool>,
    tls: Option<Arc<ServerConfig>>,
) {
    while let Ok((stream, _)) = listener.accept().await {
        let (healthy, tls) = (Arc::clone(&healthy), tls.clone());
        tokio::spawn(async move {
            // TiProxy may go away at any time.
            let _ = answer_status(stream, signed, &healthy, tls).await;
        });
    }
}

async fn answer_status(
    stream: TcpStream,
    signed: bool,
    healthy: &AtomicBool,
    tls: Option<Arc<ServerConfig>>,
) -> std::io::Result<()> {
    let mut stream: Box<dyn Io> = match tls {
        Some(tls) => Box::new(TlsAcceptor::from(tls).accept(stream).await?),
        None => Box::new(stream),
    };
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(stream.read_u8().await?);
    }
    let body = if request.starts_with(b"GET /config") {
        let certificate = if signed { "/tidb/signing.crt" } else { "" };
        json!({"security": {"session-token-signing-cert": certificate}})
    } else {
        json!({"connections": 0, "version": VERSION, "git_hash": "none"})
    }
    .to_string();
    let status = if healthy.load(Ordering::SeqCst) {
        "200 OK"
    } else {
        "500 Internal Server Error"
    };
    let answer = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await
}
