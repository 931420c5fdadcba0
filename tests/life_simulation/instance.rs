//! One pass of the instance controller, and what it may do.

use std::collections::BTreeMap;
use std::sync::Arc;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use tiproxy_operator::api::{TiProxy, name};
use tiproxy_operator::instance::observe::Observed;
use tiproxy_operator::instance::plan::{Action, DeleteReason, plan};
use tiproxy_operator::instance::pod_state::PodState;
use tiproxy_operator::instance::status::status;
use tiproxy_operator::instance::validate::validate;
use tiproxy_operator::ownership::Slot;
use tiproxy_standin::testing::random::Random;

use crate::cluster::{Cluster, is_current};
use crate::metadata::merge_metadata;

impl Cluster {
    /// Looks at one of them.
    pub(crate) fn reconcile_one(&mut self, random: &mut Random) {
        let names: Vec<String> = self.instances.keys().cloned().collect();
        if !names.is_empty() {
            self.reconcile_instance(&random.one_of(&names));
        }
    }

    /// Looks, decides, writes, reports.
    pub(crate) fn reconcile_instance(&mut self, instance_name: &str) {
        let observed = self.observe_instance(instance_name);
        let instance = validate(&observed.object);
        let plan = plan(&observed, instance.as_ref(), self.now);
        for action in &plan.actions {
            self.carry_out(&observed, action);
        }
        if plan.releases() {
            return;
        }
        let uid = observed.object.uid().unwrap_or_default();
        if observed
            .pod
            .ours()
            .is_some_and(|pod| PodState::of(pod).is_ready())
        {
            self.failures.remove(&uid);
        }
        let report = status(&observed, instance.as_ref(), &plan, None, self.now);
        let stored = observed.object.status.clone().unwrap_or_default();
        if report.status != stored && report.after.is_zero() {
            let version = self.id();
            if let Some(found) = self.instances.get_mut(instance_name) {
                found.status = Some(report.status);
                found.metadata.resource_version = Some(version);
                self.writes += 1;
            }
        }
    }

    fn observe_instance(&self, instance_name: &str) -> Observed {
        let object = self.instances[instance_name].clone();
        let uid = object.uid().unwrap_or_default();
        let pod_name = name::pod("web", instance_name);
        let mark = (name::LABEL_INSTANCE, instance_name);
        let pod = self.pods.get(&pod_name).cloned().map(Arc::new);
        let process = pod
            .as_ref()
            .and_then(|pod| self.processes.get(&pod.uid().unwrap_or_default()));
        Observed {
            pods: pod.iter().cloned().collect(),
            proxy: process.map(|process| process.state.clone()).unwrap_or_default(),
            pod: Slot::of(pod, &uid, mark),
            config_map: Slot::of(self.config_maps.get(&pod_name).cloned().map(Arc::new), &uid, mark),
            volumes: Vec::new(),
            claims: Vec::new(),
            paused: self.paused,
            suspended: self.suspended,
            other_proxies: BTreeMap::new(),
            failed_mounts: Vec::new(),
            failures: self.failures.get(&uid).copied().unwrap_or_default(),
            // It decides when a status is written, not what is done.
            pod_deleted: None,
            location: None,
            object: Arc::new(object),
        }
    }

