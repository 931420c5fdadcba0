//! The TiProxies of a group.

use crate::api::{Discovery, TiProxy, TiProxySpec, name};
use crate::group::plan::Topology;
use crate::group::validate::Group;

/// The TiProxy of an ordinal, as it is created, for this topology.
#[must_use]
pub fn instance(group: &Group, discovery: &Discovery, ordinal: u32, topology: Option<&Topology>) -> TiProxy {
    let mut metadata = super::metadata(group, name::instance(&group.name, ordinal));
    // From the beginning, so that it costs no write of its own.
    metadata.finalizers = Some(vec![name::FINALIZER.to_owned()]);
    group.template_metadata.put_into(&mut metadata);
    TiProxy {
        metadata,
        spec: TiProxySpec {
            topology: topology.cloned(),
            ..group.instance_spec(discovery)
        },
        status: None,
    }
}

/// What a TiProxy that exists should say; what was decided once for it stays.
#[must_use]
pub fn spec_of(desired: &TiProxySpec, current: &TiProxySpec) -> TiProxySpec {
    TiProxySpec {
        topology: current.topology.clone(),
        subdomain: current.subdomain.clone(),
        offline: current.offline,
        replicas: current.replicas,
        ..desired.clone()
    }
}
