//! An overlay that the API server, or the operator, refuses is told within 10 s, and nothing that runs is touched.

use serde_json::{Value, json};

use crate::behaviour::fixture::{
    PATIENCE, becomes, edit, get, group, instances, is_ready, is_soon_true, pods, restricts, something_else,
    versions,
};
use crate::harness;
use crate::harness::wait::{eventually, expect};

/// What is laid over the Pod's spec, and what the message must hold.
fn bad() -> [(Value, &'static [&'static str]); 6] {
    [
        (
            json!({"colour": "red"}),
            &[
                "spec.template.spec.overlay.pod: ",
                "unknown field \"spec.colour\"",
                "correct the overlay",
            ],
        ),
        (
            json!({"containers": [{"name": "tiproxy", "readinessProbe": {"httpget": {"port": 1}}}]}),
            &["unknown field \"spec.containers[0].readinessProbe.httpget\""],
        ),
        (
            json!({"containers": [{"name": "tiproxy", "imagePullPolicy": "Sometimes"}]}),
            &[
                "spec.containers[0].imagePullPolicy",
                "\"Sometimes\"",
                "\"Always\"",
            ],
        ),
        (
            json!({"hostNetwork": "yes"}),
            &["spec.template.spec.overlay.pod: ", "hostNetwork"],
        ),
        (
            json!({"containers": [{"name": "tiproxy", "$patch": "delete"}]}),
            &[
                "spec.template.spec.overlay.pod.spec.containers: ",
                "the container tiproxy",
            ],
        ),
        (
            json!({"volumes": [{"name": "a", "$retainKeys": ["name"]}]}),
            &[
                "spec.template.spec.overlay.pod.spec.volumes[0].$retainKeys",
                "$patch: replace",
            ],
        ),
    ]
}

/// A user's edit of the template: this overlay, and another version.
fn overlaid(spec: &Value) -> Value {
    json!({"spec": {"template": {"spec": {"version": "v1.3.1", "overlay": {"pod": {"spec": spec}}}}}})
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_bad_overlay_touches_nothing_that_runs_and_a_corrected_one_goes_on() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        // By surge, and in place, where the old Pod would go first.
        for (name, surge) in [("web", json!("100%")), ("place", json!(0))] {
            let mut web = group(name, 2);
            web["spec"]["maxSurge"] = surge;
            test.apply(&web).await;
            is_ready(test, &web).await;
            let before = versions(test).await;
            for (spec, parts) in bad() {
                edit(test, &web, overlaid(&spec)).await;
                let message = is_soon_true(test, &web, "Stalled", "InvalidSpec").await;
                for part in parts {
                    assert!(message.contains(part), "{part:?} is not in {message:?}");
                }
                // Back to what runs, which costs nothing.
                edit(
                    test,
                    &web,
                    json!({"spec": {"template": {"spec": {"version": "v1.3.0", "overlay": null}}}}),
                )
                .await;
                is_ready(test, &web).await;
            }
            something_else(test).await;
            assert_eq!(versions(test).await, before);
        }
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn while_an_overlay_is_refused_a_group_scales_in_and_heals_and_waits_with_the_rest() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        let web = group("web", 3);
        test.apply(&web).await;
        is_ready(test, &web).await;
        edit(test, &web, overlaid(&json!({"colour": "red"}))).await;
        is_soon_true(test, &web, "Stalled", "InvalidSpec").await;

        edit(test, &web, json!({"spec": {"replicas": 2}})).await;
        eventually(PATIENCE, "one TiProxy has left", async || {
            let (instances, pods) = (instances(test).await, pods(test).await);
            expect(
                instances.len() == 2 && pods.len() == 2,
                (instances.len(), pods.len()),
            )
        })
        .await;
        is_soon_true(test, &web, "Stalled", "InvalidSpec").await;
        test.kubectl
            .succeed(&["delete", "pod", "web-tiproxy-0", "--grace-period", "0", "--force"])
            .await;
        eventually(PATIENCE, "the Pod is there again", async || {
            let status = get(test, &web).await.data["status"].clone();
            let ready = status["readyReplicas"] == json!(2);
            expect(ready && pods(test).await.len() == 2, status)
        })
        .await;
        edit(test, &web, json!({"spec": {"replicas": 4}})).await;
        becomes(test, &web, PATIENCE, "Stalled", "True", "InvalidSpec").await;
        something_else(test).await;
        assert_eq!(instances(test).await.len(), 2);

        edit(
            test,
            &web,
            overlaid(&json!({"colour": null, "hostNetwork": false})),
        )
        .await;
        is_ready(test, &web).await;
        assert_eq!(pods(test).await.len(), 4);
        becomes(test, &web, PATIENCE, "Stalled", "False", "AllReady").await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_group_that_begins_with_a_bad_overlay_begins_when_it_is_corrected() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        let mut web = group("web", 1);
        web["spec"]["template"]["spec"]["overlay"] = json!({"pod": {"spec": {"colour": "red"}}});
        test.apply(&web).await;
        is_soon_true(test, &web, "Stalled", "InvalidSpec").await;
        something_else(test).await;
        assert!(instances(test).await.is_empty() && pods(test).await.is_empty());
        let corrected = json!({"pod": {"spec": {"dnsPolicy": "Default"}}});
        web["spec"]["template"]["spec"]["overlay"] = corrected;
        test.apply(&web).await;
        is_ready(test, &web).await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_policy_that_denies_an_overlay_touches_nothing_and_is_asked_again() {
    harness::run(async |test| {
        let enforce = async |level: &str| {
            let label = format!("pod-security.kubernetes.io/enforce={level}");
            test.kubectl
                .succeed(&["label", "--overwrite", "namespace", &test.namespace, &label])
                .await;
        };
        enforce("restricted").await;
        restricts(test).await;
        let _operator = test.start_operator().await;
        let mut web = group("web", 2);
        web["spec"]["maxSurge"] = json!(0);
        test.apply(&web).await;
        is_ready(test, &web).await;
        let before = versions(test).await;
        edit(test, &web, overlaid(&json!({"hostNetwork": true}))).await;
        let message = is_soon_true(test, &web, "Stalled", "AdmissionDenied").await;
        for part in [
            "spec.template.spec.overlay.pod: ",
            "violates PodSecurity",
            "hostNetwork",
        ] {
            assert!(message.contains(part), "{part:?} is not in {message:?}");
        }
        something_else(test).await;
        assert_eq!(versions(test).await, before);
        enforce("privileged").await;
        is_ready(test, &web).await;
    });
}
