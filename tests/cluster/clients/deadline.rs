//! Somebody who never leaves.

use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::ResourceExt;
use kube::api::ListParams;
use serde_json::json;
use tiproxy_operator::api::name;
use tiproxy_standin::testing::mysql::Client;

use super::load::Load;
use super::program::versions;
use super::view::View;
use super::{group, run};
use crate::harness::Test;
use crate::harness::group::{NAME, PATIENCE, edit, settled};
use crate::harness::operator::Operator;
use crate::harness::wait::{eventually, expect};
use tiproxy_standin::testing::random::Random;

const DRAIN_SECONDS: u32 = 12;
/// What the deadline may be late by: the operator's delete, the hook, and the end of the process.
const LATENESS: Duration = Duration::from_secs(8);
const CUT: &str = "tiproxy_operator_drain_cut_connections_total";

/// The sum of a metric's series; None before there is one.
fn total(operator: &Operator, metric: &str) -> Option<f64> {
    let (_, text) = operator.get("/metrics")?;
    let values = text
        .lines()
        .filter(|line| line.starts_with(metric))
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    values.reduce(|sum, value| sum + value)
}

/// When the Pod that leaves began to.
async fn begin(test: &Test) -> Timestamp {
    eventually(PATIENCE, "a Pod leaves", async || {
        let pods = test
            .api::<Pod>()
            .list(&ListParams::default())
            .await
            .expect("Pods");
        let begin = pods
            .iter()
            .find_map(|pod| pod.annotations().get(name::ANNOTATION_DRAIN_BEGIN)?.parse().ok());
        begin.ok_or_else(|| format!("{} Pods", pods.items.len()))
    })
    .await
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_connection_that_never_ends_is_cut_at_the_deadline_and_counted() {
    run(async |test, _, operator| {
        test.apply(&group(test, 1, DRAIN_SECONDS)).await;
        settled(test, 1).await;
        let view = View::of(test, &name::client_service(NAME));
        let address = eventually(PATIENCE, "somebody serves", async || {
            view.pick(&mut Random::default()).ok_or_else(String::new)
        })
        .await;
        let mut client = Client::login_at(address, None).await.expect("it is let in");
        let load = Load::start(&view, 20, &(1000..3000));
        tokio::time::sleep(Duration::from_secs(3)).await;

        edit(test, json!({"template": {"spec": {"version": versions()[1]}}})).await;
        let begin = begin(test).await;
        let ends = Instant::now() + PATIENCE;
        while client.query("SELECT 1").await.is_ok() && !client.is_closed(Duration::from_millis(100)).await {
            assert!(Instant::now() < ends, "the connection is never cut");
        }
        let lasted = Timestamp::now().duration_since(begin).unsigned_abs();
        let deadline = Duration::from_secs(DRAIN_SECONDS.into());
        println!("cut {lasted:?} after the drain had begun");
        // The begin has no fractions of a second.
        assert!(
            lasted + Duration::from_secs(1) >= deadline && lasted <= deadline + LATENESS,
            "{lasted:?}"
        );
        settled(test, 1).await;
        let counts = load.take();
        load.stop().await;
        println!("the others: {counts:?}");
        assert_eq!(
            (counts.failed, counts.broken, counts.cut),
            (0, 0, 0),
            "{counts:?}"
        );
        eventually(PATIENCE, "it is counted", async || {
            let cut = total(operator, CUT);
            expect(cut == Some(1.0), cut)
        })
        .await;
    });
}
