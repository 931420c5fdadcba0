//! From a `TiProxy` as stored to one that can be carried out: nothing is optional after this step.

use kube::ResourceExt;

use super::build::manifest::validate_overlay;
use super::location::Labels;
use super::volume::{self, InvalidVolume, Volume};
use crate::api::{Discovery, TiProxy, TiProxySpec, name};
use crate::pod_overlay::OverlayError;
use crate::problem::sentences;
use crate::proxy_config::{self, Diagnosis, UserConfig};
use crate::revision;
use crate::template_metadata::TemplateMetadata;

/// A TiProxy that can be carried out.
#[derive(Clone, Debug)]
pub struct Instance {
    /// The TiProxy's name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its UID.
    pub uid: String,
    /// The group that it belongs, or once belonged, to.
    pub group: String,
    /// The TiDB cluster's name.
    pub cluster: String,
    /// The name of its Pod and its `ConfigMap`.
    pub pod_name: String,
    /// What it is to run.
    pub spec: TiProxySpec,
    /// Where PD is.
    pub discovery: Discovery,
    /// The user's configuration.
    pub config: UserConfig,
    /// The revision that the spec asks for.
    pub revision: String,
    /// Labels and annotations for the Pod.
    pub template_metadata: TemplateMetadata,
    /// Its volumes.
    pub volumes: Vec<Volume>,
}

impl Instance {
    /// The label by which TiDBs are chosen, if one is: the typed field's, else the one in the configuration.
    #[must_use]
    pub fn label_name(&self) -> Option<&str> {
        let balance = self.spec.template.balance.as_ref();
        balance
            .and_then(|balance| balance.label_name.as_deref())
            .or_else(|| self.config.label_name())
    }

    /// The TiProxy's own value of a label: the typed field's, else the one in the configuration, else where it runs.
    #[must_use]
    pub fn label<'a>(&'a self, name: &str, location: &'a Labels) -> Option<&'a str> {
        let server = self.spec.template.server.as_ref();
        let typed = server.and_then(|server| server.labels.as_ref()?.get(name));
        typed
            .map(String::as_str)
            .or_else(|| self.config.label(name))
            .or_else(|| location.get(name).map(String::as_str))
    }
}

/// Why a TiProxy cannot be carried out.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Invalid {
    /// It says neither by owner, label nor subdomain which group it belongs to.
    #[error(
        "TiProxy {0} belongs to no TiProxyGroup: it has no owner, no label {label} and its spec.subdomain does not \
         end in \"-tiproxy-peer\"; create a TiProxyGroup instead of a TiProxy",
        label = name::LABEL_GROUP
    )]
    NoGroup(String),
    /// Nobody said where PD is.
    #[error("TiProxy {0}: spec.discovery.pdAddrs is empty; the group controller sets it")]
    NoDiscovery(String),
    /// The configuration cannot be carried out.
    #[error("spec.template.spec.config: {}", sentences(.0))]
    Config(Vec<Diagnosis>),
    /// The overlay cannot be laid over the Pod.
    #[error(transparent)]
    Overlay(#[from] OverlayError),
    /// A volume cannot be carried out.
    #[error(transparent)]
    Volume(#[from] InvalidVolume),
}

/// The group that a TiProxy belongs, or once belonged, to.
#[must_use]
pub fn group_of(instance: &TiProxy) -> Option<String> {
    let owner = instance
        .owner_references()
        .iter()
        .find(|owner| owner.kind == "TiProxyGroup");
    owner
        .map(|owner| owner.name.clone())
        .or_else(|| instance.labels().get(name::LABEL_GROUP).cloned())
        .or_else(|| {
            instance
                .spec
                .subdomain
                .strip_suffix("-tiproxy-peer")
                .map(ToOwned::to_owned)
        })
}

/// Validates a TiProxy.
pub fn validate(instance: &TiProxy) -> Result<Instance, Invalid> {
    let name = instance.name_any();
    let Some(group) = group_of(instance) else {
        return Err(Invalid::NoGroup(name));
    };
    let spec = instance.spec.clone();
    let discovery = spec
        .discovery
        .clone()
        .filter(|discovery| !discovery.pd_addrs.is_empty());
    let Some(discovery) = discovery else {
        return Err(Invalid::NoDiscovery(name));
    };
    let config =
        proxy_config::parse(spec.template.config.as_deref().unwrap_or_default()).map_err(Invalid::Config)?;
    let pod_name = name::pod(&group, &name);
    let instance = Instance {
        volumes: volume::volumes(&spec.template, &pod_name)?,
        pod_name,
        namespace: instance.namespace().unwrap_or_default(),
        uid: instance.uid().unwrap_or_default(),
        cluster: spec.cluster.name.clone(),
        revision: revision::name(&group, &spec),
        template_metadata: pod_metadata(instance),
        name,
        group,
        spec,
        discovery,
        config,
    };
    validate_overlay(&instance)?;
    Ok(instance)
}

/// What the template gives the Pod, with the metadata of the overlay over it.
fn pod_metadata(instance: &TiProxy) -> TemplateMetadata {
    let of_template = TemplateMetadata::of_object(&instance.metadata);
    let overlay = instance.spec.template.overlay.as_ref();
    let metadata = overlay
        .and_then(|overlay| overlay.pod.as_ref())
        .and_then(|pod| pod.metadata.clone())
        .unwrap_or_default();
    of_template.overlaid(TemplateMetadata::new(
        metadata.labels.unwrap_or_default(),
        metadata.annotations.unwrap_or_default(),
    ))
}
