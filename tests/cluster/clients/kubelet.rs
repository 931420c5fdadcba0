//! A small kubelet: it has a node of its own, on which the Pods of one test run as processes of this machine.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use futures::{FutureExt, StreamExt};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::runtime::WatchStreamExt;
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use super::life::{Life, Told};
use super::program::Program;
use crate::harness::Test;
use crate::harness::cluster::FIELD_MANAGER;
use crate::harness::wait::{eventually, expect};

/// Label and taint of the node: only the Pods of its test run there.
const OWN: &str = "example.com/test";
/// How often the node shows that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(10);
const LEASES: &str = "kube-node-lease";

/// Runs a test with a kubelet, and ends all that it started whatever happens. Names in the files of Pods become what
/// they lead to.
pub(super) async fn with(
    test: &Test,
    program: &Program,
    names: Vec<(String, String)>,
    act: impl AsyncFnOnce(),
) {
    let node = test.namespace.clone();
    create_node(&test.client, &node).await;
    let stop = CancellationToken::new();
    let kubelet = Kubelet {
        client: test.client.clone(),
        namespace: test.namespace.clone(),
        program: program.clone(),
        names,
        directory: test.directory.clone(),
        last: 0,
    };
    let task = tokio::spawn(kubelet.serve(stop.clone()));
    let outcome = AssertUnwindSafe(act()).catch_unwind().await;
    stop.cancel();
    let ended = task.await;
    remove(&test.client, &test.namespace).await;
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
    ended.expect("the kubelet did not panic");
}

/// Binds a group's Pods to the node of the test.
pub(super) fn bind(test: &Test, group: &mut Value) {
    group["spec"]["template"]["spec"]["overlay"] = json!({"pod": {"spec": {
        "nodeSelector": {OWN: test.namespace},
        "tolerations": [{"key": OWN, "operator": "Exists"}],
    }}});
}

async fn create_node(client: &Client, name: &str) {
    let plenty = json!({"cpu": "64", "memory": "256Gi", "pods": "250"});
    let now = Timestamp::now().to_string();
    let node: Node = serde_json::from_value(json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name, OWN: name}},
        "spec": {"taints": [{"key": OWN, "effect": "NoSchedule"}]},
        "status": {
            "allocatable": plenty,
            "capacity": plenty,
            "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
            "conditions": [{"type": "Ready", "status": "True", "reason": "KubeletReady",
                "lastHeartbeatTime": now, "lastTransitionTime": now}],
        },
    }))
    .expect("a node");
    let nodes = Api::<Node>::all(client.clone());
    nodes
        .create(&PostParams::default(), &node)
        .await
        .expect("a node can be made");
    renew(client, name).await;
    eventually(Duration::from_secs(30), "the node is ready", async || {
        let node = nodes.get(name).await.expect("the node is there");
        let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
        expect(taints.iter().all(|taint| taint.key == OWN), taints)
    })
    .await;
}

async fn renew(client: &Client, node: &str) {
    let lease = json!({
        "apiVersion": "coordination.k8s.io/v1",
        "kind": "Lease",
        "metadata": {"name": node},
        "spec": {
            "holderIdentity": node,
            "leaseDurationSeconds": 40,
            "renewTime": format!("{:.6}", Timestamp::now()),
        },
    });
    let leases = Api::<Lease>::namespaced(client.clone(), LEASES);
    let written = leases
        .patch(
            node,
            &PatchParams::apply(FIELD_MANAGER).force(),
            &Patch::Apply(lease),
        )
        .await;
    written.expect("a Lease can be written");
}

/// Nobody is left to end Pods in peace.
async fn remove(client: &Client, namespace: &str) {
    let pods = Api::<Pod>::namespaced(client.clone(), namespace);
    // What cannot be removed goes with the local cluster.
    let _ = pods
        .delete_collection(&DeleteParams::default().grace_period(0), &ListParams::default())
        .await;
    let nodes = Api::<Node>::all(client.clone());
    let _ = nodes.delete(namespace, &DeleteParams::default()).await;
    let leases = Api::<Lease>::namespaced(client.clone(), LEASES);
    let _ = leases.delete(namespace, &DeleteParams::default()).await;
}

struct Kubelet {
    client: Client,
    namespace: String,
    program: Program,
    names: Vec<(String, String)>,
    directory: PathBuf,
    /// The last part of the address that was given last.
    last: u8,
}

struct Running {
    pod: watch::Sender<Pod>,
    life: AbortHandle,
}

impl Kubelet {
    async fn serve(mut self, stop: CancellationToken) {
        let pods = Api::<Pod>::namespaced(self.client.clone(), &self.namespace);
        let own = watcher::Config::default().fields(&format!("spec.nodeName={}", self.namespace));
        let mut events = pin!(watcher(pods, own).default_backoff());
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        let mut lives = JoinSet::new();
        let mut running = BTreeMap::<String, Running>::new();
        let mut listed = Vec::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                _ = heartbeat.tick() => renew(&self.client, &self.namespace).await,
                Some(ended) = lives.join_next() => {
                    if let Err(error) = ended && error.is_panic() {
                        resume_unwind(error.into_panic());
                    }
                }
                event = events.next() => match event.expect("a watch has no end") {
                    Ok(Event::Init) => listed.clear(),
                    Ok(Event::InitApply(pod)) => {
                        listed.push(pod.uid().expect("a stored object has one"));
                        self.see(pod, &mut running, &mut lives);
                    }
                    Ok(Event::InitDone) => running.retain(|uid, running| {
                        let is_there = listed.contains(uid);
                        if !is_there {
                            running.life.abort();
                        }
                        is_there
                    }),
                    Ok(Event::Apply(pod)) => self.see(pod, &mut running, &mut lives),
                    Ok(Event::Delete(pod)) => {
                        // Its process dies with it, if somebody removed it by force.
                        if let Some(running) = running.remove(&pod.uid().unwrap_or_default()) {
                            running.life.abort();
                        }
                    }
                    Err(error) => println!("the kubelet's watch: {error}"),
                },
            }
        }
        lives.shutdown().await;
    }

    fn see(&mut self, pod: Pod, running: &mut BTreeMap<String, Running>, lives: &mut JoinSet<()>) {
        let uid = pod.uid().expect("a stored object has one");
        if let Some(running) = running.get(&uid) {
            running.pod.send_replace(pod);
            return;
        }
        let name = format!("{}-{}", pod.name_any(), uid.get(..8).unwrap_or_default());
        let (sender, receiver) = watch::channel(pod);
        let root = self.directory.join("pods").join(&name);
        std::fs::create_dir_all(&root).expect("a directory can be made");
        let life = Life {
            pods: Api::namespaced(self.client.clone(), &self.namespace),
            config_maps: Api::namespaced(self.client.clone(), &self.namespace),
            program: self.program.clone(),
            pod: receiver,
            address: self.next_address(),
            names: self.names.clone(),
            root,
            log: self.directory.join(name),
            told: Told::nothing(),
        };
        let life = lives.spawn(life.lead());
        running.insert(uid, Running { pod: sender, life });
    }

    /// Not an address that the Pods of the other nodes have, which begin with 127.64 to 127.127.
    fn next_address(&mut self) -> Ipv4Addr {
        self.last = self.last.checked_add(1).expect("fewer than 256 Pods");
        let digits = self.namespace.rsplit('-').next().unwrap_or_default();
        let number = u32::from_str_radix(digits, 16).expect("a namespace ends with a number");
        let [_, _, high, low] = number.to_be_bytes();
        Ipv4Addr::new(127, 128 | high & 63, low, self.last)
    }
}
