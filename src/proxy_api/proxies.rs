//! What is known of the running TiProxies, by the UID of their Pod. A cache: everything in it is learned anew after a
//! restart of the operator.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::observation::{Answer, ConfigReading, Health, Observation, Reach};

/// How often a changed number of connections is told.
const CONNECTIONS_EVERY: SignedDuration = SignedDuration::from_secs(30);
/// So long without a failure, sessions move again.
const MIGRATIONS_RECOVER_AFTER: SignedDuration = SignedDuration::from_mins(10);
/// So long without a client less on TiDBs that none should be on, sessions do not move.
const MISPLACED_FOR: SignedDuration = SignedDuration::from_mins(1);
/// A TiProxy that did not answer so many times in a row is out of reach.
const MOST_FAILURES: u32 = 2;

/// What is known of one running TiProxy.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ProxyState {
    /// What it said last; `None` when it has not been asked yet.
    pub observation: Option<Observation>,
    /// How many clients are connected, as it is told to users: it changes at most every 30 s.
    pub connections: Option<u64>,
    /// Whether sessions can be moved to another TiDB.
    pub migrations: Migrations,
    /// Since when no client has been connected and none has connected; `None` when that is not so, or not known.
    pub quiet_since: Option<Timestamp>,
    /// Whether it runs with the configuration in its `ConfigMap`; `None` when that has not been compared.
    pub config: Option<ConfigReading>,
}

/// Whether sessions can be moved to another TiDB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Migrations {
    /// It has not been watched for long enough to tell.
    #[default]
    Unknown,
    /// None has failed for some time.
    Working,
    /// One failed a short time ago.
    Failing,
}

/// All of them. A clone is another handle of the same store.
#[derive(Clone, Debug, Default)]
pub struct Proxies(Arc<Mutex<HashMap<String, Record>>>);

impl Proxies {
    /// What is known of the TiProxy in the Pod of this UID.
    #[must_use]
    pub fn get(&self, pod_uid: &str) -> ProxyState {
        self.records()
            .get(pod_uid)
            .map(|record| record.state.clone())
            .unwrap_or_default()
    }

    /// How many clients were connected when the TiProxy in the Pod of this UID was asked last, if it answered.
    #[must_use]
    pub fn connections(&self, pod_uid: &str) -> Option<u64> {
        let records = self.records();
        let observation = records.get(pod_uid)?.state.observation.as_ref()?;
        observation.answer.as_ref()?.connections
    }

    /// What TiProxies said, for tests elsewhere.
    #[cfg(test)]
    pub(crate) fn of<'a>(answers: impl IntoIterator<Item = (&'a str, Answer)>) -> Self {
        let proxies = Self::default();
        for (pod_uid, answer) in answers {
            proxies.record(pod_uid, Some(answer), Timestamp::UNIX_EPOCH);
        }
        proxies
    }

    /// Takes what became of an attempt to ask. Returns whether its controller should look again.
    pub(super) fn record(&self, pod_uid: &str, answer: Option<Answer>, now: Timestamp) -> bool {
        let mut records = self.records();
        records.entry(pod_uid.to_owned()).or_default().take(answer, now)
    }

    /// Forgets all but these.
    pub(super) fn retain(&self, pod_uids: &HashSet<String>) {
        self.records().retain(|uid, _| pod_uids.contains(uid));
    }

    fn records(&self) -> MutexGuard<'_, HashMap<String, Record>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is known of one TiProxy, and what it takes to judge the next answer.
#[derive(Debug, Default)]
struct Record {
    state: ProxyState,
    failures: u32,
    connections_told: Option<Timestamp>,
    /// The failed migrations that were seen last.
    failed_migrations: Option<u64>,
    /// Since when none has failed.
    no_failure_since: Option<Timestamp>,
    /// The fewest clients that were seen on TiDBs where none should be, and since when it has not been fewer.
    misplaced: Option<(u64, Timestamp)>,
}

