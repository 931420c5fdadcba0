//! The process in the Pod, and what the operator has been told by it.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;
use tiproxy_operator::proxy_api::{Answer, Health, Observation, ProxyState};

/// The process in the Pod.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    /// When it was started.
    pub(crate) started: Timestamp,
    /// Whether its API can be reached.
    pub(crate) reachable: bool,
    clients: u64,
    /// How many have connected.
    created: u64,
    /// What the operator knows, by the UID of the Pod, and how many had connected then.
    told: BTreeMap<String, (ProxyState, u64)>,
}

impl Default for Proxy {
    fn default() -> Self {
        Self {
            started: Timestamp::UNIX_EPOCH,
            reachable: true,
            clients: 0,
            created: 0,
            told: BTreeMap::new(),
        }
    }
}

impl Proxy {
    /// It is started; nobody is connected.
    pub(crate) fn start(&mut self, now: Timestamp) {
        self.started = now;
        self.clients = 0;
    }

    /// So many clients are connected from now on.
    pub(crate) fn serve(&mut self, clients: u64) {
        self.created += clients.saturating_sub(self.clients);
        self.clients = clients;
    }

    /// It is asked; what does not answer is not known to be quiet.
    pub(crate) fn ask(&mut self, pod_uid: &str, now: Timestamp) {
        let before = self.told.get(pod_uid);
        let was_quiet = before
            .filter(|(_, created)| *created == self.created)
            .and_then(|(state, _)| state.quiet_since);
        let quiet_since = (self.reachable && self.clients == 0).then(|| was_quiet.unwrap_or(now));
        let answer = self.reachable.then(|| Answer {
            health: Health::Unhealthy { reason: None },
            connections: Some(self.clients),
            ..Answer::default()
        });
        let state = ProxyState {
            observation: Some(Observation { at: now, answer }),
            connections: self.reachable.then_some(self.clients),
            quiet_since,
            ..ProxyState::default()
        };
        self.told.insert(pod_uid.to_owned(), (state, self.created));
    }

    /// What the operator knows of the process in this Pod.
    pub(crate) fn told(&self, pod_uid: &str) -> ProxyState {
        self.told
            .get(pod_uid)
            .map(|(state, _)| state.clone())
            .unwrap_or_default()
    }
}
