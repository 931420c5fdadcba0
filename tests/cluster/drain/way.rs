//! The ways by which a Pod comes to leave.

use kube::api::{Patch, PatchParams, PropagationPolicy};
use serde_json::{Value, json};
use tiproxy_operator::api::{Cluster, TiProxy, TiProxyGroup};

use super::group;
use crate::lifecycle::pd::{cluster, pd_service};
use crate::lifecycle::scenario::Scenario;

/// Why a Pod leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    ScaleIn,
    GroupDeletion,
    TiProxyDeletion,
    Roll,
    InPlace,
    Suspension,
}

impl Way {
    pub(super) const ALL: [Self; 6] = [
        Self::ScaleIn,
        Self::GroupDeletion,
        Self::TiProxyDeletion,
        Self::Roll,
        Self::InPlace,
        Self::Suspension,
    ];

    /// The name of the group whose Pod goes this way.
    pub(super) fn group(self) -> &'static str {
        match self {
            Self::ScaleIn => "scaled-in",
            Self::GroupDeletion => "deleted",
            Self::TiProxyDeletion => "one-deleted",
            Self::Roll => "rolled",
            Self::InPlace => "in-place",
            Self::Suspension => "suspended",
        }
    }

    /// The group of one, with this time for clients and what else its template says.
    pub(super) fn manifest(self, timeout: u32, template: &Value) -> Value {
        let fields = match self {
            Self::InPlace => json!({"maxSurge": 0, "maxUnavailable": 1}),
            Self::Suspension => json!({"cluster": {"name": "basic"}}),
            Self::ScaleIn | Self::GroupDeletion | Self::TiProxyDeletion | Self::Roll => json!({}),
        };
        let mut group = group(self.group(), 1, timeout, fields);
        merge(&mut group["spec"]["template"], template);
        group
    }

    /// Makes the Pod leave.
    pub(super) async fn go(self, scenario: &Scenario<'_>) {
        let (group, background) = (self.group(), PropagationPolicy::Background);
        match self {
            Self::ScaleIn => scenario.change(group, json!({"replicas": 0})).await,
            Self::GroupDeletion => scenario.delete::<TiProxyGroup>(group, background).await,
            Self::TiProxyDeletion => {
                let name = format!("{group}-0");
                scenario.delete::<TiProxy>(&name, background).await;
            }
            Self::Roll | Self::InPlace => {
                scenario
                    .change_template(group, json!({"version": "v1.3.2"}))
                    .await;
            }
            Self::Suspension => {
                let suspended = json!({"spec": {"suspendAction": {"suspendCompute": true}}});
                scenario
                    .test
                    .api::<Cluster>()
                    .patch("basic", &PatchParams::default(), &Patch::Merge(suspended))
                    .await
                    .expect("the Cluster can be changed");
            }
        }
    }

    /// Waits until all is as this way leaves it.
    pub(super) async fn arrive(self, scenario: &Scenario<'_>) {
        let group = self.group();
        match self {
            Self::ScaleIn | Self::TiProxyDeletion | Self::Roll | Self::InPlace => {
                drop(scenario.ready(group).await);
            }
            Self::GroupDeletion => scenario.all_gone(group).await,
            Self::Suspension => {
                let reason = "Suspended";
                scenario.condition(group, "Suspended", "True", reason).await;
                scenario.condition(group, "Ready", "False", reason).await;
            }
        }
    }
}

/// Makes the Cluster and its PD, which the suspended group follows; all others know PD by themselves.
pub(super) async fn prepare(scenario: &Scenario<'_>, fields: &Value) {
    scenario.test.apply(&cluster(fields)).await;
    scenario.test.apply(&pd_service()).await;
}

/// A merge patch.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(fields) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = json!({});
    }
    for (field, value) in fields {
        merge(&mut target[field.as_str()], value);
    }
}
