//! Who is asked when.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use tokio::time::Instant;

use super::target::{State, Target};

/// How often one that leaves is asked.
const LEAVING: Duration = Duration::from_secs(1);
/// How soon one that leaves and does not answer is asked again.
const LEAVING_UNANSWERED: Duration = Duration::from_secs(3);
/// How often one is asked that should take over another configuration,
const SETTLING: Duration = Duration::from_millis(1500);
/// and for how long. It needs two seconds once it has the file.
const SETTLING_FOR: Duration = Duration::from_secs(20);

/// Who is asked when.
#[derive(Debug, Default)]
pub(super) struct Schedule(HashMap<String, Entry>);

#[derive(Debug)]
struct Entry {
    next: Instant,
    is_running: bool,
    /// How many answers in a row were alike.
    asked: u32,
    /// Since when it does not run with the configuration that it should.
    unsettled_since: Option<Instant>,
    state: State,
}

/// What an attempt to ask says about the next one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Outcome {
    /// It answered.
    pub(super) answered: bool,
    /// Something has changed.
    pub(super) is_news: bool,
    /// How closely it has to be followed.
    pub(super) attention: Attention,
}

/// How closely a TiProxy has to be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attention {
    /// As always.
    Usual,
    /// It runs with another configuration than it should.
    Settling,
    /// Each second counts: it leaves, or is to take back that it does.
    Urgent,
}

impl Schedule {
    /// Takes in who is there. A new one, and one whose state changed, is asked at once.
    pub(super) fn follow(&mut self, targets: &[Target], now: Instant) {
        let known: HashSet<&str> = targets.iter().map(|target| target.pod_uid.as_str()).collect();
        self.0.retain(|uid, _| known.contains(uid.as_str()));
        for target in targets {
            match self.0.get_mut(&target.pod_uid) {
                Some(entry) if entry.state == target.state => {}
                Some(entry) => {
                    entry.next = now;
                    entry.asked = 0;
                    entry.unsettled_since = None;
                    entry.state = target.state.clone();
                }
                None => {
                    let entry = Entry {
                        next: now,
                        is_running: false,
                        asked: 0,
                        unsettled_since: None,
                        state: target.state.clone(),
                    };
                    self.0.insert(target.pod_uid.clone(), entry);
                }
            }
        }
    }

    /// Those of them that are due, the one that has waited longest first: with many, none waits for ever.
    pub(super) fn due(&self, targets: Vec<Target>, now: Instant) -> Vec<Target> {
        let since = |target: &Target| {
            let entry = self.0.get(&target.pod_uid)?;
            entry.is_due(now).then_some(entry.next)
        };
        let mut due: Vec<(Instant, Target)> = targets
            .into_iter()
            .filter_map(|target| Some((since(&target)?, target)))
            .collect();
        due.sort_by_key(|(since, _)| *since);
        due.into_iter().map(|(_, target)| target).collect()
    }

    /// Whether it is due; from then on it is being asked.
    pub(super) fn start(&mut self, pod_uid: &str, now: Instant) -> bool {
        let Some(entry) = self.0.get_mut(pod_uid).filter(|entry| entry.is_due(now)) else {
            return false;
        };
        // Until the answer is there; a change of its state in between makes it due again.
        entry.is_running = true;
        entry.next = now + Duration::from_hours(24);
        true
    }

    /// It was asked.
    pub(super) fn finish(
        &mut self,
        pod_uid: &str,
        outcome: Outcome,
        most: Duration,
        spread: impl Fn(Duration) -> Duration,
        now: Instant,
    ) {
        let Some(entry) = self.0.get_mut(pod_uid) else {
            return;
        };
        entry.is_running = false;
        let delay = entry.delay(outcome, most, now);
        entry.next = entry.next.min(now + spread(delay));
    }
}

impl Entry {
    fn is_due(&self, now: Instant) -> bool {
        !self.is_running && self.next <= now
    }

    fn delay(&mut self, outcome: Outcome, most: Duration, now: Instant) -> Duration {
        let is_unsettled = outcome.attention == Attention::Settling;
        self.unsettled_since = is_unsettled.then(|| self.unsettled_since.unwrap_or(now));
        let settles = self
            .unsettled_since
            .is_some_and(|since| now.duration_since(since) < SETTLING_FOR);
        let close = match (outcome.attention, outcome.answered) {
            (Attention::Urgent, true) => Some(LEAVING),
            (Attention::Urgent, false) => Some(LEAVING_UNANSWERED),
            (Attention::Settling, true) if settles => Some(SETTLING),
            (Attention::Settling | Attention::Usual, _) => None,
        };
        // What follows begins anew.
        self.asked = if outcome.is_news || close.is_some() {
            0
        } else {
            self.asked.saturating_add(1)
        };
        close.map_or_else(|| delay_after(self.asked, most), |close| close.min(most))
    }
}

