//! The planner's scenarios as a table: a group, its instances, and what is done and waited for.
//!
//! An instance is written as its ordinal (or a name) and words: `old` needs a new Pod, `meta` an update in place, `reload`
//! another configuration; `open:3` does not run with its own for 3 s, `podless` has no Pod, `hasty` gives no time to leave;
//! without a word about its health it is available. The reference operator's own cases are among them, by the same
//! numbers; where the outcome differs by design, the name says how.

use std::time::Duration;

use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::{
    Action, Change, Config, Counts, Exit, Health, Instance, Limits, Observed, Phase, Plan, Share, Target,
    Topology, Wait, Why, counts, plan,
};

fn now() -> Timestamp {
    Timestamp::from_second(1_000_000).unwrap()
}

fn ready(seconds_ago: i64) -> Health {
    Health::Ready {
        since: now() - SignedDuration::from_secs(seconds_ago),
    }
}

fn instance(text: &str) -> Instance {
    let mut words = text.split_whitespace();
    let id = words.next().unwrap();
    let mut instance = Instance {
        name: format!("g-{id}"),
        ordinal: id.parse().ok(),
        uid: format!("uid-{id}"),
        resource_version: "1".to_owned(),
        change: Change::None,
        phase: Phase::Active,
        health: ready(3600),
        topology: None,
        priority: None,
        connections: None,
        has_pod: true,
        drains: true,
        config: Config::InEffect,
    };
    for word in words {
        let (key, value) = word.split_once(':').unwrap_or((word, ""));
        match key {
            "old" => instance.change = Change::Roll,
            "meta" => instance.change = Change::InPlace,
            "reload" => instance.change = Change::Reload,
            "open" => {
                let since = now() - SignedDuration::from_secs(value.parse().unwrap());
                instance.config = Config::Open { since };
            }
            "podless" => instance.has_pod = false,
            "hasty" => instance.drains = false,
            "offline" => instance.phase = Phase::Offline,
            "deleting" => instance.phase = Phase::Deleting,
            "lost" => instance.health = Health::Lost,
            "unobserved" => instance.health = Health::Unobserved,
            "down" => instance.health = Health::NotRunning,
            "unready" => instance.health = Health::NotReady,
            "starved" => instance.health = Health::Starved,
            "ready" => instance.health = ready(value.parse().unwrap()),
            "zone" => instance.topology = Some(zone(value)),
            "priority" => instance.priority = Some(value.parse().unwrap()),
            "connections" => instance.connections = Some(value.parse().unwrap()),
            _ => panic!("{word} means nothing"),
        }
    }
    instance
}

fn zone(name: &str) -> Topology {
    [("zone".to_owned(), name.to_owned())].into()
}

fn instances(text: &str) -> Vec<Instance> {
    text.split(',')
        .map(str::trim)
        .filter(|text| !text.is_empty())
        .map(instance)
        .collect()
}

/// A group with the defaults of the API: a surge of 1, 10 seconds ready.
#[derive(Clone)]
struct Group(Observed);

fn group(replicas: u32) -> Group {
    Group(Observed {
        replicas,
        limits: Limits::new(1, 0),
        min_ready: Duration::from_secs(10),
        paused: false,
        may_create: true,
        may_roll: true,
        reserved_ordinals: std::collections::BTreeSet::new(),
        retained: std::collections::BTreeMap::new(),
        topologies: Vec::new(),
        instances: Vec::new(),
    })
}

impl Group {
    fn limits(mut self, max_surge: u32, max_unavailable: u32) -> Self {
        self.0.limits = Limits::new(max_surge, max_unavailable);
        self
    }
    fn percent(mut self, max_surge: &str, max_unavailable: &str) -> Self {
        let text = |text: &str| IntOrString::String(text.to_owned());
        self.0.limits = Limits::resolve(&text(max_surge), &text(max_unavailable), self.0.replicas).unwrap();
        self
    }
    fn min_ready(mut self, seconds: u64) -> Self {
        self.0.min_ready = Duration::from_secs(seconds);
        self
    }
    fn reserved(mut self, ordinals: &[u32]) -> Self {
        self.0.reserved_ordinals = ordinals.iter().copied().collect();
        self
    }
    /// Topologies as `zone:weight`.
    fn spread(mut self, text: &str) -> Self {
        let shares = text.split(' ').map(|share| {
            let (name, weight) = share.split_once(':').unwrap();
            Share {
                topology: zone(name),
                weight: weight.parse().unwrap(),
            }
        });
        self.0.topologies = shares.collect();
        self
    }
    /// Kept volumes as `ordinal:zone`, or the ordinal alone where the zone is not known.
    fn retained(mut self, text: &str) -> Self {
        let volumes = text.split(' ').map(|volume| {
            let (ordinal, made_in) = volume.split_once(':').unwrap_or((volume, ""));
            let known = (!made_in.is_empty()).then(|| zone(made_in));
            (ordinal.parse().unwrap(), known)
        });
        self.0.retained = volumes.collect();
        self
    }
    fn paused(mut self) -> Self {
        self.0.paused = true;
        self
    }
    fn may_not_create(mut self) -> Self {
        self.0.may_create = false;
        self
    }
    fn may_not_roll(mut self) -> Self {
        self.0.may_roll = false;
        self
    }
    fn with(mut self, text: &str) -> Observed {
        self.0.instances = instances(text);
        self.0
    }
}

fn short(target: &Target) -> &str {
    target.name.strip_prefix("g-").unwrap()
}

