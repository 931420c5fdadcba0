//! Configurations that cannot be carried out, or not as written, and fields that do nothing yet.

use serde_json::{Value, json};

use super::fixture::{
    PATIENCE, becomes, configured, edit, get, group, instances, is_ready, is_soon_true, is_true, pods,
    something_else, versions,
};
use crate::harness;
use crate::harness::Test;

/// As the RFC writes it, which is not TOML.
const LABELS_OF_THE_RFC: &str = "labels={\"group\":\"oltp\"}\n";

/// Configurations that cannot be carried out, and what the message must hold.
const BAD: [(&str, &[&str]); 5] = [
    (
        LABELS_OF_THE_RFC,
        &[
            "spec.template.spec.config",
            "line 1, column 16",
            "labels = { group = \"oltp\" }",
        ],
    ),
    ("[log]\nlevel = \"info\n", &["line 2, column"]),
    (
        "[proxy]\nmax-connections = \"many\"\n",
        &["line 2, column 19", "proxy.max-connections", "many", "integer"],
    ),
    (
        "[proxy]\nmax-connections = -1\n",
        &["line 2, column 19", "proxy.max-connections", "-1", "0"],
    ),
    (
        "[log]\nlevel = \"loud\"\n",
        &["line 2, column 9", "log.level", "loud", "debug", "info", "warn"],
    ),
];

fn with_config(config: &str) -> Value {
    json!({"spec": {"template": {"spec": {"config": config}}}})
}

/// The message is the same wherever it is shown, and holds all of these.
fn holds(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_bad_configuration_touches_nothing_that_runs() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        let web = group("web", 2);
        test.apply(&web).await;
        is_ready(test, &web).await;
        let before = versions(test).await;
        for (config, parts) in BAD {
            // It asks for more besides, none of which is begun.
            let mut patch = with_config(config);
            patch["spec"]["template"]["spec"]["version"] = json!("v1.3.1");
            patch["spec"]["replicas"] = json!(3);
            edit(test, &web, patch).await;
            let message = is_soon_true(test, &web, "Stalled", "InvalidSpec").await;
            holds(&message, parts);
            becomes(test, &web, PATIENCE, "Ready", "False", "InvalidSpec").await;
            becomes(test, &web, PATIENCE, "Reconciling", "False", "InvalidSpec").await;
        }
        something_else(test).await;
        assert_eq!(versions(test).await, before);
        let status = get(test, &web).await.data["status"].clone();
        assert_eq!(
            (&status["readyReplicas"], &status["replicas"]),
            (&json!(2), &json!(2)),
            "{status}"
        );

        let patch = json!({"spec": {"replicas": 2, "template": {"spec": {
            "version": "v1.3.0", "config": "labels = { group = \"oltp\" }\n"}}}});
        edit(test, &web, patch).await;
        is_ready(test, &web).await;
        let configs = test
            .kubectl
            .succeed(&["get", "configmaps", "--output", "yaml"])
            .await;
        assert!(configs.contains("oltp"), "{configs}");
        becomes(test, &web, PATIENCE, "Stalled", "False", "AllReady").await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_group_that_begins_with_a_bad_configuration_begins_when_it_is_corrected() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        for (number, (config, parts)) in BAD.iter().enumerate() {
            let web = configured(&format!("web-{number}"), 1, config);
            test.apply(&web).await;
            let message = is_soon_true(test, &web, "Stalled", "InvalidSpec").await;
            holds(&message, parts);
        }
        something_else(test).await;
        assert!(instances(test).await.is_empty() && pods(test).await.is_empty());
        for number in 0..BAD.len() {
            let web = configured(&format!("web-{number}"), 1, "labels = { group = \"oltp\" }\n");
            test.apply(&web).await;
        }
        for number in 0..BAD.len() {
            is_ready(test, &group(&format!("web-{number}"), 1)).await;
        }
        assert_eq!(pods(test).await.len(), BAD.len());
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn what_has_no_effect_is_named() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        let config = "[proxy]\naddr = \"0.0.0.0:1\"\nmax-conections = 5\n[api]\naddr = \"0.0.0.0:2\"\n";
        let mut web = configured("web", 1, config);
        web["spec"]["template"]["spec"]["overlay"] =
            json!({"pod": {"metadata": {"labels": {"app.kubernetes.io/name": "b"}}}});
        test.apply(&web).await;
        let message = is_true(test, &web, "ConfigWarnings", "Warnings").await;
        holds(
            &message,
            &[
                "line 2, column 1",
                "proxy.addr",
                "spec.template.spec.server.port",
                "line 3, column 1",
                "proxy.max-conections",
                "did you mean `proxy.max-connections`?",
                "line 5, column 1",
                "api.addr",
            ],
        );
        let message = is_true(test, &web, "UnsupportedFields", "NotYetSupported").await;
        holds(
            &message,
            &["spec.template.spec.overlay.pod.metadata.labels[app.kubernetes.io/name]"],
        );
        // Neither keeps the group from its work.
        is_ready(test, &web).await;

        let plain = group("web", 1);
        test.apply(&plain).await;
        becomes(test, &plain, PATIENCE, "ConfigWarnings", "False", "NoWarnings").await;
        becomes(test, &plain, PATIENCE, "UnsupportedFields", "False", "NoWarnings").await;
        is_ready(test, &plain).await;
        nothing_is_warned_of_the_shipped_way(test).await;
    });
}

/// A group as users write it warns of nothing.
async fn nothing_is_warned_of_the_shipped_way(test: &Test) {
    let mut usual = configured("usual", 1, "[log]\nlevel = \"info\"\n");
    usual["spec"]["template"]["spec"]["server"] =
        json!({"port": {"sql": 6000, "api": 3080}, "labels": {"group": "oltp"}});
    usual["spec"]["template"]["spec"]["security"] =
        json!({"tls": {"mysql": {"enabled": true}, "backend": {"enabled": true}}});
    test.apply(&usual).await;
    becomes(test, &usual, PATIENCE, "ConfigWarnings", "False", "NoWarnings").await;
    becomes(test, &usual, PATIENCE, "UnsupportedFields", "False", "NoWarnings").await;
}
