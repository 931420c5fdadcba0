//! What clients see while a group changes: TiProxies are processes, and a pool of connections leads through them.
//!
//! By default the processes are stand-ins in the line v1.3. With `TIPROXY_BIN` naming a real TiProxy it takes their
//! place, with an etcd for PD and TiDBs that only answer; `TIPROXY_LINE` says its line, `v1.3` or `v26`.

mod container;
mod deadline;
mod kubelet;
mod kubelet_test;
mod life;
mod load;
mod program;

mod table;
mod view;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::{Value, json};
use tiproxy_operator::api::name;

use crate::harness::group::{NAME, PATIENCE, edit, manifest, settled};
use crate::harness::operator::Operator;
use crate::harness::wait::{eventually, expect};
use crate::harness::{self, Test};
use load::Load;
use program::{Program, Surroundings, versions};
use table::Row;
use view::View;

/// How long a test of this module may take.
const TIME_LIMIT: Duration = Duration::from_mins(9);
const CONNECTIONS: usize = 200;
/// How long each connection lives, in milliseconds: less than a drain may take.
const LIFETIME: std::ops::Range<u64> = 2000..6000;
const DRAIN_SECONDS: u32 = 20;
/// Effects on clients that come later still belong to a change.
const AFTERMATH: Duration = Duration::from_secs(2);
const QUICKLY: [&str; 2] = ["--proxy-poll-interval", "1"];
const CLUSTER: &str = "basic";
/// The Service of PD.
const PD: &str = "pd";
const SUSPENDED: &str = "suspended";
/// Read once, at the start of TiProxy.
const START_ONLY: &str = "log.encoder = \"json\"\n";
/// Reloaded.
const HOT: &str = "log.encoder = \"json\"\nlog.level = \"warn\"\n";

/// A group of processes with short times.
fn group(test: &Test, replicas: u32, drain_seconds: u32) -> Value {
    let mut group = manifest(replicas);
    group["spec"]["cluster"] = json!({"name": CLUSTER});
    group["spec"]["minReadySeconds"] = json!(1);
    let template = &mut group["spec"]["template"]["spec"];
    template["version"] = json!(versions()[0]);
    template["preStop"] = json!({"sleepSeconds": 2});
    template["drain"] = json!({"timeoutSeconds": drain_seconds, "quietSeconds": 3});
    template["probes"] = json!({"readiness": {"periodSeconds": 1}});
    kubelet::bind(test, &mut group);
    group
}

/// The test while its pool runs.
struct Scene<'a> {
    test: &'a Test,
    load: Load,
    rows: Vec<Row>,
}

impl Scene<'_> {
    /// Changes something, and counts what happens to clients meanwhile.
    async fn during(&mut self, what: &str, change: impl AsyncFnOnce(&Test)) {
        let start = Instant::now();
        self.load.take();
        change(self.test).await;
        let took = start.elapsed();
        tokio::time::sleep(AFTERMATH).await;
        let counts = self.load.take();
        println!("{what}: {counts:?} after {took:?}");
        self.rows.push(Row {
            what: what.to_owned(),
            counts,
            took,
        });
    }
}

/// Where the APIs of the group's TiProxies are, by the UIDs of their Pods.
async fn apis(test: &Test) -> BTreeMap<String, SocketAddr> {
    let pods = test
        .api::<Pod>()
        .list(&ListParams::default())
        .await
        .expect("Pods");
    let address = |pod: &Pod| pod.status.as_ref()?.pod_ip.as_ref()?.parse::<IpAddr>().ok();
    pods.iter()
        .filter_map(|pod| Some((pod.uid()?, SocketAddr::new(address(pod)?, 3080))))
        .collect()
}

/// Waits until every TiProxy says that this level is in effect.
async fn logs_from(test: &Test, level: &str) {
    eventually(PATIENCE, "the level is in effect", async || {
        let mut found = Vec::new();
        for address in apis(test).await.into_values() {
            let path = "/api/admin/config/?format=json";
            let answer = container::get(address, path, Duration::from_secs(2)).await;
            let config = answer.and_then(|(_, text)| serde_json::from_str::<Value>(&text).ok());
            found.push(config.unwrap_or_default()["log"]["level"].clone());
        }
        expect(
            !found.is_empty() && found.iter().all(|found| found == level),
            found,
        )
    })
    .await;
}

