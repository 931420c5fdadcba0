//! Whether a running TiProxy has taken over a configuration, by what it says it runs with.

use std::collections::BTreeSet;

use super::key::{Effect, Key, Kind};
use super::key_table::KEYS;
use super::tombstone::spelled;
use super::tree::{self, Float, Node, Table, Value};
use super::version::Since;
use super::write;

/// TiProxy raises a smaller share of the memory limit to this one.
const LEAST_MEMORY_SHARE: f64 = 0.5;

/// The keys of a configuration whose value is not the one that a TiProxy answers to `GET /api/admin/config/`, sorted.
/// Labels stand as `labels.<name>`. None if the answer is no configuration.
///
/// Only keys that can come into effect without a new Pod are compared. Those that are read once, at the start, are
/// not: TiProxy shows their new value as soon as it has read the file, so what it shows says nothing of them. Nor are
/// keys that do nothing, and those that this version does not know and therefore never shows.
///
/// TiProxy leaves out every zero, so a key that is missing in its answer is zero, whatever its default. A key that is
/// missing in the configuration asks for nothing.
#[must_use]
pub fn not_in_effect(effective_toml: &str, wanted_toml: &str, version: Option<&str>) -> Option<Vec<String>> {
    // TiProxy's own answer always has sections; it is empty when a value cannot be written as TOML.
    let effective = spelled(effective_toml).filter(|effective| !effective.is_empty())?;
    let wanted = spelled(wanted_toml)?;
    let mut differing = Vec::new();
    for key in KEYS.iter().filter(|key| can_come_into_effect(key)) {
        let Some(wanted) = tree::get(&wanted, key.path) else {
            continue;
        };
        let effective = tree::get(&effective, key.path);
        if !knows(version, key.since, effective.is_some()) {
            continue;
        }
        if matches!(key.kind, Kind::Labels) {
            differing.extend(labels(wanted, effective));
        } else if !is_same(key, &wanted.value, effective.map(|node| &node.value)) {
            differing.push(key.path.to_owned());
        }
    }
    differing.sort();
    Some(differing)
}

fn can_come_into_effect(key: &Key) -> bool {
    let without_restart = match key.effect {
        Effect::Hot | Effect::NewConnections => true,
        Effect::Start => false,
    };
    without_restart && !key.dead && key.ineffective.is_none()
}

/// Whether a TiProxy of this version shows a key. Where the number does not tell, it is a newer one more likely than
/// not: it shows what all lines of today have, and of the rest what it is seen to show.
fn knows(version: Option<&str>, since: Since, is_shown: bool) -> bool {
    let told = version.and_then(|version| since.is_in(version));
    told.unwrap_or(is_shown || since <= Since::V1_3_1)
}

/// The labels that differ; an empty one is none.
fn labels(wanted: &Node, effective: Option<&Node>) -> Vec<String> {
    let none = Table::new();
    let effective = effective.and_then(|node| node.value.as_table()).unwrap_or(&none);
    let empty = Node::from(Value::text(""));
    let wanted = wanted.value.as_table().unwrap_or(&none).iter();
    wanted
        .filter(|(name, value)| effective.get(*name).unwrap_or(&empty) != *value)
        .map(|(name, _)| write::join("labels", name))
        .collect()
}

fn is_same(key: &Key, wanted: &Value, effective: Option<&Value>) -> bool {
    let zero = zero(key.kind);
    let (wanted, effective) = (taken(key, wanted), taken(key, effective.unwrap_or(&zero)));
    key.kind.same(&wanted, &effective)
}

/// What a key has when TiProxy leaves it out.
fn zero(kind: Kind) -> Value {
    match kind {
        Kind::Boolean => Value::Boolean(false),
        Kind::Integer { .. } | Kind::IntegerOrZero { .. } | Kind::Duration => Value::Integer(0),
        Kind::Float { .. } | Kind::FloatAboveOne => Value::Float(Float(0.0)),
        Kind::Text
        | Kind::OneOf(_)
        | Kind::Preferably(_)
        | Kind::LogLevel
        | Kind::DurationText
        | Kind::TlsVersion
        | Kind::Anything => Value::text(""),
        Kind::Texts | Kind::NonEmptyTexts | Kind::Networks | Kind::PortRange | Kind::BackendClusters => {
            Value::Array(Vec::new())
        }
        Kind::Labels => Value::Table(Table::new()),
    }
}

