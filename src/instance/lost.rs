//! Pods that their node does not end. Pure.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};

use super::location;
use crate::runtime::time::{after, until, whole_seconds};

/// A Pod's deletion time lies behind the time that it has to end; its node needs a little more to say that it has
/// ended. After this the node is taken for dead.
pub const LOST_AFTER: Duration = Duration::from_secs(30);

/// When a Pod that is being deleted counts as lost.
fn lost_at(pod: &Pod) -> Option<Timestamp> {
    let deleted = pod.meta().deletion_timestamp.as_ref()?;
    Some(after(deleted.0, LOST_AFTER))
}

/// How long it is until a Pod that is being deleted counts as lost; no event tells.
#[must_use]
pub fn recheck(pod: &Pod, now: Timestamp) -> Option<Duration> {
    until(lost_at(pod)?, now)
}

/// What is told of a Pod that is lost.
#[must_use]
pub fn words(pod: &Pod, now: Timestamp) -> Option<String> {
    if now < lost_at(pod)? {
        return None;
    }
    let name = pod.name_any();
    let deleted = pod.meta().deletion_timestamp.as_ref()?;
    let node = location::node_name(pod).map_or_else(
        || "no node has taken it".to_owned(),
        |node| format!("node {node} has not ended it"),
    );
    Some(format!(
        "Pod {name} should have ended at {} and {node}; bring the node back, or delete the Node object if it is gone for \
         good, or, when it is certain that nothing runs there any more, kubectl delete pod {name} --namespace {} --force \
         --grace-period=0",
        whole_seconds(deleted.0),
        pod.namespace().unwrap_or_default(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::testing::{ago, now};
    use serde_json::{Value, json};

    fn pod(metadata: &Value, spec: &Value) -> Pod {
        let mut pod = json!({"metadata": metadata, "spec": spec});
        pod["metadata"]["name"] = json!("web-tiproxy-0");
        pod["metadata"]["namespace"] = json!("ns");
        serde_json::from_value(pod).unwrap()
    }

    #[test]
    fn a_pod_is_lost_half_a_minute_after_it_should_have_ended() {
        let node = json!({"nodeName": "node-1", "containers": []});
        for (deleted, wait) in [
            (-55, Some(85)),
            (0, Some(30)),
            (29, Some(1)),
            (30, None),
            (500, None),
        ] {
            let pod = pod(&json!({"deletionTimestamp": ago(deleted)}), &node);
            assert_eq!(recheck(&pod, now()), wait.map(Duration::from_secs), "{deleted}");
            assert_eq!(words(&pod, now()).is_some(), wait.is_none(), "{deleted}");
        }
        let alive = pod(&json!({}), &node);
        assert_eq!((recheck(&alive, now()), words(&alive, now())), (None, None));
    }

    #[test]
    fn the_node_the_time_and_what_to_do_are_told() {
        let deleted = json!({"deletionTimestamp": ago(60)});
        let told = words(
            &pod(&deleted, &json!({"nodeName": "node-1", "containers": []})),
            now(),
        )
        .unwrap();
        assert_eq!(
            told,
            "Pod web-tiproxy-0 should have ended at 2026-11-23T09:59:00Z and node node-1 has not ended it; bring the \
             node back, or delete the Node object if it is gone for good, or, when it is certain that nothing runs there \
             any more, kubectl delete pod web-tiproxy-0 --namespace ns --force --grace-period=0"
        );
        let told = words(&pod(&deleted, &json!(null)), now()).unwrap();
        assert!(told.contains("and no node has taken it"), "{told}");
    }
}