impl Record {
    fn take(&mut self, answer: Option<Answer>, now: Timestamp) -> bool {
        let before = self.relevant();
        if let Some(answer) = answer {
            self.failures = 0;
            self.take_migrations(&answer, now);
            self.take_connections(answer.connections, now);
            self.state.observation = Some(Observation {
                at: now,
                answer: Some(answer),
            });
        } else {
            self.failures = self.failures.saturating_add(1);
            // A single failure is no news.
            if self.failures >= MOST_FAILURES {
                self.take_connections(None, now);
                self.state.observation = Some(Observation {
                    at: now,
                    answer: None,
                });
            }
        }
        before != self.relevant()
    }

    fn take_connections(&mut self, connections: Option<u64>, now: Timestamp) {
        let is_early = self
            .connections_told
            .is_some_and(|told| now.duration_since(told) < CONNECTIONS_EVERY);
        if connections != self.state.connections && !is_early {
            self.state.connections = connections;
            self.connections_told = Some(now);
        }
    }

    fn take_migrations(&mut self, answer: &Answer, now: Timestamp) {
        let failed = answer.failed_migrations;
        // A TiProxy from v26 on does not even try where a TiDB has no certificate to sign sessions with.
        let does_not_move = self.does_not_move(answer.misplaced_connections(), now);
        let has_failed = match self.failed_migrations.replace(failed) {
            // What failed before we looked may be long ago.
            None => false,
            // The process has started anew, and counts from 0.
            Some(before) if failed < before => failed > 0,
            Some(before) => failed > before,
        };
        if has_failed || does_not_move {
            self.no_failure_since = Some(now);
            self.state.migrations = Migrations::Failing;
            return;
        }
        let since = *self.no_failure_since.get_or_insert(now);
        if now.duration_since(since) >= MIGRATIONS_RECOVER_AFTER {
            self.state.migrations = Migrations::Working;
        }
    }

    fn does_not_move(&mut self, misplaced: u64, now: Timestamp) -> bool {
        match self.misplaced {
            _ if misplaced == 0 => self.misplaced = None,
            Some((least, since)) if misplaced >= least => return now.duration_since(since) >= MISPLACED_FOR,
            Some(_) | None => self.misplaced = Some((misplaced, now)),
        }
        false
    }

    /// What decisions depend on.
    fn relevant(&self) -> Relevant {
        let observation = self.state.observation.as_ref();
        let answer = observation.and_then(|observation| observation.answer.as_ref());
        Relevant {
            was_asked: observation.is_some(),
            answer: answer.map(|answer| (answer.health.clone(), answer.reach())),
            connections: self.state.connections,
            migrations: self.state.migrations,
        }
    }
}

#[derive(PartialEq)]
struct Relevant {
    was_asked: bool,
    answer: Option<(Health, Reach)>,
    connections: Option<u64>,
    migrations: Migrations,
}

