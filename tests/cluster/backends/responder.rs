//! The HTTP API of a TiProxy, as far as the operator asks for it, at the address of a Pod.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

/// What it answers from now on.
#[derive(Clone, Debug, Default)]
pub(super) struct Says {
    /// The status of its health.
    pub(super) status: u16,
    /// The body of its health.
    pub(super) health: String,
    /// The page of metrics.
    pub(super) metrics: String,
}

impl Says {
    /// It is healthy and shows these metrics.
    pub(super) fn healthy(metrics: &str) -> Self {
        Self {
            status: 200,
            health: r#"{"config_checksum":1}"#.to_owned(),
            metrics: metrics.to_owned(),
        }
    }

    /// It knows no healthy TiDB, as v26.3.1 says it.
    pub(super) fn without_tidb(metrics: &str) -> Self {
        Self {
            status: 502,
            health: r#"{"config_checksum":1,"unhealthy_reason":"server is not ready"}"#.to_owned(),
            metrics: metrics.to_owned(),
        }
    }
}

/// A server; it ends with this value.
pub(super) struct Responder {
    says: Arc<Mutex<(Says, usize)>>,
    _task: AbortOnDropHandle<()>,
}

impl Responder {
    /// Listens at the address of a Pod.
    pub(super) async fn start(address: IpAddr, port: u16, says: Says) -> Self {
        let listener = TcpListener::bind(SocketAddr::new(address, port))
            .await
            .unwrap_or_else(|error| {
                panic!("{address}:{port}: {error}; is the Pod's address on the loopback?")
            });
        let says = Arc::new(Mutex::new((says, 0)));
        let answers = Arc::clone(&says);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let answers = Arc::clone(&answers);
                // The operator may hang up at any time.
                tokio::spawn(async move { serve(stream, &answers).await.ok() });
            }
        });
        Self {
            says,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// Answers so from now on.
    pub(super) fn say(&self, says: Says) {
        self.says.lock().unwrap().0 = says;
    }

    /// How often its health was asked for.
    pub(super) fn asked(&self) -> usize {
        self.says.lock().unwrap().1
    }
}

async fn serve(stream: TcpStream, says: &Mutex<(Says, usize)>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if stream.read_line(&mut first).await? == 0 {
            return Ok(());
        }
        let mut line = first.clone();
        while line.trim() != "" {
            line.clear();
            stream.read_line(&mut line).await?;
        }
        let (status, body) = {
            let mut says = says.lock().unwrap();
            match first.split(' ').nth(1) {
                Some("/api/debug/health") => {
                    says.1 += 1;
                    (says.0.status, says.0.health.clone())
                }
                Some("/metrics/") => (200, says.0.metrics.clone()),
                _ => (404, String::new()),
            }
        };
        let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).await?;
    }
}
