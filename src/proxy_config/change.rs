//! What a changed configuration asks of a running TiProxy.

use std::collections::BTreeSet;

use super::index::{self, Known};
use super::key::{Effect, Key, Kind};
use super::key_table::KEYS;
use super::tombstone::spelled;
use super::tree::{self, Table, Value};
use super::write;

/// The keys in which two configurations differ, by what each needs. Labels stand as `labels.<name>`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfigChange {
    /// The running process takes them over.
    pub hot: Vec<String>,
    /// Connections made afterwards have them.
    pub new_connections: Vec<String>,
    /// The Pod has to be replaced.
    pub start: Vec<String>,
    /// Keys that no known TiProxy reads: unknown, dead, or without effect. A new Pod for their sake would cut clients
    /// for nothing; a newer TiProxy that does know one reads it when its Pod is replaced next.
    pub ignored: Vec<String>,
}

impl ConfigChange {
    /// Whether nothing differs.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.hot.is_empty()
            && self.new_connections.is_empty()
            && self.start.is_empty()
            && self.ignored.is_empty()
    }

    fn add(&mut self, effect: Option<Effect>, path: impl Into<String>) {
        let paths = match effect {
            Some(Effect::Hot) => &mut self.hot,
            Some(Effect::NewConnections) => &mut self.new_connections,
            Some(Effect::Start) => &mut self.start,
            None => &mut self.ignored,
        };
        paths.push(path.into());
    }
}

/// Compares two configurations key by key. A key that is missing counts as its default, which is what a tombstone
/// makes of it, and a text that cannot be read counts as empty.
///
/// Where the version lines differ, the answer is the one that is right for all of them: `proxy.pd-addrs` needs a new
/// Pod, although newer lines could reload it.
#[must_use]
pub fn classify(old_toml: &str, new_toml: &str) -> ConfigChange {
    let old = spelled(old_toml).unwrap_or_default();
    let new = spelled(new_toml).unwrap_or_default();
    let mut change = ConfigChange::default();
    for key in KEYS {
        if matches!(key.kind, Kind::Labels) {
            classify_labels(&old, &new, key.effect, &mut change);
        } else if differs(key, &old, &new) {
            let effect = if key.dead || key.ineffective.is_some() {
                None
            } else {
                Some(effect(key, &old, &new))
            };
            change.add(effect, key.path);
        }
    }
    unknown(&old, &new, "", &mut change);
    for paths in [
        &mut change.hot,
        &mut change.new_connections,
        &mut change.start,
        &mut change.ignored,
    ] {
        paths.sort();
    }
    change
}

fn differs(key: &Key, old: &Table, new: &Table) -> bool {
    let default = key.default_value();
    let value = |root| tree::get(root, key.path).map(|node| &node.value);
    match (value(old).or(default), value(new).or(default)) {
        (Some(old), Some(new)) => !key.kind.same(old, new),
        (old, new) => old != new,
    }
}

fn classify_labels(old: &Table, new: &Table, effect: Effect, change: &mut ConfigChange) {
    let empty = Table::new();
    let of = |root| tree::get(root, "labels").and_then(|labels| labels.value.as_table());
    let (old, new) = (of(old).unwrap_or(&empty), of(new).unwrap_or(&empty));
    for name in names(old, new) {
        // An empty label is none.
        let value = |labels: &Table| {
            labels
                .get(name)
                .map(|node| node.value.clone())
                .filter(|value| *value != Value::text(""))
        };
        if value(old) != value(new) {
            change.add(Some(effect), write::join("labels", name));
        }
    }
}

/// What a change of one key needs between these two configurations. Only TLS depends on more than the key
///.
fn effect(key: &Key, old: &Table, new: &Table) -> Effect {
    let Some((object, name)) = key
        .path
        .strip_prefix("security.")
        .and_then(|path| path.split_once('.'))
    else {
        return key.effect;
    };
    // A new path is read again by the running process; a file where there was none is another matter.
    let toggled = is_set(old, key.path) != is_set(new, key.path);
    let pinned = |root: &Table| {
        let names = format!("security.{object}.cert-allowed-cn");
        tree::get(root, &names)
            .and_then(|names| names.value.as_array())
            .is_some_and(|names| !names.is_empty())
    };
    match (object, name) {
        ("cluster-tls" | "server-http-tls", "ca" | "cert" | "key") if toggled => Effect::Start,
        // The authorities are fixed in the listener then.
        ("server-http-tls", "ca") if pinned(old) || pinned(new) => Effect::Start,
        _ => key.effect,
    }
}

fn is_set(root: &Table, path: &str) -> bool {
    tree::get(root, path)
        .and_then(|node| node.value.as_text())
        .is_some_and(|text| !text.is_empty())
}