fn actions(plan: &Plan) -> String {
    let texts = plan.actions.iter().map(|action| match action {
        Action::Create { ordinal, topology } => {
            let zone = topology.iter().flatten().map(|(_, zone)| format!(" in {zone}"));
            format!("create {ordinal}{}", zone.collect::<String>())
        }
        Action::UpdateInPlace { target } => format!("update {}", short(target)),
        Action::Recreate { target } => format!("recreate {}", short(target)),
        Action::Leave { target, why, by } => {
            let verb = match why {
                Why::ScaleIn => "remove",
                Why::Roll => "retire",
                Why::Lost => "give up",
            };
            let at_once = match (why, by) {
                (Why::ScaleIn | Why::Roll, Exit::Delete) => " at once",
                (Why::Lost, Exit::Delete) | (_, Exit::Drain) => "",
            };
            format!("{verb} {}{at_once}", short(target))
        }
        Action::Revive { target } => format!("revive {}", short(target)),
        Action::Remove { target } => format!("delete {}", short(target)),
    });
    texts.collect::<Vec<_>>().join(", ")
}

fn waits(plan: &Plan) -> String {
    let texts = plan.waiting.iter().map(|wait| match wait {
        Wait::Paused => "paused".to_owned(),
        Wait::NothingMayBeCreated => "may not create".to_owned(),
        Wait::MayNotRoll => "may not roll".to_owned(),
        Wait::Available {
            name,
            remaining: None,
        } => name.replace("g-", "ready "),
        Wait::Available {
            name,
            remaining: Some(left),
        } => {
            format!("{} in {left:?}", name.replace("g-", "available "))
        }
        Wait::Backends { name } => name.replace("g-", "backends "),
        Wait::Trial { name, remaining } => match remaining {
            Some(left) => format!("{} for {left:?}", name.replace("g-", "trial of ")),
            None => name.replace("g-", "trial of "),
        },
        Wait::Leaver { name } => name.replace("g-", "gone "),
    });
    texts.collect::<Vec<_>>().join(", ")
}

fn check(observed: &Observed, expected_actions: &str, expected_waits: &str) {
    let forward = plan(observed, now());
    assert_eq!(
        (actions(&forward).as_str(), waits(&forward).as_str()),
        (expected_actions, expected_waits)
    );

    let mut turned = observed.clone();
    turned.instances.reverse();
    assert_eq!(
        forward,
        plan(&turned, now()),
        "the order of the instances changed the plan"
    );
}

macro_rules! scenarios {
    ($($name:ident: $group:expr, $instances:expr => $actions:expr, $waits:expr;)*) => {$(
        #[test]
        fn $name() {
            check(&$group.with($instances), $actions, $waits);
        }
    )*};
}

mod size {
    use super::*;

    scenarios! {
        complete_group_gets_an_empty_plan: group(3), "0, 1, 2" => "", "";
        all_missing_instances_are_created_in_one_pass: group(3), "" => "create 0, create 1, create 2", "";
        no_surge_does_not_slow_creation: group(3).limits(0, 1), "" => "create 0, create 1, create 2", "";
        new_instances_are_waited_for: group(3), "0 unobserved, 1 down, 2 unready" => "", "ready 0, ready 1, ready 2";
        scale_out_ignores_what_is_not_ready: group(5), "0 ready:3, 1 down, 2"
            => "create 3, create 4", "available 0 in 7s, ready 1";
        scale_in_takes_the_highest_ordinals: group(1), "0, 1, 2" => "remove 2, remove 1", "";
        scale_in_to_zero: group(0), "0, 1, 2" => "remove 2, remove 1, remove 0", "";
        scale_in_to_zero_without_surge: group(0).limits(0, 1), "0, 1, 2" => "remove 2, remove 1, remove 0", "";
        zero_replicas_and_no_instances_are_at_rest: group(0), "" => "", "";
        zero_replicas_do_not_wait_for_leavers: group(0), "0 deleting, 1 old deleting" => "", "";
        back_from_zero_while_the_old_ones_drain: group(3), "0 deleting, 1 deleting, 2 offline"
            => "revive 2, create 3, create 4", "";
        leavers_of_a_scale_in_do_not_hold_back: group(3), "0, 1 deleting, 2 offline" => "revive 2, create 3", "";
        leavers_do_not_make_a_complete_group_incomplete: group(1), "0, 1 deleting, 2 offline" => "", "";
        scale_in_when_nothing_is_available: group(3).limits(0, 1), "0 unready, 1 unready, 2 unready, 3 unready, 4 unready"
            => "remove 4, remove 3", "ready 0, ready 1, ready 2";
        scale_in_of_a_starved_group: group(3), "0 starved, 1 starved, 2 starved, 3 starved, 4 starved"
            => "remove 4, remove 3", "backends 0, backends 1, backends 2";
        scale_in_of_a_young_group: group(1), "0 ready:9, 1 ready:8, 2 ready:7"
            => "remove 2, remove 1", "available 0 in 1s";
        scale_in_of_a_group_of_unobserved: group(1), "0 unobserved, 1 unobserved" => "remove 1", "ready 0";
        holes_are_filled_first: group(4), "1, 3" => "create 0, create 2", "";
        ordinals_of_leaving_instances_are_taken: group(2), "0 deleting, 1" => "create 2", "";
        reserved_ordinals_are_skipped: group(3).reserved(&[0, 2, 3]), "1" => "create 4, create 5", "";
        reserved_ordinals_of_instances_change_nothing: group(2).reserved(&[0, 1]), "0, 1" => "", "";
        instance_without_ordinal_counts: group(3), "0, adopted" => "create 1", "";
        instance_without_ordinal_leaves_first: group(1), "0, adopted, 7" => "remove adopted, remove 7", "";
        deleting_instances_get_no_action: group(1), "0 meta deleting, 1 old deleting, 2" => "", "";
        offline_instances_get_no_action: group(1), "0 meta offline, 1 old offline, 2" => "", "";
    }
}

