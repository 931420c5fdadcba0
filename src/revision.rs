//! What a Pod is made from, and what a change of it asks for.
//!
//! Decided over inputs only: never by a diff with a live Pod, nor over rendered bytes, so that an upgrade of the
//! operator replaces nothing. Golden hashes in the tests guard that.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::api::probe::Probes;
use crate::api::security::Security;
use crate::api::template::{Balance, ConfigUpdateStrategy, Resources, TrafficReplay};
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
/// Labels and `balance.label-name` are here only where the user wants every change of the configuration to restart:
/// a running TiProxy takes them over. To ask for that where there are labels is itself such a change.
#[derive(Debug, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
struct PodInputs<'a> {
    image: String,
    version: &'a str,
    sql_port: u16,
    api_port: u16,
    #[serde(skip_serializing_if = "Option::is_none")]
    labels: Option<&'a BTreeMap<String, String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    balance: Option<&'a Balance>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traffic_replay: Option<&'a TrafficReplay>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resources: Option<&'a Resources>,
    #[serde(skip_serializing_if = "str::is_empty")]
    config: Cow<'a, str>,
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
        let strategy = template
            .update_strategy
            .as_ref()
            .and_then(|strategy| strategy.config);
        let restarts = strategy == Some(ConfigUpdateStrategy::Restart);
        let server_labels = template.server.as_ref().and_then(|server| server.labels.as_ref());
        Self {
            image: template.image_reference(),
            version: &template.version,
            sql_port: template.sql_port(),
            api_port: template.api_port(),
            labels: server_labels.filter(|_| restarts),
            balance: template.balance.as_ref().filter(|_| restarts),
            traffic_replay: template.traffic_replay.as_ref(),
            resources: template.resources.as_ref(),
            config: config_meaning(template.config.as_deref().unwrap_or_default(), restarts),
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

/// The configuration without comments, white space and order, so that editing those replaces nothing; and, unless
/// every change is to restart, without what a running TiProxy takes over.
fn config_meaning(text: &str, restarts: bool) -> Cow<'_, str> {
    let Ok(mut document) = text.parse::<toml_edit::DocumentMut>() else {
        return Cow::Borrowed(text);
    };
    if !restarts {
        document.remove("labels");
        if let Some(balance) = document
            .get_mut("balance")
            .and_then(toml_edit::Item::as_table_like_mut)
        {
            balance.remove("label-name");
            if balance.is_empty() {
                document.remove("balance");
            }
        }
    }
    if document.is_empty() {
        return Cow::Borrowed("");
    }
    Cow::Owned(canonical(document.as_item()))
}

