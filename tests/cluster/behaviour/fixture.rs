//! What the tests of this module share: manifests, and looking at conditions and versions.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::api::core::v1::{ConfigMap, Pod, Service};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::api::{DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::{Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tiproxy_operator::api::{TiProxy, TiProxyGroup};

use crate::harness::Test;
use crate::harness::objects::Keep;
use crate::harness::wait::{eventually, expect};

/// How long anything may take on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);
/// Within this time whatever stops progress is told: the promise to users.
pub(crate) const PROMPT: Duration = Duration::from_secs(10);

/// A group that rolls quickly: without Cluster, without `minReadySeconds`, without drain, with as much surge as it has replicas.
pub(crate) fn group(name: &str, replicas: u32) -> Value {
    json!({
        "apiVersion": "core.pingcap.com/v1alpha1",
        "kind": "TiProxyGroup",
        "metadata": {"name": name},
        "spec": {
            "cluster": {"name": "basic", "pdAddrs": ["pd.example:2379"]},
            "replicas": replicas,
            "minReadySeconds": 0,
            "maxSurge": "100%",
            "template": {"spec": {"version": "v1.3.0", "drain": {"timeoutSeconds": 0}}},
        },
    })
}

/// As [`group`], with a configuration.
pub(crate) fn configured(name: &str, replicas: u32, config: &str) -> Value {
    let mut group = group(name, replicas);
    group["spec"]["template"]["spec"]["config"] = json!(config);
    group
}

/// A TiProxy of a group, to look at.
pub(crate) fn instance(name: &str) -> Value {
    json!({"apiVersion": "core.pingcap.com/v1alpha1", "kind": "TiProxy", "metadata": {"name": name}})
}

/// A Cluster, which says by these fields where PD is.
pub(crate) fn cluster(name: &str, spec: Value) -> Value {
    let mut cluster =
        json!({"apiVersion": "core.pingcap.com/v1alpha1", "kind": "Cluster", "metadata": {"name": name}});
    cluster["spec"] = spec;
    cluster
}

/// A condition of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) status: String,
    pub(crate) reason: String,
    pub(crate) message: String,
    pub(crate) is_current: bool,
}

/// The condition of an object, as stored.
pub(crate) fn condition(object: &DynamicObject, condition_type: &str) -> Option<Seen> {
    let conditions = object.data["status"]["conditions"].as_array()?;
    let found = conditions
        .iter()
        .find(|condition| condition["type"] == condition_type)?;
    let text = |field: &str| found[field].as_str().unwrap_or_default().to_owned();
    Some(Seen {
        status: text("status"),
        reason: text("reason"),
        message: text("message"),
        is_current: found["observedGeneration"].as_i64() == object.metadata.generation,
    })
}

