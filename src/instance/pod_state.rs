//! What a Pod says about itself.

use std::time::Duration;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition};
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};

use crate::api::condition::Reason;
use crate::api::name;
use crate::runtime::time::elapsed;

/// A Pod's state, as far as decisions and conditions need it.
#[derive(Clone, Debug, PartialEq)]
pub struct PodState {
    /// It is being deleted.
    pub terminating: bool,
    /// It has failed, was evicted or ended; it will not run again.
    pub ended: bool,
    /// Its container runs.
    pub running: bool,
    /// Since when it is ready.
    pub ready_since: Option<Timestamp>,
    /// What keeps it from becoming ready, when it is more than time.
    pub problem: Option<Problem>,
    ended_at: Option<Timestamp>,
    created: Option<Timestamp>,
}

/// What keeps a Pod from becoming ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The reason for the condition.
    pub reason: Reason,
    /// Which Pod, what is wrong, and what to do.
    pub message: String,
}

impl Problem {
    /// Whether no node fits because of the Pod's volumes, by the scheduler's words.
    #[must_use]
    pub fn concerns_volumes(&self) -> bool {
        let words = ["persistentvolumeclaim", "persistent volume", "binding volumes"];
        let message = self.message.to_lowercase();
        self.reason == Reason::Unschedulable && words.iter().any(|words| message.contains(words))
    }
}

impl PodState {
    /// Whether no node fits because the scheduler has yet to see that claims are bound, in its words of them.
    #[must_use]
    pub fn waits_for_claims(&self) -> bool {
        let words = "unbound immediate persistentvolumeclaims";
        let problem = self.problem.as_ref();
        problem.is_some_and(|problem| {
            problem.reason == Reason::Unschedulable && problem.message.to_lowercase().contains(words)
        })
    }

    /// Reads a Pod.
    #[must_use]
    pub fn of(pod: &Pod) -> Self {
        let status = pod.status.clone().unwrap_or_default();
        let container = container(pod);
        let terminated = container
            .and_then(|container| container.state.as_ref()?.terminated.as_ref()?.finished_at.clone());
        let ended = matches!(status.phase.as_deref(), Some("Failed" | "Succeeded"));
        Self {
            terminating: pod.meta().deletion_timestamp.is_some(),
            ended,
            running: is_running(pod),
            ready_since: ready_since(pod),
            created: pod.meta().creation_timestamp.as_ref().map(|time| time.0),
            problem: problem(pod),
            ended_at: terminated
                .or(status.start_time)
                .or_else(|| pod.meta().creation_timestamp.clone())
                .map(|time| time.0),
        }
    }

    /// Whether it serves: ready and not being deleted.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready_since.is_some() && !self.terminating && !self.ended
    }

    /// How old it is.
    #[must_use]
    pub fn age(&self, now: Timestamp) -> Duration {
        self.created
            .map(|created| elapsed(created, now))
            .unwrap_or_default()
    }

    /// When it was created.
    #[must_use]
    pub fn created(&self) -> Option<Timestamp> {
        self.created
    }

    /// How long ago it ended.
    #[must_use]
    pub fn ended_for(&self, now: Timestamp) -> Duration {
        self.ended_at.map(|ended| elapsed(ended, now)).unwrap_or_default()
    }
}

/// As [`PodState::running`], for those who need nothing else.
#[must_use]
pub fn is_running(pod: &Pod) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    let state = container(pod).and_then(|container| container.state.as_ref());
    !matches!(phase, Some("Failed" | "Succeeded")) && state.is_some_and(|state| state.running.is_some())
}

/// Whether the kubelet calls the Pod ready.
#[must_use]
pub fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|ready| ready.status == "True")
}

/// Since when the container of a Pod runs.
#[must_use]
pub fn running_since(pod: &Pod) -> Option<Timestamp> {
    let running = container(pod)?.state.as_ref()?.running.as_ref()?;
    running.started_at.as_ref().map(|time| time.0)
}

fn container(pod: &Pod) -> Option<&ContainerStatus> {
    pod.status
        .as_ref()?
        .container_statuses
        .iter()
        .flatten()
        .find(|container| container.name == name::CONTAINER)
}

fn condition<'a>(pod: &'a Pod, condition_type: &str) -> Option<&'a PodCondition> {
    pod.status
        .as_ref()?
        .conditions
        .iter()
        .flatten()
        .find(|condition| condition.type_ == condition_type)
}

fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let ready = condition(pod, "Ready").filter(|ready| ready.status == "True")?;
    ready
        .last_transition_time
        .clone()
        .or_else(|| pod.meta().creation_timestamp.clone())
        .map(|time| time.0)
}

fn problem(pod: &Pod) -> Option<Problem> {
    let pod_name = pod.name_any();
    let status = pod.status.as_ref()?;
    if status.phase.as_deref() == Some("Failed") {
        let reason = status.reason.as_deref().unwrap_or("Failed");
        let message = format!(
            "Pod {pod_name}: {reason}: {}",
            status.message.as_deref().unwrap_or("its container ended")
        );
        return Some(Problem {
            reason: Reason::NotReady,
            message,
        });
    }
    let unscheduled = condition(pod, "PodScheduled").filter(|scheduled| {
        scheduled.status == "False" && scheduled.reason.as_deref() == Some("Unschedulable")
    });
    if let Some(scheduled) = unscheduled {
        let why = scheduled
            .message
            .as_deref()
            .unwrap_or("no node fits")
            .trim_end_matches('.');
        // The volume of a claim is on other nodes than those that have room.
        let volumes = if why.contains("volume node affinity") {
            ", or, if the data is not needed, delete the Pod's PersistentVolumeClaims, which ties it to their nodes"
        } else {
            ""
        };
        let message = format!(
            "Pod {pod_name} fits no node: {why}; add nodes, or ask for less in spec.template.spec.resources or \
             spec.schedulePolicies{volumes}"
        );
        return Some(Problem {
            reason: Reason::Unschedulable,
            message,
        });
    }
    // The one that matters first, then those that the overlay adds: the Pod is not ready without them either.
    let init = status.init_container_statuses.iter().flatten();
    container(pod)
        .into_iter()
        .chain(init)
        .chain(status.container_statuses.iter().flatten())
        .find_map(|container| waiting_problem(&pod_name, container))
}

fn waiting_problem(pod_name: &str, container: &ContainerStatus) -> Option<Problem> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let detail = waiting.message.as_deref().unwrap_or_default();
    let (reason, message) = match waiting.reason.as_deref()? {
        "ErrImagePull"
        | "ImagePullBackOff"
        | "InvalidImageName"
        | "ErrImageNeverPull"
        | "RegistryUnavailable"
        | "ImageInspectError" => (
            Reason::ImageUnavailable,
            format!(
                "Pod {pod_name}: image {} cannot be pulled: {detail}; correct {}, or make the image available",
                container.image,
                if container.name == name::CONTAINER {
                    "spec.template.spec.image or version"
                } else {
                    "it in spec.template.spec.overlay.pod"
                }
            ),
        ),
        "CrashLoopBackOff" | "RunContainerError" | "StartError" => (
            Reason::CrashLooping,
            format!("Pod {pod_name}: {}", crash(pod_name, container)),
        ),
        "CreateContainerConfigError" if detail.contains("secret") => (
            Reason::SecretMissing,
            format!("Pod {pod_name}: {detail}; create the Secret or the key"),
        ),
        "CreateContainerConfigError" | "CreateContainerError" => {
            (Reason::NotReady, format!("Pod {pod_name}: {detail}"))
        }
        _ => return None,
    };
    Some(Problem { reason, message })
}

fn crash(pod_name: &str, container: &ContainerStatus) -> String {
    let last = container
        .last_state
        .as_ref()
        .and_then(|state| state.terminated.as_ref());
    let how = last.map_or_else(String::new, |last| {
        format!(
            ", last with exit code {}{}",
            last.exit_code,
            last.reason
                .as_ref()
                .map(|reason| format!(" ({reason})"))
                .unwrap_or_default()
        )
    });
    let which = if container.name == name::CONTAINER {
        String::new()
    } else {
        format!(" --container {}", container.name)
    };
    let is_out_of_memory = last.and_then(|last| last.reason.as_deref()) == Some("OOMKilled");
    let advice = if is_out_of_memory && container.name == name::CONTAINER {
        "it ran out of memory: raise memory in spec.template.spec.resources; "
    } else {
        ""
    };
    format!(
        "the container {} ended {} times{how}; {advice}see its log with kubectl logs --previous {pod_name}{which}",
        container.name, container.restart_count
    )
}

#[cfg(test)]
mod tests;
