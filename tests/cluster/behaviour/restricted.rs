//! Pods of every combination of TLS where the API server enforces the `restricted` Pod Security Standard.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Namespace, Pod};
use kube::api::{ListParams, Patch, PatchParams};
use kube::{Api, ResourceExt};
use serde_json::json;

use crate::combination::Combination;
use crate::harness;
use crate::harness::wait::{eventually, expect};

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn each_combination_of_tls_is_admitted_where_restricted_is_enforced() {
    harness::run(async |test| {
        let label = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
        Api::<Namespace>::all(test.client.clone())
            .patch(&test.namespace, &PatchParams::default(), &Patch::Merge(label))
            .await
            .expect("the namespace can be labelled");
        let refused = json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"name": "loose"},
            "spec": {"containers": [{"name": "loose", "image": "loose"}]},
        });
        let refused: Pod = serde_json::from_value(refused).unwrap();
        let answer = test
            .api::<Pod>()
            .create(&kube::api::PostParams::default(), &refused)
            .await;
        assert!(
            matches!(&answer, Err(kube::Error::Api(status)) if status.code == 403),
            "the namespace refuses what is not restricted: {answer:?}"
        );

        let _operator = test.start_operator().await;
        let mut expected = Vec::new();
        for combination in Combination::all() {
            test.apply(&combination.group()).await;
            expected.push(format!("{}-tiproxy-0", combination.name()));
        }
        expected.sort();
        let pods = eventually(Duration::from_mins(1), "every group has its Pod", async || {
            let pods = test
                .api::<Pod>()
                .list(&ListParams::default())
                .await
                .unwrap()
                .items;
            let mut names: Vec<String> = pods.iter().map(ResourceExt::name_any).collect();
            names.sort();
            expect(names == expected, names).map(|_| pods)
        })
        .await;
        // The Pods are those of the snapshots, but for what the API server and the cluster add.
        for combination in Combination::all() {
            let name = format!("{}-tiproxy-0", combination.name());
            let admitted = pods.iter().find(|pod| pod.name_any() == name).unwrap();
            let volumes = |pod: &Pod| {
                let volumes = pod.spec.as_ref().and_then(|spec| spec.volumes.clone());
                let names = volumes.unwrap_or_default().into_iter().map(|volume| volume.name);
                names.collect::<Vec<_>>()
            };
            assert_eq!(volumes(admitted), volumes(&combination.rendered().pod), "{name}");
        }
    });
}
