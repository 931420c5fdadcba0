//! What a Pod is made from, and what a change of it asks for.
//!
//! Decided over inputs only: never by a diff with a live Pod, nor over rendered bytes, so that an upgrade of the
//! operator replaces nothing. Golden hashes in the tests guard that.

mod config;
mod config_key;

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::api::probe::Probes;
use crate::api::security::Security;
use crate::api::template::Resources;
use crate::api::volume::Volume;
use crate::api::{Discovery, TiProxySpec};

/// What the change from one spec to another asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Nothing differs.
    None,
    /// The object is written, and its Pod goes on as it is.
    InPlace,
    /// A new Pod is needed.
    Roll,
}

/// The part of a spec that a running Pod cannot follow.
///
/// Everything that is not named here (`updateStrategy`, `drain`, `offline`, ...) changes nothing that runs. A field
/// is only ever added as an `Option` that is skipped when absent, or all hashes would change.
///
/// Of TiProxy's configuration, only what it reads at its start is here, or all of it where the user wants every change
/// of it to restart. To ask for that is itself such a change where something is set that a running TiProxy takes over:
/// a hash knows nothing of what it was before.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct PodInputs<'a> {
    image: String,
    version: &'a str,
    sql_port: u16,
    api_port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<&'a Resources>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    config: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    probes: Option<&'a Probes>,
    pre_stop_sleep_seconds: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    security: Option<&'a Security>,
    #[serde(skip_serializing_if = "Option::is_none")]
    discovery: Option<&'a Discovery>,
    #[serde(skip_serializing_if = "Option::is_none")]
    restarted_at: Option<&'a str>,
    /// Its metadata is changed in place.
    #[serde(skip_serializing_if = "Option::is_none")]
    overlay: Option<&'a BTreeMap<String, Value>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    volumes: Vec<VolumeInput<'a>>,
}

/// The part of a volume that a running Pod cannot follow: not its size and its classes.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct VolumeInput<'a> {
    name: &'a str,
    /// Path in the container and folder in the volume.
    mounts: Vec<(&'a str, Option<&'a str>)>,
}

impl<'a> VolumeInput<'a> {
    /// Sorted: neither the order of volumes nor that of mounts means anything.
    fn of(volumes: &'a [Volume]) -> Vec<Self> {
        let mut inputs: Vec<Self> = volumes
            .iter()
            .map(|volume| {
                let mounts = volume.mounts.iter();
                let mut mounts: Vec<_> = mounts
                    .map(|mount| (mount.mount_path.as_str(), mount.sub_path.as_deref()))
                    .collect();
                mounts.sort_unstable();
                Self {
                    name: &volume.name,
                    mounts,
                }
            })
            .collect();
        inputs.sort_unstable_by_key(|volume| volume.name);
        inputs
    }
}

impl<'a> PodInputs<'a> {
    fn of(spec: &'a TiProxySpec) -> Self {
        let template = &spec.template;
        Self {
            image: template.image_reference(),
            version: &template.version,
            sql_port: template.sql_port(),
            api_port: template.api_port(),
            resources: template.resources.as_ref(),
            config: config::of(template),
            probes: template.probes.as_ref(),
            pre_stop_sleep_seconds: template.pre_stop_sleep_seconds(),
            security: template.security.as_ref(),
            discovery: spec.discovery.as_ref(),
            restarted_at: spec.restarted_at.as_deref(),
            overlay: template
                .overlay
                .as_ref()
                .and_then(|overlay| overlay.pod.as_ref()?.spec.as_ref())
                .filter(|spec| !spec.is_empty()),
            volumes: VolumeInput::of(template.volumes.as_deref().unwrap_or_default()),
        }
    }
}

/// What it takes to get from one spec to another.
#[must_use]
pub fn change(current: &TiProxySpec, desired: &TiProxySpec) -> Change {
    if current == desired {
        return Change::None;
    }
    if PodInputs::of(current) == PodInputs::of(desired) {
        Change::InPlace
    } else {
        Change::Roll
    }
}

/// The name of the revision that a spec asks for, such as `web-tiproxy-5d8f7c9b44`; it is a valid label value for
/// group names of at most 40 characters.
#[must_use]
pub fn name(group: &str, spec: &TiProxySpec) -> String {
    format!("{group}-tiproxy-{}", hash(spec))
}

fn hash(spec: &TiProxySpec) -> String {
    // The letters and digits that Kubernetes uses for such names: no vowels, so no words.
    const ALPHABET: &[u8; 27] = b"bcdfghjklmnpqrstvwxz2456789";
    // Serialising plain data with string keys cannot fail; an empty text would still be a valid revision.
    let text = serde_json::to_vec(&PodInputs::of(spec)).unwrap_or_default();
    Sha256::digest(text)
        .iter()
        .take(10)
        .filter_map(|byte| ALPHABET.get(usize::from(*byte) % ALPHABET.len()))
        .map(|byte| char::from(*byte))
        .collect()
}

#[cfg(test)]
mod tests;
