//! What the API server holds, and who else is at work: kubelets, clients, users.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
use tiproxy_operator::api::{TiProxy, TiProxyGroup, name};
use tiproxy_operator::instance::pod_state::PodState;
use tiproxy_operator::ownership::controller;
use tiproxy_operator::proxy_api::{Answer, Backend, ConfigReading, Health, Observation, ProxyState};
use tiproxy_operator::proxy_config::fingerprint;
use tiproxy_standin::testing::random::Random;

use crate::Seen;
use crate::event::merge;

/// Seconds that a Pod takes to end.
const ENDING: i64 = 2;

/// The process in a Pod, and its clients.
#[derive(Clone, Debug, Default)]
pub(crate) struct Process {
    pub(crate) connections: u64,
    pub(crate) created: u64,
    /// One client never leaves.
    pub(crate) sticks: bool,
    pub(crate) reachable: bool,
    /// When a client came, left or was there last.
    pub(crate) busy_at: Option<Timestamp>,
    /// What the operator saw last.
    seen: Option<(u64, Timestamp)>,
    pub(crate) state: ProxyState,
}

/// The cluster.
pub(crate) struct Cluster {
    pub(crate) now: Timestamp,
    last_id: u64,
    pub(crate) group: TiProxyGroup,
    /// All specs of the group that there were.
    specs: Vec<Value>,
    pub(crate) instances: BTreeMap<String, TiProxy>,
    pub(crate) pods: BTreeMap<String, Pod>,
    pub(crate) config_maps: BTreeMap<String, ConfigMap>,
    /// By the UID of the Pod.
    pub(crate) processes: BTreeMap<String, Process>,
    /// How many Pods of a TiProxy have ended in a row, by its UID.
    pub(crate) failures: BTreeMap<String, u32>,
    pub(crate) outage: bool,
    pub(crate) suspended: bool,
    pub(crate) paused: bool,
    /// Writes of the operator.
    pub(crate) writes: usize,
    pub(crate) seen: Seen,
}

impl Cluster {
    pub(crate) fn new() -> Self {
        let group = json!({
            "apiVersion": "core.pingcap.com/v1alpha1", "kind": "TiProxyGroup",
            "metadata": {"name": "web", "namespace": "ns", "uid": "group", "resourceVersion": "1", "generation": 1,
                "finalizers": [name::FINALIZER]},
            "spec": {"cluster": {"name": "basic"}, "replicas": 3, "minReadySeconds": 2,
                "template": {"spec": {"version": "v1.3.0", "drain": {"timeoutSeconds": 20, "quietSeconds": 3}}}},
        });
        Self {
            now: Timestamp::from_second(1_000_000).expect("a time"),
            last_id: 1,
            specs: vec![group["spec"].clone()],
            group: serde_json::from_value(group).expect("a group"),
            instances: BTreeMap::new(),
            pods: BTreeMap::new(),
            config_maps: BTreeMap::new(),
            processes: BTreeMap::new(),
            failures: BTreeMap::new(),
            outage: false,
            suspended: false,
            paused: false,
            writes: 0,
            seen: Seen::default(),
        }
    }

    pub(crate) fn id(&mut self) -> String {
        self.last_id += 1;
        self.last_id.to_string()
    }

    /// Gives a new object what the API server gives.
    pub(crate) fn born(&mut self, metadata: &mut ObjectMeta) {
        metadata.uid = Some(format!("uid-{}", self.id()));
        metadata.resource_version = Some(self.id());
        metadata.creation_timestamp = Some(Time(self.now));
        metadata.generation = Some(1);
    }

    /// A user's edit.
    pub(crate) fn edit(&mut self, patch: &Value) {
        let mut spec = serde_json::to_value(&self.group.spec).expect("a spec");
        merge(&mut spec, patch);
        self.put_spec(spec);
    }

    /// The group is as it was at some time, but for its size.
    pub(crate) fn roll_back(&mut self, random: &mut Random) {
        let mut spec = random.one_of(&self.specs);
        spec["replicas"] = json!(self.group.spec.replicas);
        self.put_spec(spec);
    }

    fn put_spec(&mut self, spec: Value) {
        self.specs.push(spec.clone());
        self.group.spec = serde_json::from_value(spec).expect("a spec");
        self.group.metadata.generation = self.group.metadata.generation.map(|number| number + 1);
        self.group.metadata.resource_version = Some(self.id());
    }

    fn some_pod(&self, random: &mut Random) -> Option<String> {
        let names: Vec<String> = self.pods.keys().cloned().collect();
        (!names.is_empty()).then(|| random.one_of(&names))
    }

    pub(crate) fn touch_pod(&mut self, name: &str, change: impl FnOnce(&mut Pod)) {
        let version = self.id();
        if let Some(pod) = self.pods.get_mut(name) {
            pod.metadata.resource_version = Some(version);
            change(pod);
        }
    }

