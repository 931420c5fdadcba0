//! What a TiProxy says of itself. Data only.

use std::collections::BTreeMap;

use k8s_openapi::jiff::Timestamp;

/// What became of the last attempt to ask a TiProxy.
#[derive(Clone, Debug, PartialEq)]
pub struct Observation {
    /// When.
    pub at: Timestamp,
    /// What it said; `None` when it was not reached several times in a row.
    pub answer: Option<Answer>,
}

/// What a TiProxy said.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Answer {
    /// Whether it calls itself healthy.
    pub health: Health,
    /// How many clients are connected.
    pub connections: Option<u64>,
    /// How many clients have connected since it started.
    pub created_connections: Option<u64>,
    /// The TiDBs that it knows, by address: those that were healthy once.
    pub backends: BTreeMap<String, Backend>,
    /// How many sessions could not be moved to another TiDB since it started.
    pub failed_migrations: u64,
    /// What it calls the configuration that it runs with: another number is another configuration.
    pub config_checksum: Option<u64>,
}

/// Whether a TiProxy runs with the configuration in its `ConfigMap`, by what it said of what it runs with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigReading {
    /// The [`fingerprint`](crate::proxy_config::fingerprint) of the configuration that it was compared with.
    pub of: String,
    /// The keys of that configuration that it does not run with.
    pub differing: Vec<String>,
}

/// Whether a TiProxy calls itself healthy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// It is about to start.
    #[default]
    Starting,
    /// It knows a healthy TiDB, whatever its labels are.
    Healthy,
    /// It wants no clients.
    Unhealthy {
        /// Why; versions before v26.3.1 do not say.
        reason: Option<String>,
    },
}

impl Health {
    /// What TiProxy answers when it knows no healthy TiDB.
    const NO_BACKEND: &str = "server is not ready";
    /// The reason that the operator gives when it marks a TiProxy that leaves.
    pub const MARK: &str = "leaving: tiproxy-operator";

    /// Whether it knows no healthy TiDB. An older TiProxy says the same when it is about to end.
    #[must_use]
    pub fn has_no_backend(&self) -> bool {
        match self {
            Self::Unhealthy { reason } => reason.as_deref().is_none_or(|reason| reason == Self::NO_BACKEND),
            Self::Starting | Self::Healthy => false,
        }
    }

    /// Whether it is unhealthy because the operator has marked it as one that leaves.
    #[must_use]
    pub fn is_marked(&self) -> bool {
        match self {
            Self::Unhealthy { reason } => reason.as_deref() == Some(Self::MARK),
            Self::Starting | Self::Healthy => false,
        }
    }
}

/// A TiDB as a TiProxy sees it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backend {
    /// Whether it answers.
    pub is_healthy: bool,
    /// Whether its label is the one that TiProxy asks for, where it has compared them: it does when it routes a
    /// client, and every few seconds while it knows several TiDBs. A TiProxy that asks for no label says nothing.
    pub label_fits: Option<bool>,
    /// How many clients are connected to it through this TiProxy.
    pub connections: u64,
}

/// Which TiDBs there are, as far as decisions depend on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says whether there is one of a sort, independently of the others"
)]
pub struct Reach {
    /// There is, or was, one.
    pub any_known: bool,
    /// One is healthy, and its label fits.
    pub any_fits: bool,
    /// One is healthy, and its label does not fit.
    pub any_differs: bool,
    /// One is healthy, and its label was not compared.
    pub any_unjudged: bool,
}

impl Reach {
    /// Whether a TiDB is healthy.
    #[must_use]
    pub fn any_healthy(self) -> bool {
        self.any_fits || self.any_differs || self.any_unjudged
    }
}

impl Answer {
    /// Which TiDBs there are.
    #[must_use]
    pub fn reach(&self) -> Reach {
        let mut reach = Reach {
            any_known: !self.backends.is_empty(),
            ..Reach::default()
        };
        for backend in self.backends.values().filter(|backend| backend.is_healthy) {
            match backend.label_fits {
                Some(true) => reach.any_fits = true,
                Some(false) => reach.any_differs = true,
                None => reach.any_unjudged = true,
            }
        }
        reach
    }
}

impl Answer {
    /// How many clients are connected to TiDBs whose label does not fit, while there is one whose label does: they
    /// should be moved there.
    #[must_use]
    pub fn misplaced_connections(&self) -> u64 {
        if !self.reach().any_fits {
            return 0;
        }
        let misplaced = self
            .backends
            .values()
            .filter(|backend| backend.label_fits == Some(false));
        misplaced.fold(0, |sum, backend| sum.saturating_add(backend.connections))
    }
}

#[cfg(test)]
impl Answer {
    /// Of TiDBs without connections, by whether each is healthy and its label fits.
    pub(crate) fn of_backends(backends: &[(bool, Option<bool>)]) -> Self {
        let backends = backends
            .iter()
            .enumerate()
            .map(|(number, (is_healthy, label_fits))| {
                let backend = Backend {
                    is_healthy: *is_healthy,
                    label_fits: *label_fits,
                    connections: 0,
                };
                (number.to_string(), backend)
            });
        Self {
            backends: backends.collect(),
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_healthy_backends_can_be_reached() {
        for (backends, known, fits, differs, unjudged) in [
            (&[][..], false, false, false, false),
            (&[(false, Some(true))], true, false, false, false),
            (&[(true, None)], true, false, false, true),
            (
                &[(true, Some(true)), (true, Some(false)), (true, None)],
                true,
                true,
                true,
                true,
            ),
        ] {
            let reach = Reach {
                any_known: known,
                any_fits: fits,
                any_differs: differs,
                any_unjudged: unjudged,
            };
            assert_eq!(Answer::of_backends(backends).reach(), reach, "{backends:?}");
            assert_eq!(reach.any_healthy(), fits || differs || unjudged);
        }
    }

    #[test]
    fn a_proxy_that_is_kept_from_clients_or_ends_does_not_lack_backends() {
        let unhealthy = |reason: Option<&str>| Health::Unhealthy {
            reason: reason.map(ToOwned::to_owned),
        };
        for (health, lacks) in [
            (Health::Starting, false),
            (Health::Healthy, false),
            (unhealthy(None), true),
            (unhealthy(Some("server is not ready")), true),
            (unhealthy(Some("server is closing")), false),
            (unhealthy(Some(Health::MARK)), false),
        ] {
            assert_eq!(health.has_no_backend(), lacks, "{health:?}");
        }
    }
}
