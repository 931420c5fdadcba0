//! Which object is due when. Pure: no clock, no task.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::Hash;

use tokio::time::Instant;

/// Every item is in at most one place: waiting for a worker, running, or waiting for its time. An item that is added
/// while it runs is run once more afterwards.
#[derive(Debug)]
pub(crate) struct Schedule<T> {
    slots: HashMap<T, Slot>,
    waiting: VecDeque<T>,
    /// The number keeps items of the same time apart.
    timers: BTreeMap<(Instant, u64), T>,
    next_number: u64,
    adds: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Slot {
    Waiting,
    Running { again: bool },
    Timed { at: Instant, number: u64 },
}

impl<T> Default for Schedule<T> {
    fn default() -> Self {
        Self {
            slots: HashMap::new(),
            waiting: VecDeque::new(),
            timers: BTreeMap::new(),
            next_number: 0,
            adds: 0,
        }
    }
}

impl<T: Clone + Eq + Hash> Schedule<T> {
    /// Asks for a run as soon as possible.
    pub(crate) fn add(&mut self, item: T) {
        match self.slots.get_mut(&item) {
            Some(Slot::Waiting) => {}
            Some(Slot::Running { again }) => *again = true,
            Some(slot @ Slot::Timed { .. }) => {
                if let Slot::Timed { at, number } = *slot {
                    self.timers.remove(&(at, number));
                }
                *slot = Slot::Waiting;
                self.enqueue(item);
            }
            None => {
                self.slots.insert(item.clone(), Slot::Waiting);
                self.enqueue(item);
            }
        }
    }

    /// The item to run now, if there is one. It runs until [`Schedule::finish`].
    pub(crate) fn start(&mut self, now: Instant) -> Option<T> {
        while let Some(timer) = self.timers.first_entry().filter(|timer| timer.key().0 <= now) {
            let item = timer.remove();
            self.slots.insert(item.clone(), Slot::Waiting);
            self.enqueue(item);
        }
        let item = self.waiting.pop_front()?;
        self.slots.insert(item.clone(), Slot::Running { again: false });
        Some(item)
    }

    /// Ends a run. The next one is at `next`, or now if the item was added meanwhile.
    pub(crate) fn finish(&mut self, item: T, next: Option<Instant>) {
        if self.slots.remove(&item) == Some(Slot::Running { again: true }) {
            self.add(item);
        } else if let Some(at) = next {
            let number = self.next_number;
            self.next_number += 1;
            self.slots.insert(item.clone(), Slot::Timed { at, number });
            self.timers.insert((at, number), item);
        }
    }

    /// When the next timed item is due.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.timers.first_key_value().map(|((at, _), _)| *at)
    }

    /// How many items wait for a worker.
    pub(crate) fn depth(&self) -> usize {
        self.waiting.len()
    }

    /// How many items began to wait since the last call.
    pub(crate) fn take_adds(&mut self) -> u64 {
        std::mem::take(&mut self.adds)
    }

    fn enqueue(&mut self, item: T) {
        self.waiting.push_back(item);
        self.adds += 1;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn at(base: Instant, seconds: u64) -> Instant {
        base + Duration::from_secs(seconds)
    }

    #[test]
    fn an_item_waits_once_and_items_run_in_the_order_of_their_adding() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        for item in ["a", "b", "a"] {
            schedule.add(item);
        }
        assert_eq!(
            (schedule.depth(), schedule.take_adds(), schedule.take_adds()),
            (2, 2, 0)
        );
        assert_eq!(
            [schedule.start(now), schedule.start(now), schedule.start(now)],
            [Some("a"), Some("b"), None]
        );
    }

    #[test]
    fn an_item_that_is_added_while_it_runs_runs_once_more_and_never_twice_at_once() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        schedule.add("a");
        assert_eq!(schedule.start(now), Some("a"));
        schedule.add("a");
        schedule.add("a");
        assert_eq!(schedule.start(now), None);
        schedule.finish("a", Some(at(now, 60)));
        assert_eq!(schedule.start(now), Some("a"));
        schedule.finish("a", None);
        assert_eq!((schedule.start(now), schedule.next_due()), (None, None));
        assert!(schedule.slots.is_empty());
    }

    #[test]
    fn a_recheck_comes_in_its_time_and_an_event_comes_before_it() {
        let (mut schedule, now) = (Schedule::default(), Instant::now());
        for item in ["a", "b"] {
            schedule.add(item);
            schedule.start(now);
            schedule.finish(item, Some(at(now, 60)));
        }
        assert_eq!(
            (schedule.start(at(now, 59)), schedule.next_due()),
            (None, Some(at(now, 60)))
        );
        schedule.add("b");
        assert_eq!(schedule.start(at(now, 59)), Some("b"));
        schedule.finish("b", None);
        assert_eq!(schedule.start(at(now, 60)), Some("a"));
        assert_eq!(schedule.start(at(now, 60)), None);
    }

    proptest! {
        /// Whatever happens, what was added runs, nothing runs twice at once, and nothing is left behind.
        #[test]
        fn nothing_is_lost_and_nothing_runs_twice_at_once(steps in prop::collection::vec((0_u8..4, 0_u8..3), 0..200)) {
            let mut schedule = Schedule::default();
            let mut now = Instant::now();
            let mut running = Vec::new();
            let mut owed = std::collections::HashSet::new();
            for (step, item) in steps {
                match step {
                    0 => { schedule.add(item); owed.insert(item); }
                    1 => if let Some(item) = schedule.start(now) {
                        prop_assert!(!running.contains(&item));
                        owed.remove(&item);
                        running.push(item);
                    },
                    2 => if let Some(item) = running.pop() {
                        schedule.finish(item, Some(at(now, u64::from(item))));
                    },
                    _ => now = at(now, 1),
                }
            }
            while let Some(item) = running.pop() {
                schedule.finish(item, None);
            }
            while let Some(item) = schedule.start(at(now, 1000)) {
                owed.remove(&item);
                schedule.finish(item, None);
            }
            prop_assert!(owed.is_empty());
            prop_assert!(schedule.slots.is_empty() && schedule.timers.is_empty());
        }
    }
}
