//! Why the volumes of a Pod cannot be mounted: which Secret or key is missing, and which field asks for it. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};
use k8s_openapi::jiff::{SignedDuration, Timestamp};
use kube::ResourceExt;
use serde_json::Value;

use super::build::manifest::manifest;
use super::build::tls::{asked_by, tls};
use super::failed_mount::{Cause, read};
use super::observe::Observed;
use super::pod_state::{PodState, Problem};
use super::validate::Instance;
use crate::api::condition::Reason;

/// A complaint that is so much older than the newest one is settled: kubelets repeat theirs within minutes.
const SETTLED_AFTER: SignedDuration = SignedDuration::from_mins(10);
/// The field that asks for volumes that the operator does not know.
const OVERLAY: &str = "spec.template.spec.overlay.pod";

/// What keeps the Pod of a TiProxy from mounting its volumes; `None` once a container of it runs.
#[must_use]
pub fn mount_problem(observed: &Observed, instance: &Instance) -> Option<Problem> {
    let pod = observed.pod.ours()?;
    if observed.failed_mounts.is_empty() || PodState::of(pod).is_ready() || runs(pod) {
        return None;
    }
    let complaints = complaints(observed, last_start(pod));
    let volumes = Volumes::of(instance);
    let missing: Vec<String> = complaints
        .iter()
        .flat_map(|(volume, causes)| causes.iter().map(move |cause| (volume, cause)))
        .filter_map(|(volume, cause)| volumes.missing(instance, volume, cause))
        .collect();
    let pod_name = pod.name_any();
    if missing.is_empty() {
        let other = complaints.values().flatten().find_map(|cause| match cause {
            Cause::Other(text) => Some(text),
            Cause::Secret(_) | Cause::SecretKey(_) => None,
        })?;
        return Some(Problem {
            reason: Reason::NotReady,
            message: format!("Pod {pod_name} waits for its volumes: {other}"),
        });
    }
    let mut missing = missing;
    missing.sort();
    missing.dedup();
    Some(Problem {
        reason: Reason::SecretMissing,
        message: format!(
            "Pod {pod_name}: {}; create what is missing, and the Pod starts by itself within about two minutes",
            missing.join("; ")
        ),
    })
}

fn statuses(pod: &Pod) -> impl Iterator<Item = &ContainerStatus> {
    pod.status.iter().flat_map(|status| {
        let init = status.init_container_statuses.iter().flatten();
        init.chain(status.container_statuses.iter().flatten())
    })
}

/// All volumes are mounted before the first container starts.
fn runs(pod: &Pod) -> bool {
    statuses(pod)
        .filter_map(|container| container.state.as_ref())
        .any(|state| state.running.is_some())
}

/// When a container of the Pod started or ended last: its volumes were mounted then.
fn last_start(pod: &Pod) -> Option<Timestamp> {
    statuses(pod)
        .flat_map(|container| [container.state.as_ref(), container.last_state.as_ref()])
        .flatten()
        .filter_map(|state| state.terminated.as_ref())
        .flat_map(|ended| [ended.started_at.as_ref(), ended.finished_at.as_ref()])
        .flatten()
        .map(|time| time.0)
        .max()
}

/// The newest complaint about each volume, as far as it still counts. One that names no volume is under the empty name.
fn complaints(observed: &Observed, mounted: Option<Timestamp>) -> BTreeMap<String, Vec<Cause>> {
    let events = observed
        .failed_mounts
        .iter()
        .map(|event| (event.seen(), &**event));
    let newest = events.clone().filter_map(|(seen, _)| seen).max();
    let counts = |seen: Timestamp| {
        newest.is_none_or(|newest| newest.duration_since(seen) < SETTLED_AFTER)
            && mounted.is_none_or(|mounted| seen > mounted)
    };
    let mut current: Vec<_> = events
        .filter_map(|(seen, event)| Some((seen.filter(|seen| counts(*seen))?, event.message())))
        .collect();
    // By message too, so that two of one second give the same result in any order.
    current.sort_unstable();
    let mut complaints = BTreeMap::new();
    for (_, message) in current {
        let (volume, causes) = read(message);
        if !causes.is_empty() {
            complaints.insert(volume.unwrap_or_default(), causes);
        }
    }
    complaints
}

/// The volumes of the Pod with their Secrets, as the Pod is created.
struct Volumes(Value);

/// A Secret in a volume, with the keys that are mounted; all of them when none is named.
struct Source<'a> {
    secret: &'a str,
    keys: Vec<&'a str>,
}

impl Volumes {
    fn of(instance: &Instance) -> Self {
        let pod = manifest(instance, &tls(instance));
        let volumes = pod
            .ok()
            .and_then(|pod| pod.body().pointer("/spec/volumes").cloned());
        Self(volumes.unwrap_or_default())
    }