    fn carry_out(&mut self, observed: &Observed, action: &Action) {
        self.writes += 1;
        let instance = &observed.object;
        let (instance_name, now) = (instance.name_any(), self.now);
        match action {
            Action::RemoveFinalizer => {
                let uid = instance.uid().unwrap_or_default();
                assert!(self.pod_of(&uid).is_none(), "{instance_name} goes before its Pod");
                self.instances.remove(&instance_name);
            }
            Action::CreateConfigMap(config_map) => {
                let mut made = (**config_map).clone();
                self.born(&mut made.metadata);
                self.config_maps.insert(made.name_any(), made);
            }
            Action::ReplaceConfigMap(config_map) => {
                self.check_quiet_replacement(instance, &config_map.name_any());
                let mut made = (**config_map).clone();
                made.metadata.resource_version = Some(self.id());
                self.config_maps.insert(made.name_any(), made);
            }
            Action::DeleteConfigMap(target) => {
                self.config_maps.remove(&target.name);
            }
            Action::CreatePod(manifest) => {
                let uid = instance.uid().unwrap_or_default();
                assert!(self.pod_of(&uid).is_none(), "(c) a second Pod of {instance_name}");
                assert!(
                    instance.spec.offline != Some(true),
                    "{instance_name} leaves and gets a Pod"
                );
                assert!(!self.suspended, "{instance_name} is suspended and gets a Pod");
                let mut made: Pod = manifest.object.clone();
                self.born(&mut made.metadata);
                made.spec = None;
                let version = instance.spec.template.version.clone();
                made.labels_mut().insert("version".to_owned(), version);
                self.pods.insert(made.name_any(), made);
            }
            Action::PatchPod { target, metadata } => {
                let version = self.id();
                let pod = self.pods.get_mut(&target.name).expect("a Pod that is patched");
                assert!(is_current(pod, &target.uid, None), "(d) {target:?}");
                merge_metadata(&mut pod.metadata, metadata);
                pod.metadata.resource_version = Some(version);
            }
            Action::DeletePod {
                target,
                grace_period_seconds,
                why,
            } => {
                let pod = self.pods.get(&target.name).expect("a Pod that is deleted");
                assert!(
                    is_current(pod, &target.uid, target.resource_version.as_deref()),
                    "(d) {target:?}"
                );
                self.check_drained(instance, &pod.clone(), *why);
                let grace = i64::from(grace_period_seconds.unwrap_or(30)).min(3);
                let due = Time(now + SignedDuration::from_secs(grace));
                self.touch_pod(&target.name, |pod| {
                    pod.metadata.deletion_timestamp.get_or_insert(due);
                });
                if *why == DeleteReason::Failed {
                    let uid = instance.uid().unwrap_or_default();
                    *self.failures.entry(uid).or_default() += 1;
                }
            }
            other => panic!("{other:?} is not expected here"),
        }
    }

    /// A Pod that leaves keeps the configuration that it was made for.
    fn check_quiet_replacement(&self, instance: &TiProxy, pod_name: &str) {
        let leaves = self
            .pods
            .get(pod_name)
            .is_some_and(|pod| pod.annotations().contains_key(name::ANNOTATION_DRAIN_BEGIN));
        assert!(
            !leaves || instance.spec.offline != Some(true),
            "{pod_name} leaves and gets another configuration"
        );
    }

    /// Clients were given time: all of it, or as much as they needed.
    fn check_drained(&mut self, instance: &TiProxy, pod: &Pod, why: DeleteReason) {
        let timeout = instance.spec.template.drain_timeout();
        let state = PodState::of(pod);
        let Some(process) = self.processes.get(&pod.uid().unwrap_or_default()) else {
            return;
        };
        if timeout.is_zero() || !state.running || state.ended {
            return;
        }
        assert!(
            !pod.labels().contains_key(name::LABEL_SERVING),
            "{} is deleted while clients find it ({why:?})",
            pod.name_any()
        );
        let begin = pod.annotations().get(name::ANNOTATION_DRAIN_BEGIN);
        let begin: Timestamp = begin.and_then(|text| text.parse().ok()).expect("a begin");
        if begin + timeout <= self.now {
            self.seen.deadlines += 1;
            return;
        }
        let quiet = instance.spec.template.drain_quiet();
        let last = process.busy_at.map_or(begin, |busy| busy.max(begin));
        assert!(
            process.connections == 0 && last + quiet <= self.now,
            "{} has {} clients, the last at {last}, and {why:?} at {}",
            pod.name_any(),
            process.connections,
            self.now
        );
        self.seen.drained += 1;
    }
}
