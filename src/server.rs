//! The operator's own HTTP server: `/healthz`, `/readyz` and `/metrics`.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;
use crate::runtime::clock::Clock;

use self::heartbeat::Heartbeat;

/// How long open connections may go on after the stop.
const GRACE: Duration = Duration::from_secs(1);

/// What must hold before the operator is ready: each check has the name that is shown while it does not hold.
#[derive(Default)]
pub struct Readiness {
    checks: Vec<(String, Box<dyn Fn() -> bool + Send + Sync>)>,
}

impl Readiness {
    /// Ready from the start.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a check, such as a cache's `is_warm`.
    #[must_use]
    pub fn and(mut self, name: &str, holds: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        self.checks.push((name.to_owned(), Box::new(holds)));
        self
    }

    /// The names of the checks that do not hold now.
    #[must_use]
    pub fn missing(&self) -> Vec<&str> {
        self.checks
            .iter()
            .filter(|(_, holds)| !holds())
            .map(|(name, _)| name.as_str())
            .collect()
    }
}

impl fmt::Debug for Readiness {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Readiness")
            .field("missing", &self.missing())
            .finish_non_exhaustive()
    }
}

/// Why the server could not run.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The address could not be bound.
    #[error("cannot listen on {address} for health checks and metrics")]
    Bind {
        /// The address as it was given.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The server broke.
    #[error("the server of health checks and metrics stopped")]
    Serve(#[source] io::Error),
}

/// A server that has its address and waits to be run.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
}

impl Server {
    /// Binds the address; port 0 means any free one.
    ///
    /// # Errors
    /// Fails if the address is in use or not allowed, and names it.
    pub async fn bind(address: SocketAddr) -> Result<Self, ServerError> {
        let bind = async {
            let listener = TcpListener::bind(address).await?;
            let address = listener.local_addr()?;
            Ok(Self { listener, address })
        };
        bind.await.map_err(|source| ServerError::Bind { address, source })
    }

    /// The address that is bound.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Answers until the shutdown; open connections may end within 1 s.
    ///
    /// # Errors
    /// Fails if connections can no longer be accepted.
    pub async fn run(
        self,
        metrics: Metrics,
        readiness: Arc<Readiness>,
        shutdown: CancellationToken,
    ) -> Result<(), ServerError> {
        let heartbeat = Heartbeat::start(Clock::system(), shutdown.clone());
        let router = router(Shared {
            metrics,
            readiness,
            heartbeat,
        });
        let server =
            axum::serve(self.listener, router).with_graceful_shutdown(shutdown.clone().cancelled_owned());
        let too_late = async {
            shutdown.cancelled().await;
            tokio::time::sleep(GRACE).await;
        };
        tokio::select! {
            result = server => result.map_err(ServerError::Serve),
            () = too_late => Ok(()),
        }
    }
}

#[derive(Clone)]
struct Shared {
    metrics: Metrics,
    readiness: Arc<Readiness>,
    heartbeat: Heartbeat,
}

fn router(shared: Shared) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(shared)
}

async fn healthz(State(shared): State<Shared>) -> Response {
    if shared.heartbeat.is_alive() {
        "ok\n".into_response()
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            "the event loop does not make progress\n",
        )
            .into_response()
    }
}

async fn readyz(State(shared): State<Shared>) -> Response {
    let missing = shared.readiness.missing();
    if missing.is_empty() {
        "ok\n".into_response()
    } else {
        (
            StatusCode::SERVICE_UNAVAILABLE,
            format!("not ready: {}\n", missing.join(", ")),
        )
            .into_response()
    }
}

