//! What a change of a spec asks for, as tables, and the hashes that stay.

use proptest::collection::btree_map;
use proptest::option;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::proxy_config::{KEYS, Key, Kind, classify};

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
    assert_eq!(name("web", &full), "web-tiproxy-phbzt7jj5x");
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
    // Every key, set to something else than its default, and to its default in another spelling.
    let every_key = json!({"config": EVERY_KEY});
    assert_eq!(name("web", &spec(every_key.clone())), "web-tiproxy-jzdfgjd49d");
    assert_eq!(name("web", &restart(every_key)), "web-tiproxy-2z7wznx9r6");
    let live = KEYS.iter().filter(|key| !key.dead);
    let defaults: Vec<String> = live
        .map(|key| format!("{} = {}", key.path, key.default))
        .collect();
    let defaults = defaults.join("\n");
    for with in [spec, restart] {
        assert_eq!(
            name("web", &with(json!({ "config": defaults }))),
            "web-tiproxy-fldwhzkzpz"
        );
    }
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
        (json!({"config": "[log]\nlevel = \"warn\""}), Change::InPlace),
        (
            json!({"config": "[log]\nlevel = \"warn\"\nsimple = true"}),
            Change::Roll,
        ),
        (json!({"config": "proxy.port-range = [7000, 7001]"}), Change::Roll),
        (
            json!({"config": "log.simple = false\nlog.encoder = \"tidb\""}),
            Change::InPlace,
        ),
        (
            json!({"config": "proxy.conn-buffer-size = 2048"}),
            Change::InPlace,
        ),
        (
            json!({"config": "security.cluster-tls.min-tls-version = \"1.3\""}),
            Change::Roll,
        ),
        (json!({"config": "proxy.addr = \"overridden\""}), Change::InPlace),
        (
            json!({"config": "workdir = \"of the past\"\nfuture.key = 1"}),
            Change::InPlace,
        ),
        (json!({"config": "# only a comment\n"}), Change::InPlace),
        (json!({"trafficReplay": {"enabled": true}}), Change::InPlace),
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
            json!({"config": "labels = {a = \"b\"}\n[balance]\nlabel-name = \"a\"\nrouting-rule = \"port\""}),
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

/// A spec that wants every change of the configuration to restart.
fn restart(mut changes: Value) -> TiProxySpec {
    changes["updateStrategy"] = json!({"config": "Restart"});
    spec(changes)
}

#[test]
fn who_wants_restarts_gets_them_for_every_change_that_does_something() {
    for (changes, expected) in [
        (json!({"server": {"labels": {"group": "oltp"}}}), Change::Roll),
        (json!({"balance": {"labelName": "group"}}), Change::Roll),
        (json!({"trafficReplay": {"enabled": true}}), Change::Roll),
        (json!({"trafficReplay": {"enabled": false}}), Change::InPlace),
        (json!({"config": "labels.group = \"oltp\""}), Change::Roll),
        (json!({"config": "log.level = \"warn\""}), Change::Roll),
        (json!({"config": "log.level = \"INFO\""}), Change::InPlace),
        (json!({"config": "log.simple = true"}), Change::Roll),
        (
            json!({"config": "workdir = \"of the past\"\nfuture.key = 1"}),
            Change::InPlace,
        ),
        (
            json!({"config": "proxy.frontend-keepalive.cnt = 3"}),
            Change::InPlace,
        ),
        (json!({"config": "enable-traffic-replay = true"}), Change::InPlace),
    ] {
        assert_eq!(
            change(&restart(json!({})), &restart(changes.clone())),
            expected,
            "{changes}"
        );
    }
}

#[test]
fn a_label_is_the_same_in_the_field_and_in_the_text() {
    let in_text =
        json!({"config": "labels = { group = \"oltp\", none = \"\" }\nbalance.label-name = \"group\""});
    let in_fields = json!({"server": {"labels": {"group": "oltp"}}, "balance": {"labelName": "group"}});
    let in_both = json!({
        "config": "labels = { group = \"olap\", other = \"a\" }\nbalance.label-name = \"other\"",
        "server": {"labels": {"group": "oltp", "other": ""}}, "balance": {"labelName": "group"},
    });
    for changes in [in_fields, in_both] {
        assert_eq!(
            change(&restart(in_text.clone()), &restart(changes.clone())),
            Change::InPlace,
            "{changes}"
        );
    }
}

