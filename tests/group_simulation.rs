//! The planner against a simulated cluster: instances become ready, fail, starve, drain and get lost, users edit, scale and
//! delete, the planner crashes in the middle of its actions and looks at an old view. The rules of
//! `tiproxy_operator::group::plan` are checked by an oracle of its own on every plan and every write, and after the
//! trouble the group must reach its goal and stay there.
//!
//! **What a view is.** The state as it was some writes ago, never older than a view that was used before, and never
//! without the planner's own writes (the real caches are read-your-writes). On such views (a) holds against the true
//! state. (b) is judged on the view: whatever availability the planner cannot know of yet is not something that it
//! takes away. Own writes are needed for both: a planner that does not see the instance 4 it made, and does see that
//! a user's deletion of 0 is complete, makes a second one. Names that collide and preconditions that fail are enough
//! for (c) and for the way to the goal, which a second run shows.
//!
//! `PROPTEST_CASES` sets the number of cases.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::struct_excessive_bools,
    reason = "helpers of tests, outside of a test function"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::FileFailurePersistence;
use tiproxy_operator::group::plan::{
    Action, Change, Config, Exit, Health, Instance, Limits, Observed, Phase, Plan, Share, Target, Topology,
    Wait, Why, counts, plan,
};

/// How instances of a revision fare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Good,
    /// Never becomes ready.
    Broken,
    /// Starts, and finds no TiDB, whether there is an outage or not.
    Starving,
}

#[derive(Clone, Debug)]
struct Object {
    ordinal: Option<u32>,
    uid: u64,
    version: u64,
    revision: usize,
    metadata: u32,
    generation: u32,
    observed_generation: u32,
    phase: Phase,
    lost: bool,
    running: bool,
    ready_since: Option<i64>,
    connections: Option<u64>,
    topology: Option<Topology>,
    /// The template's configuration that it was given.
    config: u32,
    /// Since when it has not been known to run with it.
    open_since: Option<i64>,
    has_pod: bool,
    drains: bool,
    /// Not made by the planner, so that (a) cannot hold it responsible before it has seen it.
    foreign: bool,
}

/// What the API server holds.
#[derive(Clone, Debug)]
struct State {
    replicas: u32,
    limits: Limits,
    min_ready: u64,
    paused: bool,
    may_create: bool,
    may_roll: bool,
    revision: usize,
    metadata: u32,
    config: u32,
    reserved: BTreeSet<u32>,
    retained: BTreeMap<u32, Option<Topology>>,
    shares: Vec<Share>,
    outage: bool,
    objects: BTreeMap<String, Object>,
}

#[derive(Clone, Debug)]
enum Event {
    /// The planner looks at a view this many writes old, and crashes this many actions before the end.
    Plan {
        lag: usize,
        lost: usize,
    },
    Advance(i64),
    /// All controllers and kubelets do what they have to.
    Settle,
    Observe(usize),
    Ready(usize),
    Unready(usize),
    Stop(usize),
    Lose(usize),
    NodeBack(usize),
    Gone(usize),
    UserDelete(usize),
    Offline(usize),
    Connections(usize, u64),
    Adopt(Option<u32>),
    Outage(bool),
    Scale(u32),
    Template(Kind),
    Rollback(usize),
    Metadata,
    /// Another configuration that running instances take over.
    Config,
    /// It is known to run with its configuration.
    InEffect(usize),
    /// Its Pod is deleted, or comes.
    Pod(usize, bool),
    /// Its clients are given time to leave, or not.
    Drains(usize, bool),
    Limits(u32, u32),
    MinReady(u64),
    Pause(bool),
    MayCreate(bool),
    MayRoll(bool),
    Reserve(u32, bool),
    /// Volumes of this ordinal are kept in a zone, or somewhere.
    Retain(u32, Option<usize>),
    /// Other topologies: the weights of zones.
    Spread(Vec<u32>),
}

fn zone(index: usize) -> Topology {
    [("zone".to_owned(), index.to_string())].into()
}

fn shares(weights: &[u32]) -> Vec<Share> {
    let share = |(index, weight): (usize, &u32)| Share {
        topology: zone(index),
        weight: *weight,
    };
    let all = weights.iter().enumerate();
    all.filter(|(_, weight)| **weight > 0).map(share).collect()
}

