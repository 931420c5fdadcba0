//! How many requests the operator makes, by the API server's audit log: never more than promised.

mod table;

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::json;
use tiproxy_operator::api::name::ANNOTATION_DRAIN_BEGIN;

use crate::harness::audit::{Audit, Request, count};
use crate::harness::group::{PATIENCE, edit, manifest, settled};
use crate::harness::responder::{Responder, Says};
use crate::harness::storage::{self, Storage};
use crate::harness::wait::{eventually, expect};
use crate::harness::{self, Test};
use table::{Promise, Table};

/// Without a request for so long, what was going on has ended.
const SILENCE: Duration = Duration::from_secs(5);
/// How long it must stay silent.
const REST: Duration = Duration::from_mins(1);
/// What neither rest nor a restart may exceed.
const NOTHING: Promise = Promise::kept(0, 0);
/// The ConfigMap is deleted, and not left to the garbage collector, so that its name is free at once.
const SURGE: Promise = Promise {
    gate: 8,
    ambition: 7,
    reached: 8,
};
/// Nodes name their zones here, which is known after the start: the ConfigMap, and the Pod if it runs by then.
const ZONE: usize = 2;
/// What a drain adds, beside what is told of it.
const DRAIN: usize = 2;
const DRAIN_STATUS: usize = 1;

/// A promise for what makes a Pod.
const fn with_zone(promise: Promise) -> Promise {
    Promise {
        gate: promise.gate + ZONE,
        ambition: promise.ambition,
        reached: promise.reached + ZONE,
    }
}

/// A promise for what takes a Pod from its clients: the TiProxy is told to leave where it does not stay, its Pod gets the
/// begin of its leave, and its status says how far it has left.
const fn with_drain(promise: Promise) -> Promise {
    Promise {
        gate: promise.gate + DRAIN + DRAIN_STATUS,
        ambition: promise.ambition + DRAIN,
        reached: promise.reached + DRAIN + DRAIN_STATUS,
    }
}

/// A promise for what waits for volumes: how long that takes, and so whether a status tells of it, is the driver's affair.
const fn with_volumes(promise: Promise) -> Promise {
    let promise = with_zone(promise);
    Promise {
        reached: promise.gate,
        ..promise
    }
}