/// How long to wait before a TiProxy is asked again, when its last `asked` answers were alike: often at first, since
/// something has just changed, then every `interval`.
pub(super) fn delay_after(asked: u32, interval: Duration) -> Duration {
    const FIRST: Duration = Duration::from_secs(2);
    let delay = FIRST.saturating_mul(2_u32.saturating_pow(asked));
    delay.min(interval)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy_api::Backend;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn answer(connections: u64, failed_migrations: u64) -> Answer {
        Answer {
            health: Health::Healthy,
            connections: Some(connections),
            failed_migrations,
            ..Answer::default()
        }
    }

    #[test]
    fn only_what_decisions_depend_on_calls_the_controller() {
        let mut record = Record::default();
        let mut take = |answer: Option<Answer>, second: i64| record.take(answer, at(second));
        assert!(take(Some(answer(1, 0)), 0), "the first answer");
        assert!(!take(Some(answer(1, 0)), 1), "the same again");
        let mut more = answer(1, 0);
        more.created_connections = Some(7);
        assert!(!take(Some(more.clone()), 2), "what nobody decides by");
        more.backends.insert(
            "a".to_owned(),
            Backend {
                is_healthy: true,
                ..Backend::default()
            },
        );
        assert!(take(Some(more.clone()), 3), "a TiDB");
        more.backends.insert(
            "b".to_owned(),
            Backend {
                is_healthy: true,
                ..Backend::default()
            },
        );
        assert!(!take(Some(more.clone()), 4), "another one");
        assert!(!take(None, 5), "it does not answer once");
        assert!(take(None, 6), "it does not answer twice");
        assert!(!take(None, 7), "nor a third time");
        assert!(take(Some(more.clone()), 8), "it answers again");
        more.health = Health::Unhealthy { reason: None };
        assert!(take(Some(more), 9), "it is unhealthy");
    }

    #[test]
    fn connections_are_told_every_half_minute() {
        let mut record = Record::default();
        for (second, connections, told) in [
            (0, 5, Some(5)),
            (10, 6, Some(5)),
            (29, 7, Some(5)),
            (30, 8, Some(8)),
            (31, 8, Some(8)),
            (70, 9, Some(9)),
        ] {
            record.take(Some(answer(connections, 0)), at(second));
            assert_eq!(record.state.connections, told, "{second}");
        }
        record.take(None, at(110));
        assert_eq!(record.state.connections, Some(9), "one failure says nothing");
        record.take(None, at(111));
        assert_eq!(record.state.connections, None);
    }

    #[test]
    fn failed_migrations_are_told_when_they_grow_and_for_ten_minutes() {
        use Migrations::{Failing, Unknown, Working};
        let mut record = Record::default();
        for (second, failed, expected) in [
            (0, 7, Unknown),
            (30, 7, Unknown),
            (60, 8, Failing),
            (600, 8, Failing),
            (659, 8, Failing),
            (660, 8, Working),
            (700, 8, Working),
            // The process has started anew.
            (800, 0, Working),
            (830, 1, Failing),
            (1430, 1, Working),
            (1500, 0, Working),
        ] {
            record.take(Some(answer(0, failed)), at(second));
            assert_eq!(record.state.migrations, expected, "{second}");
        }
    }

    #[test]
    fn clients_that_stay_where_none_should_be_are_failed_migrations_too() {
        use Migrations::{Failing, Unknown};
        let with = |connections, fits| {
            let backend = |label_fits, connections| Backend {
                is_healthy: true,
                label_fits: Some(label_fits),
                connections,
            };
            let backends = [("a", backend(false, connections)), ("b", backend(fits, 100))];
            Answer {
                backends: backends
                    .map(|(address, backend)| (address.to_owned(), backend))
                    .into(),
                ..answer(0, 0)
            }
        };
        let mut record = Record::default();
        for (second, connections, fits, expected) in [
            // They leave one by one.
            (0, 50, true, Unknown),
            (50, 20, true, Unknown),
            (100, 5, true, Unknown),
            (130, 0, true, Unknown),
            // There is nowhere to go.
            (200, 5, false, Unknown),
            (300, 5, false, Unknown),
            (310, 5, true, Unknown),
            (340, 6, true, Unknown),
            (370, 5, true, Failing),
        ] {
            record.take(Some(with(connections, fits)), at(second));
            assert_eq!(record.state.migrations, expected, "{second}");
        }
    }

    #[test]
    fn proxies_are_known_until_their_pods_are_gone() {
        let proxies = Proxies::default();
        assert_eq!(proxies.get("a"), ProxyState::default());
        assert!(proxies.record("a", Some(answer(1, 0)), at(0)));
        assert!(proxies.record("b", Some(answer(2, 0)), at(0)));
        proxies.retain(&HashSet::from(["b".to_owned()]));
        assert_eq!(proxies.get("a"), ProxyState::default());
        assert_eq!(proxies.get("b").connections, Some(2));
    }

    #[test]
    fn a_change_is_followed_closely_and_rest_at_leisure() {
        let interval = Duration::from_secs(15);
        let delays: Vec<u64> = (0..6)
            .map(|asked| delay_after(asked, interval).as_secs())
            .collect();
        assert_eq!(delays, [2, 4, 8, 15, 15, 15]);
        assert_eq!(delay_after(u32::MAX, interval), interval);
        assert_eq!(delay_after(0, Duration::from_secs(1)), Duration::from_secs(1));
    }
}
