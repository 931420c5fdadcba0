//! A TiProxy, its Pod, its `ConfigMap` and its claims, and all that happens to them: the operator at work on views of its own,
//! kubelets, the garbage collector, users.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time};
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
            Event::Unready => {
                let since = self.proxy.started;
                self.touch_pod(|pod| {
                    if is_running(pod) {
                        set_status(pod, running(since));
                    }
                });
            }
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
            Event::Crash => {
                if self.pod().is_some_and(is_running) {
                    self.proxy.serve(0);
                    let waiting = json!({"waiting": {"reason": "CrashLoopBackOff"}});
                    self.touch_pod(|pod| {
                        set_status(
                            pod,
                            json!({"phase": "Running", "containerStatuses": [container(&waiting)]}),
                        )
                    });
                }
            }
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
        check_plan(&observed, instance.as_ref(), &plan, self.now);
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

    /// Whether a write that the API server accepts may be done, judged by what is true and not by what was seen.
    fn check_write(&self, observed: &Observed, instance: Option<&Instance>, action: &Action) {
        let state = self.state();
        let uid = observed.object.uid().unwrap_or_default();
        let pod = state.pods.get(POD);
        let left = state.names_of_pods(&uid);
        match action {
            Action::AddFinalizer => {}
            Action::RemoveFinalizer => {
                let orphaning = observed.object.finalizers().iter().any(|found| found == "orphan");
                assert!(
                    left.is_empty() || orphaning || !self.sees_own_writes,
                    "{left:?} would be left behind"
                );
                assert!(observed.object.metadata.deletion_timestamp.is_some());
                let is_kept = retention(&observed.object.spec) == VolumeRetention::Retain;
                let claims = state.names_of_claims(&uid);
                assert!(
                    claims.is_empty() || !is_kept || orphaning || !self.sees_own_writes,
                    "{claims:?} would be lost"
                );
            }
            Action::CreateClaim(claim) => {
                let is_kept = retention(&observed.object.spec) == VolumeRetention::Retain;
                assert_eq!(belongs(&**claim, &uid), !is_kept);
            }
            Action::PatchClaim { target, .. } => {
                self.check_claim(&uid, &target.name);
            }
            Action::ChangeClaim { target, spec } => {
                let found = self.check_claim(&uid, &target.name);
                assert_eq!(found.binding, Binding::Bound);
                assert_eq!(found.requested.expect("a size").0, "1Gi", "{spec}");
            }
            Action::DeleteClaim(target) => {
                let found = state.claims.get(&target.name).expect("what is deleted");
                assert!(belongs(found, &uid), "a foreign or kept claim is deleted");
                assert_eq!(retention(&observed.object.spec), VolumeRetention::Delete);
                let mut volumes = observed.object.spec.template.volumes.iter().flatten();
                assert!(
                    !volumes.any(|volume| name::volume_claim(&volume.name, POD) == target.name),
                    "a claim of the spec is deleted"
                );
            }
            Action::AdoptConfigMap(_) => {
                let found = state.config_maps.get(POD).expect("what is adopted");
                assert!(controller(found).is_none() && is_watched(found));
            }
            Action::AdoptPod(_) => {
                let found = pod.expect("what is adopted");
                assert!(controller(found).is_none() && is_watched(found));
            }
            Action::CreateConfigMap(config_map) => self.check_config_map(&uid, config_map),
            Action::ReplaceConfigMap(config_map) => {
                let found = state.config_maps.get(POD).expect("what is replaced");
                assert!(belongs(found, &uid), "a foreign ConfigMap is written to");
                let unseen = pod.filter(|pod| matches!(observed.pod, Slot::Absent) && belongs(*pod, &uid));
                assert!(
                    unseen.is_none(),
                    "a Pod that was not seen loses its configuration"
                );
                self.check_config_map(&uid, config_map);
            }
            Action::DeleteConfigMap(_) => {
                let found = state.config_maps.get(POD).expect("what is deleted");
                assert!(belongs(found, &uid), "a foreign ConfigMap is deleted");
                assert!(
                    left.is_empty() || !self.sees_own_writes,
                    "{left:?} would lose its configuration"
                );
                assert!(observed.object.metadata.deletion_timestamp.is_some());
            }
            Action::CreatePod(pod) => {
                assert!(left.is_empty(), "a second Pod beside {left:?}");
                assert!(belongs(&pod.object, &uid) && pod.object.name_any() == POD);
                assert_eq!(cause(observed), None, "a Pod that nobody wants is made");
            }
            // A patch carries the UID only: it may meet a Pod of ours that was orphaned meanwhile.
            Action::PatchPod { metadata, .. } => {
                let pod = pod.expect("what is changed");
                assert!(belongs(pod, &uid) || self.is_orphan(pod));
                self.check_patch(pod, metadata);
            }
            Action::DeletePod { why, .. } => {
                let pod = pod.expect("what is deleted");
                self.check_delete(observed, instance, pod, *why);
            }
        }
    }

    /// A claim that is written to is the TiProxy's, or one that is kept.
    fn check_claim(&self, uid: &str, name: &str) -> ClaimState {
        let found = self.state().claims.get(name).expect("what is changed");
        let is_kept = controller(found).is_none() && is_watched(found);
        assert!(belongs(found, uid) || is_kept, "a foreign claim is written to");
        ClaimState::of(found)
    }

    /// The configuration never changes under a Pod of another revision.
    fn check_config_map(&self, uid: &str, config_map: &ConfigMap) {
        let revision = revision_label(config_map);
        for pod in self.state().pods.values().filter(|pod| belongs(*pod, uid)) {
            let of_pod = self.revisions.get(&pod.uid().unwrap_or_default());
            assert!(
                of_pod == Some(&revision) || !self.sees_own_writes,
                "the ConfigMap of {revision} is written under a Pod of {of_pod:?}"
            );
        }
    }

    fn check_delete(&self, observed: &Observed, instance: Option<&Instance>, pod: &Pod, why: DeleteReason) {
        let uid = observed.object.uid().unwrap_or_default();
        let pod_uid = pod.uid().unwrap_or_default();
        assert!(belongs(pod, &uid), "a foreign or orphaned Pod is deleted");
        let (cause, end) = match why {
            DeleteReason::Failed => {
                assert!(has_ended(pod), "a Pod that runs is deleted as ended");
                return;
            }
            DeleteReason::Left { cause, end } => (cause, end),
        };
        let object = &observed.object;
        match cause {
            Cause::Deleted => assert!(object.metadata.deletion_timestamp.is_some()),
            Cause::Offline => assert_eq!(object.spec.offline, Some(true)),
            Cause::Suspended => assert!(self.state().cluster_suspended),
            Cause::Outdated => {
                let wanted = &instance.expect("a valid TiProxy").revision;
                assert_ne!(
                    self.revisions.get(&pod_uid),
                    Some(wanted),
                    "an up-to-date Pod is replaced"
                );
            }
        }
        self.check_end(object, pod, end);
    }

    /// A Pod that runs goes when its clients have left or their time is over, and not before.
    fn check_end(&self, object: &TiProxy, pod: &Pod, end: End) {
        let template = &object.spec.template;
        let begin = drain::begin(pod, self.now);
        let is_over = |begin, wait| self.now >= drain::after(begin, wait);
        let is_hidden = !drain::is_serving(pod);
        match end {
            End::NothingRan | End::Stopped => assert!(!is_running(pod), "{end:?}"),
            End::Undrained => assert!(template.drain_timeout().is_zero()),
            End::Deadline { .. } => {
                let begin = begin.expect("a begin");
                assert!(is_over(begin, template.drain_timeout()), "{begin}");
                assert!(is_hidden || self.vandalised.contains(&pod.uid().unwrap_or_default()));
            }
            End::Drained => {
                let uid = pod.uid().unwrap_or_default();
                let quiet = self.proxy.told(&uid).quiet_since.expect("a quiet TiProxy");
                let since = quiet.max(begin.expect("a begin"));
                assert!(is_over(since, template.drain_quiet()), "{since}");
                assert!(is_hidden, "it takes new clients");
            }
        }
    }

    /// A leave that has begun keeps its begin, and takes the Pod out of service in the same write.
    fn check_patch(&self, pod: &Pod, metadata: &serde_json::Map<String, Value>) {
        match drain::turn(metadata) {
            Some(drain::Turn::Began(begin)) => {
                assert_eq!(begin, drain::whole_seconds(self.now));
                assert_eq!(metadata["labels"], json!({name::LABEL_SERVING: null}));
                let before = drain::begin(pod, self.now);
                assert!(before.is_none() || !self.sees_own_writes, "the time begins anew");
            }
            Some(drain::Turn::Revived) => {
                assert_eq!(metadata["labels"][name::LABEL_SERVING], json!("true"));
            }
            None => {}
        }
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

    /// What must be true when the trouble is over.
    pub(crate) fn check_goal(&self) {
        let state = self.state();
        let Some(object) = &state.instance else {
            assert!(state.pods.values().all(|pod| controller(pod).is_none()));
            assert!(
                state
                    .config_maps
                    .values()
                    .all(|config_map| controller(config_map).is_none())
            );
            assert!(state.claims.values().all(|claim| controller(claim).is_none()));
            return;
        };
        let instance = validate(object).expect("a valid TiProxy");
        let uid = object.uid().unwrap_or_default();
        assert!(
            object.metadata.deletion_timestamp.is_none(),
            "it is not let go: {state:#?}"
        );
        assert_eq!(object.finalizers(), [name::FINALIZER]);
        if object.spec.offline == Some(true) || state.cluster_suspended {
            self.check_none(object);
            return;
        }
        let (pod, config_map) = (&state.pods[POD], &state.config_maps[POD]);
        assert!(belongs(pod, &uid) && belongs(config_map, &uid));
        assert!(PodState::of(pod).is_ready());
        assert_eq!(
            self.revisions.get(&pod.uid().unwrap_or_default()),
            Some(&instance.revision)
        );
        assert_eq!(
            (revision_label(pod), revision_label(config_map)),
            (instance.revision.clone(), instance.revision.clone())
        );
        self.check_volumes(object, pod);
        let text = &config_map.data.as_ref().expect("data")["config.toml"];
        assert!(text.contains("pd.ns.svc:2379"), "{text}");
        let zone = pod.uid().unwrap_or_default().chars().last().unwrap_or_default();
        assert!(text.contains(&format!("zone = \"zone-{zone}\"")), "{text}");
        assert_eq!(instance.template_metadata.patch_of(&pod.metadata), None);
        let status = object.status.as_ref().expect("a status");
        assert_eq!(status.observed_generation, object.metadata.generation);
        assert_eq!(status.current_revision.as_ref(), Some(&instance.revision));
        let ready = status
            .conditions
            .iter()
            .find(|condition| condition.type_ == "Ready");
        let ready = ready.expect("the condition Ready");
        assert_eq!(
            (ready.status.as_str(), ready.observed_generation),
            ("True", object.metadata.generation)
        );
        assert_eq!(Some(ready.last_transition_time.0), PodState::of(pod).ready_since);
        assert!(!drain::is_marked(pod), "it is still on its way out");
        assert!(drain::is_serving(pod) || self.vandalised.contains(&pod.uid().unwrap_or_default()));
        assert_eq!(status.drain, None);
    }

    /// Where there is to be no Pod there is none, and the status says why.
    fn check_none(&self, object: &TiProxy) {
        let uid = object.uid().unwrap_or_default();
        assert_eq!(self.state().names_of_pods(&uid), Vec::<String>::new());
        let status = object.status.as_ref().expect("a status");
        let is = |kind: &str| {
            let found = status.conditions.iter().find(|condition| condition.type_ == kind);
            found.map(|found| (found.status.as_str(), found.reason.as_str()))
        };
        let is_suspended = self.state().cluster_suspended;
        let is_offline = object.spec.offline == Some(true);
        let reason = if is_offline { "Leaving" } else { "Suspended" };
        assert_eq!(is("Ready"), Some(("False", reason)));
        let suspended = if is_suspended {
            ("True", "Suspended")
        } else {
            ("False", "NotSuspended")
        };
        assert_eq!(is("Suspended"), Some(suspended));
        assert_eq!(
            (is("Drained"), status.drain.clone(), status.replicas),
            (None, None, Some(0))
        );
    }
}

