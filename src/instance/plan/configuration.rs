//! The `ConfigMap` of one TiProxy, and what a Pod that reads it has to be told.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::super::build::config_map::{CONFIG_FILE, config_map};
use super::super::build::tls::Tls;
use super::super::config_applied::{self, Applied};
use super::super::location::Location;
use super::super::observe::Observed;
use super::super::pod_state::{PodState, is_running};
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
        Slot::Absent => vec![Action::CreateConfigMap(Box::new(noted(desired, reader)))],
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
    config_map.data = desired.data;
    config_map.binary_data = None;
    Some(if says_the_same {
        config_map
    } else {
        noted(config_map, reader)
    })
}

/// The `ConfigMap` with a note for the process that runs while it is written, if one does.
fn noted(mut config_map: ConfigMap, reader: Option<&PodState>) -> ConfigMap {
    if reader.is_some_and(|pod| pod.running) {
        let hash = config_hash(config_map.data.as_ref());
        let annotations = config_map.metadata.annotations.get_or_insert_default();
        annotations.insert(name::ANNOTATION_CONFIG_HASH.to_owned(), hash);
    }
    config_map
}

/// Adds to the configuration what has to be written for keys that are gone.
fn bury(found: &ConfigMap, desired: &mut ConfigMap) {
    let before = found.data.as_ref().and_then(|data| data.get(CONFIG_FILE));
    let after = desired.data.as_mut().and_then(|data| data.get_mut(CONFIG_FILE));
    if let (Some(before), Some(after)) = (before, after) {
        *after = proxy_config::tombstones(before, after).toml;
    }
}

/// The `ConfigMap` that these actions write.
pub(super) fn written(actions: &[Action]) -> Option<&ConfigMap> {
    actions.iter().find_map(|action| {
        if let Action::CreateConfigMap(config_map) | Action::ReplaceConfigMap(config_map) = action {
            Some(&**config_map)
        } else {
            None
        }
    })
}

/// The fingerprint of the configuration in a `ConfigMap`.
pub(in crate::instance) fn config_hash(data: Option<&BTreeMap<String, String>>) -> String {
    let text = data.and_then(|data| data.get(CONFIG_FILE)).map(String::as_str);
    proxy_config::fingerprint(text.unwrap_or_default())
}

/// What a Pod was told of the configuration that it reads, or what a `ConfigMap` notes that a Pod is to be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::instance) struct Told<'a> {
    /// The hash of the configuration.
    pub(in crate::instance) hash: &'a str,
    how: &'a str,
}

/// The Pod was told once more.
const AGAIN: &str = "2";
/// The Pod was made when the `ConfigMap` said so already.
const FROM_BIRTH: &str = "0";

impl Told<'_> {
    /// Whether the Pod was made when the `ConfigMap` said so already.
    pub(in crate::instance) fn is_from_birth(self) -> bool {
        self.how == FROM_BIRTH
    }
}

/// What the Pod that reads a `ConfigMap` has to be told, if it was changed under a running one; or what it was told.
pub(in crate::instance) fn told<K: ResourceExt>(object: &K) -> Option<Told<'_>> {
    let text = object.annotations().get(name::ANNOTATION_CONFIG_HASH)?;
    let (hash, how) = text.split_once('.').unwrap_or((text, ""));
    Some(Told { hash, how })
}

/// What a Pod is made with that reads all that was written for its predecessor.
pub(super) fn told_from_birth(config_map: &ConfigMap) -> Option<String> {
    told(config_map).map(|note| format!("{}.{FROM_BIRTH}", note.hash))
}

/// What a running Pod is to be told now, and when to look again. The kubelet brings the files of a Pod that changed up
/// to date at once; when TiProxy says some time later that it does not follow, one more change may help.
pub(super) fn nudge(
    observed: &Observed,
    written: Option<&ConfigMap>,
    pod: &Pod,
    now: Timestamp,
) -> (Option<String>, Option<Duration>) {
    let config_map = written.or_else(|| observed.config_map.ours().map(|found| &**found));
    let Some(note) = config_map.and_then(told) else {
        return (None, None);
    };
    let known = told(pod).filter(|known| known.hash == note.hash);
    let first = known.is_none().then(|| note.hash.to_owned());
    let may_be_told = known.is_none_or(|known| known.how.is_empty());
    if !may_be_told || !is_running(pod) {
        return (first, None);
    }
    match config_applied::judge(observed, pod, written) {
        Applied::Awaited | Applied::Differs(_) => {}
        Applied::InEffect | Applied::Unreadable | Applied::AsStored | Applied::NoPod | Applied::Held => {
            return (first, None);
        }
    }
    let left = config_applied::left(observed, now);
    if first.is_some() || !left.is_zero() {
        // The stored condition may be about an earlier change.
        let wait = if first.is_some() {
            config_applied::PATIENCE
        } else {
            left
        };
        return (first, Some(wait));
    }
    (Some(format!("{}.{AGAIN}", note.hash)), None)
}
