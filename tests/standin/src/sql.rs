//! The SQL port.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::backend::Backend;
use crate::flags::Line;
use crate::metrics;
use crate::mysql::session::Next;
use crate::mysql::{Greeting, Login, LoginError, Session, greet};
use crate::router;
use crate::state::{Client, Phase, State};

/// How long TiProxy looks for a TiDB.
const PATIENCE: Duration = Duration::from_secs(15);
/// The first pause between two looks; it grows by half each time.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// How often sessions are moved, at most.
const REBALANCE: Duration = Duration::from_secs(1);
/// How long a session stays where moving it failed.
const AFTER_FAILURE: Duration = Duration::from_secs(3);

/// Accepts clients until told to stop.
pub async fn serve(state: Arc<State>, listener: TcpListener, mut stop: watch::Receiver<bool>) {
    static NUMBER: AtomicU32 = AtomicU32::new(1);
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
                    tokio::spawn(client(Arc::clone(&state), stream, number));
                }
            }
            _ = stop.wait_for(|stop| *stop) => return,
        }
    }
}

/// Why a client went, as TiProxy calls it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Quit,
    Network,
    Handshake,
    Shutdown,
    NoBackend,
    Proxy,
}

impl End {
    fn name(self) -> &'static str {
        match self {
            Self::Quit => "success",
            Self::Network => "client network break",
            Self::Handshake => "client handshake fail",
            Self::Shutdown => "proxy shutdown",
            Self::NoBackend => "get backend fail",
            Self::Proxy => "proxy error",
        }
    }
}

impl From<LoginError> for End {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Network(_) => Self::Network,
            LoginError::Handshake(_) => Self::Handshake,
        }
    }
}

async fn client(state: Arc<State>, stream: TcpStream, number: u32) {
    if state.line >= Line::V26 {
        // It looks up the memory limit for each client.
        state.locked_config().await;
    }
    let config = state.config();
    let most = config.integer("proxy.max-connections");
    let count = state.connected.fetch_add(1, Ordering::SeqCst);
    if most > 0 && i64::from(count) >= most {
        // Without a word.
        state.connected.fetch_sub(1, Ordering::SeqCst);
        return;
    }
    state.metrics.add(metrics::CONNECTIONS, &[], 1.0);
    state.metrics.add(metrics::CREATED, &[], 1.0);
    let mut phase = state.phase.subscribe();
    let end = tokio::select! {
        end = life(&state, stream, number) => end,
        _ = phase.wait_for(|phase| *phase == Phase::Out) => End::Shutdown,
    };
    leave(&state, number);
    state
        .metrics
        .add(metrics::DISCONNECTED, &[("type", end.name())], 1.0);
    state.metrics.add(metrics::CONNECTIONS, &[], -1.0);
    state.connected.fetch_sub(1, Ordering::SeqCst);
}

async fn life(state: &Arc<State>, stream: TcpStream, number: u32) -> End {
    let version = format!("8.0.11-TiDB-stand-in-{}", state.line.version());
    let greeting = Greeting {
        version,
        connection: number,
        tls: state.tls_now().sql,
    };
    let login = match greet(stream, &greeting).await {
        Ok(login) => login,
        Err(error) => return error.into(),
    };
    match enter(state, login, number).await {
        Ok(session) => stay(state, session).await,
        Err(end) => end,
    }
}

/// Finds a TiDB for the client and lets it in.
async fn enter(state: &Arc<State>, login: Login, number: u32) -> Result<Session, End> {
    let Some(backend) = find_backend(state, number).await else {
        login
            .refuse(
                1105,
                "No available TiDB instances, please make sure TiDB is available",
            )
            .await;
        return Err(End::NoBackend);
    };
    if state.config().flag("security.require-backend-tls") && !state.tls_now().backend {
        login
            .refuse(
                1105,
                "Require TLS enabled on TiProxy when require-backend-tls=true",
            )
            .await;
        return Err(End::Proxy);
    }
    Ok(login.accept(backend.signed).await?)
}

