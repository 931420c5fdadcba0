//! What must be true at every point of a recorded history. Pure, so that it can be shown to fail.
//!
//! # How a history is read
//!
//! Entries of all kinds stand in the order of etcd's revisions, so there is one true state between two of them. The
//! operator decides on a view of it. Its own writes are part of that view at once; what others write arrives a moment
//! later. So a decision is held against the true state, except for what others may have changed unseen:
//!
//! * **The group's spec**: a decision may follow any generation from `status.observedGeneration` to the present one.
//!   Once the operator has said that it saw a generation it must not act on an older one.
//! * **Who stays available**: an instance that stopped being available within the last [`IN_FLIGHT`] seconds still
//!   counts, unless the operator itself took it away: two decisions must not both lean on the same instance.
//! * **Time**: etcd keeps none, so the clock is the latest time stamp seen so far (creation, deletion, managed
//!   fields), in whole seconds, as the operator's own measure of `minReadySeconds` is.
//!
//! An instance is *available* when its `TiProxy` is active, says Ready for its present generation since
//! `minReadySeconds`, and its Pod is stored as ready and not terminating: both what the operator was told and what
//! was true. What somebody else deleted (`outside`) is not held against the operator; nor is any departure while the
//! group itself is going.
//!
//! A Pod's leave begins when its time is written on it; from then on its instance is not available. Whoever decided that
//! it has to go may not know for [`IN_FLIGHT`] seconds that it need not any more: a scale-out, a rollback or the end of
//! a suspension came in between.
//!
//! Whether a leaver leaves *because of a roll* is judged by its content: a create is held against those leavers that
//! differ from what is created in anything that needs a new Pod.

mod available;
mod leave;
mod ownership;
#[cfg(test)]
#[allow(
    clippy::needless_pass_by_value,
    reason = "literals read better without references"
)]
mod tests;
mod view;
pub(crate) mod writers;

use std::collections::{BTreeMap, BTreeSet};

use kube::ResourceExt;
use kube::api::DynamicObject;
use serde_json::Value;

use crate::harness::history::{Change, Entry, State};
pub(crate) use ownership::{Delete, delete_violations};
use view::{
    Limits, has_ended, is_active, is_leaving, is_lost, is_marked, is_suspended, limits, observed_generation,
    owner, pod_inputs, ready_since, time_of,
};

/// Seconds for which the loss of an available instance may be unknown to the operator.
const IN_FLIGHT: i64 = 2;

/// Every breach of (a), (b), (c) and (e), of how Pods leave, and of who writes what. `outside` are the UIDs of what somebody else deleted.
pub(crate) fn violations(entries: &[Entry], outside: &BTreeSet<String>) -> Vec<String> {
    let mut judge = Judge {
        outside,
        before: State::new(),
        clock: 0,
        specs: BTreeMap::new(),
        last_available: BTreeMap::new(),
        made_from: BTreeMap::new(),
        changed: BTreeMap::new(),
        suspended: BTreeMap::new(),
        unwanted: BTreeMap::new(),
        found: Vec::new(),
    };
    for entry in entries {
        judge.judge(entry);
    }
    judge.found.extend(leave::violations(entries, outside));
    judge.found.extend(ownership::violations(entries));
    judge.found.extend(writers::violations(entries));
    judge.found
}

/// Breaches of (f): whatever was written although everything was as it should be.
pub(crate) fn unrest(at_rest: &[Entry], later: &[Entry]) -> Vec<String> {
    let last = at_rest.last().map_or(0, |entry| entry.resource_version);
    later
        .iter()
        .filter(|entry| entry.resource_version > last && !is_only_counted(entry))
        .map(|entry| format!("(f) {} at rest", describe(entry)))
        .collect()
}

