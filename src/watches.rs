//! Which objects are watched, and who looks again when one of them changes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, Node, PersistentVolumeClaim, Pod, PodSpec, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::{DeserializeGuard, PartialObjectMeta};
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use tokio_util::sync::CancellationToken;

use crate::api::{Cluster, TiProxy, TiProxyGroup, name};
use crate::context::Context;
use crate::instance::failed_mount::{self, FailedMount};
use crate::instance::location;
use crate::metrics::Metrics;
use crate::ownership;
use crate::runtime::cache::Cache;
use crate::runtime::runner::Queue;
use crate::runtime::watch::Watch;

/// Where the controllers find what to look at.
#[derive(Clone, Debug)]
pub struct Queues {
    /// Groups to look at.
    pub groups: Queue<TiProxyGroup>,
    /// TiProxies to look at.
    pub instances: Queue<TiProxy>,
}

/// What every watch needs.
#[derive(Clone)]
#[expect(missing_debug_implementations, reason = "a client says nothing")]
pub struct Watches {
    /// The client.
    pub client: Client,
    /// The only namespace to look at, or all.
    pub namespace: Option<String>,
    /// Where failures are counted.
    pub metrics: Metrics,
    /// Ends all watches.
    pub shutdown: CancellationToken,
}

impl Watches {
    /// Starts a task for each kind.
    pub fn spawn(&self, context: &Context, queues: &Queues) {
        self.spawn_own(context, queues);
        self.spawn_children(context, queues);
        self.spawn_surroundings(context, queues);
        self.spawn_failed_mounts(context, queues);
        self.spawn_nodes(context, queues);
    }

    fn spawn_own(&self, context: &Context, queues: &Queues) {
        let groups = queues.groups.clone();
        self.watch(&context.groups, None)
            .spawn_guarded(self.api(), move |group: &TiProxyGroup| {
                groups.add(ObjectRef::from_obj(group));
            });
        let queues = queues.clone();
        self.watch(&context.instances, None)
            .spawn_guarded(self.api(), move |instance: &TiProxy| {
                queues.instances.add(ObjectRef::from_obj(instance));
                if let Some(group) = owner_or_label(instance, "TiProxyGroup", name::LABEL_GROUP) {
                    queues
                        .groups
                        .add(ObjectRef::new(&group).within(&instance.namespace().unwrap_or_default()));
                }
            });
    }

    fn spawn_children(&self, context: &Context, queues: &Queues) {
        let ours = format!("{}={}", name::LABEL_MANAGED_BY, name::MANAGED_BY);
        let (instances, groups, known) = (
            queues.instances.clone(),
            queues.groups.clone(),
            context.instances.clone(),
        );
        self.watch(&context.pods, Some(&ours))
            .prune(forget_all_but_the_node)
            .spawn(self.plain_api(), move |pod: &Pod| {
                add_instance_of(&instances, pod);
                add_group_of_leaver(&known, &groups, pod);
            });
        let instances = queues.instances.clone();
        self.watch(&context.config_maps, Some(&ours)).spawn(
            self.plain_api(),
            move |config_map: &ConfigMap| {
                add_instance_of(&instances, config_map);
            },
        );
        let instances = queues.instances.clone();
        self.watch(&context.volume_claims, Some(&ours)).spawn(
            self.plain_api(),
            move |claim: &PersistentVolumeClaim| {
                add_instance_of(&instances, claim);
            },
        );
        self.spawn_group_objects(context, &queues.groups, &ours);
    }

    fn spawn_group_objects(&self, context: &Context, groups: &Queue<TiProxyGroup>, ours: &str) {
        let queue = groups.clone();
        self.watch(&context.services, Some(ours))
            .spawn(self.plain_api(), move |service: &Service| {
                add_group_of(&queue, service);
            });
        let queue = groups.clone();
        self.watch(&context.disruption_budgets, Some(ours))
            .prune(forget_budget_status)
            .spawn(self.plain_api(), move |budget: &PodDisruptionBudget| {
                add_group_of(&queue, budget);
            });
        let queue = groups.clone();
        self.watch(&context.network_policies, Some(ours)).spawn(
            self.plain_api(),
            move |policy: &NetworkPolicy| {
                add_group_of(&queue, policy);
            },
        );
    }

    fn spawn_surroundings(&self, context: &Context, queues: &Queues) {
        let pd = format!("{}={}", name::LABEL_COMPONENT, name::COMPONENT_PD);
        let (known, groups) = (context.groups.clone(), queues.groups.clone());
        self.watch(&context.pd_services, Some(&pd))
            .spawn(self.plain_api(), move |service: &Service| {
                if let Some(cluster) = service.labels().get(name::LABEL_CLUSTER) {
                    add_groups_of(&known, &groups, &service.namespace().unwrap_or_default(), cluster);
                }
            });
        let (context, queues) = (context.clone(), queues.clone());
        let definition = format!("{}.{}", Cluster::plural(&()), Cluster::group(&()));
        self.watch(&context.clusters.clone(), None).spawn_optional(
            self.api(),
            self.client.clone(),
            &definition,
            move |cluster: &Cluster| {
                let (namespace, name) = (cluster.namespace().unwrap_or_default(), cluster.name_any());
                add_groups_of(&context.groups, &queues.groups, &namespace, &name);
                for instance in context.instances.in_namespace(&namespace) {
                    if instance.spec.cluster.name == name {
                        queues.instances.add(ObjectRef::from_obj(&*instance));
                    }
                }
            },
        );
    }

