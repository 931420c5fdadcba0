//! Whether a TiProxy can route its clients to a TiDB. Pure.
//!
//! TiProxy's health, by which the kubelet judges it, says only that some TiDB is healthy. Where TiDBs are chosen by a
//! label, it is also 200 when none carries the label, while every client is refused.

use k8s_openapi::api::core::v1::Pod;
use kube::Resource;

use super::build::probe::asks_for_health;
use super::build::tls::tls;
use super::location::Location;
use super::observe::Observed;
use super::pod_state::PodState;
use super::validate::Instance;
use crate::api::condition::{ConditionType, Reason};
use crate::problem::condition_of;
use crate::proxy_api::{Answer, Health, Reach};
use crate::proxy_config;
use crate::runtime::condition::{self, NewCondition, Status};

/// Whether a TiProxy can route its clients to a TiDB.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backends {
    /// Whether it can.
    pub status: Status,
    /// Why.
    pub reason: Reason,
    /// In words for the user.
    pub message: String,
}

impl Backends {
    fn new(status: Status, reason: Reason, message: impl Into<String>) -> Self {
        Self {
            status,
            reason,
            message: message.into(),
        }
    }

    /// It cannot be told.
    pub(super) fn unknown(message: impl Into<String>) -> Self {
        Self::new(Status::Unknown, Reason::BackendsUnknown, message)
    }

    fn available() -> Self {
        let message = "a healthy TiDB is there that clients may be routed to";
        Self::new(Status::True, Reason::BackendsHealthy, message)
    }

    /// Whether clients are refused although the kubelet may call the Pod ready: its probe knows no labels.
    #[must_use]
    pub fn refuse_clients(&self) -> bool {
        self.status == Status::False && self.reason == Reason::NoBackendWithLabel
    }

    /// The condition.
    #[must_use]
    pub fn condition(&self, generation: Option<i64>) -> NewCondition {
        condition_of(
            ConditionType::BackendsAvailable,
            self.status,
            self.reason,
            &self.message,
            generation,
        )
    }
}

/// The label that TiDBs must carry.
struct Association<'a> {
    name: &'a str,
    value: &'a str,
}

/// Judges what is known.
#[must_use]
pub fn backends(observed: &Observed, instance: &Instance) -> Backends {
    let Some(pod) = observed.pod.ours() else {
        return Backends::unknown("its Pod does not run");
    };
    let state = PodState::of(pod);
    if state.terminating || !state.running {
        return Backends::unknown("its Pod does not run");
    }
    let found = observed.config_map.ours().map(|found| &**found);
    let location = Location::of(instance, observed.location.as_ref(), found);
    let association = association(instance, &location);
    // The kubelet asks the same as we do, and often sooner.
    let kubelet_found_one = state.is_ready() && asks_for_health(instance, &tls(instance));
    let inferred = || (kubelet_found_one && association.is_none()).then(Backends::available);

    let Some(observation) = &observed.proxy.observation else {
        // The operator has just started, or the Pod has.
        return inferred()
            .or_else(|| stored(observed, pod))
            .unwrap_or_else(|| Backends::unknown("TiProxy has not been asked yet"));
    };
    let Some(answer) = &observation.answer else {
        return inferred().unwrap_or_else(|| {
            Backends::unknown(format!(
                "the operator cannot read TiProxy's API on port {} of its Pod; look at the NetworkPolicies, and, where \
                 the API demands client certificates, at the operator's own (--proxy-client-certificate)",
                instance.spec.template.api_port()
            ))
        });
    };
    let is_old = state.ready_since.is_some_and(|ready| observation.at < ready);
    if is_old && let Some(available) = inferred() {
        return available;
    }
    judge(instance, answer, association.as_ref())
}

/// The label by which this version of TiProxy keeps clients from TiDBs, if it does.
fn association<'a>(instance: &'a Instance, location: &'a Location) -> Option<Association<'a>> {
    if !proxy_config::isolates_by_label(&instance.spec.template.version) {
        return None;
    }
    let name = instance.label_name()?;
    let value = instance
        .label(name, &location.labels)
        .filter(|value| !value.is_empty())?;
    Some(Association { name, value })
}

fn judge(instance: &Instance, answer: &Answer, association: Option<&Association>) -> Backends {
    let reach = answer.reach();
    if answer.health == Health::Starting {
        return Backends::unknown("TiProxy is starting");
    }
    if answer.health.has_no_backend() || !reach.any_healthy() {
        return none_healthy(instance, reach);
    }
    let Some(association) = association else {
        return Backends::available();
    };
    if reach.any_fits {
        return Backends::available();
    }
    let Association { name, value } = association;
    if reach.any_unjudged {
        return Backends::unknown(format!(
            "TiDBs are healthy; whether one carries the label {name}={value}, TiProxy finds out when the first client \
             connects, or when there is a second TiDB"
        ));
    }
    Backends::new(
        Status::False,
        Reason::NoBackendWithLabel,
        format!(
            "no healthy TiDB carries the label {name}={value}, so that clients are refused; give TiDB that label \
             (spec.template.spec.server.labels of its TiDBGroup, or [labels] of its configuration), or correct \
             balance.labelName or server.labels of the TiProxyGroup (balance.label-name and [labels] of its config)"
        ),
    )
}

fn none_healthy(instance: &Instance, reach: Reach) -> Backends {
    if reach.any_known {
        let message = "none of the TiDBs that TiProxy knew is healthy any more; look at TiDB";
        return Backends::new(Status::False, Reason::BackendsUnhealthy, message);
    }
    Backends::new(
        Status::False,
        Reason::NoBackendFound,
        format!(
            "TiProxy has found no healthy TiDB through PD at {}: PD is not reached, or no TiDB has registered with it, \
             or none answers; look at PD and TiDB, at NetworkPolicies, and at the TLS of both sides",
            instance.discovery.pd_addrs.join(", ")
        ),
    )
}

/// What the status says, if it says it of this Pod and this spec.
fn stored(observed: &Observed, pod: &Pod) -> Option<Backends> {
    let conditions = &observed.object.status.as_ref()?.conditions;
    let stored = condition::find(conditions, ConditionType::BackendsAvailable.as_str())?;
    let is_of_this_spec = stored.observed_generation == observed.object.meta().generation;
    let born = pod.metadata.creation_timestamp.as_ref()?;
    if !is_of_this_spec || stored.last_transition_time.0 < born.0 {
        return None;
    }
    Some(Backends {
        status: Status::parse(&stored.status)?,
        reason: Reason::parse(&stored.reason)?,
        message: stored.message.clone(),
    })
}

#[cfg(test)]
mod tests;
