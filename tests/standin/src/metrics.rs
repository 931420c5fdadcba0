//! Metrics, in the text form that Prometheus reads.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;

/// Labels, in the order of their names.
type Labels = Vec<(&'static str, String)>;

/// All series. As with TiProxy a series is absent until something happened for it.
#[derive(Debug, Default)]
pub struct Metrics {
    series: Mutex<BTreeMap<&'static str, BTreeMap<Labels, f64>>>,
}

/// Gauges; what ends in `_total` and the others are counters.
const GAUGES: &[&str] = &[CONNECTIONS, BACKEND_STATUS, BACKEND_CONNECTIONS, SCORE, MAX_PROCS];

/// Connected clients.
pub const CONNECTIONS: &str = "tiproxy_server_connections";
/// Clients that ever came.
pub const CREATED: &str = "tiproxy_server_create_connection_total";
/// Clients that went, by reason.
pub const DISCONNECTED: &str = "tiproxy_server_disconnection_total";
/// Errors of the server, by type.
pub const ERRORS: &str = "tiproxy_server_err";
/// Starts and ends.
pub const EVENTS: &str = "tiproxy_server_event";
/// `GOMAXPROCS`.
pub const MAX_PROCS: &str = "tiproxy_server_maxprocs";
/// Whether a TiDB is healthy.
pub const BACKEND_STATUS: &str = "tiproxy_backend_b_status";
/// Whether a TiDB was found for a client.
pub const GET_BACKEND: &str = "tiproxy_backend_get_backend";
/// Clients of a TiDB.
pub const BACKEND_CONNECTIONS: &str = "tiproxy_balance_b_conn";
/// How bad a TiDB is, by factor.
pub const SCORE: &str = "tiproxy_balance_b_score";
/// Sessions that were, or were not, handed over to another TiDB.
pub const MIGRATIONS: &str = "tiproxy_balance_migrate_total";

impl Metrics {
    /// Adds to a series.
    pub fn add(&self, name: &'static str, labels: &[(&'static str, &str)], amount: f64) {
        self.change(name, labels, |value| *value += amount);
    }

    /// Sets a series.
    pub fn set(&self, name: &'static str, labels: &[(&'static str, &str)], value: f64) {
        self.change(name, labels, |current| *current = value);
    }

    /// Forgets all series of a name.
    pub fn clear(&self, name: &str) {
        if let Ok(mut series) = self.series.lock() {
            series.remove(name);
        }
    }

    fn change(&self, name: &'static str, labels: &[(&'static str, &str)], change: impl FnOnce(&mut f64)) {
        let mut labels: Labels = labels
            .iter()
            .map(|(label, value)| (*label, (*value).to_owned()))
            .collect();
        labels.sort_unstable();
        if let Ok(mut series) = self.series.lock() {
            change(series.entry(name).or_default().entry(labels).or_insert(0.0));
        }
    }

    /// The text that is scraped.
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        let Ok(series) = self.series.lock() else {
            return text;
        };
        for (name, values) in &*series {
            let kind = if GAUGES.contains(name) { "gauge" } else { "counter" };
            let _ = writeln!(
                text,
                "# HELP {name} As TiProxy's metric of this name.\n# TYPE {name} {kind}"
            );
            for (labels, value) in values {
                let labels: Vec<String> = labels
                    .iter()
                    .map(|(label, value)| format!("{label}={value:?}"))
                    .collect();
                let labels = if labels.is_empty() {
                    String::new()
                } else {
                    format!("{{{}}}", labels.join(","))
                };
                let _ = writeln!(text, "{name}{labels} {value}");
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn series_are_written_as_prometheus_reads_them() {
        let metrics = Metrics::default();
        metrics.set(CONNECTIONS, &[], 2.0);
        metrics.add(
            MIGRATIONS,
            &[("from", "a"), ("to", "b"), ("migrate_res", "fail")],
            1.0,
        );
        metrics.add(
            MIGRATIONS,
            &[("from", "a"), ("to", "b"), ("migrate_res", "fail")],
            1.0,
        );
        let text = metrics.render();
        assert!(
            text.contains("# TYPE tiproxy_server_connections gauge\ntiproxy_server_connections 2\n"),
            "{text}"
        );
        assert!(
            text.contains("tiproxy_balance_migrate_total{from=\"a\",migrate_res=\"fail\",to=\"b\"} 2\n"),
            "{text}"
        );
        metrics.clear(MIGRATIONS);
        assert!(!metrics.render().contains("migrate"));
    }
}
