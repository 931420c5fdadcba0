//! Which key a user may have meant.

use super::index::{self, Known};
use super::key_table::KEYS;
use super::write;

/// The largest number of changed characters between a misspelt name and the one that is meant.
const MAX_DISTANCE: usize = 2;

/// The known key, or section, that is nearest to an unknown path: misspelt, or right but in the wrong section.
pub(crate) fn nearest(path: &str) -> Option<String> {
    let (section, name) = path.rsplit_once('.').unwrap_or(("", path));
    let name = name.to_ascii_lowercase().replace('_', "-");
    let sibling = index::children(section)
        .iter()
        .filter(|(_, known)| !matches!(known, Known::Key(key) if key.dead))
        .map(|(sibling, _)| (distance(&name, sibling), *sibling))
        .filter(|(distance, sibling)| *distance <= MAX_DISTANCE && *distance < sibling.len() / 2 + 1)
        .min();
    if let Some((_, sibling)) = sibling {
        return Some(write::join(section, sibling));
    }
    let mut elsewhere = KEYS
        .iter()
        .filter(|key| !key.dead && key.path.rsplit('.').next() == Some(&name));
    match (elsewhere.next(), elsewhere.next()) {
        (Some(key), None) => Some(key.path.to_owned()),
        (Some(_) | None, _) => None,
    }
}

/// The Levenshtein distance, or something above [`MAX_DISTANCE`] where the lengths alone show that it is larger.
fn distance(left: &str, right: &str) -> usize {
    if left.len().abs_diff(right.len()) > MAX_DISTANCE {
        return MAX_DISTANCE + 1;
    }
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (index, one) in left.bytes().enumerate() {
        let mut diagonal = index;
        let mut before = index + 1;
        if let Some(first) = row.first_mut() {
            *first = before;
        }
        for (other, cell) in right.bytes().zip(row.iter_mut().skip(1)) {
            let replaced = diagonal + usize::from(one != other);
            diagonal = *cell;
            before = replaced.min(diagonal + 1).min(before + 1);
            *cell = before;
        }
    }
    row.last().copied().unwrap_or(left.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn misspelt_and_misplaced_keys_are_found() {
        for (path, nearest_) in [
            ("proxy.max-conections", Some("proxy.max-connections")),
            ("proxy.max_connections", Some("proxy.max-connections")),
            ("max-connections", Some("proxy.max-connections")),
            ("balance.label", None),
            ("label", Some("labels")),
            ("log.log-flie", Some("log.log-file")),
            ("balence", Some("balance")),
            ("security.server-tls.cret", Some("security.server-tls.cert")),
            // In four tables: which is meant cannot be told.
            ("cert", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(path).as_deref(), nearest_, "{path}");
        }
    }

    #[test]
    fn the_distance_is_that_of_levenshtein() {
        for (left, right, expected) in [
            ("", "", 0),
            ("a", "", 1),
            ("ab", "ba", 2),
            ("cert", "cret", 2),
            ("cat", "cut", 1),
            ("a", "abcd", 3),
        ] {
            assert_eq!(distance(left, right), expected, "{left} {right}");
        }
    }
}
