//! `kubectl get`, `describe`, `explain`, `scale`, `apply` and `diff` behave as on built-in kinds.

use kube::ResourceExt;
use serde_json::{Value, json};

use super::fixture::{get, group, is_ready, is_true, pods, something_else, versions};
use crate::harness;
use crate::harness::Test;
use crate::harness::wait::{eventually, expect};

/// The words of each line of a table.
fn table(text: &str) -> Vec<Vec<&str>> {
    text.lines()
        .map(|line| line.split_whitespace().collect())
        .collect()
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn tables_and_descriptions_are_for_people() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        let web = group("web", 2);
        test.apply(&web).await;
        let mut broken = group("broken", 1);
        broken["spec"]["template"]["spec"]["config"] = json!("[log");
        test.apply(&broken).await;
        is_ready(test, &web).await;
        is_true(test, &broken, "Stalled", "InvalidSpec").await;

        let text = test.kubectl.succeed(&["get", "tpg"]).await;
        let lines = table(&text);
        assert_eq!(
            lines[0],
            [
                "NAME", "CLUSTER", "DESIRED", "READY", "UPDATED", "DRAINING", "STATUS", "AGE"
            ]
        );
        // Of a group that was never carried out nothing is counted.
        assert_eq!(lines[1][..4], ["broken", "basic", "1", "InvalidSpec"], "{text}");
        assert_eq!(
            lines[2][..7],
            ["web", "basic", "2", "2", "2", "0", "AllReady"],
            "{text}"
        );
        let text = test.kubectl.succeed(&["get", "tp", "web-0"]).await;
        let lines = table(&text);
        assert_eq!(lines[0][..2], ["NAME", "CLUSTER"], "{text}");
        assert!(lines[1].contains(&"AllReady"), "{text}");

        let text = test.kubectl.succeed(&["describe", "tpg", "web"]).await;
        for part in [
            "Type:                  Ready",
            "Reason:                AllReady",
            "2 of 2 TiProxies are updated and available",
            "created TiProxy web-0",
            "created TiProxy web-1",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
        let text = test.kubectl.succeed(&["describe", "tpg", "broken"]).await;
        let (_, events) = text.split_once("Events:").expect("kubectl shows Events");
        assert!(
            events.contains("Warning") && events.contains("line 1, column 5"),
            "{text}"
        );

        let text = test
            .kubectl
            .succeed(&["explain", "tpg.spec.minReadySeconds"])
            .await;
        // kubectl breaks lines.
        let text: Vec<_> = text.split_whitespace().collect();
        let text = text.join(" ");
        assert!(
            text.contains("Seconds that a TiProxy must be Ready") && text.contains("Default: 10."),
            "{text}"
        );
        let text = test.kubectl.succeed(&["explain", "tp.spec.cluster"]).await;
        assert!(text.contains("name\t<string> -required-"), "{text}");
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn scaling_goes_through_the_subresource() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        let web = group("web", 1);
        test.apply(&web).await;
        is_ready(test, &web).await;
        let text = test
            .kubectl
            .succeed(&["scale", "tiproxygroup", "web", "--replicas=3"])
            .await;
        assert_eq!(text, "tiproxygroup.core.pingcap.com/web scaled\n");
        is_ready(test, &web).await;
        assert_eq!(pods(test).await.len(), 3);
        let refused = test
            .kubectl
            .run(&["scale", "tpg", "web", "--current-replicas=2", "--replicas=5"])
            .await;
        assert!(
            refused.stderr.contains("Expected replicas to be 2, was 3"),
            "{refused:?}"
        );

        test.kubectl
            .succeed(&["scale", "tpg", "web", "--replicas=0"])
            .await;
        // Those that leave do not keep the group from being Ready.
        is_true(test, &web, "Ready", "ScaledToZero").await;
        eventually(super::fixture::PATIENCE, "all Pods are gone", async || {
            let pods: Vec<_> = pods(test).await.into_keys().collect();
            expect(pods.is_empty(), pods)
        })
        .await;
        let scale = test
            .kubectl
            .succeed(&["get", "tpg", "web", "--subresource=scale", "--output", "json"])
            .await;
        let scale: Value = serde_json::from_str(&scale).expect("kubectl prints JSON");
        // A number that is zero is left out of a Scale.
        assert_eq!(scale["spec"]["replicas"].as_i64().unwrap_or_default(), 0);
        assert_eq!(scale["status"]["replicas"].as_i64().unwrap_or_default(), 0);
        let selector = scale["status"]["selector"].as_str().unwrap_or_default();
        assert!(selector.contains("pingcap.com/group=web"), "{scale}");
    });
}

