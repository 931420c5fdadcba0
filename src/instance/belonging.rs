//! Whether a TiProxy is this operator's to work on. Pure.

use kube::{Resource, ResourceExt};

use crate::api::{TiProxy, TiProxyGroup, name};
use crate::ownership;

/// Whose a TiProxy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Belonging {
    /// A group of ours made it, or left it behind.
    Ours,
    /// TiDB Operator v2 manages it, or its group. Its group says so; nothing is written here.
    TiDBOperator,
    /// Somebody made it by hand or for another purpose; nothing is written to it.
    Foreign,
}

/// Judges a TiProxy; `group` is the one that controls it, where that is known.
#[must_use]
pub fn of(instance: &TiProxy, group: Option<&TiProxyGroup>) -> Belonging {
    let has_our_finalizer = has_finalizer(instance, name::FINALIZER);
    if instance.meta().deletion_timestamp.is_some() && has_our_finalizer {
        // It waits for us.
        return Belonging::Ours;
    }
    let manager = instance.labels().get(name::LABEL_MANAGED_BY).map(String::as_str);
    if manager == Some(name::MANAGED_BY_TIDB_OPERATOR)
        || group.is_some_and(|group| has_finalizer(group, name::TIDB_OPERATOR_FINALIZER))
    {
        return Belonging::TiDBOperator;
    }
    let is_ours = match ownership::controller(instance) {
        Some(owner) => owner.kind == TiProxyGroup::kind(&()),
        None => manager == Some(name::MANAGED_BY) || has_our_finalizer,
    };
    if is_ours {
        Belonging::Ours
    } else {
        Belonging::Foreign
    }
}

fn has_finalizer<K: Resource>(object: &K, finalizer: &str) -> bool {
    object.finalizers().iter().any(|found| found == finalizer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn instance(metadata: &Value) -> TiProxy {
        let mut instance = json!({"apiVersion": "core.pingcap.com/v1alpha1", "kind": "TiProxy",
            "metadata": metadata, "spec": {"cluster": {"name": "basic"}, "subdomain": "web-tiproxy-peer",
            "version": "v1.3.2"}});
        instance["metadata"]["name"] = json!("web-0");
        serde_json::from_value(instance).unwrap()
    }

    fn group(finalizer: &str) -> TiProxyGroup {
        serde_json::from_value(json!({"apiVersion": "core.pingcap.com/v1alpha1", "kind": "TiProxyGroup",
            "metadata": {"name": "web", "finalizers": [finalizer]},
            "spec": {"cluster": {"name": "basic"}, "replicas": 1, "template": {"spec": {"version": "v1.3.2"}}}}))
        .unwrap()
    }

    fn owned_by(kind: &str) -> Value {
        json!([{"apiVersion": "v1", "kind": kind, "name": "web", "uid": "1", "controller": true}])
    }

    #[test]
    fn ours_are_those_of_our_groups_and_those_that_they_left_behind() {
        let ours = group(name::FINALIZER);
        for metadata in [
            json!({"ownerReferences": owned_by("TiProxyGroup")}),
            json!({"labels": {"pingcap.com/managed-by": "tiproxy-operator"}}),
            json!({"finalizers": [name::FINALIZER]}),
        ] {
            assert_eq!(of(&instance(&metadata), Some(&ours)), Belonging::Ours);
        }
    }

    #[test]
    fn foreign_are_those_without_a_mark_or_with_another_owner() {
        for metadata in [
            json!({}),
            json!({"labels": {"pingcap.com/group": "web"}}),
            json!({"labels": {"pingcap.com/managed-by": "tiproxy-operator"}, "ownerReferences": owned_by("ConfigMap")}),
        ] {
            assert_eq!(of(&instance(&metadata), None), Belonging::Foreign);
        }
    }

    #[test]
    fn what_tidb_operator_manages_is_left_to_it_but_lets_go() {
        let labelled = json!({"labels": {"pingcap.com/managed-by": "tidb-operator"},
            "ownerReferences": owned_by("TiProxyGroup")});
        assert_eq!(of(&instance(&labelled), None), Belonging::TiDBOperator);
        let theirs = group(name::TIDB_OPERATOR_FINALIZER);
        let member = json!({"ownerReferences": owned_by("TiProxyGroup")});
        assert_eq!(of(&instance(&member), Some(&theirs)), Belonging::TiDBOperator);
        let mut leaving = labelled;
        leaving["finalizers"] = json!([name::FINALIZER]);
        leaving["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        assert_eq!(of(&instance(&leaving), Some(&theirs)), Belonging::Ours);
    }
}