fn event() -> impl Strategy<Value = Event> {
    let one = 0..12_usize;
    let kind = prop_oneof![3 => Just(Kind::Good), 2 => Just(Kind::Broken), 1 => Just(Kind::Starving)];
    prop_oneof![
        30 => (0..6_usize, prop_oneof![2 => Just(0_usize), 1 => 0..4_usize])
            .prop_map(|(lag, lost)| Event::Plan { lag, lost }),
        10 => (1..25_i64).prop_map(Event::Advance),
        12 => Just(Event::Settle),
        3 => one.clone().prop_map(Event::Observe),
        5 => one.clone().prop_map(Event::Ready),
        4 => one.clone().prop_map(Event::Unready),
        2 => one.clone().prop_map(Event::Stop),
        2 => one.clone().prop_map(Event::Lose),
        1 => one.clone().prop_map(Event::NodeBack),
        4 => one.clone().prop_map(Event::Gone),
        2 => one.clone().prop_map(Event::UserDelete),
        1 => one.clone().prop_map(Event::Offline),
        2 => (one.clone(), 0..3_u64).prop_map(|(index, number)| Event::Connections(index, number)),
        1 => prop::option::of(0..9_u32).prop_map(Event::Adopt),
        2 => any::<bool>().prop_map(Event::Outage),
        4 => (0..7_u32).prop_map(Event::Scale),
        4 => kind.prop_map(Event::Template),
        2 => (0..4_usize).prop_map(Event::Rollback),
        2 => Just(Event::Metadata),
        3 => Just(Event::Config),
        2 => one.clone().prop_map(Event::InEffect),
        2 => (one.clone(), any::<bool>()).prop_map(|(index, there)| Event::Pod(index, there)),
        1 => (one.clone(), any::<bool>()).prop_map(|(index, drains)| Event::Drains(index, drains)),
        2 => (0..4_u32, 0..3_u32).prop_map(|(surge, unavailable)| Event::Limits(surge, unavailable)),
        1 => (0..20_u64).prop_map(Event::MinReady),
        2 => any::<bool>().prop_map(Event::Pause),
        2 => any::<bool>().prop_map(Event::MayCreate),
        1 => any::<bool>().prop_map(Event::MayRoll),
        1 => (0..5_u32, any::<bool>()).prop_map(|(ordinal, reserved)| Event::Reserve(ordinal, reserved)),
        1 => (0..5_u32, prop::option::of(0..4_usize)).prop_map(|(ordinal, zone)| Event::Retain(ordinal, zone)),
        2 => prop::collection::vec(0..4_u32, 0..4).prop_map(Event::Spread),
    ]
}

