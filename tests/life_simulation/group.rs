//! One pass of the group controller, and what it may do.

use std::collections::BTreeSet;
use std::sync::Arc;

use kube::{Resource, ResourceExt};
use tiproxy_operator::api::{Discovery, TiProxy};
use tiproxy_operator::group::build::instance::{instance as build_instance, spec_of};
use tiproxy_operator::group::build::owner_reference;
use tiproxy_operator::group::deadline::deadline;
use tiproxy_operator::group::observe::Observed;
use tiproxy_operator::group::plan::{self, Action, Exit, Health, Phase, Plan, Target, Why, counts};
use tiproxy_operator::group::status::{Planned, status};
use tiproxy_operator::group::unsupported;
use tiproxy_operator::group::validate::{Group, validate};
use tiproxy_operator::group::volumes::LeftBehind;
use tiproxy_operator::ownership::Slot;
use tiproxy_operator::revision;

use crate::cluster::{Cluster, is_current};

fn discovery() -> Discovery {
    Discovery {
        pd_addrs: vec!["pd.ns.svc:2379".to_owned()],
        ..Discovery::default()
    }
}

impl Cluster {
    /// Looks, decides, writes, reports.
    pub(crate) fn reconcile_group(&mut self) {
        let observed = self.observe_group();
        let group = validate(&observed.object).expect("a valid group");
        let desired = group.instance_spec(&discovery());
        let view = observed.for_plan(&group, Some(&desired));
        let plan = plan::plan(&view, self.now);
        if !self.paused {
            self.tell_leavers(&group, &plan);
            let mut taken = BTreeSet::new();
            for action in &plan.actions {
                self.check_group_action(&view, &taken, action);
                if let Action::Leave { target, .. } | Action::Recreate { target } = action {
                    taken.insert(target.name.clone());
                }
                self.carry_out_group(&group, action);
            }
        }
        let planned = Planned {
            group: &group,
            revision: Some(revision::name(&group.name, &desired)),
            counts: counts(&view, self.now),
            plan: &plan,
            deadline: deadline(&observed, &group, &plan, self.now),
            refusal: None,
            warnings: Vec::new(),
        };
        let told = status(
            &observed,
            Ok(&planned),
            &unsupported::fields(&observed.object),
            None,
            self.now,
        );
        if self.group.status.as_ref() != Some(&told) {
            self.group.status = Some(told);
            self.group.metadata.resource_version = Some(self.id());
            self.writes += 1;
        }
    }

    fn observe_group(&self) -> Observed {
        let with_pod = |instance: &&TiProxy| {
            let pod = self.pod_of(&instance.uid().unwrap_or_default());
            pod.is_some_and(|pod| pod.meta().deletion_timestamp.is_none())
        };
        let instances = self.instances.values();
        Observed {
            object: Arc::new(self.group.clone()),
            with_pod: instances
                .clone()
                .filter(with_pod)
                .filter_map(ResourceExt::uid)
                .collect(),
            instances: instances.cloned().map(Arc::new).collect(),
            adoptable: Vec::new(),
            reserved_ordinals: BTreeSet::new(),
            left_behind: LeftBehind::default(),
            client_service: Slot::Absent,
            peer_service: Slot::Absent,
            disruption_budget: Slot::Absent,
            network_policy: Slot::Absent,
            cluster: Some(self.stored_cluster()),
            discovery: Ok(discovery()),
        }
    }

    /// What a group says of drains reaches those that leave already.
    fn tell_leavers(&mut self, group: &Group, plan: &Plan) {
        let drain = group.instance_spec(&discovery()).template.drain;
        let leaving: Vec<String> = self
            .instances
            .values()
            .filter(|one| one.spec.offline == Some(true) || one.meta().deletion_timestamp.is_some())
            .filter(|one| one.spec.template.drain != drain)
            .filter(|one| !one.uid().is_some_and(|uid| plan.writes_to(&uid)))
            .map(ResourceExt::name_any)
            .collect();
        for name in leaving {
            self.replace(&name, |instance| instance.spec.template.drain.clone_from(&drain));
        }
    }

