//! The distribution over topologies, for any weights, at each step of scaling.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;

use super::super::{Action, Change, Config, Health, Instance, Limits, Observed, Phase, plan};
use super::*;

fn now() -> Timestamp {
    Timestamp::from_second(1_000_000).unwrap()
}

fn zone(index: usize) -> Topology {
    [("topology.kubernetes.io/zone".to_owned(), format!("zone-{index}"))].into()
}

/// A group that does at once what the planner says.
struct Group(Observed);

impl Group {
    fn new(weights: &[u32]) -> Self {
        Self(Observed {
            replicas: 0,
            limits: Limits::new(1, 0),
            min_ready: Duration::ZERO,
            paused: false,
            may_create: true,
            may_roll: true,
            reserved_ordinals: [].into(),
            retained: [].into(),
            topologies: shares(weights),
            instances: Vec::new(),
        })
    }

    /// Scales, and lets the planner go on until it is done. `look` sees each step on the way.
    fn scale(&mut self, replicas: u32, mut look: impl FnMut(&[u32])) {
        self.0.replicas = replicas;
        self.settle(&mut look);
    }

    fn settle(&mut self, mut look: impl FnMut(&[u32])) {
        loop {
            let actions = plan(&self.0, now()).actions;
            if actions.is_empty() {
                return;
            }
            for action in actions {
                match action {
                    Action::Create { ordinal, topology } => {
                        self.0.instances.push(instance(ordinal, topology));
                    }
                    Action::Leave { target, .. } => self.0.instances.retain(|one| one.name != target.name),
                    Action::Revive { .. }
                    | Action::UpdateInPlace { .. }
                    | Action::Recreate { .. }
                    | Action::Remove { .. } => panic!("{action:?}"),
                }
                look(&self.counts());
            }
        }
    }

    fn counts(&self) -> Vec<u32> {
        let count = |share: &Share| {
            let there = self.0.instances.iter();
            let there = there.filter(|one| one.topology.as_ref() == Some(&share.topology));
            u32::try_from(there.count()).unwrap()
        };
        self.0.topologies.iter().map(count).collect()
    }
}

fn shares(weights: &[u32]) -> Vec<Share> {
    let share = |(index, weight): (usize, &u32)| Share {
        topology: zone(index),
        weight: *weight,
    };
    weights.iter().enumerate().map(share).collect()
}

fn instance(ordinal: u32, topology: Option<Topology>) -> Instance {
    Instance {
        name: format!("g-{ordinal}"),
        ordinal: Some(ordinal),
        uid: ordinal.to_string(),
        resource_version: "1".to_owned(),
        change: Change::None,
        phase: Phase::Active,
        health: Health::Ready { since: now() },
        topology,
        priority: None,
        connections: None,
        has_pod: true,
        drains: true,
        config: Config::InEffect,
    }
}

/// How far the topology that is furthest from its share is, in instances.
fn distance(weights: &[u32], counts: &[u32]) -> f64 {
    let (all, total) = (counts.iter().sum::<u32>(), weights.iter().sum::<u32>());
    let ideal = |weight: &u32| f64::from(all) * f64::from(*weight) / f64::from(total);
    let pairs = weights.iter().zip(counts);
    pairs
        .map(|(weight, count)| (f64::from(*count) - ideal(weight)).abs())
        .fold(0.0, f64::max)
}

/// The sum of the squared distances, each by its weight: what this method makes smallest among all distributions.
fn error(weights: &[u32], counts: &[u32]) -> f64 {
    let (all, total) = (counts.iter().sum::<u32>(), weights.iter().sum::<u32>());
    let pairs = weights.iter().zip(counts);
    pairs
        .map(|(weight, count)| {
            let ideal = f64::from(all) * f64::from(*weight) / f64::from(total);
            (f64::from(*count) - ideal).powi(2) / f64::from(*weight)
        })
        .sum()
}

/// All ways to put so many instances into so many topologies.
fn distributions(all: u32, topologies: usize) -> Vec<Vec<u32>> {
    if topologies == 1 {
        return vec![vec![all]];
    }
    (0..=all)
        .flat_map(|first| {
            let rest = distributions(all - first, topologies - 1);
            rest.into_iter().map(move |rest| [vec![first], rest].concat())
        })
        .collect()
}

fn is_nearest(weights: &[u32], counts: &[u32]) -> bool {
    let least = distributions(counts.iter().sum(), weights.len())
        .iter()
        .map(|counts| error(weights, counts))
        .fold(f64::INFINITY, f64::min);
    error(weights, counts) <= least + 1e-9
}

#[test]
fn equal_weights_are_never_more_than_one_apart() {
    for topologies in 1..=5 {
        let mut group = Group::new(&vec![1; topologies]);
        for replicas in (0..=12).chain((0..12).rev()) {
            group.scale(replicas, |counts| {
                let (least, most) = (counts.iter().min().unwrap(), counts.iter().max().unwrap());
                assert!(most - least <= 1, "{counts:?}");
            });
        }
    }
}

