//! Where nothing runs in the Pod there is nobody to wait for.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::{Value, json};

use super::way::{Way, prepare};
use super::{NEVER_STARTS, first_pod, leave_of, pod_gone_within};
use crate::harness::wait::eventually;
use crate::harness::{self, Test};
use crate::lifecycle::scenario::{PATIENCE, Scenario};

/// Long before the deadline.
const AT_ONCE: Duration = Duration::from_secs(15);

/// Why nothing runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Obstacle {
    /// The kubelet does not get as far as the container.
    NeverStarted,
    /// No node has room.
    Unschedulable,
    /// The image cannot be pulled.
    ImageMissing,
}

impl Obstacle {
    fn template(self) -> Value {
        match self {
            Self::NeverStarted | Self::ImageMissing => {
                json!({"metadata": {"annotations": {NEVER_STARTS: "true"}}})
            }
            Self::Unschedulable => json!({"spec": {"resources": {"cpu": "1000"}}}),
        }
    }

    /// Waits until the obstacle stands in the Pod's way.
    async fn appears(self, scenario: &Scenario<'_>, name: &str) -> Pod {
        let pod = eventually(PATIENCE, &format!("{name} waits"), async || {
            let pod = scenario.test.api::<Pod>().get_opt(name).await;
            let pod = pod.expect("the API answers").ok_or("not there yet")?;
            let status = pod.status.as_ref();
            let scheduled = status
                .and_then(|status| status.conditions.as_ref())
                .and_then(|conditions| conditions.iter().find(|found| found.type_ == "PodScheduled"))
                .map(|condition| condition.status == "True");
            if scheduled == Some(self != Self::Unschedulable) {
                Ok(pod)
            } else {
                Err(format!("{status:?}"))
            }
        })
        .await;
        if self == Self::ImageMissing {
            let waiting = json!({"reason": "ImagePullBackOff", "message": "Back-off pulling image"});
            let this = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}});
            let container = json!({
                "name": "tiproxy", "image": "pingcap/tiproxy:v1.3.1", "imageID": "", "ready": false,
                "restartCount": 0, "state": {"waiting": waiting},
            });
            let status = json!({"phase": "Pending", "containerStatuses": [container]});
            scenario.test.patch_status(&this, status).await;
            let group = name.trim_end_matches("-tiproxy-0");
            scenario
                .condition(group, "Stalled", "True", "ImageUnavailable")
                .await;
        }
        pod
    }
}

async fn all_go_at_once(test: &Test, obstacle: Obstacle) {
    let scenario = Scenario::start(test).await;
    prepare(&scenario, &json!({})).await;
    for way in Way::ALL {
        test.apply(&way.manifest(600, &obstacle.template())).await;
    }
    let mut uids = BTreeMap::new();
    for way in Way::ALL {
        let pod = obstacle.appears(&scenario, &first_pod(way.group())).await;
        uids.insert(way.group(), pod.uid().expect("a stored object has one"));
    }
    let began = Instant::now();
    for way in Way::ALL {
        way.go(&scenario).await;
    }
    for way in Way::ALL {
        pod_gone_within(
            &scenario,
            &first_pod(way.group()),
            &uids[way.group()],
            AT_ONCE.saturating_sub(began.elapsed()),
        )
        .await;
    }
    let entries = scenario.entries().await;
    for (group, uid) in &uids {
        let leave = leave_of(&entries, uid);
        assert_eq!(leave.began, None, "{group}: a drain of nobody: {leave:?}");
    }
    scenario.verdict().await;
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn where_nothing_runs_a_pod_goes_at_once() {
    let obstacles = [
        Obstacle::NeverStarted,
        Obstacle::Unschedulable,
        Obstacle::ImageMissing,
    ];
    harness::run_for_each(&obstacles, all_go_at_once);
}