fn timestamp(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

impl State {
    fn observed(&self, kinds: &[Kind]) -> Observed {
        Observed {
            replicas: self.replicas,
            limits: self.limits,
            min_ready: Duration::from_secs(self.min_ready),
            paused: self.paused,
            may_create: self.may_create,
            may_roll: self.may_roll,
            reserved_ordinals: self.reserved.clone(),
            retained: self.retained.clone(),
            topologies: self.shares.clone(),
            instances: self
                .objects
                .iter()
                .map(|(name, object)| self.instance(kinds, name, object))
                .collect(),
        }
    }

    fn instance(&self, kinds: &[Kind], name: &str, object: &Object) -> Instance {
        let starved = self.outage || kinds.get(object.revision) == Some(&Kind::Starving);
        Instance {
            name: name.to_owned(),
            ordinal: object.ordinal,
            uid: object.uid.to_string(),
            resource_version: object.version.to_string(),
            change: if object.revision != self.revision {
                Change::Roll
            } else if object.config != self.config {
                Change::Reload
            } else if object.metadata != self.metadata {
                Change::InPlace
            } else {
                Change::None
            },
            phase: object.phase,
            health: match object.ready_since {
                _ if object.lost => Health::Lost,
                _ if object.observed_generation != object.generation => Health::Unobserved,
                _ if !object.running => Health::NotRunning,
                _ if starved => Health::Starved,
                Some(since) => Health::Ready {
                    since: timestamp(since),
                },
                None => Health::NotReady,
            },
            topology: object.topology.clone(),
            priority: None,
            connections: object.connections,
            has_pod: object.has_pod,
            drains: object.drains,
            config: object.open_since.map_or(Config::InEffect, |since| Config::Open {
                since: timestamp(since),
            }),
        }
    }
}

impl Object {
    /// Its Pod is gone.
    fn end(&mut self) {
        self.has_pod = false;
        self.running = false;
        self.ready_since = None;
    }
}

struct World {
    /// Every state there was; the last is the present.
    history: Vec<State>,
    /// How the revisions fare; a revision is an index.
    kinds: Vec<Kind>,
    now: i64,
    next_id: u64,
    /// The oldest state that the planner may still see.
    horizon: usize,
    sees_own_writes: bool,
}

impl World {
    fn new(sees_own_writes: bool) -> Self {
        let state = State {
            replicas: 3,
            limits: Limits::new(1, 0),
            min_ready: 10,
            paused: false,
            may_create: true,
            may_roll: true,
            revision: 0,
            metadata: 0,
            config: 0,
            reserved: BTreeSet::new(),
            retained: BTreeMap::new(),
            shares: Vec::new(),
            outage: false,
            objects: BTreeMap::new(),
        };
        Self {
            history: vec![state],
            kinds: vec![Kind::Good],
            now: 1_000_000,
            next_id: 1,
            horizon: 0,
            sees_own_writes,
        }
    }

    fn state(&self) -> &State {
        self.history.last().expect("the history begins with a state")
    }

    fn write(&mut self, change: impl FnOnce(&mut State)) {
        let mut state = self.state().clone();
        change(&mut state);
        self.history.push(state);
    }

    fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    /// Writes to the object at this index, if there is any.
    fn touch(&mut self, index: usize, change: impl FnOnce(&mut Object)) {
        let version = self.id();
        let names: Vec<&String> = self.state().objects.keys().collect();
        let Some(name) = names.get(index % names.len().max(1)).map(ToString::to_string) else {
            return;
        };
        self.write(|state| {
            if let Some(object) = state.objects.get_mut(&name) {
                object.version = version;
                change(object);
            }
        });
    }

    /// The Pod of one that leaves ends; with it goes one that is being deleted.
    fn remove(&mut self, index: usize) {
        let leaving = self
            .state()
            .objects
            .iter()
            .filter(|(_, object)| object.phase != Phase::Active);
        let names: Vec<String> = leaving.map(|(name, _)| name.clone()).collect();
        if let Some(name) = names.get(index % names.len().max(1)) {
            self.write(|state| match state.objects.get_mut(name) {
                Some(object) if object.phase == Phase::Offline => object.end(),
                _ => {
                    state.objects.remove(name);
                }
            });
        }
    }

    /// Controllers, kubelets and the garbage collector do all they can; a dead node stays dead, and is removed with
    /// what leaves from it.
    fn settle(&mut self) {
        let (now, outage, kinds) = (self.now, self.state().outage, self.kinds.clone());
        let version = self.id();
        self.write(|state| {
            state.objects.retain(|_, object| object.phase != Phase::Deleting);
            for object in state.objects.values_mut() {
                if object.phase == Phase::Offline {
                    object.end();
                    continue;
                }
                if object.lost {
                    continue;
                }
                object.version = version;
                object.observed_generation = object.generation;
                object.has_pod = true;
                object.running = true;
                object.open_since = None;
                let serves = kinds.get(object.revision) == Some(&Kind::Good) && !outage;
                object.ready_since = object.ready_since.or(Some(now)).filter(|_| serves);
            }
        });
    }

    fn happen(&mut self, event: &Event) {
        match *event {
            Event::Plan { lag, lost } => {
                self.plan(lag, lost);
            }
            Event::Advance(seconds) => self.now += seconds,
            Event::Settle => self.settle(),
            Event::Observe(index) => self.touch(index, |object| {
                object.observed_generation = object.generation;
                object.has_pod = true;
                object.running = true;
            }),
            Event::Ready(index) => self.become_ready(index),
            Event::Unready(index) => self.touch(index, |object| object.ready_since = None),
            Event::Stop(index) => self.touch(index, |object| {
                object.running = false;
                object.ready_since = None;
            }),
            Event::Lose(index) => self.touch(index, |object| {
                object.lost = true;
                object.ready_since = None;
            }),
            Event::NodeBack(index) => self.touch(index, |object| object.lost = false),
            Event::Gone(index) => self.remove(index),
            Event::UserDelete(index) => self.touch(index, |object| object.phase = Phase::Deleting),
            Event::Offline(index) => self.touch(index, |object| {
                if object.phase == Phase::Active {
                    object.phase = Phase::Offline;
                    object.generation += 1;
                }
            }),
            Event::Connections(index, number) => {
                self.touch(index, |object| object.connections = Some(number));
            }
            Event::Adopt(ordinal) => self.adopt(ordinal),
            Event::Outage(outage) => self.write(|state| {
                state.outage = outage;
                if outage {
                    state
                        .objects
                        .values_mut()
                        .for_each(|object| object.ready_since = None);
                }
            }),
            Event::Scale(replicas) => self.write(|state| state.replicas = replicas),
            Event::Template(kind) => {
                let revision = self.kinds.len();
                self.kinds.push(kind);
                self.write(|state| state.revision = revision);
            }
            Event::Rollback(revision) => {
                let revision = revision.min(self.kinds.len() - 1);
                self.write(|state| state.revision = revision);
            }
            Event::Config => self.write(|state| state.config += 1),
            Event::InEffect(index) => self.touch(index, |object| object.open_since = None),
            Event::Pod(index, there) => self.touch(index, |object| {
                if there {
                    object.has_pod = true;
                } else {
                    object.end();
                }
            }),
            Event::Drains(index, drains) => self.touch(index, |object| object.drains = drains),
            Event::Metadata => self.write(|state| state.metadata += 1),
            Event::Limits(surge, unavailable) => {
                self.write(|state| state.limits = Limits::new(surge, unavailable));
            }
            Event::MinReady(seconds) => self.write(|state| state.min_ready = seconds),
            Event::Pause(paused) => self.write(|state| state.paused = paused),
            Event::MayCreate(may) => self.write(|state| state.may_create = may),
            Event::MayRoll(may) => self.write(|state| state.may_roll = may),
            Event::Reserve(ordinal, true) => self.write(|state| {
                state.reserved.insert(ordinal);
            }),
            Event::Reserve(ordinal, false) => self.write(|state| {
                state.reserved.remove(&ordinal);
            }),
            Event::Retain(ordinal, index) => self.write(|state| {
                state.retained.insert(ordinal, index.map(zone));
            }),
            Event::Spread(ref weights) => self.write(|state| state.shares = shares(weights)),
        }
    }

    fn become_ready(&mut self, index: usize) {
        let (now, outage, kinds) = (self.now, self.state().outage, self.kinds.clone());
        self.touch(index, |object| {
            let able = object.running && !object.lost && !outage;
            if able && kinds.get(object.revision) == Some(&Kind::Good) {
                object.ready_since = object.ready_since.or(Some(now));
            }
        });
    }

    fn adopt(&mut self, ordinal: Option<u32>) {
        let name = ordinal.map_or_else(
            || format!("odd-{}", self.next_id),
            |ordinal| format!("g-{ordinal}"),
        );
        let taken = self.state().objects.contains_key(&name)
            || ordinal.is_some_and(|ordinal| self.state().reserved.contains(&ordinal));
        if !taken {
            let mut object = self.object(ordinal, 0, 0);
            object.foreign = true;
            self.write(|state| {
                state.objects.insert(name, object);
            });
        }
    }

    fn object(&mut self, ordinal: Option<u32>, revision: usize, metadata: u32) -> Object {
        Object {
            ordinal,
            uid: self.id(),
            version: self.id(),
            revision,
            metadata,
            generation: 1,
            observed_generation: 0,
            phase: Phase::Active,
            lost: false,
            running: false,
            ready_since: None,
            connections: None,
            topology: None,
            config: self.state().config,
            open_since: None,
            has_pod: false,
            drains: true,
            foreign: false,
        }
    }

    /// One pass of the planner: look, decide, write, maybe crash.
    fn plan(&mut self, lag: usize, lost: usize) -> Plan {
        let head = self.history.len() - 1;
        self.horizon = self.horizon.max(head.saturating_sub(lag));
        let view = self
            .history
            .get(self.horizon)
            .expect("the horizon is in the past")
            .clone();
        let observed = view.observed(&self.kinds);
        let plan = plan(&observed, timestamp(self.now));
        Oracle::new(&observed, self.now).check(&plan);

        let carried_out = plan.actions.len().saturating_sub(lost);
        for action in plan.actions.iter().take(carried_out) {
            self.execute(action, &view, &observed);
        }
        plan
    }

    fn execute(&mut self, action: &Action, view: &State, observed: &Observed) {
        let (revision, metadata, config, now) = (view.revision, view.metadata, view.config, self.now);
        let before = self.history.len();
        match action {
            Action::Create { ordinal, topology } => {
                let name = format!("g-{ordinal}");
                if self.state().objects.contains_key(&name) || self.state().reserved.contains(ordinal) {
                    return;
                }
                self.check_creation(view, observed);
                let mut object = self.object(Some(*ordinal), revision, metadata);
                object.config = config;
                object.topology.clone_from(topology);
                self.write(|state| {
                    state.objects.insert(name, object);
                });
            }
            Action::Revive { target } => self.write_to(target, |object| {
                object.phase = Phase::Active;
                object.metadata = metadata;
                object.config = config;
                object.generation += 1;
            }),
            Action::UpdateInPlace { target } => self.write_to(target, |object| {
                if object.config != config {
                    object.open_since = Some(now);
                }
                object.metadata = metadata;
                object.config = config;
                object.generation += 1;
            }),
            Action::Recreate { target } => self.write_to(target, |object| {
                object.revision = revision;
                object.metadata = metadata;
                object.config = config;
                object.generation += 1;
                object.running = false;
                object.ready_since = None;
            }),
            Action::Leave { target, by, .. } => self.write_to(target, |object| match by {
                Exit::Drain => {
                    object.phase = Phase::Offline;
                    object.generation += 1;
                }
                Exit::Delete => object.phase = Phase::Deleting,
            }),
            Action::Remove { target } => self.write_to(target, |object| object.phase = Phase::Deleting),
        }
        if self.sees_own_writes && self.history.len() > before {
            self.horizon = self.history.len() - 1;
        }
    }

    /// A write with preconditions.
    fn write_to(&mut self, target: &Target, change: impl FnOnce(&mut Object)) {
        let version = self.id();
        let object = self.state().objects.get(&target.name);
        let fits = object.is_some_and(|object| {
            object.uid.to_string() == target.uid && object.version.to_string() == target.resource_version
        });
        if fits {
            self.write(|state| {
                if let Some(object) = state.objects.get_mut(&target.name) {
                    object.version = version;
                    change(object);
                }
            });
        }
    }

    /// (a), on the true objects and the wish that the planner knew. A node that died or came back since the view is
    /// taken as the planner saw it.
    fn check_creation(&self, view: &State, observed: &Observed) {
        if !self.sees_own_writes {
            return;
        }
        let counted = self.state().objects.iter().filter(|(name, object)| {
            let seen = view.objects.get(*name);
            let lost = object.lost || seen.is_some_and(|seen| seen.lost);
            let known = !object.foreign || seen.is_some();
            let because_of_a_roll = object.phase != Phase::Active && object.revision != view.revision;
            !lost && known && (object.phase == Phase::Active || because_of_a_roll)
        });
        let limit = observed.replicas + observed.limits.max_surge();
        assert!(
            (counted.count() as u64) < u64::from(limit),
            "(a) created above {limit}: {:#?}",
            self.state()
        );
    }

    /// From here on nothing changes by itself, whatever is wrong: there must be an end to what the planner does.
    fn come_to_rest(&mut self) -> Plan {
        let objects = self.state().objects.len() as u64;
        let rounds = 8 * (objects + u64::from(self.state().replicas)) + 8;
        for _ in 0..rounds {
            self.now += 60;
            self.settle();
            self.now += 60;
            let plan = self.plan(0, 0);
            if plan.actions.is_empty() {
                assert_eq!(self.plan(0, 0), plan);
                return plan;
            }
        }
        panic!("still busy after {rounds} rounds: {:#?}", self.state());
    }

    /// What is wrong is put right; instances of older revisions stay as they are.
    fn heal(&mut self) {
        if self.kinds.get(self.state().revision) != Some(&Kind::Good) {
            self.happen(&Event::Template(Kind::Good));
        }
        self.write(|state| {
            state.outage = false;
            state.paused = false;
            state.may_create = true;
            state.may_roll = true;
        });
    }

    fn check_goal(&mut self) {
        let plan = self.come_to_rest();
        assert!(
            plan.is_empty() && plan.recheck.is_none(),
            "no goal: {plan:#?} {:#?}",
            self.state()
        );
        let observed = self.state().observed(&self.kinds);
        let counts = counts(&observed, timestamp(self.now));
        assert!(
            counts.complete(observed.replicas),
            "no goal: {counts:?} {:#?}",
            self.state()
        );

        self.now += 3600;
        self.settle();
        assert!(self.plan(0, 0).is_empty(), "left its goal: {:#?}", self.state());
    }

    /// Whatever the distribution came to, a roll brings it back to the weights, and scaling keeps it there.
    fn check_distribution(&mut self) {
        self.write(|state| {
            if state.shares.is_empty() {
                state.shares = shares(&[3, 2, 1]);
            }
            state.limits = Limits::new(1, 0);
        });
        self.happen(&Event::Template(Kind::Good));
        self.check_goal();
        self.check_shares();
        for replicas in (0..=6).chain((0..6).rev()) {
            self.happen(&Event::Scale(replicas));
            self.check_goal();
            self.check_shares();
        }
    }

    /// No exchange of one instance between two topologies would bring the group nearer to its weights.
    fn check_shares(&self) {
        let state = self.state();
        let count = |share: &Share| {
            let objects = state.objects.values();
            objects
                .filter(|object| object.topology.as_ref() == Some(&share.topology))
                .count() as u64
        };
        let counts: Vec<(u64, u64)> = state
            .shares
            .iter()
            .map(|share| (count(share), u64::from(share.weight)))
            .collect();
        assert_eq!(
            counts.iter().map(|(count, _)| *count).sum::<u64>(),
            u64::from(state.replicas),
            "{state:#?}"
        );
        for (given, weight) in &counts {
            for (taken, other) in counts.iter().filter(|(count, _)| *count > 0) {
                assert!((2 * given + 1) * other >= (2 * taken - 1) * weight, "{counts:?}");
            }
        }
    }
}

/// Who counts as what, worked out anew, and what a plan may do to them.
struct Oracle<'a> {
    observed: &'a Observed,
    now: i64,
    available: BTreeSet<&'a str>,
    hopeful: BTreeSet<&'a str>,
}

