//! What is there: everything that the plan of one group depends on, read from caches only.

use std::collections::BTreeSet;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::{Resource, ResourceExt};

use super::build::instance::spec_of;
use super::discovery::{NotFound, discover};
use super::plan::{self, Change, Config, Health, Limits, Phase};
use super::validate::Group;
use super::volumes::{LeftBehind, left_behind};
use crate::api::condition::{ConditionType, Reason};
use crate::api::template::TiProxyTemplateSpec;
use crate::api::{Cluster, Discovery, TiProxy, TiProxyGroup, TiProxySpec, name};
use crate::context::Context;
use crate::ownership::{self, Slot};
use crate::revision;
use crate::runtime::condition::{self, Status};

/// What is there.
#[derive(Clone, Debug)]
pub struct Observed {
    /// The group.
    pub object: Arc<TiProxyGroup>,
    /// The TiProxies that belong to it, by name.
    pub instances: Vec<Arc<TiProxy>>,
    /// The UIDs of those that have a Pod that is not being deleted.
    pub with_pod: BTreeSet<String>,
    /// TiProxies with its labels and no owner, as orphan deletion leaves them.
    pub adoptable: Vec<Arc<TiProxy>>,
    /// Ordinals whose names are somebody else's.
    pub reserved_ordinals: BTreeSet<u32>,
    /// What TiProxies that are gone have left behind.
    pub left_behind: LeftBehind,
    /// What stands under the name of the client Service.
    pub client_service: Slot<Service>,
    /// What stands under the name of the headless Service.
    pub peer_service: Slot<Service>,
    /// What stands under the name of the `PodDisruptionBudget`.
    pub disruption_budget: Slot<PodDisruptionBudget>,
    /// What stands under the name of the `NetworkPolicy`.
    pub network_policy: Slot<NetworkPolicy>,
    /// The Cluster, unless `pdAddrs` makes it irrelevant.
    pub cluster: Option<Arc<Cluster>>,
    /// Where PD is now.
    pub discovery: Result<Discovery, NotFound>,
}

/// Looks at one group; `None` when it is gone.
#[must_use]
pub fn observe(context: &Context, namespace: &str, name: &str) -> Option<Observed> {
    let object = context.groups.get(namespace, name)?;
    let uid = object.uid().unwrap_or_default();
    let reference = &object.spec.cluster;
    let cluster = match reference.pd_addrs {
        Some(_) => None,
        None => context.clusters.get(namespace, &reference.name),
    };
    let pd_services = match reference.pd_addrs {
        Some(_) => Vec::new(),
        None => context.pd_services.in_namespace(namespace),
    };
    let mark = (name::LABEL_GROUP, name);
    let service = |service: String| Slot::of(context.services.get(namespace, &service), &uid, mark);
    let (adoptable, reserved_ordinals) = others(context, namespace, name, &uid);
    let instances = context.instances.owned_by(&uid);
    let claims = context.volume_claims.in_namespace(namespace);
    Some(Observed {
        with_pod: instances
            .iter()
            .filter_map(|instance| instance.uid())
            .filter(|uid| has_pod(context, uid))
            .collect(),
        left_behind: left_behind(&object, &instances, &claims),
        instances,
        adoptable,
        reserved_ordinals,
        client_service: service(name::client_service(name)),
        peer_service: service(name::peer_service(name)),
        disruption_budget: Slot::of(
            context
                .disruption_budgets
                .get(namespace, &name::disruption_budget(name)),
            &uid,
            mark,
        ),
        network_policy: Slot::of(
            context
                .network_policies
                .get(namespace, &name::network_policy(name)),
            &uid,
            mark,
        ),
        discovery: discover(&object, cluster.as_deref(), &pd_services),
        cluster,
        object,
    })
}

fn has_pod(context: &Context, instance_uid: &str) -> bool {
    let pods = context.pods.owned_by(instance_uid);
    pods.iter().any(|pod| pod.meta().deletion_timestamp.is_none())
}

