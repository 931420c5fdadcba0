//! The time that the clients of a Pod are given to leave, as it stands on the Pod. Pure.

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use serde_json::{Map, Value, json};

use super::observe::Observed;
use crate::api::name;
use crate::runtime::time::whole_seconds;

/// Clocks do not differ by more than this, so a begin further ahead is a mistake.
const MOST_AHEAD: SignedDuration = SignedDuration::from_mins(1);

/// Whether a Pod carries a time since when it leaves, a readable one or not.
#[must_use]
pub fn is_marked(pod: &Pod) -> bool {
    pod.annotations().contains_key(name::ANNOTATION_DRAIN_BEGIN)
}

/// Since when a Pod leaves, if it says so in a way that can be believed.
#[must_use]
pub fn begin(pod: &Pod, now: Timestamp) -> Option<Timestamp> {
    let text = pod.annotations().get(name::ANNOTATION_DRAIN_BEGIN)?;
    let begin: Timestamp = text.parse().ok()?;
    (begin.duration_since(now) <= MOST_AHEAD).then_some(begin)
}

/// Whether a Pod takes new clients, as far as its labels say.
#[must_use]
pub fn is_serving(pod: &Pod) -> bool {
    pod.labels().contains_key(name::LABEL_SERVING)
}

/// The patch of a Pod's metadata by which its leave begins.
#[must_use]
pub fn begun(now: Timestamp) -> Map<String, Value> {
    let begin = whole_seconds(now).to_string();
    let mut patch = out_of_service();
    patch.insert(
        "annotations".to_owned(),
        json!({name::ANNOTATION_DRAIN_BEGIN: begin}),
    );
    patch
}

/// The patch of a Pod's metadata that takes it out of the Services.
#[must_use]
pub fn out_of_service() -> Map<String, Value> {
    Map::from_iter([("labels".to_owned(), json!({name::LABEL_SERVING: null}))])
}

/// Adds to a patch of a Pod's metadata what brings the Pod back into service.
pub fn revive(patch: &mut Map<String, Value>) {
    for (field, key, value) in [
        ("labels", name::LABEL_SERVING, json!("true")),
        ("annotations", name::ANNOTATION_DRAIN_BEGIN, Value::Null),
    ] {
        let values = patch.entry(field).or_insert_with(|| json!({}));
        if let Some(values) = values.as_object_mut() {
            values.insert(key.to_owned(), value);
        }
    }
}

/// What a patch of a Pod's metadata does to its leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    /// It begins.
    Began(Timestamp),
    /// It is called off.
    Revived,
}

/// What a patch of a Pod's metadata does to its leave, if anything.
#[must_use]
pub fn turn(patch: &Map<String, Value>) -> Option<Turn> {
    let begin = patch.get("annotations")?.get(name::ANNOTATION_DRAIN_BEGIN)?;
    if begin.is_null() {
        return Some(Turn::Revived);
    }
    Some(Turn::Began(begin.as_str()?.parse().ok()?))
}

/// How many clients are connected to a Pod, as it is told: as long as nobody has been asked, as many as there were.
#[must_use]
pub fn connections(observed: &Observed, pod: &Pod) -> Option<i64> {
    let proxy = observed.proxy_of(pod);
    let is_named = observed.pod.ours().is_some_and(|named| named.uid() == pod.uid());
    match &proxy.observation {
        None if is_named => observed.object.status.as_ref()?.connections,
        None => None,
        Some(_) => proxy
            .connections
            .and_then(|connections| i64::try_from(connections).ok()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instance::testing::{ago, now};

    fn marked(begin: &str) -> Pod {
        let mut pod = Pod::default();
        pod.annotations_mut()
            .insert(name::ANNOTATION_DRAIN_BEGIN.to_owned(), begin.to_owned());
        pod
    }

    #[test]
    fn a_begin_is_believed_when_it_can_be_read_and_is_not_ahead() {
        for (text, expected) in [
            (ago(30), Some(30)),
            (ago(0), Some(0)),
            (ago(-60), Some(-60)),
            (ago(-61), None),
            (String::new(), None),
            ("yesterday".to_owned(), None),
            ("1700000000".to_owned(), None),
            // As another operator, or a person, writes it.
            ("2026-11-23T10:59:00+01:00".to_owned(), Some(60)),
            ("2026-11-23T09:59:59.5Z".to_owned(), Some(0)),
        ] {
            let pod = marked(&text);
            let found = begin(&pod, now()).map(|begin| now().duration_since(begin).as_secs());
            assert_eq!(found, expected, "{text}");
            assert!(is_marked(&pod), "{text}");
        }
        assert!(!is_marked(&Pod::default()));
    }

    #[test]
    fn a_patch_tells_what_it_does() {
        assert_eq!(turn(&begun(now())), Some(Turn::Began(now())));
        assert_eq!(turn(&out_of_service()), None);
        let mut patch = Map::from_iter([("labels".to_owned(), json!({"a": "b"}))]);
        revive(&mut patch);
        assert_eq!(turn(&patch), Some(Turn::Revived));
        assert_eq!(
            Value::Object(patch),
            json!({"labels": {"a": "b", name::LABEL_SERVING: "true"},
                "annotations": {name::ANNOTATION_DRAIN_BEGIN: null}})
        );
    }
}
