//! Which TiDB a client gets: pure.

use std::collections::BTreeMap;

use crate::backend::Backend;
use crate::config::Config;

/// The factors of a policy, the most important first, with the score of each TiDB that is judged.
#[must_use]
pub fn factors(config: &Config) -> Vec<&'static str> {
    let mut factors = Vec::new();
    if !config.text("balance.label-name").is_empty() {
        factors.push("label");
    }
    factors.push("status");
    match config.text("balance.policy") {
        "location" => factors.extend(["location", "health", "memory", "cpu"]),
        "connection" => {}
        _ => factors.extend(["health", "memory", "cpu", "location"]),
    }
    factors.push("conn");
    factors
}

/// The score of a TiDB for a factor; 0 is best. Load is not simulated.
#[must_use]
pub fn score(config: &Config, backend: &Backend, factor: &str, connections: usize) -> usize {
    match factor {
        "label" => usize::from(!has_label(config, backend)),
        "status" => usize::from(!backend.healthy),
        "location" => {
            let own = config.label("zone");
            let same = own.is_empty() || backend.labels.get("zone").map(String::as_str) == Some(own);
            usize::from(!same)
        }
        "conn" => connections,
        _ => 0,
    }
}

/// Whether the label allows it. Without a name or a value of its own TiProxy allows every TiDB.
#[must_use]
pub fn has_label(config: &Config, backend: &Backend) -> bool {
    let name = config.text("balance.label-name");
    let own = config.label(name);
    name.is_empty() || own.is_empty() || backend.labels.get(name).map(String::as_str) == Some(own)
}

/// The TiDB for a new client.
#[must_use]
pub fn route<'a>(
    config: &Config,
    backends: &'a [Backend],
    connections: &BTreeMap<String, usize>,
) -> Option<&'a Backend> {
    let count = |backend: &Backend| connections.get(&backend.address).copied().unwrap_or(0);
    backends
        .iter()
        .filter(|backend| backend.healthy && has_label(config, backend))
        .min_by_key(|backend| {
            factors(config)
                .into_iter()
                .map(|factor| score(config, backend, factor, count(backend)))
                .collect::<Vec<_>>()
        })
}

/// Where the sessions of a TiDB should go, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Move {
    /// The TiDB that has them.
    pub from: String,
    /// The TiDB that should.
    pub to: String,
    /// The factor that says so.
    pub reason: &'static str,
}

/// The most urgent move. Only for the label and for TiDBs that are down: load is not simulated.
#[must_use]
pub fn rebalance(
    config: &Config,
    backends: &[Backend],
    connections: &BTreeMap<String, usize>,
) -> Option<Move> {
    let to = route(config, backends, connections)?;
    let occupied = |address: &String| connections.get(address).is_some_and(|count| *count > 0);
    let gone = connections
        .keys()
        .filter(|address| occupied(address))
        .find(|address| !backends.iter().any(|backend| backend.address == **address));
    let (from, reason) = if let Some(address) = gone {
        (address.clone(), "status")
    } else {
        let mut wrong = backends
            .iter()
            .filter(|backend| backend.address != to.address && occupied(&backend.address));
        wrong.find_map(|backend| {
            if !has_label(config, backend) {
                Some((backend.address.clone(), "label"))
            } else if backend.healthy {
                None
            } else {
                Some((backend.address.clone(), "status"))
            }
        })?
    };
    Some(Move {
        from,
        to: to.address.clone(),
        reason,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flags::Line;

    fn backend(address: &str, healthy: bool, group: &str) -> Backend {
        Backend {
            address: address.to_owned(),
            healthy,
            labels: BTreeMap::from([("group".to_owned(), group.to_owned())]),
            signed: true,
        }
    }

    fn config(text: &str) -> Config {
        Config::defaults(Line::V1_3).with(text, "").unwrap()
    }

    #[test]
    fn only_a_healthy_tidb_of_the_label_gets_clients() {
        let backends = [
            backend("a", true, "x"),
            backend("b", true, "y"),
            backend("c", false, "y"),
        ];
        let none = BTreeMap::new();
        let to = |text: &str| route(&config(text), &backends, &none).map(|backend| backend.address.as_str());
        assert_eq!(to(""), Some("a"));
        assert_eq!(
            to("labels.group = \"y\"\nbalance.label-name = \"group\""),
            Some("b")
        );
        assert_eq!(to("labels.group = \"z\"\nbalance.label-name = \"group\""), None);
        assert_eq!(
            to("balance.label-name = \"group\""),
            Some("a"),
            "without a value of its own all are open"
        );
    }

    #[test]
    fn sessions_leave_a_tidb_that_is_wrong_or_down() {
        let connections = BTreeMap::from([("a".to_owned(), 2)]);
        let moved = |text: &str, backends: &[Backend]| {
            rebalance(&config(text), backends, &connections).map(|found| (found.from, found.to, found.reason))
        };
        let label = "labels.group = \"y\"\nbalance.label-name = \"group\"";
        let both = [backend("a", true, "x"), backend("b", true, "y")];
        assert_eq!(
            moved(label, &both),
            Some(("a".to_owned(), "b".to_owned(), "label"))
        );
        assert_eq!(moved("", &both), None);
        let down = [backend("a", false, "x"), backend("b", true, "y")];
        assert_eq!(moved("", &down), Some(("a".to_owned(), "b".to_owned(), "status")));
        assert_eq!(
            moved("", &both[1..]),
            Some(("a".to_owned(), "b".to_owned(), "status"))
        );
        assert_eq!(moved("", &[]), None, "there is nowhere to go");
    }
}
