//! An operator behind a proxy that may kill it, and that is started again whenever it was killed.

use std::process::ExitStatus;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use super::proxy::Proxy;
use crate::harness::Test;
use crate::harness::operator::Operator;

/// How often it is looked whether the operator runs.
const PAUSE: Duration = Duration::from_millis(10);

/// The operator while it runs, and whether it may come back.
#[derive(Default)]
struct Slot {
    operator: Option<Operator>,
    is_over: bool,
    /// How often it was killed while it ran.
    kills: usize,
}

impl Slot {
    fn kill(&mut self) {
        if let Some(mut operator) = self.operator.take() {
            self.kills += usize::from(operator.ended().is_none());
            operator.kill();
        }
    }

    /// Takes the operator for good.
    fn end(&mut self) -> Option<Operator> {
        self.is_over = true;
        self.operator.take()
    }
}

/// An operator that comes back; dropping it ends it for good.
pub(super) struct Supervised {
    pub(super) proxy: Proxy,
    slot: Arc<Mutex<Slot>>,
}

impl Supervised {
    /// Starts it with these arguments; `prepare` sets what the proxy does from the beginning.
    pub(super) async fn start(
        test: &Test,
        arguments: &'static [&'static str],
        prepare: impl FnOnce(&Proxy),
    ) -> Self {
        let slot: Arc<Mutex<Slot>> = Arc::default();
        let killed = Arc::clone(&slot);
        let directory = test.directory.clone();
        let proxy = Proxy::start(test.operator_kubeconfig(), &directory, move || {
            lock(&killed).kill();
        })
        .await;
        prepare(&proxy);
        let (started, kubeconfig) = (Arc::clone(&slot), proxy.kubeconfig().to_owned());
        let namespace = test.namespace.clone();
        tokio::spawn(async move {
            loop {
                {
                    let mut slot = lock(&started);
                    if slot.is_over {
                        return;
                    }
                    if slot.operator.is_none() {
                        slot.operator = Some(Operator::spawn(&kubeconfig, &namespace, &directory, arguments));
                    }
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self { proxy, slot }
    }

    /// How often it was killed while it ran.
    pub(super) fn kills(&self) -> usize {
        lock(&self.slot).kills
    }

    /// What the operator answers; `None` when it does not.
    pub(super) fn get(&self, path: &str) -> Option<(u16, String)> {
        lock(&self.slot).operator.as_ref()?.get(path)
    }

    /// Stops it as Kubernetes does, and for good.
    pub(super) async fn stop(&self) -> ExitStatus {
        let operator = lock(&self.slot).end();
        operator.expect("it runs").stop().await
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        drop(lock(&self.slot).end());
    }
}

fn lock(slot: &Mutex<Slot>) -> MutexGuard<'_, Slot> {
    slot.lock().expect("nobody panicked with the lock")
}
