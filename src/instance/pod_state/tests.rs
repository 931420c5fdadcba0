//! What each Pod says of itself.

use serde_json::{Value, json};

use super::*;
use crate::instance::testing::{Scene, ago, container, now, ready_status};

fn pod(status: &Value) -> Pod {
    let mut pod = Scene::ready().pod.unwrap();
    pod.status = serde_json::from_value(status.clone()).unwrap();
    pod
}

fn waiting(reason: &str, message: &str) -> Value {
    let state = json!({"waiting": {"reason": reason, "message": message}});
    json!({"phase": "Pending", "containerStatuses": [container(&state)]})
}

#[test]
fn what_keeps_a_pod_from_becoming_ready_is_said_with_what_to_do() {
    let mut killed = waiting("CrashLoopBackOff", "back-off 5m0s");
    killed["containerStatuses"][0]["lastState"] =
        json!({"terminated": {"exitCode": 137, "reason": "OOMKilled"}});
    let unschedulable = json!({"phase": "Pending", "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes are available"},
    ]});
    let evicted = json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory."});
    for (status, reason, message) in [
        (
            waiting("ImagePullBackOff", "not found"),
            Reason::ImageUnavailable,
            "Pod web-tiproxy-0: image pingcap/tiproxy:v1.3.2 cannot be pulled: not found; correct \
             spec.template.spec.image or version, or make the image available",
        ),
        (
            waiting("CrashLoopBackOff", "back-off 5m0s"),
            Reason::CrashLooping,
            "Pod web-tiproxy-0: the container tiproxy ended 4 times; see its log with kubectl logs --previous web-tiproxy-0",
        ),
        (
            killed,
            Reason::CrashLooping,
            "Pod web-tiproxy-0: the container tiproxy ended 4 times, last with exit code 137 (OOMKilled); it ran \
             out of memory: raise memory in spec.template.spec.resources; see its log with kubectl logs --previous web-tiproxy-0",
        ),
        (
            waiting("CreateContainerConfigError", "secret \"a\" not found"),
            Reason::SecretMissing,
            "Pod web-tiproxy-0: secret \"a\" not found; create the Secret or the key",
        ),
        (
            waiting("CreateContainerConfigError", "no such user"),
            Reason::NotReady,
            "Pod web-tiproxy-0: no such user",
        ),
        (
            unschedulable,
            Reason::Unschedulable,
            "Pod web-tiproxy-0 fits no node: 0/3 nodes are available; add nodes, or ask for less in \
             spec.template.spec.resources or spec.schedulePolicies",
        ),
        (
            evicted,
            Reason::NotReady,
            "Pod web-tiproxy-0: Evicted: The node was low on memory.",
        ),
        (
            json!({"phase": "Failed"}),
            Reason::NotReady,
            "Pod web-tiproxy-0: Failed: its container ended",
        ),
    ] {
        let problem = PodState::of(&pod(&status)).problem.unwrap();
        assert_eq!(
            (problem.reason, problem.message.as_str()),
            (reason, message),
            "{status}"
        );
    }
    for reason in [
        "ErrImagePull",
        "InvalidImageName",
        "ErrImageNeverPull",
        "RegistryUnavailable",
        "ImageInspectError",
    ] {
        let problem = PodState::of(&pod(&waiting(reason, ""))).problem.unwrap();
        assert_eq!(problem.reason, Reason::ImageUnavailable, "{reason}");
    }
}

#[test]
fn a_container_that_the_overlay_adds_is_named_too() {
    let of = |list: &str, reason: &str| {
        let mut status = waiting("PodInitializing", "");
        status[list] = waiting(reason, "not found")["containerStatuses"].clone();
        status[list][0]["name"] = json!("helper");
        status[list][0]["image"] = json!("helper:1");
        PodState::of(&pod(&status)).problem.unwrap()
    };
    for list in ["initContainerStatuses", "containerStatuses"] {
        let problem = of(list, "CrashLoopBackOff");
        assert_eq!(
            (problem.reason, problem.message.as_str()),
            (
                Reason::CrashLooping,
                "Pod web-tiproxy-0: the container helper ended 4 times; see its log with kubectl logs --previous \
                 web-tiproxy-0 --container helper"
            )
        );
        let problem = of(list, "ErrImagePull");
        assert_eq!(
            (problem.reason, problem.message.as_str()),
            (
                Reason::ImageUnavailable,
                "Pod web-tiproxy-0: image helper:1 cannot be pulled: not found; correct it in \
                 spec.template.spec.overlay.pod, or make the image available"
            )
        );
    }
}

#[test]
fn what_only_takes_time_is_no_problem() {
    for status in [
        json!(null),
        json!({"phase": "Pending"}),
        waiting("ContainerCreating", ""),
        waiting("PodInitializing", ""),
        json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}),
        ready_status(1),
    ] {
        assert_eq!(PodState::of(&pod(&status)).problem, None, "{status}");
    }
}

#[test]
fn a_pod_is_ready_while_it_says_so_and_stays() {
    let ready = pod(&ready_status(30));
    let state = PodState::of(&ready);
    assert!(state.is_ready() && state.running && !state.ended && !state.terminating);
    assert_eq!(state.ready_since, Some(ago(30).parse().unwrap()));

    let mut ending = ready.clone();
    ending.metadata.deletion_timestamp = ready.status.as_ref().unwrap().start_time.clone();
    assert!(!PodState::of(&ending).is_ready() && PodState::of(&ending).terminating);

    for phase in ["Failed", "Succeeded"] {
        let mut ended = ready.clone();
        ended.status.as_mut().unwrap().phase = Some(phase.to_owned());
        let state = PodState::of(&ended);
        assert!(state.ended && !state.is_ready() && !state.running, "{phase}");
    }
    for status in [
        json!({"phase": "Running"}),
        json!({"phase": "Running", "conditions": [{"type": "Ready", "status": "False"}]}),
        json!({"phase": "Running", "conditions": [{"type": "ContainersReady", "status": "True"}]}),
    ] {
        assert!(!PodState::of(&pod(&status)).is_ready(), "{status}");
    }
}

#[test]
fn a_pod_ended_when_its_container_did() {
    let finished = |seconds| json!({"terminated": {"exitCode": 0, "finishedAt": ago(seconds)}});
    for (status, seconds) in [
        (
            json!({"phase": "Succeeded", "startTime": ago(90), "containerStatuses": [container(&finished(20))]}),
            20,
        ),
        // Evicted before anything ran.
        (json!({"phase": "Failed", "startTime": ago(40)}), 40),
        (json!({"phase": "Failed", "startTime": ago(-40)}), 0),
    ] {
        let state = PodState::of(&pod(&status));
        assert_eq!(state.ended_for(now()), Duration::from_secs(seconds), "{status}");
    }
}
