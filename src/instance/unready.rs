//! What is said of a Pod that runs and that the kubelet does not call ready. Pure.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;

use super::build::probe::{ProbedBy, probed_by};
use super::build::tls::tls;
use super::observe::Observed;
use super::pod_state::running_since;
use super::validate::Instance;
use crate::api::condition::ConditionType;
use crate::proxy_api::Health;
use crate::runtime::condition;
use crate::runtime::time::{after, until};

/// The kubelet asks every few seconds, and a Pod that it has not asked yet has no trouble.
const PROBE_PATIENCE: Duration = Duration::from_secs(15);

/// In words for the user.
pub(super) fn words(observed: &Observed, instance: &Instance, pod: &Pod, now: Timestamp) -> String {
    let name = pod.name_any();
    if probe_is_at_fault_at(observed, pod).is_some_and(|time| now >= time) {
        let probe = match probed_by(instance, &tls(instance)) {
            ProbedBy::Http { scheme } => {
                format!("{scheme} on port {}", instance.spec.template.api_port())
            }
            ProbedBy::Tcp => format!("TCP on port {}", instance.spec.template.api_port()),
            ProbedBy::Command => "curl in the container, which its image has to have".to_owned(),
        };
        return format!(
            "Pod {name} runs and TiProxy says that it is healthy, but the kubelet's readiness probe fails ({probe}); look \
             at kubectl describe pod {name}, at NetworkPolicies that keep the node from the Pod, and at probes in \
             spec.template.spec.probes and spec.template.spec.overlay"
        );
    }
    format!(
        "Pod {name} runs and is not ready; TiProxy answers its readiness probe when it has found PD and a healthy TiDB"
    )
}

/// How long it is until the probe is to blame, if nothing happens until then.
pub(super) fn recheck(observed: &Observed, pod: &Pod, now: Timestamp) -> Option<Duration> {
    until(probe_is_at_fault_at(observed, pod)?, now)
}

/// When the readiness probe is to blame: TiProxy has called itself healthy, and the kubelet has known it unready, for a
/// while.
fn probe_is_at_fault_at(observed: &Observed, pod: &Pod) -> Option<Timestamp> {
    let answer = observed.proxy.answer()?;
    if answer.health != Health::Healthy {
        return None;
    }
    let conditions = &observed.object.status.as_ref()?.conditions;
    let told = |kind: ConditionType| condition::find(conditions, kind.as_str());
    let unready = told(ConditionType::Ready).filter(|ready| ready.status == "False")?;
    let judged = told(ConditionType::BackendsAvailable)?;
    let since = running_since(pod)?
        .max(unready.last_transition_time.0)
        .max(judged.last_transition_time.0);
    Some(after(since, PROBE_PATIENCE))
}
