//! The HTTP API of a TiProxy, as far as the operator asks for it, at the address of a Pod.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

use super::Test;

const HEALTH: &str = "/api/debug/health";
/// How often an address may be found in use by somebody else.
const MOST_ATTEMPTS: u32 = 100;
/// How often it is looked whether the Pod is gone.
const LOOK: Duration = Duration::from_millis(300);

/// What it answers from now on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Says {
    /// The status of its health.
    pub(crate) status: u16,
    /// The body of its health.
    pub(crate) health: String,
    /// The page of metrics.
    pub(crate) metrics: String,
    /// What comes of marking it unhealthy.
    pub(crate) mark: Mark,
    /// The status of every answer, in the place of all the above.
    pub(crate) always: Option<u16>,
    /// It takes connections and answers nothing.
    pub(crate) hangs: bool,
}

/// What comes of marking a TiProxy unhealthy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Mark {
    /// It cannot be marked: a version before v26.3.1 answers so.
    #[default]
    Unknown,
    /// As a proxy in between might say the same.
    Forbidden,
    /// It can be marked, as from v26.3.1 on.
    Kept,
}

impl Says {
    /// It is healthy and shows these metrics.
    pub(crate) fn healthy(metrics: &str) -> Self {
        Self {
            status: 200,
            health: r#"{"config_checksum":1}"#.to_owned(),
            metrics: metrics.to_owned(),
            ..Self::default()
        }
    }

    /// It knows no healthy TiDB, as v26.3.1 says it.
    pub(crate) fn without_tidb(metrics: &str) -> Self {
        Self {
            status: 502,
            health: r#"{"config_checksum":1,"unhealthy_reason":"server is not ready"}"#.to_owned(),
            ..Self::healthy(metrics)
        }
    }

    /// It is healthy; so many clients are connected, and so many have connected since it started.
    pub(crate) fn connected(now: u32, ever: u32) -> Self {
        Self::healthy(&format!(
            "tiproxy_server_connections {now}\ntiproxy_server_create_connection_total {ever}\n\
             tiproxy_backend_b_status{{backend=\"10.0.0.1:4000\"}} 1\n"
        ))
    }
}

/// A server; it ends with this value.
pub(crate) struct Responder {
    state: Arc<Mutex<State>>,
    task: AbortOnDropHandle<()>,
}

struct State {
    says: Says,
    /// How often its health was asked for.
    asked: usize,
    /// Method and body of what was sent to its health.
    told: Vec<(String, Value)>,
    /// Why it was marked unhealthy.
    marked: Option<Value>,
}

impl Responder {
    /// Listens at the address of a Pod.
    pub(crate) async fn start(address: IpAddr, port: u16, says: Says) -> Self {
        Self::listen(address, port, says, None).await
    }

    /// Answers for a Pod until it is gone: its address is another's then.
    pub(crate) async fn of_pod(test: &Test, pod: &Pod, says: Says, tls: Option<TlsAcceptor>) -> Self {
        let address = pod.status.as_ref().and_then(|status| status.pod_ip.as_deref());
        let address = address.expect("a running Pod has an address");
        let address = address.parse().expect("an address");
        let mut responder = Self::listen(address, 3080, says, tls).await;
        let (pods, name, uid) = (test.api::<Pod>(), pod.name_any(), pod.uid());
        let listening = responder.task;
        responder.task = AbortOnDropHandle::new(tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK).await;
                let found = pods.get_opt(&name).await;
                if found.is_ok_and(|found| found.is_none_or(|found| found.uid() != uid)) {
                    return drop(listening);
                }
            }
        }));
        responder
    }

    async fn listen(address: IpAddr, port: u16, says: Says, tls: Option<TlsAcceptor>) -> Self {
        // Whoever answered for a former Pod of the address may still be about to end.
        let mut attempts = 0;
        let listener = loop {
            match TcpListener::bind(SocketAddr::new(address, port)).await {
                Ok(listener) => break listener,
                Err(error) if attempts == MOST_ATTEMPTS => {
                    panic!("{address}:{port}: {error}; is the Pod's address on the loopback?")
                }
                Err(_) => tokio::time::sleep(LOOK).await,
            }
            attempts += 1;
        };
        let state = Arc::new(Mutex::new(State {
            says,
            asked: 0,
            told: Vec::new(),
            marked: None,
        }));
        let answers = Arc::clone(&state);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (answers, tls) = (Arc::clone(&answers), tls.clone());
                // The operator may hang up at any time.
                tokio::spawn(async move {
                    match tls {
                        None => serve(stream, &answers).await,
                        Some(tls) => serve(tls.accept(stream).await?, &answers).await,
                    }
                });
            }
        });
        Self {
            state,
            task: AbortOnDropHandle::new(task),
        }
    }

    /// Answers so from now on.
    pub(crate) fn say(&self, says: Says) {
        self.state.lock().unwrap().says = says;
    }

    /// How often its health was asked for.
    pub(crate) fn asked(&self) -> usize {
        self.state.lock().unwrap().asked
    }

    /// Method and body of what was sent to its health so far.
    pub(crate) fn told(&self) -> Vec<(String, Value)> {
        self.state.lock().unwrap().told.clone()
    }

    /// Why it is marked unhealthy, if it is.
    pub(crate) fn marked(&self) -> Option<Value> {
        self.state.lock().unwrap().marked.clone()
    }

    /// Marks it unhealthy, as a user does.
    pub(crate) fn mark(&self, reason: &str) {
        self.state.lock().unwrap().marked = Some(reason.into());
    }

    /// Forgets that it was marked, as a new process does.
    pub(crate) fn forget(&self) {
        self.state.lock().unwrap().marked = None;
    }
}

impl State {
    fn answer(&mut self, method: &str, path: &str, body: &str) -> (u16, String) {
        if path == HEALTH && method == "GET" {
            self.asked += 1;
        }
        if let Some(status) = self.says.always {
            return (status, String::new());
        }
        match (method, path) {
            ("GET", HEALTH) => self.marked.as_ref().map_or_else(
                || (self.says.status, self.says.health.clone()),
                |reason| {
                    let body = serde_json::json!({"config_checksum": 1, "unhealthy_reason": reason});
                    (502, body.to_string())
                },
            ),
            ("PUT" | "DELETE", HEALTH) => {
                let body: Value = serde_json::from_str(body).unwrap_or_default();
                self.told.push((method.to_owned(), body.clone()));
                match self.says.mark {
                    Mark::Unknown => (404, "404 page not found".to_owned()),
                    Mark::Forbidden => (405, String::new()),
                    Mark::Kept => {
                        let is_unhealthy = method == "PUT" && body["healthy"] == false;
                        self.marked = is_unhealthy.then(|| body["reason"].clone());
                        (200, "\"\"".to_owned())
                    }
                }
            }
            ("GET", "/metrics/") => (200, self.says.metrics.clone()),
            _ => (404, String::new()),
        }
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, state: &Mutex<State>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let mut first = String::new();
        if stream.read_line(&mut first).await? == 0 {
            return Ok(());
        }
        let (mut line, mut length) = (first.clone(), 0);
        while line.trim() != "" {
            line.clear();
            stream.read_line(&mut line).await?;
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap_or_default();
            }
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        let is_hanging = state.lock().unwrap().says.hangs;
        if is_hanging {
            std::future::pending::<()>().await;
        }
        let mut words = first.split(' ');
        let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let body = String::from_utf8_lossy(&body);
        let (status, body) = state.lock().unwrap().answer(method, path, &body);
        let head = format!("HTTP/1.1 {status} x\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all((head + &body).as_bytes()).await?;
    }
}
