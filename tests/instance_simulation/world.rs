//! A TiProxy, its Pod, its `ConfigMap` and its claims, and all that happens to them: the operator at work on views of its own,
//! kubelets, the garbage collector, users.

mod goal;
mod rules;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};
use tiproxy_operator::api::group::VolumeRetention;
use tiproxy_operator::api::{TiProxy, TiProxyStatus, name};
use tiproxy_operator::instance::build::owner_reference;
use tiproxy_operator::instance::claim_state::{Binding, ClaimState};
use tiproxy_operator::instance::drain;
use tiproxy_operator::instance::observe::{Observed, ObservedVolume, claim_slot};
use tiproxy_operator::instance::plan::leave::{Cause, End, cause};
use tiproxy_operator::instance::plan::{Action, DeleteReason, Plan, delete_rule, plan};
use tiproxy_operator::instance::pod_state::{PodState, is_running};
use tiproxy_operator::instance::status::status;
use tiproxy_operator::instance::validate::{Instance, Invalid, validate};
use tiproxy_operator::instance::volume::retention;
use tiproxy_operator::ownership::Slot;
use tiproxy_operator::problem::ExecuteError;

use crate::event::{Begin, Deletion, Event};
use crate::metadata::merge_metadata;
use crate::proxy::Proxy;
use crate::state::{INSTANCE, POD, Refused, State, belongs, controller, has_ended, is_watched, phase};

/// How far back the operator's watches of each kind are.
#[derive(Clone, Copy, Debug, Default)]
struct Horizons {
    instance: usize,
    pods: usize,
    config_maps: usize,
    claims: usize,
}

pub(crate) struct World {
    /// Every state there was; the last is the present.
    history: Vec<State>,
    horizons: Horizons,
    now: Timestamp,
    failures: u32,
    sees_own_writes: bool,
    /// The revision that each Pod was made from, by UID, whatever its labels say later.
    revisions: BTreeMap<String, String>,
    /// UIDs of Pods that were orphaned on purpose.
    orphaned: BTreeSet<String>,
    /// The process in the Pod.
    proxy: Proxy,
    /// UIDs of Pods whose label or begin somebody has changed by hand.
    vandalised: BTreeSet<String>,
}

/// What one pass did.
pub(crate) struct Pass {
    pub(crate) plan: Plan,
    pub(crate) wrote: bool,
    /// How long a status waits until it may be written; the operator looks again then.
    pending: Option<Duration>,
}

impl Pass {
    /// When the operator looks again although nothing happened.
    fn recheck(&self) -> Option<Duration> {
        [self.plan.recheck, self.pending].into_iter().flatten().min()
    }
}

/// What became of a status.
enum Reported {
    Unchanged,
    Pending(Duration),
    Written,
}

fn revision_label<K: Resource>(object: &K) -> String {
    object
        .labels()
        .get(name::LABEL_REVISION)
        .cloned()
        .unwrap_or_default()
}

fn tiproxy() -> TiProxy {
    serde_json::from_value(json!({
        "apiVersion": "core.pingcap.com/v1alpha1", "kind": "TiProxy",
        "metadata": {"name": INSTANCE, "namespace": "ns", "generation": 1, "labels": {name::LABEL_GROUP: "web"}},
        "spec": {
            "cluster": {"name": "basic"}, "subdomain": "web-tiproxy-peer", "version": "v1.3.0",
            "discovery": {"pdAddrs": ["pd.ns.svc:2379"]}, "volumes": volumes(1),
        },
    }))
    .expect("a TiProxy")
}

/// The name of a claim that somebody else may have.
const CLAIM: &str = "data-web-tiproxy-0";

/// Volumes by bits: `data`, `log`, and both larger.
fn volumes(bits: u8) -> Value {
    let size = if bits & 4 == 0 { "1Gi" } else { "2Gi" };
    let volume =
        |name: &str| json!({"name": name, "storage": size, "mounts": [{"mountPath": format!("/{name}")}]});
    let named = [(1, "data"), (2, "log")];
    let volumes = named.into_iter().filter(|(bit, _)| bits & bit != 0);
    volumes.map(|(_, name)| volume(name)).collect()
}