    /// What is missing, in words; `None` for another cause.
    fn missing(&self, instance: &Instance, volume: &str, cause: &Cause) -> Option<String> {
        let field = asked_by(instance, volume).unwrap_or(OVERLAY);
        let sources = self.sources(volume);
        match cause {
            Cause::Secret(name) => {
                let keys: Vec<&str> = sources
                    .iter()
                    .filter(|source| source.secret == name)
                    .flat_map(|source| source.keys.clone())
                    .collect();
                let keys = if keys.is_empty() {
                    String::new()
                } else {
                    format!(" with {}", keys.join(", "))
                };
                Some(format!(
                    "the Secret {name} does not exist ({field} asks for it{keys})"
                ))
            }
            Cause::SecretKey(key) => {
                let of: Vec<&str> = sources
                    .iter()
                    .filter(|source| source.keys.iter().any(|found| found == key))
                    .map(|source| source.secret)
                    .collect();
                let secret = if of.is_empty() {
                    format!("a Secret of the volume {volume}")
                } else {
                    format!("the Secret {}", of.join(" or "))
                };
                Some(format!("{secret} has no key {key} ({field} asks for it)"))
            }
            Cause::Other(_) => None,
        }
    }

    fn sources(&self, volume: &str) -> Vec<Source<'_>> {
        let volumes = self.0.as_array().into_iter().flatten();
        let Some(volume) = volumes
            .into_iter()
            .find(|found| found.get("name").is_some_and(|name| name == volume))
        else {
            return Vec::new();
        };
        let projected = volume
            .pointer("/projected/sources")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .filter_map(|source| source.get("secret"));
        volume
            .get("secret")
            .into_iter()
            .chain(projected)
            .filter_map(Source::of)
            .collect()
    }
}