    fn replace(&mut self, name: &str, change: impl FnOnce(&mut TiProxy)) {
        let version = self.id();
        let instance = self.instances.get_mut(name).expect("what is written to");
        change(instance);
        instance.metadata.generation = instance.metadata.generation.map(|number| number + 1);
        instance.metadata.resource_version = Some(version);
        self.writes += 1;
    }

    fn carry_out_group(&mut self, group: &Group, action: &Action) {
        let desired = group.instance_spec(&discovery());
        let follow = |instance: &mut TiProxy| {
            instance.spec = spec_of(&desired, &instance.spec);
            group.template_metadata.change(&mut instance.metadata);
        };
        match action {
            Action::Revive { target } => {
                self.seen.revived += 1;
                self.replace(&target.name, |instance| {
                    instance.spec.offline = None;
                    follow(instance);
                });
            }
            Action::Create { ordinal, topology } => {
                let mut made = build_instance(group, &discovery(), *ordinal, topology.as_ref());
                self.born(&mut made.metadata);
                made.metadata.owner_references = Some(vec![owner_reference("web", "group")]);
                let name = made.name_any();
                assert!(!self.instances.contains_key(&name), "{name} is made twice");
                self.instances.insert(name, made);
                self.writes += 1;
            }
            Action::UpdateInPlace { target } => self.replace(&target.name, follow),
            Action::Recreate { target } => {
                self.seen.rolled += 1;
                self.replace(&target.name, follow);
            }
            Action::Leave { target, by, why } => {
                self.seen.rolled += usize::from(*why == Why::Roll);
                match by {
                    Exit::Drain => self.replace(&target.name, |instance| instance.spec.offline = Some(true)),
                    Exit::Delete => self.delete(&target.name),
                }
            }
            Action::Remove { target } => self.delete(&target.name),
        }
    }

    fn delete(&mut self, name: &str) {
        self.writes += 1;
        self.mark_deleted(name);
    }

    /// The rules (a), (b) and (d), by what is true now.
    fn check_group_action(&self, view: &plan::Observed, taken: &BTreeSet<String>, action: &Action) {
        let limit = view.replicas + view.limits.max_surge();
        match action {
            Action::Create { .. } => {
                let counted = self.instances.values().filter(|one| {
                    let is_active = one.spec.offline != Some(true) && one.meta().deletion_timestamp.is_none();
                    let seen = view.instances.iter().find(|seen| seen.name == one.name_any());
                    is_active || seen.is_some_and(|seen| seen.change == plan::Change::Roll)
                });
                let counted = u32::try_from(counted.count()).expect("few");
                assert!(counted < limit, "(a) {action:?}: {counted} of {limit}");
            }
            Action::Leave { target, .. } | Action::Recreate { target } => {
                self.check_target(target);
                self.check_floor(view, taken, target);
            }
            Action::Revive { target } | Action::UpdateInPlace { target } | Action::Remove { target } => {
                self.check_target(target);
            }
        }
    }

    fn check_target(&self, target: &Target) {
        let found = self.instances.get(&target.name).expect("what is written to");
        assert!(
            is_current(found, &target.uid, Some(&target.resource_version)),
            "(d) {target:?}"
        );
    }

    fn check_floor(&self, view: &plan::Observed, taken: &BTreeSet<String>, target: &Target) {
        let is_available = |one: &plan::Instance| {
            let Health::Ready { since } = one.health else {
                return false;
            };
            !taken.contains(&one.name) && one.phase == Phase::Active && since + view.min_ready <= self.now
        };
        let target = view
            .instances
            .iter()
            .find(|one| one.name == target.name)
            .expect("a member");
        if !is_available(target) {
            return;
        }
        let stay = view
            .instances
            .iter()
            .filter(|one| one.name != target.name && is_available(one));
        let floor = view.replicas.saturating_sub(view.limits.max_unavailable());
        let stay = u32::try_from(stay.count()).expect("few");
        assert!(stay >= floor, "(b) {}: {stay} of {floor} stay", target.name);
    }
}
