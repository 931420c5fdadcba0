use serde_json::{Value, json};

use super::*;

fn claim(status: &Value) -> ClaimState {
    ClaimState::of(
        &serde_json::from_value(json!({
            "metadata": {"name": "data-web-tiproxy-0", "creationTimestamp": "2026-11-23T10:00:00Z"},
            "spec": {"resources": {"requests": {"storage": "2Gi"}}, "storageClassName": "fast"},
            "status": status,
        }))
        .unwrap(),
    )
}

#[test]
fn the_phase_tells_whether_there_is_a_volume() {
    for (status, binding) in [
        (json!({}), Binding::Pending),
        (json!({"phase": "Pending"}), Binding::Pending),
        (json!({"phase": "Bound"}), Binding::Bound),
        (json!({"phase": "Lost"}), Binding::Lost),
    ] {
        assert_eq!(claim(&status).binding, binding, "{status}");
    }
}

#[test]
fn a_claim_grows_until_its_capacity_is_what_was_asked_for() {
    for (capacity, growing) in [
        (json!(null), false),
        (json!({"storage": "1Gi"}), true),
        (json!({"storage": "2048Mi"}), false),
        (json!({"storage": "3Gi"}), false),
    ] {
        let status = json!({"phase": "Bound", "capacity": capacity});
        assert_eq!(claim(&status).is_growing(), growing, "{status}");
    }
}

#[test]
fn what_has_failed_is_told_in_the_words_of_whoever_tried() {
    let condition = |kind: &str, status: &str, message: &str| json!({"conditions": [{"type": kind, "status": status, "message": message}]});
    for (status, failure) in [
        (json!({}), None),
        (condition("Resizing", "True", "soon"), None),
        (condition("ControllerResizeError", "False", "it was"), None),
        (
            condition("ControllerResizeError", "True", "no space"),
            Some("no space"),
        ),
        (condition("NodeResizeError", "True", ""), Some("NodeResizeError")),
        (
            json!({"allocatedResourceStatuses": {"storage": "ControllerResizeInProgress"}}),
            None,
        ),
        (
            json!({"allocatedResourceStatuses": {"storage": "NodeResizeInfeasible"}}),
            Some("NodeResizeInfeasible"),
        ),
        (json!({"modifyVolumeStatus": {"status": "InProgress"}}), None),
        (
            json!({"modifyVolumeStatus": {"status": "Infeasible", "targetVolumeAttributesClassName": "gold"}}),
            Some("its driver cannot change it to VolumeAttributesClass gold"),
        ),
    ] {
        assert_eq!(claim(&status).failure.as_deref(), failure, "{status}");
    }
}

#[test]
fn a_claim_is_as_old_as_its_creation_says() {
    let age = |now: &str| claim(&json!({})).age(now.parse().unwrap()).as_secs();
    assert_eq!(age("2026-11-23T10:01:00Z"), 60);
    assert_eq!(age("2026-11-23T09:00:00Z"), 0);
}
