//! What is known of the running TiProxies, by the UID of their Pod. A cache: everything in it is learned anew after a
//! restart of the operator.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::observation::{Answer, ConfigReading, Health, Observation, Reach};
use super::question::{AskConfig, Question};

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
    /// Of one that leaves: since when no client has been connected and none has connected; `None` when that is not so,
    /// or not known. It is never before the Pod was known to leave.
    pub quiet_since: Option<Timestamp>,
    /// Whether it runs with the configuration in its `ConfigMap`; `None` when that has not been compared.
    pub config: Option<ConfigReading>,
}

impl ProxyState {
    /// What it said last; `None` when it has not been asked yet, or is out of reach.
    #[must_use]
    pub fn answer(&self) -> Option<&Answer> {
        self.observation.as_ref()?.answer.as_ref()
    }
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
        self.records().get(pod_uid)?.state.answer()?.connections
    }

    /// What TiProxies said, for tests elsewhere.
    #[cfg(test)]
    pub(crate) fn of<'a>(answers: impl IntoIterator<Item = (&'a str, Answer)>) -> Self {
        let proxies = Self::default();
        for (pod_uid, answer) in answers {
            let heard = Heard {
                answer,
                ..Heard::default()
            };
            proxies.record(pod_uid, false, Some(heard), Timestamp::UNIX_EPOCH);
        }
        proxies
    }

    /// What to ask the TiProxy in the Pod of this UID. `wanted` is the fingerprint of what it should run with.
    pub(super) fn question(&self, pod_uid: &str, leaves: bool, wanted: Option<&str>) -> Question {
        let records = self.records();
        let record = records.get(pod_uid);
        Question {
            leaves,
            has_no_override: record.is_some_and(|record| record.has_no_override),
            config: match (record, wanted) {
                (_, None) => AskConfig::Never,
                (Some(record), Some(wanted)) if record.runs_with(wanted) => {
                    AskConfig::UnlessChecksum(record.compared_checksum)
                }
                (_, Some(_)) => AskConfig::Always,
            },
        }
    }

    /// Takes what became of an attempt to ask. Returns whether its controller should look again.
    pub(super) fn record(&self, pod_uid: &str, leaves: bool, heard: Option<Heard>, now: Timestamp) -> bool {
        let mut records = self.records();
        records
            .entry(pod_uid.to_owned())
            .or_default()
            .take(leaves, heard, now)
    }

    /// Whether it is known to run with something else than this.
    pub(super) fn is_unsettled(&self, pod_uid: &str, wanted: Option<&str>) -> bool {
        let records = self.records();
        let record = records
            .get(pod_uid)
            .filter(|record| record.state.config.is_some());
        record
            .zip(wanted)
            .is_some_and(|(record, wanted)| !record.runs_with(wanted))
    }

    /// Forgets all but these.
    pub(super) fn retain(&self, pod_uids: &HashSet<String>) {
        self.records().retain(|uid, _| pod_uids.contains(uid));
    }

    fn records(&self) -> MutexGuard<'_, HashMap<String, Record>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What was heard of a TiProxy that answered.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard {
    /// Its health and its metrics.
    pub(super) answer: Answer,
    /// It turned out that its health cannot be overridden.
    pub(super) has_no_override: bool,
    /// What it runs with, if it was compared.
    pub(super) config: Option<ConfigReading>,
}

/// What is known of one TiProxy, and what it takes to judge the next answer.
#[derive(Debug, Default)]
struct Record {
    state: ProxyState,
    failures: u32,
    leaves: bool,
    /// Its health cannot be overridden; that is for its version to say, which a Pod keeps.
    has_no_override: bool,
    /// The checksum of what it ran with when that was compared.
    compared_checksum: Option<u64>,
    /// How many clients had ever connected when none was.
    quiet_at: Option<u64>,
    connections_told: Option<Timestamp>,
    /// The failed migrations that were seen last.
    failed_migrations: Option<u64>,
    /// Since when none has failed.
    no_failure_since: Option<Timestamp>,
    /// The fewest clients that were seen on TiDBs where none should be, and since when it has not been fewer.
    misplaced: Option<(u64, Timestamp)>,
}