/// TiProxies of the namespace that are not the group's: those to adopt, and the ordinals that the rest takes away.
fn others(context: &Context, namespace: &str, group: &str, uid: &str) -> (Vec<Arc<TiProxy>>, BTreeSet<u32>) {
    let mut adoptable = Vec::new();
    let mut reserved = BTreeSet::new();
    for instance in context.instances.in_namespace(namespace) {
        let name = instance.name_any();
        match Slot::of(Some(instance), uid, (name::LABEL_GROUP, group)) {
            Slot::Adoptable(instance) => adoptable.push(instance),
            Slot::Foreign(_) | Slot::Leftover(_) => reserved.extend(name::ordinal(group, &name)),
            Slot::Ours(_) | Slot::Absent => {}
        }
    }
    (adoptable, reserved)
}

impl Observed {
    /// Whether TiDB Operator v2 manages the group: it reconciles these kinds whatever our labels say.
    #[must_use]
    pub fn is_managed_by_tidb_operator(&self) -> bool {
        self.mark_of_tidb_operator().is_some()
    }

    /// By what TiDB Operator v2 shows that it manages the group, in words.
    #[must_use]
    pub fn mark_of_tidb_operator(&self) -> Option<String> {
        let mut finalizers = self.object.finalizers().iter();
        if finalizers.any(|finalizer| finalizer == name::TIDB_OPERATOR_FINALIZER) {
            let (name, finalizer) = (self.object.name_any(), name::TIDB_OPERATOR_FINALIZER);
            return Some(format!("TiProxyGroup {name} has the finalizer {finalizer}"));
        }
        let (label, value) = (name::LABEL_MANAGED_BY, name::MANAGED_BY_TIDB_OPERATOR);
        let mut instances = self.instances.iter();
        instances
            .find(|instance| instance.labels().get(label).map(String::as_str) == Some(value))
            .map(|instance| format!("TiProxy {} has the label {label}={value}", instance.name_any()))
    }

    /// Whether the group is being deleted and nothing of it is left to wait for.
    #[must_use]
    pub fn is_leaving_for_good(&self) -> bool {
        let is_orphaning = self
            .object
            .finalizers()
            .iter()
            .any(|finalizer| finalizer == "orphan");
        self.object.meta().deletion_timestamp.is_some() && (is_orphaning || self.instances.is_empty())
    }

    /// Whether the Cluster asks for a stop of everything but deletion.
    #[must_use]
    pub fn is_cluster_paused(&self) -> bool {
        self.cluster
            .as_ref()
            .is_some_and(|cluster| cluster.spec.paused == Some(true))
    }

    /// Whether the Cluster asks for its compute to be suspended.
    #[must_use]
    pub fn is_suspended(&self) -> bool {
        self.cluster
            .as_ref()
            .and_then(|cluster| cluster.spec.suspend_action.as_ref()?.suspend_compute)
            .unwrap_or(false)
    }

    /// Where PD is, or was when it was known last: losing the answer changes nothing that runs.
    #[must_use]
    pub fn known_discovery(&self) -> Option<Discovery> {
        if let Ok(discovery) = &self.discovery {
            return Some(discovery.clone());
        }
        let age = |instance: &Arc<TiProxy>| {
            (
                instance.creation_timestamp().map(|time| time.0),
                instance.name_any(),
            )
        };
        self.instances
            .iter()
            .filter(|instance| instance.spec.discovery.is_some())
            .max_by_key(|instance| age(instance))
            .and_then(|instance| instance.spec.discovery.clone())
    }

    /// The group as the planner sees it. `desired` is what each TiProxy should run, when that is known.
    #[must_use]
    pub fn for_plan(&self, group: &Group, desired: Option<&TiProxySpec>) -> plan::Observed {
        let goes_on = desired.is_some() && !self.is_cluster_paused();
        plan::Observed {
            replicas: group.replicas,
            // In place each TiProxy keeps its volumes, and one without a Pod is missed by nobody.
            limits: if self.is_suspended() {
                Limits::new(0, group.limits.max_unavailable())
            } else {
                group.limits
            },
            min_ready: group.min_ready,
            paused: group.paused,
            may_create: goes_on,
            may_roll: goes_on,
            reserved_ordinals: &self.reserved_ordinals | &self.left_behind.going,
            retained: self
                .left_behind
                .kept
                .iter()
                .map(|(ordinal, kept)| (*ordinal, kept.topology.clone()))
                .collect(),
            topologies: group.topologies.clone(),
            instances: self
                .instances
                .iter()
                .map(|instance| {
                    let has_pod = instance.uid().is_some_and(|uid| self.with_pod.contains(&uid));
                    of_instance(instance, has_pod, group, desired)
                })
                .collect(),
        }
    }
}