#[test]
fn to_ask_for_restarts_restarts_only_where_a_running_tiproxy_has_taken_something_over() {
    for (changes, expected) in [
        (json!({}), Change::InPlace),
        (json!({"config": "log.simple = true"}), Change::InPlace),
        (json!({"config": "log.level = \"warn\""}), Change::Roll),
        (json!({"server": {"labels": {"group": "oltp"}}}), Change::Roll),
    ] {
        let before = spec(changes.clone());
        assert_eq!(change(&before, &restart(changes.clone())), expected, "{changes}");
        assert_eq!(change(&restart(changes.clone()), &before), expected, "{changes}");
    }
}

#[test]
fn however_the_configuration_is_written_it_means_the_same() {
    for (before, after) in [
        (
            "[log]\nlevel = \"warn\"\nencoder = 'json'\n[proxy]\nmax-connections = 10\n",
            "# why\nproxy.max-connections = 1_0\n[log]\nencoder=\"json\"\nlevel=\"warn\"",
        ),
        ("log.level = \"debug\"", "[Log]\nLevel = \"DEBUG\""),
        (
            "balance.cpu.migrations-per-second = 1",
            "balance.cpu.migrations-per-second = 1.0",
        ),
        (
            "proxy.backend-healthy-keepalive.idle = \"2m\"",
            "proxy.backend-healthy-keepalive.idle = 120000000000",
        ),
        (
            "proxy.port-range = [7000, 7001]",
            "proxy = { port-range = [7_000, 7001,] }",
        ),
        ("log.level = \"info\"\nlabels = {}", ""),
    ] {
        for with in [spec, restart] {
            let with = |config: &str| with(json!({ "config": config }));
            assert_eq!(
                change(&with(before), &with(after)),
                Change::InPlace,
                "{before} {after}"
            );
            assert_eq!(
                name("web", &with(before)),
                name("web", &with(after)),
                "{before} {after}"
            );
        }
    }
}

/// A value of a key that is valid, by a number; several numbers give one value in several spellings.
fn value(key: &Key, number: u8) -> String {
    let spelled = |values: &[&str]| values[usize::from(number) % values.len()].to_owned();
    match key.kind {
        Kind::Boolean => spelled(&["true", "false"]),
        Kind::Integer { .. } => spelled(&["0", "7", "0x7", "15"]),
        Kind::IntegerOrZero { .. } => spelled(&["0", "2048", "2_048", "4096"]),
        Kind::Float { .. } => spelled(&["0", "0.0", "1", "1.0", "0.75"]),
        Kind::FloatAboveOne => spelled(&["0", "-0.0", "2", "2.0", "1.5"]),
        Kind::Text | Kind::Anything => spelled(&["\"\"", "\"a\"", "'a'", "\"B\""]),
        Kind::OneOf(values) | Kind::Preferably(values) => {
            let values: Vec<String> = values.iter().map(|value| format!("\"{value}\"")).collect();
            values[usize::from(number) % values.len()].clone()
        }
        Kind::LogLevel => spelled(&["\"info\"", "\"INFO\"", "\"warn\"", "\"Warn\"", "\"error\""]),
        Kind::Duration => spelled(&["\"60s\"", "\"1m\"", "60000000000", "\"0s\"", "0", "\"3s\""]),
        Kind::DurationText => spelled(&["\"\"", "\"72h\"", "\"4320m\""]),
        Kind::TlsVersion => spelled(&["\"1.2\"", "\"1.3\"", "'1.3'"]),
        Kind::Texts | Kind::NonEmptyTexts => spelled(&["[]", "[\"a\"]", "['a',]", "[\"a\", \"b\"]"]),
        Kind::Networks => spelled(&["[]", "[\"10.0.0.0/8\"]", "['10.0.0.0/8']"]),
        Kind::PortRange => spelled(&["[]", "[7000, 7001]", "[7_000, 7_001]", "[7000, 7002]"]),
        Kind::BackendClusters => spelled(&[
            "[]",
            "[{ name = \"a\", pd-addrs = \"a:1\" }]",
            "[{ pd-addrs = 'a:1', name = 'a' }]",
        ]),
        Kind::Labels => spelled(&[
            "{}",
            "{ a = \"\" }",
            "{ a = \"1\" }",
            "{ a = \"1\", \"b.c\" = \"2\" }",
        ]),
    }
}

