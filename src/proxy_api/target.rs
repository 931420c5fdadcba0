//! Which TiProxies can be asked, and what the cluster says of each.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};

use super::client::Endpoint;
use crate::api::{TiProxy, name};
use crate::context::Context;
use crate::instance::build::config_map::CONFIG_FILE;
use crate::instance::build::tls::speaks_tls_on_http;
use crate::instance::{drain, pod_state};
use crate::ownership;
use crate::proxy_config;

/// A TiProxy that can be asked. It has no debug form: there may be secrets in its configuration.
#[derive(Clone)]
pub(super) struct Target {
    pub(super) pod_uid: String,
    pub(super) instance: ObjectRef<TiProxy>,
    pub(super) endpoint: Endpoint,
    pub(super) state: State,
    pub(super) wanted: Option<Wanted>,
}

/// A change of it makes the last answer old.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct State {
    /// Whether the kubelet calls the Pod ready.
    pub(super) is_ready: bool,
    /// Whether clients are being led away from it, until it goes.
    pub(super) leaves: bool,
    /// What the Pod was told of its configuration.
    pub(super) config_hash: Option<String>,
    /// The version of the `ConfigMap`.
    pub(super) config_version: Option<String>,
}

/// What a TiProxy should run with.
#[derive(Clone)]
pub(super) struct Wanted {
    config_map: Arc<ConfigMap>,
    /// The version of the TiProxy.
    version: String,
}

impl Wanted {
    fn toml(&self) -> &str {
        let data = self.config_map.data.as_ref();
        data.and_then(|data| data.get(CONFIG_FILE))
            .map_or("", String::as_str)
    }

    /// A short name of it.
    pub(super) fn fingerprint(&self) -> String {
        proxy_config::fingerprint(self.toml())
    }

    /// The keys that a TiProxy that says it runs with this has not taken over. None if what it says is no
    /// configuration.
    pub(super) fn not_in_effect(&self, effective_toml: &str) -> Option<Vec<String>> {
        proxy_config::not_in_effect(effective_toml, self.toml(), Some(&self.version))
    }
}

/// All of them.
pub(super) fn targets(context: &Context) -> Vec<Target> {
    let pods = context.pods.all();
    pods.iter().filter_map(|pod| target(context, pod)).collect()
}

fn target(context: &Context, pod: &Pod) -> Option<Target> {
    if pod.metadata.deletion_timestamp.is_some() || !pod_state::is_running(pod) {
        return None;
    }
    let address: IpAddr = pod.status.as_ref()?.pod_ip.as_deref()?.parse().ok()?;
    let owner = ownership::controller(pod).filter(|owner| owner.kind == TiProxy::kind(&()))?;
    let namespace = pod.namespace().unwrap_or_default();
    let instance = context.instances.get(&namespace, &owner.name)?;
    if instance.uid().as_deref() != Some(&owner.uid) {
        return None;
    }
    let config_map = context.config_maps.get(&namespace, pod.metadata.name.as_deref()?);
    let config_map = config_map.filter(|config_map| {
        ownership::controller(&**config_map).is_some_and(|config_owner| config_owner.uid == owner.uid)
    });
    Some(Target {
        pod_uid: pod.uid()?,
        endpoint: Endpoint {
            address: SocketAddr::new(address, instance.spec.template.api_port()),
            tls: speaks_tls_on_http(&instance.spec),
        },
        instance: ObjectRef::from_obj(&*instance),
        state: State {
            is_ready: pod_state::is_ready(pod),
            leaves: drain::is_marked(pod),
            config_hash: pod.annotations().get(name::ANNOTATION_CONFIG_HASH).cloned(),
            config_version: config_map.as_ref().and_then(|map| map.resource_version()),
        },
        wanted: config_map.map(|config_map| Wanted {
            config_map,
            version: instance.spec.template.version.clone(),
        }),
    })
}
