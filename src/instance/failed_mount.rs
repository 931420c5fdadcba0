//! What the kubelet says of volumes that it cannot mount into a Pod, as Events.
//!
//! The operator has no right to Secrets; that one is missing shows nowhere else, since a Pod that waits for its volumes
//! says only `ContainerCreating`.

use std::borrow::Cow;

use k8s_openapi::api::core::v1::Event;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, OwnerReference, Time};
use k8s_openapi::jiff::Timestamp;
use kube::core::{NamespaceResourceScope, ObjectMeta};
use kube::{Resource, ResourceExt};
use serde::Deserialize;

/// Which Events are watched. All four are selectable fields of Events, so that the API server sends no others.
pub const FIELD_SELECTOR: &str = "involvedObject.kind=Pod,reason=FailedMount,type=Warning";
/// The most Events that are kept; more than that are a flood, of which the first are enough.
pub const MOST: usize = 10_000;
/// The most bytes of a message that are kept.
const MOST_MESSAGE: usize = 600;

/// An Event about a volume that cannot be mounted; of the whole Event only what is needed.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FailedMount {
    metadata: ObjectMeta,
    involved_object: Involved,
    message: String,
    last_timestamp: Option<Time>,
    event_time: Option<MicroTime>,
    series: Option<Series>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Involved {
    name: String,
    uid: String,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Series {
    last_observed_time: Option<MicroTime>,
}

impl FailedMount {
    /// The name of the Pod.
    #[must_use]
    pub fn pod(&self) -> &str {
        &self.involved_object.name
    }

    /// The UID of the Pod.
    #[must_use]
    pub fn pod_uid(&self) -> &str {
        &self.involved_object.uid
    }

    /// When it was seen last.
    #[must_use]
    pub fn seen(&self) -> Option<Timestamp> {
        let series = self.series.as_ref();
        let observed = series.and_then(|series| series.last_observed_time.as_ref());
        [
            observed.map(|time| time.0),
            self.last_timestamp.as_ref().map(|time| time.0),
            self.event_time.as_ref().map(|time| time.0),
        ]
        .into_iter()
        .flatten()
        .max()
        .or_else(|| self.creation_timestamp().map(|time| time.0))
    }

    /// What the kubelet says.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Whether it may be about a Pod of ours; labels of the Pod are not known here.
    #[must_use]
    pub fn may_be_ours(&self) -> bool {
        self.pod().contains("-tiproxy-")
    }

    /// Cuts off what is not needed, and lets the Pod stand as the owner, by whose UID a cache finds it.
    pub fn prune(&mut self) {
        let end = self.message.floor_char_boundary(MOST_MESSAGE);
        self.message.truncate(end);
        self.message.shrink_to_fit();
        self.metadata.labels = None;
        self.metadata.annotations = None;
        self.metadata.owner_references = Some(vec![OwnerReference {
            uid: self.involved_object.uid.clone(),
            controller: Some(true),
            ..OwnerReference::default()
        }]);
    }
}

impl Resource for FailedMount {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'static, str> {
        Event::kind(&())
    }

    fn group((): &()) -> Cow<'static, str> {
        Event::group(&())
    }

    fn version((): &()) -> Cow<'static, str> {
        Event::version(&())
    }

    fn plural((): &()) -> Cow<'static, str> {
        Event::plural(&())
    }

    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }

    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}

/// Why one volume cannot be mounted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// There is no Secret of this name.
    Secret(String),
    /// A Secret has no such key; the kubelet does not say which Secret.
    SecretKey(String),
    /// Something else, in the kubelet's words.
    Other(String),
}

