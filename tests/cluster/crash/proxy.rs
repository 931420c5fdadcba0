//! A proxy between one operator and the API server, which can disturb what passes: plain HTTP in, on the loopback
//! device only; HTTPS with the operator's own credentials out.

use std::future::pending;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, Response, StatusCode, header};
use futures::StreamExt;
use kube::Client;
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// One request that changes something; Events aside.
#[derive(Clone, Debug)]
pub(crate) struct Write {
    /// How many there were before it since the plan was set, and one.
    pub(crate) number: usize,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) time: Instant,
}

/// What becomes of a write.
#[derive(Clone, Debug)]
pub(crate) enum Fate {
    /// It passes.
    Pass,
    /// Whoever sent it is killed first, and it is dropped.
    KillBefore,
    /// It is carried out, and whoever sent it is killed before hearing of it.
    KillBetween,
    /// Whoever sent it is killed when the answer has been passed on.
    KillAfter,
    /// It is not carried out, and this is the answer.
    Refuse(StatusCode),
    /// It is not carried out, and there is no answer.
    Swallow,
}

type Plan = Box<dyn FnMut(&Write) -> Fate + Send>;
type Kill = Box<dyn Fn() + Send + Sync>;

/// A running proxy; dropping it ends it.
pub(crate) struct Proxy {
    shared: Arc<Shared>,
    kubeconfig: PathBuf,
    server: JoinHandle<()>,
}

struct Shared {
    upstream: Client,
    state: Mutex<Disturbance>,
    kill: Kill,
}

#[derive(Default)]
struct Disturbance {
    plan: Option<Plan>,
    writes: Vec<Write>,
    /// Ends the watches that run.
    cut: CancellationToken,
    /// Which resource cannot be read, and with which answer.
    unreadable: Option<(String, StatusCode)>,
    /// How many reads were refused for that.
    refused: usize,
    /// The next watch of this resource is told that it goes on from a point too long ago.
    expired: Option<String>,
}

impl Proxy {
    /// Starts a proxy with the credentials of a kubeconfig; `kill` must kill the process that uses the proxy.
    pub(crate) async fn start(
        kubeconfig: &Path,
        directory: &Path,
        kill: impl Fn() + Send + Sync + 'static,
    ) -> Self {
        let shared = Arc::new(Shared {
            upstream: upstream(kubeconfig).await,
            state: Mutex::default(),
            kill: Box::new(kill),
        });
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .await
            .expect("a local port is free");
        let address = listener.local_addr().expect("it has an address");
        let router = Router::new().fallback(pass).with_state(Arc::clone(&shared));
        let server = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("the proxy serves");
        });
        Self {
            kubeconfig: write_kubeconfig(directory, address),
            shared,
            server,
        }
    }

    /// The kubeconfig that leads through the proxy.
    pub(crate) fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Sets what becomes of writes from now on, and begins to count anew.
    pub(crate) fn plan(&self, plan: impl FnMut(&Write) -> Fate + Send + 'static) {
        self.with(|state| {
            state.plan = Some(Box::new(plan));
            state.writes.clear();
        });
    }

    /// The writes since the plan was set.
    pub(crate) fn writes(&self) -> Vec<Write> {
        self.with(|state| state.writes.clone())
    }

    /// Ends all watches, and refuses to let this resource be read until [`Proxy::readable`].
    pub(crate) fn unreadable(&self, resource: &str, answer: StatusCode) {
        self.with(|state| {
            state.unreadable = Some((resource.to_owned(), answer));
            state.refused = 0;
            std::mem::take(&mut state.cut).cancel();
        });
    }

    /// How many reads have been refused since.
    pub(crate) fn refused(&self) -> usize {
        self.with(|state| state.refused)
    }

    /// Everything can be read again, but not from where the last watch ended.
    pub(crate) fn readable(&self) {
        self.with(|state| {
            state.expired = state.unreadable.take().map(|(resource, _)| resource);
        });
    }

    fn with<T>(&self, act: impl FnOnce(&mut Disturbance) -> T) -> T {
        self.shared.with(act)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Shared {
    fn with<T>(&self, act: impl FnOnce(&mut Disturbance) -> T) -> T {
        act(&mut self.state.lock().expect("nobody panicked with the lock"))
    }

    /// What becomes of a request, by the plan.
    fn fate_of(&self, method: &Method, path: &str) -> Fate {
        let is_event = path.ends_with("/events") || path.contains("/events/");
        if method == Method::GET || is_event {
            return Fate::Pass;
        }
        self.with(|state| {
            let write = Write {
                number: state.writes.len() + 1,
                method: method.clone(),
                path: path.to_owned(),
                time: Instant::now(),
            };
            state.writes.push(write.clone());
            state.plan.as_mut().map_or(Fate::Pass, |plan| plan(&write))
        })
    }
}

async fn pass(State(shared): State<Arc<Shared>>, request: Request) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let body = to_bytes(body, usize::MAX).await.unwrap_or_default().to_vec();
    let path = parts.uri.path().to_owned();
    let fate = shared.fate_of(&parts.method, &path);
    match fate {
        Fate::Refuse(code) => return refusal(code),
        Fate::Swallow => return pending().await,
        Fate::KillBefore => {
            (shared.kill)();
            return refusal(StatusCode::BAD_GATEWAY);
        }
        Fate::Pass | Fate::KillBetween | Fate::KillAfter => {}
    }
    if parts.method == Method::GET
        && let Some(answer) = disturbed_read(&shared, &parts.uri)
    {
        return answer;
    }
    let mut forwarded = axum::http::Request::builder()
        .method(parts.method)
        .uri(parts.uri)
        .body(kube::client::Body::from(body))
        .expect("a request can be repeated");
    for name in [header::ACCEPT, header::CONTENT_TYPE, header::USER_AGENT] {
        if let Some(value) = parts.headers.get(&name) {
            forwarded.headers_mut().insert(name, value.clone());
        }
    }
    let cut = shared.with(|state| state.cut.clone());
    let Ok(answer) = shared.upstream.send(forwarded).await else {
        return refusal(StatusCode::BAD_GATEWAY);
    };
    let (parts, body) = answer.into_parts();
    // Of the headers only this one matters; the length is computed anew.
    let mut answer = Response::builder().status(parts.status);
    if let Some(value) = parts.headers.get(header::CONTENT_TYPE) {
        answer = answer.header(header::CONTENT_TYPE, value);
    }
    let body = match fate {
        Fate::KillBetween | Fate::KillAfter => {
            // Only now it is sure that the write was carried out.
            let bytes = to_bytes(Body::new(body), usize::MAX).await.unwrap_or_default();
            if matches!(fate, Fate::KillBetween) {
                (shared.kill)();
            } else {
                tokio::spawn(async move {
                    // The answer is on its way: what the operator does with it is a race, as in life.
                    tokio::task::yield_now().await;
                    (shared.kill)();
                });
            }
            Body::from(bytes)
        }
        Fate::Pass | Fate::KillBefore | Fate::Refuse(_) | Fate::Swallow => Body::from_stream(
            Body::new(body)
                .into_data_stream()
                .take_until(cut.cancelled_owned()),
        ),
    };
    answer.body(body).expect("an answer can be passed on")
}