impl World {
    /// Each volume has its claim, of the size asked for; those that are not kept belong to the TiProxy, and no others.
    fn check_volumes(&self, object: &TiProxy, pod: &Pod) {
        let (state, uid) = (self.state(), object.uid().unwrap_or_default());
        let is_kept = retention(&object.spec) == VolumeRetention::Retain;
        let (mut names, mut deleted) = (BTreeSet::new(), BTreeSet::new());
        for volume in object.spec.template.volumes.iter().flatten() {
            let name = name::volume_claim(&volume.name, POD);
            let claim = &state.claims[&name];
            let found = ClaimState::of(claim);
            names.insert(name.clone());
            if found.terminating {
                // A user deleted it under the Pod; it goes with the Pod.
                deleted.insert(name);
                continue;
            }
            assert!(!found.is_to_grow(volume), "{claim:#?}");
            assert_eq!(controller(claim).is_none(), is_kept, "{claim:#?}");
        }
        assert_eq!(state.mounts[&pod.uid().unwrap_or_default()], names);
        let owned: BTreeSet<String> = state.names_of_claims(&uid).into_iter().collect();
        let expected = if is_kept { BTreeSet::new() } else { names };
        assert_eq!(&owned - &deleted, &expected - &deleted);
    }
}

/// What every plan must be, whatever it was decided on.
fn check_plan(observed: &Observed, instance: Result<&Instance, &Invalid>, found: &Plan, now: Timestamp) {
    assert_eq!(
        &plan(observed, instance, now),
        found,
        "the same input gives another plan"
    );
    let going = observed.object.metadata.deletion_timestamp.is_some();
    if !going && observed.paused {
        assert_eq!(found.actions, [], "nothing may be done");
    }
    if cause(observed).is_none() && instance.is_err() {
        let revives = |action: &Action| matches!(action, Action::PatchPod { metadata, .. } if drain::turn(metadata) == Some(drain::Turn::Revived));
        assert!(found.actions.iter().all(revives), "nothing else may be done");
    }
    let touches_config =
        |action: &Action| matches!(action, Action::ReplaceConfigMap(_) | Action::CreateConfigMap(_));
    assert!(found.leaving.is_none() || !found.actions.iter().any(touches_config));
    check_deadline(observed, found, now);
    let pods = found.actions.iter().filter(|action| {
        matches!(
            action,
            Action::CreatePod(_) | Action::DeletePod { .. } | Action::AdoptPod(_)
        )
    });
    assert!(pods.count() <= 1, "{found:#?}");
    for action in &found.actions {
        if let Action::DeletePod { target, .. } = action {
            let seen = observed
                .pods
                .iter()
                .find(|pod| pod.uid().as_deref() == Some(&target.uid));
            assert!(seen.is_some_and(|pod| pod.resource_version() == target.resource_version));
        }
    }
}