/// The volume that a message speaks of, where it names one, and why it cannot be mounted. Empty when the message tells of
/// nothing but a delay in the kubelet's own caches.
#[must_use]
pub fn read(message: &str) -> (Option<String>, Vec<Cause>) {
    // Many Events of one Pod are put together under this head.
    let message = message
        .trim()
        .trim_start_matches("(combined from similar events): ");
    let told = message
        .strip_prefix("MountVolume.SetUp failed for volume \"")
        .and_then(|rest| rest.split_once('"'))
        .and_then(|(volume, rest)| Some((volume, rest.trim_start().strip_prefix(':')?.trim())));
    let Some((volume, why)) = told else {
        return (None, vec![Cause::Other(steady(message))]);
    };
    // A volume that is put together from several sources lists what is wrong with each.
    let list = why.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
    let known = |text: &str| secret(text).or_else(|| key(text));
    let parts: Option<Vec<Cause>> = list.and_then(|list| list.split(", ").map(known).collect());
    let causes = match (parts, known(why)) {
        (Some(parts), _) => parts,
        (None, Some(cause)) => vec![cause],
        (None, None) if is_delay(why) => Vec::new(),
        (None, None) => vec![Cause::Other(steady(message))],
    };
    (Some(volume.to_owned()), causes)
}

/// `secret "a" not found`, from some kubelets `secrets "a" not found`.
fn secret(text: &str) -> Option<Cause> {
    let rest = text
        .strip_prefix("secret")
        .map(|rest| rest.trim_start_matches('s'))?;
    let name = rest.strip_prefix(" \"")?.strip_suffix("\" not found")?;
    Some(Cause::Secret(name.to_owned()))
}

fn key(text: &str) -> Option<Cause> {
    let key = text.strip_prefix("references non-existent secret key: ")?;
    Some(Cause::SecretKey(key.to_owned()))
}

/// What kubelets say for a moment although nothing is wrong.
fn is_delay(text: &str) -> bool {
    text.ends_with("not registered") || text.starts_with("failed to sync ")
}