mod order {
    use super::*;

    scenarios! {
        usefulness: group(0), "0, 1 ready:1, 2 unobserved, 3 starved, 4 unready, 5 down"
            => "remove 5 at once, remove 4, remove 3, remove 2, remove 1, remove 0", "";
        not_running_before_the_fullest_zone: group(2), "0 zone:a, 1 zone:a, 2 zone:b down" => "remove 2 at once", "";
        fullest_zone_first: group(2), "0 zone:a, 1 zone:a, 2 zone:a, 3 zone:b"
            => "remove 2, remove 1", "";
        zones_are_counted_again_after_each: group(2), "0 zone:a, 1 zone:a, 2 zone:b, 3 zone:b, 4 zone:c"
            => "remove 3, remove 1, remove 4", "";
        unplaced_before_placed: group(2).spread("a:1"), "0, 1 zone:a, 2 zone:a" => "remove 0", "";
        placed_before_unplaced_where_the_scheduler_chooses: group(2), "0, 1 zone:a, 2" => "remove 1", "";
        zone_that_is_given_no_longer_first: group(2).spread("a:1 b:1"), "0 zone:a, 1 zone:b, 2 zone:c, 3 zone:c"
            => "remove 3, remove 2", "";
        fullest_zone_by_weight: group(3).spread("a:3 b:1"), "0 zone:a, 1 zone:a, 2 zone:a, 3 zone:b, 4 zone:b"
            => "remove 4, remove 2", "";
        last_one_of_a_zone_stays_where_another_is_as_far_above: group(3).spread("a:3 b:1"), "0 zone:a, 1 zone:a, 2 zone:a, 3 zone:b"
            => "remove 2", "";
        zone_before_priority: group(2), "0 zone:a, 1 zone:a, 2 zone:b priority:-5" => "remove 1", "";
        smaller_priority_first: group(2), "0 priority:-1, 1 priority:7, 2" => "remove 0", "";
        no_priority_last: group(1), "0 priority:9223372036854775807, 1, 2 priority:3" => "remove 2, remove 0", "";
        priority_before_connections: group(1), "0 priority:1 connections:99, 1 connections:0" => "remove 0", "";
        fewest_connections_first: group(2), "0 connections:1, 1 connections:0, 2 connections:5, 3"
            => "remove 1, remove 0", "";
        priorities_decide_between_equal_zones: group(1), "0 zone:a, 1 zone:b priority:4" => "remove 1", "";
    }
}

mod spread {
    use super::*;

    scenarios! {
        evenly_from_nothing: group(4).spread("a:1 b:1 c:1"), "" => "create 0 in a, create 1 in b, create 2 in c, create 3 in a", "";
        by_weight_from_nothing: group(6).spread("a:3 b:2 c:1"), ""
            => "create 0 in a, create 1 in b, create 2 in c, create 3 in a, create 4 in b, create 5 in a", "";
        out_fills_the_emptiest: group(4).spread("a:1 b:1 c:1"), "0 zone:a, 1 zone:a, 2 zone:c" => "create 3 in b", "";
        strays_and_leavers_hold_no_seat: group(4).spread("a:1 b:1"), "0 zone:c, 1, 2 zone:a deleting, 3 zone:b"
            => "create 4 in a", "";
        lost_one_is_replaced_where_it_was: group(3).spread("a:1 b:1 c:1"), "0 zone:a, 1 zone:b lost, 2 zone:c"
            => "create 3 in b, give up 1", "";
        new_weights_move_nobody: group(3).spread("a:9 b:1"), "0 zone:a, 1 zone:b, 2 zone:c" => "", "";
        surge_goes_where_one_will_leave: group(3).spread("a:1 b:1 c:1"), "0 old zone:a, 1 old zone:b, 2 old zone:c"
            => "create 3 in a", "";
        one_leaves_where_the_surge_went: group(3).spread("a:1 b:1 c:1"), "0 old zone:a, 1 old zone:b, 2 old zone:c, 3 zone:a"
            => "retire 0", "";
        surge_follows_the_new_ones: group(3).spread("a:1 b:1 c:1"), "1 old zone:b, 2 old zone:c, 3 zone:a"
            => "create 0 in b", "";
        roll_leads_to_new_weights: group(3).spread("d:1"), "0 old zone:a, 1 old zone:b, 2 zone:d" => "create 3 in d", "";
        scale_in_during_a_roll_counts_what_stays: group(1).spread("a:1 b:1"), "0 old zone:a, 1 old zone:a, 2 zone:a, 3 zone:b, 4 zone:b"
            => "remove 1, remove 0, remove 4, remove 3", "";
        paused_roll_counts_all: group(4).spread("a:1 b:1").paused(), "0 old zone:a, 1 old zone:a, 2 zone:b"
            => "create 3 in b", "paused";
        kept_volumes_are_used_where_they_are: group(2).spread("a:1 b:1").retained("0:b 1:a"), ""
            => "create 1 in a, create 0 in b", "";
        kept_volumes_elsewhere_are_left_alone: group(2).spread("a:1 b:1").retained("0:c 1"), ""
            => "create 2 in a, create 3 in b", "";
        kept_volumes_bind_nobody_where_the_scheduler_chooses: group(2).retained("0:c 1"), "" => "create 0, create 1", "";
    }
}