async fn find_backend(state: &Arc<State>, number: u32) -> Option<Backend> {
    let start = Instant::now();
    let mut pause = FIRST_PAUSE;
    loop {
        let backends = state.tidbs();
        state.score(&backends);
        let found = router::route(&state.config(), &backends, &state.connections()).cloned();
        if let Some(backend) = &found {
            let client = Client {
                backend: backend.address.clone(),
                failed: None,
            };
            state
                .clients
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .insert(number, client);
            count(state, &backend.address);
        } else if start.elapsed() + pause < PATIENCE {
            tokio::time::sleep(pause).await;
            pause = pause * 3 / 2;
            continue;
        }
        let result = if found.is_some() { "succeed" } else { "fail" };
        state.metrics.add(metrics::GET_BACKEND, &[("res", result)], 1.0);
        return found;
    }
}

fn leave(state: &Arc<State>, number: u32) {
    let client = state
        .clients
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .remove(&number);
    if let Some(client) = client {
        count(state, &client.backend);
    }
}

fn count(state: &State, address: &str) {
    let count = state.connections().get(address).copied().unwrap_or(0);
    #[expect(clippy::cast_precision_loss, reason = "so many connections there are not")]
    state.metrics.set(
        metrics::BACKEND_CONNECTIONS,
        &[("backend", address)],
        count as f64,
    );
}

async fn stay(state: &Arc<State>, mut session: Session) -> End {
    // The older line does not tell one who vanishes from one who says goodbye.
    let vanished = match state.line {
        Line::V1_3 => End::Quit,
        Line::V26 => End::Network,
    };
    let mut phase = state.phase.subscribe();
    loop {
        let in_transaction = session.in_transaction();
        let command = {
            let command = session.command();
            tokio::pin!(command);
            tokio::select! {
                // What has arrived is not executed any more once it was decided to close.
                biased;
                _ = phase.wait_for(|phase| *phase >= Phase::Leave), if !in_transaction => None,
                command = &mut command => Some(command),
            }
        };
        let answered = match command {
            None => {
                session.close().await;
                return End::Shutdown;
            }
            Some(Err(_)) => return vanished,
            // A statement that has begun is answered, whatever happens meanwhile.
            Some(Ok(command)) => session.answer(&command).await,
        };
        match answered {
            Ok(Next::Command) => {}
            Ok(Next::End) => return End::Quit,
            Err(_) => return vanished,
        }
    }
}

/// Moves sessions to better TiDBs, one a second.
pub async fn rebalance(state: Arc<State>) {
    loop {
        tokio::time::sleep(REBALANCE).await;
        let backends = state.tidbs();
        // The newer line judges even a single TiDB, to see whether it may fail over.
        if backends.len() > 1 || state.line >= Line::V26 {
            state.score(&backends);
        }
        // The newer line does not even try when one of them cannot sign.
        if state.line >= Line::V26 && !backends.iter().all(|backend| backend.signed) {
            continue;
        }
        let Some(found) = router::rebalance(&state.config(), &backends, &state.connections()) else {
            continue;
        };
        let signed = backends
            .iter()
            .any(|backend| backend.address == found.from && backend.signed);
        let mut clients = state.clients.lock().unwrap_or_else(PoisonError::into_inner);
        let candidate = clients.values_mut().find(|client| {
            client.backend == found.from && client.failed.is_none_or(|at| at.elapsed() >= AFTER_FAILURE)
        });
        let Some(client) = candidate else {
            continue;
        };
        if signed {
            client.backend.clone_from(&found.to);
        } else {
            client.failed = Some(Instant::now());
        }
        drop(clients);
        count(&state, &found.from);
        count(&state, &found.to);
        let result = if signed { "succeed" } else { "fail" };
        let (from, to) = (state.line.full_name(&found.from), state.line.full_name(&found.to));
        let labels = [
            ("from", from.as_str()),
            ("to", &to),
            ("reason", found.reason),
            ("migrate_res", result),
        ];
        state.metrics.add(metrics::MIGRATIONS, &labels, 1.0);
    }
}
