//! A group that changes quickly, and when it has come to rest.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tiproxy_operator::api::{TiProxy, TiProxyGroup};

use super::Test;
use super::wait::{eventually, expect};

/// How long anything may take on a slow machine.
pub(crate) const PATIENCE: Duration = Duration::from_mins(2);

/// The name of the group.
pub(crate) const NAME: &str = "proxy";

/// A group that needs no Cluster and waits for nothing: neither `minReadySeconds`, nor preStop, nor drain.
pub(crate) fn manifest(replicas: u32) -> Value {
    json!({
        "apiVersion": "core.pingcap.com/v1alpha1",
        "kind": "TiProxyGroup",
        "metadata": {"name": NAME},
        "spec": {
            "cluster": {"name": "basic", "pdAddrs": ["pd.example:2379"]},
            "replicas": replicas,
            "minReadySeconds": 0,
            "template": {"spec": {
                "version": "v1.3.0",
                "preStop": {"sleepSeconds": 0},
                "drain": {"timeoutSeconds": 0},
            }},
        },
    })
}

/// A user's edit of the group's spec: a merge patch.
pub(crate) async fn edit(test: &Test, spec: Value) {
    test.api::<TiProxyGroup>()
        .patch(
            NAME,
            &PatchParams::default(),
            &Patch::Merge(json!({"spec": spec})),
        )
        .await
        .expect("the group can be edited");
}

/// Waits until the group is as its spec asks, by its own word and by what is there.
pub(crate) async fn settled(test: &Test, replicas: usize) {
    settled_in(&test.client, &test.namespace, replicas).await;
}

/// As [`settled`], in any namespace.
pub(crate) async fn settled_in(client: &Client, namespace: &str, replicas: usize) {
    let groups = Api::<TiProxyGroup>::namespaced(client.clone(), namespace);
    let instances = Api::<TiProxy>::namespaced(client.clone(), namespace);
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    let what = format!("the group in {namespace} has {replicas} replicas and is at rest");
    eventually(PATIENCE, &what, async || {
        let group = groups.get(NAME).await.map_err(|error| error.to_string())?;
        let status = group.status.clone().unwrap_or_default();
        let ready = status
            .conditions
            .iter()
            .find(|condition| condition.type_ == "Ready");
        let is_ready = ready.is_some_and(|ready| {
            ready.status == "True" && ready.observed_generation == group.metadata.generation
        });
        let list = ListParams::default();
        let instances = instances.list(&list).await.map_err(|error| error.to_string())?;
        let pods = pods.list(&list).await.map_err(|error| error.to_string())?;
        let holds = is_ready && instances.items.len() == replicas && pods.items.len() == replicas;
        let names = |names: Vec<String>| names.join(" ");
        let seen = (
            ready.map(|ready| ready.message.clone()),
            names(instances.iter().map(ResourceExt::name_any).collect()),
            names(pods.iter().map(ResourceExt::name_any).collect()),
        );
        expect(holds, seen)
    })
    .await;
}
