//! An operator behind a proxy that may kill it, and that is started again whenever it was killed.

use std::process::ExitStatus;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::proxy::Proxy;
use crate::harness::Test;
use crate::harness::operator::Operator;

/// How often it is looked whether the operator runs.
const PAUSE: Duration = Duration::from_millis(10);

/// An operator that comes back; dropping it ends it for good.
pub(super) struct Supervised {
    pub(super) proxy: Proxy,
    operator: Arc<Mutex<Option<Operator>>>,
    supervisor: JoinHandle<()>,
}

impl Supervised {
    /// Starts it with these arguments; `prepare` sets what the proxy does from the beginning.
    pub(super) async fn start(
        test: &Test,
        arguments: &'static [&'static str],
        prepare: impl FnOnce(&Proxy),
    ) -> Self {
        let operator: Arc<Mutex<Option<Operator>>> = Arc::default();
        let killed = Arc::clone(&operator);
        let directory = test.directory();
        let proxy = Proxy::start(test.operator_kubeconfig(), &directory, move || {
            drop(lock(&killed).take());
        })
        .await;
        prepare(&proxy);
        let (started, kubeconfig) = (Arc::clone(&operator), proxy.kubeconfig().to_owned());
        let namespace = test.namespace.clone();
        let supervisor = tokio::spawn(async move {
            loop {
                {
                    let mut operator = lock(&started);
                    if operator.is_none() {
                        *operator = Some(Operator::spawn(&kubeconfig, &namespace, &directory, arguments));
                    }
                }
                tokio::time::sleep(PAUSE).await;
            }
        });
        Self {
            proxy,
            operator,
            supervisor,
        }
    }

    /// What the operator answers; `None` when it does not.
    pub(super) fn get(&self, path: &str) -> Option<(u16, String)> {
        lock(&self.operator).as_ref()?.get(path)
    }

    /// Stops it as Kubernetes does, and for good.
    pub(super) async fn stop(&self) -> ExitStatus {
        self.supervisor.abort();
        let operator = lock(&self.operator).take();
        operator.expect("it runs").stop().await
    }
}

impl Drop for Supervised {
    fn drop(&mut self) {
        self.supervisor.abort();
        drop(lock(&self.operator).take());
    }
}

fn lock(operator: &Mutex<Option<Operator>>) -> std::sync::MutexGuard<'_, Option<Operator>> {
    operator.lock().expect("nobody panicked with the lock")
}