impl World {
    pub(crate) fn new(sees_own_writes: bool) -> Self {
        let mut world = Self {
            history: vec![State::default()],
            horizons: Horizons::default(),
            now: Timestamp::from_second(1_000_000).expect("a time"),
            failures: 0,
            sees_own_writes,
            revisions: BTreeMap::new(),
            orphaned: BTreeSet::new(),
            proxy: Proxy::default(),
            vandalised: BTreeSet::new(),
        };
        world.happen(&Event::Recreate);
        world
    }

    pub(crate) fn state(&self) -> &State {
        self.history.last().expect("the history begins with a state")
    }

    fn head(&self) -> usize {
        self.history.len() - 1
    }

    fn write<T>(&mut self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state().clone();
        let result = change(&mut state);
        self.history.push(state);
        result
    }

    fn touch_pod(&mut self, change: impl FnOnce(&mut Pod)) {
        self.write(|state| state.touch_pod(POD, change));
    }

    fn pod(&self) -> Option<&Pod> {
        self.state().pods.get(POD)
    }

    pub(crate) fn happen(&mut self, event: &Event) {
        let now = self.now;
        match *event {
            Event::Reconcile { lags, crash } => {
                self.reconcile(lags, crash);
            }
            Event::Restart => self.restart(),
            Event::Advance(seconds) => self.advance(Duration::from_secs(seconds)),
            Event::Run => self.run(),
            Event::Ready => self.become_ready(),
            Event::Unready => self.become_unready(),
            Event::Evict => self.touch_pod(|pod| {
                set_status(
                    pod,
                    json!({"phase": "Failed", "reason": "Evicted", "startTime": Time(now)}),
                );
            }),
            Event::Succeed => {
                self.become_phase("Running", json!({"phase": "Succeeded", "startTime": Time(now)}));
            }
            Event::End => self.write(|state| {
                state
                    .pods
                    .retain(|_, pod| pod.metadata.deletion_timestamp.is_none());
                state.release_claims();
            }),
            Event::Collect => self.write(|state| state.collect_garbage(now)),
            Event::DeletePod => self.touch_pod(|pod| {
                pod.metadata.deletion_timestamp.get_or_insert(Time(now));
            }),
            Event::ForceDeletePod => self.write(|state| {
                state.pods.remove(POD);
            }),
            Event::DeleteConfigMap => {
                // Both marks of the revision at once are more than the operator can stand.
                if self.pod().is_none_or(|pod| !revision_label(pod).is_empty()) {
                    self.write(|state| state.config_maps.remove(POD));
                }
            }
            Event::EditConfigMap => self.write(|state| {
                state.touch_config_map(POD, |config_map| {
                    config_map.data = Some(BTreeMap::from([("config.toml".to_owned(), "mine".to_owned())]));
                });
            }),
            Event::StripLabel(label) => {
                // The revision can be told as long as the ConfigMap tells the truth about it.
                let config_map = self.state().config_maps.get(POD);
                let told =
                    self.sees_own_writes && config_map.is_some_and(|found| !revision_label(found).is_empty());
                if label != name::LABEL_REVISION || told {
                    self.touch_pod(|pod| {
                        pod.labels_mut().remove(label);
                    });
                }
            }
            Event::ForeignPod => self.foreign_pod(),
            Event::ForeignConfigMap => self.foreign_config_map(),
            Event::Bind
            | Event::DeleteClaim
            | Event::StripClaim
            | Event::ForeignClaim
            | Event::Volumes(_)
            | Event::Retain(_) => self.happen_to_volumes(event),
            Event::RemoveForeign => self.remove_foreign(),
            Event::Suspend(_)
            | Event::Offline(_)
            | Event::Drain(_)
            | Event::Clients(_)
            | Event::Reach(_)
            | Event::Poll
            | Event::Crash
            | Event::Begin(_)
            | Event::Serve(_) => self.happen_to_clients(event),
            Event::Pause(paused) => self.write(|state| state.cluster_paused = paused),
            Event::Version(version) => self.write(|state| {
                state.touch_instance(|instance| {
                    instance.spec.template.version = format!("v1.3.{version}");
                    instance.spec.template.config = None;
                });
            }),
            Event::InPlace(number) => self.write(|state| {
                state.touch_instance(|instance| instance.spec.features = Some(vec![number.to_string()]));
            }),
            Event::Metadata(number) => {
                self.write(|state| state.touch_instance(|instance| annotate(instance, number)));
            }
            Event::Invalid => self.write(|state| {
                state
                    .touch_instance(|instance| instance.spec.template.config = Some("labels={\"".to_owned()));
            }),
            Event::Delete(how) => self.delete(how),
            Event::DropFinalizer => self.write(|state| {
                state.touch_instance(|instance| {
                    if instance.metadata.deletion_timestamp.is_none() {
                        instance.finalizers_mut().clear();
                    }
                });
            }),
            Event::Recreate => self.recreate(),
        }
    }

