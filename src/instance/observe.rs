//! What is there: everything that the plan of one TiProxy depends on, read from caches only.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::failed_mount::FailedMount;
use super::failures::Failures;
use super::location::{self, Labels};
use super::pod_state::PodState;
use super::validate::group_of;
use crate::api::cluster::ClusterSpec;
use crate::api::volume::Volume;
use crate::api::{TiProxy, name};
use crate::context::Context;
use crate::ownership::{self, Slot};
use crate::proxy_api::ProxyState;

/// What is there.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The TiProxy.
    pub object: Arc<TiProxy>,
    /// All Pods that belong to it.
    pub pods: Vec<Arc<Pod>>,
    /// What stands under the name of its Pod.
    pub pod: Slot<Pod>,
    /// What stands under the name of its `ConfigMap`.
    pub config_map: Slot<ConfigMap>,
    /// Its volumes, and what stands under the names of their claims.
    pub volumes: Vec<ObservedVolume>,
    /// All `PersistentVolumeClaims` that belong to it, also of volumes that it has no longer.
    pub claims: Vec<Arc<PersistentVolumeClaim>>,
    /// Whether the Cluster asks for a stop of everything but deletion.
    pub paused: bool,
    /// Whether the Cluster asks for its compute to be suspended.
    pub suspended: bool,
    /// What kubelets said of volumes that they could not mount into its Pod.
    pub failed_mounts: Vec<Arc<FailedMount>>,
    /// How many Pods in a row have ended without becoming ready.
    pub failures: u32,
    /// When the operator deleted its Pod last, as far as it remembers.
    pub pod_deleted: Option<Timestamp>,
    /// Where its Pod runs, if that can be told.
    pub location: Option<Labels>,
    /// What its Pod said when it was asked last.
    pub proxy: ProxyState,
    /// What other Pods that belong to it said, by their UID.
    pub other_proxies: BTreeMap<String, ProxyState>,
}

/// A volume of the spec, and what stands under the name of its claim.
#[derive(Clone, Debug)]
pub struct ObservedVolume {
    /// The volume.
    pub spec: Volume,
    /// The name of its claim.
    pub claim: String,
    /// What stands there.
    pub slot: Slot<PersistentVolumeClaim>,
}

impl ObservedVolume {
    /// The claim, if the Pod may use it: the TiProxy's own, or one that is kept for it.
    #[must_use]
    pub fn usable(&self) -> Option<&Arc<PersistentVolumeClaim>> {
        match &self.slot {
            Slot::Ours(claim) | Slot::Adoptable(claim) => Some(claim),
            Slot::Absent | Slot::Leftover(_) | Slot::Foreign(_) => None,
        }
    }
}

/// Judges what was found under the name of a volume's claim. One that is kept has no owner: it is known by the labels
/// of group, TiProxy and volume together, because two groups and volumes may come to the same name.
#[must_use]
pub fn claim_slot(
    found: Option<Arc<PersistentVolumeClaim>>,
    uid: &str,
    group: &str,
    instance: &str,
    volume: &str,
) -> Slot<PersistentVolumeClaim> {
    let is_labelled = |claim: &PersistentVolumeClaim| {
        let has = |key: &str, value: &str| claim.labels().get(key).is_some_and(|found| found == value);
        has(name::LABEL_MANAGED_BY, name::MANAGED_BY)
            && has(name::LABEL_GROUP, group)
            && has(name::LABEL_INSTANCE, instance)
            && has(name::LABEL_VOLUME, volume)
    };
    match Slot::of(found, uid, (name::LABEL_INSTANCE, instance)) {
        Slot::Adoptable(claim) if !is_labelled(&claim) => Slot::Foreign(claim),
        // Somebody deleted one that was kept; its name is free when it is gone.
        Slot::Foreign(claim) if is_labelled(&claim) && ownership::controller(&*claim).is_none() => {
            Slot::Leftover(claim)
        }
        slot @ (Slot::Absent | Slot::Ours(_) | Slot::Adoptable(_) | Slot::Leftover(_) | Slot::Foreign(_)) => {
            slot
        }
    }
}

impl Observed {
    /// What a Pod that belongs to the TiProxy said when it was asked last.
    #[must_use]
    pub fn proxy_of(&self, pod: &Pod) -> &ProxyState {
        let other = pod.uid().and_then(|uid| self.other_proxies.get(&uid));
        other.unwrap_or(&self.proxy)
    }

    /// Whether there is still a Pod that belongs to the TiProxy, or once belonged to it.
    #[must_use]
    pub fn has_pods(&self) -> bool {
        !self.pods.is_empty() || matches!(self.pod, Slot::Adoptable(_))
    }

