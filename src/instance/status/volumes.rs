//! What there is to say of the volumes.

use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::super::claim_state::{Binding, ClaimState};
use super::super::observe::{Observed, ObservedVolume};
use super::super::plan::BINDING_PATIENCE;
use super::super::plan::leave::cause;
use super::super::pod_state::PodState;
use crate::api::condition::{ConditionType, Reason};
use crate::ownership::Slot;
use crate::problem::{ExecuteError, Progress, State, new_condition};
use crate::runtime::condition::NewCondition;

/// What there is to say of the volumes of a TiProxy that has some.
pub(super) struct Verdict {
    count: usize,
    /// What is not as the spec asks for; the worst of it.
    trouble: Option<Progress>,
    /// The scheduler still speaks of claims that were bound meanwhile.
    outdated: Option<Progress>,
}

/// Judges the volumes; `None` for a TiProxy without, and for one that goes, whose volumes nobody waits for.
pub(super) fn judge(
    observed: &Observed,
    error: Option<&ExecuteError>,
    pod: Option<&PodState>,
    now: Timestamp,
) -> Option<Verdict> {
    if observed.volumes.is_empty() || cause(observed).is_some() {
        return None;
    }
    // It mounts them, whatever an older view of the claims shows.
    let is_mounted = pod.is_some_and(PodState::is_ready);
    let of_error = error
        .filter(|error| error.kind() == "PersistentVolumeClaim")
        .and_then(ExecuteError::progress);
    let mut troubles: Vec<Progress> = of_error
        .into_iter()
        .chain(
            observed
                .volumes
                .iter()
                .filter_map(|volume| trouble(volume, is_mounted, now)),
        )
        .collect();
    // Stable: of the same kind the first one.
    troubles.sort_by_key(|trouble| trouble.state != State::Stalled);
    Some(Verdict {
        count: observed.volumes.len(),
        trouble: troubles.into_iter().next(),
        outdated: pod.and_then(|pod| outdated(pod, now)),
    })
}

/// What a scheduler said of the volumes of a young Pod, which it will look at again.
fn outdated(pod: &PodState, now: Timestamp) -> Option<Progress> {
    let problem = pod.problem.as_ref()?;
    let is_outdated = pod.waits_for_claims() && pod.age(now) < BINDING_PATIENCE;
    is_outdated.then(|| Progress::working(Reason::VolumeNotBound, problem.message.clone()))
}

impl Verdict {
    /// The condition `VolumesReady`.
    pub(super) fn condition(&self, generation: Option<i64>) -> NewCondition {
        let (reason, message) = if let Some(trouble) = &self.trouble {
            (trouble.reason, trouble.message.clone())
        } else {
            let volumes = if self.count == 1 {
                "volume is"
            } else {
                "volumes are"
            };
            let message = format!("{} {volumes} bound and as asked for", self.count);
            (Reason::VolumesBound, message)
        };
        let holds = self.trouble.is_none();
        new_condition(ConditionType::VolumesReady, holds, reason, &message, generation)
    }

    /// What is not as the spec asks for.
    pub(super) fn trouble(&self) -> Option<&Progress> {
        self.trouble.as_ref()
    }

    /// What keeps a Pod from starting.
    pub(super) fn not_bound(&self) -> Option<&Progress> {
        self.trouble
            .as_ref()
            .filter(|trouble| trouble.reason == Reason::VolumeNotBound)
            .or(self.outdated.as_ref())
    }
}

fn trouble(volume: &ObservedVolume, is_mounted: bool, now: Timestamp) -> Option<Progress> {
    let name = &volume.claim;
    match &volume.slot {
        Slot::Absent => Some(Progress::working(
            Reason::VolumeNotBound,
            format!("PersistentVolumeClaim {name} is being created"),
        )),
        Slot::Foreign(claim) => Some(Progress::stalled(
            Reason::NameConflict,
            ExecuteError::name_conflict(&**claim).to_string(),
        )),
        Slot::Leftover(_) => Some(going(name)),
        Slot::Ours(claim) | Slot::Adoptable(claim) => {
            let state = ClaimState::of(claim);
            if state.terminating {
                return Some(going(name));
            }
            binding_trouble(name, claim.namespace().as_deref(), &state, is_mounted, now)
                .or_else(|| class_trouble(volume, &state))
                .or_else(|| change_trouble(volume, &state))
        }
    }
}