mod surge {
    use super::*;

    scenarios! {
        begins_with_one_new: group(3), "0 old, 1 old, 2 old" => "create 3", "";
        waits_for_the_new_one: group(3), "0 old, 1 old, 2 old, 3 down" => "", "ready 3";
        waits_for_what_is_left_of_min_ready: group(3), "0 old, 1 old, 2 old, 3 ready:4" => "", "available 3 in 6s";
        one_old_leaves_for_one_new: group(3), "0 old, 1 old, 2 old, 3" => "retire 2", "";
        next_waits_until_the_leaver_is_gone: group(3), "0 old, 1 old, 2 old deleting, 3" => "", "gone 2";
        next_is_created_when_the_leaver_is_gone: group(3), "0 old, 1 old, 3" => "create 2", "";
        lost_leaver_holds_nothing_back: group(3), "0 old, 1 old, 2 old deleting lost, 3" => "create 4", "";
        offline_leaver_holds_back_as_well: group(3), "0 old, 1 old, 2 old offline, 3" => "", "gone 2";
        last_old_one_leaves: group(3), "0 old, 1, 2, 3" => "retire 0", "";
        done_but_for_the_drain: group(3), "0 old deleting, 1, 2, 3" => "", "";
        of_2: group(3).limits(2, 0), "0 old, 1 old, 2 old" => "create 3, create 4", "";
        of_2_with_two_new: group(3).limits(2, 0), "0 old, 1 old, 2 old, 3, 4" => "retire 2, retire 1", "";
        of_2_with_one_of_two_new: group(3).limits(2, 0), "0 old, 1 old, 2 old, 3, 4 down" => "retire 2", "ready 4";
        of_2_ends: group(3).limits(2, 0), "0 old, 3, 4, 5" => "retire 0", "";
        of_5_creates_no_more_than_needed: group(3).limits(5, 0), "0 old, 1 old, 2 old"
            => "create 3, create 4, create 5", "";
        of_5_with_all_new: group(3).limits(5, 0), "0 old, 1 old, 2 old, 3, 4, 5"
            => "retire 2, retire 1, retire 0", "";
        of_5_for_one_outdated: group(3).limits(5, 0), "0 old, 1, 2" => "create 3", "";
        of_1_with_1_unavailable: group(3).limits(1, 1), "0 old, 1 old, 2 old" => "create 3, retire 2", "";
        of_1_with_1_unavailable_and_1_new: group(3).limits(1, 1), "0 old, 1 old, 2, 3" => "retire 1, retire 0", "";
        of_1_with_1_unavailable_and_1_starting: group(3).limits(1, 1), "0 old, 1 old, 2, 3 down" => "retire 1", "ready 3";
        of_1_with_1_unavailable_ends: group(3).limits(1, 1), "0 old, 1, 2, 3 down" => "retire 0", "ready 3";
        in_percent_rounds_up: group(3).percent("34%", "33%"), "0 old, 1 old, 2 old" => "create 3, create 4", "";
        in_percent_of_unavailable_rounds_down: group(3).percent("0%", "67%"), "0 old, 1 old, 2 old"
            => "recreate 2, recreate 1", "";
        both_percentages_zero: group(3).percent("0%", "33%"), "0 old, 1 old, 2 old" => "recreate 2", "";
        outdated_that_does_not_run_is_replaced_without_waiting: group(3), "0 old, 1 old down, 2 old"
            => "create 3, retire 1 at once", "";
        outdated_crash_loops_are_replaced_without_waiting: group(3), "0 old unready, 1 old unready, 2 old unready"
            => "create 3, retire 2, retire 1, retire 0", "";
        outdated_that_just_became_ready_stays: group(3), "0 old ready:1, 1 old ready:2, 2 old ready:3"
            => "create 3", "available 0 in 9s, available 1 in 8s, available 2 in 7s";
        outdated_that_just_became_ready_leaves_for_an_available_one: group(3), "0 old ready:1, 1 old, 2 old, 3"
            => "retire 0", "";
        in_place_changes_of_a_moment_ago_do_not_make_victims: group(3), "0 old unobserved, 1 old unobserved, 2 old unobserved"
            => "create 3", "ready 0, ready 1, ready 2";
        min_ready_zero: group(3).min_ready(0), "0 old, 1 old, 2 old, 3 ready:0" => "retire 2", "";
        condition_from_the_future_is_not_available: group(3), "0 old, 1 old, 2 old, 3 ready:-60"
            => "", "available 3 in 10s";
        fullest_zone_is_rolled_first: group(3), "0 old zone:a, 1 old zone:b, 2 old zone:c, 3 zone:a"
            => "retire 0", "";
        missing_and_surge_are_created_together: group(3), "0 old, 1 old" => "create 2, create 3", "";
        single_instance: group(1), "0 old" => "create 1", "";
        single_instance_with_its_successor: group(1), "0 old, 1" => "retire 0", "";
    }
}

mod broken_revision {
    use super::*;