    pub(crate) fn kill_pod(&mut self, random: &mut Random) {
        let due = Time(self.now + SignedDuration::from_secs(ENDING));
        if let Some(name) = self.some_pod(random) {
            self.touch_pod(&name, |pod| {
                pod.metadata.deletion_timestamp.get_or_insert(due);
            });
        }
    }

    pub(crate) fn evict_pod(&mut self, random: &mut Random) {
        let now = Time(self.now);
        if let Some(name) = self.some_pod(random) {
            self.touch_pod(&name, |pod| {
                set_status(
                    pod,
                    json!({"phase": "Failed", "reason": "Evicted", "startTime": now}),
                );
            });
        }
    }

    /// Its clients are cut, and it counts from 0 again.
    pub(crate) fn restart_container(&mut self, random: &mut Random) {
        let Some(name) = self.some_pod(random) else { return };
        let uid = self.pods[&name].uid().unwrap_or_default();
        if let Some(process) = self.processes.get_mut(&uid) {
            (process.connections, process.created, process.sticks) = (0, 0, false);
        }
    }

    /// Somebody takes the begin of a drain away, or writes nonsense there.
    pub(crate) fn unlabel_pod(&mut self, random: &mut Random) {
        let text = random.one_of(&["", "soon", "2999-01-01T00:00:00Z"]);
        let Some(name) = self.some_pod(random) else { return };
        self.touch_pod(&name, |pod| {
            let annotations = pod.annotations_mut();
            if annotations.contains_key(name::ANNOTATION_DRAIN_BEGIN) {
                annotations.insert(name::ANNOTATION_DRAIN_BEGIN.to_owned(), text.to_owned());
            }
        });
    }

    /// The API of a process is or is not within reach.
    pub(crate) fn reach(&mut self, random: &mut Random) {
        let reachable = random.once_in(2);
        let names: Vec<String> = self.processes.keys().cloned().collect();
        if !names.is_empty()
            && let Some(process) = self.processes.get_mut(&random.one_of(&names))
        {
            process.reachable = reachable;
        }
    }

    pub(crate) fn delete_instance(&mut self, random: &mut Random) {
        let names: Vec<String> = self.instances.keys().cloned().collect();
        if !names.is_empty() {
            let name = random.one_of(&names);
            self.mark_deleted(&name);
        }
    }

    pub(crate) fn mark_deleted(&mut self, name: &str) {
        let (version, now) = (self.id(), Time(self.now));
        if let Some(instance) = self.instances.get_mut(name) {
            instance.metadata.deletion_timestamp.get_or_insert(now);
            instance.metadata.resource_version = Some(version);
        }
    }

    pub(crate) fn pod_of(&self, instance_uid: &str) -> Option<&Pod> {
        self.pods
            .values()
            .find(|pod| controller(*pod).is_some_and(|owner| owner.uid == instance_uid))
    }

    pub(crate) fn advance(&mut self, seconds: i64, random: &mut Random) {
        for _ in 0..seconds {
            self.now += SignedDuration::from_secs(1);
            self.run_kubelets(random);
            self.run_clients(random);
            self.poll();
        }
    }

    fn run_kubelets(&mut self, random: &mut Random) {
        let now = self.now;
        let names: Vec<String> = self.pods.keys().cloned().collect();
        for name in names {
            let pod = self.pods[&name].clone();
            let uid = pod.uid().unwrap_or_default();
            let state = PodState::of(&pod);
            if let Some(due) = &pod.metadata.deletion_timestamp {
                if due.0 <= now {
                    self.pods.remove(&name);
                    self.processes.remove(&uid);
                }
                continue;
            }
            if state.ended {
                self.processes.remove(&uid);
                continue;
            }
            let running = json!({"name": name::CONTAINER, "image": "x", "imageID": "x", "ready": true, "restartCount": 0,
                "state": {"running": {}}});
            let is_broken = pod
                .labels()
                .get("version")
                .is_some_and(|version| version.starts_with("v1.9"));
            let serves = !is_broken && !self.outage;
            if !state.running {
                if random.once_in(2) {
                    self.touch_pod(&name, |pod| {
                        set_status(pod, json!({"phase": "Running", "containerStatuses": [running]}));
                    });
                    let process = Process {
                        reachable: !random.once_in(8),
                        sticks: random.once_in(6),
                        ..Process::default()
                    };
                    self.processes.insert(uid, process);
                }
            } else if state.is_ready() != serves {
                let status = if serves { "True" } else { "False" };
                self.touch_pod(&name, |pod| {
                    set_status(pod, json!({"phase": "Running", "containerStatuses": [running],
                        "conditions": [{"type": "Ready", "status": status, "lastTransitionTime": Time(now)}]}));
                });
            }
        }
    }