    fn happen_to_clients(&mut self, event: &Event) {
        let now = self.now;
        match *event {
            Event::Suspend(suspended) => self.write(|state| state.cluster_suspended = suspended),
            Event::Offline(offline) => self.write(|state| {
                state.touch_instance(|instance| instance.spec.offline = offline.then_some(true));
            }),
            Event::Drain(which) => self.write(|state| {
                let drain = serde_json::from_value(drain_of(which)).expect("a drain");
                state.touch_instance(|instance| instance.spec.template.drain = drain);
            }),
            Event::Clients(clients) => self.proxy.serve(clients),
            Event::Reach(reachable) => self.proxy.reachable = reachable,
            Event::Poll => {
                if let Some(uid) = self
                    .pod()
                    .filter(|pod| is_running(pod))
                    .and_then(ResourceExt::uid)
                {
                    self.proxy.ask(&uid, now);
                }
            }
            Event::Crash => self.crash(),
            Event::Begin(begin) => {
                self.vandalised.extend(self.pod().and_then(ResourceExt::uid));
                self.touch_pod(|pod| {
                    let annotations = pod.annotations_mut();
                    let text = match begin {
                        None => {
                            annotations.remove(name::ANNOTATION_DRAIN_BEGIN);
                            return;
                        }
                        Some(Begin::Unreadable) => "soon".to_owned(),
                        Some(Begin::In(seconds)) => (now + SignedDuration::from_secs(seconds)).to_string(),
                    };
                    annotations.insert(name::ANNOTATION_DRAIN_BEGIN.to_owned(), text);
                });
            }
            Event::Serve(serving) => {
                self.vandalised.extend(self.pod().and_then(ResourceExt::uid));
                self.touch_pod(|pod| {
                    let labels = pod.labels_mut();
                    if serving {
                        labels.insert(name::LABEL_SERVING.to_owned(), "true".to_owned());
                    } else {
                        labels.remove(name::LABEL_SERVING);
                    }
                });
            }
            _ => {}
        }
    }

    fn become_unready(&mut self) {
        let since = self.proxy.started;
        self.touch_pod(|pod| {
            if is_running(pod) {
                set_status(pod, running(since));
            }
        });
    }

    fn crash(&mut self) {
        if !self.pod().is_some_and(is_running) {
            return;
        }
        self.proxy.serve(0);
        let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
        let status = json!({"phase": "Running", "containerStatuses": [container(&waiting)]});
        self.touch_pod(|pod| set_status(pod, status));
    }

    /// The kubelet starts what is to run, or starts it again.
    fn run(&mut self) {
        let may = |pod: &Pod| !has_ended(pod) && !is_running(pod);
        if self.is_mountable() && self.pod().is_some_and(may) {
            self.proxy.start(self.now);
            let since = self.now;
            self.touch_pod(|pod| set_status(pod, running(since)));
        }
    }

    fn become_phase(&mut self, from: &str, status: Value) {
        if self.pod().is_some_and(|pod| phase(pod) == from) {
            self.touch_pod(|pod| set_status(pod, status));
        }
    }

