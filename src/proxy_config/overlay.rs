//! What the operator sets, laid over what the user wrote.

use std::collections::BTreeMap;

use super::check_value::value_in_sentence;
use super::diagnosis::{Diagnoses, DiagnosisKind, shown};
use super::index;
use super::key::Key;
use super::tree::{self, Table, Value};
use super::write;

/// The part of the configuration that is the operator's. Rendering it is all that is done with it: what it should be
/// is decided elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Managed {
    /// The port of the SQL clients, for `proxy.addr`.
    pub sql_port: u16,
    /// The port of the HTTP API, for `api.addr`.
    pub api_port: u16,
    /// The DNS name of the Pod without a port, for `proxy.advertise-addr`: TiProxy joins it with both ports.
    pub advertise_address: String,
    /// `host:port` of each PD, for `proxy.pd-addrs`.
    pub pd_addresses: Vec<String>,
    /// Labels of the typed field. They win over the same labels of the user's text.
    pub labels: BTreeMap<String, String>,
    /// Labels from the node (`zone`, `host`, `region`). The same labels of the user's text, or typed ones, win.
    pub default_labels: BTreeMap<String, String>,
    /// `balance.label-name` of the typed field. None leaves the user's.
    pub label_name: Option<String>,
    /// `enable-traffic-replay`.
    pub traffic_replay: bool,
    /// The four TLS objects.
    pub tls: Tls,
    /// The version that will read the configuration, such as `v1.3.2`. With it, keys that this version does not know
    /// are warned about.
    pub version: Option<String>,
}

/// The TLS objects of TiProxy. None is off.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tls {
    /// `security.cluster-tls`: to PD, TiDB's status port and the other TiProxies.
    pub cluster: Option<TlsFiles>,
    /// `security.server-http-tls`: on the API port.
    pub server_http: Option<TlsFiles>,
    /// `security.server-tls`: on the SQL port.
    pub server_sql: Option<TlsFiles>,
    /// `security.sql-tls`: to TiDB's SQL port.
    pub backend: Option<TlsFiles>,
    /// `security.require-backend-tls`: without it, clients without TLS reach TiDB without TLS.
    pub require_backend_tls: bool,
}

/// Paths in the Pod, and whether certificates of the other side go unchecked.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsFiles {
    /// The certificate authority of the other side.
    pub ca: Option<String>,
    /// The own certificate.
    pub cert: Option<String>,
    /// The key of the own certificate.
    pub key: Option<String>,
    /// On a port: a client may have no certificate. Towards TiDB or PD: works only without `ca`, and then nothing is
    /// verified.
    pub skip_ca: bool,
}

/// Sets what is managed and warns where the user had set it to something else.
///
/// Every managed key is always written, also as `""` or `false`: TiProxy merges what it reads into what it runs with,
/// so that a key that is left out keeps its last value.
pub(super) fn overlay(root: &mut Table, managed: &Managed, found: &mut Diagnoses) {
    let mut set = |path: &str, value: Value| {
        if let Some(key) = index::find(path) {
            set_key(root, key, value, found);
        }
    };
    set("proxy.addr", Value::text(format!("0.0.0.0:{}", managed.sql_port)));
    set("proxy.advertise-addr", Value::text(&managed.advertise_address));
    set("proxy.pd-addrs", Value::text(managed.pd_addresses.join(",")));
    set("api.addr", Value::text(format!("0.0.0.0:{}", managed.api_port)));
    set("enable-traffic-replay", Value::Boolean(managed.traffic_replay));
    if let Some(label_name) = &managed.label_name {
        set("balance.label-name", Value::text(label_name));
    }
    let tls = &managed.tls;
    for (object, files) in [
        ("cluster-tls", &tls.cluster),
        ("server-http-tls", &tls.server_http),
        ("server-tls", &tls.server_sql),
        ("sql-tls", &tls.backend),
    ] {
        let file = |name: fn(&TlsFiles) -> &Option<String>| {
            Value::text(
                files
                    .as_ref()
                    .and_then(|files| name(files).clone())
                    .unwrap_or_default(),
            )
        };
        set(&format!("security.{object}.ca"), file(|files| &files.ca));
        set(&format!("security.{object}.cert"), file(|files| &files.cert));
        set(&format!("security.{object}.key"), file(|files| &files.key));
        let skip_ca = files.as_ref().is_some_and(|files| files.skip_ca);
        set(&format!("security.{object}.skip-ca"), Value::Boolean(skip_ca));
    }
    // It would turn TLS on where the probes and the operator speak plain HTTP.
    set("security.server-http-tls.auto-certs", Value::Boolean(false));
    set(
        "security.require-backend-tls",
        Value::Boolean(tls.require_backend_tls),
    );
    set_labels(root, managed, found);
}

fn set_key(root: &mut Table, key: &'static Key, value: Value, found: &mut Diagnoses) {
    let path: Vec<&str> = key.path.split('.').collect();
    let ours = literal(&value);
    let same = |theirs: &Value| key.kind.same(theirs, &value);
    let overridden = tree::get(root, key.path)
        .filter(|theirs| !same(&theirs.value))
        .cloned();
    tree::set(root, &path, value);
    let Some(theirs) = overridden else { return };
    let path = key.path;
    let instead = match key.managed {
        Some("") | None => "sets it to the DNS name of each Pod: remove it from config".to_owned(),
        Some(field) => format!("sets it to {ours}: remove it from config and use {field}"),
    };
    let value = value_in_sentence(key, &theirs.value);
    found.warn(
        DiagnosisKind::Overridden,
        path,
        theirs.key_at,
        format!("`{path}`{value} is overridden, the operator {instead}"),
    );
}

fn set_labels(root: &mut Table, managed: &Managed, found: &mut Diagnoses) {
    for (name, ours) in &managed.labels {
        let previous = tree::set(root, &["labels", name], Value::text(ours));
        let Some(theirs) = previous.filter(|theirs| theirs.value.as_text() != Some(ours)) else {
            continue;
        };
        let path = shown(&write::join("labels", name));
        let message = format!(
            "`{path}` = {} is overridden, the operator sets it to {} as spec.template.spec.server.labels says: \
             remove it from config",
            shown(&literal(&theirs.value)),
            shown(&literal(&Value::text(ours))),
        );
        found.warn(DiagnosisKind::Overridden, &path, theirs.key_at, message);
    }
    for (name, ours) in &managed.default_labels {
        let given = tree::get(root, "labels").and_then(|labels| labels.value.as_table());
        if !given.is_some_and(|labels| labels.contains_key(name)) {
            tree::set(root, &["labels", name], Value::text(ours));
        }
    }
}

fn literal(value: &Value) -> String {
    let mut text = String::new();
    write::value(&mut text, value);
    text
}
