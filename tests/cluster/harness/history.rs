//! Everything that happened to the objects of a namespace, for checks at every point of it.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Formatter};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::{StreamExt, pin_mut};
use kube::api::{ApiResource, DynamicObject, ListParams, WatchEvent, WatchParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt};
use serde_json::Value;
use tokio::task::JoinSet;

use super::wait::eventually;

/// The kinds that are recorded.
const KINDS: [(&str, &str, &str); 9] = [
    ("core.pingcap.com", "v1alpha1", "Cluster"),
    ("core.pingcap.com", "v1alpha1", "TiProxyGroup"),
    ("core.pingcap.com", "v1alpha1", "TiProxy"),
    ("", "v1", "Pod"),
    ("", "v1", "ConfigMap"),
    ("", "v1", "Service"),
    ("policy", "v1", "PodDisruptionBudget"),
    ("networking.k8s.io", "v1", "NetworkPolicy"),
    ("", "v1", "PersistentVolumeClaim"),
];

/// What happened to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Added,
    Modified,
    Deleted,
}

/// One change.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) kind: &'static str,
    pub(crate) change: Change,
    /// The place in the history of the whole cluster, comparable between kinds.
    pub(crate) resource_version: u64,
    /// The object after the change; when it was deleted, its last state.
    pub(crate) object: DynamicObject,
}

impl Display for Entry {
    fn fmt(&self, formatter: &mut Formatter<'_>) -> fmt::Result {
        let (metadata, data) = (&self.object.metadata, &self.object.data);
        let conditions = data["status"]["conditions"].as_array().into_iter().flatten();
        let ready = conditions
            .filter(|condition| condition["type"] == "Ready")
            .map(|condition| &condition["status"])
            .next();
        let fields = metadata.managed_fields.iter().flatten();
        let written = fields.filter_map(|fields| fields.time.as_ref()).max();
        write!(
            formatter,
            "{} {} {:?} {} {} generation {} ready {} deleting {} offline {} status {}",
            self.resource_version,
            written.map(|time| time.0.to_string()).unwrap_or_default(),
            self.change,
            self.kind,
            self.object.name_any(),
            metadata.generation.unwrap_or_default(),
            ready.unwrap_or(&Value::Null),
            metadata.deletion_timestamp.is_some(),
            data["spec"]["offline"],
            data["status"],
        )
    }
}

/// All objects at one point, by kind and name.
pub(crate) type State = BTreeMap<(&'static str, String), DynamicObject>;

/// A recording that goes on until it is dropped.
pub(crate) struct History {
    apis: Vec<(&'static str, Api<DynamicObject>)>,
    record: Arc<Mutex<Record>>,
    _watches: JoinSet<()>,
}

#[derive(Default)]
struct Record {
    entries: Vec<Entry>,
    failure: Option<String>,
}

impl History {
    /// Starts with what is there now.
    pub(crate) async fn record(client: Client, namespace: &str) -> Self {
        let record = Arc::new(Mutex::new(Record::default()));
        let mut watches = JoinSet::new();
        let mut apis = Vec::new();
        for (group, version, kind) in KINDS {
            let resource = ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind));
            let api = Api::namespaced_with(client.clone(), namespace, &resource);
            let list = api
                .list(&ListParams::default())
                .await
                .expect("objects can be listed");
            let start = list.metadata.resource_version.clone().expect("a list has one");
            for object in list {
                add(&record, kind, Change::Added, object);
            }
            watches.spawn(follow(kind, api.clone(), start, Arc::clone(&record)));
            apis.push((kind, api));
        }
        Self {
            apis,
            record,
            _watches: watches,
        }
    }

    /// Every change up to now, in order.
    pub(crate) async fn entries(&self) -> Vec<Entry> {
        for (kind, api) in &self.apis {
            let list = api
                .list(&ListParams::default())
                .await
                .expect("objects can be listed");
            let now = number(list.metadata.resource_version.as_deref());
            let listed: BTreeMap<_, _> = list
                .iter()
                .map(|object| (object.name_any(), version(object)))
                .collect();
            let what = format!("the watch of {kind} caught up");
            eventually(Duration::from_secs(10), &what, async || {
                let recorded = self.versions_at(kind, now);
                if recorded == listed {
                    return Ok(());
                }
                Err(format!("recorded {recorded:?}, listed {listed:?}"))
            })
            .await;
        }
        self.sorted()
    }

    /// The recorded objects of a kind, with their versions, as they were at a point.
    fn versions_at(&self, kind: &str, point: u64) -> BTreeMap<String, u64> {
        let mut versions = BTreeMap::new();
        for entry in self.sorted() {
            if entry.kind != kind || entry.resource_version > point {
                continue;
            }
            let name = entry.object.name_any();
            match entry.change {
                Change::Added | Change::Modified => versions.insert(name, entry.resource_version),
                Change::Deleted => versions.remove(&name),
            };
        }
        versions
    }

    fn sorted(&self) -> Vec<Entry> {
        let record = self.record.lock().expect("nobody panicked with the lock");
        assert_eq!(record.failure, None, "a watch broke, the history has a gap");
        let mut entries = record.entries.clone();
        entries.sort_by_key(|entry| entry.resource_version);
        entries
    }
}

/// Calls `check` after each change, with all objects as they were then and the change itself.
pub(crate) fn replay(entries: &[Entry], mut check: impl FnMut(&State, &Entry)) {
    let mut state = State::new();
    for entry in entries {
        let key = (entry.kind, entry.object.name_any());
        match entry.change {
            Change::Added | Change::Modified => state.insert(key, entry.object.clone()),
            Change::Deleted => state.remove(&key),
        };
        check(&state, entry);
    }
}

/// Watches one kind; a watch that the API server ends goes on where it was.
async fn follow(kind: &'static str, api: Api<DynamicObject>, start: String, record: Arc<Mutex<Record>>) {
    let mut last = start;
    loop {
        let stream = match api.watch(&WatchParams::default(), &last).await {
            Ok(stream) => stream,
            Err(error) => return fail(&record, format!("{kind}: {error}")),
        };
        pin_mut!(stream);
        while let Some(event) = stream.next().await {
            let (change, object) = match event {
                Ok(WatchEvent::Added(object)) => (Change::Added, object),
                Ok(WatchEvent::Modified(object)) => (Change::Modified, object),
                Ok(WatchEvent::Deleted(object)) => (Change::Deleted, object),
                Ok(WatchEvent::Bookmark(bookmark)) => {
                    last = bookmark.metadata.resource_version;
                    continue;
                }
                Ok(WatchEvent::Error(status)) => return fail(&record, format!("{kind}: {status:?}")),
                Err(error) => return fail(&record, format!("{kind}: {error}")),
            };
            last = object.resource_version().unwrap_or_default();
            add(&record, kind, change, object);
        }
    }
}

fn add(record: &Mutex<Record>, kind: &'static str, change: Change, object: DynamicObject) {
    let entry = Entry {
        kind,
        change,
        resource_version: version(&object),
        object,
    };
    record
        .lock()
        .expect("nobody panicked with the lock")
        .entries
        .push(entry);
}

fn fail(record: &Mutex<Record>, failure: String) {
    record.lock().expect("nobody panicked with the lock").failure = Some(failure);
}

fn version(object: &DynamicObject) -> u64 {
    number(object.metadata.resource_version.as_deref())
}

/// Resource versions are compared only here: the API promises their order for one kind, etcd's counter for all.
fn number(resource_version: Option<&str>) -> u64 {
    resource_version
        .and_then(|text| text.parse().ok())
        .expect("a resource version is a number")
}