const MOST_STATUS_WRITES_A_SECOND: usize = 4;

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn one_instance_costs_no_more_writes_than_promised() {
    harness::run(async |test| {
        let mut table = Table::default();
        let _operator = test.start_operator().await;
        test.apply(&manifest(1)).await;
        settled(test, 1).await;
        let mut audit = test.audit();
        silence(&audit).await;

        audit.restart();
        edit(test, json!({"replicas": 2})).await;
        add(
            &mut table,
            "one instance, by scaling out",
            with_zone(Promise::kept(5, 4)),
            test,
            &audit,
            2,
        )
        .await;

        audit.restart();
        edit(test, json!({"replicas": 1})).await;
        add(
            &mut table,
            "one instance less, by scaling in",
            Promise::kept(4, 4),
            test,
            &audit,
            1,
        )
        .await;

        audit.restart();
        edit(test, json!({"template": {"spec": {"version": "v1.3.1"}}})).await;
        add(
            &mut table,
            "replacing one by surge",
            with_zone(SURGE),
            test,
            &audit,
            1,
        )
        .await;

        edit(test, json!({"maxSurge": 0})).await;
        silence(&audit).await;
        audit.restart();
        edit(test, json!({"template": {"spec": {"version": "v1.3.2"}}})).await;
        add(
            &mut table,
            "replacing one in place",
            with_zone(Promise::kept(7, 6)),
            test,
            &audit,
            1,
        )
        .await;

        audit.restart();
        let config = "[log]\nlevel = \"warn\"\n";
        edit(
            test,
            json!({"template": {"spec": {"version": "v1.3.3", "config": config}}}),
        )
        .await;
        let what = "replacing one in place, with a new configuration";
        add(&mut table, what, with_zone(Promise::kept(7, 6)), test, &audit, 1).await;
        table.judge();
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_drain_costs_two_writes_and_one_of_the_status_more() {
    harness::run(async |test| {
        let mut table = Table::default();
        let _operator = test.start_operator().await;
        let mut group = manifest(1);
        group["spec"]["template"]["spec"]["drain"] = json!({"timeoutSeconds": 60, "quietSeconds": 2});
        test.apply(&group).await;
        settled(test, 1).await;
        let (mut audit, ever) = (test.audit(), test.audit());

        // Clients are there for a while, and then they are not.
        let drained = async |test: &Test| {
            let pods = test
                .api::<Pod>()
                .list(&ListParams::default())
                .await
                .expect("Pods");
            let responder = Responder::of_pod(test, &pods.items[0], Says::connected(2, 2), None).await;
            // Until it has been asked, which makes one write of the status more.
            silence(&ever).await;
            responder
        };
        let leave = async |responder: Responder| {
            eventually(PATIENCE, "the Pod leaves", async || {
                let pods = test
                    .api::<Pod>()
                    .list(&ListParams::default())
                    .await
                    .expect("Pods");
                let mut leaves = pods
                    .iter()
                    .map(|pod| pod.annotations().contains_key(ANNOTATION_DRAIN_BEGIN));
                expect(leaves.any(|leaves| leaves), ())
            })
            .await;
            tokio::time::sleep(Duration::from_secs(2)).await;
            responder.say(Says::connected(0, 2));
            responder
        };
        let responder = drained(test).await;
        audit.restart();
        edit(test, json!({"template": {"spec": {"version": "v1.3.1"}}})).await;
        let _responder = leave(responder).await;
        let what = "replacing one by surge, with drain";
        let promise = with_drain(with_zone(SURGE));
        add(&mut table, what, promise, test, &audit, 1).await;

        edit(test, json!({"maxSurge": 0})).await;
        let responder = drained(test).await;
        audit.restart();
        edit(test, json!({"template": {"spec": {"version": "v1.3.2"}}})).await;
        let _responder = leave(responder).await;
        let what = "replacing one in place, with drain";
        let promise = with_drain(with_zone(Promise::kept(7, 6)));
        add(&mut table, what, promise, test, &audit, 1).await;
        table.judge();
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_volume_costs_one_write_more_and_one_that_is_kept_none() {
    harness::run(async |test| {
        const VOLUMES: usize = 2;
        let mut table = Table::default();
        let _storage = Storage::start(test);
        let class = storage::class(test, "fast", "Immediate", true).await;
        let volume = |name: &str| json!({"name": name, "storage": "1Gi", "storageClassName": class, "mounts": [{"mountPath": format!("/{name}")}]});
        let volumes = json!([volume("data"), volume("log")]);
        let _operator = test.start_operator().await;
        let mut group = manifest(1);
        group["spec"]["template"]["spec"]["volumes"] = volumes;
        test.apply(&group).await;
        settled(test, 1).await;
        let mut audit = test.audit();
        silence(&audit).await;

        audit.restart();
        edit(test, json!({"replicas": 2})).await;
        let promise = with_volumes(Promise::kept(5 + VOLUMES, 4 + VOLUMES));
        add(
            &mut table,
            "one instance with 2 volumes",
            promise,
            test,
            &audit,
            2,
        )
        .await;

        audit.restart();
        edit(test, json!({"replicas": 1})).await;
        // The garbage collector takes the claims away.
        let promise = Promise::kept(4, 4);
        add(
            &mut table,
            "one instance with 2 volumes less",
            promise,
            test,
            &audit,
            1,
        )
        .await;

        audit.restart();
        edit(test, json!({"template": {"spec": {"version": "v1.3.1"}}})).await;
        let promise = with_volumes(Promise {
            gate: SURGE.gate + VOLUMES,
            ambition: SURGE.ambition + VOLUMES,
            reached: SURGE.reached + VOLUMES,
        });
        add(
            &mut table,
            "replacing one with 2 volumes by surge",
            promise,
            test,
            &audit,
            1,
        )
        .await;

        edit(test, json!({"maxSurge": 0, "volumeRetention": "Retain"})).await;
        silence(&audit).await;
        audit.restart();
        edit(test, json!({"template": {"spec": {"version": "v1.3.2"}}})).await;
        add(
            &mut table,
            "replacing one with 2 volumes in place",
            with_volumes(Promise::kept(7, 6)),
            test,
            &audit,
            1,
        )
        .await;

        // The first of all had the ordinal 0; when its claims are gone, the next one has it.
        for name in ["data-proxy-tiproxy-0", "log-proxy-tiproxy-0"] {
            eventually(PATIENCE, "the claims of the first are gone", async || {
                let found = test.api::<PersistentVolumeClaim>().get_opt(name).await;
                expect(found.expect("claims can be read").is_none(), name)
            })
            .await;
        }
        for replicas in [0, 1, 0] {
            edit(test, json!({ "replicas": replicas })).await;
            settled(test, replicas).await;
        }
        silence(&audit).await;
        audit.restart();
        edit(test, json!({"replicas": 1})).await;
        add(
            &mut table,
            "one instance with 2 volumes that were kept",
            with_volumes(Promise::kept(5, 4)),
            test,
            &audit,
            1,
        )
        .await;
        table.judge();
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_new_group_costs_no_more_writes_than_promised() {
    harness::run(async |test| {
        let mut table = Table::default();
        let _operator = test.start_operator().await;
        let audit = test.audit();
        test.apply(&manifest(20)).await;
        settled(test, 20).await;
        silence(&audit).await;
        let writes = audit.writes();
        let (status, others): (Vec<_>, Vec<_>) = writes.into_iter().partition(is_group_status);
        // The group's finalizer, its two Services and its PodDisruptionBudget.
        let detail = format!("{:?}", count(&others));
        table.add(
            "20 instances and their group",
            others.len(),
            Promise {
                gate: (5 + ZONE) * 20 + 4,
                ambition: 4 * 20 + 4,
                reached: (4 + ZONE) * 20 + 4,
            },
            detail,
        );
        let busiest = most_in_a_second(&status);
        let detail = format!("{status:#?}");
        let most = MOST_STATUS_WRITES_A_SECOND;
        table.add(
            "group status in the busiest second of it",
            busiest,
            Promise::kept(most, most),
            detail,
        );
        table.judge();
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn there_is_no_request_at_rest_and_no_write_at_a_restart() {
    harness::run(async |test| {
        let mut table = Table::default();
        let mut operator = test.start_operator().await;
        let mut audit = test.audit();
        test.apply(&manifest(3)).await;
        settled(test, 3).await;
        silence(&audit).await;

        audit.restart();
        tokio::time::sleep(REST).await;
        let requests: Vec<_> = audit
            .requests()
            .into_iter()
            .filter(|request| request.verb != "watch")
            .collect();
        let detail = format!("{requests:#?}");
        table.add(
            "requests in 60 s at rest, watches aside",
            requests.len(),
            NOTHING,
            detail,
        );

        audit.restart();
        operator.stop().await;
        let mut operator = test.start_operator().await;
        silence(&audit).await;
        let writes = audit.writes();
        let read = audit.requests().iter().any(|request| request.verb == "list");
        assert!(read, "the operator did not even look");
        table.add(
            "writes at a restart",
            writes.len(),
            NOTHING,
            format!("{writes:#?}"),
        );

        audit.restart();
        operator.kill();
        let _operator = test.start_operator().await;
        silence(&audit).await;
        let writes = audit.writes();
        table.add(
            "writes at a restart after a crash",
            writes.len(),
            NOTHING,
            format!("{writes:#?}"),
        );
        table.judge();
    });
}

/// Waits until the change has come to its end, and adds its writes. The group's status is shared, and has its own rule.
async fn add(table: &mut Table, what: &str, promise: Promise, test: &Test, audit: &Audit, replicas: usize) {
    settled(test, replicas).await;
    silence(audit).await;
    let (status, others): (Vec<_>, Vec<_>) = audit.writes().into_iter().partition(is_group_status);
    assert!(!others.is_empty(), "nothing was done: {what}");
    let busiest = most_in_a_second(&status);
    assert!(busiest <= MOST_STATUS_WRITES_A_SECOND, "{what}: {status:#?}");
    println!("{what}: {:?}, group status {}", count(&others), status.len());
    table.add(what, others.len(), promise, format!("{others:#?}"));
}

/// Waits until the operator has asked for nothing for a while.
async fn silence(audit: &Audit) {
    let mut last = (audit.requests().len(), Instant::now());
    eventually(PATIENCE, "the operator is silent", async || {
        let now = audit.requests().len();
        if now != last.0 {
            last = (now, Instant::now());
        }
        let silent = last.1.elapsed();
        if silent >= SILENCE {
            Ok(())
        } else {
            Err(format!("{silent:?} after {now} requests"))
        }
    })
    .await;
}

fn is_group_status(request: &Request) -> bool {
    request.resource == "tiproxygroups/status"
}

/// The most requests within one second, wherever it begins.
fn most_in_a_second(requests: &[Request]) -> usize {
    let mut times: Vec<Timestamp> = requests
        .iter()
        .map(|request| request.received.parse().expect("the time of a request"))
        .collect();
    times.sort();
    let second = SignedDuration::from_secs(1);
    times
        .iter()
        .map(|first| {
            times
                .iter()
                .filter(|time| *time >= first && time.duration_since(*first) < second)
                .count()
        })
        .max()
        .unwrap_or_default()
}