async fn metrics(State(shared): State<Shared>) -> Response {
    shared
        .metrics
        .set_caches_warm(shared.readiness.missing().is_empty());
    match shared.metrics.encode() {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}

mod heartbeat {
    //! A task that only shows that tasks run.

    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    use tokio_util::sync::CancellationToken;

    use crate::runtime::clock::Clock;

    const INTERVAL: Duration = Duration::from_secs(5);
    const DEAD_AFTER: Duration = Duration::from_secs(30);

    #[derive(Clone)]
    pub(super) struct Heartbeat {
        clock: Clock,
        last_seconds: Arc<AtomicU64>,
    }

    impl Heartbeat {
        pub(super) fn start(clock: Clock, shutdown: CancellationToken) -> Self {
            let heartbeat = Self::new(clock);
            let beating = heartbeat.clone();
            tokio::spawn(shutdown.run_until_cancelled_owned(async move {
                loop {
                    beating.beat();
                    tokio::time::sleep(INTERVAL).await;
                }
            }));
            heartbeat
        }

        pub(super) fn new(clock: Clock) -> Self {
            let last_seconds = Arc::new(AtomicU64::new(clock.elapsed().as_secs()));
            Self { clock, last_seconds }
        }

        pub(super) fn beat(&self) {
            self.last_seconds
                .store(self.clock.elapsed().as_secs(), Ordering::Release);
        }

        pub(super) fn is_alive(&self) -> bool {
            let last = Duration::from_secs(self.last_seconds.load(Ordering::Acquire));
            self.clock.elapsed().saturating_sub(last) < DEAD_AFTER
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::sync::atomic::{AtomicBool, Ordering};

    use k8s_openapi::jiff::Timestamp;

    use super::*;

    async fn get(address: SocketAddr, path: &'static str) -> String {
        let request = move || {
            let mut stream = TcpStream::connect(address).unwrap();
            write!(
                stream,
                "GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n"
            )
            .unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            answer
        };
        tokio::task::spawn_blocking(request).await.unwrap()
    }

    fn any_port() -> SocketAddr {
        "127.0.0.1:0".parse().unwrap()
    }

    #[tokio::test]
    async fn it_tells_what_is_missing_until_it_is_ready_and_stops() {
        let (warm, shutdown) = (Arc::new(AtomicBool::new(false)), CancellationToken::new());
        let is_warm = Arc::clone(&warm);
        let readiness = Readiness::new()
            .and("Pod", || false)
            .and("Service", || true)
            .and("Cluster", move || is_warm.load(Ordering::Acquire));
        assert_eq!(readiness.missing(), ["Pod", "Cluster"]);
        let readiness = Arc::new(Readiness::new().and("Cluster", move || warm.load(Ordering::Acquire)));
        let server = Server::bind(any_port()).await.unwrap();
        let address = server.address();
        let task = tokio::spawn(server.run(Metrics::new().unwrap(), readiness, shutdown.clone()));

        assert!(get(address, "/healthz").await.starts_with("HTTP/1.1 200 OK"));
        let answer = get(address, "/readyz").await;
        assert!(
            answer.starts_with("HTTP/1.1 503 ") && answer.ends_with("not ready: Cluster\n"),
            "{answer}"
        );
        assert!(
            get(address, "/metrics")
                .await
                .contains("\ntiproxy_operator_caches_warm 0\n")
        );
        assert!(get(address, "/else").await.starts_with("HTTP/1.1 404 "));
        // A connection that stays open does not hold up the stop.
        let _open = TcpStream::connect(address).unwrap();
        shutdown.cancel();
        tokio::time::timeout(Duration::from_secs(5), task)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
        assert!(TcpStream::connect(address).is_err());
    }

    #[tokio::test]
    async fn it_is_ready_when_all_checks_hold() {
        let shutdown = CancellationToken::new();
        let readiness = Arc::new(Readiness::new().and("Pod", || true));
        let server = Server::bind(any_port()).await.unwrap();
        let address = server.address();
        let task = tokio::spawn(server.run(Metrics::new().unwrap(), readiness, shutdown.clone()));
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200 OK"));
        let metrics = get(address, "/metrics").await;
        assert!(
            metrics.contains("content-type: text/plain; version=0.0.4"),
            "{metrics}"
        );
        assert!(metrics.contains("\ntiproxy_operator_caches_warm 1\n"));
        shutdown.cancel();
        task.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn an_address_in_use_is_named() {
        let first = Server::bind(any_port()).await.unwrap();
        let error = Server::bind(first.address()).await.unwrap_err();
        let expected = format!(
            "cannot listen on {} for health checks and metrics",
            first.address()
        );
        assert_eq!(error.to_string(), expected);
        assert!(std::error::Error::source(&error).is_some());
    }

    #[test]
    fn a_loop_that_stands_still_is_not_healthy() {
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let heartbeat = Heartbeat::new(clock.clone());
        clock.advance(Duration::from_secs(29));
        assert!(heartbeat.is_alive());
        clock.advance(Duration::from_secs(1));
        assert!(!heartbeat.is_alive());
        heartbeat.beat();
        assert!(heartbeat.is_alive());
    }
}
