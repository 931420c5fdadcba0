//! What the simulated API server holds, and its rules: names are unique, preconditions are checked, finalizers hold.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference, Time};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::{Resource, ResourceExt};
use tiproxy_operator::api::{TiProxy, name};
use tiproxy_operator::runtime::write::Target;

/// The name of the TiProxy.
pub(crate) const INSTANCE: &str = "web-0";
/// The name of its Pod and its `ConfigMap`.
pub(crate) const POD: &str = "web-tiproxy-0";

/// What the API server holds.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    pub(crate) instance: Option<TiProxy>,
    pub(crate) pods: BTreeMap<String, Pod>,
    pub(crate) config_maps: BTreeMap<String, ConfigMap>,
    pub(crate) claims: BTreeMap<String, PersistentVolumeClaim>,
    /// The claims that each Pod mounts, by its UID.
    pub(crate) mounts: BTreeMap<String, BTreeSet<String>>,
    pub(crate) cluster_paused: bool,
    pub(crate) cluster_suspended: bool,
    last_id: u64,
}

/// The write was refused; the operator stops and looks again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Refused;

/// The one who controls an object.
pub(crate) fn controller<K: Resource>(object: &K) -> Option<&OwnerReference> {
    let owners = object.meta().owner_references.iter().flatten();
    owners.into_iter().find(|owner| owner.controller == Some(true))
}

/// Whether an object belongs to the TiProxy of this UID.
pub(crate) fn belongs<K: Resource>(object: &K, uid: &str) -> bool {
    controller(object).is_some_and(|owner| owner.uid == uid)
}

/// Whether the operator's watches, which select by label, show it.
pub(crate) fn is_watched<K: Resource>(object: &K) -> bool {
    object.labels().get(name::LABEL_MANAGED_BY).map(String::as_str) == Some(name::MANAGED_BY)
}

/// The phase of a Pod.
pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status
        .as_ref()
        .and_then(|status| status.phase.as_deref())
        .unwrap_or("Pending")
}

/// Whether a Pod will not run again.
pub(crate) fn has_ended(pod: &Pod) -> bool {
    matches!(phase(pod), "Failed" | "Succeeded")
}

fn check<K: Resource>(object: Option<&K>, target: &Target, version_too: bool) -> Result<(), Refused> {
    let meta = object.map(Resource::meta).ok_or(Refused)?;
    let same = meta.uid.as_deref() == Some(target.uid.as_str())
        && (!version_too || meta.resource_version == target.resource_version);
    if same { Ok(()) } else { Err(Refused) }
}

impl State {
    fn id(&mut self) -> String {
        self.last_id += 1;
        self.last_id.to_string()
    }

    /// Gives an object a new resourceVersion.
    fn bumped(&mut self, meta: &mut ObjectMeta) {
        meta.resource_version = Some(self.id());
    }

    /// Gives a new object what the API server gives.
    pub(crate) fn born(&mut self, meta: &mut ObjectMeta, now: Timestamp) {
        meta.uid = Some(format!("uid-{}", self.id()));
        meta.creation_timestamp = Some(Time(now));
        self.bumped(meta);
    }

    pub(crate) fn create_pod(&mut self, mut pod: Pod, now: Timestamp) -> Result<(), Refused> {
        if self.pods.contains_key(&pod.name_any()) {
            return Err(Refused);
        }
        self.born(&mut pod.metadata, now);
        let volumes = pod.spec.iter().flat_map(|spec| spec.volumes.iter().flatten());
        let claims =
            volumes.filter_map(|volume| Some(volume.persistent_volume_claim.as_ref()?.claim_name.clone()));
        self.mounts
            .insert(pod.uid().unwrap_or_default(), claims.collect());
        // The operator's cache keeps no spec.
        pod.spec = None;
        self.pods.insert(pod.name_any(), pod);
        Ok(())
    }

    pub(crate) fn create_config_map(
        &mut self,
        mut config_map: ConfigMap,
        now: Timestamp,
    ) -> Result<(), Refused> {
        if self.config_maps.contains_key(&config_map.name_any()) {
            return Err(Refused);
        }
        self.born(&mut config_map.metadata, now);
        self.config_maps.insert(config_map.name_any(), config_map);
        Ok(())
    }

