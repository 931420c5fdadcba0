//! How often the API server is asked whether it would take a Pod.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::behaviour::fixture::{PATIENCE, edit, group, is_ready, is_soon_true};
use crate::harness;
use crate::harness::audit::{Audit, count};
use crate::harness::wait::eventually;

/// Without a request for so long, what was going on has ended.
const SILENCE: Duration = Duration::from_secs(5);

async fn silence(audit: &Audit) {
    let mut last = (0, Instant::now());
    eventually(PATIENCE, "the operator is silent", async || {
        let now = audit.requests().len();
        if now != last.0 {
            last = (now, Instant::now());
        }
        if last.1.elapsed() >= SILENCE {
            Ok(())
        } else {
            Err(format!("{:?}", count(&audit.requests())))
        }
    })
    .await;
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn it_is_asked_once_for_each_pod_and_never_at_rest() {
    harness::run(async |test| {
        let mut operator = test.start_operator().await;
        let mut audit = test.audit();
        let created = |audit: &Audit| count(&audit.requests()).get("create pods 201").copied();
        let overlay =
            |overlay: serde_json::Value| json!({"spec": {"template": {"spec": {"overlay": overlay}}}});
        let mut web = group("web", 2);
        web["spec"]["template"]["spec"]["overlay"] = json!({"pod": {"spec": {"priority": 0}}});
        test.apply(&web).await;
        is_ready(test, &web).await;
        silence(&audit).await;
        assert_eq!(
            created(&audit),
            Some(3),
            "two Pods and one question: {:?}",
            count(&audit.requests())
        );

        audit.restart();
        edit(test, &web, json!({"spec": {"replicas": 3}})).await;
        is_ready(test, &web).await;
        silence(&audit).await;
        assert_eq!(
            created(&audit),
            Some(1),
            "one Pod: {:?}",
            count(&audit.requests())
        );

        audit.restart();
        operator.stop().await;
        let mut operator = test.start_operator().await;
        silence(&audit).await;
        assert_eq!(audit.writes(), [], "at a restart");

        // A refusal is remembered too, and asked for once more after a restart.
        audit.restart();
        edit(test, &web, overlay(json!({"pod": {"spec": {"colour": "red"}}}))).await;
        is_soon_true(test, &web, "Stalled", "InvalidSpec").await;
        silence(&audit).await;
        let asked = |audit: &Audit| {
            let writes = audit.writes();
            let asked = writes
                .iter()
                .filter(|request| request.verb == "create" && request.code == 400);
            (asked.count(), writes.len())
        };
        let (asked_once, writes) = asked(&audit);
        assert_eq!(asked_once, 1, "{:?}", count(&audit.requests()));
        assert_eq!(
            writes,
            2,
            "the question and the status: {:?}",
            count(&audit.requests())
        );

        audit.restart();
        operator.stop().await;
        let _operator = test.start_operator().await;
        silence(&audit).await;
        assert_eq!(asked(&audit), (1, 1), "{:?}", count(&audit.requests()));
    });
}