/// The two ways to apply, with what kubectl says when nothing changed.
const WAYS: [(&str, &[&str], &str); 2] = [
    ("client", &[], "unchanged"),
    ("server", &["--server-side"], "serverside-applied"),
];

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn applying_again_changes_nothing_and_diff_shows_only_the_edit() {
    harness::run(async |test| {
        let _operator = test.start_operator().await;
        for (name, flags, _) in WAYS {
            apply(test, flags, &group(name, 1)).await;
        }
        for (name, ..) in WAYS {
            is_ready(test, &group(name, 1)).await;
        }
        for (name, flags, said) in WAYS {
            let manifest = group(name, 1);
            is_ready(test, &manifest).await;
            let before = (get(test, &manifest).await, versions(test).await);
            assert_eq!(diff(test, flags, &manifest).await, Vec::<String>::new());
            let text = apply(test, flags, &manifest).await;
            assert_eq!(text, format!("tiproxygroup.core.pingcap.com/{name} {said}\n"));
            something_else(test).await;
            let after = get(test, &manifest).await;
            assert_eq!(after.resource_version(), before.0.resource_version());
            assert_eq!(after.metadata.generation, before.0.metadata.generation);
            assert_eq!(versions(test).await, before.1);

            let mut edited = manifest;
            edited["spec"]["template"]["spec"]["version"] = json!("v1.3.1");
            let generation = after.metadata.generation.expect("it has one");
            assert_eq!(
                diff(test, flags, &edited).await,
                [
                    format!("-  generation: {generation}"),
                    format!("+  generation: {}", generation + 1),
                    "-      version: v1.3.0".to_owned(),
                    "+      version: v1.3.1".to_owned(),
                ]
            );
            apply(test, flags, &edited).await;
            is_ready(test, &edited).await;
            assert_eq!(diff(test, flags, &edited).await, Vec::<String>::new());
        }
        // What a first apply has set, a second one takes away again.
        for (name, flags, _) in WAYS {
            let mut manifest = group(name, 1);
            manifest["spec"]["template"]["spec"]["config"] = json!("[log]\nlevel = \"warn\"\n");
            apply(test, flags, &manifest).await;
            is_ready(test, &manifest).await;
            let plain = group(name, 1);
            apply(test, flags, &plain).await;
            eventually(super::fixture::PATIENCE, "the field is gone", async || {
                let object = get(test, &plain).await;
                expect(
                    object.data["spec"]["template"]["spec"].get("config").is_none(),
                    object.data,
                )
            })
            .await;
            is_ready(test, &plain).await;
        }
    });
}

async fn apply(test: &Test, flags: &[&str], manifest: &Value) -> String {
    let arguments = [&["apply", "--filename", "-"], flags].concat();
    test.kubectl
        .succeed_with_input(&arguments, &manifest.to_string())
        .await
}

/// The changed lines that kubectl shows; none when there is no difference.
async fn diff(test: &Test, flags: &[&str], manifest: &Value) -> Vec<String> {
    let arguments = [&["diff", "--filename", "-"], flags].concat();
    let output = test
        .kubectl
        .run_with_input(&arguments, &manifest.to_string())
        .await;
    let lines: Vec<_> = output
        .stdout
        .lines()
        .filter(|line| line.starts_with(['-', '+']) && !line.starts_with("---") && !line.starts_with("+++"))
        // Part of a manifest only, and of the server's side of the comparison.
        .filter(|line| !line.contains("kubectl.kubernetes.io/last-applied-configuration"))
        .filter(|line| !line.trim_start_matches(['-', '+', ' ']).starts_with('{'))
        .map(ToOwned::to_owned)
        .collect();
    let code = i32::from(!lines.is_empty());
    assert_eq!(output.code, Some(code), "{output:?}");
    lines
}
