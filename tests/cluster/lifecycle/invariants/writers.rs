//! One writer for each field, by what the API server recorded. The table is that of docs/design.md.

use std::collections::BTreeSet;

use tiproxy_operator::api::name::{MANAGER_GROUP, MANAGER_INSTANCE};

use super::ownership::is_of_operator;
use crate::harness::history::Entry;

/// Kind, field, and which controller writes it.
pub(crate) type Written = (&'static str, String, &'static str);

/// Who writes what. The finalizer of a TiProxy is there when the group creates it; the instance takes it away.
pub(crate) const WRITERS: [(&str, &str, &str); 25] = [
    ("TiProxyGroup", "metadata.finalizers", MANAGER_GROUP),
    ("TiProxyGroup", "status", MANAGER_GROUP),
    ("Service", "metadata.annotations", MANAGER_GROUP),
    ("Service", "metadata.labels", MANAGER_GROUP),
    ("Service", "metadata.ownerReferences", MANAGER_GROUP),
    ("Service", "spec", MANAGER_GROUP),
    ("PodDisruptionBudget", "metadata.labels", MANAGER_GROUP),
    ("PodDisruptionBudget", "metadata.ownerReferences", MANAGER_GROUP),
    ("PodDisruptionBudget", "spec", MANAGER_GROUP),
    ("NetworkPolicy", "metadata.labels", MANAGER_GROUP),
    ("NetworkPolicy", "metadata.ownerReferences", MANAGER_GROUP),
    ("NetworkPolicy", "spec", MANAGER_GROUP),
    ("TiProxy", "metadata.annotations", MANAGER_GROUP),
    ("TiProxy", "metadata.finalizers", MANAGER_GROUP),
    ("TiProxy", "metadata.labels", MANAGER_GROUP),
    ("TiProxy", "metadata.ownerReferences", MANAGER_GROUP),
    ("TiProxy", "spec", MANAGER_GROUP),
    ("TiProxy", "status", MANAGER_INSTANCE),
    ("ConfigMap", "data", MANAGER_INSTANCE),
    ("ConfigMap", "metadata.annotations", MANAGER_INSTANCE),
    ("ConfigMap", "metadata.labels", MANAGER_INSTANCE),
    ("ConfigMap", "metadata.ownerReferences", MANAGER_INSTANCE),
    ("Pod", "metadata.annotations", MANAGER_INSTANCE),
    ("Pod", "metadata.labels", MANAGER_INSTANCE),
    ("Pod", "metadata.ownerReferences", MANAGER_INSTANCE),
];
/// What else a Pod is made of; it is never changed.
const POD_SPEC: (&str, &str, &str) = ("Pod", "spec", MANAGER_INSTANCE);
/// What is written where there are volumes.
const OF_CLAIMS: [(&str, &str, &str); 4] = [
    ("PersistentVolumeClaim", "metadata.annotations", MANAGER_INSTANCE),
    ("PersistentVolumeClaim", "metadata.labels", MANAGER_INSTANCE),
    (
        "PersistentVolumeClaim",
        "metadata.ownerReferences",
        MANAGER_INSTANCE,
    ),
    ("PersistentVolumeClaim", "spec", MANAGER_INSTANCE),
];
/// What the instance writes of a field that the group made.
const FINALIZER: (&str, &str, &str) = ("TiProxy", "metadata.finalizers", MANAGER_INSTANCE);

/// What the operator wrote, by the marks that its controllers left.
pub(crate) fn written(entries: &[Entry]) -> BTreeSet<Written> {
    let mut written = BTreeSet::new();
    for entry in entries {
        let marks = entry.object.metadata.managed_fields.iter().flatten();
        for mark in marks.filter(|mark| is_of_operator(mark)) {
            let is_group = mark.manager.as_deref() == Some(MANAGER_GROUP);
            let manager = if is_group { MANAGER_GROUP } else { MANAGER_INSTANCE };
            let fields = mark.fields_v1.as_ref().and_then(|fields| fields.0.as_object());
            for (field, below) in fields.into_iter().flatten() {
                let field = field.trim_start_matches("f:");
                if field == "metadata" {
                    let below = below.as_object().into_iter().flat_map(|below| below.keys());
                    let below = below.map(|below| format!("metadata.{}", below.trim_start_matches("f:")));
                    written.extend(below.map(|field| (entry.kind, field, manager)));
                } else {
                    written.insert((entry.kind, field.to_owned(), manager));
                }
            }
        }
    }
    written
}

/// Every field that a controller wrote although it is not that one's to write.
pub(crate) fn violations(entries: &[Entry]) -> Vec<String> {
    let known = |(kind, field, manager): &Written| {
        let this = (*kind, field.as_str(), *manager);
        WRITERS.contains(&this) || OF_CLAIMS.contains(&this) || this == POD_SPEC || this == FINALIZER
    };
    let unknown = written(entries).into_iter().filter(|written| !known(written));
    unknown
        .map(|(kind, field, manager)| format!("(writer) {manager} wrote {field} of a {kind}"))
        .collect()
}
