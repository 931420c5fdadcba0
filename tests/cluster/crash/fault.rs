//! Faults that last: watches that end, kinds that cannot be read, writes that hang; and the orderly end.

use std::time::{Duration, Instant};

use axum::http::{Method, StatusCode};
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::ResourceExt;
use kube::api::{DeleteParams, ListParams};
use serde_json::json;

use super::proxy::{Fate, Write};
use super::supervised::Supervised;
use crate::harness::group::{PATIENCE, edit, manifest, settled};
use crate::harness::wait::{eventually, expect};
use crate::harness::{self, Test};

/// Within this time the operator has ended after it was told to.
const STOP: Duration = Duration::from_secs(2);
/// How long the work on one object may take in the test of writes that hang.
const RECONCILE_TIMEOUT: Duration = Duration::from_secs(4);

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_pod_that_vanished_unseen_comes_back() {
    harness::run(async |test| {
        let operator = Supervised::start(test, &[], |_| ()).await;
        test.apply(&manifest(3)).await;
        settled(test, 3).await;
        let before = pods(test).await;

        operator.proxy.unreadable("pods", StatusCode::SERVICE_UNAVAILABLE);
        is_refused(&operator).await;
        delete_now(test, &before[1].0).await;
        operator.proxy.readable();
        let start = Instant::now();
        let after = eventually(PATIENCE, "the Pod comes back", async || {
            let after = pods(test).await;
            expect(after.len() == 3, after)
        })
        .await;
        println!(
            "a Pod that vanished unseen came back after {:.1?}",
            start.elapsed()
        );
        settled(test, 3).await;
        let same: Vec<_> = after.iter().filter(|pod| before.contains(pod)).collect();
        assert_eq!(same, [&before[0], &before[2]], "the others are the same Pods");
        assert_eq!(after[1].0, before[1].0);
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_kind_that_may_not_be_read_stops_no_other() {
    harness::run(async |test| {
        let operator = Supervised::start(test, &[], |proxy| {
            proxy.unreadable("services", StatusCode::FORBIDDEN);
            proxy.plan(refuse_services);
        })
        .await;
        test.apply(&manifest(1)).await;
        eventually(PATIENCE, "the operator says what it lacks", async || {
            let expected = "not ready: cache of Service, cache of PD Service\n";
            let answer = operator.get("/readyz");
            expect(answer == Some((503, expected.to_owned())), answer)
        })
        .await;
        operator.proxy.readable();
        operator.proxy.plan(|_| Fate::Pass);
        settled(test, 1).await;
        let ready = operator.get("/readyz");
        assert_eq!(ready, Some((200, "ok\n".to_owned())));

        // The right goes while the operator runs: what does not need it goes on.
        operator.proxy.unreadable("services", StatusCode::FORBIDDEN);
        operator.proxy.plan(refuse_services);
        is_refused(&operator).await;
        let before = pods(test).await;
        let services = test.api::<Service>();
        services
            .delete("proxy-tiproxy", &DeleteParams::default())
            .await
            .expect("a Service can be deleted");
        delete_now(test, &before[0].0).await;
        edit(test, json!({"replicas": 2})).await;
        eventually(PATIENCE, "two Pods that are new", async || {
            let now = pods(test).await;
            expect(now.len() == 2 && !now.contains(&before[0]), now)
        })
        .await;
        operator.proxy.readable();
        operator.proxy.plan(|_| Fate::Pass);
        eventually(PATIENCE, "the Service comes back", async || {
            services
                .get("proxy-tiproxy")
                .await
                .map_err(|error| error.to_string())
        })
        .await;
        settled(test, 2).await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_write_that_hangs_is_given_up_and_stops_no_other() {
    harness::run(async |test| {
        let operator = Supervised::start(test, &["--reconcile-timeout", "4"], |proxy| {
            proxy.plan(swallow_first_pod());
        })
        .await;
        test.apply(&manifest(2)).await;
        let seen = eventually(PATIENCE, "both TiProxies have had a Pod asked for", async || {
            let writes = pod_creations(&operator);
            expect(writes.len() >= 2, writes)
        })
        .await;
        eventually(PATIENCE, "the other Pod is there", async || {
            let pods = pods(test).await;
            expect(pods.len() == 1, pods)
        })
        .await;
        let waited = seen[0].time.elapsed();
        assert!(waited < RECONCILE_TIMEOUT, "it was waited for: {waited:?}");
        settled(test, 2).await;
        let writes = pod_creations(&operator);
        assert_eq!(writes.len(), 3, "{writes:?}");
        let given_up = writes[2].time - writes[0].time;
        println!("a write that hung was repeated after {given_up:.1?}");
        // Its time began before this write did.
        assert!(given_up >= RECONCILE_TIMEOUT / 2, "{given_up:?}");
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn it_stops_in_time_whatever_it_does() {
    harness::run(async |test| {
        let operator = Supervised::start(test, &[], |proxy| proxy.plan(swallow_first_pod())).await;
        test.apply(&manifest(20)).await;
        eventually(PATIENCE, "a write hangs", async || {
            let writes = pod_creations(&operator);
            expect(!writes.is_empty(), writes)
        })
        .await;
        stops_in_time("while a write hangs", &operator).await;

        let operator = Supervised::start(test, &[], |_| ()).await;
        eventually(PATIENCE, "it writes", async || {
            let writes = operator.proxy.writes();
            expect(writes.len() > 5, writes)
        })
        .await;
        stops_in_time("while it works", &operator).await;

        let operator = Supervised::start(test, &[], |_| ()).await;
        settled(test, 20).await;
        stops_in_time("at rest", &operator).await;
    });
}

async fn stops_in_time(when: &str, operator: &Supervised) {
    let start = Instant::now();
    let status = operator.stop().await;
    let took = start.elapsed();
    println!("stopped {when} after {took:.1?}");
    assert_eq!(status.code(), Some(0), "stopped {when}: {status}");
    assert!(took < STOP, "stopped {when} after {took:?}");
}

fn refuse_services(write: &Write) -> Fate {
    if write.path.contains("/services") {
        Fate::Refuse(StatusCode::FORBIDDEN)
    } else {
        Fate::Pass
    }
}

fn creates_pod(write: &Write) -> bool {
    write.method == Method::POST && write.path.ends_with("/pods")
}

fn swallow_first_pod() -> impl FnMut(&Write) -> Fate {
    let mut swallowed = false;
    move |write| {
        if !creates_pod(write) || std::mem::replace(&mut swallowed, true) {
            return Fate::Pass;
        }
        Fate::Swallow
    }
}

fn pod_creations(operator: &Supervised) -> Vec<Write> {
    let mut writes = operator.proxy.writes();
    writes.retain(creates_pod);
    writes
}

/// Waits until the operator knows that something cannot be read.
async fn is_refused(operator: &Supervised) {
    eventually(PATIENCE, "a read was refused", async || {
        let refused = operator.proxy.refused();
        expect(refused > 0, refused)
    })
    .await;
}

/// Names and UIDs of the Pods that are not leaving.
async fn pods(test: &Test) -> Vec<(String, String)> {
    let list = test
        .api::<Pod>()
        .list(&ListParams::default())
        .await
        .expect("Pods can be listed");
    list.iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
        .map(|pod| (pod.name_any(), pod.uid().unwrap_or_default()))
        .collect()
}

async fn delete_now(test: &Test, name: &str) {
    test.api::<Pod>()
        .delete(name, &DeleteParams::default().grace_period(0))
        .await
        .expect("a Pod can be deleted");
}