/// Whatever else is known: at the deadline a Pod that has to leave is deleted.
fn check_deadline(observed: &Observed, found: &Plan, now: Timestamp) {
    let Some(cause) = cause(observed) else { return };
    let finalizers = observed.object.finalizers();
    let has = |finalizer: &str| finalizers.iter().any(|found| found == finalizer);
    if cause == Cause::Deleted && (has("orphan") || !has(name::FINALIZER))
        || cause != Cause::Deleted && observed.paused
    {
        return;
    }
    for pod in observed
        .pods
        .iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
    {
        let timeout = observed.object.spec.template.drain_timeout();
        let is_over = drain::begin(pod, now).is_some_and(|begin| now >= drain::after(begin, timeout));
        let is_deleted = found.actions.iter().any(
            |action| matches!(action, Action::DeletePod { target, .. } if Some(&target.uid) == pod.uid().as_ref()),
        );
        assert!(is_deleted || !is_over && is_running(pod), "{found:#?}");
        assert!(
            is_deleted
                || found
                    .recheck
                    .is_some_and(|wait| wait <= timeout.max(Duration::from_secs(1)) + Duration::from_mins(1))
        );
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

fn merge_metadata(metadata: &mut ObjectMeta, patch: &serde_json::Map<String, Value>) {
    if let Some(owners) = patch.get("ownerReferences") {
        metadata.owner_references = serde_json::from_value(owners.clone()).expect("owners");
    }
    for (field, map) in [
        ("labels", &mut metadata.labels),
        ("annotations", &mut metadata.annotations),
    ] {
        for (key, value) in patch.get(field).and_then(Value::as_object).into_iter().flatten() {
            let map = map.get_or_insert_default();
            match value.as_str() {
                Some(value) => map.insert(key.clone(), value.to_owned()),
                None => map.remove(key),
            };
        }
    }
}
