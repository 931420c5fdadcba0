//! The `ConfigMap` of one TiProxy, and what a Pod that reads it has to be told.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::ResourceExt;

use super::super::build::config_map::{CONFIG_FILE, config_map};
use super::super::build::tls::Tls;
use super::super::location::Location;
use super::super::observe::Observed;
use super::super::pod_state::PodState;
use super::super::validate::Instance;
use super::Action;
use crate::api::name;
use crate::ownership::Slot;
use crate::proxy_config;
use crate::runtime::write::Target;

/// The `ConfigMap` for where the Pod runs, or, as long as there is none, for where it would run.
pub(super) fn desired(observed: &Observed, instance: &Instance, tls: &Tls) -> ConfigMap {
    let found = observed.config_map.ours().map(|found| &**found);
    config_map(
        instance,
        tls,
        &Location::of(instance, observed.location.as_ref(), found),
    )
}

/// `reader` is the Pod that reads it already.
pub(super) fn write(observed: &Observed, desired: ConfigMap, reader: Option<&PodState>) -> Vec<Action> {
    match &observed.config_map {
        Slot::Absent => vec![Action::CreateConfigMap(Box::new(desired))],
        Slot::Adoptable(found) => Target::of(&**found)
            .map(Action::AdoptConfigMap)
            .into_iter()
            .collect(),
        Slot::Leftover(_) | Slot::Foreign(_) => Vec::new(),
        Slot::Ours(found) => replacement(found, desired, reader)
            .map(|config_map| Action::ReplaceConfigMap(Box::new(config_map)))
            .into_iter()
            .collect(),
    }
}

/// The `ConfigMap` as it should be, if it is not; what others put on its metadata stays.
///
/// For a process that has read it, keys that are gone are written out as their defaults. One that runs has to be told
/// of the change; one that is yet to start is not: the kubelet looks again when a container starts.
fn replacement(found: &ConfigMap, mut desired: ConfigMap, reader: Option<&PodState>) -> Option<ConfigMap> {
    if reader.is_some() {
        bury(found, &mut desired);
    }
    let labels = desired.metadata.labels.unwrap_or_default();
    let labelled = labels
        .iter()
        .all(|(key, value)| found.labels().get(key) == Some(value));
    let says_the_same = found.data == desired.data;
    if labelled && says_the_same && found.binary_data.is_none() {
        return None;
    }
    let mut config_map = found.clone();
    config_map.metadata.labels.get_or_insert_default().extend(labels);
    let annotations = config_map.metadata.annotations.get_or_insert_default();
    annotations.remove(name::ANNOTATION_NODE_LABELS);
    annotations.extend(desired.metadata.annotations.unwrap_or_default());
    if !says_the_same && reader.is_some_and(|pod| pod.running) {
        let hash = config_hash(desired.data.as_ref());
        annotations.insert(name::ANNOTATION_CONFIG_HASH.to_owned(), hash);
    }
    config_map.data = desired.data;
    config_map.binary_data = None;
    Some(config_map)
}

/// Adds to the configuration what has to be written for keys that are gone.
fn bury(found: &ConfigMap, desired: &mut ConfigMap) {
    let before = found.data.as_ref().and_then(|data| data.get(CONFIG_FILE));
    let after = desired.data.as_mut().and_then(|data| data.get_mut(CONFIG_FILE));
    if let (Some(before), Some(after)) = (before, after) {
        *after = proxy_config::tombstones(before, after).toml;
    }
}

pub(super) fn config_hash(data: Option<&BTreeMap<String, String>>) -> String {
    let text = data.and_then(|data| data.get(CONFIG_FILE)).map(String::as_str);
    proxy_config::fingerprint(text.unwrap_or_default())
}

/// What the Pod that reads a `ConfigMap` has to be told, if it was changed under a running one.
pub(super) fn told<K: ResourceExt>(object: &K) -> Option<&str> {
    object
        .annotations()
        .get(name::ANNOTATION_CONFIG_HASH)
        .map(String::as_str)
}
