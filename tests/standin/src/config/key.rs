//! The keys that TiProxy reads, and their values.

use std::collections::BTreeMap;

use serde_json::json;

use crate::flags::Line;

/// What a key holds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A string.
    Text(String),
    /// A boolean.
    Flag(bool),
    /// An integer.
    Integer(i64),
    /// An integer that is not negative; TiProxy takes -1 for the largest one.
    Unsigned(u64),
    /// A number.
    Float(f64),
    /// A duration in nanoseconds.
    Duration(i64),
    /// A list of strings.
    Texts(Vec<String>),
    /// A list of integers.
    Integers(Vec<i64>),
    /// Names and strings.
    Labels(BTreeMap<String, String>),
    /// `[[proxy.backend-clusters]]`.
    Clusters(Vec<Cluster>),
}

/// An entry of `[[proxy.backend-clusters]]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cluster {
    /// `name`
    pub name: String,
    /// `pd-addrs`
    pub pd_addrs: String,
    /// `ns-servers`
    pub ns_servers: Vec<String>,
}

impl Value {
    /// Whether JSON leaves it out.
    #[must_use]
    pub fn is_zero(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Flag(flag) => !flag,
            Self::Integer(number) | Self::Duration(number) => *number == 0,
            Self::Unsigned(number) => *number == 0,
            Self::Float(number) => *number == 0.0,
            Self::Texts(list) => list.is_empty(),
            Self::Integers(list) => list.is_empty(),
            Self::Labels(map) => map.is_empty(),
            Self::Clusters(list) => list.is_empty(),
        }
    }

    /// As the API shows it.
    #[must_use]
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Text(text) => json!(text),
            Self::Flag(flag) => json!(flag),
            Self::Integer(number) | Self::Duration(number) => json!(number),
            Self::Unsigned(number) => json!(number),
            // Go writes 0.0 as 0.
            Self::Float(number) => json!(number),
            Self::Texts(list) => json!(list),
            Self::Integers(list) => json!(list),
            Self::Labels(map) => json!(map),
            Self::Clusters(list) => list.iter().map(Cluster::to_json).collect(),
        }
    }
}

impl Cluster {
    fn to_json(&self) -> serde_json::Value {
        let mut object = serde_json::Map::new();
        for (key, value) in [
            ("name", Value::Text(self.name.clone())),
            ("pd-addrs", Value::Text(self.pd_addrs.clone())),
            ("ns-servers", Value::Texts(self.ns_servers.clone())),
        ] {
            if !value.is_zero() {
                object.insert(key.to_owned(), value.to_json());
            }
        }
        serde_json::Value::Object(object)
    }
}

/// A key and its default.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    /// The sections and the name, with dots between.
    pub path: String,
    /// What it has when nobody says anything; its kind is the only one that is accepted.
    pub default: Value,
}

const SECOND: i64 = 1_000_000_000;

/// All keys that a line reads.
#[must_use]
pub fn keys(line: Line) -> Vec<Key> {
    let mut keys = Keys {
        new: line >= Line::V26,
        list: Vec::new(),
    };
    keys.proxy();
    keys.text("api.addr", "0.0.0.0:3080");
    keys.text("api.proxy-protocol", "");
    keys.text("workdir", "");
    keys.add("enable-traffic-replay", Value::Flag(true));
    keys.add("labels", Value::Labels(BTreeMap::new()));
    keys.text("ha.virtual-ip", "");
    keys.text("ha.interface", "");
    keys.text("log.level", "info");
    keys.text("log.encoder", "tidb");
    keys.text("log.log-file.filename", "");
    keys.integer("log.log-file.max-size", 300);
    keys.integer("log.log-file.max-days", 3);
    keys.integer("log.log-file.max-backups", 3);
    keys.text("balance.label-name", "");
    keys.text("balance.policy", "resource");
    keys.security();
    if keys.new {
        keys.add("log.simple", Value::Flag(false));
        keys.balance();
        keys.metering();
    }
    keys.list
}

struct Keys {
    new: bool,
    list: Vec<Key>,
}

impl Keys {
    fn add(&mut self, path: &str, default: Value) {
        self.list.push(Key {
            path: path.to_owned(),
            default,
        });
    }

    fn text(&mut self, path: &str, default: &str) {
        self.add(path, Value::Text(default.to_owned()));
    }

    fn integer(&mut self, path: &str, default: i64) {
        self.add(path, Value::Integer(default));
    }

    fn proxy(&mut self) {
        self.text("proxy.addr", "0.0.0.0:6000");
        self.text("proxy.advertise-addr", "");
        self.text("proxy.pd-addrs", "127.0.0.1:2379");
        self.text("proxy.proxy-protocol", "");
        self.add("proxy.max-connections", Value::Unsigned(0));
        self.integer("proxy.conn-buffer-size", 0);
        self.integer("proxy.graceful-wait-before-shutdown", 0);
        self.integer("proxy.graceful-close-conn-timeout", 15);
        for (name, idle, count, interval, timeout) in [
            ("frontend", 0, 0, 0, 0),
            ("backend-healthy", 60, 5, 3, 15),
            ("backend-unhealthy", 10, 5, 1, 5),
        ] {
            let path = |key: &str| format!("proxy.{name}-keepalive.{key}");
            self.add(&path("enabled"), Value::Flag(true));
            self.add(&path("idle"), Value::Duration(idle * SECOND));
            self.integer(&path("cnt"), count);
            self.add(&path("intvl"), Value::Duration(interval * SECOND));
            self.add(&path("timeout"), Value::Duration(timeout * SECOND));
        }
        if self.new {
            self.add("proxy.port-range", Value::Integers(Vec::new()));
            self.add("proxy.high-memory-usage-reject-threshold", Value::Float(0.9));
            self.add("proxy.public-endpoints", Value::Texts(Vec::new()));
            self.add("proxy.backend-clusters", Value::Clusters(Vec::new()));
            self.add("proxy.fail-backend-list", Value::Texts(Vec::new()));
            self.integer("proxy.failover-timeout", 60);
        }
    }

    fn security(&mut self) {
        for object in ["server-tls", "server-http-tls", "cluster-tls", "sql-tls"] {
            let path = |key: &str| format!("security.{object}.{key}");
            for key in ["cert", "key", "ca"] {
                self.text(&path(key), "");
            }
            self.text(&path("min-tls-version"), "1.2");
            self.add(&path("auto-certs"), Value::Flag(false));
            self.integer(&path("rsa-key-size"), 0);
            self.text(&path("autocert-expire-duration"), "");
            self.add(&path("skip-ca"), Value::Flag(false));
            if self.new {
                self.add(&path("cert-allowed-cn"), Value::Texts(Vec::new()));
            }
        }
        self.add("security.require-backend-tls", Value::Flag(false));
        if self.new {
            self.text("security.encryption-key-path", "");
        }
    }

    fn balance(&mut self) {
        self.text("balance.routing-rule", "");
        self.text("balance.routing-policy", "prefer-idle");
        for factor in ["status", "health", "memory", "cpu", "location", "conn-count"] {
            self.add(
                &format!("balance.{factor}.migrations-per-second"),
                Value::Float(0.0),
            );
        }
        self.add("balance.conn-count.count-ratio-threshold", Value::Float(0.0));
    }

    fn metering(&mut self) {
        for key in ["type", "region", "bucket", "prefix", "endpoint", "shared-pool-id"] {
            self.text(&format!("metering.{key}"), "");
        }
    }
}
