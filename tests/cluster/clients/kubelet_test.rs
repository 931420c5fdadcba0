//! The kubelet itself: what the other tests take for granted.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::program::Program;
use super::{container, has_nodes, kubelet};
use crate::harness::group::PATIENCE;
use crate::harness::wait::{eventually, expect};
use crate::harness::{self, Test};

const NAME: &str = "alone";
const GOOD: &str = "[proxy]\naddr = \"0.0.0.0:6000\"\n[api]\naddr = \"0.0.0.0:3080\"\n";

fn config_map(text: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": NAME},
        "data": {"config.toml": text},
    })
}

/// A Pod as the operator makes it, as far as it matters here.
fn pod(test: &Test) -> Value {
    let mut group = json!({"spec": {"template": {"spec": {}}}});
    kubelet::bind(test, &mut group);
    let mut spec = group["spec"]["template"]["spec"]["overlay"]["pod"]["spec"].take();
    spec["terminationGracePeriodSeconds"] = json!(20);
    spec["volumes"] = json!([{"name": "ti-config", "configMap": {"name": NAME}}]);
    spec["containers"] = json!([{
        "name": "tiproxy",
        "image": "tiproxy",
        "command": ["/bin/tiproxy", "--config", "/etc/tiproxy/config.toml"],
        "ports": [{"name": "api", "containerPort": 3080}],
        "lifecycle": {"preStop": {"sleep": {"seconds": 2}}},
        "readinessProbe": {"periodSeconds": 1, "httpGet": {"path": "/api/debug/health", "port": "api"}},
        "volumeMounts": [{"name": "ti-config", "mountPath": "/etc/tiproxy"}],
    }]);
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": NAME}, "spec": spec})
}

/// The status of the Pod; null when it is gone.
async fn status(test: &Test) -> Value {
    let pod = test.api::<Pod>().get_opt(NAME).await.expect("Pods can be read");
    json!(pod.and_then(|pod| pod.status))
}

async fn level(api: SocketAddr) -> Value {
    let answer = container::get(api, "/api/admin/config/?format=json", Duration::from_secs(2)).await;
    let config = answer.and_then(|(_, text)| serde_json::from_str::<Value>(&text).ok());
    config.unwrap_or_default()["log"]["level"].clone()
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_process_lives_and_ends_as_a_pod_says() {
    harness::run(async |test| {
        if !has_nodes(test) {
            return;
        }
        // Where PD is stands in no file of this test, so it can only be the stand-in.
        kubelet::with(test, &Program::StandIn, Vec::new(), async || {
            // It ends by itself, and comes back.
            test.apply(&config_map("nonsense")).await;
            test.apply(&pod(test)).await;
            eventually(PATIENCE, "it is started again and again", async || {
                let status = status(test).await;
                let container = &status["containerStatuses"][0];
                let again = container["restartCount"].as_i64() >= Some(2);
                let ended = container["lastState"]["terminated"]["exitCode"] == 1;
                expect(again && ended && container["ready"] == false, status)
            })
            .await;
            test.apply(&config_map(GOOD)).await;
            let status_now = eventually(PATIENCE, "it is ready", async || {
                let status = status(test).await;
                let is_ready = status["containerStatuses"][0]["ready"] == true;
                expect(is_ready && status["phase"] == "Running", status)
            })
            .await;
            let address: IpAddr = status_now["podIP"].as_str().unwrap().parse().unwrap();
            let api = SocketAddr::new(address, 3080);
            assert_eq!(level(api).await, "info");

            // Its files follow at once when the Pod changes.
            test.apply(&config_map(&format!("{GOOD}[log]\nlevel = \"warn\"\n")))
                .await;
            let told = json!({"metadata": {"annotations": {"example.com/told": "yes"}}});
            let pods = test.api::<Pod>();
            pods.patch(NAME, &PatchParams::default(), &Patch::Merge(told))
                .await
                .expect("a Pod can be annotated");
            eventually(Duration::from_secs(20), "the level is in effect", async || {
                let level = level(api).await;
                expect(level == "warn", level)
            })
            .await;

            // It goes on during the hook, and is gone with its process.
            let start = Instant::now();
            pods.delete(NAME, &DeleteParams::default())
                .await
                .expect("a Pod can be deleted");
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert_eq!(level(api).await, "warn");
            eventually(PATIENCE, "it is gone", async || {
                let status = status(test).await;
                expect(status.is_null(), status)
            })
            .await;
            let took = start.elapsed();
            assert!(took >= Duration::from_secs(2), "{took:?}");
            assert_eq!(level(api).await, Value::Null);
        })
        .await;
    });
}