fn of_instance(
    instance: &TiProxy,
    has_pod: bool,
    group: &Group,
    desired: Option<&TiProxySpec>,
) -> plan::Instance {
    let name = instance.name_any();
    let priority = instance
        .annotations()
        .get(name::ANNOTATION_PRIORITY)
        .and_then(|text| text.parse().ok());
    let connections = instance.status.as_ref().and_then(|status| status.connections);
    plan::Instance {
        ordinal: name::ordinal(&group.name, &name),
        uid: instance.uid().unwrap_or_default(),
        resource_version: instance.resource_version().unwrap_or_default(),
        change: desired.map_or(Change::None, |desired| change(instance, group, desired)),
        phase: phase(instance),
        health: health(instance),
        topology: instance.spec.topology.clone(),
        priority,
        connections: connections.and_then(|connections| u64::try_from(connections).ok()),
        has_pod,
        drains: !instance.spec.template.drain_timeout().is_zero(),
        config: config(instance),
        name,
    }
}

fn change(instance: &TiProxy, group: &Group, desired: &TiProxySpec) -> Change {
    let desired = spec_of(desired, &instance.spec);
    match revision::change(&instance.spec, &desired) {
        revision::Change::Roll => Change::Roll,
        revision::Change::InPlace if changes_configuration(&instance.spec, &desired) => Change::Reload,
        revision::Change::InPlace => Change::InPlace,
        revision::Change::None => {
            if group.template_metadata.patch_of(&instance.metadata).is_some() {
                Change::InPlace
            } else {
                Change::None
            }
        }
    }
}

/// Whether what TiProxy reads may be another after a change in place.
fn changes_configuration(current: &TiProxySpec, desired: &TiProxySpec) -> bool {
    let (current, desired) = (&current.template, &desired.template);
    let labels = |template: &TiProxyTemplateSpec| template.server.as_ref()?.labels.clone();
    current.config != desired.config
        || labels(current) != labels(desired)
        || current.balance != desired.balance
        || current.traffic_replay != desired.traffic_replay
}

/// A TiProxy that says nothing of it holds nobody up.
fn config(instance: &TiProxy) -> Config {
    let applied = condition::find(instance.conditions(), ConditionType::ConfigApplied.as_str());
    match applied {
        Some(applied) if applied.status != Status::True.as_str() => Config::Open {
            since: applied.last_transition_time.0,
        },
        Some(_) | None => Config::InEffect,
    }
}

fn phase(instance: &TiProxy) -> Phase {
    if instance.meta().deletion_timestamp.is_some() {
        Phase::Deleting
    } else if instance.spec.offline == Some(true) {
        Phase::Offline
    } else {
        Phase::Active
    }
}

fn health(instance: &TiProxy) -> Health {
    let generation = instance.meta().generation;
    let Some(status) = &instance.status else {
        return Health::Unobserved;
    };
    let ready = condition::find(&status.conditions, ConditionType::Ready.as_str());
    // A status of an older generation says nothing about what the TiProxy is asked to be now.
    let Some(ready) = ready.filter(|ready| ready.observed_generation == generation) else {
        return Health::Unobserved;
    };
    if ready.status == "True" {
        return Health::Ready {
            since: ready.last_transition_time.0,
        };
    }
    if ready.reason == Reason::PodLost.as_str() {
        return Health::Lost;
    }
    let is_stalled = condition::is_true(&status.conditions, ConditionType::Stalled.as_str());
    if is_stalled || status.replicas == Some(0) {
        Health::NotRunning
    } else if ready.reason == Reason::BackendsUnavailable.as_str() {
        Health::Starved
    } else {
        Health::NotReady
    }
}

/// Whose TiProxy it is.
#[must_use]
pub fn owner_of(instance: &TiProxy) -> Option<&str> {
    ownership::controller(instance)
        .filter(|owner| owner.kind == "TiProxyGroup")
        .map(|owner| owner.name.as_str())
}

#[cfg(test)]
mod tests;