/// Reads the object of a manifest.
pub(crate) async fn get(test: &Test, manifest: &Value) -> DynamicObject {
    let name = manifest["metadata"]["name"].as_str().expect("it has a name");
    test.dynamic(manifest)
        .get(name)
        .await
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Waits until a condition of the present generation is true for this reason; returns its message.
pub(crate) async fn is_true(test: &Test, manifest: &Value, condition_type: &str, reason: &str) -> String {
    becomes(test, manifest, PATIENCE, condition_type, "True", reason).await
}

/// As [`is_true`], within the time that is promised to users.
pub(crate) async fn is_soon_true(
    test: &Test,
    manifest: &Value,
    condition_type: &str,
    reason: &str,
) -> String {
    becomes(test, manifest, PROMPT, condition_type, "True", reason).await
}

/// Waits until a condition of the present generation is so; returns its message.
pub(crate) async fn becomes(
    test: &Test,
    manifest: &Value,
    limit: Duration,
    condition_type: &str,
    status: &str,
    reason: &str,
) -> String {
    let what = format!(
        "{} {} has {condition_type}={status} {reason}",
        manifest["kind"], manifest["metadata"]["name"]
    );
    eventually(limit, &what, async || {
        let object = get(test, manifest).await;
        match condition(&object, condition_type) {
            Some(seen) if seen.is_current && seen.status == status && seen.reason == reason => {
                Ok(seen.message)
            }
            seen => Err(format!("{seen:?}, {}", object.data["status"]["conditions"])),
        }
    })
    .await
}

/// Waits until the group is Ready.
pub(crate) async fn is_ready(test: &Test, manifest: &Value) -> String {
    is_true(test, manifest, "Ready", "AllReady").await
}

/// UID and resourceVersion of everything that the operator may write beside groups, by kind and name. Kubernetes itself
/// writes to a `PodDisruptionBudget` whenever it counts, so for that the generation stands in.
pub(crate) async fn versions(test: &Test) -> BTreeMap<(&'static str, String), (String, String)> {
    let mut versions = BTreeMap::new();
    versions.extend(of_kind::<TiProxy>(test, "TiProxy").await);
    versions.extend(of_kind::<Pod>(test, "Pod").await);
    versions.extend(of_kind::<ConfigMap>(test, "ConfigMap").await);
    versions.extend(of_kind::<Service>(test, "Service").await);
    versions.extend(of_kind::<PodDisruptionBudget>(test, "PodDisruptionBudget").await);
    versions.extend(of_kind::<NetworkPolicy>(test, "NetworkPolicy").await);
    versions
}

async fn of_kind<K>(test: &Test, kind: &'static str) -> Vec<((&'static str, String), (String, String))>
where
    K: Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>
        + Clone
        + DeserializeOwned
        + std::fmt::Debug,
{
    let list = test
        .api::<K>()
        .list(&ListParams::default())
        .await
        .expect("objects can be listed");
    list.iter()
        .map(|object| {
            (
                (kind, object.name_any()),
                (
                    object.uid().expect("it has a UID"),
                    match (kind, object.meta().generation) {
                        ("PodDisruptionBudget", Some(generation)) => generation.to_string(),
                        _ => object.resource_version().expect("it has a version"),
                    },
                ),
            )
        })
        .collect()
}

/// Makes the operator work on something else until that is done: what it had to do before, it has done by then.
///
/// One more group, without TiProxies, comes and goes.
pub(crate) async fn something_else(test: &Test) {
    let other = group("something-else", 0);
    test.apply(&other).await;
    is_true(test, &other, "Ready", "ScaledToZero").await;
    test.api::<TiProxyGroup>()
        .delete("something-else", &DeleteParams::default())
        .await
        .expect("a group can be deleted");
    eventually(
        PATIENCE,
        "the other group and its Services are gone",
        async || {
            let left: Vec<_> = versions(test)
                .await
                .into_keys()
                .filter(|(_, name)| name.starts_with("something-else"))
                .collect();
            if left.is_empty() {
                Ok(())
            } else {
                Err(format!("{left:?}"))
            }
        },
    )
    .await;
}

/// The Pods of the test's namespace by name.
pub(crate) async fn pods(test: &Test) -> BTreeMap<String, Pod> {
    test.api::<Pod>()
        .list(&ListParams::default())
        .await
        .expect("Pods can be listed")
        .into_iter()
        .map(|pod| (pod.name_any(), pod))
        .collect()
}

/// The TiProxies of the test's namespace by name.
pub(crate) async fn instances(test: &Test) -> BTreeMap<String, TiProxy> {
    test.api::<TiProxy>()
        .list(&ListParams::default())
        .await
        .expect("TiProxies can be listed")
        .into_iter()
        .map(|instance| (instance.name_any(), instance))
        .collect()
}

/// A user's edit: a merge patch of the object of a manifest.
pub(crate) async fn edit(test: &Test, manifest: &Value, patch: Value) -> DynamicObject {
    let name = manifest["metadata"]["name"].as_str().expect("it has a name");
    test.dynamic(manifest)
        .patch(name, &PatchParams::default(), &Patch::Merge(patch))
        .await
        .unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Waits until the namespace refuses a Pod that is not restricted.
pub(crate) async fn restricts(test: &Test) {
    let refused = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "refused"},
        "spec": {"containers": [{"name": "a", "image": "a"}]}});
    eventually(PATIENCE, "the rule is in force", async || {
        let answer = test.create(&refused, Keep::No).await;
        expect(
            answer.is_err_and(|status| status.message.contains("PodSecurity")),
            (),
        )
    })
    .await;
}