    fn run_clients(&mut self, random: &mut Random) {
        for pod in self.pods.values() {
            let Some(process) = self.processes.get_mut(&pod.uid().unwrap_or_default()) else {
                continue;
            };
            let before = (process.connections, process.created);
            let takes_clients = pod
                .labels()
                .get(name::LABEL_SERVING)
                .is_some_and(|value| value == "true");
            if takes_clients && PodState::of(pod).is_ready() {
                let come = few(random);
                process.connections += come;
                process.created += come;
            }
            let stays = u64::from(process.sticks && process.connections > 0);
            let leave = few(random).min(process.connections - stays);
            process.connections -= leave;
            if before != (process.connections, process.created) || process.connections > 0 {
                process.busy_at = Some(self.now);
            }
        }
    }

    fn poll(&mut self) {
        let now = self.now;
        for pod in self.pods.values() {
            let Some(process) = self.processes.get_mut(&pod.uid().unwrap_or_default()) else {
                continue;
            };
            let health = if self.outage {
                Health::Unhealthy { reason: None }
            } else {
                Health::Healthy
            };
            let backend = Backend {
                is_healthy: !self.outage,
                ..Backend::default()
            };
            let answer = Answer {
                health,
                connections: Some(process.connections),
                created_connections: Some(process.created),
                backends: BTreeMap::from([("tidb:4000".to_owned(), backend)]),
                ..Answer::default()
            };
            let answer = process.reachable.then_some(answer);
            // What users are told changes now and then; here it does not, so that rest can be seen.
            process.state.connections = None;
            process.state.observation = Some(Observation { at: now, answer });
            let is_quiet = process.reachable && process.connections == 0;
            process.seen = match process.seen {
                Some((created, since)) if is_quiet && created == process.created => Some((created, since)),
                _ => is_quiet.then_some((process.created, now)),
            };
            process.state.quiet_since = process.seen.map(|(_, since)| since);
            let config_map = self.config_maps.get(&pod.name_any());
            let text = config_map.and_then(|found| found.data.as_ref()?.get("config.toml"));
            process.state.config = text.filter(|_| process.reachable).map(|text| ConfigReading {
                of: fingerprint(text),
                differing: Vec::new(),
            });
        }
    }

    /// The trouble ends; clients that never leave stay.
    pub(crate) fn heal(&mut self) {
        (self.outage, self.suspended, self.paused) = (false, false, false);
        self.edit(
            &json!({"paused": false, "template": {"spec": {"version": "v1.3.0",
            "drain": {"timeoutSeconds": 20, "quietSeconds": 3}}}}),
        );
    }

    /// All work until nothing is left to do.
    pub(crate) fn come_to_rest(&mut self, random: &mut Random) {
        const ROUNDS: usize = 400;
        let mut quiet = 0;
        for _ in 0..ROUNDS {
            let before = self.writes;
            self.reconcile_group();
            let names: Vec<String> = self.instances.keys().cloned().collect();
            for name in names {
                self.reconcile_instance(&name);
            }
            self.advance(3, random);
            quiet = if self.writes == before { quiet + 1 } else { 0 };
            // Longer than anything that is waited for.
            if quiet > 40 {
                return;
            }
        }
        panic!(
            "no rest: {:#?} {:#?} {:#?}",
            self.group.status, self.instances, self.pods
        );
    }

    pub(crate) fn check_goal(&self) {
        let replicas = usize::try_from(self.group.spec.replicas).expect("a size");
        let conditions = self.group.status.iter().flat_map(|status| &status.conditions);
        let ready = conditions.clone().find(|condition| condition.type_ == "Ready");
        let serving = self.pods.values().filter(|pod| {
            PodState::of(pod).is_ready()
                && pod
                    .labels()
                    .get(name::LABEL_SERVING)
                    .is_some_and(|value| value == "true")
                && !pod.annotations().contains_key(name::ANNOTATION_DRAIN_BEGIN)
        });
        let is_ready = ready.is_some_and(|ready| ready.status == "True");
        assert!(
            is_ready && serving.count() == replicas && self.instances.len() == replicas,
            "no goal: {:#?} {:#?} {:#?}",
            self.group.status,
            self.instances
                .values()
                .map(|one| (one.name_any(), &one.status))
                .collect::<Vec<_>>(),
            self.pods
        );
    }

    pub(crate) fn stored_cluster(&self) -> Arc<tiproxy_operator::api::Cluster> {
        let cluster = json!({"apiVersion": "core.pingcap.com/v1alpha1", "kind": "Cluster",
            "metadata": {"name": "basic", "namespace": "ns", "generation": 1},
            "spec": {"paused": self.paused, "suspendAction": {"suspendCompute": self.suspended}}});
        Arc::new(serde_json::from_value(cluster).expect("a Cluster"))
    }
}

/// How many clients come or leave within a second.
fn few(random: &mut Random) -> u64 {
    random.one_of(&[0, 1, 2])
}

pub(crate) fn set_status(pod: &mut Pod, status: Value) {
    pod.status = Some(serde_json::from_value(status).expect("a status"));
}

/// Whether a write is bound to the object as it is.
pub(crate) fn is_current<K: Resource>(object: &K, uid: &str, version: Option<&str>) -> bool {
    object.meta().uid.as_deref() == Some(uid)
        && version.is_none_or(|version| object.meta().resource_version.as_deref() == Some(version))
}