/// The answer to a read that is disturbed.
fn disturbed_read(shared: &Shared, uri: &axum::http::Uri) -> Option<Response<Body>> {
    let is_of = |resource: &str| uri.path().rsplit('/').next() == Some(resource);
    let is_watch = uri.query().unwrap_or_default().contains("watch=true");
    shared.with(|state| match (&state.unreadable, &state.expired) {
        (Some((resource, code)), _) if is_of(resource) => {
            state.refused += 1;
            Some(refusal(*code))
        }
        (_, Some(resource)) if is_watch && is_of(resource) => {
            state.expired = None;
            let event = json!({"type": "ERROR", "object": status(StatusCode::GONE)});
            Some(json_response(StatusCode::OK, format!("{event}\n")))
        }
        _ => None,
    })
}

fn refusal(code: StatusCode) -> Response<Body> {
    json_response(code, status(code).to_string())
}

fn json_response(code: StatusCode, body: String) -> Response<Body> {
    Response::builder()
        .status(code)
        .header(header::CONTENT_TYPE, "application/json")
        .body(Body::from(body))
        .expect("an answer can be made")
}

fn status(code: StatusCode) -> Value {
    let reason = match code {
        StatusCode::CONFLICT => "Conflict",
        StatusCode::TOO_MANY_REQUESTS => "TooManyRequests",
        StatusCode::FORBIDDEN => "Forbidden",
        StatusCode::GONE => "Expired",
        _ => "InternalError",
    };
    json!({
        "apiVersion": "v1", "kind": "Status", "status": "Failure",
        "code": code.as_u16(), "reason": reason, "message": "a test says so",
    })
}

async fn upstream(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("the kubeconfig can be read");
    let mut config = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .expect("the kubeconfig is valid");
    // What the API server says is passed on, once.
    config.default_retry = false;
    Client::try_from(config).expect("a client can be made")
}

fn write_kubeconfig(directory: &Path, address: SocketAddr) -> PathBuf {
    let path = directory.join(format!("kubeconfig-{}", address.port()));
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "proxy", "cluster": {"server": format!("http://{address}")}}],
        "users": [{"name": "proxy", "user": {}}],
        "contexts": [{"name": "proxy", "context": {"cluster": "proxy", "user": "proxy"}}],
        "current-context": "proxy",
    });
    std::fs::write(&path, config.to_string()).expect("the kubeconfig can be written");
    path
}
