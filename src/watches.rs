//! Which objects are watched, and who looks again when one of them changes.

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service};
use kube::core::DeserializeGuard;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::watcher;
use kube::{Api, Client, Resource, ResourceExt};
use tokio_util::sync::CancellationToken;

use crate::api::{Cluster, TiProxy, TiProxyGroup, name};
use crate::context::Context;
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
        let instances = queues.instances.clone();
        self.watch(&context.pods, Some(&ours))
            .prune(forget_pod_spec)
            .spawn(self.plain_api(), move |pod: &Pod| {
                add_instance_of(&instances, pod);
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
        let groups = queues.groups.clone();
        self.watch(&context.services, Some(&ours))
            .spawn(self.plain_api(), move |service: &Service| {
                if let Some(group) = owner_or_label(service, "TiProxyGroup", name::LABEL_GROUP) {
                    groups.add(ObjectRef::new(&group).within(&service.namespace().unwrap_or_default()));
                }
            });
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
fn forget_pod_spec(pod: &mut Pod) {
    pod.spec = None;
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
