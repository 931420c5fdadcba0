//! Two values for each key, and the TiProxies that ask for them.

use serde_json::{Map, Value, json};
use tiproxy_operator::api::TiProxy;
use tiproxy_operator::instance::build::config_map::config_map;
use tiproxy_operator::instance::build::tls::tls;
use tiproxy_operator::instance::location::Location;
use tiproxy_operator::instance::validate::validate;
use tiproxy_operator::proxy_config::{Key, Kind};

use tiproxy_standin::testing::free_port;

/// One of two values; the first is never the default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Which {
    First,
    Second,
}

impl Which {
    fn of<T>(self, first: T, second: T) -> T {
        match self {
            Self::First => first,
            Self::Second => second,
        }
    }
}

/// Sets a key in a spec: the field that is there for it, or a line in `config`.
pub(super) fn set(spec: &mut Value, key: &Key, which: Which) {
    if let Some(changes) = field(key, which) {
        lay_over(spec, changes);
        return;
    }
    let text = spec["config"].as_str().unwrap_or_default();
    spec["config"] = json!(format!("{text}{} = {}\n", key.path, literal(key, which)));
}

/// A spec with nothing but what is needed.
pub(super) fn bare(version: &str) -> Value {
    json!({
        "cluster": {"name": "basic"}, "subdomain": "web-tiproxy-peer", "version": version,
        "discovery": {"pdAddrs": ["pd.example:2379"]},
    })
}

/// The configuration file of a TiProxy with this spec.
pub(super) fn file(spec: &Value) -> String {
    let tiproxy: TiProxy = serde_json::from_value(json!({
        "apiVersion": "core.pingcap.com/v1alpha1", "kind": "TiProxy",
        "metadata": {"name": "web-0", "namespace": "ns", "uid": "uid-0"}, "spec": spec,
    }))
    .unwrap();
    let instance = validate(&tiproxy).unwrap_or_else(|invalid| panic!("{invalid}: {spec}"));
    let location = Location::of(&instance, None, None);
    let config_map = config_map(&instance, &tls(&instance), &location);
    config_map.data.unwrap().remove("config.toml").unwrap()
}

fn lay_over(base: &mut Value, changes: Value) {
    match (base, changes) {
        (Value::Object(base), Value::Object(changes)) => {
            for (field, value) in changes {
                lay_over(base.entry(field).or_insert(Value::Object(Map::new())), value);
            }
        }
        (base, changes) => *base = changes,
    }
}

/// The field of the spec that sets a key.
fn field(key: &Key, which: Which) -> Option<Value> {
    key.managed?;
    let pd = "pd.example:2379";
    let tls = |place: &str| {
        // The certificates come from another Secret.
        let name = which.of("a", "b");
        json!({"security": {"tls": {place: {"enabled": true, "certKeyPair": {"name": name}}}}})
    };
    let changes = match key.path {
        "proxy.addr" => json!({"server": {"port": {"sql": which.of(4000, 4001)}}}),
        "api.addr" => json!({"server": {"port": {"api": which.of(8000, 8001)}}}),
        "proxy.advertise-addr" => json!({"discovery": {"clusterDomain": which.of("a.local", "b.local")}}),
        "proxy.pd-addrs" => json!({"discovery": {"pdAddrs": vec![pd; which.of(2, 3)]}}),
        "labels" => json!({"server": {"labels": {"group": which.of("oltp", "olap")}}}),
        "balance.label-name" => json!({"balance": {"labelName": which.of("group", "team")}}),
        "enable-traffic-replay" => json!({"trafficReplay": {"enabled": which.of(true, false)}}),
        "security.require-backend-tls" => {
            json!({"security": {"tls": {"backend": {"enabled": which.of(true, false)}}}})
        }
        path if path.starts_with("security.server-tls.") => tls("mysql"),
        path if path.starts_with("security.server-http-tls.") => tls("server"),
        path if path.starts_with("security.sql-tls.") => tls("backend"),
        path if path.starts_with("security.cluster-tls.") => {
            json!({"discovery": {"tls": true}, "security": {"tls": {"cluster": {"certKeyPair": {"name": which.of("a", "b")}}}}})
        }
        path => panic!("which field sets {path}?"),
    };
    Some(changes)
}

/// A value of a key as TOML.
fn literal(key: &Key, which: Which) -> String {
    match key.path {
        // One that the service for metering knows.
        "metering.type" => return which.of("\"localfs\"", "\"\"").to_owned(),
        "metering.localfs.base-path" => return which.of("\"metering\"", "\"metering/two\"").to_owned(),
        "metering.localfs.permissions" => return which.of("\"0700\"", "\"0750\"").to_owned(),
        _ => {}
    }
    let other = key.default == "true";
    let text = match key.kind {
        Kind::Boolean => which.of(!other, other).to_string(),
        Kind::Integer { .. } => which.of("7", "8").to_owned(),
        Kind::IntegerOrZero { .. } => which.of("2048", "4096").to_owned(),
        Kind::Float { .. } => which.of("0.75", "0.8").to_owned(),
        Kind::FloatAboveOne => which.of("1.5", "2").to_owned(),
        Kind::Text | Kind::Anything => which.of("\"one\"", "\"two\"").to_owned(),
        Kind::OneOf(values) | Kind::Preferably(values) => {
            let mut others = values
                .iter()
                .map(|value| format!("\"{value}\""))
                .filter(|value| value != key.default);
            let first = others.next().unwrap();
            which.of(first, others.next().unwrap_or_else(|| key.default.to_owned()))
        }
        Kind::LogLevel => which.of("\"warn\"", "\"error\"").to_owned(),
        Kind::Duration => which.of("\"7m\"", "\"8m\"").to_owned(),
        Kind::DurationText => which.of("\"73h\"", "\"74h\"").to_owned(),
        Kind::TlsVersion => which.of("\"1.3\"", "\"1.2\"").to_owned(),
        Kind::Texts | Kind::NonEmptyTexts => which.of("[\"one\"]", "[\"two\", \"three\"]").to_owned(),
        Kind::Networks => which
            .of("[\"10.0.0.0/8\"]", "[\"10.0.0.0/8\", \"192.168.0.0/16\"]")
            .to_owned(),
        Kind::PortRange => {
            // A new process listens there.
            let port = free_port();
            format!("[{port}, {port}]")
        }
        Kind::BackendClusters => {
            let name = which.of("one", "two");
            format!("[{{ name = \"{name}\", pd-addrs = \"pd.example:2379\" }}]")
        }
        Kind::Labels => panic!("they have a field"),
    };
    assert_ne!(
        (which, text.as_str()),
        (Which::First, key.default),
        "{}",
        key.path
    );
    text
}
