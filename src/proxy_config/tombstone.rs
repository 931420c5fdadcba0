//! What has to be written for keys that are gone.
//!
//! TiProxy merges a file into its running configuration, so a key that vanished from the file keeps its value until
//! the process ends. A tombstone is its default, written out; for a label it is `""`, which
//! TiProxy treats as no label.

use super::check;
use super::diagnosis::Diagnoses;
use super::key::Kind;
use super::key_table::KEYS;
use super::parse;
use super::tree::{self, Table, Value};
use super::write;

/// A configuration file for a process that has read another one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tombstones {
    /// The text to write.
    pub toml: String,
    /// The keys that stand in it only because a running process still has them, sorted.
    pub keys: Vec<String>,
}

/// The next file with a default for each key that the previous one had and the next one has not.
///
/// A tombstone of the previous file is kept: whether every process has read it yet is not known. They end with the
/// Pod, by rendering without them. Keys that TiProxy does not know leave no tombstone, and a previous text that
/// cannot be read leaves none at all. A next text that cannot be read is returned as it is.
#[must_use]
pub fn tombstones(previous_toml: &str, next_toml: &str) -> Tombstones {
    let unchanged = || Tombstones {
        toml: next_toml.to_owned(),
        keys: Vec::new(),
    };
    let (Some(previous), Some(mut next)) = (spelled(previous_toml), spelled(next_toml)) else {
        return unchanged();
    };
    let mut keys = Vec::new();
    for key in KEYS.iter().filter(|key| !key.dead) {
        let Some(before) = tree::get(&previous, key.path) else {
            continue;
        };
        if matches!(key.kind, Kind::Labels) {
            bury_labels(before.value.as_table(), &mut next, &mut keys);
        } else if tree::get(&next, key.path).is_none()
            && let Some(default) = key.default_value()
        {
            tree::set(
                &mut next,
                &key.path.split('.').collect::<Vec<_>>(),
                default.clone(),
            );
            keys.push(key.path.to_owned());
        }
    }
    if keys.is_empty() {
        return unchanged();
    }
    keys.sort();
    Tombstones {
        toml: write::document(&next),
        keys,
    }
}

fn bury_labels(before: Option<&Table>, next: &mut Table, keys: &mut Vec<String>) {
    for name in before.into_iter().flat_map(Table::keys) {
        let now = tree::get(next, "labels").and_then(|labels| labels.value.as_table());
        if !now.is_some_and(|labels| labels.contains_key(name)) {
            tree::set(next, &["labels", name], Value::text(""));
            keys.push(write::join("labels", name));
        }
    }
}

/// A file as a tree in TiProxy's spelling, whether or not its values are right.
pub(super) fn spelled(toml: &str) -> Option<Table> {
    let mut root = parse::rendered(toml)?;
    check::check(&mut root, &mut Diagnoses::default());
    Some(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn keys(previous: &str, next: &str) -> Vec<String> {
        let written = tombstones(previous, next);
        if written.keys.is_empty() {
            assert_eq!(written.toml, next);
        }
        written.keys
    }

    #[test]
    fn a_removed_key_gets_its_default_and_a_removed_label_nothing() {
        let previous = "labels = { group = \"a\", zone = \"b\" }\n\
                        [proxy]\nmax-connections = 5\nfail-backend-list = [\"a\"]\n\
                        [[proxy.backend-clusters]]\nname = \"a\"\npd-addrs = \"a:1\"\n\
                        [log]\nlevel = \"debug\"\n";
        let next = "labels.zone = \"b\"\nlog.level = \"debug\"";
        let written = tombstones(previous, next);
        let keys = [
            "labels.group",
            "proxy.backend-clusters",
            "proxy.fail-backend-list",
            "proxy.max-connections",
        ];
        assert_eq!(written.keys, keys);
        assert_eq!(
            written.toml,
            "[labels]\ngroup = \"\"\nzone = \"b\"\n\n[log]\nlevel = \"debug\"\n\n\
             [proxy]\nbackend-clusters = []\nfail-backend-list = []\nmax-connections = 0\n"
        );
    }

    #[test]
    fn a_tombstone_stays_until_it_is_rendered_without() {
        let first = tombstones("log.level = \"debug\"\nlabels.a = \"b\"", "");
        assert_eq!(first.keys, ["labels.a", "log.level"]);
        assert_eq!(tombstones(&first.toml, "").toml, first.toml);
        assert_eq!(keys(&first.toml, "log.level = \"warn\""), ["labels.a"]);
    }

    #[test]
    fn what_tiproxy_never_had_leaves_nothing() {
        assert_eq!(
            keys(
                "unknown = 1\nproxy.unknown = 2\nworkdir = \"a\"\nadvance.x = 1",
                ""
            ),
            [""; 0]
        );
        assert_eq!(keys("not TOML", "log.level = \"debug\""), [""; 0]);
        assert_eq!(keys("log.level = \"debug\"", "not TOML"), [""; 0]);
        assert_eq!(keys("", ""), [""; 0]);
        assert_eq!(keys("labels = 3\nlog = 4", ""), [""; 0]);
    }

    #[test]
    fn letter_case_makes_no_other_key() {
        assert_eq!(keys("Log.Level = \"debug\"", "log.level = \"info\""), [""; 0]);
        assert_eq!(keys("Log.Level = \"debug\"", ""), ["log.level"]);
        // TiProxy's map of labels does tell letter case apart.
        assert_eq!(keys("labels.A = \"x\"", "labels.a = \"x\""), ["labels.A"]);
    }
}