    fn spawn_failed_mounts(&self, context: &Context, queues: &Queues) {
        let (pods, instances) = (context.pods.clone(), queues.instances.clone());
        self.watch(&context.failed_mounts, None)
            .fields(failed_mount::FIELD_SELECTOR)
            .prune(FailedMount::prune)
            .only(FailedMount::may_be_ours, failed_mount::MOST)
            .dispensable()
            .spawn(self.plain_api(), move |event: &FailedMount| {
                let namespace = event.namespace().unwrap_or_default();
                // A Pod that is not there yet looks at its Events when it comes.
                if let Some(pod) = pods.get(&namespace, event.pod()) {
                    add_instance_of(&instances, &*pod);
                }
            });
    }

    fn spawn_nodes(&self, context: &Context, queues: &Queues) {
        let (pods, instances) = (context.pods.clone(), queues.instances.clone());
        let (nodes, news) = (context.nodes.clone(), NodeNews::default());
        self.watch(&context.nodes, None)
            .prune(location::forget_the_rest)
            .spawn_if_allowed(
                Api::<PartialObjectMeta<Node>>::all(self.client.clone()),
                move |node| {
                    if !news.is_news(node, &nodes) {
                        return;
                    }
                    let name = node.name_any();
                    for pod in pods.all() {
                        if location::node_name(&pod) == Some(name.as_str()) {
                            add_instance_of(&instances, &*pod);
                        }
                    }
                },
            );
    }

    fn watch<K>(&self, cache: &Cache<K>, labels: Option<&str>) -> Watch<K>
    where
        K: Resource<DynamicType = ()>
            + Clone
            + std::fmt::Debug
            + serde::de::DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        let config = watcher::Config {
            label_selector: labels.map(ToOwned::to_owned),
            ..watcher::Config::default()
        };
        Watch::new(cache.clone(), self.metrics.clone(), self.shutdown.clone()).config(config)
    }

    fn api<K>(&self) -> Api<DeserializeGuard<K>>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }

    fn plain_api<K>(&self) -> Api<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        }
    }
}

/// What a Pod was asked to be is decided by hashes; its spec is most of its size.
fn forget_all_but_the_node(pod: &mut Pod) {
    let node_name = pod.spec.take().and_then(|spec| spec.node_name);
    pod.spec = node_name.map(|node_name| PodSpec {
        node_name: Some(node_name),
        ..PodSpec::default()
    });
}

/// Nodes change every few minutes, by their heartbeat; the labels that matter here hardly ever do.
#[derive(Debug, Default)]
struct NodeNews(Mutex<HashMap<String, location::Labels>>);

impl NodeNews {
    /// Whether the labels of a node are not those that it had when it was seen last.
    fn is_news(&self, node: &PartialObjectMeta<Node>, nodes: &Cache<PartialObjectMeta<Node>>) -> bool {
        const SPARE: usize = 100;
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() > 2 * nodes.len() + SPARE {
            known.retain(|name, _| nodes.get("", name).is_some());
        }
        let labels = node.labels().clone();
        known.insert(node.name_any(), labels.clone()) != Some(labels)
    }
}

/// It names every Pod that is being evicted, and nothing is decided by it.
fn forget_budget_status(budget: &mut PodDisruptionBudget) {
    budget.status = None;
}

/// The object that controls this one; for one without such an owner, the one that its label names.
fn owner_or_label<K: Resource>(object: &K, kind: &str, label: &str) -> Option<String> {
    match ownership::controller(object) {
        Some(owner) if owner.kind == kind => Some(owner.name.clone()),
        // Somebody else's object may stand in the way of the one that its labels name.
        _ => object.labels().get(label).cloned(),
    }
}

fn add_instance_of<K: Resource>(instances: &Queue<TiProxy>, object: &K) {
    if let Some(instance) = owner_or_label(object, "TiProxy", name::LABEL_INSTANCE) {
        instances.add(ObjectRef::new(&instance).within(&object.namespace().unwrap_or_default()));
    }
}

/// The group waits for the Pods of its TiProxies that leave.
fn add_group_of_leaver(known: &Cache<TiProxy>, groups: &Queue<TiProxyGroup>, pod: &Pod) {
    let namespace = pod.namespace().unwrap_or_default();
    let instance = owner_or_label(pod, "TiProxy", name::LABEL_INSTANCE);
    let leaver = instance
        .and_then(|instance| known.get(&namespace, &instance))
        .filter(|instance| instance.spec.offline == Some(true));
    let group = leaver.and_then(|leaver| owner_or_label(&*leaver, "TiProxyGroup", name::LABEL_GROUP));
    if let Some(group) = group {
        groups.add(ObjectRef::new(&group).within(&namespace));
    }
}

fn add_group_of<K: Resource>(groups: &Queue<TiProxyGroup>, object: &K) {
    if let Some(group) = owner_or_label(object, "TiProxyGroup", name::LABEL_GROUP) {
        groups.add(ObjectRef::new(&group).within(&object.namespace().unwrap_or_default()));
    }
}

fn add_groups_of(known: &Cache<TiProxyGroup>, groups: &Queue<TiProxyGroup>, namespace: &str, cluster: &str) {
    for group in known.in_namespace(namespace) {
        let reference = &group.spec.cluster;
        if reference.name == cluster && reference.pd_addrs.is_none() {
            groups.add(ObjectRef::from_obj(&*group));
        }
    }
}

#[cfg(test)]
mod tests;