    fn recreate(&mut self) {
        let now = self.now;
        if self.state().instance.is_none() {
            self.write(|state| {
                let mut instance = tiproxy();
                state.born(&mut instance.metadata, now);
                state.instance = Some(instance);
            });
        }
    }

    fn happen_to_volumes(&mut self, event: &Event) {
        let now = self.now;
        match *event {
            Event::Bind => self.bind(),
            Event::DeleteClaim => self.write(|state| {
                state.touch_claim(CLAIM, |claim| {
                    claim.metadata.deletion_timestamp.get_or_insert(Time(now));
                });
                state.release_claims();
            }),
            Event::StripClaim => self.write(|state| {
                state.touch_claim(CLAIM, |claim| {
                    claim.labels_mut().remove(name::LABEL_CLUSTER);
                });
            }),
            Event::Volumes(bits) => self.write(|state| {
                let volumes = serde_json::from_value(volumes(bits)).expect("volumes");
                state.touch_instance(|instance| instance.spec.template.volumes = Some(volumes));
            }),
            Event::Retain(retain) => self.write(|state| {
                state.touch_instance(|instance| {
                    instance.spec.volume_retention = retain.then_some(VolumeRetention::Retain);
                });
            }),
            Event::ForeignClaim => {
                let mut claim = PersistentVolumeClaim::default();
                claim.metadata.name = Some(CLAIM.to_owned());
                claim.metadata.namespace = Some("ns".to_owned());
                let _taken = self.write(|state| state.create_claim(claim, now));
            }
            _ => {}
        }
    }

    /// Whether the Pod can start as far as its volumes are concerned.
    fn is_mountable(&self) -> bool {
        let state = self.state();
        let Some(pod) = self.pod() else { return false };
        let claims = state.mounts.get(&pod.uid().unwrap_or_default());
        claims.into_iter().flatten().all(|name| {
            let claim = state.claims.get(name);
            claim.is_some_and(|claim| ClaimState::of(claim).binding == Binding::Bound)
        })
    }

    /// Every claim gets a volume of the size that it asks for.
    fn bind(&mut self) {
        self.write(|state| {
            let names: Vec<String> = state.claims.keys().cloned().collect();
            for name in names {
                let found = state.claims.get(&name).map(ClaimState::of).expect("a claim");
                let is_done = found.binding == Binding::Bound && !found.is_growing();
                if is_done || found.requested.is_none() {
                    continue;
                }
                let status = json!({"phase": "Bound", "capacity": {"storage": found.requested}});
                state.touch_claim(&name, |claim| {
                    claim.status = Some(serde_json::from_value(status).expect("a status"));
                });
            }
        });
    }

    fn become_ready(&mut self) {
        let mut ready = running(self.proxy.started);
        ready["conditions"] =
            json!([{"type": "Ready", "status": "True", "lastTransitionTime": Time(self.now)}]);
        let may = |pod: &Pod| is_running(pod) && !PodState::of(pod).is_ready();
        if self.pod().is_some_and(may) {
            self.become_phase("Running", ready);
        }
    }

    fn foreign_pod(&mut self) {
        let now = self.now;
        let mut pod = Pod::default();
        pod.metadata.name = Some(POD.to_owned());
        pod.metadata.namespace = Some("ns".to_owned());
        let _taken = self.write(|state| state.create_pod(pod, now));
    }

    fn foreign_config_map(&mut self) {
        let now = self.now;
        let mut config_map = ConfigMap::default();
        config_map.metadata.name = Some(POD.to_owned());
        config_map.metadata.namespace = Some("ns".to_owned());
        let _taken = self.write(|state| state.create_config_map(config_map, now));
    }

    fn remove_foreign(&mut self) {
        self.write(|state| {
            state
                .pods
                .retain(|_, pod| controller(pod).is_some() || is_watched(pod));
            state
                .config_maps
                .retain(|_, config_map| controller(config_map).is_some() || is_watched(config_map));
            state
                .claims
                .retain(|_, claim| controller(claim).is_some() || is_watched(claim));
        });
    }

