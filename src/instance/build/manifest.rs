//! The Pod of a TiProxy as it is created: what the operator builds, with the user's overlay laid over it.
//!
//! The overlay may change whatever the operator does not depend on. What it depends on stays, or the overlay is refused:
//! the container `tiproxy` with its two ports, the configuration and the option that names it, and the Pod's DNS name.

use k8s_openapi::api::core::v1::Pod;
use serde_json::{Map, Value};

use super::super::validate::Instance;
use super::config_map::CONFIG_FILE;
use super::pod::{CONFIG_DIRECTORY, CONFIG_VOLUME, pod};
use super::tls::{Tls, tls};
use crate::api::name;
use crate::pod_overlay::{self, OverlayError, Problem};
use crate::runtime::write::Manifest;

/// The Pod of a TiProxy as it is created.
pub fn manifest(instance: &Instance, tls: &Tls) -> Result<Manifest<Pod>, OverlayError> {
    let manifest = Manifest::of(pod(instance, tls));
    let Some(overlay) = overlay(instance) else {
        return Ok(manifest);
    };
    let base = manifest.body().get("spec").cloned().unwrap_or_default();
    let mut spec = pod_overlay::pod_spec(base.clone(), &overlay)?
        .ok_or_else(|| OverlayError::new("", Problem::Contract("it removes the whole Pod".to_owned())))?;
    place(instance, &mut spec);
    check(instance, &base, &spec)?;
    Ok(manifest.with_spec(spec))
}

/// Whether [`manifest`] can be made. Without an overlay it can, and nothing is built to find that out.
pub fn validate_overlay(instance: &Instance) -> Result<(), OverlayError> {
    if overlay(instance).is_none() {
        return Ok(());
    }
    manifest(instance, &tls(instance)).map(drop)
}

/// What the user lays over the Pod's spec; `None` when that is nothing.
fn overlay(instance: &Instance) -> Option<Map<String, Value>> {
    let overlay = instance.spec.template.overlay.as_ref()?;
    let spec = overlay.pod.as_ref()?.spec.as_ref()?;
    let fields: Map<String, Value> = spec
        .iter()
        .map(|(field, value)| (field.clone(), value.clone()))
        .collect();
    (!fields.is_empty()).then_some(fields)
}

/// How long a Pod has to end when the overlay says so.
#[must_use]
pub fn overlaid_grace_period_seconds(instance: &Instance) -> Option<i64> {
    let overlay = instance.spec.template.overlay.as_ref()?;
    let spec = overlay.pod.as_ref()?.spec.as_ref()?;
    spec.get("terminationGracePeriodSeconds")?
        .as_i64()
        .filter(|seconds| *seconds >= 0)
}

/// The topology that a TiProxy was given stays, whatever an overlay, which is the same for all of them, says.
fn place(instance: &Instance, spec: &mut Value) {
    let topology = instance.spec.topology.iter().flatten();
    for (key, value) in topology {
        let selector = spec
            .as_object_mut()
            .map(|fields| fields.entry("nodeSelector").or_insert_with(|| Map::new().into()));
        if let Some(Value::Object(selector)) = selector {
            selector.insert(key.clone(), value.clone().into());
        }
    }
}

fn check(instance: &Instance, base: &Value, spec: &Value) -> Result<(), OverlayError> {
    let contract = |path: String, text: String| Err(OverlayError::new(path, Problem::Contract(text)));
    for field in ["hostname", "subdomain"] {
        if base.get(field) != spec.get(field) {
            return contract(
                field.to_owned(),
                format!(
                    "it is part of the address of the TiProxy and must stay {}",
                    told(base.get(field))
                ),
            );
        }
    }
    let Some((index, container)) = named(spec, "containers", name::CONTAINER) else {
        return contract(
            "containers".to_owned(),
            format!("the container {} runs TiProxy and must stay", name::CONTAINER),
        );
    };
    let at = |field: &str| format!("containers[{index}].{field}");
    let config_file = format!("{CONFIG_DIRECTORY}/{CONFIG_FILE}");
    if !names_config(container, &config_file) {
        return contract(
            at("command"),
            format!(
                "command and args must hold --config {config_file}, where the operator puts the configuration"
            ),
        );
    }
    if let Some(port) = ports(base).find(|port| !ports(spec).any(|found| is_same_port(port, found))) {
        return contract(
            at("ports"),
            format!(
                "Services and probes use the port {} with the number {}, which must stay; set \
                 spec.template.spec.server.port to change it",
                told(port.get("name")),
                told(port.get("containerPort")),
            ),
        );
    }
    if !mounts_config(container, &config_file) {
        return contract(
            at("volumeMounts"),
            format!(
                "the volume {CONFIG_VOLUME} must stay mounted at {CONFIG_DIRECTORY}, and nothing over its file"
            ),
        );
    }
    let config_map = named(spec, "volumes", CONFIG_VOLUME).and_then(|(_, volume)| volume.get("configMap"));
    let is_ours = config_map.is_some_and(|source| {
        source.get("name").is_some_and(|name| *name == instance.pod_name) && source.get("items").is_none()
    });
    if !is_ours {
        return contract(
            "volumes".to_owned(),
            format!(
                "the volume {CONFIG_VOLUME} holds the configuration and must stay the whole ConfigMap {}",
                instance.pod_name
            ),
        );
    }
    Ok(())
}

/// A value as it is told to the user.
fn told(value: Option<&Value>) -> String {
    match value {
        None => "unset".to_owned(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

fn items<'a>(object: &'a Value, list: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    object.get(list).and_then(Value::as_array).into_iter().flatten()
}

/// The item of a list that has this name, and its place.
fn named<'a>(object: &'a Value, list: &str, name: &str) -> Option<(usize, &'a Value)> {
    items(object, list)
        .enumerate()
        .find(|(_, item)| item.get("name").is_some_and(|found| found == name))
}

/// The ports of the container that runs TiProxy.
fn ports(spec: &Value) -> impl Iterator<Item = &Value> {
    named(spec, "containers", name::CONTAINER)
        .into_iter()
        .flat_map(|(_, container)| items(container, "ports"))
}

fn is_same_port(one: &Value, other: &Value) -> bool {
    ["name", "containerPort"]
        .iter()
        .all(|field| one.get(field) == other.get(field))
}

fn names_config(container: &Value, file: &str) -> bool {
    let words: Vec<&str> = ["command", "args"]
        .iter()
        .flat_map(|list| items(container, list))
        .filter_map(Value::as_str)
        .collect();
    let joined = format!("--config={file}");
    words.contains(&joined.as_str()) || words.windows(2).any(|pair| pair == ["--config", file])
}

fn mounts_config(container: &Value, file: &str) -> bool {
    let path = |mount: &Value| {
        mount
            .get("mountPath")
            .and_then(Value::as_str)
            .map(|path| path.trim_end_matches('/').to_owned())
    };
    let mut ours = 0_usize;
    for mount in items(container, "volumeMounts") {
        let path = path(mount).unwrap_or_default();
        if path == file {
            return false;
        }
        if path == CONFIG_DIRECTORY {
            let is_whole = ["subPath", "subPathExpr"]
                .iter()
                .all(|field| mount.get(field).is_none());
            if !is_whole || mount.get("name").is_none_or(|name| name != CONFIG_VOLUME) {
                return false;
            }
            ours += 1;
        }
    }
    ours == 1
}

#[cfg(test)]
mod tests;