/// Keys by their place in the table, each with a number for [`value`].
fn document(keys: &BTreeMap<usize, u8>) -> String {
    let lines = keys.iter().filter_map(|(index, number)| {
        let key = KEYS.get(*index)?;
        Some(format!("{} = {}\n", key.path, value(key, *number)))
    });
    lines.collect()
}

fn is_the_users(path: &str) -> bool {
    let managed = KEYS.iter().any(|key| key.path == path && key.managed.is_some());
    !managed || path == "balance.label-name"
}

proptest! {
    #[test]
    fn a_pod_is_replaced_exactly_for_what_a_running_process_cannot_take_over(
        old in btree_map(0..KEYS.len(), 0_u8..12, 0..40),
        edits in btree_map(0..KEYS.len(), option::of(0_u8..12), 0..6),
    ) {
        let mut new = old.clone();
        for (index, number) in edits {
            match number {
                Some(number) => new.insert(index, number),
                None => new.remove(&index),
            };
        }
        let (old, new) = (document(&old), document(&new));
        let found = classify(&old, &new);
        let of_the_user = |paths: &[String]| paths.iter().any(|path| is_the_users(path));
        let with = |config: &str| json!({ "config": config });
        let expected = |rolls| match rolls {
            _ if old == new => Change::None,
            true => Change::Roll,
            false => Change::InPlace,
        };
        let cannot = of_the_user(&found.start);
        prop_assert_eq!(change(&spec(with(&old)), &spec(with(&new))), expected(cannot), "{} -> {}", old, new);
        let any = cannot || of_the_user(&found.hot) || of_the_user(&found.new_connections);
        prop_assert_eq!(change(&restart(with(&old)), &restart(with(&new))), expected(any), "{} -> {}", old, new);
    }
}