impl<'a> Oracle<'a> {
    fn new(observed: &'a Observed, now: i64) -> Self {
        let mut oracle = Self {
            observed,
            now,
            available: BTreeSet::new(),
            hopeful: BTreeSet::new(),
        };
        for instance in observed
            .instances
            .iter()
            .filter(|instance| instance.phase == Phase::Active)
        {
            let available = match instance.health {
                Health::Ready { since } => {
                    now - since.as_second() >= i64::try_from(observed.min_ready.as_secs()).unwrap_or(i64::MAX)
                }
                Health::Starved | Health::Unobserved => false,
                Health::Lost | Health::NotRunning | Health::NotReady => continue,
            };
            if available {
                oracle.available.insert(&instance.name);
            } else if instance.change == Change::Roll {
                oracle.hopeful.insert(&instance.name);
            }
        }
        oracle
    }

    fn check(&self, plan: &Plan) {
        self.check_order(plan);
        self.check_creates(plan);
        self.check_targets(plan);
        self.check_permissions(plan);
        self.check_availability(plan);
        self.check_size(plan);
        self.check_promptness(plan);
        self.check_reload(plan);
        self.check_recheck(plan);
    }

    /// (f): the same objects in another order.
    fn check_order(&self, expected: &Plan) {
        let mut turned = self.observed.clone();
        turned.instances.reverse();
        assert_eq!(&plan(&turned, timestamp(self.now)), expected);
        let middle = turned.instances.len() / 2;
        turned.instances.rotate_left(middle);
        assert_eq!(&plan(&turned, timestamp(self.now)), expected);
    }