impl Record {
    fn take(&mut self, leaves: bool, heard: Option<Heard>, now: Timestamp) -> bool {
        let before = self.relevant();
        self.leaves = leaves;
        if let Some(Heard {
            answer,
            has_no_override,
            config,
        }) = heard
        {
            self.failures = 0;
            self.has_no_override |= has_no_override;
            if config.is_some() {
                self.state.config = config;
                self.compared_checksum = answer.config_checksum;
            }
            self.take_migrations(&answer, now);
            self.take_connections(answer.connections, now);
            self.take_quiet(&answer, now);
            self.state.observation = Some(Observation {
                at: now,
                answer: Some(answer),
            });
        } else {
            self.failures = self.failures.saturating_add(1);
            // A single failure is no news.
            if self.failures >= MOST_FAILURES {
                self.take_connections(None, now);
                self.take_quiet(&Answer::default(), now);
                self.state.observation = Some(Observation {
                    at: now,
                    answer: None,
                });
            }
        }
        before != self.relevant()
    }

    /// The counter tells whether somebody came and went between two answers, also when one in between failed.
    fn take_quiet(&mut self, answer: &Answer, now: Timestamp) {
        let is_quiet = self.leaves && answer.connections == Some(0);
        let created = answer.created_connections.filter(|_| is_quiet);
        if created.is_none() || created != self.quiet_at {
            self.state.quiet_since = created.map(|_| now);
        }
        self.quiet_at = created;
    }

    /// Whether it was seen to run with this.
    fn runs_with(&self, wanted: &str) -> bool {
        let config = self.state.config.as_ref();
        config.is_some_and(|config| config.of == wanted && config.differing.is_empty())
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
        let answer = self.state.answer();
        Relevant {
            was_asked: self.state.observation.is_some(),
            answer: answer.map(|answer| (answer.health.clone(), answer.reach())),
            connections: self.state.connections,
            migrations: self.state.migrations,
            config: self.state.config.clone(),
            leaving: self.leaves.then(|| Leaving {
                has_connections: answer.map(|answer| answer.connections != Some(0)),
                is_quiet: self.state.quiet_since.is_some(),
            }),
        }
    }
}

#[derive(PartialEq)]
struct Relevant {
    was_asked: bool,
    answer: Option<(Health, Reach)>,
    connections: Option<u64>,
    migrations: Migrations,
    config: Option<ConfigReading>,
    leaving: Option<Leaving>,
}

/// What matters of one that leaves.
#[derive(PartialEq)]
struct Leaving {
    has_connections: Option<bool>,
    is_quiet: bool,
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

    fn heard(answer: Option<Answer>) -> Option<Heard> {
        let answer = answer?;
        Some(Heard {
            answer,
            ..Heard::default()
        })
    }