    scenarios! {
        stops_after_the_surge: group(3), "0 old, 1 old, 2 old, 3 unready" => "", "ready 3";
        stops_after_a_surge_of_2: group(3).limits(2, 0), "0 old, 1 old, 2 old, 3 unready, 4 down" => "", "ready 3, ready 4";
        stops_after_one_without_surge: group(3).limits(0, 1), "0, 1 old, 2 old" => "recreate 2", "";
        stays_stopped_without_surge: group(3).limits(0, 1), "0 unready, 1 old, 2 old" => "", "ready 0";
        rollback_removes_it_first: group(3), "0, 1, 2, 3 old unready" => "retire 3", "";
        rollback_removes_it_when_it_does_not_run: group(3), "0, 1, 2, 3 old down" => "retire 3 at once", "";
        rollback_without_surge_recreates_it: group(3).limits(0, 1), "0 old unready, 1, 2" => "recreate 0", "";
        rollback_of_a_working_one: group(3), "0, 1, 2, 3 old" => "retire 3", "";
        rollback_keeps_what_fits: group(3), "0, 1, 2 deleting, 3 old, 4 old deleting" => "", "gone 4";
        rollback_halfway: group(3), "0, 1, 3 old, 4 old" => "retire 4", "";
        rollback_fills_up_when_the_leavers_are_gone: group(3), "0, 1, 3 old unready" => "create 2, retire 3", "";
        next_revision_replaces_it_at_once: group(3), "0 old, 1 old, 2 old, 3 old unready" => "remove 3", "";
        next_revision_waits_for_it_to_be_gone: group(3), "0 old, 1 old, 2 old, 3 old deleting unready"
            => "", "gone 3";
        next_revision_goes_on_then: group(3), "0 old, 1 old, 2 old" => "create 3", "";
    }
}

mod no_surge {
    use super::*;

    scenarios! {
        recreates_one: group(3).limits(0, 1), "0 old, 1 old, 2 old" => "recreate 2", "";
        recreates_the_second: group(3).limits(0, 1), "0 old, 1 old, 2" => "recreate 1", "";
        recreates_the_last: group(3).limits(0, 1), "0 old, 1, 2" => "recreate 0", "";
        waits_for_the_recreated: group(3).limits(0, 1), "0 old, 1 old, 2 unobserved" => "", "ready 2";
        waits_for_min_ready: group(3).limits(0, 1), "0 old, 1 old, 2 ready:9" => "", "available 2 in 1s";
        recreates_two_where_two_may_miss: group(3).limits(0, 2), "0 old, 1 old, 2 old" => "recreate 2, recreate 1", "";
        recreates_a_single_instance: group(1).limits(0, 1), "0 old" => "recreate 0", "";
        neither_surge_nor_unavailable_means_one_unavailable: group(3).limits(0, 0), "0 old, 1 old, 2 old"
            => "recreate 2", "";
        not_running_first: group(3).limits(0, 1), "0 old down, 1 old, 2 old" => "recreate 0", "";
        all_unavailable: group(3).limits(0, 1), "0 old down, 1 old down, 2 old unready"
            => "recreate 1, recreate 0, recreate 2", "";
        scale_out_first: group(5).limits(0, 1), "0 old, 1 old, 2 old" => "create 3, create 4", "";
        scale_out_then_roll: group(5).limits(0, 1), "0 old, 1 old, 2 old, 3, 4" => "recreate 2", "";
        scale_out_goes_on: group(5).limits(0, 1), "0 old, 1, 2, 3, 4" => "recreate 0", "";
        scale_in_and_roll: group(3).limits(0, 1), "0 old, 1 old, 2 old, 3 old, 4 old"
            => "recreate 2, remove 4, remove 3", "";
        scale_in_of_unavailable_outdated: group(3).limits(0, 1), "0 unready, 1 old, 2 old, 3 old down, 4 old unready"
            => "remove 3 at once, remove 4", "ready 0";
        scale_in_and_recreation_of_unavailable_outdated: group(3).limits(0, 1), "0 unready, 1 old, 2 old unready, 3 old unready"
            => "recreate 2, remove 3", "ready 0";
        scale_in_of_one_unavailable_outdated: group(3).limits(0, 1), "0 unready, 1 old, 2 old, 3 old unready"
            => "remove 3", "ready 0";
        recreation_of_unavailable_outdated: group(3).limits(0, 1), "0 unready, 1 old unready, 2 old unready"
            => "recreate 2, recreate 1", "ready 0";
        leaver_holds_back_a_replacement: group(3).limits(0, 1), "0 old, 1, 2 old deleting" => "", "gone 2";
        lost_outdated_is_given_up: group(3).limits(0, 1), "0 old, 1 old, 2 old lost" => "create 3, give up 2", "";
    }
}

mod scale_during_roll {
    use super::*;

    scenarios! {
        out: group(5), "0 old, 1 old, 2 old" => "create 3, create 4, create 5", "";
        out_goes_on: group(5), "0 old, 1 old, 2 old, 3, 4, 5" => "retire 2", "";
        out_ends: group(5), "0 old, 1, 2, 3, 4, 5" => "retire 0", "";
        r#in: group(3), "0 old, 1 old, 2 old, 3 old, 4 old" => "remove 4, remove 3", "";
        in_holds_back_the_surge_until_they_are_gone: group(3), "0 old, 1 old, 2 old, 3 old deleting, 4 old deleting"
            => "", "gone 3, gone 4";
        in_takes_outdated_before_unavailable_fresh: group(3), "0 old, 1 old, 2 old, 3 old, 4 old, 5 down"
            => "remove 4, remove 3", "ready 5";
        in_and_a_step_of_the_roll: group(3), "0 old, 1 old, 2 old, 3 old, 4 old, 5"
            => "remove 4, remove 3, retire 2", "";
        in_takes_fresh_where_the_outdated_are_needed: group(1), "0 old, 1 down, 2 unready"
            => "remove 1 at once", "ready 2";
        in_below_the_fresh: group(1), "0 old, 1, 2" => "remove 0, remove 2", "";
        in_of_a_starved_group: group(3), "0 old starved, 1 old starved, 2 old starved, 3 old starved, 4 old starved, 5 starved"
            => "remove 4, remove 3", "backends 0, backends 1, backends 2, backends 5";
        in_to_zero: group(0), "0 old, 1 old starved, 2 old, 3 down" => "remove 1, remove 2, remove 0, remove 3 at once", "";
        surge_lowered: group(3), "0 old, 1 old, 2 old, 3 down, 4 down" => "remove 4 at once", "ready 3";
    }
}

