//! Events for users, at transitions only.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::jiff::Timestamp;
use kube::Resource;

use crate::api::condition::{ConditionType, Reason};
use crate::api::{TiProxy, TiProxyGroup};
use crate::group::plan::{Exit, Why};
use crate::instance::plan::DeleteReason;
use crate::instance::plan::leave::{Cause, End};
use crate::runtime::condition::find;
use crate::runtime::event::{Events, Notice, Severity};

/// Tells users what happens.
#[derive(Clone, Debug)]
pub struct Reporter {
    events: Events,
}

impl Reporter {
    /// A reporter that sends through these events.
    #[must_use]
    pub fn new(events: Events) -> Self {
        Self { events }
    }

    /// A TiProxy was created.
    pub fn instance_created(&self, group: &TiProxyGroup, name: &str) {
        self.tell(
            group,
            Severity::Normal,
            "TiProxyCreated",
            "Create",
            format!("created TiProxy {name}"),
        );
    }

    /// A TiProxy was told to leave, or deleted.
    pub fn instance_leaves(&self, group: &TiProxyGroup, name: &str, why: Why, by: Exit) {
        let why = match why {
            Why::ScaleIn => "the group has more TiProxies than asked for",
            Why::Roll => "it does not follow the template, and its replacement is there or on its way",
            Why::Lost => "its node is gone",
        };
        let (reason, action, what) = match by {
            Exit::Drain => ("TiProxyLeaving", "Drain", "is leaving"),
            Exit::Delete => ("TiProxyDeleted", "Delete", "was deleted"),
        };
        self.tell(
            group,
            Severity::Normal,
            reason,
            action,
            format!("TiProxy {name} {what}: {why}"),
        );
    }

    /// A TiProxy that was leaving stays.
    pub fn instance_revived(&self, group: &TiProxyGroup, name: &str) {
        self.tell(
            group,
            Severity::Normal,
            "TiProxyRevived",
            "Revive",
            format!("TiProxy {name} was leaving and is needed again: it stays"),
        );
    }

    /// A Pod was deleted.
    pub fn pod_deleted(&self, instance: &TiProxy, pod: &str, why: DeleteReason) {
        let (cause, end) = match why {
            DeleteReason::Failed => {
                let why = "it failed, was evicted or ended; it is created anew";
                return self.tell_of_pod(instance, Severity::Warning, "PodDeleted", pod, why);
            }
            DeleteReason::Left { cause, end } => (cause, end),
        };
        if let End::Deadline { connected } = end
            && connected != Some(0)
        {
            let whom = match connected {
                Some(1) => "1 client that was still connected was".to_owned(),
                Some(more) => format!("{more} clients that were still connected were"),
                None => "clients that may still have been connected, which TiProxy's API did not tell, were"
                    .to_owned(),
            };
            let why = format!(
                "the time to leave (spec.template.spec.drain.timeoutSeconds of the group) was over, and {whom} cut"
            );
            self.tell_of_pod(instance, Severity::Warning, "ClientsCut", pod, &why);
        }
        let why = match cause {
            // The group tells of it.
            Cause::Deleted | Cause::Offline => return,
            Cause::Outdated => "it does not follow the template; it is created anew",
            Cause::Suspended => "the Cluster asks for its compute to be suspended",
        };
        self.tell_of_pod(instance, Severity::Normal, "PodDeleted", pod, why);
    }

    /// The clients of a Pod are given time to leave.
    pub fn drain_began(&self, instance: &TiProxy, pod: &str, deadline: Timestamp) {
        self.tell(
            instance,
            Severity::Normal,
            "DrainBegan",
            "Drain",
            format!("Pod {pod} takes no new clients and goes when the present ones have left, at the latest at {deadline}"),
        );
    }

    /// A Pod that was leaving stays.
    pub fn drain_called_off(&self, instance: &TiProxy, pod: &str) {
        self.tell(
            instance,
            Severity::Normal,
            "Revived",
            "Drain",
            format!("Pod {pod} takes new clients again: there is no reason any more that it should leave"),
        );
    }

    fn tell_of_pod(&self, instance: &TiProxy, severity: Severity, reason: &str, pod: &str, why: &str) {
        self.tell(
            instance,
            severity,
            reason,
            "Delete",
            format!("deleted Pod {pod}: {why}"),
        );
    }

    /// An object became Ready, stalled, or stalled for another reason.
    pub fn transition<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        before: &[Condition],
        after: &[Condition],
    ) {
        let is = |conditions: &[Condition], condition_type: ConditionType| {
            find(conditions, condition_type.as_str())
                .filter(|condition| condition.status == "True")
                .map(|condition| condition.reason.clone())
        };
        let stalled = is(after, ConditionType::Stalled);
        if stalled.is_some()
            && stalled != is(before, ConditionType::Stalled)
            && let Some(condition) = find(after, ConditionType::Stalled.as_str())
        {
            self.tell(
                object,
                Severity::Warning,
                &condition.reason,
                "Reconcile",
                condition.message.clone(),
            );
        }
        let migration = Some(Reason::SessionMigrationFailing.as_str().to_owned());
        if is(after, ConditionType::ConfigWarnings) == migration
            && is(before, ConditionType::ConfigWarnings) != migration
            && let Some(condition) = find(after, ConditionType::ConfigWarnings.as_str())
        {
            self.tell(
                object,
                Severity::Warning,
                &condition.reason,
                "Reconcile",
                condition.message.clone(),
            );
        }
        if is(before, ConditionType::Ready).is_none()
            && is(after, ConditionType::Ready).is_some()
            && let Some(condition) = find(after, ConditionType::Ready.as_str())
        {
            self.tell(
                object,
                Severity::Normal,
                "Ready",
                "Reconcile",
                condition.message.clone(),
            );
        }
    }

    fn tell<K: Resource<DynamicType = ()>>(
        &self,
        object: &K,
        severity: Severity,
        reason: &str,
        action: &str,
        note: String,
    ) {
        tracing::info!(
            kind = %K::kind(&()),
            namespace = object.meta().namespace.as_deref().unwrap_or_default(),
            name = object.meta().name.as_deref().unwrap_or_default(),
            reason,
            "{note}"
        );
        self.events.publish(Notice {
            regarding: object.object_ref(&()),
            severity,
            reason: reason.to_owned(),
            action: action.to_owned(),
            note,
        });
    }
}