    #[test]
    fn only_what_decisions_depend_on_calls_the_controller() {
        let mut record = Record::default();
        let mut take = |answer: Option<Answer>, second: i64| record.take(false, heard(answer), at(second));
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
            record.take(false, heard(Some(answer(connections, 0))), at(second));
            assert_eq!(record.state.connections, told, "{second}");
        }
        record.take(false, None, at(110));
        assert_eq!(record.state.connections, Some(9), "one failure says nothing");
        record.take(false, None, at(111));
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
            record.take(false, heard(Some(answer(0, failed))), at(second));
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
            record.take(false, heard(Some(with(connections, fits))), at(second));
            assert_eq!(record.state.migrations, expected, "{second}");
        }
    }

    #[test]
    fn proxies_are_known_until_their_pods_are_gone() {
        let proxies = Proxies::default();
        assert_eq!(proxies.get("a"), ProxyState::default());
        assert!(proxies.record("a", false, heard(Some(answer(1, 0))), at(0)));
        assert!(proxies.record("b", false, heard(Some(answer(2, 0))), at(0)));
        proxies.retain(&HashSet::from(["b".to_owned()]));
        assert_eq!(proxies.get("a"), ProxyState::default());
        assert_eq!(proxies.get("b").connections, Some(2));
    }
    /// Which answers of one that leaves lead to which time since when it is quiet.
    #[test]
    fn one_that_leaves_is_quiet_while_nobody_is_there_and_nobody_comes() {
        let said = |connections, created| {
            Some(Answer {
                connections,
                created_connections: created,
                ..Answer::default()
            })
        };
        let (none, one) = (Some(0), Some(1));
        let mut record = Record::default();
        for (second, leaves, answer, quiet_since, is_news) in [
            (0, false, said(none, Some(4)), None, true),
            (10, false, said(none, Some(4)), None, false),
            // It counts from the first answer that is known to be from its leave.
            (20, true, said(none, Some(4)), Some(20), true),
            (21, true, said(none, Some(4)), Some(20), false),
            // Somebody came and went.
            (22, true, said(none, Some(5)), Some(22), false),
            // Somebody is there.
            (23, true, said(one, Some(6)), None, true),
            (24, true, said(Some(2), Some(7)), None, false),
            (25, true, said(none, Some(7)), Some(25), true),
            // One failure does not make it anew, whether somebody came meanwhile or not.
            (26, true, None, Some(25), false),
            (29, true, said(none, Some(7)), Some(25), false),
            (30, true, None, Some(25), false),
            (33, true, said(none, Some(8)), Some(33), false),
            // It is out of reach.
            (34, true, None, Some(33), false),
            (37, true, None, None, true),
            (40, true, said(none, Some(8)), Some(40), true),
            // A process that has just started.
            (41, true, said(none, Some(0)), Some(41), false),
            (42, true, said(none, Some(0)), Some(41), false),
            // It does not say.
            (43, true, said(None, Some(0)), None, true),
            (44, true, said(none, None), None, true),
            (45, true, said(none, Some(0)), Some(45), true),
            // It stays after all.
            (46, false, said(none, Some(0)), None, true),
            (47, false, said(one, Some(1)), None, false),
        ] {
            let before = record.state.connections;
            let news = record.take(leaves, heard(answer), at(second));
            assert_eq!(record.state.quiet_since, quiet_since.map(at), "{second}");
            // The number itself has its own pace.
            if before == record.state.connections {
                assert_eq!(news, is_news, "{second}");
            }
        }
    }

    #[test]
    fn the_configuration_is_asked_for_until_it_is_the_wanted_one() {
        let proxies = Proxies::default();
        let said = |checksum, config: Option<(&str, &[&str])>| {
            Some(Heard {
                answer: Answer {
                    config_checksum: Some(checksum),
                    ..Answer::default()
                },
                config: config.map(|(of, differing)| ConfigReading {
                    of: of.to_owned(),
                    differing: differing.iter().map(|key| (*key).to_owned()).collect(),
                }),
                ..Heard::default()
            })
        };
        let ask = |wanted| proxies.question("a", false, wanted).config;
        let unsettled = |wanted| proxies.is_unsettled("a", wanted);
        assert_eq!((ask(None), ask(Some("1"))), (AskConfig::Never, AskConfig::Always));
        assert!(!unsettled(Some("1")), "nothing is known yet");
        proxies.record("a", false, said(7, None), at(0));
        assert_eq!(ask(Some("1")), AskConfig::Always, "it did not say");
        assert!(!unsettled(Some("1")));
        assert!(proxies.record("a", false, said(7, Some(("1", &[]))), at(1)));
        assert_eq!(ask(Some("1")), AskConfig::UnlessChecksum(Some(7)));
        assert!(!unsettled(Some("1")) && unsettled(Some("2")) && !unsettled(None));
        assert!(!proxies.record("a", false, said(8, None), at(2)));
        assert_eq!(
            ask(Some("1")),
            AskConfig::UnlessChecksum(Some(7)),
            "still to be read"
        );
        assert_eq!(ask(Some("2")), AskConfig::Always);
        assert!(proxies.record("a", false, said(8, Some(("2", &["log.level"]))), at(3)));
        assert_eq!(ask(Some("2")), AskConfig::Always);
        assert!(unsettled(Some("2")));
        assert!(!proxies.record("a", false, said(8, Some(("2", &["log.level"]))), at(4)));
        assert!(proxies.record("a", false, said(9, Some(("2", &[]))), at(5)));
        assert_eq!(ask(Some("2")), AskConfig::UnlessChecksum(Some(9)));
        // What is known stays while it does not answer.
        proxies.record("a", false, None, at(6));
        proxies.record("a", false, None, at(7));
        assert!(proxies.get("a").config.is_some());
    }

    #[test]
    fn that_health_cannot_be_overridden_is_found_out_once() {
        let proxies = Proxies::default();
        let has_no_override = || proxies.question("a", true, None).has_no_override;
        assert!(!has_no_override());
        let found = Heard {
            has_no_override: true,
            ..Heard::default()
        };
        proxies.record("a", true, Some(found), at(0));
        assert!(has_no_override());
        proxies.record("a", true, heard(Some(Answer::default())), at(1));
        assert!(has_no_override());
        assert!(!proxies.question("b", true, None).has_no_override);
    }
}
