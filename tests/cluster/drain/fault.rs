//! Whatever is wrong with TiProxy's API: a Pod goes at its deadline, neither later nor without its time.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt;
use serde_json::{Value, json};
use tiproxy_operator::api::name::ANNOTATION_DRAIN_SECONDS;

use super::way::{Way, prepare};
use super::{CUT, LATE, first_pod, leave_of, pod_gone};
use crate::harness::responder::{Mark, Responder, Says};
use crate::harness::tls::{acceptor, demanding_acceptor};
use crate::harness::{self, Test};
use crate::lifecycle::scenario::Scenario;

/// The time that clients are given here.
const TIMEOUT: u32 = 4;
/// How many clients are connected all the time.
const CLIENTS: u32 = 5;

/// What is wrong with an API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Dead,
    Hanging,
    /// It cannot be marked unhealthy.
    Unmarkable(Mark),
    Failing,
    PlainText,
    DemandsCertificate,
    /// None, in a group with an annotation of TiDB Operator that is no number.
    Annotation,
}

const FAULTS: [Fault; 8] = [
    Fault::Dead,
    Fault::Hanging,
    Fault::Unmarkable(Mark::Unknown),
    Fault::Unmarkable(Mark::Forbidden),
    Fault::Failing,
    Fault::PlainText,
    Fault::DemandsCertificate,
    Fault::Annotation,
];

impl Fault {
    /// Whether the operator learns how many clients there are.
    fn is_readable(self) -> bool {
        matches!(self, Self::Unmarkable(_) | Self::Annotation)
    }

    fn speaks_tls(self) -> bool {
        matches!(self, Self::PlainText | Self::DemandsCertificate)
    }

    fn template(self) -> Value {
        match self {
            Self::Annotation => json!({"metadata": {"annotations": {ANNOTATION_DRAIN_SECONDS: "a while"}}}),
            _ if self.speaks_tls() => json!({"spec": {"security": {"tls": {"cluster": {}}}}}),
            Self::Dead
            | Self::Hanging
            | Self::Unmarkable(_)
            | Self::Failing
            | Self::PlainText
            | Self::DemandsCertificate => json!({}),
        }
    }

    async fn respond(self, test: &Test, pod: &Pod) -> Option<Responder> {
        let says = Says::connected(CLIENTS, CLIENTS);
        let says = match self {
            Self::Dead => return None,
            Self::Hanging => Says { hangs: true, ..says },
            Self::Failing => Says {
                always: Some(500),
                ..says
            },
            Self::Unmarkable(mark) => Says { mark, ..says },
            Self::PlainText | Self::DemandsCertificate | Self::Annotation => says,
        };
        let tls = (self == Self::DemandsCertificate).then(demanding_acceptor);
        Some(Responder::of_pod(test, pod, says, tls).await)
    }
}

/// A Pod leaves in each way while its API has the fault.
async fn all_go_at_the_deadline(test: &Test, fault: Fault) {
    let scenario = Scenario::start(test).await;
    prepare(&scenario, &json!({"tlsCluster": {"enabled": fault.speaks_tls()}})).await;
    for way in Way::ALL {
        test.apply(&way.manifest(TIMEOUT, &fault.template())).await;
    }
    let (mut uids, mut responders) = (BTreeMap::new(), Vec::new());
    for way in Way::ALL {
        scenario.ready(way.group()).await;
        let pod: Pod = scenario.get(&first_pod(way.group())).await;
        responders.push(fault.respond(test, &pod).await);
        uids.insert(way.group(), pod.uid().expect("a stored object has one"));
    }
    for way in Way::ALL {
        way.go(&scenario).await;
    }
    for way in Way::ALL {
        pod_gone(&scenario, &first_pod(way.group()), &uids[way.group()]).await;
    }
    drop(responders);
    let entries = scenario.entries().await;
    for way in Way::ALL {
        let leave = leave_of(&entries, &uids[way.group()]);
        let took = leave
            .deleted
            .zip(leave.began)
            .map(|(deleted, began)| deleted - began);
        let planned = i64::from(TIMEOUT);
        assert!(
            took.is_some_and(|took| (planned..=planned + LATE).contains(&took)),
            "{way:?}: {leave:?}"
        );
    }
    let cut = scenario.metric(CUT).await;
    if fault.is_readable() {
        assert!((cut - f64::from(CLIENTS) * 6.0).abs() < 0.1, "{cut}");
    } else {
        assert!(cut.abs() < 0.1, "{cut}");
    }
    for way in Way::ALL {
        way.arrive(&scenario).await;
    }
    scenario.calm().await;
    scenario.finish().await;
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn whatever_is_wrong_with_the_api_a_pod_goes_at_its_deadline() {
    harness::run_for_each(&FAULTS, all_go_at_the_deadline);
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_certificate_for_another_name_is_no_fault() {
    harness::run(async |test| {
        let scenario = Scenario::start(test).await;
        let way = Way::ScaleIn;
        let template = json!({"spec": {"security": {"tls": {"cluster": {}}}}});
        test.apply(&way.manifest(60, &template)).await;
        scenario.ready(way.group()).await;
        let pod: Pod = scenario.get(&first_pod(way.group())).await;
        // Nobody is connected, which is read although the certificate names somebody else.
        let says = Says::connected(0, 7);
        let _responder = Responder::of_pod(test, &pod, says, Some(acceptor())).await;
        way.go(&scenario).await;
        way.arrive(&scenario).await;
        let leave = leave_of(&scenario.entries().await, &pod.uid().unwrap());
        let took = leave.deleted.unwrap() - leave.began.unwrap();
        assert!(took < 30, "{leave:?}");
        scenario.finish().await;
    });
}