    /// Whether somebody else's object has the name of the Pod, the `ConfigMap` or a claim.
    #[must_use]
    pub fn is_name_taken(&self) -> bool {
        matches!(self.pod, Slot::Foreign(_))
            || matches!(self.config_map, Slot::Foreign(_))
            || self
                .volumes
                .iter()
                .any(|volume| matches!(volume.slot, Slot::Foreign(_)))
    }

    /// A Pod that became ready ends a row of failures.
    pub fn note_readiness(&self, failures: &Failures) {
        let is_ready = self.pod.ours().is_some_and(|pod| PodState::of(pod).is_ready());
        if is_ready && self.failures > 0 {
            failures.forget(&self.object.uid().unwrap_or_default());
        }
    }

    /// The revision that a Pod was made from. When its label was taken away the `ConfigMap` tells, and when that is
    /// gone too, what became Ready last.
    #[must_use]
    pub fn revision_of<'a>(&'a self, pod: &'a Pod) -> Option<&'a str> {
        fn of<K: ResourceExt>(object: &K) -> Option<&str> {
            object.labels().get(name::LABEL_REVISION).map(String::as_str)
        }
        of(pod)
            .or_else(|| match &self.config_map {
                Slot::Ours(config_map) | Slot::Adoptable(config_map) => of(&**config_map),
                Slot::Absent | Slot::Leftover(_) | Slot::Foreign(_) => None,
            })
            .or_else(|| self.object.status.as_ref()?.current_revision.as_deref())
    }
}

/// Looks at one TiProxy; `None` when it is gone.
#[must_use]
pub fn observe(context: &Context, namespace: &str, name: &str) -> Option<Observed> {
    let object = context.instances.get(namespace, name)?;
    let uid = object.uid().unwrap_or_default();
    let pod_name = group_of(&object).map(|group| name::pod(&group, name));
    let mark = (name::LABEL_INSTANCE, name);
    let cluster = &object.spec.cluster;
    let cluster = cluster
        .pd_addrs
        .is_none()
        .then(|| context.clusters.get(namespace, &cluster.name))
        .flatten();
    let asks = |ask: fn(&ClusterSpec) -> Option<bool>| {
        cluster
            .as_ref()
            .is_some_and(|cluster| ask(&cluster.spec) == Some(true))
    };
    let paused = asks(|spec| spec.paused);
    let suspended = asks(|spec| spec.suspend_action.as_ref()?.suspend_compute);
    let found = pod_name
        .as_ref()
        .and_then(|pod_name| context.pods.get(namespace, pod_name));
    let failed_mounts = found
        .as_ref()
        .and_then(|pod| pod.uid())
        .map(|uid| context.failed_mounts.owned_by(&uid))
        .unwrap_or_default();
    let pod = Slot::of(found, &uid, mark);
    let location = pod.ours().and_then(|pod| {
        let node = location::node_name(pod).and_then(|node| context.nodes.get("", node));
        location::of_pod(pod, node.as_deref())
    });
    let pod_uid = pod.ours().and_then(|pod| pod.uid());
    let pods = context.pods.owned_by(&uid);
    let others = pods
        .iter()
        .filter_map(|pod| pod.uid())
        .filter(|other| Some(other) != pod_uid.as_ref());
    let claims = |pod: &String| claims_of(context, &object, pod, &uid);
    Some(Observed {
        volumes: pod_name.as_ref().map(claims).unwrap_or_default(),
        claims: context.volume_claims.owned_by(&uid),
        other_proxies: others
            .map(|uid| (uid.clone(), context.proxies.get(&uid)))
            .collect(),
        proxy: pod_uid.map(|uid| context.proxies.get(&uid)).unwrap_or_default(),
        location,
        pods,
        failed_mounts,
        pod,
        config_map: Slot::of(
            pod_name
                .as_ref()
                .and_then(|pod_name| context.config_maps.get(namespace, pod_name)),
            &uid,
            mark,
        ),
        paused,
        suspended,
        failures: context.failures.of(&uid),
        pod_deleted: context.deletions.get(&uid),
        object,
    })
}

fn claims_of(context: &Context, object: &TiProxy, pod: &str, uid: &str) -> Vec<ObservedVolume> {
    let (namespace, instance) = (object.namespace().unwrap_or_default(), object.name_any());
    let group = group_of(object).unwrap_or_default();
    let volumes = object.spec.template.volumes.iter().flatten();
    volumes
        .map(|volume| {
            let claim = name::volume_claim(&volume.name, pod);
            let found = context.volume_claims.get(&namespace, &claim);
            ObservedVolume {
                spec: volume.clone(),
                slot: claim_slot(found, uid, &group, &instance, &volume.name),
                claim,
            }
        })
        .collect()
}
