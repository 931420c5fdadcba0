//! The HTTP API.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{RawQuery, Request, State as Extract};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::Listener;
use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use crate::flags::Line;
use crate::metrics;
use crate::mysql::packet::Io;
use crate::state::{Override, State};

/// A hundred requests a second for all together; ten may come at once.
const INTERVAL: Duration = Duration::from_millis(10);
const BURST: u32 = 10;
/// How long a client may take to say hello.
const PATIENCE: Duration = Duration::from_secs(30);

/// What handlers share.
#[derive(Clone)]
struct Context {
    state: Arc<State>,
    /// When the next request may go through.
    turn: Arc<Mutex<Instant>>,
}

type Shared = Extract<Context>;

/// Serves the API for ever.
pub async fn serve(state: Arc<State>, listener: TcpListener) {
    let context = Context {
        state: Arc::clone(&state),
        turn: Arc::new(Mutex::new(Instant::now())),
    };
    let (full, full_incoming) = mpsc::channel(64);
    let (health, health_incoming) = mpsc::channel(64);
    tokio::spawn(accept(state, listener, full, health));
    let full = axum::serve(Incoming(full_incoming), everything(context.clone()));
    let health = axum::serve(Incoming(health_incoming), only_health(context));
    // Neither ends.
    let _ = tokio::join!(full.into_future(), health.into_future());
}

/// A connection of either kind.
type Connection = (Box<dyn Io>, SocketAddr);

struct Incoming(mpsc::Receiver<Connection>);