mod outage {
    use super::*;

    scenarios! {
        does_not_start_a_rollout: group(3), "0 starved, 1 starved, 2 starved" => "", "backends 0, backends 1, backends 2";
        new_instance_is_no_evidence: group(3), "0 old starved, 1 old starved, 2 old starved, 3 starved"
            => "", "backends 0, backends 1, backends 2, backends 3";
        nor_where_some_may_be_unavailable: group(3).limits(1, 1), "0 old starved, 1 old starved, 2 old starved, 3 starved"
            => "", "backends 0, backends 1, backends 2, backends 3";
        halfway_through_a_rollout: group(3), "0 old starved, 1 old starved, 2 starved, 3 starved"
            => "", "backends 0, backends 1, backends 2, backends 3";
        rollout_goes_on_after_it: group(3), "0 old, 1 old, 2, 3" => "retire 1", "";
        new_revision_that_ends_it_is_rolled_out: group(3), "0 old starved, 1 old starved, 2 old starved, 3"
            => "retire 2", "backends 0, backends 1";
        end_of_it_does_not_take_more_than_the_surge: group(3).limits(2, 0), "0 old starved, 1 old starved, 2 old starved, 3, 4 starved"
            => "retire 2", "backends 0, backends 1, backends 4";
        new_revision_that_causes_it_stops: group(3), "0 old, 1 old, 2 old, 3 starved" => "", "backends 3";
        rollback_of_the_cause: group(3), "0, 1, 2, 3 old starved" => "retire 3", "";
        without_surge_only_what_may_miss_is_tried: group(3).limits(0, 1), "0 old starved, 1 old starved, 2 old starved"
            => "recreate 2", "backends 0, backends 1";
        without_surge_no_more_is_tried: group(3).limits(0, 1), "0 old starved, 1 old starved, 2 starved"
            => "", "backends 0, backends 1, backends 2";
        without_surge_the_fix_goes_on: group(3).limits(0, 1), "0 old starved, 1 old starved, 2"
            => "recreate 1", "backends 0";
        second_fix_is_not_stuck_behind_the_first: group(3), "0 old starved, 1 old starved, 2 old starved, 3 old starved"
            => "remove 3", "backends 0, backends 1, backends 2";
    }
}

mod held_back {
    use super::*;

    scenarios! {
        paused_does_not_roll: group(3).paused(), "0 old, 1 old, 2 old" => "", "paused";
        paused_does_not_roll_without_surge: group(3).paused().limits(0, 1), "0 old, 1 old, 2 old" => "", "paused";
        paused_does_not_update_in_place: group(3).paused(), "0 meta, 1, 2" => "", "paused";
        paused_without_changes_is_at_rest: group(3).paused(), "0, 1, 2" => "", "";
        paused_scales_out: group(5).paused(), "0 old, 1 old, 2 old" => "create 3, create 4", "paused";
        paused_scales_in: group(1).paused(), "0 old, 1 old, 2 old" => "remove 2, remove 1", "paused";
        paused_heals: group(3).paused(), "0 old, 1 old" => "create 2", "paused";
        paused_gives_up_lost: group(3).paused(), "0 old, 1 old, 2 old lost" => "create 3, give up 2", "paused";
        paused_halfway_keeps_the_surge: group(3).paused(), "0 old, 1 old, 2 old, 3 unready" => "", "paused, ready 3";
        paused_halfway_keeps_no_more_than_the_surge: group(3).paused(), "0 old, 1 old, 2 old, 3, 4" => "remove 4", "paused";
        paused_scale_in_does_not_prefer_outdated: group(3).paused().limits(0, 1), "0 old, 1 old, 2, 3"
            => "remove 3", "paused";
        without_pd_nothing_is_created: group(3).may_not_create(), "" => "", "may not create";
        without_pd_nothing_is_rolled: group(3).may_not_create(), "0 old, 1 old, 2 old" => "", "may not create";
        without_pd_nothing_is_updated: group(3).may_not_create(), "0 meta, 1, 2" => "", "may not create";
        without_pd_scale_in_goes_on: group(1).may_not_create(), "0 old, 1 old, 2 old down"
            => "remove 2 at once, remove 1", "may not create";
        without_pd_lost_ones_stay: group(3).may_not_create(), "0, 1, 2 lost" => "", "may not create";
        without_pd_lost_ones_leave_first: group(2).may_not_create(), "0 lost, 1, 2" => "remove 0 at once", "may not create";
        without_pd_and_complete: group(3).may_not_create(), "0, 1, 2" => "", "";
        may_not_roll: group(3).may_not_roll(), "0 old, 1 meta, 2" => "update 1", "may not roll";
        may_not_roll_and_heals: group(3).may_not_roll(), "0 old, 1 old" => "create 2", "may not roll";
    }
}

