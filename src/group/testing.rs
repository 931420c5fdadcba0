//! Groups for the tests of this module.

use serde_json::{Value, json};

use super::validate::{Group, validate};
use crate::api::TiProxyGroup;
use crate::instance::testing::lay_over;

/// A group of three with these changes to its spec.
pub(crate) fn object(spec: &Value) -> TiProxyGroup {
    let mut group = json!({
        "apiVersion": "core.pingcap.com/v1alpha1", "kind": "TiProxyGroup",
        "metadata": {"name": "web", "namespace": "ns", "uid": "uid-group", "resourceVersion": "1", "generation": 3},
        "spec": {"cluster": {"name": "basic"}, "replicas": 3, "template": {"spec": {"version": "v1.3.2"}}},
    });
    lay_over(&mut group["spec"], spec);
    serde_json::from_value(group).unwrap()
}

/// The same, validated.
pub(crate) fn group(spec: &Value) -> Group {
    validate(&object(spec)).unwrap()
}
