//! `kubectl wait` straight after `kubectl apply`, and tools that judge by kstatus: never too early.

use kube::ResourceExt;
use kube::api::DynamicObject;
use serde_json::{Value, json};

use super::fixture::{condition, get, group, instances, is_ready, pods};
use crate::harness;
use crate::harness::Test;
use crate::harness::history::{Change, State, replay};

const ROUNDS: u32 = 10;

/// Whether a round changes the number of replicas too.
fn replicas(round: u32) -> u32 {
    2 + round % 2
}

fn version(round: u32) -> String {
    format!("v1.3.{round}")
}

fn manifest(round: u32) -> Value {
    let mut manifest = group("web", replicas(round));
    manifest["spec"]["template"]["spec"]["version"] = json!(version(round));
    match round % 3 {
        1 => manifest["spec"]["maxSurge"] = json!(1),
        // In place, under the same names.
        2 => {
            manifest["spec"]["maxSurge"] = json!(0);
            manifest["spec"]["maxUnavailable"] = json!("50%");
        }
        _ => {}
    }
    if round % 4 == 3 {
        manifest["spec"]["minReadySeconds"] = json!(1);
    }
    manifest
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn waiting_straight_after_applying_never_ends_too_early() {
    harness::run(async |test| {
        let history = test.record_history().await;
        let _operator = test.start_operator().await;
        for round in 0..ROUNDS {
            let manifest = manifest(round);
            let flags: &[&str] = if round % 2 == 0 {
                &[]
            } else {
                &["--server-side", "--force-conflicts"]
            };
            let arguments = [&["apply", "--filename", "-"], flags].concat();
            test.kubectl
                .succeed_with_input(&arguments, &manifest.to_string())
                .await;
            wait(test, &["--for=condition=Ready"]).await;
            everything_is_there(test, round).await;
        }
        // The other way round: what was Ready is not Stalled, and not Reconciling.
        wait(test, &["--for=condition=Stalled=False"]).await;
        wait(test, &["--for=condition=Reconciling=False"]).await;

        let mut ready_rounds = 0;
        replay(&history.entries().await, |state, entry| {
            if matches!(entry.kind, "TiProxyGroup" | "TiProxy") && entry.change != Change::Deleted {
                follows_kstatus(&entry.object);
            }
            if let Some(group) = state.get(&("TiProxyGroup", "web".to_owned()))
                && is_current(group)
            {
                ready_rounds += 1;
                spec_is_everywhere(group, state);
            }
        });
        assert!(ready_rounds >= ROUNDS, "Ready only {ready_rounds} times");
    });
}

async fn wait(test: &Test, condition: &[&str]) {
    let arguments = [&["wait", "tpg/web", "--timeout=90s"], condition].concat();
    test.kubectl.succeed(&arguments).await;
}

/// Straight after `kubectl wait` has returned.
async fn everything_is_there(test: &Test, round: u32) {
    let expected = usize::try_from(replicas(round)).expect("a small number");
    let version = version(round);
    let image = format!("pingcap/tiproxy:{version}");
    let group = get(test, &manifest(round)).await;
    let (instances, pods) = (instances(test).await, pods(test).await);
    let versions: Vec<_> = instances
        .values()
        .map(|instance| instance.spec.template.version.clone())
        .collect();
    assert_eq!(
        versions,
        vec![version.clone(); expected],
        "TiProxies in round {round}"
    );
    let images: Vec<_> = pods
        .values()
        .map(|pod| {
            pod.spec
                .as_ref()
                .and_then(|spec| spec.containers[0].image.clone())
        })
        .collect();
    assert_eq!(images, vec![Some(image); expected], "Pods in round {round}");
    let status = &group.data["status"];
    for field in [
        "replicas",
        "readyReplicas",
        "updatedReplicas",
        "availableReplicas",
        "currentReplicas",
    ] {
        assert_eq!(
            status[field],
            json!(expected),
            "{field} in round {round}: {status}"
        );
    }
    assert_eq!(status["drainingReplicas"], json!(0));
    assert_eq!(status["version"], json!(version));
    assert_eq!(status["currentRevision"], status["updateRevision"]);
}

/// What kstatus calls current, and `kubectl wait` Ready.
fn is_current(object: &DynamicObject) -> bool {
    let observed = object.data["status"]["observedGeneration"].as_i64();
    observed == object.metadata.generation
        && condition(object, "Ready").is_some_and(|ready| ready.status == "True" && ready.is_current)
}

/// Exactly one of done, at work and stalled is true, and each condition is of the generation that it speaks of.
fn follows_kstatus(object: &DynamicObject) {
    let name = object.name_any();
    let observed = object.data["status"]["observedGeneration"].as_i64();
    let Some(observed) = observed.filter(|observed| *observed >= 0) else {
        assert_eq!(condition(object, "Ready"), None, "{name}");
        return;
    };
    assert!(Some(observed) <= object.metadata.generation, "{name}");
    let states: Vec<_> = ["Ready", "Reconciling", "Stalled"]
        .iter()
        .map(|name| condition(object, name).expect("all three are always there"))
        .collect();
    let holding = states.iter().filter(|seen| seen.status == "True").count();
    assert_eq!(holding, 1, "{name}: {states:?}");
    for seen in &states {
        assert_eq!(
            seen.is_current,
            Some(observed) == object.metadata.generation,
            "{name}: {seen:?}"
        );
        assert_eq!(
            (&seen.reason, &seen.message),
            (&states[0].reason, &states[0].message),
            "{name}"
        );
        assert_ne!(seen.message, "", "{name}");
    }
}

/// At any point of the history where a group counts as Ready.
fn spec_is_everywhere(group: &DynamicObject, state: &State) {
    let spec = &group.data["spec"];
    let version = &spec["template"]["spec"]["version"];
    let of_kind = |wanted: &'static str| {
        state
            .iter()
            .filter(move |((kind, _), _)| *kind == wanted)
            .map(|((_, name), object)| (name, object))
    };
    let mut count = 0;
    for (name, instance) in of_kind("TiProxy") {
        assert_eq!(&instance.data["spec"]["version"], version, "TiProxy {name}");
        assert!(
            is_current(instance),
            "TiProxy {name}: {}",
            instance.data["status"]
        );
        count += 1;
    }
    assert_eq!(json!(count), spec["replicas"]);
    let image = format!("pingcap/tiproxy:{}", version.as_str().unwrap_or_default());
    let mut pods = 0;
    for (name, pod) in of_kind("Pod") {
        assert_eq!(
            pod.data["spec"]["containers"][0]["image"],
            json!(image),
            "Pod {name}"
        );
        let conditions = pod.data["status"]["conditions"]
            .as_array()
            .expect("it has conditions");
        let ready = conditions.iter().find(|condition| condition["type"] == "Ready");
        assert_eq!(ready.expect("it is Ready")["status"], json!("True"), "Pod {name}");
        pods += 1;
    }
    assert_eq!(pods, count);
    assert_eq!(group.data["status"]["availableReplicas"], json!(count));
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_group_that_nobody_has_looked_at_is_not_ready() {
    harness::run(async |test| {
        // No operator runs.
        let web = group("web", 1);
        test.apply(&web).await;
        let output = test
            .kubectl
            .run(&["wait", "tpg/web", "--for=condition=Ready", "--timeout=1s"])
            .await;
        assert!(output.stderr.contains("timed out"), "{output:?}");
        assert_eq!(
            get(test, &web).await.data["status"],
            json!({"observedGeneration": -1})
        );
        let _operator = test.start_operator().await;
        is_ready(test, &web).await;
    });
}