/// What TiProxy makes of a value when it takes it over.
fn taken(key: &Key, value: &Value) -> Value {
    match (key.kind, value) {
        (Kind::OneOf(_), Value::String(text)) if text.is_empty() => {
            key.default_value().unwrap_or(value).clone()
        }
        (Kind::NonEmptyTexts, Value::Array(texts)) => {
            let mut seen = BTreeSet::new();
            let trimmed = texts
                .iter()
                .filter_map(|node| node.value.as_text())
                .map(str::trim);
            let once = trimmed.filter(|text| seen.insert(*text));
            Value::Array(once.map(|text| Node::from(Value::text(text))).collect())
        }
        // The only key of this kind is that share.
        (Kind::Float { max, .. }, Value::Float(share)) if max <= 1.0 && share.0 > 0.0 => {
            Value::Float(Float(share.0.max(LEAST_MEMORY_SHARE)))
        }
        _ => value.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What TiProxy v26.3.1 answers when it was started with next to nothing.
    const AT_REST: &str = r"workdir = '/work'
enable-traffic-replay = true

[proxy]
addr = '0.0.0.0:6000'
pd-addrs = '127.0.0.1:2379'
high-memory-usage-reject-threshold = 0.9
graceful-close-conn-timeout = 15
failover-timeout = 60

[proxy.frontend-keepalive]
enabled = true

[proxy.backend-healthy-keepalive]
enabled = true
idle = 60000000000
cnt = 5
intvl = 3000000000
timeout = 15000000000

[proxy.backend-unhealthy-keepalive]
enabled = true
idle = 10000000000
cnt = 5
intvl = 1000000000
timeout = 5000000000

[api]
addr = '0.0.0.0:3080'

[security]
[security.server-tls]
min-tls-version = '1.2'

[security.server-http-tls]
min-tls-version = '1.2'

[security.cluster-tls]
min-tls-version = '1.2'

[security.sql-tls]
min-tls-version = '1.2'

[log]
encoder = 'tidb'
level = 'info'

[log.log-file]
max-size = 300
max-days = 3
max-backups = 3

[balance]
policy = 'resource'
routing-policy = 'prefer-idle'
";
    const V26: Option<&str> = Some("v26.3.1");

    fn at_rest(wanted: &str, version: Option<&str>) -> Vec<String> {
        not_in_effect(AT_REST, wanted, version).unwrap()
    }

    #[test]
    fn every_default_is_in_effect_where_it_is_left_out_or_not() {
        for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
            let wanted = format!("{} = {}", key.path, key.default);
            assert_eq!(at_rest(&wanted, V26), [""; 0], "{wanted}");
        }
    }

    #[test]
    fn a_value_that_is_not_shown_is_not_in_effect() {
        for (wanted, differing) in [
            ("proxy.max-connections = 7", &["proxy.max-connections"][..]),
            (
                "proxy.failover-timeout = 0\nproxy.graceful-close-conn-timeout = 0",
                &["proxy.failover-timeout", "proxy.graceful-close-conn-timeout"],
            ),
            ("enable-traffic-replay = false", &["enable-traffic-replay"]),
            (
                "proxy.backend-healthy-keepalive.idle = \"0s\"",
                &["proxy.backend-healthy-keepalive.idle"],
            ),
            ("proxy.backend-healthy-keepalive.idle = \"1m\"", &[]),
            ("log.level = \"INFO\"", &[]),
            ("log.level = \"\"", &["log.level"]),
            (
                "security.sql-tls.min-tls-version = \"\"",
                &["security.sql-tls.min-tls-version"],
            ),
            ("labels = { a = \"b\", c = \"\" }", &["labels.a"]),
            ("balance = { policy = \"\", routing-policy = \"\" }", &[]),
            ("balance.policy = \"location\"", &["balance.policy"]),
            ("proxy.public-endpoints = []\nproxy.backend-clusters = []", &[]),
            (
                "[[proxy.backend-clusters]]\nname = \"a\"\npd-addrs = \"b:1\"",
                &["proxy.backend-clusters"],
            ),
            (
                "LABELS.a = \"b\"\n[Log]\nLevel = \"warn\"",
                &["labels.a", "log.level"],
            ),
        ] {
            assert_eq!(at_rest(wanted, V26), differing, "{wanted}");
        }
    }

    #[test]
    fn what_tiproxy_makes_of_a_value_is_in_effect() {
        for (effective, wanted) in [
            (
                "proxy.high-memory-usage-reject-threshold = 0.5",
                "proxy.high-memory-usage-reject-threshold = 0.2",
            ),
            (
                "proxy.max-connections = 1",
                "proxy.high-memory-usage-reject-threshold = 0.0",
            ),
            (
                "proxy.fail-backend-list = [\"a\", \"b\"]",
                "proxy.fail-backend-list = [\" a \", \"b\", \"a\"]",
            ),
            (
                "balance.cpu.migrations-per-second = 2.0",
                "balance.cpu.migrations-per-second = 2",
            ),
            (
                "[[proxy.backend-clusters]]\nname = \"a\"\npd-addrs = \"b:1\"",
                "proxy.backend-clusters = [{ name = \"a\", pd-addrs = \"b:1\", ns-servers = [] }]",
            ),
            (
                "labels = { a = \"\", b = \"c\", d = \"e\" }",
                "labels = { a = \"\", b = \"c\" }",
            ),
        ] {
            let differing = not_in_effect(effective, wanted, V26);
            assert_eq!(differing, Some(Vec::new()), "{effective} for {wanted}");
        }
        let gone = not_in_effect("labels = { a = \"b\" }", "labels = { a = \"\" }", V26);
        assert_eq!(
            gone,
            Some(vec!["labels.a".to_owned()]),
            "a label to be taken away"
        );
    }

    #[test]
    fn only_what_can_come_into_effect_is_compared() {
        for key in KEYS {
            let wanted = format!("{} = {}", key.path, "\"another\"");
            let compared = at_rest(&wanted, V26) == [key.path];
            let expected = !key.dead
                && key.ineffective.is_none()
                && key.effect != Effect::Start
                && !matches!(key.kind, Kind::Labels);
            assert_eq!(compared, expected, "{}", key.path);
        }
        assert_eq!(at_rest("future.x = 1\nlog.unknown = 2", V26), [""; 0]);
    }

    #[test]
    fn a_key_that_the_version_does_not_know_is_left_out() {
        let wanted = "proxy.failover-timeout = 9\nproxy.public-endpoints = [\"10.0.0.0/8\"]\nproxy.max-connections = 9";
        let both = ["proxy.failover-timeout", "proxy.max-connections"];
        for (version, differing) in [
            (Some("v1.3.2"), &["proxy.max-connections"][..]),
            (Some("v1.3.3"), &both),
            (
                Some("v26.3.1"),
                &[
                    "proxy.failover-timeout",
                    "proxy.max-connections",
                    "proxy.public-endpoints",
                ],
            ),
            // What it shows, it knows.
            (Some("nightly"), &both),
            (None, &both),
        ] {
            assert_eq!(at_rest(wanted, version), differing, "{version:?}");
        }
    }

    #[test]
    fn what_is_no_configuration_says_nothing() {
        for effective in ["", " \n", "\"service not ready\"", "<html>"] {
            assert_eq!(
                not_in_effect(effective, "labels.a = \"b\"", V26),
                None,
                "{effective}"
            );
        }
        assert_eq!(not_in_effect(AT_REST, "not TOML", V26), None);
        assert_eq!(at_rest("", V26), [""; 0]);
    }

    proptest! {
        #[test]
        fn any_answer_can_be_compared(effective in ".*", wanted in ".*") {
            let _ = not_in_effect(&effective, &wanted, None);
        }

        #[test]
        fn what_is_shown_as_it_was_written_is_in_effect(
            label in "[a-z]{1,5}", value in "[a-z\"\\\\ü]{0,9}", connections in 0..i64::MAX, share in 0.0..1.0_f64,
        ) {
            let wanted = format!(
                "labels.{label} = {}\nproxy.max-connections = {connections}\n\
                 proxy.high-memory-usage-reject-threshold = {share:?}",
                toml_edit::Value::from(value.as_str()),
            );
            prop_assert_eq!(not_in_effect(&wanted, &wanted, V26), Some(Vec::new()));
        }
    }
}