impl<'a> Source<'a> {
    fn of(source: &'a Value) -> Option<Self> {
        let name = source.get("secretName").or_else(|| source.get("name"))?;
        let items = source.get("items").and_then(Value::as_array);
        Some(Self {
            secret: name.as_str()?,
            keys: items
                .into_iter()
                .flatten()
                .filter_map(|item| item.get("key")?.as_str())
                .collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::instance::testing::{Scene, ago, container, tiproxy};

    /// A Pod that waits for its volumes, of a TiProxy with all kinds of TLS.
    fn waiting() -> Scene {
        let mut object = serde_json::to_value(tiproxy()).unwrap();
        object["spec"]["discovery"]["tls"] = json!(true);
        object["spec"]["security"] = json!({"tls": {
            "mysql": {"enabled": true, "ca": {"name": "our-ca"}, "certKeyPair": {"name": "our-pair"}},
            "backend": {"enabled": true},
        }});
        object["spec"]["overlay"] =
            json!({"pod": {"spec": {"volumes": [{"name": "mine", "secret": {"secretName": "own"}}]}}});
        let state = json!({"waiting": {"reason": "ContainerCreating"}});
        Scene::of(serde_json::from_value(object).unwrap()).pod(&json!({"status": {
            "phase": "Pending", "conditions": null, "containerStatuses": [container(&state)],
        }}))
    }

    fn problem(scene: &Scene) -> Option<(Reason, String)> {
        let problem = mount_problem(&scene.observed(), &scene.instance().unwrap())?;
        Some((problem.reason, problem.message))
    }

    fn failed(volume: &str, why: &str) -> String {
        format!("MountVolume.SetUp failed for volume \"{volume}\" : {why}")
    }

    #[track_caller]
    fn check(scene: &Scene, reason: Reason, told: &str) {
        let message = if reason == Reason::SecretMissing {
            format!(
                "Pod web-tiproxy-0: {told}; create what is missing, and the Pod starts by itself within about two minutes"
            )
        } else {
            format!("Pod web-tiproxy-0 waits for its volumes: {told}")
        };
        assert_eq!(problem(scene), Some((reason, message)));
    }

    #[test]
    fn a_missing_secret_or_key_is_named_with_the_field_that_asks_for_it() {
        for (volume, why, told) in [
            (
                "ti-tiproxy-sql-tls",
                "secret \"our-pair\" not found",
                "the Secret our-pair does not exist (spec.template.spec.security.tls.mysql asks for it with tls.crt, tls.key)",
            ),
            (
                "ti-tiproxy-sql-tls",
                "references non-existent secret key: ca.crt",
                "the Secret our-ca has no key ca.crt (spec.template.spec.security.tls.mysql asks for it)",
            ),
            (
                "ti-tiproxy-sql-tls",
                "[secret \"our-ca\" not found, references non-existent secret key: tls.key]",
                "the Secret our-ca does not exist (spec.template.spec.security.tls.mysql asks for it with ca.crt); the \
                 Secret our-pair has no key tls.key (spec.template.spec.security.tls.mysql asks for it)",
            ),
            (
                "ti-tiproxy-tidb-tls",
                "secret \"web-tiproxy-tidb-secret\" not found",
                "the Secret web-tiproxy-tidb-secret does not exist (spec.template.spec.security.tls.backend asks for it \
                 with ca.crt)",
            ),
            (
                "ti-tls",
                "references non-existent secret key: tls.crt",
                "the Secret web-tiproxy-cluster-secret has no key tls.crt (the Cluster's spec.tlsCluster asks for it)",
            ),
            (
                "mine",
                "secret \"own\" not found",
                "the Secret own does not exist (spec.template.spec.overlay.pod asks for it)",
            ),
            (
                "mine",
                "references non-existent secret key: x",
                "a Secret of the volume mine has no key x (spec.template.spec.overlay.pod asks for it)",
            ),
        ] {
            check(
                &waiting().failed_mount(1, &failed(volume, why)),
                Reason::SecretMissing,
                told,
            );
        }
    }

    #[test]
    fn several_are_named_once_each_in_one_order() {
        let cluster = "secret \"web-tiproxy-cluster-secret\" not found";
        let messages = [
            failed(
                "ti-tiproxy-tidb-tls",
                "references non-existent secret key: ca.crt",
            ),
            failed("ti-tls", cluster),
            failed("ti-tiproxy-http-tls", cluster),
            "Unable to attach or mount volumes: timed out waiting for the condition".to_owned(),
        ];
        let told = "the Secret web-tiproxy-cluster-secret does not exist (the Cluster's spec.tlsCluster asks for it with \
                    ca.crt, tls.crt, tls.key); the Secret web-tiproxy-tidb-secret has no key ca.crt \
                    (spec.template.spec.security.tls.backend asks for it)";
        let scene = |order: &[usize]| {
            order
                .iter()
                .fold(waiting(), |scene, index| scene.failed_mount(1, &messages[*index]))
        };
        check(&scene(&[0, 1, 2, 3]), Reason::SecretMissing, told);
        check(&scene(&[3, 2, 1, 0]), Reason::SecretMissing, told);
        // A repetition says nothing new.
        check(&scene(&[0, 1, 2, 3, 1, 0]), Reason::SecretMissing, told);
    }

    #[test]
    fn the_newest_complaint_about_a_volume_counts_and_an_old_one_is_settled() {
        let (mysql, backend) = ("ti-tiproxy-sql-tls", "ti-tiproxy-tidb-tls");
        let key = failed(mysql, "references non-existent secret key: tls.key");
        let scene = waiting()
            .failed_mount(5, &key)
            .failed_mount(60, &failed(mysql, "secret \"our-pair\" not found"))
            .failed_mount(
                700,
                &failed(backend, "secret \"web-tiproxy-tidb-secret\" not found"),
            );
        check(
            &scene,
            Reason::SecretMissing,
            "the Secret our-pair has no key tls.key (spec.template.spec.security.tls.mysql asks for it)",
        );
    }

    #[test]
    fn another_trouble_is_told_in_the_kubelet_s_words() {
        let config = failed("ti-config", "configmap \"web-tiproxy-0\" not found");
        check(&waiting().failed_mount(1, &config), Reason::NotReady, &config);
        assert_eq!(
            problem(&waiting().failed_mount(1, &failed("ti-tls", "object \"ns\"/\"a\" not registered"))),
            None
        );
        assert_eq!(problem(&waiting()), None);
    }

    #[test]
    fn a_pod_whose_containers_have_started_misses_nothing() {
        let missing = failed("ti-tiproxy-sql-tls", "secret \"our-pair\" not found");
        let with = |state: serde_json::Value| {
            waiting()
                .failed_mount(60, &missing)
                .pod(&json!({ "status": state }))
        };
        assert!(problem(&with(json!({}))).is_some());
        for state in [
            json!({"conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": ago(70)}]}),
            json!({"containerStatuses": [container(&json!({"running": {"startedAt": ago(70)}}))]}),
            json!({"initContainerStatuses": [container(&json!({"running": {}}))]}),
            json!({"containerStatuses": [container(&json!({"terminated": {"exitCode": 1, "finishedAt": ago(60)}}))]}),
        ] {
            assert_eq!(problem(&with(state.clone())), None, "{state}");
        }
        // It ran, and its node came back when the Secret had gone.
        let state = json!({"terminated": {"exitCode": 1, "startedAt": ago(900), "finishedAt": ago(61)}});
        assert!(problem(&with(json!({"containerStatuses": [container(&state)]}))).is_some());
    }

    #[test]
    fn a_tiproxy_says_it_and_stops_saying_it() {
        use crate::instance::status::status;
        let missing = failed("ti-tiproxy-sql-tls", "secret \"our-pair\" not found");
        let reason = |scene: &Scene| {
            let (observed, instance) = (scene.observed(), scene.instance());
            let report = status(&observed, instance.as_ref(), &scene.plan(), None, scene.now);
            let stalled = report
                .status
                .conditions
                .into_iter()
                .find(|found| found.type_ == "Stalled");
            stalled.map(|stalled| (stalled.status, stalled.reason)).unwrap()
        };
        let (yes, no) = ("True".to_owned(), "False".to_owned());
        assert_eq!(
            reason(&waiting().failed_mount(1, &missing)),
            (yes, "SecretMissing".to_owned())
        );
        let ready = Scene::of(waiting().object).failed_mount(1, &missing);
        assert_eq!(reason(&ready), (no, "AllReady".to_owned()));
    }
}
