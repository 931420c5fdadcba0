//! Objects of one kind, by name and by owner.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use kube::Resource;

use super::resource_version::ResourceVersion;

/// The name of an object within its kind. Objects without a namespace are in the namespace `""`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key {
    pub(crate) namespace: Box<str>,
    pub(crate) name: Box<str>,
}

impl Key {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }

    pub(crate) fn of<K: Resource>(object: &K) -> Self {
        let (name, namespace) = by_name(object);
        Self::new(namespace, name)
    }
}

/// The resourceVersion of an object, if it is one that has an order.
pub(crate) fn version_of<K: Resource>(object: &K) -> Option<ResourceVersion> {
    object
        .meta()
        .resource_version
        .as_deref()
        .and_then(ResourceVersion::parse)
}

/// The UID of the controlling owner, if there is one.
pub fn owner_uid<K: Resource>(object: &K) -> Option<&str> {
    let owners = object.meta().owner_references.as_deref().unwrap_or_default();
    owners
        .iter()
        .find(|owner| owner.controller == Some(true))
        .map(|owner| owner.uid.as_str())
}

/// The order of an owner's objects.
fn by_name<K: Resource>(object: &K) -> (&str, &str) {
    let meta = object.meta();
    (
        meta.name.as_deref().unwrap_or_default(),
        meta.namespace.as_deref().unwrap_or_default(),
    )
}

/// The objects, sorted by namespace and name, and the objects of each owner, sorted by name.
pub(crate) struct View<K> {
    objects: BTreeMap<Box<str>, BTreeMap<Box<str>, Arc<K>>>,
    owned: HashMap<Box<str>, Vec<Arc<K>>>,
}

impl<K> Default for View<K> {
    fn default() -> Self {
        Self {
            objects: BTreeMap::new(),
            owned: HashMap::new(),
        }
    }
}

impl<K: Resource> View<K> {
    pub(crate) fn get(&self, namespace: &str, name: &str) -> Option<&Arc<K>> {
        self.objects.get(namespace)?.get(name)
    }

    pub(crate) fn owned_by(&self, owner: &str) -> Vec<Arc<K>> {
        self.owned.get(owner).cloned().unwrap_or_default()
    }

    pub(crate) fn in_namespace(&self, namespace: &str) -> Vec<Arc<K>> {
        self.objects
            .get(namespace)
            .map(|names| names.values().cloned().collect())
            .unwrap_or_default()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<K>> {
        self.objects.values().flat_map(BTreeMap::values)
    }

    pub(crate) fn len(&self) -> usize {
        self.objects.values().map(BTreeMap::len).sum()
    }

    /// Puts or takes away the object of this name, and returns what was there.
    pub(crate) fn set(&mut self, key: &Key, new: Option<Arc<K>>) -> Option<Arc<K>> {
        let old = match &new {
            Some(object) => {
                let names = self.objects.entry(key.namespace.clone()).or_default();
                names.insert(key.name.clone(), Arc::clone(object))
            }
            None => self.take(key),
        };
        if let Some(old) = &old {
            self.disown(old);
        }
        if let Some(object) = new
            && let Some(owner) = owner_uid(object.as_ref())
        {
            let owned = self.owned.entry(owner.into()).or_default();
            let place = owned.partition_point(|other| by_name(other.as_ref()) < by_name(object.as_ref()));
            owned.insert(place, object);
        }
        old
    }

    fn take(&mut self, key: &Key) -> Option<Arc<K>> {
        let names = self.objects.get_mut(&key.namespace)?;
        let old = names.remove(&key.name);
        if names.is_empty() {
            self.objects.remove(&key.namespace);
        }
        old
    }

    fn disown(&mut self, object: &Arc<K>) {
        let Some(owner) = owner_uid(object.as_ref()) else {
            return;
        };
        let Some(objects) = self.owned.get_mut(owner) else {
            return;
        };
        if let Ok(place) =
            objects.binary_search_by(|other| by_name(other.as_ref()).cmp(&by_name(object.as_ref())))
        {
            objects.remove(place);
        }
        if objects.is_empty() {
            self.owned.remove(owner);
        }
    }
}