    fn delete(&mut self, how: Deletion) {
        let now = self.now;
        let Some(instance) = &self.state().instance else {
            return;
        };
        if instance.metadata.deletion_timestamp.is_some() {
            return;
        }
        let uid = instance.uid().unwrap_or_default();
        let finalizer = match how {
            Deletion::Background => None,
            Deletion::Foreground => Some("foregroundDeletion"),
            Deletion::Orphan => {
                let pods = self.state().pods.values().filter(|pod| belongs(*pod, &uid));
                let uids: Vec<String> = pods.filter_map(ResourceExt::uid).collect();
                self.orphaned.extend(uids);
                Some("orphan")
            }
        };
        self.write(|state| {
            state.touch_instance(|instance| {
                instance.metadata.deletion_timestamp = Some(Time(now));
                instance.finalizers_mut().extend(finalizer.map(ToOwned::to_owned));
            });
        });
    }

    fn advance(&mut self, by: Duration) {
        self.now += SignedDuration::try_from(by).expect("a short time");
    }

    fn restart(&mut self) {
        let head = self.head();
        self.horizons = Horizons {
            instance: head,
            pods: head,
            config_maps: head,
            claims: head,
        };
        self.failures = 0;
    }

    /// One look at caches that lag behind by so many states, but never go back.
    fn observe(&mut self, lags: [usize; 4]) -> Option<Observed> {
        let head = self.head();
        let at = |horizon: usize, lag: usize| horizon.max(head.saturating_sub(lag));
        let [instance, pods, config_maps, claims] = lags;
        self.horizons = Horizons {
            instance: at(self.horizons.instance, instance),
            pods: at(self.horizons.pods, pods),
            config_maps: at(self.horizons.config_maps, config_maps),
            claims: at(self.horizons.claims, claims),
        };
        let state = |index: usize| self.history.get(index).expect("a horizon is in the past");
        let object = Arc::new(state(self.horizons.instance).instance.clone()?);
        let uid = object.uid().unwrap_or_default();
        let mark = (name::LABEL_INSTANCE, INSTANCE);
        let pods = state(self.horizons.pods);
        let config_maps = state(self.horizons.config_maps);
        let pod = pods.pods.get(POD).filter(|pod| is_watched(*pod)).cloned();
        let config_map = config_maps
            .config_maps
            .get(POD)
            .filter(|config_map| is_watched(*config_map))
            .cloned();
        // One Pod after the other is in another zone.
        let location = pod.as_ref().filter(|pod| phase(pod) == "Running").map(|pod| {
            let zone = pod.uid().unwrap_or_default().chars().last().unwrap_or_default();
            BTreeMap::from([("zone".to_owned(), format!("zone-{zone}"))])
        });
        let claims: BTreeMap<_, _> = state(self.horizons.claims)
            .claims
            .iter()
            .filter(|(_, claim)| is_watched(*claim))
            .map(|(name, claim)| (name.clone(), Arc::new(claim.clone())))
            .collect();
        let volumes = object.spec.template.volumes.iter().flatten().map(|volume| {
            let claim = name::volume_claim(&volume.name, POD);
            ObservedVolume {
                spec: volume.clone(),
                slot: claim_slot(claims.get(&claim).cloned(), &uid, "web", INSTANCE, &volume.name),
                claim,
            }
        });
        Some(Observed {
            volumes: volumes.collect(),
            claims: claims
                .values()
                .filter(|claim| belongs(&***claim, &uid))
                .cloned()
                .collect(),
            pods: pods
                .pods
                .values()
                .filter(|pod| is_watched(*pod) && belongs(*pod, &uid))
                .cloned()
                .map(Arc::new)
                .collect(),
            config_map: Slot::of(config_map.map(Arc::new), &uid, mark),
            paused: self.state().cluster_paused,
            failures: self.failures,
            // It decides when a status is written, not what is done.
            pod_deleted: None,
            failed_mounts: Vec::new(),
            location,
            suspended: self.state().cluster_suspended,
            proxy: pod
                .as_ref()
                .map(|pod| self.proxy.told(&pod.uid().unwrap_or_default()))
                .unwrap_or_default(),
            other_proxies: BTreeMap::new(),
            pod: Slot::of(pod.map(Arc::new), &uid, mark),
            object,
        })
    }

