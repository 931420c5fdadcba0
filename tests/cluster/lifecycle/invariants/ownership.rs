//! (d) and (e): whose objects are written and deleted.

use std::collections::{BTreeMap, BTreeSet};

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ManagedFieldsEntry;
use kube::ResourceExt;
use kube::api::DynamicObject;
use tiproxy_operator::api::name;

use super::view::owner;
use super::{describe, uid};
use crate::harness::history::{Change, Entry};

/// The value of the label `pingcap.com/managed-by` on what the operator makes.
const OPERATOR: &str = "tiproxy-operator";

/// A delete that the operator asked for and got.
#[derive(Clone, Debug)]
pub(crate) struct Delete {
    pub(crate) resource: String,
    pub(crate) name: String,
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
}

/// (e): the operator's mark appears on, or changes in, an object that is neither its own nor one to adopt.
pub(super) fn violations(entries: &[Entry]) -> Vec<String> {
    let mut owners = BTreeSet::new();
    let mut objects: BTreeMap<String, &Entry> = BTreeMap::new();
    let mut found = Vec::new();
    for entry in entries {
        let object = &entry.object;
        if matches!(entry.kind, "TiProxyGroup" | "TiProxy") {
            owners.insert(uid(object));
        }
        let previous = objects
            .insert(uid(object), entry)
            .map(|previous| &previous.object);
        if entry.change == Change::Deleted {
            continue;
        }
        let before = previous
            .map(|previous| marks(entry.kind, previous))
            .unwrap_or_default();
        let now = marks(entry.kind, object);
        if before == now || now.is_empty() {
            continue;
        }
        let allowed = match entry.kind {
            "TiProxyGroup" => now.iter().all(|mark| touches_only_our_finalizer(mark)),
            "Cluster" => false,
            // One that is kept has no owner, and is known by its labels.
            "PersistentVolumeClaim" if is_adoptable(object) => {
                previous.is_none_or(|previous| is_ours(previous, &owners) || is_adoptable(previous))
            }
            _ => previous.map_or_else(
                || is_ours(object, &owners),
                |previous| is_ours(previous, &owners) || (is_adoptable(previous) && is_ours(object, &owners)),
            ),
        };
        if !allowed {
            found.push(format!("(e) {}: the operator wrote it", describe(entry)));
        }
    }
    found
}

/// (d): a delete that was bound to no UID, or not to that of an object of ours in a state that it was in.
pub(crate) fn delete_violations(entries: &[Entry], deletes: &[Delete]) -> Vec<String> {
    let owners = entries.iter().map(|entry| uid(&entry.object)).collect();
    deletes
        .iter()
        .filter_map(|delete| {
            let wrong = |why: &str| Some(format!("(d) {delete:?}: {why}"));
            let Some(bound) = &delete.uid else {
                return wrong("it is bound to no UID");
            };
            let states: Vec<_> = entries
                .iter()
                .filter(|entry| {
                    let plural = match entry.kind {
                        "TiProxy" => "tiproxies".to_owned(),
                        "NetworkPolicy" => "networkpolicies".to_owned(),
                        kind => format!("{}s", kind.to_lowercase()),
                    };
                    plural == delete.resource
                        && entry.object.name_any() == delete.name
                        && uid(&entry.object) == *bound
                })
                .map(|entry| &entry.object)
                .collect();
            if states.is_empty() {
                return wrong("no such object was ever there");
            }
            if !states.iter().any(|state| is_ours(state, &owners)) {
                return wrong("the object is not ours");
            }
            match &delete.resource_version {
                None if delete.resource == "tiproxies" => {
                    wrong("its content decided, and it is bound to no state")
                }
                Some(version)
                    if !states
                        .iter()
                        .any(|state| state.resource_version().as_ref() == Some(version)) =>
                {
                    wrong("the object never was in that state")
                }
                _ => None,
            }
        })
        .collect()
}

/// What the operator wrote last. The status of both kinds is its own, whoever has the object.
fn marks<'a>(kind: &str, object: &'a DynamicObject) -> Vec<&'a ManagedFieldsEntry> {
    let has_status = matches!(kind, "TiProxyGroup" | "TiProxy");
    let fields = object.metadata.managed_fields.iter().flatten();
    fields
        .filter(|fields| is_of_operator(fields))
        .filter(|fields| !(has_status && fields.subresource.as_deref() == Some("status")))
        .collect()
}

/// Whether a controller of the operator wrote it.
pub(super) fn is_of_operator(fields: &ManagedFieldsEntry) -> bool {
    let managers = [name::MANAGER_GROUP, name::MANAGER_INSTANCE];
    fields
        .manager
        .as_deref()
        .is_some_and(|manager| managers.contains(&manager))
}

fn touches_only_our_finalizer(mark: &ManagedFieldsEntry) -> bool {
    let Some(fields) = mark.fields_v1.as_ref().and_then(|fields| fields.0.as_object()) else {
        return false;
    };
    let only = |fields: &serde_json::Map<String, serde_json::Value>, field: &str| {
        fields.keys().all(|key| key == field)
    };
    only(fields, "f:metadata")
        && fields["f:metadata"]
            .as_object()
            .is_some_and(|metadata| only(metadata, "f:finalizers"))
}

fn is_ours(object: &DynamicObject, owners: &BTreeSet<String>) -> bool {
    owner(object).is_some_and(|owner| {
        owner.api_version.starts_with("core.pingcap.com/") && owners.contains(&owner.uid)
    })
}

/// What orphan deletion left behind, by its labels.
fn is_adoptable(object: &DynamicObject) -> bool {
    let labels = object.labels();
    owner(object).is_none()
        && labels
            .get("pingcap.com/managed-by")
            .is_some_and(|manager| manager == OPERATOR)
        && (labels.contains_key("pingcap.com/group") || labels.contains_key("pingcap.com/instance"))
}
