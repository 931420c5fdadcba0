use serde_json::{Value, json};

use super::*;
use crate::group::testing::{group, instance, object};

fn claim(name: &str, changes: &Value) -> Arc<PersistentVolumeClaim> {
    let (volume, ordinal) = name.split_once('-').unwrap();
    let mut claim = json!({"metadata": {"name": format!("{volume}-web-tiproxy-{ordinal}"), "labels": {
        "pingcap.com/managed-by": "tiproxy-operator", "pingcap.com/group": "web",
        "pingcap.com/instance": format!("web-{ordinal}"), "pingcap.com/volume-name": volume,
    }}});
    crate::instance::testing::lay_over(&mut claim, changes);
    Arc::new(serde_json::from_value(claim).unwrap())
}

fn seen(claims: &[Arc<PersistentVolumeClaim>]) -> LeftBehind {
    let volume =
        |name: &str| json!({"name": name, "storage": "1Gi", "mounts": [{"mountPath": format!("/{name}")}]});
    let spec = json!({"template": {"spec": {"volumes": [volume("data"), volume("log")]}}});
    let instances = [instance(&group(&spec), 0, &json!({}))];
    let forward = left_behind(&object(&spec), &instances, claims);
    let mut claims = claims.to_vec();
    claims.reverse();
    assert_eq!(
        left_behind(&object(&spec), &instances, &claims),
        forward,
        "any order"
    );
    forward
}

#[test]
fn claims_that_are_kept_wait_for_their_ordinal_and_those_that_go_reserve_it() {
    let owned = json!({"metadata": {"ownerReferences": [
        {"apiVersion": "v1", "kind": "TiProxy", "name": "web-2", "uid": "gone", "controller": true}]}});
    let going = json!({"metadata": {"deletionTimestamp": "2026-11-23T10:00:00Z"}});
    let zone = json!({"metadata": {"annotations": {"core.pingcap.com/topology": "{\"zone\":\"a\"}"}}});
    let left = seen(&[
        claim("data-0", &json!({})),
        claim("data-1", &zone),
        claim("log-1", &zone),
        claim("old-1", &json!({})),
        claim("data-2", &owned),
        claim("data-3", &going),
        claim("data-4", &json!({})),
        claim("old-5", &json!({})),
        claim(
            "data-6",
            &json!({"metadata": {"labels": {"pingcap.com/group": "other"}}}),
        ),
        claim(
            "data-7",
            &json!({"metadata": {"labels": {"pingcap.com/instance": "else"}}}),
        ),
    ]);
    assert_eq!(left.going, BTreeSet::from([2, 3]));
    let kept: Vec<(u32, Vec<&str>, Option<&str>)> = left
        .kept
        .iter()
        .map(|(ordinal, kept)| {
            let zone = kept.topology.as_ref().map(|topology| topology["zone"].as_str());
            (*ordinal, kept.claims.iter().map(String::as_str).collect(), zone)
        })
        .collect();
    assert_eq!(
        kept,
        [
            (1, vec!["data-web-tiproxy-1", "log-web-tiproxy-1"], Some("a")),
            (4, vec!["data-web-tiproxy-4"], None),
        ]
    );
}
