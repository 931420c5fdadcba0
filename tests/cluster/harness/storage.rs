//! A storage driver for tests: it makes a volume for each claim of the test's namespace, and makes it larger or gives it
//! other attributes when the claim asks for it. There is nothing behind the volumes, and nobody mounts them.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::task::JoinHandle;

use super::Test;

/// On cluster-wide objects of a test: its namespace.
const LABEL: &str = "tiproxy-test";
const PAUSE: Duration = Duration::from_millis(100);

/// The driver; it stops when it is dropped.
pub(crate) struct Storage(JoinHandle<()>);

impl Drop for Storage {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Storage {
    /// Starts the driver.
    pub(crate) fn start(test: &Test) -> Self {
        let driver = Driver {
            claims: test.api(),
            volumes: Api::all(test.client.clone()),
            namespace: test.namespace.clone(),
        };
        Self(tokio::spawn(async move {
            loop {
                // What somebody else changed meanwhile is looked at again.
                let _ = driver.work().await;
                tokio::time::sleep(PAUSE).await;
            }
        }))
    }
}

/// Makes a `StorageClass` for a test; its name.
pub(crate) async fn class(test: &Test, suffix: &str, binding: &str, expands: bool) -> String {
    let name = format!("{}-{suffix}", test.namespace);
    let class = json!({
        "apiVersion": "storage.k8s.io/v1", "kind": "StorageClass",
        "metadata": {"name": name, "labels": {LABEL: test.namespace}},
        "provisioner": "test.example.com", "volumeBindingMode": binding, "allowVolumeExpansion": expands,
    });
    let class = serde_json::from_value(class).expect("a StorageClass");
    Api::<k8s_openapi::api::storage::v1::StorageClass>::all(test.client.clone())
        .create(&PostParams::default(), &class)
        .await
        .expect("a StorageClass can be made");
    name
}

/// Removes what is cluster-wide of a test.
pub(crate) async fn clean(client: &Client, namespace: &str) {
    let labelled = ListParams::default().labels(&format!("{LABEL}={namespace}"));
    let classes = Api::<k8s_openapi::api::storage::v1::StorageClass>::all(client.clone());
    for class in classes.list(&labelled).await.expect("classes can be listed") {
        let _ = classes.delete(&class.name_any(), &DeleteParams::default()).await;
    }
    let volumes = Api::<PersistentVolume>::all(client.clone());
    for volume in volumes.list(&labelled).await.expect("volumes can be listed") {
        remove(&volumes, &volume.name_any()).await;
    }
}

async fn remove(volumes: &Api<PersistentVolume>, name: &str) {
    let _ = volumes.delete(name, &DeleteParams::default()).await;
    // Its claim may be going; nobody waits for that.
    let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    let _ = volumes.patch(name, &PatchParams::default(), &patch).await;
}

struct Driver {
    claims: Api<PersistentVolumeClaim>,
    volumes: Api<PersistentVolume>,
    namespace: String,
}

impl Driver {
    async fn work(&self) -> Result<(), kube::Error> {
        let labelled = ListParams::default().labels(&format!("{LABEL}={}", self.namespace));
        let volumes = self.volumes.list(&labelled).await?;
        let claims = self.claims.list(&ListParams::default()).await?;
        let mut known: BTreeMap<String, PersistentVolume> = volumes
            .into_iter()
            .map(|volume| (volume.name_any(), volume))
            .collect();
        for claim in &claims {
            match known.remove(&volume_of(claim)) {
                None => self.make(claim).await?,
                Some(volume) => self.change(claim, &volume).await?,
            }
        }
        for name in known.keys() {
            remove(&self.volumes, name).await;
        }
        Ok(())
    }

    async fn make(&self, claim: &PersistentVolumeClaim) -> Result<(), kube::Error> {
        let is_pending = claim.status.as_ref().and_then(|status| status.phase.as_deref()) == Some("Pending");
        let spec = claim.spec.clone().unwrap_or_default();
        // The driver serves its classes only.
        let Some(class) = spec
            .storage_class_name
            .filter(|class| class.starts_with(&self.namespace))
        else {
            return Ok(());
        };
        if !is_pending || claim.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        let size = spec.resources.and_then(|resources| resources.requests);
        let volume = json!({
            "apiVersion": "v1", "kind": "PersistentVolume",
            "metadata": {"name": volume_of(claim), "labels": {LABEL: self.namespace}},
            "spec": {
                "capacity": size, "accessModes": spec.access_modes, "storageClassName": class,
                "persistentVolumeReclaimPolicy": "Retain",
                "volumeAttributesClassName": spec.volume_attributes_class_name,
                "csi": {"driver": "test.example.com", "volumeHandle": volume_of(claim)},
                "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": self.namespace,
                    "name": claim.name_any(), "uid": claim.uid()},
            },
        });
        let volume = serde_json::from_value(volume).expect("a PersistentVolume");
        self.volumes.create(&PostParams::default(), &volume).await?;
        Ok(())
    }

    async fn change(
        &self,
        claim: &PersistentVolumeClaim,
        volume: &PersistentVolume,
    ) -> Result<(), kube::Error> {
        let (spec, status) = (
            claim.spec.clone().unwrap_or_default(),
            claim.status.clone().unwrap_or_default(),
        );
        if status.phase.as_deref() != Some("Bound") {
            return Ok(());
        }
        let wanted = storage(spec.resources.and_then(|resources| resources.requests));
        if wanted != storage(status.capacity) {
            self.patch(volume, json!({"spec": {"capacity": {"storage": wanted}}}))
                .await?;
            self.tell(claim, json!({"capacity": {"storage": wanted}})).await?;
        }
        let class = spec.volume_attributes_class_name;
        if class != status.current_volume_attributes_class_name {
            self.patch(volume, json!({"spec": {"volumeAttributesClassName": class}}))
                .await?;
            self.tell(claim, json!({"currentVolumeAttributesClassName": class}))
                .await?;
        }
        Ok(())
    }

    async fn patch(&self, volume: &PersistentVolume, patch: Value) -> Result<(), kube::Error> {
        self.volumes
            .patch(&volume.name_any(), &PatchParams::default(), &Patch::Merge(patch))
            .await?;
        Ok(())
    }

    async fn tell(&self, claim: &PersistentVolumeClaim, status: Value) -> Result<(), kube::Error> {
        let patch = Patch::Merge(json!({ "status": status }));
        self.claims
            .patch_status(&claim.name_any(), &PatchParams::default(), &patch)
            .await?;
        Ok(())
    }
}

fn volume_of(claim: &PersistentVolumeClaim) -> String {
    format!("pv-{}", claim.uid().expect("a stored claim has one"))
}

fn storage(map: Option<BTreeMap<String, Quantity>>) -> Option<Quantity> {
    map?.remove("storage")
}
