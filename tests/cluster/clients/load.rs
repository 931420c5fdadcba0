//! Clients of a Service: a pool of connections that are used, closed and opened again.

use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tiproxy_standin::testing::mysql::Client;
use tokio::task::JoinSet;

use super::view::View;
use tiproxy_standin::testing::random::Random;

/// How long a client waits for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Before it tries again.
const RETRY: Duration = Duration::from_millis(200);
/// Between two uses of a connection, in milliseconds.
const IDLE: Range<u64> = 50..700;
/// Between two statements of a transaction, in milliseconds.
const THINKING: Range<u64> = 50..300;
/// How many mishaps are remembered.
const MISHAPS: usize = 5;

/// What happened to the clients.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    /// Connections that were asked for.
    pub(super) connects: usize,
    /// Those that there was nobody to open, or that were refused or broken before the client was let in.
    pub(super) failed: usize,
    /// Statements that were sent.
    pub(super) statements: usize,
    /// Those without a proper answer.
    pub(super) broken: usize,
    /// Connections that the server closed while they waited in the pool.
    pub(super) cut: usize,
    /// How the first of all that went.
    pub(super) mishaps: Vec<String>,
}

impl Counts {
    fn note(&mut self, mishap: String) {
        if self.mishaps.len() < MISHAPS {
            self.mishaps.push(mishap);
        }
    }
}

/// A running pool; it ends with this value.
pub(super) struct Load {
    counts: Arc<Mutex<Counts>>,
    open: Arc<()>,
    slots: JoinSet<()>,
}

impl Load {
    /// Starts a pool of connections, each of which lives so many milliseconds.
    pub(super) fn start(view: &View, connections: usize, lifetime: &Range<u64>) -> Self {
        let counts = Arc::<Mutex<Counts>>::default();
        let open = Arc::new(());
        let mut slots = JoinSet::new();
        for _ in 0..connections {
            let slot = Slot {
                view: view.clone(),
                counts: Arc::clone(&counts),
                random: Random::default(),
            };
            slots.spawn(slot.serve(Arc::downgrade(&open), lifetime.clone()));
        }
        Self { counts, open, slots }
    }

    /// How many connections are open.
    pub(super) fn open(&self) -> usize {
        Arc::strong_count(&self.open) - 1
    }

    /// What happened since this was asked last.
    pub(super) fn take(&self) -> Counts {
        std::mem::take(&mut self.counts.lock().unwrap())
    }

    /// Ends it at once.
    pub(super) async fn stop(mut self) {
        self.slots.shutdown().await;
    }
}

/// A place in the pool.
struct Slot {
    view: View,
    counts: Arc<Mutex<Counts>>,
    random: Random,
}

/// The connection is of no use any more.
struct Lost;

impl Slot {
    async fn serve(mut self, open: std::sync::Weak<()>, lifetime: Range<u64>) {
        // Not all at once.
        tokio::time::sleep(self.random.millis(0..1000)).await;
        loop {
            let Some(client) = self.connect().await else {
                tokio::time::sleep(RETRY).await;
                continue;
            };
            let is_open = open.upgrade();
            let end = Instant::now() + self.random.millis(lifetime.clone());
            self.use_until(client, end).await;
            drop(is_open);
        }
    }

    async fn connect(&mut self) -> Option<Client> {
        let found = self.view.pick(&mut self.random);
        let mishap = match found {
            None => "nobody is there".to_owned(),
            Some(address) => {
                let login = Client::login_at(address, None);
                match tokio::time::timeout(CONNECT_TIMEOUT, login).await {
                    Ok(Ok(client)) => {
                        self.count(|counts| counts.connects += 1);
                        return Some(client);
                    }
                    Ok(Err(refused)) => format!("{address}: {refused:?}"),
                    Err(_) => format!("{address}: no answer within {CONNECT_TIMEOUT:?}"),
                }
            }
        };
        self.count(|counts| {
            counts.connects += 1;
            counts.failed += 1;
            counts.note(mishap);
        });
        None
    }

    async fn use_until(&mut self, mut client: Client, end: Instant) {
        while Instant::now() < end {
            if self.work(&mut client).await.is_err() {
                return;
            }
            let idle = self.random.millis(IDLE);
            if client.is_closed(idle).await {
                self.count(|counts| counts.cut += 1);
                return;
            }
        }
        // It may have been closed at this very moment: nobody loses anything by that.
        let _ = client.try_quit().await;
    }

    async fn work(&mut self, client: &mut Client) -> Result<(), Lost> {
        match self.random.below(8) {
            0 => {
                self.run(client, "BEGIN").await?;
                for statement in ["SELECT 1", "SELECT 2"] {
                    self.run(client, statement).await?;
                    tokio::time::sleep(self.random.millis(THINKING)).await;
                }
                self.run(client, "COMMIT").await
            }
            1 => self.run(client, "SELECT SLEEP(0.1)").await,
            _ => self.run(client, "SELECT 1").await,
        }
    }

    async fn run(&mut self, client: &mut Client, statement: &str) -> Result<(), Lost> {
        let answer = client.query(statement).await;
        self.count(|counts| {
            counts.statements += 1;
            if let Err(error) = &answer {
                counts.broken += 1;
                counts.note(format!("{statement}: {error}"));
            }
        });
        answer.map(|_| ()).map_err(|_| Lost)
    }

    fn count(&self, count: impl FnOnce(&mut Counts)) {
        count(&mut self.counts.lock().unwrap());
    }
}
