//! When clients have left: nobody connected, and nobody new, for as long as the group says; and what is told meanwhile.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Event, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::ListParams;
use serde_json::{Value, json};
use tiproxy_operator::api::{TiProxy, TiProxyGroup};

use super::{
    CUT, LATE, NEVER_ENDS, annotate, condition, first_pod, group, leave_of, leaves, pod_gone, respond,
};
use crate::harness;
use crate::harness::responder::Says;
use crate::harness::wait::{eventually, expect};
use crate::lifecycle::scenario::{PATIENCE, Scenario};

/// What `kubectl get tpg` shows in a column.
async fn column(scenario: &Scenario<'_>, group: &str, title: &str) -> String {
    let table = scenario.test.kubectl.succeed(&["get", "tpg", group]).await;
    let mut lines = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>());
    let (titles, values) = (lines.next().expect("titles"), lines.next().expect("a line"));
    let place = titles.iter().position(|found| *found == title);
    values[place.unwrap_or_else(|| panic!("no {title} in {table}"))].to_owned()
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_pod_goes_when_nobody_is_connected_and_nobody_comes() {
    const QUIET: i64 = 4;
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        let mut quiet = group("quiet", 1, 120, json!({}));
        quiet["spec"]["template"]["spec"]["drain"]["quietSeconds"] = json!(QUIET);
        test.apply(&quiet).await;
        scenario.ready("quiet").await;
        let uid = scenario.pod_uids("quiet").await[&first_pod("quiet")].clone();
        let responders = respond(&scenario, "quiet", &Says::connected(5, 9)).await;
        let responder = &responders[&first_pod("quiet")];
        scenario.change("quiet", json!({"replicas": 0})).await;

        // Five are connected: all that there is to know is told.
        leaves(&scenario, &first_pod("quiet")).await;
        let drain = eventually(PATIENCE, "the clients are counted", async || {
            let instance: TiProxy = scenario.get("quiet-0").await;
            let drain = instance
                .status
                .and_then(|status| status.drain)
                .unwrap_or_default();
            expect(drain.remaining_connections == Some(5), drain)
        })
        .await;
        let (begin, deadline) = (drain.begin_time.unwrap().0, drain.deadline.unwrap().0);
        assert_eq!(deadline.duration_since(begin).as_secs(), 120);
        let message = condition(&scenario, "quiet-0", "Drained", "False", "Draining").await;
        assert!(
            message.contains('5') && message.contains(&deadline.to_string()),
            "{message}"
        );
        condition(&scenario, "quiet-0", "Ready", "False", "Leaving").await;
        // Who leaves because it is not wanted does not make the group any less ready.
        let status = eventually(PATIENCE, "the group counts it", async || {
            let group: TiProxyGroup = scenario.get("quiet").await;
            let status = group.status.unwrap_or_default();
            expect(status.draining_replicas == Some(1), status)
        })
        .await;
        assert_eq!(status.replicas, Some(0));
        assert_eq!(column(&scenario, "quiet", "DRAINING").await, "1");
        scenario.condition("quiet", "Ready", "True", "ScaledToZero").await;

        // They leave one by one, and one more comes while the last is about to go.
        for (now, ever) in [(3, 9), (1, 10), (0, 11)] {
            responder.say(Says::connected(now, ever));
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        responder.say(Says::connected(0, 12));
        let last = Timestamp::now().as_second();
        pod_gone(&scenario, &first_pod("quiet"), &uid).await;
        let leave = leave_of(&scenario.entries().await, &uid);
        let waited = leave.deleted.unwrap() - last;
        assert!(
            (QUIET - 1..=QUIET + LATE).contains(&waited),
            "{waited}, {leave:?}"
        );
        assert!(scenario.metric(CUT).await.abs() < 0.1);
        scenario.ready("quiet").await;
        assert_eq!(column(&scenario, "quiet", "DRAINING").await, "0");
        scenario.finish().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn who_keeps_coming_keeps_a_pod_until_its_deadline() {
    const TIMEOUT: u32 = 8;
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        test.apply(&group("busy", 1, TIMEOUT, json!({}))).await;
        scenario.ready("busy").await;
        let uid = scenario.pod_uids("busy").await[&first_pod("busy")].clone();
        let responders = respond(&scenario, "busy", &Says::connected(0, 1)).await;
        let responder = &responders[&first_pod("busy")];
        scenario.change("busy", json!({"replicas": 0})).await;
        // Whoever looks finds nobody connected, each time, and yet clients come and go.
        let come_and_go = async {
            for ever in 2.. {
                responder.say(Says::connected(0, ever));
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        let pod = first_pod("busy");
        tokio::select! {
            () = pod_gone(&scenario, &pod, &uid) => {}
            () = come_and_go => {}
        }
        let leave = leave_of(&scenario.entries().await, &uid);
        let took = leave.deleted.unwrap() - leave.began.unwrap();
        let planned = i64::from(TIMEOUT);
        assert!((planned..=planned + LATE).contains(&took), "{leave:?}");
        assert!(scenario.metric(CUT).await.abs() < 0.1, "nobody was cut");
        scenario.ready("busy").await;
        scenario.finish().await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn who_is_there_at_the_deadline_is_counted_and_told() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        test.apply(&group("cut", 1, 3, json!({}))).await;
        scenario.ready("cut").await;
        let uid = scenario.pod_uids("cut").await[&first_pod("cut")].clone();
        let _responders = respond(&scenario, "cut", &Says::connected(3, 9)).await;
        // The Pod stays for a look at what is said of it.
        annotate(&scenario, &first_pod("cut"), NEVER_ENDS, json!("true")).await;
        scenario.change("cut", json!({"replicas": 0})).await;
        let message = condition(&scenario, "cut-0", "Drained", "True", "DrainComplete").await;
        assert!(message.contains("3 clients"), "{message}");
        eventually(PATIENCE, "the Pod is being deleted", async || {
            let pod: Pod = scenario.get(&first_pod("cut")).await;
            expect(pod.metadata.deletion_timestamp.is_some(), pod.metadata)
        })
        .await;
        assert!((scenario.metric(CUT).await - 3.0).abs() < 0.1);
        let told = eventually(PATIENCE, "an Event tells of it", async || {
            let events = test.api::<Event>().list(&ListParams::default()).await;
            let mut events = events.expect("Events can be read").items;
            events.retain(|event| event.reason.as_deref() == Some("ClientsCut"));
            let found = events.into_iter().next();
            found.ok_or("not yet".to_owned())
        })
        .await;
        assert_eq!(told.type_.as_deref(), Some("Warning"));
        let note = told.message.unwrap_or_default();
        assert!(note.contains('3') && note.contains("timeoutSeconds"), "{note}");
        annotate(&scenario, &first_pod("cut"), NEVER_ENDS, Value::Null).await;
        pod_gone(&scenario, &first_pod("cut"), &uid).await;
        scenario.ready("cut").await;
        scenario.finish().await;
    });
}