mod reviving {
    use super::*;

    scenarios! {
        a_scale_out_brings_leavers_back: group(3), "0, 1 offline, 2 offline" => "revive 1, revive 2", "";
        a_scale_out_brings_back_what_it_needs: group(2), "0, 1 offline, 2 offline" => "revive 1", "";
        the_one_with_the_most_clients_comes_back: group(2), "0, 1 offline connections:1, 2 offline connections:9"
            => "revive 2", "";
        the_one_that_may_leave_last_comes_back: group(2), "0, 1 offline priority:1, 2 offline" => "revive 2", "";
        what_lacks_then_is_created: group(4), "0, 1 offline, 2 deleting" => "revive 1, create 3, create 4", "";
        a_leaver_without_pod_does_not_come_back: group(2), "0, 1 offline podless" => "create 2, delete 1", "";
        a_leaver_that_does_not_fit_does_not_come_back: group(3).limits(2, 0), "0, 1, 2 old offline" => "create 3", "";
        a_leaver_with_older_metadata_comes_back: group(2), "0, 1 meta offline" => "revive 1", "";
        a_rollback_brings_back_those_that_drain: group(3), "0, 1 offline, 2 offline, 3 old, 4 old unready"
            => "revive 1, revive 2, retire 4", "";
        a_rollback_brings_back_whatever_the_limit_is: group(2), "0 offline, 1 offline, 2 old, 3 old, 4 old offline"
            => "revive 0, revive 1", "";
        a_rollback_that_is_paused_brings_nothing_back: group(2).paused(), "0 offline, 2 old, 3 old" => "", "paused";
        nothing_comes_back_without_pd: group(2).may_not_create(), "0, 1 offline" => "", "may not create";
        they_come_back_where_they_were: group(3).spread("a:1 b:1 c:1"), "0 zone:a, 1 zone:a offline, 2 zone:c offline"
            => "revive 2, create 3 in b", "";
        anywhere_where_the_scheduler_chooses: group(2), "0, 1 zone:a offline" => "revive 1", "";
    }
}

mod draining {
    use super::*;

    scenarios! {
        whoever_runs_is_given_time: group(1), "0, 1 unready, 2 starved" => "remove 1, remove 2", "";
        who_does_not_run_goes_at_once: group(1), "0, 1 down, 2 podless" => "remove 1 at once, remove 2 at once", "";
        without_a_drain_all_go_at_once: group(1), "0, 1 hasty" => "remove 1 at once", "";
        who_has_drained_is_deleted: group(1), "0, 1 offline podless, 2 old offline podless" => "delete 1, delete 2", "";
        who_drains_is_left_alone: group(1), "0, 1 offline, 2 old offline, 3 deleting podless" => "", "";
        a_drain_that_is_turned_off_ends: group(1), "0, 1 offline hasty" => "delete 1", "";
        a_drain_ends_also_without_pd: group(1).may_not_create(), "0, 1 offline podless" => "delete 1", "";
        a_drain_ends_also_while_paused: group(1).paused(), "0, 1 offline podless" => "delete 1", "";
        a_roll_goes_on_when_the_leaver_is_gone: group(2).limits(1, 0), "0 old, 1 old offline, 2" => "", "gone 1";
    }
}

mod reloading {
    use super::*;

    scenarios! {
        one_gets_another_configuration_first: group(3), "0 reload, 1 reload, 2 reload" => "update 0", "";
        the_others_wait_for_it: group(3), "0 open:4, 1 reload, 2 reload" => "", "trial of 0 for 6s";
        they_wait_until_it_is_observed: group(3), "0 unobserved, 1 reload, 2 reload" => "", "ready 0, trial of 0";
        they_get_it_when_it_is_in_effect: group(3), "0, 1 reload, 2 reload" => "update 1, update 2", "";
        they_get_it_after_ten_seconds: group(3), "0 open:10, 1 reload, 2 reload" => "update 1, update 2", "";
        they_wait_while_it_takes_no_clients: group(3), "0 unready, 1 reload, 2 reload" => "", "ready 0, trial of 0";
        they_wait_while_it_finds_no_tidb: group(3), "0 starved, 1 reload, 2 reload" => "", "backends 0, trial of 0";
        they_do_not_wait_for_one_that_does_not_run: group(3), "0 down, 1 reload, 2 reload" => "update 1", "ready 0";
        a_proven_one_is_enough: group(3), "0 unready, 1, 2 reload" => "update 2", "ready 0";
        who_serves_nobody_has_nothing_to_lose: group(3), "0 reload unready, 1 reload starved, 2 reload"
            => "update 0, update 1, update 2", "ready 0, backends 1";
        an_outage_does_not_keep_a_correction_from_anybody: group(2), "0 reload starved, 1 reload starved"
            => "update 0, update 1", "backends 0, backends 1";
        metadata_needs_no_trial: group(3), "0 meta, 1 meta, 2 reload" => "update 0, update 1, update 2", "";
        a_single_one_is_its_own_trial: group(1), "0 reload" => "update 0", "";
        paused_does_not_reload: group(2).paused(), "0 reload, 1 reload" => "", "paused";
        a_leaver_is_not_reloaded: group(1), "0, 1 reload offline" => "", "";
    }
}

mod healing {
    use super::*;