/// Whether Kubernetes did no more than to count Pods once again for a `PodDisruptionBudget`.
pub(crate) fn is_only_counted(entry: &Entry) -> bool {
    let fields = entry.object.metadata.managed_fields.iter().flatten();
    let latest = fields.max_by_key(|fields| fields.time.clone());
    entry.kind == "PodDisruptionBudget"
        && entry.change == Change::Modified
        && latest.is_some_and(|fields| fields.subresource.as_deref() == Some("status"))
}

struct Judge<'a> {
    outside: &'a BTreeSet<String>,
    before: State,
    clock: i64,
    /// The specs of each group, by UID and generation.
    specs: BTreeMap<String, BTreeMap<i64, Value>>,
    /// When, and asking for which Pod, each TiProxy was available last.
    last_available: BTreeMap<String, (Value, i64)>,
    /// What the TiProxy of each Pod asked for when the Pod was made.
    made_from: BTreeMap<String, Value>,
    /// When each TiProxy asked for another Pod last.
    changed: BTreeMap<String, i64>,
    /// When each Cluster was suspended last.
    suspended: BTreeMap<String, i64>,
    /// When each Pod was last one that had to go.
    unwanted: BTreeMap<String, i64>,
    found: Vec<String>,
}

impl Judge<'_> {
    fn judge(&mut self, entry: &Entry) {
        self.clock = self.clock.max(time_of(&entry.object));
        // Nothing changed until now, however long that was.
        self.note_available();
        self.note_unwanted();
        match entry.kind {
            "TiProxyGroup" => self.note_spec(&entry.object),
            "TiProxy" => self.judge_instance(entry),
            "Pod" => self.judge_pod(entry),
            "Cluster" => self.note_suspension(entry),
            _ => {}
        }
        let key = (entry.kind, entry.object.name_any());
        match entry.change {
            Change::Added | Change::Modified => self.before.insert(key, entry.object.clone()),
            Change::Deleted => self.before.remove(&key),
        };
        self.judge_state(entry);
    }

    fn note_suspension(&mut self, entry: &Entry) {
        if is_suspended(&entry.object) || self.previous(entry).is_some_and(is_suspended) {
            self.suspended.insert(entry.object.name_any(), self.clock);
        }
    }

    fn note_spec(&mut self, group: &DynamicObject) {
        let generation = group.metadata.generation.unwrap_or_default();
        let specs = self.specs.entry(uid(group)).or_default();
        specs.insert(generation, group.data["spec"].clone());
    }

    fn judge_instance(&mut self, entry: &Entry) {
        let instance = &entry.object;
        let previous = self.previous(entry).cloned();
        if previous
            .as_ref()
            .is_some_and(|previous| pod_inputs(previous) != pod_inputs(instance))
        {
            self.changed.insert(uid(instance), self.clock);
        }
        match (previous, entry.change) {
            (None, Change::Added) => self.judge_create(entry),
            (Some(previous), change) if is_active(&previous) => {
                let recreated = pod_inputs(&previous) != pod_inputs(instance);
                let goes = change == Change::Deleted || !is_active(instance) || recreated;
                if goes && !self.outside.contains(&uid(instance)) {
                    self.judge_departure(entry, &previous);
                }
            }
            _ => {}
        }
    }

    /// (a)
    fn judge_create(&mut self, entry: &Entry) {
        let Some(specs) = self.believable_specs(&entry.object) else {
            return;
        };
        let created = pod_inputs(&entry.object);
        let (mut active, mut leaving) = (0, 0);
        for instance in self.siblings(&entry.object) {
            if is_lost(instance) {
                continue;
            }
            if is_active(instance) {
                active += 1;
            } else if pod_inputs(instance) != created {
                leaving += 1;
            }
        }
        let room = |limits: &Limits| active + leaving < limits.replicas + limits.max_surge;
        if !specs.iter().any(room) {
            self.report(
                "(a)",
                entry,
                &format!("{active} active and {leaving} roll leavers, with {specs:?}"),
            );
        }
    }

    /// (b)
    fn judge_departure(&mut self, entry: &Entry, leaver: &DynamicObject) {
        if self.is_suspended(leaver) {
            return;
        }
        let Some(specs) = self.believable_specs(leaver) else {
            return;
        };
        // Whether minReadySeconds had just passed is for nobody to say within the second.
        let strictest = specs
            .iter()
            .map(|limits| limits.min_ready)
            .max()
            .unwrap_or_default();
        let margin = i64::from(strictest > 0);
        if !self.is_available(leaver, strictest + margin) {
            return;
        }
        let mildest = specs
            .iter()
            .map(|limits| limits.min_ready)
            .min()
            .unwrap_or_default();
        let floor = specs
            .iter()
            .map(|limits| limits.replicas - limits.max_unavailable)
            .min()
            .unwrap_or_default();
        let stay = self
            .siblings(leaver)
            .filter(|instance| uid(instance) != uid(leaver) && self.stays_available(instance, mildest))
            .count();
        if i64::try_from(stay).unwrap_or(i64::MAX) < floor {
            self.report(
                "(b)",
                entry,
                &format!("{stay} stay available of at least {floor}"),
            );
        }
    }

    /// (b) for Pods: whoever stays keeps the Pod that it asked for.
    fn judge_pod(&mut self, entry: &Entry) {
        let pod = &entry.object;
        let Some(instance) = owner(pod)
            .and_then(|owner| self.by_uid("TiProxy", &owner.uid))
            .cloned()
        else {
            return;
        };
        let Some(previous) = self.previous(entry) else {
            // One whose TiProxy has just changed may be made for what that asked for before.
            let changed = self.changed.get(&uid(&instance));
            if changed.is_none_or(|when| self.clock - when > IN_FLIGHT) {
                self.made_from.insert(uid(pod), pod_inputs(&instance));
            }
            return;
        };
        let begins = !is_marked(previous) && is_marked(pod);
        let goes = begins || !is_leaving(previous) && (is_leaving(pod) || entry.change == Change::Deleted);
        let unwanted = self.unwanted.get(&uid(pod));
        let wanted = !self.is_unwanted(previous) && unwanted.is_none_or(|last| self.clock - last > IN_FLIGHT);
        if goes
            && wanted
            && !has_ended(previous)
            && !self.outside.contains(&uid(pod))
            && self.believable_specs(&instance).is_some()
        {
            let why = format!(
                "its TiProxy stays and asks for no other Pod than {}",
                pod_inputs(&instance)
            );
            self.report("(b)", entry, &why);
        }
    }

    /// (c), and that Ready is not said too early.
    fn judge_state(&mut self, entry: &Entry) {
        let object = &entry.object;
        if entry.kind == "Pod"
            && let Some(owner) = owner(object).filter(|owner| owner.kind == "TiProxy")
        {
            let pods = self.of_kind("Pod");
            let count = pods
                .filter(|pod| view::owner(pod).is_some_and(|other| other.uid == owner.uid))
                .count();
            if count > 1 {
                self.report("(c)", entry, &format!("{count} Pods of TiProxy {}", owner.name));
            }
        }
        if entry.kind == "TiProxyGroup" && entry.change != Change::Deleted && ready_since(object).is_some() {
            let wanted = limits(&object.data["spec"]).replicas;
            let (active, gone): (Vec<_>, Vec<_>) = self
                .of_kind("TiProxy")
                .filter(|instance| owner(instance).is_some_and(|owner| owner.uid == uid(object)))
                .filter(|instance| is_active(instance) || self.outside.contains(&uid(instance)))
                .partition(|instance| is_active(instance));
            let version = &object.data["spec"]["template"]["spec"]["version"];
            let updated = active
                .iter()
                .all(|instance| instance.data["spec"]["version"] == *version);
            let most = active.len() + gone.len();
            let count = |number| i64::try_from(number).unwrap_or(i64::MAX);
            if !(count(active.len())..=count(most)).contains(&wanted) || !updated {
                let message = format!("Ready with {} of {wanted}, all updated: {updated}", active.len());
                self.report("(ready)", entry, &message);
            }
        }
    }

    fn note_unwanted(&mut self) {
        let unwanted: Vec<_> = self
            .of_kind("Pod")
            .filter(|pod| self.is_unwanted(pod))
            .map(uid)
            .collect();
        for uid in unwanted {
            self.unwanted.insert(uid, self.clock);
        }
    }

    /// Whether a Pod has to go, because its instance leaves or asks for another one.
    fn is_unwanted(&self, pod: &DynamicObject) -> bool {
        let instance = owner(pod).and_then(|owner| self.by_uid("TiProxy", &owner.uid));
        instance.is_some_and(|instance| {
            let fits = self.made_from.get(&uid(pod)) == Some(&pod_inputs(instance));
            !fits || !is_active(instance) || self.is_suspended(instance)
        })
    }

    /// Whether the Cluster of an instance wants it to run nothing, as far as the operator can know.
    fn is_suspended(&self, instance: &DynamicObject) -> bool {
        let cluster = instance.data["spec"]["cluster"]["name"]
            .as_str()
            .unwrap_or_default();
        let now = self.before.get(&("Cluster", cluster.to_owned()));
        let just_now = self.suspended.get(cluster);
        now.is_some_and(is_suspended) || just_now.is_some_and(|when| self.clock - when <= IN_FLIGHT)
    }

    /// The limits of the group's specs that a decision may rest on; `None` when the group is going or gone.
    fn believable_specs(&self, instance: &DynamicObject) -> Option<Vec<Limits>> {
        let group = self.by_uid("TiProxyGroup", &owner(instance)?.uid)?;
        if is_leaving(group) {
            return None;
        }
        let oldest = observed_generation(group);
        let specs = self.specs.get(&uid(group))?;
        let mut believable: Vec<_> = specs.range(oldest..).map(|(_, spec)| limits(spec)).collect();
        if believable.is_empty() {
            believable.push(limits(&group.data["spec"]));
        }
        Some(believable)
    }

    /// All TiProxies of the same group.
    fn siblings<'b>(&'b self, instance: &DynamicObject) -> impl Iterator<Item = &'b DynamicObject> {
        let group = owner(instance).map(|owner| owner.uid.clone());
        self.of_kind("TiProxy")
            .filter(move |other| owner(other).map(|owner| owner.uid.clone()) == group)
    }

    fn pod_of(&self, instance: &DynamicObject) -> Option<&DynamicObject> {
        self.of_kind("Pod")
            .find(|pod| owner(pod).is_some_and(|owner| owner.uid == uid(instance)))
    }

    fn of_kind(&self, kind: &'static str) -> impl Iterator<Item = &DynamicObject> {
        self.before
            .iter()
            .filter(move |((found, _), _)| *found == kind)
            .map(|(_, object)| object)
    }

    fn by_uid(&self, kind: &'static str, wanted: &str) -> Option<&DynamicObject> {
        self.of_kind(kind).find(|object| uid(object) == wanted)
    }

    /// The object before the entry.
    fn previous(&self, entry: &Entry) -> Option<&DynamicObject> {
        self.before
            .get(&(entry.kind, entry.object.name_any()))
            .filter(|previous| uid(previous) == uid(&entry.object))
    }

    fn report(&mut self, invariant: &str, entry: &Entry, why: &str) {
        self.found.push(format!("{invariant} {}: {why}", describe(entry)));
    }
}

/// The change in words, with the place in the history.
fn describe(entry: &Entry) -> String {
    let name = entry.object.name_any();
    format!(
        "{:?} {} {name} at {}",
        entry.change, entry.kind, entry.resource_version
    )
}

fn uid(object: &DynamicObject) -> String {
    object.uid().unwrap_or_default()
}