/// Runs a test with an operator and a kubelet, and with the Cluster that its group belongs to.
fn run(act: impl AsyncFnOnce(&Test, &Program, &Operator)) {
    harness::run_within(TIME_LIMIT, async |test| {
        if !has_nodes(test) {
            return;
        }
        let program = Program::get();
        let surroundings = Surroundings::start(&program, &test.directory).await;
        let service = format!("{PD}.{}.svc:2379", test.namespace);
        let names = surroundings.address_of_pd().map(|address| (service, address));
        kubelet::with(test, &program, Vec::from_iter(names), async || {
            apply_cluster(test, false).await;
            let operator = test.start_operator_with(&QUICKLY).await;
            act(test, &program, &operator).await;
        })
        .await;
    });
}

async fn apply_cluster(test: &Test, suspended: bool) {
    test.apply(&json!({
        "apiVersion": "core.pingcap.com/v1alpha1",
        "kind": "Cluster",
        "metadata": {"name": CLUSTER},
        "spec": {"customizedPDServiceName": PD, "suspendAction": {"suspendCompute": suspended}},
    }))
    .await;
}

/// What happens to the clients of a group of three that is changed in every way, and whether the reload left the Pods
/// alone.
async fn changes(test: &Test, drain_seconds: u32) -> (Vec<Row>, bool) {
    test.apply(&group(test, 3, drain_seconds)).await;
    settled(test, 3).await;
    let view = View::of(test, &name::client_service(NAME));
    let load = Load::start(&view, CONNECTIONS, &LIFETIME);
    eventually(PATIENCE, "the connections are open", async || {
        expect(load.open() >= CONNECTIONS * 9 / 10, load.open())
    })
    .await;
    let mut scene = Scene {
        test,
        load,
        rows: Vec::new(),
    };
    scene
        .during("nothing", async |_| {
            tokio::time::sleep(Duration::from_secs(5)).await;
        })
        .await;
    let is_held = scene.load.open();
    assert!(is_held >= CONNECTIONS * 9 / 10, "{is_held} connections are open");
    scene
        .during("the version: all are replaced", async |test| {
            edit(test, json!({"template": {"spec": {"version": versions()[1]}}})).await;
            settled(test, 3).await;
        })
        .await;
    scene
        .during(
            "`log.encoder`, read at the start only: all are replaced",
            async |test| {
                edit(test, json!({"template": {"spec": {"config": START_ONLY}}})).await;
                settled(test, 3).await;
            },
        )
        .await;
    let before = apis(test).await;
    scene
        .during("`log.level`, reloaded: nobody is replaced", async |test| {
            edit(test, json!({"template": {"spec": {"config": HOT}}})).await;
            settled(test, 3).await;
            logs_from(test, "warn").await;
        })
        .await;
    let reloaded = apis(test).await == before;
    for (what, replicas) in [("`replicas`, 3 to 1", 1), ("`replicas`, 1 to 3", 3)] {
        scene
            .during(what, async |test| {
                edit(test, json!({"replicas": replicas})).await;
                settled(test, replicas).await;
            })
            .await;
    }
    scene
        .during(SUSPENDED, async |test| {
            apply_cluster(test, true).await;
            eventually(PATIENCE, "no Pod is left", async || {
                let left = apis(test).await;
                expect(left.is_empty(), left)
            })
            .await;
        })
        .await;
    apply_cluster(test, false).await;
    settled(test, 3).await;
    eventually(PATIENCE, "the connections are open again", async || {
        expect(scene.load.open() >= CONNECTIONS * 9 / 10, scene.load.open())
    })
    .await;
    scene
        .during("nothing, resumed", async |_| {
            tokio::time::sleep(Duration::from_secs(5)).await;
        })
        .await;
    scene.load.stop().await;
    (scene.rows, reloaded)
}

/// Whether nodes of a test's own may be made: in the local cluster only.
fn has_nodes(test: &Test) -> bool {
    test.audit_if_recorded().is_some()
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_clients_view_with_drain() {
    run(async |test, program, _| {
        let (rows, reloaded) = changes(test, DRAIN_SECONDS).await;
        table::print(&program.name(), "on", &rows);
        assert!(reloaded, "a key that can be reloaded replaced a Pod");
        for Row { what, counts, .. } in &rows {
            let mishaps = &counts.mishaps;
            assert_eq!((counts.broken, counts.cut), (0, 0), "{what}: {mishaps:?}");
            // Nobody serves then.
            assert!(counts.failed == 0 || what == SUSPENDED, "{what}: {mishaps:?}");
        }
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_clients_view_without_drain() {
    run(async |test, program, _| {
        let (rows, _) = changes(test, 0).await;
        table::print(&program.name(), "off", &rows);
        // What the drain is worth.
        let lost = |row: &Row| row.counts.cut + row.counts.broken;
        assert!(rows.iter().map(lost).sum::<usize>() > 0, "{rows:?}");
        assert_eq!(lost(&rows[0]), 0, "{rows:?}");
    });
}
