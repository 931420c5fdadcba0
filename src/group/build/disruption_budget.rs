//! The `PodDisruptionBudget` of a group.

use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::api::name;
use crate::group::validate::Group;

/// The `PodDisruptionBudget`: one of the Pods that serve may be evicted at a time, and whoever does not serve may go.
///
/// It selects serving Pods only, so that one which is leaving anyway is not counted. How many there should be, the
/// disruption controller learns from the scale of the TiProxies that the Pods belong to.
#[must_use]
pub fn disruption_budget(group: &Group) -> PodDisruptionBudget {
    PodDisruptionBudget {
        metadata: super::metadata(group, name::disruption_budget(&group.name)),
        spec: Some(PodDisruptionBudgetSpec {
            max_unavailable: Some(IntOrString::Int(1)),
            min_available: None,
            selector: Some(LabelSelector {
                match_labels: Some(name::serving_selector(&group.cluster, &group.name)),
                match_expressions: None,
            }),
            unhealthy_pod_eviction_policy: Some("AlwaysAllow".to_owned()),
        }),
        status: None,
    }
}

/// The `PodDisruptionBudget` as it should be, if it is not.
#[must_use]
pub fn replacement(
    found: &PodDisruptionBudget,
    desired: &PodDisruptionBudget,
) -> Option<PodDisruptionBudget> {
    let mut budget = found.clone();
    super::keep_labels(&mut budget.metadata, &desired.metadata);
    budget.spec.clone_from(&desired.spec);
    (budget != *found).then_some(budget)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::group::testing::group;
    use serde_json::{Value, json};

    #[test]
    fn one_serving_pod_may_go_at_a_time_and_others_always() {
        let budget = serde_json::to_value(disruption_budget(&group(&json!({})))).unwrap();
        assert_eq!(budget["metadata"]["name"], "web-tiproxy");
        assert_eq!(
            budget["spec"],
            json!({"maxUnavailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow", "selector": {"matchLabels": {
                "core.pingcap.com/serving": "true", "pingcap.com/cluster": "basic", "pingcap.com/component": "tiproxy",
                "pingcap.com/group": "web", "pingcap.com/managed-by": "tiproxy-operator",
            }}})
        );
    }

    #[test]
    fn what_somebody_changed_is_put_right_and_what_is_theirs_stays() {
        let desired = disruption_budget(&group(&json!({})));
        assert_eq!(replacement(&desired, &desired), None);
        let drifts: [fn(&mut Value); 4] = [
            |budget| budget["spec"]["maxUnavailable"] = json!(2),
            |budget| budget["spec"] = json!({"minAvailable": 1}),
            |budget| budget["spec"]["unhealthyPodEvictionPolicy"] = json!("IfHealthyBudget"),
            |budget| budget["metadata"]["labels"]["pingcap.com/group"] = json!("other"),
        ];
        for drift in drifts {
            let mut found = serde_json::to_value(&desired).unwrap();
            found["metadata"]["labels"]["team"] = json!("a");
            drift(&mut found);
            let found = serde_json::from_value(found).unwrap();
            let replaced = replacement(&found, &desired).unwrap();
            assert_eq!(replaced.spec, desired.spec);
            let mut labels = replaced.metadata.labels.unwrap();
            assert_eq!(labels.remove("team").as_deref(), Some("a"));
            assert_eq!(Some(labels), desired.metadata.labels);
        }
    }
}
