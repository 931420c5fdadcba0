//! What the parts of the stand-in share.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::backend::{Backend, Backends};
use crate::config::{Config, LoadError};
use crate::flags::{Flags, Line};
use crate::metrics::{self, Metrics};
use crate::router;
use crate::tls::Tls;

/// How often TiProxy writes scores into its metrics.
const SCORE_INTERVAL: Duration = Duration::from_secs(10);

/// A health that somebody ordered.
#[derive(Clone, Debug, PartialEq, Eq, serde::Deserialize)]
pub struct Override {
    /// Whether it is to be healthy.
    #[serde(default)]
    pub healthy: bool,
    /// Why.
    #[serde(default)]
    pub reason: String,
}

/// What clients are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Come and stay.
    Open,
    /// Leave when your transaction has ended.
    Leave,
    /// Leave at once.
    Out,
}

/// A client that has a TiDB.
#[derive(Debug)]
pub struct Client {
    /// Its TiDB.
    pub backend: String,
    /// When moving it to another failed last.
    pub failed: Option<Instant>,
}

/// Everything.
#[derive(Debug)]
pub struct State {
    /// Whose behaviour is shown.
    pub line: Line,
    /// The TiDBs.
    pub backends: Backends,
    /// The metrics.
    pub metrics: Metrics,
    /// Whether the start is over.
    pub ready: AtomicBool,
    /// SIGTERM came.
    pub cancelled: AtomicBool,
    /// The API says that it is closing.
    pub closing: AtomicBool,
    /// What health somebody ordered.
    pub ordered: Mutex<Option<Override>>,
    /// TLS as it is now.
    pub tls: RwLock<Tls>,
    /// What clients are told.
    pub phase: watch::Sender<Phase>,
    /// How many clients there are, those that still log in too.
    pub connected: std::sync::atomic::AtomicU32,
    /// Clients that have a TiDB, by number.
    pub clients: Mutex<BTreeMap<u32, Client>>,
    advertise_addr: String,
    current: RwLock<Arc<Config>>,
    /// Whoever reads or changes the configuration holds it for a moment; and for ever in one case.
    lock: Arc<tokio::sync::Mutex<()>>,
    scored: Mutex<Option<Instant>>,
}

fn whole<T>(result: Result<T, PoisonError<T>>) -> T {
    result.unwrap_or_else(PoisonError::into_inner)
}

impl State {
    /// The state at the start, from a configuration that was accepted.
    #[must_use]
    pub fn new(flags: &Flags, config: Config, tls: Tls) -> Self {
        Self {
            line: flags.line,
            backends: Backends::new(flags.backends.clone()),
            metrics: Metrics::default(),
            ready: AtomicBool::new(false),
            cancelled: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            ordered: Mutex::new(None),
            tls: RwLock::new(tls),
            phase: watch::Sender::new(Phase::Open),
            connected: std::sync::atomic::AtomicU32::new(0),
            clients: Mutex::new(BTreeMap::new()),
            advertise_addr: flags.advertise_addr.clone(),
            current: RwLock::new(Arc::new(config)),
            lock: Arc::default(),
            scored: Mutex::new(None),
        }
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        self.current.read().map_or_else(
            |poisoned| Arc::clone(&poisoned.into_inner()),
            |config| Arc::clone(&config),
        )
    }

    /// The same, by way of the lock, as TiProxy's API reads it.
    pub async fn locked_config(&self) -> Arc<Config> {
        let _guard = self.lock.lock().await;
        self.config()
    }

    /// The TiDBs that are there now.
    #[must_use]
    pub fn tidbs(&self) -> Vec<Backend> {
        self.backends.read().unwrap_or_else(|error| {
            eprintln!("[WARN] {error}");
            Vec::new()
        })
    }

    /// Lays a text over the configuration.
    pub async fn load(self: Arc<Self>, text: String) -> Result<(), LoadError> {
        let guard = Arc::clone(&self.lock).lock_owned().await;
        let old = self.config();
        let new = old.with(&text, &self.advertise_addr)?;
        if new == *old {
            return Ok(());
        }
        let new = Arc::new(new);
        *whole(self.current.write()) = Arc::clone(&new);
        if self.line >= Line::V26 && self.cancelled.load(Ordering::SeqCst) {
            // One of those who are told of a change has ended, and TiProxy waits for it with the lock held.
            std::future::pending::<()>().await;
        }
        drop(guard);
        self.metrics.clear(metrics::SCORE);
        // The next round writes them again.
        *whole(self.scored.lock()) = None;
        self.reload_tls();
        Ok(())
    }

    /// Reads the certificates again.
    pub fn reload_tls(&self) {
        let errors = whole(self.tls.write()).reload(&self.config());
        for error in &errors {
            eprintln!("[ERROR] failed to reload some certs: {error}");
        }
        if !errors.is_empty() {
            #[expect(clippy::cast_precision_loss, reason = "there are four objects")]
            let count = errors.len() as f64;
            self.metrics.add(metrics::ERRORS, &[("type", "load_cert")], count);
        }
    }

    /// TLS as it is now.
    #[must_use]
    pub fn tls_now(&self) -> Tls {
        whole(self.tls.read()).clone()
    }

    /// How many clients each TiDB has.
    #[must_use]
    pub fn connections(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for client in whole(self.clients.lock()).values() {
            *counts.entry(client.backend.clone()).or_default() += 1;
        }
        counts
    }

    /// Judges the TiDBs, and writes it into the metrics when it is time.
    pub fn score(&self, backends: &[Backend]) {
        let mut scored = whole(self.scored.lock());
        if scored.is_some_and(|last| last.elapsed() < SCORE_INTERVAL) {
            return;
        }
        *scored = Some(Instant::now());
        drop(scored);
        let config = self.config();
        let connections = self.connections();
        for backend in backends {
            let count = connections.get(&backend.address).copied().unwrap_or(0);
            for factor in router::factors(&config) {
                #[expect(clippy::cast_precision_loss, reason = "so many connections there are not")]
                let score = router::score(&config, backend, factor, count) as f64;
                let labels = [("backend", backend.address.as_str()), ("factor", factor)];
                self.metrics.set(metrics::SCORE, &labels, score);
            }
        }
    }
}
