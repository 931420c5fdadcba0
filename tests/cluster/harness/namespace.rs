//! A namespace for each test.

use std::hash::{BuildHasher, Hasher, RandomState};

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::NamespaceResourceScope;
use kube::{Api, Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;
use tiproxy_operator::api::{TiProxy, TiProxyGroup};

use super::{Test, metrics_api, node, storage};

/// Makes a namespace with a name that no other test has.
pub(crate) async fn create(client: &Client) -> String {
    let name = format!(
        "tiproxy-test-{:08x}",
        RandomState::new().build_hasher().finish() >> 32
    );
    let namespace = Namespace {
        metadata: kube::api::ObjectMeta {
            name: Some(name.clone()),
            ..Default::default()
        },
        ..Default::default()
    };
    Api::all(client.clone())
        .create(&PostParams::default(), &namespace)
        .await
        .expect("a namespace can be made");
    name
}

/// Deletes the namespace with all that is in it; nobody is there any more to remove the operator's finalizers.
pub(crate) async fn delete(client: &Client, name: &str) {
    metrics_api::clean(client, name).await;
    release::<TiProxyGroup>(client, name).await;
    release::<TiProxy>(client, name).await;
    Api::<Namespace>::all(client.clone())
        .delete(name, &DeleteParams::background())
        .await
        .expect("the test's namespace can be deleted");
    storage::clean(client, name).await;
    node::clean(client, name).await;
}

async fn release<K>(client: &Client, namespace: &str)
where
    K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
    K::DynamicType: Default,
{
    let api = Api::<K>::namespaced(client.clone(), namespace);
    let list = api
        .list(&ListParams::default())
        .await
        .expect("objects can be listed");
    for object in list.iter().filter(|object| !object.finalizers().is_empty()) {
        let patch = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        // It may have gone since it was listed.
        let _ = api
            .patch(&object.name_any(), &PatchParams::default(), &patch)
            .await;
    }
}

/// Prints what is in the namespace of a test that failed, and the end of the operator's log.
pub(crate) async fn print_state(test: &Test) {
    println!("--- {} failed in namespace {}", test.name, test.namespace);
    for arguments in [
        &[
            "get",
            "tpg,tp,pods,configmaps,services,pvc,poddisruptionbudgets,networkpolicies",
            "--output",
            "wide",
        ][..],
        &["get", "tpg,tp", "--output", "yaml"],
        &["get", "events"],
    ] {
        let output = test.kubectl.run(arguments).await;
        println!(
            "--- kubectl {}\n{}{}",
            arguments.join(" "),
            output.stdout,
            output.stderr
        );
    }
    for entry in std::fs::read_dir(&test.directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            continue;
        }
        let log = std::fs::read_to_string(&path).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let last = &lines[lines.len().saturating_sub(40)..];
        println!("--- the end of {}\n{}", path.display(), last.join("\n"));
    }
}