/// A text without the numbers that differ each time, such as identifiers of requests: one meaning, one message.
fn steady(text: &str) -> String {
    let is_unsteady = |word: &str| {
        let core = word.trim_matches(|character: char| !character.is_ascii_alphanumeric());
        let digits = core.chars().filter(char::is_ascii_digit).count();
        let is_id = core.chars().all(|character| {
            character.is_ascii_hexdigit() || matches!(character, '-' | ':' | '.' | 'T' | 'Z')
        });
        core.len() >= 8 && digits >= 4 && is_id
    };
    text.split_whitespace()
        .map(|word| if is_unsteady(word) { "..." } else { word })
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn messages_of_kubelets_are_understood() {
        let secret = |name: &str| Cause::Secret(name.to_owned());
        let key = |name: &str| Cause::SecretKey(name.to_owned());
        let other = |text: &str| vec![Cause::Other(text.to_owned())];
        for (message, volume, causes) in [
            (
                "MountVolume.SetUp failed for volume \"ti-tls\" : secret \"web-tiproxy-cluster-secret\" not found",
                Some("ti-tls"),
                vec![secret("web-tiproxy-cluster-secret")],
            ),
            (
                "MountVolume.SetUp failed for volume \"ti-tls\" : secrets \"a\" not found",
                Some("ti-tls"),
                vec![secret("a")],
            ),
            (
                "MountVolume.SetUp failed for volume \"ti-tls\" : references non-existent secret key: tls.crt",
                Some("ti-tls"),
                vec![key("tls.crt")],
            ),
            (
                "MountVolume.SetUp failed for volume \"ti-tls\" : [secret \"a\" not found, references non-existent secret \
                 key: tls.key]",
                Some("ti-tls"),
                vec![secret("a"), key("tls.key")],
            ),
            (
                "(combined from similar events): MountVolume.SetUp failed for volume \"ti-tls\" : secret \"a\" not found",
                Some("ti-tls"),
                vec![secret("a")],
            ),
            (
                "MountVolume.SetUp failed for volume \"ti-tls\" : object \"ns\"/\"a\" not registered",
                Some("ti-tls"),
                vec![],
            ),
            (
                "MountVolume.SetUp failed for volume \"ti-config\" : failed to sync configmap cache: timed out waiting \
                 for the condition",
                Some("ti-config"),
                vec![],
            ),
            (
                "MountVolume.SetUp failed for volume \"ti-config\" : configmap \"web-tiproxy-0\" not found",
                Some("ti-config"),
                other(
                    "MountVolume.SetUp failed for volume \"ti-config\" : configmap \"web-tiproxy-0\" not found",
                ),
            ),
            (
                "MountVolume.SetUp failed for volume \"ti-tls\" : [secret \"a\" not found, configmap \"b\" not found]",
                Some("ti-tls"),
                other(
                    "MountVolume.SetUp failed for volume \"ti-tls\" : [secret \"a\" not found, configmap \"b\" not found]",
                ),
            ),
            (
                "Unable to attach or mount volumes: unmounted volumes=[log], unattached volumes=[], failed to process \
                 volumes=[]: timed out waiting for the condition",
                None,
                other(
                    "Unable to attach or mount volumes: unmounted volumes=[log], unattached volumes=[], failed to \
                     process volumes=[]: timed out waiting for the condition",
                ),
            ),
            (
                "MountVolume.MountDevice failed for volume \"pvc-1\" : rpc error: code = Aborted desc = request \
                 6f1d2a34-9c5e-4b1f-8d20-0a1b2c3d4e5f at 2026-11-24T06:00:00.123Z failed",
                None,
                other(
                    "MountVolume.MountDevice failed for volume \"pvc-1\" : rpc error: code = Aborted desc = request \
                     ... at ... failed",
                ),
            ),
            ("", None, other("")),
            (
                "MountVolume.SetUp failed for volume \"",
                None,
                other("MountVolume.SetUp failed for volume \""),
            ),
        ] {
            assert_eq!(
                read(message),
                (volume.map(ToOwned::to_owned), causes),
                "{message}"
            );
        }
    }

    #[test]
    fn the_time_is_the_latest_that_the_event_knows() {
        let event = |fields: serde_json::Value| serde_json::from_value::<FailedMount>(fields).unwrap();
        let time = |text: &str| Some(text.parse::<Timestamp>().unwrap());
        let old = event(
            json!({"lastTimestamp": "2026-01-01T00:00:05Z", "firstTimestamp": "2026-01-01T00:00:00Z",
            "eventTime": null, "source": {"component": "kubelet"}, "count": 3}),
        );
        assert_eq!(old.seen(), time("2026-01-01T00:00:05Z"));
        let new = event(
            json!({"eventTime": "2026-01-01T00:00:01.000000Z", "lastTimestamp": null,
            "series": {"count": 2, "lastObservedTime": "2026-01-01T00:00:09.000000Z"}}),
        );
        assert_eq!(new.seen(), time("2026-01-01T00:00:09Z"));
        let bare = event(json!({"metadata": {"creationTimestamp": "2026-01-01T00:00:02Z"}}));
        assert_eq!(bare.seen(), time("2026-01-01T00:00:02Z"));
        assert_eq!(event(json!({})).seen(), None);
    }

    #[test]
    fn only_what_is_needed_is_kept() {
        let mut event: FailedMount = serde_json::from_value(json!({
            "metadata": {"name": "a.1", "namespace": "ns", "annotations": {"a": "b"}},
            "involvedObject": {"kind": "Pod", "name": "web-tiproxy-0", "uid": "uid-pod"},
            "message": "ü".repeat(1000),
        }))
        .unwrap();
        event.prune();
        assert!(event.may_be_ours() && event.message().len() <= MOST_MESSAGE);
        assert_eq!((event.pod(), event.pod_uid()), ("web-tiproxy-0", "uid-pod"));
        assert_eq!(crate::runtime::cache::owner_uid(&event), Some("uid-pod"));
        assert_eq!(event.metadata.annotations, None);
    }
}