    /// One pass of the operator, which crashes after so many writes.
    pub(crate) fn reconcile(&mut self, lags: [usize; 4], crash: Option<usize>) -> Option<Pass> {
        let observed = self.observe(lags)?;
        let instance = validate(&observed.object);
        let plan = plan(&observed, instance.as_ref(), self.now);
        rules::check_plan(&observed, instance.as_ref(), &plan, self.now);
        let mut wrote = false;
        let mut pending = None;
        let mut error = None;
        for (index, action) in plan.actions.iter().enumerate() {
            if crash == Some(index) {
                self.restart();
                return Some(Pass {
                    plan,
                    wrote,
                    pending: None,
                });
            }
            match self.carry_out(&observed, instance.as_ref().ok(), action) {
                Ok(()) => wrote = true,
                Err(why) => {
                    error = error.or(Some(why));
                    if !action.is_independent() {
                        break;
                    }
                }
            }
        }
        if observed
            .pod
            .ours()
            .is_some_and(|pod| PodState::of(pod).is_ready())
        {
            self.failures = 0;
        }
        let conflict = matches!(error, Some(None));
        if crash.is_some() {
            self.restart();
        } else if !conflict && !plan.releases() {
            let error = error.flatten();
            match self.report(&observed, instance.as_ref(), &plan, error.as_ref()) {
                Reported::Written => wrote = true,
                Reported::Pending(wait) => pending = Some(wait),
                Reported::Unchanged => {}
            }
        }
        Some(Pass { plan, wrote, pending })
    }

    fn report(
        &mut self,
        observed: &Observed,
        instance: Result<&Instance, &Invalid>,
        plan: &Plan,
        error: Option<&ExecuteError>,
    ) -> Reported {
        let report = status(observed, instance, plan, error, self.now);
        let stored = observed.object.status.clone().unwrap_or_default();
        if report.status == stored {
            return Reported::Unchanged;
        }
        if !report.after.is_zero() {
            return Reported::Pending(report.after);
        }
        // What was written is not written again, also not a moment later, if it does not say for how long it holds.
        if plan
            .recheck
            .is_some_and(|recheck| recheck <= Duration::from_secs(1))
        {
            return self.store(observed, report.status);
        }
        let mut after = observed.clone();
        let mut object = (*observed.object).clone();
        object.status = Some(report.status.clone());
        after.object = Arc::new(object);
        let later = self.now + SignedDuration::from_secs(1);
        assert_eq!(status(&after, instance, plan, error, later).status, report.status);

        self.store(observed, report.status)
    }

    fn store(&mut self, observed: &Observed, status: TiProxyStatus) -> Reported {
        let uid = observed.object.uid().unwrap_or_default();
        self.write(|state| {
            state.touch_instance(|instance| {
                if instance.uid().as_deref() == Some(uid.as_str()) {
                    instance.status = Some(status);
                }
            });
        });
        if self.sees_own_writes {
            self.horizons.instance = self.head();
        }
        Reported::Written
    }