/// JSON's quoting, which unlike Rust's `Debug` never changes.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A form of a TOML value that depends on its meaning only.
fn canonical(item: &toml_edit::Item) -> String {
    if let Some(table) = item.as_table_like() {
        let entries: BTreeMap<&str, String> = table
            .iter()
            .filter(|(_, value)| !value.is_none())
            .map(|(key, value)| (key, canonical(value)))
            .collect();
        let entries: Vec<String> = entries
            .iter()
            .map(|(key, value)| format!("{}={value}", quoted(key)))
            .collect();
        return format!("{{{}}}", entries.join(","));
    }
    if let Some(tables) = item.as_array_of_tables() {
        let tables: Vec<String> = tables
            .iter()
            .map(|table| canonical(&toml_edit::Item::Table(table.clone())))
            .collect();
        return format!("[{}]", tables.join(","));
    }
    if let Some(array) = item.as_array() {
        let values: Vec<String> = array
            .iter()
            .map(|value| canonical(&toml_edit::Item::Value(value.clone())))
            .collect();
        return format!("[{}]", values.join(","));
    }
    match item.as_value() {
        Some(toml_edit::Value::String(text)) => quoted(text.value()),
        Some(toml_edit::Value::Integer(number)) => number.value().to_string(),
        Some(toml_edit::Value::Float(number)) => format!("{:?}", number.value()),
        Some(toml_edit::Value::Boolean(truth)) => truth.value().to_string(),
        Some(toml_edit::Value::Datetime(time)) => time.value().to_string(),
        Some(toml_edit::Value::Array(_) | toml_edit::Value::InlineTable(_)) | None => String::new(),
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
mod tests {
    use super::*;
    use serde_json::json;

    fn spec(changes: Value) -> TiProxySpec {
        let mut value = json!({
            "cluster": {"name": "basic"},
            "subdomain": "web-tiproxy-peer",
            "version": "v1.3.2",
            "discovery": {"pdAddrs": ["basic-pd.ns.svc:2379"]},
        });
        if let (Some(value), Value::Object(changes)) = (value.as_object_mut(), changes) {
            value.extend(changes);
        }
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn hashes_are_those_of_every_earlier_version() {
        // A changed value here would replace every TiProxy of every user at the next upgrade of the operator.
        assert_eq!(name("web", &spec(json!({}))), "web-tiproxy-fldwhzkzpz");
        let full = spec(json!({
            "image": "example.com/tiproxy", "restartedAt": "now",
            "server": {"port": {"sql": 4000}, "labels": {"group": "oltp"}},
            "balance": {"labelName": "group"}, "trafficReplay": {"enabled": true},
            "resources": {"cpu": 1, "memory": "2Gi"}, "config": "[log]\nlevel = \"warn\" # quiet\n",
            "probes": {"readiness": {"type": "tcp"}}, "preStop": {"sleepSeconds": 3},
            "security": {"tls": {"mysql": {"enabled": true}, "backend": {"enabled": false}}},
        }));
        assert_eq!(name("web", &full), "web-tiproxy-zm87hm77p8");
        let overlay = json!({"pod": {"metadata": {"labels": {"a": "b"}}, "spec": {
            "hostNetwork": false, "containers": [{"name": "b", "image": "c", "args": []}], "affinity": {"x": 1, "a": 0.5}}}});
        let overlaid = spec(json!({ "overlay": overlay }));
        assert_eq!(name("web", &overlaid), "web-tiproxy-q4xwscc4np");
        let text = r#"{"pod": {"spec": {"affinity": {"a": 0.5, "x": 1}, "containers": [{"args": [], "image": "c",
            "name": "b"}], "hostNetwork": false}}}"#;
        let in_another_order: Value = serde_json::from_str(text).unwrap();
        assert_eq!(
            name("web", &spec(json!({ "overlay": in_another_order }))),
            name("web", &overlaid)
        );
        let volumes = spec(json!({"volumes": volumes()}));
        assert_eq!(name("web", &volumes), "web-tiproxy-wvzgcrvpfp");
    }

    fn volumes() -> Value {
        json!([
            {"name": "log", "storage": "1Gi", "mounts": [{"mountPath": "/log"}, {"mountPath": "/a", "subPath": "a"}]},
            {"name": "data", "storage": 1, "mounts": [{"mountPath": "/data"}]},
        ])
    }

    #[test]
    fn a_volume_asks_for_a_new_pod_when_it_comes_goes_or_is_mounted_otherwise() {
        let before = spec(json!({"volumes": volumes()}));
        let mut less = volumes();
        less.as_array_mut().unwrap().pop();
        let mut turned = volumes();
        turned.as_array_mut().unwrap().reverse();
        turned[1]["mounts"].as_array_mut().unwrap().reverse();
        let changed = |pointer: &str, value: Value| {
            let mut volumes = volumes();
            let (parent, field) = pointer.rsplit_once('/').unwrap();
            volumes.pointer_mut(parent).unwrap()[field] = value;
            volumes
        };
        for (volumes, expected) in [
            (less, Change::Roll),
            (json!(null), Change::Roll),
            (turned, Change::InPlace),
            (changed("/0/name", json!("logs")), Change::Roll),
            (changed("/0/mounts/0/mountPath", json!("/logs")), Change::Roll),
            (changed("/0/mounts/1/subPath", json!("b")), Change::Roll),
            (changed("/0/mounts/0/type", json!("data")), Change::InPlace),
            (changed("/0/storage", json!("2Gi")), Change::InPlace),
            (changed("/0/storageClassName", json!("fast")), Change::InPlace),
            (
                changed("/0/volumeAttributesClassName", json!("gold")),
                Change::InPlace,
            ),
        ] {
            let after = spec(json!({ "volumes": volumes }));
            assert_eq!(change(&before, &after), expected, "{volumes}");
        }
        assert_eq!(
            change(&spec(json!({})), &spec(json!({"volumes": []}))),
            Change::InPlace
        );
        assert_eq!(
            change(&spec(json!({})), &spec(json!({"volumeRetention": "Retain"}))),
            Change::InPlace
        );
    }

    #[test]
    fn only_what_a_pod_cannot_follow_asks_for_a_new_one() {
        for (changes, expected) in [
            (json!({}), Change::None),
            (json!({"offline": true}), Change::InPlace),
            (json!({"updateStrategy": {"config": "Restart"}}), Change::InPlace),
            (json!({"drain": {"timeoutSeconds": 5}}), Change::InPlace),
            (json!({"preStop": {"sleepSeconds": 10}}), Change::InPlace),
            (json!({"image": "pingcap/tiproxy"}), Change::InPlace),
            (json!({"config": "[log]\nlevel = \"warn\""}), Change::Roll),
            (json!({"config": "# only a comment\n"}), Change::InPlace),
            (json!({"version": "v1.3.1"}), Change::Roll),
            (json!({"restartedAt": "now"}), Change::Roll),
            (json!({"overlay": {"pod": {"spec": {}}}}), Change::InPlace),
            (
                json!({"overlay": {"pod": {"metadata": {"labels": {"a": "b"}}}}}),
                Change::InPlace,
            ),
            (
                json!({"overlay": {"pod": {"spec": {"hostNetwork": false}}}}),
                Change::Roll,
            ),
            (
                json!({"overlay": {"pod": {"spec": {"hostNetwork": null}}}}),
                Change::Roll,
            ),
            (json!({"discovery": {"pdAddrs": ["other:2379"]}}), Change::Roll),
            (json!({"probes": {"readiness": {"type": "tcp"}}}), Change::Roll),
            (json!({"server": {"labels": {"group": "oltp"}}}), Change::InPlace),
            (json!({"balance": {"labelName": "group"}}), Change::InPlace),
            (
                json!({"config": "labels.group = \"oltp\"\n[balance]\nlabel-name = \"group\""}),
                Change::InPlace,
            ),
            (
                json!({"config": "labels = {a = \"b\"}\n[balance]\nlabel-name = \"a\"\npolicy = \"location\""}),
                Change::Roll,
            ),
        ] {
            assert_eq!(
                change(&spec(json!({})), &spec(changes.clone())),
                expected,
                "{changes}"
            );
        }
    }

    #[test]
    fn who_wants_restarts_gets_them_for_labels_too() {
        let restart = |mut changes: Value| {
            changes["updateStrategy"] = json!({"config": "Restart"});
            spec(changes)
        };
        for changes in [
            json!({"server": {"labels": {"group": "oltp"}}}),
            json!({"balance": {"labelName": "group"}}),
            json!({"config": "labels.group = \"oltp\""}),
        ] {
            assert_eq!(
                change(&restart(json!({})), &restart(changes.clone())),
                Change::Roll,
                "{changes}"
            );
        }
    }

    #[test]
    fn comments_white_space_and_order_in_the_configuration_mean_nothing() {
        let before = spec(
            json!({"config": "[log]\nlevel = \"warn\"\nencoder = 'tidb'\n[proxy]\nmax-connections = 10\n"}),
        );
        let after = spec(
            json!({"config": "# why\nproxy.max-connections = 1_0\n[log]\nencoder=\"tidb\"\nlevel=\"warn\""}),
        );
        assert_eq!(change(&before, &after), Change::InPlace);
    }
}