    /// The smallest free ordinals whose volumes fit, each once, where the least is for the weight.
    fn check_creates(&self, plan: &Plan) {
        let mut taken = self.observed.reserved_ordinals.clone();
        taken.extend(
            self.observed
                .instances
                .iter()
                .filter_map(|instance| instance.ordinal),
        );
        let rolls = self.rolls();
        let members = self.observed.instances.iter();
        let mut there: Vec<Option<Topology>> = members
            .filter(|one| one.phase == Phase::Active && one.health != Health::Lost)
            .filter(|one| !(rolls && one.change == Change::Roll))
            .map(|one| one.topology.clone())
            .collect();
        for action in &plan.actions {
            if let Action::Revive { target } = action {
                there.push(self.target(target).topology.clone());
            }
            let Action::Create { ordinal, topology } = action else {
                continue;
            };
            self.check_topology(topology.as_ref(), &there);
            there.push(topology.clone());
            let fits = |free: &u32| match self.observed.retained.get(free) {
                Some(made_in) => topology.is_none() || made_in == topology,
                None => true,
            };
            let smallest = (0..=u32::MAX).find(|free| !taken.contains(free) && fits(free));
            assert_eq!(smallest, Some(*ordinal), "{plan:#?}");
            taken.insert(*ordinal);
        }
    }