    /// One write by the API server's rules. `Err(None)` is a conflict that the next pass settles.
    fn carry_out(
        &mut self,
        observed: &Observed,
        instance: Option<&Instance>,
        action: &Action,
    ) -> Result<(), Option<ExecuteError>> {
        let mut state = self.state().clone();
        let now = self.now;
        let uid = observed.object.uid().unwrap_or_default();
        let object =
            tiproxy_operator::runtime::write::Target::of(&*observed.object).expect("a stored TiProxy");
        let owner = owner_reference(INSTANCE, &uid);
        let looks_first =
            matches!(action, Action::ReplaceConfigMap(_)) && matches!(observed.pod, Slot::Absent);
        if looks_first && self.pod().is_some_and(|pod| belongs(pod, &uid)) {
            self.horizons.pods = self.head();
            return Err(None);
        }
        // The operator looks past its caches before it takes a claim over.
        let is_alive = state.instance.as_ref().is_some_and(|instance| {
            instance.uid().as_deref() == Some(&uid) && instance.metadata.deletion_timestamp.is_none()
        });
        let result = match action {
            _ if action.adopts_claim() && !is_alive => Err(Refused),
            Action::AddFinalizer => state.change_instance(&object, true, |instance| {
                instance.finalizers_mut().push(name::FINALIZER.to_owned());
            }),
            Action::RemoveFinalizer => state.change_instance(&object, true, |instance| {
                instance.finalizers_mut().retain(|found| found != name::FINALIZER);
            }),
            Action::AdoptConfigMap(target) => state.change_config_map(target, |config_map| {
                config_map.owner_references_mut().push(owner);
            }),
            Action::AdoptPod(target) => {
                state.change_pod(target, true, |pod| pod.owner_references_mut().push(owner))
            }
            Action::CreateConfigMap(config_map) => state.create_config_map((**config_map).clone(), now),
            Action::ReplaceConfigMap(config_map) => state.replace_config_map((**config_map).clone()),
            Action::DeleteConfigMap(target) => state.delete_config_map(target),
            Action::CreateClaim(claim) => state.create_claim((**claim).clone(), now),
            Action::PatchClaim { target, metadata } => {
                let version_too = metadata.contains_key("ownerReferences");
                state.change_claim(target, version_too, |claim| {
                    merge_metadata(&mut claim.metadata, metadata);
                })
            }
            Action::ChangeClaim { target, spec } => state.change_claim(target, true, |claim| {
                let size = &spec["resources"]["requests"]["storage"];
                let size = serde_json::from_value(size.clone()).expect("a size");
                let resources = claim
                    .spec
                    .get_or_insert_default()
                    .resources
                    .get_or_insert_default();
                resources
                    .requests
                    .get_or_insert_default()
                    .insert("storage".to_owned(), size);
            }),
            Action::DeleteClaim(target) => state
                .change_claim(target, true, |claim| {
                    claim.metadata.deletion_timestamp.get_or_insert(Time(now));
                })
                .inspect(|()| state.release_claims()),
            Action::CreatePod(pod) => state.create_pod(pod.object.clone(), now),
            Action::PatchPod { target, metadata } => {
                state.change_pod(target, false, |pod| merge_metadata(&mut pod.metadata, metadata))
            }
            Action::DeletePod {
                target,
                grace_period_seconds,
                ..
            } => {
                let rule = delete_rule(*grace_period_seconds);
                state.delete_pod(target, rule.resource_version, rule.grace_period_seconds, now)
            }
        };
        if result == Err(Refused) {
            return Err(self.refused(&uid, action));
        }
        self.check_write(observed, instance, action);
        self.history.push(state);
        if let (Action::CreatePod(_), Some(pod)) = (action, self.pod()) {
            let (uid, revision) = (pod.uid().unwrap_or_default(), revision_label(pod));
            self.revisions.insert(uid, revision);
        }
        if let Action::DeletePod {
            why: DeleteReason::Failed,
            ..
        } = action
        {
            self.failures += 1;
        }
        if self.sees_own_writes {
            self.note_own_write(action);
        }
        Ok(())
    }

    fn note_own_write(&mut self, action: &Action) {
        let head = self.head();
        match action {
            Action::AddFinalizer | Action::RemoveFinalizer => self.horizons.instance = head,
            Action::AdoptConfigMap(_)
            | Action::CreateConfigMap(_)
            | Action::ReplaceConfigMap(_)
            | Action::DeleteConfigMap(_) => {
                self.horizons.config_maps = head;
            }
            Action::CreateClaim(_)
            | Action::PatchClaim { .. }
            | Action::ChangeClaim { .. }
            | Action::DeleteClaim(_) => {
                self.horizons.claims = head;
            }
            Action::AdoptPod(_)
            | Action::CreatePod(_)
            | Action::PatchPod { .. }
            | Action::DeletePod { .. } => {
                self.horizons.pods = head;
            }
        }
    }