fn going(name: &str) -> Progress {
    Progress::working(
        Reason::VolumeNotBound,
        format!(
            "PersistentVolumeClaim {name} is being deleted: it goes when no Pod uses it any more, and a new, empty one is \
             made for the next Pod"
        ),
    )
}

fn binding_trouble(
    name: &str,
    namespace: Option<&str>,
    state: &ClaimState,
    is_mounted: bool,
    now: Timestamp,
) -> Option<Progress> {
    let look = format!(
        "kubectl describe pvc {name} --namespace {}",
        namespace.unwrap_or_default()
    );
    match state.binding {
        Binding::Bound => None,
        Binding::Lost => Some(Progress::stalled(
            Reason::VolumeNotBound,
            format!(
                "PersistentVolumeClaim {name} has lost its PersistentVolume, and the data with it; delete the claim, and \
                 a new, empty one is made for the next Pod"
            ),
        )),
        Binding::Pending if is_mounted => None,
        Binding::Pending => {
            let class = match state.class.as_deref() {
                Some(class) if !class.is_empty() => format!(
                    "see whether StorageClass {class} exists, its provisioner runs, and what {look} says"
                ),
                _ => format!(
                    "it names no StorageClass and the cluster has no default one; set storageClassName in a group with \
                     another volume name, or make a PersistentVolume for it; {look} says more"
                ),
            };
            let size = state
                .requested
                .as_ref()
                .map(|size| format!(" of {}", size.0))
                .unwrap_or_default();
            let message = format!("PersistentVolumeClaim {name}{size} is not bound to a volume yet; {class}");
            Some(if state.age(now) < BINDING_PATIENCE {
                Progress::working(Reason::VolumeNotBound, message)
            } else {
                Progress::stalled(Reason::VolumeNotBound, message)
            })
        }
    }
}

/// A claim keeps its class for life.
fn class_trouble(volume: &ObservedVolume, state: &ClaimState) -> Option<Progress> {
    state.is_of_other_class(&volume.spec).then(|| {
        Progress::stalled(
            Reason::InvalidSpec,
            format!(
                "volumes[{}].storageClassName is {:?}, and PersistentVolumeClaim {} has {:?}, which Kubernetes never \
                 changes; the volume goes on as it is: set the old class again, or give the volume another name, \
                 which makes new, empty ones",
                volume.spec.name,
                volume.spec.storage_class_name.as_deref().unwrap_or_default(),
                volume.claim,
                state.class.as_deref().unwrap_or_default(),
            ),
        )
    })
}

fn change_trouble(volume: &ObservedVolume, state: &ClaimState) -> Option<Progress> {
    let name = &volume.claim;
    if let Some(failure) = &state.failure {
        return Some(Progress::stalled(
            Reason::VolumeChanging,
            format!("PersistentVolumeClaim {name} cannot be changed as asked for: {failure}"),
        ));
    }
    if state.is_to_grow(&volume.spec) || state.is_growing() {
        let size = volume.spec.storage.to_kubernetes().0;
        let now = state
            .capacity
            .as_ref()
            .map(|capacity| format!("; it has {} now", capacity.0))
            .unwrap_or_default();
        return Some(Progress::working(
            Reason::VolumeChanging,
            format!("PersistentVolumeClaim {name} is growing to {size}{now}"),
        ));
    }
    if state.is_to_change_attributes(&volume.spec) || state.is_changing_attributes() {
        let class = volume.spec.volume_attributes_class_name.as_deref();
        return Some(Progress::working(
            Reason::VolumeChanging,
            format!(
                "PersistentVolumeClaim {name} is being changed to VolumeAttributesClass {}; its driver has to know that class",
                class.or(state.attributes_class.as_deref()).unwrap_or_default()
            ),
        ));
    }
    None
}