#[test]
fn one_way_out_and_the_same_way_back() {
    let expected = [
        [0, 0, 0],
        [1, 0, 0],
        [1, 1, 0],
        [1, 1, 1],
        [2, 1, 1],
        [2, 2, 1],
        [3, 2, 1],
        [4, 2, 1],
        [4, 3, 1],
        [4, 3, 2],
        [5, 3, 2],
        [5, 4, 2],
        [6, 4, 2],
    ];
    let mut group = Group::new(&[3, 2, 1]);
    for replicas in (0..=12).chain((0..12).rev()) {
        group.scale(replicas, |_| ());
        assert_eq!(group.counts(), expected[replicas as usize], "{replicas}");
    }
}

#[test]
fn a_whole_topology_is_never_forgotten_for_others_that_are_served() {
    // The weights are shares of the whole: at their sum, and at each multiple of it, they are met exactly.
    let weights = [7, 1, 4, 2, 1];
    let mut group = Group::new(&weights);
    for multiple in [1, 3, 2] {
        group.scale(15 * multiple, |_| ());
        assert_eq!(group.counts(), weights.map(|weight| weight * multiple));
    }
}

proptest! {
    /// Over three topologies, at every step of scaling out and in, none is a whole instance away from its share, and
    /// no other distribution is nearer to the weights.
    #[test]
    fn three_topologies_follow_their_weights_at_every_step(
        weights in prop::collection::vec(1..20_u32, 3),
        sizes in prop::collection::vec(0..=12_u32, 1..8),
    ) {
        let mut group = Group::new(&weights);
        let there_and_back = (0..=12).chain((0..12).rev());
        for replicas in there_and_back.chain(sizes) {
            let mut steps = Vec::new();
            group.scale(replicas, |counts| steps.push(counts.to_vec()));
            for counts in &steps {
                prop_assert!(distance(&weights, counts) < 1.0, "{weights:?}: {counts:?}");
                prop_assert!(is_nearest(&weights, counts), "{weights:?}: {counts:?}");
            }
            prop_assert_eq!(group.counts().iter().sum::<u32>(), replicas);
        }
    }

    /// With more topologies, and the greatest weights there are.
    #[test]
    fn many_topologies_follow_their_weights_at_every_step(
        weights in prop::collection::vec(1..=1000_u32, 1..6),
        sizes in prop::collection::vec(0..=9_u32, 1..5),
    ) {
        let mut group = Group::new(&weights);
        for replicas in sizes {
            let mut steps = Vec::new();
            group.scale(replicas, |counts| steps.push(counts.to_vec()));
            for counts in &steps {
                prop_assert!(is_nearest(&weights, counts), "{weights:?}: {counts:?}");
            }
        }
    }

    /// However the instances were placed before, a roll leads to the distribution that the weights ask for, and on the
    /// way the group is never emptier than it was.
    #[test]
    fn a_roll_leads_to_the_weights(
        weights in prop::collection::vec(1..6_u32, 1..4),
        before in prop::collection::vec(prop::option::of(0..5_usize), 1..10),
        surge in 1..4_u32,
    ) {
        let mut group = Group::new(&weights);
        let replicas = u32::try_from(before.len()).unwrap();
        group.0.limits = Limits::new(surge, 0);
        group.0.instances = before.iter().zip(0..).map(|(place, ordinal)| Instance {
            change: Change::Roll,
            ..instance(ordinal, place.map(zone))
        }).collect();
        let placed = group.counts().iter().sum::<u32>() == replicas;
        let ideal = placed && is_nearest(&weights, &group.counts());
        let mut steps = Vec::new();
        group.scale(replicas, |counts| steps.push(counts.to_vec()));
        prop_assert!(group.0.instances.iter().all(|one| one.change == Change::None));
        prop_assert_eq!(group.counts().iter().sum::<u32>(), replicas);
        prop_assert!(is_nearest(&weights, &group.counts()), "{weights:?}: {:?}", group.counts());
        // One that was right before is so again after each exchange.
        if ideal && surge == 1 {
            for counts in steps.iter().filter(|counts| counts.iter().sum::<u32>() == replicas) {
                prop_assert!(is_nearest(&weights, counts), "{weights:?}: {steps:?}");
            }
        }
    }

    /// Changed weights move nobody; the next scale-in takes those that are where none should be.
    #[test]
    fn other_topologies_move_nobody(
        weights in prop::collection::vec(1..6_u32, 1..4),
        places in prop::collection::vec(prop::option::of(0..5_usize), 1..10),
        less in 0..10_u32,
    ) {
        let mut group = Group::new(&weights);
        group.0.instances = places.iter().zip(0..).map(|(place, ordinal)| instance(ordinal, place.map(zone))).collect();
        let replicas = u32::try_from(places.len()).unwrap();
        let mut steps = 0;
        group.scale(replicas, |_| steps += 1);
        prop_assert_eq!(steps, 0);
        let strays = replicas - group.counts().iter().sum::<u32>();
        let placed = group.counts();
        group.scale(replicas.saturating_sub(less), |_| ());
        if less <= strays {
            prop_assert_eq!(group.counts(), placed);
        } else {
            prop_assert_eq!(group.counts().iter().sum::<u32>(), u32::try_from(group.0.instances.len()).unwrap());
        }
    }
}
