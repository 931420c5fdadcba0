//! The claims that TiProxies of a group have left behind: which ordinals they keep from being used, and which wait to be
//! used again. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{Resource, ResourceExt};

use crate::api::{TiProxy, TiProxyGroup, name};
use crate::instance::volume::topology_of;
use crate::ownership;

/// What TiProxies that are gone have left behind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeftBehind {
    /// Ordinals with a claim that is on its way out: a TiProxy of the name would wait for it.
    pub going: BTreeSet<u32>,
    /// Ordinals with claims that are kept: the TiProxy that comes next uses them.
    pub kept: BTreeMap<u32, KeptVolumes>,
}

/// The claims that are kept for one ordinal.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeptVolumes {
    /// The names of the claims, of volumes that the template still has.
    pub claims: BTreeSet<String>,
    /// The topology of the TiProxy that they were made for, where it had one: where their volumes can be reached.
    pub topology: Option<BTreeMap<String, String>>,
}

/// Sorts the claims of a namespace. Those of ordinals that have a TiProxy are that TiProxy's business.
#[must_use]
pub fn left_behind(
    group: &TiProxyGroup,
    instances: &[Arc<TiProxy>],
    claims: &[Arc<PersistentVolumeClaim>],
) -> LeftBehind {
    let group_name = group.name_any();
    let volumes = group.spec.template.spec.volumes.iter().flatten();
    let volumes: BTreeSet<&str> = volumes.map(|volume| volume.name.as_str()).collect();
    let taken: BTreeSet<u32> = instances
        .iter()
        .filter_map(|instance| name::ordinal(&group_name, &instance.name_any()))
        .collect();
    let mut left = LeftBehind::default();
    for claim in claims {
        let label = |key: &str| claim.labels().get(key).map(String::as_str);
        if label(name::LABEL_GROUP) != Some(&group_name) {
            continue;
        }
        let ordinal = label(name::LABEL_INSTANCE).and_then(|instance| name::ordinal(&group_name, instance));
        let Some(ordinal) = ordinal.filter(|ordinal| !taken.contains(ordinal)) else {
            continue;
        };
        if claim.meta().deletion_timestamp.is_some() || ownership::controller(&**claim).is_some() {
            left.going.insert(ordinal);
        } else if label(name::LABEL_VOLUME).is_some_and(|volume| volumes.contains(volume)) {
            let kept = left.kept.entry(ordinal).or_default();
            kept.claims.insert(claim.name_any());
            if kept.topology.is_none() {
                kept.topology = topology_of(claim.annotations());
            }
        }
    }
    left
}

#[cfg(test)]
mod tests;
