//! A TiProxy with its Pod and its `ConfigMap`, for the tests of this module. It begins as it should be: ready.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use serde_json::{Value, json};

use super::build;
use super::failed_mount::FailedMount;
use super::location::{Labels, Location};
use super::observe::{Observed, ObservedVolume, claim_slot};
use super::plan::{self, Plan};
use super::validate::{Instance, Invalid, validate};
use crate::api::{TiProxy, name};
use crate::ownership::Slot;
use crate::proxy_api::ProxyState;
use crate::runtime::cache::owner_uid;

pub(crate) fn now() -> Timestamp {
    "2026-11-23T10:00:00Z".parse().unwrap()
}

/// A time so many seconds ago, as it stands in an object.
pub(crate) fn ago(seconds: i64) -> String {
    (now() - SignedDuration::from_secs(seconds)).to_string()
}

pub(crate) fn tiproxy() -> TiProxy {
    serde_json::from_value(json!({
        "apiVersion": "core.pingcap.com/v1alpha1", "kind": "TiProxy",
        "metadata": {
            "name": "web-0", "namespace": "ns", "uid": "uid-0", "resourceVersion": "10", "generation": 2,
            "creationTimestamp": ago(600), "labels": {name::LABEL_GROUP: "web"}, "finalizers": [name::FINALIZER],
        },
        "spec": {
            "cluster": {"name": "basic"}, "subdomain": "web-tiproxy-peer", "version": "v1.3.2",
            "discovery": {"pdAddrs": ["basic-pd.ns.svc:2379"]}, "drain": {"timeoutSeconds": 0},
        },
    }))
    .unwrap()
}

/// Lays one JSON object over another; `null` takes away.
pub(crate) fn lay_over(base: &mut Value, changes: &Value) {
    match (base, changes) {
        (Value::Object(base), Value::Object(changes)) => {
            for (key, value) in changes {
                if value.is_null() {
                    base.remove(key);
                } else {
                    lay_over(base.entry(key.clone()).or_insert(Value::Null), value);
                }
            }
        }
        (base, changes) => *base = changes.clone(),
    }
}

fn changed<T: serde::Serialize + serde::de::DeserializeOwned>(object: &T, changes: &Value) -> T {
    let mut value = serde_json::to_value(object).unwrap();
    lay_over(&mut value, changes);
    serde_json::from_value(value).unwrap()
}

pub(crate) fn ready_status(seconds_ago: i64) -> Value {
    json!({
        "phase": "Running",
        "startTime": ago(600),
        "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": ago(seconds_ago)}],
        "containerStatuses": [container(&json!({"running": {}}))],
    })
}

pub(crate) fn container(state: &Value) -> Value {
    json!({
        "name": "tiproxy", "image": "pingcap/tiproxy:v1.3.2", "imageID": "", "ready": false, "restartCount": 4,
        "state": state,
    })
}

/// The TiProxy with two volumes.
pub(crate) fn with_volumes() -> TiProxy {
    let volume = |name: &str, class: &str| json!({"name": name, "storage": "10Gi", "storageClassName": class, "mounts": [{"mountPath": format!("/{name}")}]});
    changed(
        &tiproxy(),
        &json!({"spec": {"volumes": [volume("data", "fast"), volume("log", "slow")]}}),
    )
}

/// The claim as it is when its volume is there.
fn bound(mut claim: PersistentVolumeClaim) -> PersistentVolumeClaim {
    let name = claim.name_any();
    claim.metadata.uid = Some(format!("uid-{name}"));
    claim.metadata.resource_version = Some("40".to_owned());
    claim.metadata.creation_timestamp = serde_json::from_value(json!(ago(300))).unwrap();
    let size = claim
        .spec
        .as_ref()
        .and_then(|spec| spec.resources.as_ref()?.requests.clone());
    claim.status = serde_json::from_value(json!({"phase": "Bound", "capacity": size})).unwrap();
    claim
}

/// What there is, and the time.
#[derive(Clone)]
pub(crate) struct Scene {
    pub(crate) object: TiProxy,
    pub(crate) pod: Option<Pod>,
    pub(crate) config_map: Option<ConfigMap>,
    pub(crate) claims: Vec<PersistentVolumeClaim>,
    pub(crate) paused: bool,
    pub(crate) suspended: bool,
    pub(crate) failures: u32,
    pub(crate) pod_deleted: Option<Timestamp>,
    pub(crate) failed_mounts: Vec<Arc<FailedMount>>,
    pub(crate) location: Option<Labels>,
    pub(crate) proxy: ProxyState,
    pub(crate) now: Timestamp,
}

impl Scene {
    /// All is well.
    pub(crate) fn ready() -> Self {
        Self::of(tiproxy())
    }

    /// All is well with this TiProxy.
    pub(crate) fn of(object: TiProxy) -> Self {
        let instance = validate(&object).unwrap();
        let tls = build::tls::tls(&instance);
        let mut pod = build::pod::pod(&instance, &tls);
        pod.metadata.uid = Some("uid-pod".to_owned());
        pod.metadata.resource_version = Some("20".to_owned());
        pod.spec = None;
        pod.status = serde_json::from_value(ready_status(300)).unwrap();
        let mut config_map =
            build::config_map::config_map(&instance, &tls, &Location::of(&instance, None, None));
        config_map.metadata.uid = Some("uid-config".to_owned());
        config_map.metadata.resource_version = Some("30".to_owned());
        Self {
            object,
            pod: Some(pod),
            config_map: Some(config_map),
            claims: instance
                .volumes
                .iter()
                .map(|volume| bound(build::volume::claim(&instance, volume)))
                .collect(),
            paused: false,
            suspended: false,
            failures: 0,
            pod_deleted: None,
            failed_mounts: Vec::new(),
            location: None,
            proxy: ProxyState::default(),
            now: now(),
        }
    }

