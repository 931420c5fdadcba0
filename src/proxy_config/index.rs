//! The key table as a tree: what stands under a section.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use super::key::{Key, Kind};
use super::key_table::KEYS;

/// What TiProxy knows under a name of a section.
#[derive(Debug, Clone, Copy)]
pub(super) enum Known {
    /// A key.
    Key(&'static Key),
    /// A table that only holds further tables and keys; its path.
    Section(&'static str),
}

type Children = Vec<(&'static str, Known)>;

/// The children of each section, by its path. The root is `""`.
static SECTIONS: LazyLock<BTreeMap<&'static str, Children>> = LazyLock::new(|| {
    let mut sections: BTreeMap<&'static str, Children> = BTreeMap::new();
    for key in KEYS {
        let mut child = (key.path, Known::Key(key));
        while let Some((path, known)) = Some(child) {
            let (section, name) = path.rsplit_once('.').unwrap_or(("", path));
            let siblings = sections.entry(section).or_default();
            if siblings.iter().any(|(sibling, _)| *sibling == name) {
                break;
            }
            siblings.push((name, known));
            if section.is_empty() {
                break;
            }
            child = (section, Known::Section(section));
        }
    }
    sections
});

/// The names under a section and what they stand for.
pub(super) fn children(section: &str) -> &'static [(&'static str, Known)] {
    SECTIONS.get(section).map_or(&[], Vec::as_slice)
}

/// The live key of a path.
pub(super) fn find(path: &str) -> Option<&'static Key> {
    let (section, name) = path.rsplit_once('.').unwrap_or(("", path));
    match children(section).iter().find(|(child, _)| *child == name)? {
        (_, Known::Key(key)) if !key.dead => Some(key),
        (_, Known::Key(_) | Known::Section(_)) => None,
    }
}

/// Whether a path is that of a table which holds known keys, or of the labels.
pub(super) fn is_table(path: &str) -> bool {
    SECTIONS.contains_key(path) || find(path).is_some_and(|key| matches!(key.kind, Kind::Labels))
}

/// Whether a path is that of a known array of tables.
pub(super) fn is_array_of_tables(path: &str) -> bool {
    find(path).is_some_and(|key| matches!(key.kind, Kind::BackendClusters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_found_and_nothing_else() {
        for key in KEYS {
            assert_eq!(find(key.path).is_some(), !key.dead, "{}", key.path);
        }
        for path in [
            "",
            "proxy",
            "proxy.",
            "proxy.x",
            "log.log-file",
            "x.addr",
            "labels.x",
            "workdir",
        ] {
            assert!(find(path).is_none(), "{path}");
        }
        for (path, table) in [
            ("proxy", true),
            ("log.log-file", true),
            ("labels", true),
            ("log.level", false),
            ("x", false),
        ] {
            assert_eq!(is_table(path), table, "{path}");
        }
        assert!(is_array_of_tables("proxy.backend-clusters") && !is_array_of_tables("proxy.addr"));
    }
}