/// Keys that are not in the table, down to the topmost that differs.
fn unknown(old: &Table, new: &Table, section: &str, change: &mut ConfigChange) {
    let known = index::children(section);
    for name in names(old, new) {
        match known.iter().find(|(child, _)| child == name) {
            Some((_, Known::Section(path))) => {
                let empty = Table::new();
                let old = old
                    .get(name)
                    .and_then(|node| node.value.as_table())
                    .unwrap_or(&empty);
                let new = new
                    .get(name)
                    .and_then(|node| node.value.as_table())
                    .unwrap_or(&empty);
                unknown(old, new, path, change);
            }
            None if old.get(name) != new.get(name) => change.add(None, write::join(section, name)),
            Some((_, Known::Key(_))) | None => {}
        }
    }
}

fn names<'tree>(old: &'tree Table, new: &'tree Table) -> BTreeSet<&'tree String> {
    old.keys().chain(new.keys()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn assert_change(
        old: &str,
        new: &str,
        hot: &[&str],
        new_connections: &[&str],
        start: &[&str],
        ignored: &[&str],
    ) {
        let change = classify(old, new);
        assert_eq!(change.hot, hot, "hot: {old} -> {new}");
        assert_eq!(
            change.new_connections, new_connections,
            "new connections: {old} -> {new}"
        );
        assert_eq!(change.start, start, "start: {old} -> {new}");
        assert_eq!(change.ignored, ignored, "ignored: {old} -> {new}");
        let back = classify(new, old);
        assert_eq!(back, change, "a change and its way back need the same");
    }

    #[test]
    fn each_key_that_differs_is_told_with_its_effect() {
        assert_change(
            "log.level = \"info\"\nproxy.addr = \"a:1\"\nfuture.x = 1",
            "log.level = \"debug\"\nproxy.addr = \"a:2\"\nproxy.conn-buffer-size = 1024\nfuture.x = 2\nworkdir = \"w\"",
            &["log.level"],
            &["proxy.conn-buffer-size"],
            &["proxy.addr"],
            &["future", "workdir"],
        );
        assert_change(
            "labels = { a = \"1\", b = \"\" }",
            "labels = { a = \"2\", c = \"3\" }",
            &["labels.a", "labels.c"],
            &[],
            &[],
            &[],
        );
        assert_change(
            "proxy.pd-addrs = \"a:1\"",
            "proxy.pd-addrs = \"b:1\"",
            &[],
            &[],
            &["proxy.pd-addrs"],
            &[],
        );
        assert_change(
            "log.unknown = 1\nlog.level = \"warn\"",
            "",
            &["log.level"],
            &[],
            &[],
            &["log.unknown"],
        );
        assert_change(
            "proxy.frontend-keepalive.cnt = 1",
            "",
            &[],
            &[],
            &[],
            &["proxy.frontend-keepalive.cnt"],
        );
    }

    #[test]
    fn what_means_the_same_is_no_change() {
        for (old, new) in [
            (
                "",
                "log.level = \"info\"\nproxy.max-connections = 0\nproxy.backend-clusters = []\n[labels]",
            ),
            ("log.level = \"debug\"", "[log]\nlevel = \"DEBUG\""),
            (
                "proxy.backend-healthy-keepalive.idle = \"1m\"",
                "proxy.backend-healthy-keepalive.idle = 60000000000",
            ),
            (
                "balance.cpu.migrations-per-second = 1",
                "balance.cpu.migrations-per-second = 1.0",
            ),
            ("labels.a = \"\"", ""),
            ("not TOML", ""),
        ] {
            assert!(
                classify(old, new).is_empty(),
                "{old} -> {new}: {:?}",
                classify(old, new)
            );
        }
    }

    #[test]
    fn tls_depends_on_what_is_turned_on() {
        let with = |object: &str, rest: &str| format!("[security.{object}]\n{rest}\n");
        let path = |object: &str, name: &str| format!("security.{object}.{name}");
        for (object, start) in [
            ("cluster-tls", true),
            ("server-http-tls", true),
            ("server-tls", false),
            ("sql-tls", false),
        ] {
            for name in ["ca", "cert", "key"] {
                let change = classify(&with(object, ""), &with(object, &format!("{name} = \"/a\"")));
                assert_eq!(
                    change.start.contains(&path(object, name)),
                    start,
                    "{object}.{name} on"
                );
                let change = classify(
                    &with(object, &format!("{name} = \"/a\"")),
                    &with(object, &format!("{name} = \"/b\"")),
                );
                assert!(
                    change.start.is_empty(),
                    "a new path of {object}.{name} is read by the running process"
                );
            }
        }
        let pinned = |ca: &str| {
            with(
                "server-http-tls",
                &format!("ca = \"{ca}\"\ncert-allowed-cn = [\"a\"]"),
            )
        };
        assert_change(
            &pinned("/a"),
            &pinned("/b"),
            &[],
            &[],
            &["security.server-http-tls.ca"],
            &[],
        );
        assert_change(
            "",
            "security.server-http-tls.skip-ca = true",
            &[],
            &[],
            &["security.server-http-tls.skip-ca"],
            &[],
        );
        assert_change(
            "",
            "security.sql-tls.skip-ca = true",
            &[],
            &["security.sql-tls.skip-ca"],
            &[],
            &[],
        );
    }
}