    fn check_topology(&self, chosen: Option<&Topology>, there: &[Option<Topology>]) {
        let shares = &self.observed.topologies;
        let fullness = |share: &Share| {
            let there = there.iter().filter(|one| one.as_ref() == Some(&share.topology));
            (2 * there.count() as u64 + 1, u64::from(share.weight))
        };
        let Some(chosen) = chosen else {
            assert!(shares.is_empty(), "created anywhere: {:#?}", self.observed);
            return;
        };
        let found = shares.iter().find(|share| share.topology == *chosen);
        let (count, weight) = fullness(found.expect("a topology that was given"));
        for (other, its_weight) in shares.iter().map(fullness) {
            assert!(
                count * its_weight <= other * weight,
                "{chosen:?}: {:#?}",
                self.observed
            );
        }
    }

    fn target(&self, target: &Target) -> &'a Instance {
        let found = self.observed.instances.iter().find(|instance| {
            instance.name == target.name
                && instance.uid == target.uid
                && instance.resource_version == target.resource_version
        });
        found.expect("an action is aimed at an instance of the view")
    }

    /// One action for an instance at most, and only what fits it.
    fn check_targets(&self, plan: &Plan) {
        let mut seen = BTreeSet::new();
        for action in &plan.actions {
            let (target, fits): (_, fn(&Instance) -> bool) = match action {
                Action::Create { .. } => continue,
                Action::Revive { target } => (target, |instance| {
                    instance.phase == Phase::Offline && instance.has_pod && instance.change != Change::Roll
                }),
                Action::Remove { target } => (target, |instance| {
                    instance.phase == Phase::Offline && !(instance.has_pod && instance.drains)
                }),
                Action::UpdateInPlace { target } => (target, |instance| {
                    matches!(instance.change, Change::InPlace | Change::Reload)
                }),
                Action::Recreate { target }
                | Action::Leave {
                    target,
                    why: Why::Roll,
                    ..
                } => (target, |instance| instance.change == Change::Roll),
                Action::Leave {
                    target,
                    why: Why::Lost,
                    ..
                } => (target, |instance| instance.health == Health::Lost),
                Action::Leave {
                    target,
                    why: Why::ScaleIn,
                    ..
                } => (target, |_| true),
            };
            let instance = self.target(target);
            assert!(
                seen.insert(&target.name),
                "two actions for {}: {plan:#?}",
                target.name
            );
            let is_of_a_leaver = matches!(action, Action::Revive { .. } | Action::Remove { .. });
            assert!(
                (is_of_a_leaver || instance.phase == Phase::Active) && fits(instance),
                "{action:?} for {instance:?}"
            );
            if let Action::Leave { by, .. } = action {
                let runs = instance.has_pod && !matches!(instance.health, Health::NotRunning | Health::Lost);
                assert_eq!(
                    *by == Exit::Drain,
                    runs && instance.drains,
                    "{action:?} for {instance:?}"
                );
            }
        }
    }

    fn check_permissions(&self, plan: &Plan) {
        let Observed {
            paused,
            may_create,
            limits,
            ..
        } = self.observed;
        let rolls = self.rolls();
        for action in &plan.actions {
            let allowed = match action {
                Action::Revive { .. } | Action::Create { .. } | Action::Leave { why: Why::Lost, .. } => {
                    *may_create
                }
                Action::UpdateInPlace { .. } => *may_create && !paused,
                Action::Recreate { .. } => rolls && limits.max_surge() == 0,
                Action::Leave { why: Why::Roll, .. } => rolls && limits.max_surge() > 0,
                Action::Remove { .. }
                | Action::Leave {
                    why: Why::ScaleIn, ..
                } => true,
            };
            assert!(allowed, "{action:?} is not allowed: {:#?}", self.observed);
        }
    }

    /// (b), after any prefix of the actions, since what is taken only grows.
    fn check_availability(&self, plan: &Plan) {
        let Observed { replicas, limits, .. } = self.observed;
        let rolls = self.rolls();
        let floor = replicas.saturating_sub(limits.max_unavailable()) as usize;
        let (mut available, mut hopeful) = (self.available.clone(), self.hopeful.clone());
        for action in &plan.actions {
            let (target, why) = match action {
                Action::Revive { .. }
                | Action::Create { .. }
                | Action::UpdateInPlace { .. }
                | Action::Remove { .. } => continue,
                Action::Recreate { target } => (target, Why::Roll),
                Action::Leave { target, why, .. } => (target, *why),
            };
            if available.remove(target.name.as_str()) {
                assert!(available.len() >= floor, "(b) {action:?}: {:#?}", self.observed);
            }
            if hopeful.remove(target.name.as_str()) && rolls {
                assert!(
                    available.len() + hopeful.len() >= floor,
                    "(b) {action:?}: {:#?}",
                    self.observed
                );
                let starved = self.target(target).health == Health::Starved;
                let evidence = !available.is_empty() || limits.max_surge() == 0;
                assert!(
                    !starved || evidence || why == Why::ScaleIn,
                    "{action:?}: {:#?}",
                    self.observed
                );
            }
        }
    }

    /// A scale-in goes all the way, and no further.
    fn check_size(&self, plan: &Plan) {
        let (mut fresh, mut outdated) = (0, 0);
        let members = self.observed.instances.iter();
        for instance in members.filter(|one| one.phase == Phase::Active && one.health != Health::Lost) {
            *(if instance.change == Change::Roll {
                &mut outdated
            } else {
                &mut fresh
            }) += 1_u32;
        }
        let replicas = self.observed.replicas;
        for action in &plan.actions {
            if let Action::Leave { target, why, .. } = action
                && self.target(target).health != Health::Lost
            {
                let needs_pod = self.target(target).change == Change::Roll;
                *(if needs_pod { &mut outdated } else { &mut fresh }) -= 1;
                let enough = fresh + outdated >= replicas || *why != Why::ScaleIn;
                assert!(enough, "too many leave: {plan:#?} {:#?}", self.observed);
            }
        }
        let surge = self.observed.limits.max_surge().min(fresh).min(outdated);
        assert!(
            fresh + outdated <= replicas + surge,
            "too few leave: {plan:#?} {:#?}",
            self.observed
        );
    }

    /// What is missing is created at once; only a roll goes above the wish, and only roll leavers hold anything back.
    fn check_promptness(&self, plan: &Plan) {
        let Observed {
            replicas,
            limits,
            may_create,
            ..
        } = self.observed;
        let present = |instance: &&Instance| instance.health != Health::Lost;
        let (mut members, mut fresh, mut leavers) = (0_u32, 0_u32, 0_u32);
        for instance in self.observed.instances.iter().filter(present) {
            let outdated = instance.change == Change::Roll;
            let active = instance.phase == Phase::Active;
            members += u32::from(active);
            fresh += u32::from(active && !outdated);
            leavers += u32::from(!active && outdated);
        }
        let rolls = self.rolls() && fresh < members;
        let missing = replicas.saturating_sub(if rolls { fresh } else { members });
        let count = |of: fn(&Action) -> bool| {
            u32::try_from(plan.actions.iter().filter(|action| of(action)).count()).expect("few actions")
        };
        let created = count(|action| matches!(action, Action::Create { .. }));
        let revived = count(|action| matches!(action, Action::Revive { .. }));
        if !may_create {
            assert_eq!((created, revived), (0, 0), "{plan:#?} {:#?}", self.observed);
            return;
        }
        let room = (replicas + limits.max_surge()).saturating_sub(members + revived + leavers);
        let expected = missing.saturating_sub(revived).min(room);
        assert_eq!(created, expected, "{plan:#?} {:#?}", self.observed);
        self.check_revived(plan, missing, revived);
    }

    /// Whoever can come back does before another is made in its place.
    fn check_revived(&self, plan: &Plan, missing: u32, revived: u32) {
        let can_come_back: Vec<&Instance> = self
            .observed
            .instances
            .iter()
            .filter(|one| one.phase == Phase::Offline && one.has_pod && one.change != Change::Roll)
            .collect();
        assert!(revived <= missing, "{plan:#?} {:#?}", self.observed);
        if self.observed.topologies.is_empty() {
            let able = u32::try_from(can_come_back.len()).expect("few instances");
            assert_eq!(revived, missing.min(able), "{plan:#?} {:#?}", self.observed);
        }
        let stays_away = |leaver: &&&Instance| {
            !plan
                .actions
                .iter()
                .any(|action| matches!(action, Action::Revive { target } if target.name == leaver.name))
        };
        for leaver in can_come_back.iter().filter(stays_away) {
            let made_in_its_place = plan.actions.iter().any(|action| {
                matches!(action, Action::Create { topology, .. } if topology.is_none() || *topology == leaver.topology)
            });
            assert!(!made_in_its_place, "{leaver:?}: {plan:#?} {:#?}", self.observed);
        }
    }

    /// Another configuration reaches one that serves first, and the others when it is proven.
    fn check_reload(&self, plan: &Plan) {
        let leaving = Self::leaving(plan);
        let stay: Vec<&Instance> = self
            .observed
            .instances
            .iter()
            .filter(|one| one.phase == Phase::Active && one.health != Health::Lost)
            .filter(|one| !leaving.contains(&one.name))
            .collect();
        let updated = |one: &&&Instance| {
            plan.actions
                .iter()
                .any(|action| matches!(action, Action::UpdateInPlace { target } if target.name == one.name))
        };
        let allowed = self.observed.may_create && !self.observed.paused;
        let metadata: Vec<_> = stay.iter().filter(|one| one.change == Change::InPlace).collect();
        assert_eq!(metadata.iter().all(&updated), allowed || metadata.is_empty());
        let has_it = |one: &&&Instance| matches!(one.change, Change::None | Change::InPlace);
        let is_proven = |one: &&Instance| {
            let held = match one.config {
                Config::InEffect => true,
                Config::Open { since } => self.now - since.as_second() >= 10,
            };
            matches!(one.health, Health::Ready { .. }) && held
        };
        let proven = stay.iter().filter(has_it).any(is_proven);
        let on_trial = stay
            .iter()
            .filter(has_it)
            .any(|one| one.health != Health::NotRunning && !is_proven(one));
        for one in stay.iter().filter(|one| one.change == Change::Reload) {
            let has_clients = matches!(one.health, Health::Ready { .. } | Health::Unobserved);
            if !allowed || (has_clients && !proven && on_trial) {
                assert!(!updated(&one), "{one:?}: {plan:#?} {:#?}", self.observed);
            } else if proven || !has_clients {
                assert!(updated(&one), "{one:?}: {plan:#?} {:#?}", self.observed);
            }
        }
        let serving = stay
            .iter()
            .filter(|one| one.change == Change::Reload && matches!(one.health, Health::Ready { .. }));
        if allowed && !proven && !on_trial {
            let first = serving.clone().filter(updated).count();
            assert_eq!(first, serving.count().min(1), "{plan:#?} {:#?}", self.observed);
        }
    }

    /// Who is taken away or recreated.
    fn leaving(plan: &Plan) -> BTreeSet<&String> {
        let leaving = plan.actions.iter().filter_map(|action| match action {
            Action::Revive { .. }
            | Action::Create { .. }
            | Action::UpdateInPlace { .. }
            | Action::Remove { .. } => None,
            Action::Recreate { target } | Action::Leave { target, .. } => Some(&target.name),
        });
        leaving.collect()
    }

    /// The next moment at which an instance that stays becomes available.
    fn check_recheck(&self, plan: &Plan) {
        let leaving = Self::leaving(plan);
        let active = self
            .observed
            .instances
            .iter()
            .filter(|instance| instance.phase == Phase::Active);
        let moments = active
            .filter(|instance| !leaving.contains(&instance.name))
            .filter_map(|instance| {
                let Health::Ready { since } = instance.health else {
                    return None;
                };
                let elapsed = u64::try_from(self.now - since.as_second()).unwrap_or(0);
                self.observed
                    .min_ready
                    .checked_sub(Duration::from_secs(elapsed))
                    .filter(|left| !left.is_zero())
            });
        let trials = plan.waiting.iter().filter_map(|wait| {
            if let Wait::Trial { remaining, .. } = wait {
                *remaining
            } else {
                None
            }
        });
        assert_eq!(
            plan.recheck,
            moments.chain(trials).min(),
            "{plan:#?} {:#?}",
            self.observed
        );
    }

    fn rolls(&self) -> bool {
        self.observed.may_create && self.observed.may_roll && !self.observed.paused
    }
}

fn config() -> ProptestConfig {
    let mut config = ProptestConfig::default();
    if std::env::var_os("PROPTEST_CASES").is_none() {
        config.cases = 3000;
    }
    config.failure_persistence = Some(Box::new(FileFailurePersistence::WithSource("regressions")));
    config
}

proptest! {
    #![proptest_config(config())]

    /// All rules hold through all trouble; the planner comes to rest even while the trouble lasts, and the group
    /// reaches its goal when it is over.
    #[test]
    fn rules_hold_and_the_goal_is_reached(events in prop::collection::vec(event(), 0..70)) {
        let mut world = World::new(true);
        for event in &events {
            world.happen(event);
        }
        world.come_to_rest();
        world.heal();
        world.check_goal();
        world.check_distribution();
    }

    /// From wherever trouble and views without the planner's own writes have led, the way is to the goal.
    #[test]
    fn the_goal_is_reached_from_anywhere(events in prop::collection::vec(event(), 0..70)) {
        let mut world = World::new(false);
        for event in &events {
            world.happen(event);
        }
        world.heal();
        world.check_goal();
    }
}
