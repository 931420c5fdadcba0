//! A hand-made history.

use std::collections::BTreeSet;

use kube::ResourceExt;
use kube::api::DynamicObject;
use serde_json::{Value, json};
use tiproxy_operator::api::name::{ANNOTATION_DRAIN_BEGIN, MANAGER_GROUP, MANAGER_INSTANCE};

use super::super::violations;
use crate::harness::history::{Change, Entry};

/// Writes a history, entry by entry; a second passes when it is told to.
pub(super) struct Story {
    pub(super) entries: Vec<Entry>,
    pub(super) second: i64,
    pub(super) outside: BTreeSet<String>,
}

pub(super) fn time(second: i64) -> String {
    format!("2026-01-01T00:{:02}:{:02}Z", second / 60, second % 60)
}

impl Story {
    /// A group with these fields, and this many instances that are available since long.
    pub(super) fn of(replicas: i64, instances: i64, fields: Value) -> Self {
        let mut story = Self {
            entries: Vec::new(),
            second: 0,
            outside: BTreeSet::new(),
        };
        // Brought up as a group of that size, so that only what comes later is judged.
        story.group(1, instances, "old", json!({}));
        for ordinal in 0..instances {
            story.instance(ordinal, "old");
            story.pod(ordinal, true);
            story.ready(ordinal, 1);
        }
        story.pass(100);
        story.group(2, replicas, "old", fields);
        story.observed(2);
        story
    }

    pub(super) fn pass(&mut self, seconds: i64) {
        self.second += seconds;
    }

    pub(super) fn put(&mut self, kind: &'static str, mut object: Value) {
        let name = object["metadata"]["name"].as_str().unwrap().to_owned();
        let known = self.last(kind, &name).is_some();
        let version = self.entries.len() as u64 + 1;
        object["metadata"]["resourceVersion"] = version.to_string().into();
        let fields = object["metadata"]["managedFields"].as_array_mut();
        let now = json!({"manager": "clock", "time": time(self.second)});
        match fields {
            Some(fields) => {
                fields.retain(|field| field["manager"] != "clock");
                fields.push(now);
            }
            None => object["metadata"]["managedFields"] = json!([now]),
        }
        self.entries.push(Entry {
            kind,
            change: if known { Change::Modified } else { Change::Added },
            resource_version: version,
            object: serde_json::from_value(object).unwrap(),
        });
    }

    pub(super) fn last(&self, kind: &str, name: &str) -> Option<&DynamicObject> {
        let mut entries = self.entries.iter().rev();
        let entry = entries.find(|entry| entry.kind == kind && entry.object.name_any() == name)?;
        (entry.change != Change::Deleted).then_some(&entry.object)
    }

    pub(super) fn change(&mut self, kind: &'static str, name: &str, change: impl FnOnce(&mut Value)) {
        let mut object = serde_json::to_value(self.last(kind, name).unwrap()).unwrap();
        change(&mut object);
        self.put(kind, object);
    }

    pub(super) fn group(&mut self, generation: i64, replicas: i64, version: &str, fields: Value) {
        let mut spec =
            json!({"replicas": replicas, "minReadySeconds": 0, "template": {"spec": {"version": version}}});
        spec.as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        let status = self
            .last("TiProxyGroup", "web")
            .map(|group| group.data["status"].clone());
        self.put(
            "TiProxyGroup",
            json!({
                "metadata": {"name": "web", "uid": "group", "generation": generation},
                "spec": spec, "status": status.unwrap_or_default(),
            }),
        );
    }

    pub(super) fn observed(&mut self, generation: i64) {
        self.change("TiProxyGroup", "web", |group| {
            group["status"] = json!({"observedGeneration": generation});
        });
    }

    pub(super) fn instance(&mut self, ordinal: i64, version: &str) {
        self.put(
            "TiProxy",
            json!({
                "metadata": {
                    "name": format!("web-{ordinal}"), "uid": format!("instance-{ordinal}"), "generation": 1,
                    "ownerReferences": [owner("TiProxyGroup", "web", "group")],
                },
                "spec": {"version": version, "cluster": {"name": "basic"}},
            }),
        );
    }

    pub(super) fn pod(&mut self, ordinal: i64, ready: bool) {
        self.pod_named(ordinal, &format!("web-tiproxy-{ordinal}"), ready);
    }

