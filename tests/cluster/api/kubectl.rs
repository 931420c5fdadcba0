//! What kubectl makes of the definitions.

use std::time::Duration;

use serde_json::{Value, json};

use super::manifest::Kind;
use crate::harness::cluster::repository;
use crate::harness::wait::eventually;
use crate::harness::{self, Test, objects::Keep};

/// The words of each line; a column is never empty in these tests.
fn words(text: &str) -> Vec<Vec<&str>> {
    text.lines()
        .map(|line| line.split_whitespace().collect())
        .collect()
}

fn ready(status: &str, reason: &str) -> Value {
    json!([{
        "type": "Ready",
        "status": status,
        "reason": reason,
        "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
    }])
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn the_columns_of_a_group_tell_its_state() {
    harness::run(async |test| {
        let group = Kind::Group.smallest("web");
        test.create(&group, Keep::Yes).await.unwrap();
        let status = json!({
            "conditions": ready("False", "Progressing"),
            "readyReplicas": 2,
            "updatedReplicas": 3,
            "drainingReplicas": 4,
        });
        test.patch_status(&group, status).await;
        for name in [
            "tpg",
            "tiproxygroup",
            "tiproxygroups",
            "tiproxygroups.core.pingcap.com",
        ] {
            let table = test.kubectl.succeed(&["get", name]).await;
            let lines = words(&table);
            assert_eq!(
                lines[0],
                [
                    "NAME", "CLUSTER", "DESIRED", "READY", "UPDATED", "DRAINING", "STATUS", "AGE"
                ],
                "{table}"
            );
            assert_eq!(
                lines[1][..7],
                ["web", "basic", "1", "2", "3", "4", "Progressing"],
                "{table}"
            );
        }
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn the_columns_of_a_tiproxy_tell_its_state() {
    harness::run(async |test| {
        let mut tiproxy = Kind::Instance.smallest("web-0");
        tiproxy["spec"]["offline"] = json!(true);
        test.create(&tiproxy, Keep::Yes).await.unwrap();
        let status = json!({"conditions": ready("True", "AllReady"), "connections": 12});
        test.patch_status(&tiproxy, status).await;
        for name in ["tp", "tiproxy", "tiproxies", "tiproxies.core.pingcap.com"] {
            let table = test.kubectl.succeed(&["get", name]).await;
            let lines = words(&table);
            assert_eq!(
                lines[0],
                ["NAME", "CLUSTER", "VERSION", "READY", "STATUS", "AGE"],
                "{table}"
            );
            assert_eq!(
                lines[1][..5],
                ["web-0", "basic", "v1.3.2", "True", "AllReady"],
                "{table}"
            );
        }
        let wide = test.kubectl.succeed(&["get", "tp", "--output", "wide"]).await;
        let lines = words(&wide);
        assert_eq!(lines[0][5..], ["OFFLINE", "CONNECTIONS", "AGE"], "{wide}");
        assert_eq!(lines[1][5..7], ["true", "12"], "{wide}");
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn objects_are_selected_by_their_cluster() {
    harness::run(async |test| {
        for kind in Kind::BOTH {
            for (name, cluster) in [("a-1", "basic"), ("b-1", "other"), ("c-1", "basic")] {
                let mut manifest = kind.smallest(name);
                manifest["spec"]["cluster"]["name"] = json!(cluster);
                test.create(&manifest, Keep::Yes).await.unwrap();
            }
        }
        for (resource, full) in [("tpg", "tiproxygroup"), ("tp", "tiproxy")] {
            let select = |selector| ["get", resource, "--output=name", "--field-selector", selector];
            let names = test.kubectl.succeed(&select("spec.cluster.name=basic")).await;
            let expected = ["a-1", "c-1"].map(|name| format!("{full}.core.pingcap.com/{name}\n"));
            assert_eq!(names, expected.concat());
            let output = test
                .kubectl
                .run(&select("spec.template.spec.version=v1.3.2"))
                .await;
            assert_eq!(output.code, Some(1), "{output:?}");
            assert!(output.stderr.contains("field label not supported"), "{output:?}");
        }
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn nothing_is_ready_before_the_operator_says_so() {
    harness::run(async |test| {
        test.create(&Kind::Group.smallest("web"), Keep::Yes)
            .await
            .unwrap();
        let output = test
            .kubectl
            .run(&["wait", "--for=condition=Ready", "tpg/web", "--timeout=1s"])
            .await;
        assert_eq!(output.code, Some(1), "{output:?}");
        assert!(output.stderr.contains("timed out"), "{output:?}");
        let description = test.kubectl.succeed(&["describe", "tpg", "web"]).await;
        assert!(description.contains("Observed Generation:  -1"), "{description}");
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn the_definitions_install_without_a_warning() {
    harness::run(async |test| {
        for directory in ["config/crd", "config/crd/optional"] {
            let directory = repository(directory);
            let path = directory.to_str().unwrap();
            for apply in [&["apply", "--server-side", "--force-conflicts"][..], &["replace"]] {
                let dry = [
                    apply,
                    &["--dry-run=server", "--validate=strict", "--filename", path],
                ]
                .concat();
                let output = test.kubectl.run(&dry).await;
                assert_eq!(
                    (output.code, output.stderr.as_str()),
                    (Some(0), ""),
                    "{path}: {output:?}"
                );
            }
        }
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn every_field_is_explained() {
    harness::run(async |test| {
        for (kind, definition) in [
            ("TiProxyGroup", tiproxy_operator::api::crd::group().unwrap()),
            ("TiProxy", tiproxy_operator::api::crd::instance().unwrap()),
        ] {
            let definition = serde_json::to_value(definition).unwrap();
            let schema = definition
                .pointer("/spec/versions/0/schema/openAPIV3Schema")
                .unwrap();
            let mut expected = Vec::new();
            for part in ["spec", "status"] {
                descriptions(part, &schema["properties"][part], &mut expected);
            }
            assert!(expected.len() > 60, "{kind}: {expected:?}");
            // The API server publishes a definition some time after it was applied.
            eventually(Duration::from_secs(20), "the fields are published", async || {
                let published = published(test, kind).await;
                let mut found = Vec::new();
                for part in ["spec", "status"] {
                    descriptions(part, &published["properties"][part], &mut found);
                }
                let missing: Vec<_> = expected.iter().filter(|field| !found.contains(field)).collect();
                if missing.is_empty() {
                    Ok(())
                } else {
                    Err(format!("{kind}: {missing:?}"))
                }
            })
            .await;
        }
        for (path, text) in [
            ("tpg.spec.maxSurge", "Default: 1."),
            (
                "tiproxygroup.spec.template.spec.preStop.sleepSeconds",
                "Default: 10.",
            ),
            (
                "tpg.spec.template.spec.updateStrategy.config",
                "Default: `HotReload`.",
            ),
            ("tp.spec.drain.timeoutSeconds", "else 60."),
        ] {
            let explained = test.kubectl.succeed(&["explain", path]).await;
            let one_line = explained.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(one_line.contains(text), "{path}: {explained}");
        }
    });
}

/// The schema of a kind as kubectl reads it.
async fn published(test: &Test, kind: &str) -> Value {
    let path = "/openapi/v3/apis/core.pingcap.com/v1alpha1";
    let raw = test.kubectl.succeed(&["get", "--raw", path]).await;
    let mut document: Value = serde_json::from_str(&raw).unwrap();
    document["components"]["schemas"][format!("com.pingcap.core.v1alpha1.{kind}")].take()
}

/// Each field below a place with its description; a field without one fails the test.
fn descriptions(path: &str, schema: &Value, found: &mut Vec<(String, String)>) {
    for (name, field) in schema["properties"].as_object().into_iter().flatten() {
        let path = format!("{path}.{name}");
        let description = field["description"].as_str().unwrap_or_default();
        assert_ne!(description, "", "{path}");
        found.push((path.clone(), description.to_owned()));
        descriptions(&path, field, found);
        descriptions(&format!("{path}[]"), &field["items"], found);
    }
}