    pub(crate) fn replace_config_map(&mut self, mut config_map: ConfigMap) -> Result<(), Refused> {
        let target = Target::of(&config_map).ok_or(Refused)?;
        check(self.config_maps.get(&target.name), &target, true)?;
        self.bumped(&mut config_map.metadata);
        self.config_maps.insert(target.name, config_map);
        Ok(())
    }

    /// Changes the Pod that a write is aimed at.
    pub(crate) fn change_pod(
        &mut self,
        target: &Target,
        version_too: bool,
        change: impl FnOnce(&mut Pod),
    ) -> Result<(), Refused> {
        check(self.pods.get(&target.name), target, version_too)?;
        self.touch_pod(&target.name, change);
        Ok(())
    }

    /// Changes a Pod, as kubelets and users do.
    pub(crate) fn touch_pod(&mut self, name: &str, change: impl FnOnce(&mut Pod)) {
        let version = self.id();
        if let Some(pod) = self.pods.get_mut(name) {
            change(pod);
            pod.metadata.resource_version = Some(version);
        }
    }

    pub(crate) fn change_config_map(
        &mut self,
        target: &Target,
        change: impl FnOnce(&mut ConfigMap),
    ) -> Result<(), Refused> {
        check(self.config_maps.get(&target.name), target, true)?;
        self.touch_config_map(&target.name, change);
        Ok(())
    }

    pub(crate) fn touch_config_map(&mut self, name: &str, change: impl FnOnce(&mut ConfigMap)) {
        let version = self.id();
        if let Some(config_map) = self.config_maps.get_mut(name) {
            change(config_map);
            config_map.metadata.resource_version = Some(version);
        }
    }

    /// A graceful deletion: a Pod that runs has time to end.
    pub(crate) fn delete_pod(
        &mut self,
        target: &Target,
        version_too: bool,
        grace_period_seconds: Option<u32>,
        now: Timestamp,
    ) -> Result<(), Refused> {
        let grace = i64::from(grace_period_seconds.unwrap_or(30));
        self.change_pod(target, version_too, |pod| {
            let end = Time(now + SignedDuration::from_secs(grace));
            pod.metadata.deletion_timestamp.get_or_insert(end);
            pod.metadata.deletion_grace_period_seconds.get_or_insert(grace);
        })
    }

    pub(crate) fn create_claim(
        &mut self,
        mut claim: PersistentVolumeClaim,
        now: Timestamp,
    ) -> Result<(), Refused> {
        if self.claims.contains_key(&claim.name_any()) {
            return Err(Refused);
        }
        self.born(&mut claim.metadata, now);
        self.claims.insert(claim.name_any(), claim);
        Ok(())
    }

    pub(crate) fn change_claim(
        &mut self,
        target: &Target,
        version_too: bool,
        change: impl FnOnce(&mut PersistentVolumeClaim),
    ) -> Result<(), Refused> {
        check(self.claims.get(&target.name), target, version_too)?;
        self.touch_claim(&target.name, change);
        Ok(())
    }

    /// Changes a claim, as storage drivers and users do.
    pub(crate) fn touch_claim(&mut self, name: &str, change: impl FnOnce(&mut PersistentVolumeClaim)) {
        let version = self.id();
        if let Some(claim) = self.claims.get_mut(name) {
            change(claim);
            claim.metadata.resource_version = Some(version);
        }
    }

    /// A claim that is deleted goes when no Pod uses it any more.
    pub(crate) fn release_claims(&mut self) {
        let used: BTreeSet<String> = self
            .pods
            .values()
            .filter_map(|pod| self.mounts.get(&pod.uid().unwrap_or_default()))
            .flatten()
            .cloned()
            .collect();
        self.claims
            .retain(|name, claim| claim.metadata.deletion_timestamp.is_none() || used.contains(name));
    }

    /// The claims of the TiProxy of this UID.
    pub(crate) fn names_of_claims(&self, uid: &str) -> Vec<String> {
        let claims = self.claims.iter().filter(|(_, claim)| belongs(*claim, uid));
        claims.map(|(name, _)| name.clone()).collect()
    }

    fn delete_claims(&mut self, names: Vec<String>, now: Timestamp) {
        let is_going = |claim: &PersistentVolumeClaim| claim.metadata.deletion_timestamp.is_some();
        for name in names {
            if self.claims.get(&name).is_some_and(is_going) {
                continue;
            }
            self.touch_claim(&name, |claim| {
                claim.metadata.deletion_timestamp.get_or_insert(Time(now));
            });
        }
    }