    pub(super) fn pod_named(&mut self, ordinal: i64, name: &str, ready: bool) {
        let uid = format!("pod-{}", self.entries.len());
        let status = if ready { "True" } else { "False" };
        self.put(
            "Pod",
            json!({
                "metadata": {
                    "name": name, "uid": uid,
                    "ownerReferences": [owner("TiProxy", &format!("web-{ordinal}"), &format!("instance-{ordinal}"))],
                },
                "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": status}]},
            }),
        );
    }

    pub(super) fn ready(&mut self, ordinal: i64, generation: i64) {
        let since = time(self.second);
        self.change("TiProxy", &format!("web-{ordinal}"), |instance| {
            instance["status"] = json!({"conditions": [{
                "type": "Ready", "status": "True", "observedGeneration": generation, "lastTransitionTime": since,
            }]});
        });
    }

    /// Asks for the deletion of an object.
    pub(super) fn delete(&mut self, kind: &'static str, name: &str) {
        let now = time(self.second);
        self.change(kind, name, |object| {
            object["metadata"]["deletionTimestamp"] = now.into();
            object["metadata"]["deletionGracePeriodSeconds"] = 0.into();
        });
    }

    pub(super) fn leave(&mut self, ordinal: i64) {
        self.delete("TiProxy", &format!("web-{ordinal}"));
    }

    /// Tells an instance to leave, or to stay.
    pub(super) fn set_offline(&mut self, ordinal: i64, offline: bool) {
        self.change("TiProxy", &format!("web-{ordinal}"), |instance| {
            instance["spec"]["offline"] = offline.into();
        });
    }

    /// Takes a Pod out of the Services.
    pub(super) fn begin_leave(&mut self, ordinal: i64) {
        let now = time(self.second);
        self.change("Pod", &format!("web-tiproxy-{ordinal}"), |pod| {
            pod["metadata"]["annotations"] = json!({ANNOTATION_DRAIN_BEGIN: now});
            pod["metadata"]["labels"] = json!({});
        });
    }

    pub(super) fn gone(&mut self, kind: &'static str, name: &str) {
        let mut object = self.last(kind, name).unwrap().clone();
        let version = self.entries.len() as u64 + 1;
        object.metadata.resource_version = Some(version.to_string());
        self.entries.push(Entry {
            kind,
            change: Change::Deleted,
            resource_version: version,
            object,
        });
    }

    /// A new instance, with a ready Pod, that says so.
    pub(super) fn replacement(&mut self, ordinal: i64) {
        self.instance(ordinal, "new");
        self.pod(ordinal, true);
        self.ready(ordinal, 1);
    }

    pub(super) fn outside(&mut self, kind: &str, name: &str) {
        let uid = self.last(kind, name).unwrap().uid().unwrap();
        self.outside.insert(uid);
    }

    /// Marks an object as written by the operator.
    pub(super) fn written_by_operator(
        &mut self,
        kind: &'static str,
        name: &str,
        subresource: &str,
        fields: Value,
    ) {
        let when = time(self.second);
        self.change(kind, name, |object| {
            // Who may write which field is judged elsewhere: here each field has the right writer.
            let is_of_group = matches!(kind, "TiProxyGroup" | "Service");
            let manager = if is_of_group {
                MANAGER_GROUP
            } else {
                MANAGER_INSTANCE
            };
            let mark = json!({
                "manager": manager, "time": when, "fieldsType": "FieldsV1", "fieldsV1": fields,
                "subresource": subresource,
            });
            object["metadata"]["managedFields"]
                .as_array_mut()
                .unwrap()
                .push(mark);
        });
    }

    pub(super) fn expect(&self, expected: &[&str]) {
        let found = violations(&self.entries, &self.outside);
        let invariants: Vec<_> = found
            .iter()
            .map(|found| found.split(' ').next().unwrap())
            .collect();
        assert_eq!(invariants, expected, "{found:#?}");
    }
}

pub(super) fn owner(kind: &str, name: &str, uid: &str) -> Value {
    json!({"apiVersion": "core.pingcap.com/v1alpha1", "kind": kind, "name": name, "uid": uid, "controller": true})
}