/// How long to wait before a TiProxy is asked again, when its last `asked` answers were alike: often at first, since
/// something has just changed, then every `interval`.
fn delay_after(asked: u32, interval: Duration) -> Duration {
    const FIRST: Duration = Duration::from_secs(2);
    let delay = FIRST.saturating_mul(2_u32.saturating_pow(asked));
    delay.min(interval)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy_api::client::Endpoint;
    use kube::runtime::reflector::ObjectRef;

    const MOST: Duration = Duration::from_secs(15);

    fn target(pod_uid: &str, state: State) -> Target {
        Target {
            pod_uid: pod_uid.to_owned(),
            instance: ObjectRef::new("web-0").within("ns"),
            endpoint: Endpoint {
                address: "127.0.0.1:3080".parse().unwrap(),
                tls: false,
            },
            state,
            wanted: None,
        }
    }

    fn ready(pod_uid: &str, is_ready: bool) -> Target {
        let state = State {
            is_ready,
            ..State::default()
        };
        target(pod_uid, state)
    }

    const ALIKE: Outcome = Outcome {
        answered: true,
        is_news: false,
        attention: Attention::Usual,
    };
    const NEWS: Outcome = Outcome {
        is_news: true,
        ..ALIKE
    };

    /// When one is asked within these seconds, by what comes of it in each.
    fn asked(seconds: u64, outcome: impl Fn(u64) -> Outcome) -> Vec<u64> {
        let begin = Instant::now();
        let mut schedule = Schedule::default();
        let mut asked = Vec::new();
        for second in 0..seconds {
            let now = after(begin, second);
            schedule.follow(&[ready("a", true)], now);
            if schedule.start("a", now) {
                asked.push(second);
                assert!(!schedule.start("a", after(now, 100)), "it is being asked");
                schedule.finish("a", outcome(second), MOST, |delay| delay, now);
            }
        }
        asked
    }

    fn after(start: Instant, seconds: u64) -> Instant {
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn each_one_is_asked_at_once_then_at_growing_intervals() {
        let found = asked(60, |second| if second == 0 { NEWS } else { ALIKE });
        assert_eq!(found, [0, 2, 6, 14, 29, 44, 59]);
    }

    #[test]
    fn one_that_leaves_is_asked_every_second_or_three_when_it_does_not_answer() {
        let found = asked(20, |second| Outcome {
            answered: !(4..10).contains(&second),
            is_news: false,
            attention: if second < 12 {
                Attention::Urgent
            } else {
                Attention::Usual
            },
        });
        assert_eq!(found, [0, 1, 2, 3, 4, 7, 10, 11, 12, 16]);
    }

    #[test]
    fn a_configuration_is_waited_for_closely_for_twenty_seconds() {
        let found = asked(120, |second| Outcome {
            attention: if second < 100 {
                Attention::Settling
            } else {
                Attention::Usual
            },
            ..ALIKE
        });
        let close: Vec<u64> = (0..=20).step_by(2).collect();
        assert_eq!(found, [&close[..], &[24, 32, 47, 62, 77, 92, 107]].concat());
        let found = asked(30, |second| Outcome {
            answered: second == 0,
            attention: Attention::Settling,
            ..ALIKE
        });
        assert_eq!(
            found,
            [0, 2, 6, 14, 29],
            "one that does not answer is left in peace"
        );
    }

    #[test]
    fn a_change_of_the_pod_makes_it_due_also_while_it_is_being_asked() {
        let begin = Instant::now();
        let mut schedule = Schedule::default();
        schedule.follow(&[ready("a", false)], begin);
        assert!(schedule.start("a", begin));
        schedule.follow(&[ready("a", true)], begin);
        assert!(!schedule.start("a", begin), "one at a time");
        schedule.finish("a", ALIKE, MOST, |delay| delay, begin);
        assert!(schedule.start("a", begin), "the answer is older than the change");
        schedule.finish("a", ALIKE, MOST, |delay| delay, begin);
        assert!(!schedule.start("a", begin));
        for state in [
            State {
                leaves: true,
                ..State::default()
            },
            State {
                config_hash: Some("a".to_owned()),
                ..State::default()
            },
            State {
                config_version: Some("1".to_owned()),
                ..State::default()
            },
        ] {
            schedule.follow(&[target("a", state)], begin);
            assert!(schedule.start("a", begin));
            schedule.finish("a", ALIKE, MOST, |delay| delay, begin);
        }
    }

    #[test]
    fn who_has_waited_longest_is_asked_first() {
        let begin = Instant::now();
        let mut schedule = Schedule::default();
        let all = ["a", "b", "c", "d"].map(|uid| ready(uid, true));
        schedule.follow(&all[1..], begin);
        for uid in ["b", "c"] {
            assert!(schedule.start(uid, begin));
        }
        schedule.finish("b", ALIKE, MOST, |_| Duration::from_secs(9), begin);
        schedule.follow(&all, after(begin, 5));
        let due = |second| {
            let due = schedule.due(all.to_vec(), after(begin, second));
            due.into_iter().map(|target| target.pod_uid).collect::<Vec<_>>()
        };
        assert_eq!(due(5), ["d", "a"]);
        assert_eq!(due(20), ["d", "a", "b"], "c is being asked");
    }

    #[test]
    fn who_is_gone_is_forgotten() {
        let begin = Instant::now();
        let mut schedule = Schedule::default();
        schedule.follow(&[ready("a", true), ready("b", true)], begin);
        assert!(schedule.start("a", begin));
        schedule.follow(&[ready("b", true)], begin);
        assert!(!schedule.start("a", begin));
        schedule.finish("a", NEWS, MOST, |delay| delay, begin);
        assert_eq!(schedule.0.len(), 1);
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