    /// Neither Pod nor `ConfigMap`.
    pub(crate) fn bare() -> Self {
        Self::ready().no_pod().no_config_map()
    }

    pub(crate) fn no_pod(mut self) -> Self {
        self.pod = None;
        self
    }

    pub(crate) fn no_config_map(mut self) -> Self {
        self.config_map = None;
        self
    }

    /// Without the claims that are there.
    pub(crate) fn no_claims(mut self) -> Self {
        self.claims.clear();
        self
    }

    /// The claim of this name with these changes.
    pub(crate) fn claim(mut self, name: &str, changes: &Value) -> Self {
        let claim = self.claims.iter_mut().find(|claim| claim.name_any() == name);
        let claim = claim.unwrap();
        *claim = changed(claim, changes);
        self
    }

    pub(crate) fn paused(mut self) -> Self {
        self.paused = true;
        self
    }

    /// The Cluster asks for its compute to be suspended.
    pub(crate) fn suspended(mut self) -> Self {
        self.suspended = true;
        self
    }

    /// The spec gives clients a minute, and takes a quarter of a minute of silence for empty.
    pub(crate) fn drain(self) -> Self {
        self.object(&json!({"spec": {"drain": {"timeoutSeconds": 60, "quietSeconds": 15}}}))
    }

    /// The TiProxy is taken away.
    pub(crate) fn offline(self) -> Self {
        self.object(&json!({"spec": {"offline": true}}))
    }

    /// The Pod leaves since so many seconds.
    pub(crate) fn leaves(self, seconds_ago: i64) -> Self {
        self.pod(&json!({"metadata": {
            "labels": {name::LABEL_SERVING: null}, "annotations": {name::ANNOTATION_DRAIN_BEGIN: ago(seconds_ago)},
        }}))
    }

    /// An Event of the kubelet about a volume of the Pod.
    pub(crate) fn failed_mount(mut self, seconds_ago: i64, message: &str) -> Self {
        let event = json!({"message": message, "lastTimestamp": ago(seconds_ago)});
        self.failed_mounts
            .push(Arc::new(serde_json::from_value(event).unwrap()));
        self
    }

    pub(crate) fn failures(mut self, failures: u32) -> Self {
        self.failures = failures;
        self
    }

    /// The Pod runs on a node that says so.
    pub(crate) fn located(mut self, labels: &Value) -> Self {
        self.location = serde_json::from_value(labels.clone()).unwrap();
        self
    }

    /// The Pod was asked, and this is what is known from it.
    pub(crate) fn proxy(mut self, proxy: ProxyState) -> Self {
        self.proxy = proxy;
        self
    }

    /// The TiProxy with these changes; what there is beside it stays as it is.
    pub(crate) fn object(mut self, changes: &Value) -> Self {
        self.object = changed(&self.object, changes);
        self
    }

    pub(crate) fn pod(mut self, changes: &Value) -> Self {
        self.pod = self.pod.as_ref().map(|pod| changed(pod, changes));
        self
    }

    pub(crate) fn config_map(mut self, changes: &Value) -> Self {
        self.config_map = self.config_map.as_ref().map(|found| changed(found, changes));
        self
    }

    /// The TiProxy is being deleted, by this finalizer beside ours.
    pub(crate) fn deleted(self, finalizers: &[&str]) -> Self {
        self.object(&json!({"metadata": {"deletionTimestamp": ago(1), "finalizers": finalizers}}))
    }

    pub(crate) fn observed(&self) -> Observed {
        let uid = self.object.uid().unwrap();
        let mark = (name::LABEL_INSTANCE, "web-0");
        let pod = Slot::of(self.pod.clone().map(Arc::new), &uid, mark);
        let find = |name: &str| {
            self.claims
                .iter()
                .find(|claim| claim.name_any() == name)
                .cloned()
                .map(Arc::new)
        };
        let volumes = self.object.spec.template.volumes.iter().flatten().map(|volume| {
            let claim = name::volume_claim(&volume.name, "web-tiproxy-0");
            ObservedVolume {
                slot: claim_slot(find(&claim), &uid, "web", "web-0", &volume.name),
                spec: volume.clone(),
                claim,
            }
        });
        let is_owned = |claim: &&PersistentVolumeClaim| owner_uid(*claim) == Some(uid.as_str());
        Observed {
            volumes: volumes.collect(),
            claims: self
                .claims
                .iter()
                .filter(is_owned)
                .cloned()
                .map(Arc::new)
                .collect(),
            object: Arc::new(self.object.clone()),
            pods: pod.ours().cloned().into_iter().collect(),
            pod,
            config_map: Slot::of(self.config_map.clone().map(Arc::new), &uid, mark),
            paused: self.paused,
            suspended: self.suspended,
            failures: self.failures,
            pod_deleted: self.pod_deleted,
            failed_mounts: self.failed_mounts.clone(),
            location: self.location.clone(),
            proxy: self.proxy.clone(),
            other_proxies: BTreeMap::new(),
        }
    }

    pub(crate) fn instance(&self) -> Result<Instance, Invalid> {
        validate(&self.object)
    }

    pub(crate) fn plan(&self) -> Plan {
        plan::plan(&self.observed(), self.instance().as_ref(), self.now)
    }
}
