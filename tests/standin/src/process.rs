//! Start and end.

use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;

use crate::config::{Config, check};
use crate::flags::{Flags, Line};
use crate::state::{Phase, State};
use crate::tls::{self, Tls};
use crate::{api, metrics, sql};

/// How often TiProxy reads its file.
const FILE_INTERVAL: Duration = Duration::from_secs(2);
/// How soon the newer line notices new certificates, about.
const CERTIFICATE_INTERVAL: Duration = Duration::from_millis(200);
/// How soon the older one does.
const SLOW_CERTIFICATE_INTERVAL: Duration = Duration::from_hours(1);
/// How often the rest is looked at.
const TICK: Duration = Duration::from_millis(100);

/// Runs until a signal; an error is one of the start.
pub fn main(flags: &Flags) -> Result<(), String> {
    if let Some(format) = &flags.config_info {
        if !format.eq_ignore_ascii_case("json") {
            return Err("only support json format".to_owned());
        }
        let text = serde_json::to_string_pretty(&Config::defaults(flags.line).info())
            .map_err(|error| error.to_string())?;
        return writeln!(std::io::stdout(), "{text}").map_err(|error| error.to_string());
    }
    tokio::runtime::Runtime::new()
        .map_err(|error| error.to_string())?
        .block_on(run(flags))
}

async fn run(flags: &Flags) -> Result<(), String> {
    let mut signals = Signals::new()?;
    let text = match &flags.config {
        Some(path) => Some(fs::read(path).map_err(|error| format!("open {}: {error}", path.display()))?),
        None => None,
    };
    let config = Config::defaults(flags.line)
        .with(&utf8(text.clone().unwrap_or_default())?, &flags.advertise_addr)
        .map_err(|error| error.to_string())?;
    let tls = Tls::load(&config)?;
    let state = Arc::new(State::new(flags, config, tls));
    state.metrics.set(metrics::CONNECTIONS, &[], 0.0);
    state.metrics.add(metrics::CREATED, &[], 0.0);
    state.metrics.set(metrics::MAX_PROCS, &[], 1.0);
    state.metrics.add(metrics::EVENTS, &[("type", "start")], 1.0);

    let (stop, stopped) = watch::channel(false);
    let mut listeners = Vec::new();
    for address in sql_addresses(&state.config(), flags.line)? {
        let listener = bind(&address).await?;
        listeners.push(tokio::spawn(sql::serve(
            Arc::clone(&state),
            listener,
            stopped.clone(),
        )));
    }
    // The API opens after the SQL port.
    let listener = bind(state.config().text("api.addr")).await?;
    tokio::spawn(api::serve(Arc::clone(&state), listener));
    tokio::spawn(sql::rebalance(Arc::clone(&state)));
    tokio::spawn(watch_certificates(Arc::clone(&state)));
    if let (Some(path), Some(text)) = (flags.config.clone(), text) {
        tokio::spawn(watch_file(Arc::clone(&state), path, text));
    }
    tokio::time::sleep(Duration::from_millis(flags.start_delay_millis)).await;
    state.ready.store(true, Ordering::SeqCst);
    signals.next().await;
    state.cancelled.store(true, Ordering::SeqCst);
    // Further signals are swallowed.
    tokio::spawn(async move {
        loop {
            signals.next().await;
        }
    });
    end(&state, stop, listeners).await;
    Ok(())
}

fn utf8(bytes: Vec<u8>) -> Result<String, String> {
    String::from_utf8(bytes).map_err(|error| error.to_string())
}

async fn bind(address: &str) -> Result<TcpListener, String> {
    // Go listens on all addresses where no host is given.
    let address = match address.strip_prefix(':') {
        Some(port) => format!("0.0.0.0:{port}"),
        None => address.to_owned(),
    };
    TcpListener::bind(&address)
        .await
        .map_err(|error| format!("listen tcp {address}: {error}"))
}

fn sql_addresses(config: &Config, line: Line) -> Result<Vec<String>, String> {
    let list = config.text("proxy.addr");
    let addresses: Vec<String> = match line {
        Line::V1_3 => list.split(',').map(ToOwned::to_owned).collect(),
        Line::V26 => check::addresses(list).map(ToOwned::to_owned).collect(),
    };
    let range = config.integers("proxy.port-range");
    let ([start, end], [address]) = (range, addresses.as_slice()) else {
        return Ok(addresses);
    };
    let (host, _) = address
        .rsplit_once(':')
        .ok_or_else(|| format!("invalid proxy.addr: {address}"))?;
    Ok((*start..=*end).map(|port| format!("{host}:{port}")).collect())
}

/// The signals that ask for an end.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
}

impl Signals {
    fn new() -> Result<Self, String> {
        let listen = |kind| signal(kind).map_err(|error| error.to_string());
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            quit: listen(SignalKind::quit())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.quit.recv() => {}
        }
    }
}

/// Compares the file's bytes with those it had; what is wrong is dropped and not tried again.
async fn watch_file(state: Arc<State>, path: PathBuf, mut known: Vec<u8>) {
    loop {
        tokio::time::sleep(FILE_INTERVAL).await;
        if state.cancelled.load(Ordering::SeqCst) {
            return;
        }
        let Ok(bytes) = fs::read(&path) else {
            continue;
        };
        if bytes == known {
            continue;
        }
        known.clone_from(&bytes);
        let loaded = match utf8(bytes) {
            Ok(text) => Arc::clone(&state)
                .load(text)
                .await
                .map_err(|error| error.to_string()),
            Err(error) => Err(error),
        };
        if let Err(error) = loaded {
            eprintln!("[WARN] failed to reload {}: {error}", path.display());
        }
    }
}

async fn watch_certificates(state: Arc<State>) {
    let interval = match state.line {
        Line::V1_3 => SLOW_CERTIFICATE_INTERVAL,
        Line::V26 => CERTIFICATE_INTERVAL,
    };
    let mut known = tls::contents(&state.config());
    loop {
        tokio::time::sleep(interval).await;
        let now = tls::contents(&state.config());
        if now != known || state.line == Line::V1_3 {
            state.reload_tls();
            known = now;
        }
    }
}

/// What follows a signal, in TiProxy's order.
async fn end(state: &Arc<State>, stop: watch::Sender<bool>, listeners: Vec<tokio::task::JoinHandle<()>>) {
    state.metrics.add(metrics::EVENTS, &[("type", "close")], 1.0);
    state.closing.store(true, Ordering::SeqCst);
    let config = state.config();
    let wait = seconds(config.integer("proxy.graceful-wait-before-shutdown"));
    // The SQL port is still open, and nothing shortens this.
    tokio::time::sleep(wait).await;
    stop.send_replace(true);
    for listener in listeners {
        // A listener that panicked is closed as well.
        let _ = listener.await;
    }
    // Read only now: until here it could be changed.
    let close = seconds(state.config().integer("proxy.graceful-close-conn-timeout"));
    if !close.is_zero() {
        state.phase.send_replace(Phase::Leave);
        let start = Instant::now();
        while start.elapsed() < close {
            tokio::time::sleep(TICK).await;
            if state.connected.load(Ordering::SeqCst) == 0 {
                break;
            }
        }
    }
    state.phase.send_replace(Phase::Out);
    while state.connected.load(Ordering::SeqCst) > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Whoever reads the configuration waits for the one who holds its lock.
    state.locked_config().await;
}

fn seconds(number: i64) -> Duration {
    Duration::from_secs(u64::try_from(number).unwrap_or(0))
}
