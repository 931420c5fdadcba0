//! What the API server refuses is told within 10 s, and the group goes on when it no longer does.

use std::path::PathBuf;

use k8s_openapi::api::core::v1::Namespace;
use kube::{Api, ResourceExt};
use serde_json::{Value, json};

use super::fixture::{PATIENCE, edit, get, group, is_ready, is_soon_true, pods, restricts};
use crate::harness;
use crate::harness::Test;
use crate::harness::cluster::repository;
use crate::harness::objects::Keep;
use crate::harness::wait::{eventually, expect};

fn holds(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "{part:?} is not in {message:?}");
    }
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_quota_is_named() {
    harness::run(async |test| {
        let quota = |pods: &str| {
            json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "small"},
                "spec": {"hard": {"pods": pods}}})
        };
        test.apply(&quota("1")).await;
        eventually(PATIENCE, "the quota is in force", async || {
            let quota = get(test, &quota("1")).await;
            expect(quota.data["status"]["hard"]["pods"] == json!("1"), quota.data)
        })
        .await;
        let _operator = test.start_operator().await;
        let web = group("web", 2);
        test.apply(&web).await;
        let message = is_soon_true(test, &web, "Stalled", "QuotaExceeded").await;
        holds(
            &message,
            &[
                "cannot create Pod",
                "exceeded quota: small",
                "raise the ResourceQuota",
            ],
        );
        // The other one goes its way.
        eventually(PATIENCE, "one TiProxy is Ready", async || {
            let status = get(test, &web).await.data["status"].clone();
            expect(status["readyReplicas"] == json!(1), status)
        })
        .await;
        test.apply(&quota("2")).await;
        is_ready(test, &web).await;
        assert_eq!(pods(test).await.len(), 2);
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn pod_security_admits_our_pods_at_its_strictest() {
    harness::run(async |test| {
        let labels = [
            "pod-security.kubernetes.io/enforce=restricted",
            "pod-security.kubernetes.io/enforce-version=latest",
        ];
        let arguments = [&["label", "namespace", &test.namespace], &labels[..]].concat();
        test.kubectl.succeed(&arguments).await;
        restricts(test).await;
        let _operator = test.start_operator().await;
        let mut web = group("web", 1);
        web["spec"]["template"]["spec"]["security"] =
            json!({"tls": {"mysql": {"enabled": true}, "backend": {"enabled": true}, "cluster": {}}});
        web["spec"]["template"]["spec"]["resources"] = json!({"cpu": "100m", "memory": "128Mi"});
        test.apply(&web).await;
        is_ready(test, &web).await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_policy_that_denies_is_named() {
    harness::run(async |test| {
        let name = test.namespace.as_str();
        let namespace = Api::<Namespace>::all(test.client.clone())
            .get(name)
            .await
            .expect("it is there");
        // They go with the namespace, whatever becomes of the test.
        let metadata = json!({"name": name, "ownerReferences": [
            {"apiVersion": "v1", "kind": "Namespace", "name": name, "uid": namespace.uid()}]});
        let manifests = [
            json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicy",
                "metadata": metadata, "spec": {
                    "matchConstraints": {"resourceRules": [{"apiGroups": [""], "apiVersions": ["v1"],
                        "operations": ["CREATE"], "resources": ["pods"]}]},
                    "validations": [{"expression": "false", "message": "not before the audit is over"}]}}),
            json!({"apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingAdmissionPolicyBinding",
                "metadata": metadata, "spec": {
                    "policyName": name, "validationActions": ["Deny"],
                    "matchResources": {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}}}),
        ];
        for manifest in &manifests {
            test.kubectl
                .succeed_with_input(&["create", "--filename", "-"], &manifest.to_string())
                .await;
        }
        let probe = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "probe"},
            "spec": {"containers": [{"name": "a", "image": "a"}]}});
        eventually(PATIENCE, "the policy is in force", async || {
            let answer = test.create(&probe, Keep::No).await;
            expect(
                answer.is_err_and(|status| status.message.contains("the audit")),
                (),
            )
        })
        .await;
        let _operator = test.start_operator().await;
        let web = group("web", 1);
        test.apply(&web).await;
        let message = is_soon_true(test, &web, "Stalled", "AdmissionDenied").await;
        holds(
            &message,
            &[
                "cannot create Pod",
                "not before the audit is over",
                name,
                "change the spec or the policy",
            ],
        );
        test.kubectl
            .succeed(&["delete", "validatingadmissionpolicybinding", name])
            .await;
        is_ready(test, &web).await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn a_missing_right_is_named() {
    harness::run(async |test| {
        let full = shipped_role(test).await;
        let mut role = full.clone();
        for rule in role["rules"].as_array_mut().expect("a role has rules") {
            if rule["resources"] == json!(["configmaps", "pods", "services"]) {
                rule["verbs"] = json!(["get", "list", "watch", "update", "patch", "delete"]);
            }
        }
        assert_ne!(role, full);
        let (account, binding) = bound(test);
        for manifest in [&account, &role, &binding] {
            test.apply(manifest).await;
        }
        let kubeconfig = kubeconfig(test, "operator").await;
        let _operator = test.start_operator_as(&kubeconfig).await;
        let web = group("web", 1);
        test.apply(&web).await;
        let message = is_soon_true(test, &web, "Stalled", "Forbidden").await;
        let user = format!("system:serviceaccount:{}:operator", test.namespace);
        holds(&message, &["cannot create ", &user, "config/rbac"]);
        test.apply(&full).await;
        is_ready(test, &web).await;
        edit(test, &web, json!({"spec": {"replicas": 2}})).await;
        is_ready(test, &web).await;
    });
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn without_the_right_to_read_events_everything_but_their_words_goes_on() {
    harness::run(async |test| {
        let full = shipped_role(test).await;
        let mut role = full.clone();
        role["rules"]
            .as_array_mut()
            .expect("a role has rules")
            .retain(|rule| {
                !(rule["resources"] == json!(["events"]) && rule["verbs"] == json!(["get", "list", "watch"]))
            });
        assert_ne!(role, full);
        let (account, binding) = bound(test);
        for manifest in [&account, &role, &binding] {
            test.apply(manifest).await;
        }
        let kubeconfig = kubeconfig(test, "operator").await;
        let operator = test.start_operator_as(&kubeconfig).await;
        let web = group("web", 2);
        test.apply(&web).await;
        is_ready(test, &web).await;
        let log = operator.log();
        let said = log
            .lines()
            .filter(|line| line.contains("watch failed") && line.contains("Event"));
        assert_eq!(said.count(), 1, "{log}");
    });
}

/// The shipped role, in the test's namespace.
async fn shipped_role(test: &Test) -> Value {
    let shipped = repository("config/rbac/role.yaml");
    let role = test
        .kubectl
        .succeed(&[
            "create",
            "--dry-run=client",
            "--output",
            "json",
            "--filename",
            &shipped.to_string_lossy(),
        ])
        .await;
    let mut role: Value = serde_json::from_str(&role).expect("kubectl prints JSON");
    role["kind"] = json!("Role");
    role["metadata"] = json!({"name": "operator"});
    role
}

/// A service account, and what gives it the role.
fn bound(test: &Test) -> (Value, Value) {
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "operator"}});
    let binding = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
        "metadata": {"name": "operator"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "operator"},
        "subjects": [{"kind": "ServiceAccount", "name": "operator", "namespace": test.namespace}]});
    (account, binding)
}

/// A kubeconfig with the token of a service account.
async fn kubeconfig(test: &Test, account: &str) -> PathBuf {
    let config = test
        .kubectl
        .succeed(&["config", "view", "--raw", "--minify", "--output", "json"])
        .await;
    let token = test.kubectl.succeed(&["create", "token", account]).await;
    let mut config: Value = serde_json::from_str(&config).expect("kubectl prints JSON");
    config["users"][0]["user"] = json!({"token": token.trim()});
    // Not among the files that are shown when the test fails.
    let directory = test.directory.join("secret");
    std::fs::create_dir_all(&directory).expect("the test's directory can be written");
    let path = directory.join("kubeconfig");
    std::fs::write(&path, config.to_string()).expect("the test's directory can be written");
    path
}