/// A document with every key that this operator knows, and one that it does not. New keys are not added to it: what it
/// guards is that a spec keeps its revision when the key table grows.
const EVERY_KEY: &str = r#"
proxy.addr = "text"
proxy.advertise-addr = "text"
proxy.backend-clusters = [{ name = "a", pd-addrs = "a:1", ns-servers = ["b"] }]
proxy.backend-healthy-keepalive.cnt = 7
proxy.backend-healthy-keepalive.enabled = false
proxy.backend-healthy-keepalive.idle = "7m"
proxy.backend-healthy-keepalive.intvl = "7m"
proxy.backend-healthy-keepalive.timeout = "7m"
proxy.backend-unhealthy-keepalive.cnt = 7
proxy.backend-unhealthy-keepalive.enabled = false
proxy.backend-unhealthy-keepalive.idle = "7m"
proxy.backend-unhealthy-keepalive.intvl = "7m"
proxy.backend-unhealthy-keepalive.timeout = "7m"
proxy.conn-buffer-size = 2048
proxy.fail-backend-list = ["text"]
proxy.failover-timeout = 7
proxy.frontend-keepalive.cnt = 7
proxy.frontend-keepalive.enabled = false
proxy.frontend-keepalive.idle = "7m"
proxy.frontend-keepalive.intvl = "7m"
proxy.frontend-keepalive.timeout = "7m"
proxy.graceful-close-conn-timeout = 7
proxy.graceful-wait-before-shutdown = 7
proxy.high-memory-usage-reject-threshold = 0.75
proxy.max-connections = 7
proxy.pd-addrs = "text"
proxy.port-range = [7000, 7001]
proxy.proxy-protocol = "v2"
proxy.public-endpoints = ["10.0.0.0/8"]
api.addr = "text"
api.proxy-protocol = "v2"
log.encoder = "console"
log.level = "ERROR"
log.log-file.filename = "text"
log.log-file.max-backups = 7
log.log-file.max-days = 7
log.log-file.max-size = 7
log.simple = true
labels = { zone = "a", group = "oltp" }
balance.conn-count.count-ratio-threshold = 1.5
balance.conn-count.migrations-per-second = 0.75
balance.cpu.migrations-per-second = 0.75
balance.health.migrations-per-second = 0.75
balance.label-name = "text"
balance.location.migrations-per-second = 0.75
balance.memory.migrations-per-second = 0.75
balance.policy = "connection"
balance.routing-policy = "random"
balance.routing-rule = "port"
balance.status.migrations-per-second = 0.75
ha.garp-burst-count = 7
ha.garp-refresh-count = 7
ha.interface = "text"
ha.virtual-ip = "text"
enable-traffic-replay = false
metering.aws.access-key = "text"
metering.aws.assume-role-arn = "text"
metering.aws.s3-force-path-style = true
metering.aws.secret-access-key = "text"
metering.aws.session-token = "text"
metering.azure.account-key = "text"
metering.azure.account-name = "text"
metering.azure.sas-token = "text"
metering.bucket = "text"
metering.endpoint = "text"
metering.localfs.base-path = "text"
metering.localfs.create-dirs = true
metering.localfs.permissions = "text"
metering.oss.access-key = "text"
metering.oss.assume-role-arn = "text"
metering.oss.secret-access-key = "text"
metering.oss.session-token = "text"
metering.prefix = "text"
metering.region = "text"
metering.shared-pool-id = "text"
metering.type = "text"
security.encryption-key-path = "text"
security.require-backend-tls = true
security.cluster-tls.auto-certs = true
security.cluster-tls.autocert-expire-duration = "7h"
security.cluster-tls.ca = "text"
security.cluster-tls.cert = "text"
security.cluster-tls.cert-allowed-cn = ["text"]
security.cluster-tls.key = "text"
security.cluster-tls.min-tls-version = "1.3"
security.cluster-tls.rsa-key-size = 7
security.cluster-tls.skip-ca = true
security.server-http-tls.auto-certs = true
security.server-http-tls.autocert-expire-duration = "7h"
security.server-http-tls.ca = "text"
security.server-http-tls.cert = "text"
security.server-http-tls.cert-allowed-cn = ["text"]
security.server-http-tls.key = "text"
security.server-http-tls.min-tls-version = "1.3"
security.server-http-tls.rsa-key-size = 7
security.server-http-tls.skip-ca = true
security.server-tls.auto-certs = true
security.server-tls.autocert-expire-duration = "7h"
security.server-tls.ca = "text"
security.server-tls.cert = "text"
security.server-tls.cert-allowed-cn = ["text"]
security.server-tls.key = "text"
security.server-tls.min-tls-version = "1.3"
security.server-tls.rsa-key-size = 7
security.server-tls.skip-ca = true
security.sql-tls.auto-certs = true
security.sql-tls.autocert-expire-duration = "7h"
security.sql-tls.ca = "text"
security.sql-tls.cert = "text"
security.sql-tls.cert-allowed-cn = ["text"]
security.sql-tls.key = "text"
security.sql-tls.min-tls-version = "1.3"
security.sql-tls.rsa-key-size = 7
security.sql-tls.skip-ca = true
workdir = "text"
proxy.tcp-keep-alive = "text"
proxy.server-version = "text"
proxy.require-backend-tls = "text"
api.enable-basic-auth = "text"
api.user = "text"
api.password = "text"
advance.ignore-wrong-namespace = true
metrics = "text"
security.peer-tls = "text"
unknown.key = "text"
"#;
