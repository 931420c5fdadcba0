//! A TiProxy that leaves is marked unhealthy where it can be, for load balancers that look; one that stays is not.

use serde_json::json;

use super::{begin, first_pod, group, leaves, serve_again};
use crate::harness;
use crate::harness::responder::{Mark, Responder, Says};
use crate::harness::wait::eventually;
use crate::lifecycle::scenario::{GROUP, PATIENCE, Scenario};

async fn is_marked(responder: &Responder, wanted: bool) {
    eventually(PATIENCE, &format!("it is marked: {wanted}"), async || {
        let marked = responder.marked();
        if marked.is_some() == wanted {
            Ok(())
        } else {
            Err(format!("{marked:?}, told {:?}", responder.told()))
        }
    })
    .await;
}

fn connected() -> Says {
    Says {
        mark: Mark::Kept,
        ..Says::connected(5, 5)
    }
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn who_leaves_is_marked_and_who_comes_back_is_not() {
    harness::run(async |test| {
        let scenario = Scenario::start_with(test, &["--proxy-poll-interval", "1"]).await;
        let (pods, responders) = begin(&scenario, &group(GROUP, 2, 600, json!({})), &connected()).await;
        let (stays, leaver) = (&responders["web-tiproxy-0"], &responders["web-tiproxy-1"]);
        scenario.change(GROUP, json!({"replicas": 1})).await;
        is_marked(leaver, true).await;
        let (method, body) = leaver.told().last().cloned().expect("it was told");
        assert_eq!((method.as_str(), &body["healthy"]), ("PUT", &json!(false)));
        assert!(
            body["reason"].as_str().is_some_and(|reason| !reason.is_empty()),
            "{body}"
        );
        // Its container starts anew, and has forgotten it.
        leaver.forget();
        is_marked(leaver, true).await;

        scenario.change(GROUP, json!({"replicas": 2})).await;
        serve_again(&scenario, &pods).await;
        is_marked(leaver, false).await;
        // Who never left was never told anything.
        assert_eq!(stays.told(), []);
        scenario.ready(GROUP).await;
        scenario.verdict().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn an_operator_that_has_forgotten_takes_its_mark_back_and_leaves_others_alone() {
    harness::run(async |test| {
        let scenario = Scenario::start_with(test, &["--proxy-poll-interval", "1"]).await;
        let (pods, responders) = begin(&scenario, &group(GROUP, 2, 600, json!({})), &connected()).await;
        // A user keeps clients from the one that stays.
        responders["web-tiproxy-0"].mark("under repair");
        let leaver = &responders["web-tiproxy-1"];
        scenario.change(GROUP, json!({"replicas": 1})).await;
        leaves(&scenario, "web-tiproxy-1").await;
        is_marked(leaver, true).await;
        scenario.restart_operator(true).await;
        scenario.change(GROUP, json!({"replicas": 2})).await;
        serve_again(&scenario, &pods).await;
        is_marked(leaver, false).await;
        let by_user = responders["web-tiproxy-0"].marked();
        assert_eq!(by_user, Some(json!("under repair")));
        assert_eq!(responders["web-tiproxy-0"].told(), []);
        assert_eq!(scenario.pod_uids(GROUP).await, pods);
        assert!(pods.contains_key(&first_pod(GROUP)));
        scenario.verdict().await;
    });
}