    pub(crate) fn delete_config_map(&mut self, target: &Target) -> Result<(), Refused> {
        self.change_config_map(target, |_| {})?;
        self.config_maps.remove(&target.name);
        Ok(())
    }

    /// Changes the TiProxy; one that is being deleted goes with its last finalizer.
    pub(crate) fn touch_instance(&mut self, change: impl FnOnce(&mut TiProxy)) {
        let version = self.id();
        let Some(instance) = &mut self.instance else {
            return;
        };
        let before = instance.spec.clone();
        change(instance);
        if instance.spec != before {
            instance.metadata.generation = instance.metadata.generation.map(|generation| generation + 1);
        }
        instance.metadata.resource_version = Some(version);
        if instance.metadata.deletion_timestamp.is_some() && instance.finalizers().is_empty() {
            self.instance = None;
        }
    }

    pub(crate) fn change_instance(
        &mut self,
        target: &Target,
        version_too: bool,
        change: impl FnOnce(&mut TiProxy),
    ) -> Result<(), Refused> {
        check(self.instance.as_ref(), target, version_too)?;
        self.touch_instance(change);
        Ok(())
    }

    /// What the garbage collector does in one round: orphans what is to be orphaned, deletes what has no owner left.
    pub(crate) fn collect_garbage(&mut self, now: Timestamp) {
        let orphaning = self
            .instance
            .as_ref()
            .filter(|instance| instance.finalizers().iter().any(|found| found == "orphan"))
            .map(|instance| instance.uid().unwrap_or_default());
        if let Some(uid) = orphaning {
            self.orphan(&uid);
        }
        if let Some(uid) = self.going_in_foreground() {
            for name in self.names_of_pods(&uid) {
                self.touch_pod(&name, |pod| {
                    pod.metadata.deletion_timestamp.get_or_insert(Time(now));
                });
            }
            self.config_maps
                .retain(|_, config_map| !belongs(config_map, &uid));
            self.delete_claims(self.names_of_claims(&uid), now);
            self.release_claims();
            if self.names_of_pods(&uid).is_empty() && self.names_of_claims(&uid).is_empty() {
                self.touch_instance(|instance| {
                    instance
                        .finalizers_mut()
                        .retain(|finalizer| finalizer != "foregroundDeletion");
                });
            }
        }
        let alive = self.instance.as_ref().and_then(ResourceExt::uid);
        let lost =
            |owner: Option<&OwnerReference>| owner.is_some_and(|owner| Some(&owner.uid) != alive.as_ref());
        self.config_maps
            .retain(|_, config_map| !lost(controller(config_map)));
        let claims = self.claims.iter().filter(|(_, claim)| lost(controller(*claim)));
        self.delete_claims(claims.map(|(name, _)| name.clone()).collect(), now);
        self.release_claims();
        let lost: Vec<String> = self
            .pods
            .iter()
            .filter(|(_, pod)| lost(controller(*pod)))
            .map(|(name, _)| name.clone())
            .collect();
        for name in lost {
            self.touch_pod(&name, |pod| {
                pod.metadata.deletion_timestamp.get_or_insert(Time(now));
            });
        }
    }

    fn going_in_foreground(&self) -> Option<String> {
        let instance = self.instance.as_ref()?;
        let finalizers = instance.finalizers();
        finalizers
            .iter()
            .any(|found| found == "foregroundDeletion")
            .then(|| instance.uid().unwrap_or_default())
    }

    /// The Pods of the TiProxy of this UID.
    pub(crate) fn names_of_pods(&self, uid: &str) -> Vec<String> {
        let pods = self.pods.iter().filter(|(_, pod)| belongs(*pod, uid));
        pods.map(|(name, _)| name.clone()).collect()
    }

    fn orphan(&mut self, uid: &str) {
        for name in self.names_of_pods(uid) {
            self.touch_pod(&name, |pod| pod.metadata.owner_references = None);
        }
        let config_maps: Vec<String> = self
            .config_maps
            .iter()
            .filter(|(_, config_map)| belongs(*config_map, uid))
            .map(|(name, _)| name.clone())
            .collect();
        for name in config_maps {
            self.touch_config_map(&name, |config_map| config_map.metadata.owner_references = None);
        }
        for name in self.names_of_claims(uid) {
            self.touch_claim(&name, |claim| claim.metadata.owner_references = None);
        }
        self.touch_instance(|instance| {
            instance
                .finalizers_mut()
                .retain(|finalizer| finalizer != "orphan");
        });
    }
}