impl Listener for Incoming {
    type Io = Box<dyn Io>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> Connection {
        match self.0.recv().await {
            Some(connection) => connection,
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

async fn accept(
    state: Arc<State>,
    listener: TcpListener,
    full: mpsc::Sender<Connection>,
    health: mpsc::Sender<Connection>,
) {
    let with_tls = state.tls_now().http.is_some();
    loop {
        let Ok((stream, address)) = listener.accept().await else {
            continue;
        };
        let (state, full, health) = (Arc::clone(&state), full.clone(), health.clone());
        tokio::spawn(async move {
            let connection = if with_tls {
                tokio::time::timeout(PATIENCE, secured(&state, stream))
                    .await
                    .ok()
                    .flatten()
            } else {
                Some((Box::new(stream) as Box<dyn Io>, false))
            };
            if let Some((io, plain)) = connection {
                let to = if plain { health } else { full };
                // It only ends with the process.
                let _ = to.send((io, address)).await;
            }
        });
    }
}

/// A connection to a port with TLS, and whether it came without. Only the newer line looks.
async fn secured(state: &State, stream: TcpStream) -> Option<(Box<dyn Io>, bool)> {
    if state.line >= Line::V26 {
        let mut first = [0];
        stream.peek(&mut first).await.ok()?;
        if first.first().is_some_and(u8::is_ascii_uppercase) {
            return Some((Box::new(stream), true));
        }
    }
    let acceptor = TlsAcceptor::from(state.tls_now().http?);
    let stream = acceptor.accept(stream).await.ok()?;
    Some((Box::new(stream), false))
}

fn everything(context: Context) -> Router {
    let mut health = get(get_health);
    if context.state.line >= Line::V26 {
        health = health.put(put_health).delete(delete_health);
    }
    let router = Router::new()
        .route("/api/debug/health", health.clone())
        .route("/debug/health", health)
        .route("/api/debug/redirect", post(redirect))
        .route("/debug/redirect", post(redirect))
        .route("/api/admin/config/", get(get_config).put(put_config))
        .route("/api/metrics/", get(get_metrics))
        .route("/metrics/", get(get_metrics));
    finished(router, context)
}

fn only_health(context: Context) -> Router {
    let router = Router::new()
        .route("/api/debug/health", get(get_health))
        .route("/debug/health", get(get_health));
    finished(router, context)
}

fn finished(router: Router<Context>, context: Context) -> Router {
    router
        .fallback(elsewhere)
        .method_not_allowed_fallback(not_found)
        .layer(from_fn_with_state(context.clone(), admit))
        .with_state(context)
}

/// The limit, and the answer before the start is over.
async fn admit(Extract(context): Shared, request: Request, next: Next) -> Response {
    let turn = {
        let mut turn = context.turn.lock().await;
        let now = Instant::now();
        // Time in which nobody asked is saved up, to a point.
        *turn = (*turn).max(now.checked_sub(INTERVAL * BURST).unwrap_or(now)) + INTERVAL;
        *turn
    };
    tokio::time::sleep_until(turn).await;
    if !context.state.ready.load(Ordering::SeqCst) {
        return answer(StatusCode::INTERNAL_SERVER_ERROR, &json!("service not ready"));
    }
    next.run(request).await
}

fn answer(status: StatusCode, body: &serde_json::Value) -> Response {
    let kind = (header::CONTENT_TYPE, "application/json; charset=utf-8");
    (status, [kind], body.to_string()).into_response()
}

async fn not_found() -> Response {
    (StatusCode::NOT_FOUND, "404 page not found").into_response()
}

/// A path that has a slash too few is sent to the right one; all others are not there.
async fn elsewhere(Extract(context): Shared, method: Method, uri: Uri) -> Response {
    let slashed: BTreeSet<&str> = [
        "/api/admin/config",
        "/api/admin/namespace",
        "/api/metrics",
        "/metrics",
    ]
    .into();
    let plain = context.state.ready.load(Ordering::SeqCst) && slashed.contains(uri.path());
    if !plain {
        return not_found().await;
    }
    let status = if method == Method::GET {
        StatusCode::MOVED_PERMANENTLY
    } else {
        StatusCode::TEMPORARY_REDIRECT
    };
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = format!("{}/{query}", uri.path());
    (status, [(header::LOCATION, location)], Body::empty()).into_response()
}

async fn get_health(Extract(context): Shared) -> Response {
    let state = &context.state;
    let checksum = state.locked_config().await.checksum();
    let mut body = json!({"config_checksum": checksum});
    let ordered = state
        .ordered
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone();
    let reason = match ordered {
        Some(Override { healthy: true, .. }) => None,
        Some(Override { reason, .. }) => Some(reason),
        None if state.closing.load(Ordering::SeqCst) => Some("server is closing".to_owned()),
        None if !state.tidbs().iter().any(|backend| backend.healthy) => {
            Some("server is not ready".to_owned())
        }
        None => None,
    };
    let Some(reason) = reason else {
        return answer(StatusCode::OK, &body);
    };
    if state.line >= Line::V26 && !reason.is_empty() {
        body = json!({"config_checksum": checksum, "unhealthy_reason": reason});
    }
    answer(StatusCode::BAD_GATEWAY, &body)
}

async fn put_health(Extract(context): Shared, body: Bytes) -> Response {
    // An array would do for serde.
    let object = serde_json::from_slice(&body)
        .ok()
        .filter(serde_json::Value::is_object);
    let Some(Ok(mut ordered)) = object.map(serde_json::from_value::<Override>) else {
        return answer(StatusCode::BAD_REQUEST, &json!("bad health override json"));
    };
    ordered.reason = String::from(ordered.reason.trim());
    order(&context.state, Some(ordered))
}

async fn delete_health(Extract(context): Shared) -> Response {
    order(&context.state, None)
}

fn order(state: &State, ordered: Option<Override>) -> Response {
    *state.ordered.lock().unwrap_or_else(PoisonError::into_inner) = ordered;
    answer(StatusCode::OK, &json!(""))
}

async fn redirect() -> Response {
    answer(StatusCode::OK, &json!(""))
}

async fn get_config(Extract(context): Shared, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let config = context.state.locked_config().await;
    let asked = query
        .unwrap_or_default()
        .split('&')
        .any(|pair| pair.eq_ignore_ascii_case("format=json"));
    let accepted = headers
        .get(header::ACCEPT)
        .is_some_and(|value| value == "application/json");
    if asked || accepted {
        return answer(StatusCode::OK, &config.to_json());
    }
    let kind = (header::CONTENT_TYPE, "application/toml; charset=utf-8");
    (StatusCode::OK, [kind], config.to_toml()).into_response()
}

async fn put_config(Extract(context): Shared, body: Bytes) -> Response {
    let refused = || answer(StatusCode::INTERNAL_SERVER_ERROR, &json!("can not update config"));
    let Ok(text) = String::from_utf8(body.to_vec()) else {
        return refused();
    };
    // On its own, so that a client that goes away does not give the lock back.
    let loaded = tokio::spawn(Arc::clone(&context.state).load(text)).await;
    match loaded {
        Ok(Ok(())) => answer(StatusCode::OK, &json!("")),
        Ok(Err(error)) => {
            eprintln!("[WARN] can not update config: {error}");
            refused()
        }
        Err(_) => refused(),
    }
}

async fn get_metrics(Extract(context): Shared) -> Response {
    let state = &context.state;
    for backend in state.tidbs() {
        let healthy = if backend.healthy { 1.0 } else { 0.0 };
        let name = state.line.full_name(&backend.address);
        state
            .metrics
            .set(metrics::BACKEND_STATUS, &[("backend", &name)], healthy);
    }
    let kind = (header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8");
    (StatusCode::OK, [kind], state.metrics.render()).into_response()
}