    /// After a collision the operator looks, past its caches, who has the name.
    fn refused(&mut self, uid: &str, action: &Action) -> Option<ExecuteError> {
        let mark = (name::LABEL_INSTANCE, INSTANCE);
        let state = self.state();
        match action {
            Action::CreatePod(_) => {
                let found = state.pods.get(POD).cloned().map(Arc::new);
                if let Slot::Foreign(pod) = Slot::of(found, uid, mark) {
                    return Some(ExecuteError::name_conflict(&*pod));
                }
                self.horizons.pods = self.head();
            }
            Action::CreateConfigMap(_) => {
                let found = state.config_maps.get(POD).cloned().map(Arc::new);
                if let Slot::Foreign(config_map) = Slot::of(found, uid, mark) {
                    return Some(ExecuteError::name_conflict(&*config_map));
                }
                self.horizons.config_maps = self.head();
            }
            Action::CreateClaim(claim) => {
                let found = state.claims.get(&claim.name_any()).cloned().map(Arc::new);
                if let Slot::Foreign(claim) = Slot::of(found, uid, mark) {
                    return Some(ExecuteError::name_conflict(&*claim));
                }
                self.horizons.claims = self.head();
            }
            _ => {}
        }
        None
    }

    fn is_vandalised(&self, pod: &Pod) -> bool {
        self.vandalised.contains(&pod.uid().unwrap_or_default())
    }

    fn is_orphan(&self, pod: &Pod) -> bool {
        self.orphaned.contains(&pod.uid().unwrap_or_default()) && controller(pod).is_none()
    }

    /// Ends all trouble, lets everybody do their work, and returns when nothing moves any more.
    pub(crate) fn heal(&mut self) {
        self.write(|state| state.cluster_paused = false);
        let invalid = |instance: &TiProxy| instance.spec.template.config.is_some();
        if self.state().instance.as_ref().is_some_and(invalid) {
            self.happen(&Event::Version(0));
        }
        self.remove_foreign();
        let mut at_rest = 0;
        for _ in 0..60 {
            let before = format!("{:?}", self.state());
            self.happen(&Event::Collect);
            self.happen(&Event::End);
            self.bind();
            let pass = self.reconcile([0; 4], None);
            let wait = pass.as_ref().and_then(Pass::recheck);
            self.happen(&Event::Run);
            self.happen(&Event::Ready);
            self.happen(&Event::Poll);
            let moved = format!("{:?}", self.state()) != before;
            let idle =
                pass.is_none_or(|pass| pass.plan == Plan::default() && !pass.wrote && pass.pending.is_none());
            at_rest = if idle && !moved { at_rest + 1 } else { 0 };
            if at_rest == 3 {
                return;
            }
            self.advance(wait.unwrap_or(Duration::from_secs(1)));
        }
        panic!("it never comes to rest: {:#?}", self.state());
    }
}

/// The status of a Pod whose container runs since then.
fn running(since: Timestamp) -> Value {
    let running = json!({"running": {"startedAt": Time(since)}});
    json!({"phase": "Running", "containerStatuses": [container(&running)]})
}

fn container(state: &Value) -> Value {
    json!({"name": "tiproxy", "image": "", "imageID": "", "ready": false, "restartCount": 0, "state": state})
}

/// How long clients have to leave.
fn drain_of(which: u8) -> Value {
    match which {
        0 => Value::Null,
        1 => json!({"timeoutSeconds": 0}),
        2 => json!({"timeoutSeconds": 5, "quietSeconds": 0}),
        3 => json!({"timeoutSeconds": 600}),
        _ => json!({"timeoutSeconds": 30, "quietSeconds": 60}),
    }
}

fn set_status(pod: &mut Pod, status: Value) {
    pod.status = Some(serde_json::from_value(status).expect("a status"));
}

fn annotate(instance: &mut TiProxy, number: u8) {
    let key = format!("note-{}", number % 2);
    let keys = json!({ "annotations": [key] }).to_string();
    let annotations = instance.annotations_mut();
    annotations.clear();
    annotations.insert(key, number.to_string());
    annotations.insert(name::ANNOTATION_TEMPLATE_KEYS.to_owned(), keys);
}