    scenarios! {
        lost_is_given_up_and_replaced: group(3), "0, 1, 2 lost" => "create 3, give up 2", "";
        all_lost: group(2), "0 lost, 1 lost" => "create 2, create 3, give up 0, give up 1", "";
        lost_and_scale_in: group(2), "0 lost, 1, 2" => "give up 0", "";
        lost_leavers_do_not_hold_back: group(3).limits(0, 1), "0, 1, 2 old deleting lost" => "create 3", "";
        unready_is_not_replaced: group(3), "0 unready, 1 down, 2 starved" => "", "ready 0, ready 1, backends 2";
        deleted_by_the_user: group(3), "0, 1 deleting, 2" => "create 3", "";
        outdated_deleted_by_the_user_waits_without_surge: group(3).limits(0, 1).paused(), "0 old, 1 old deleting, 2 old"
            => "", "paused, gone 1";
        in_place_at_once: group(3), "0 meta, 1 meta, 2 meta unready" => "update 0, update 1, update 2", "ready 2";
        in_place_beside_a_roll: group(3), "0 old, 1 meta, 2 meta" => "create 3, update 1, update 2", "";
        in_place_not_for_those_that_leave: group(1), "0 meta, 1 meta" => "update 0, remove 1", "";
        lost_is_not_updated: group(1), "0 meta lost" => "create 1, give up 0", "";
    }
}

#[test]
fn recheck_is_the_shortest_time_left() {
    let observed = group(3).with("0 ready:3, 1 ready:8, 2 unready");
    assert_eq!(plan(&observed, now()).recheck, Some(Duration::from_secs(2)));
    assert_eq!(plan(&group(1).with("0"), now()).recheck, None);
}

#[test]
fn actions_carry_what_they_were_decided_for() {
    let mut observed = group(1).with("0 old, 1");
    observed.instances[0].resource_version = "77".to_owned();
    let target = Target {
        name: "g-0".to_owned(),
        uid: "uid-0".to_owned(),
        resource_version: "77".to_owned(),
    };
    assert_eq!(
        plan(&observed, now()).actions,
        [Action::Leave {
            target,
            why: Why::Roll,
            by: Exit::Drain,
        }]
    );
}

#[test]
fn counters() {
    let text = "0, 1 old ready:1, 2 meta unready, 3 old starved, 4 lost, 5 old deleting, 6 offline, 7 down";
    let expected = Counts {
        active: 6,
        ready: 2,
        available: 1,
        updated: 3,
        outdated: 2,
        starved: 1,
        lost: 1,
        draining: 2,
        rolled: 1,
    };
    assert_eq!(counts(&group(3).with(text), now()), expected);
    assert!(!expected.complete(6));
    assert!(counts(&group(2).with("0, 1, 2 deleting"), now()).complete(2));
    assert!(!counts(&group(2).with("0, 1, 2 old deleting"), now()).complete(2));
    assert!(!counts(&group(2).with("0, 1 meta"), now()).complete(2));
}

#[test]
fn thousands_of_instances_are_planned_in_one_go() {
    let text = |word: &str| {
        let instances = (0..5000).map(|ordinal| format!("{ordinal} {word} zone:{}", ordinal % 3));
        instances.collect::<Vec<_>>().join(", ")
    };
    assert_eq!(plan(&group(0).with(&text("")), now()).actions.len(), 5000);
    assert_eq!(
        plan(&group(5000).limits(0, 5000).with(&text("old")), now())
            .actions
            .len(),
        5000
    );
    assert_eq!(plan(&group(5000).with(""), now()).actions.len(), 5000);
}

#[test]
fn numbers_at_their_ends_do_not_overflow() {
    let mut observed = group(u32::MAX)
        .may_not_create()
        .limits(u32::MAX, u32::MAX)
        .with("0 old, 1");
    observed.min_ready = Duration::MAX;
    observed.instances[1].health = Health::Ready {
        since: Timestamp::MIN,
    };
    let plan = plan(&observed, Timestamp::MAX);
    assert_eq!(actions(&plan), "");
}

#[test]
fn limits_resolve() {
    let number = IntOrString::Int;
    let text = |text: &str| IntOrString::String(text.to_owned());
    let limits = |surge, unavailable, replicas| {
        let limits = Limits::resolve(&surge, &unavailable, replicas).unwrap();
        (limits.max_surge(), limits.max_unavailable())
    };
    assert_eq!(limits(number(1), number(0), 3), (1, 0));
    assert_eq!(limits(number(7), number(9), 3), (7, 9));
    assert_eq!(limits(number(0), number(0), 3), (0, 1));
    assert_eq!(limits(text("25%"), text("25%"), 3), (1, 0));
    assert_eq!(limits(text("25%"), text("25%"), 8), (2, 2));
    assert_eq!(limits(text("100%"), text("0%"), 3), (3, 0));
    assert_eq!(limits(text("0%"), text("50%"), 1), (0, 1));
    assert_eq!(limits(text("300%"), text("0%"), 2), (6, 0));
    assert_eq!(limits(text("4294967295%"), text("0%"), u32::MAX), (u32::MAX, 0));

    for bad in [
        number(-1),
        text("1"),
        text("x%"),
        text("-1%"),
        text("+1%"),
        text("%"),
        text("99999999999%"),
    ] {
        assert!(Limits::resolve(&bad, &number(0), 3).is_err(), "{bad:?}");
        assert!(Limits::resolve(&number(0), &bad, 3).is_err(), "{bad:?}");
    }
    let message = Limits::resolve(&text("x"), &number(0), 3)
        .unwrap_err()
        .to_string();
    assert_eq!(
        message,
        r#"maxSurge is "x": it must be an integer of at least 0 or a percentage such as "25%""#
    );
}
