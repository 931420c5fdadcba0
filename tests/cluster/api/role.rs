//! What the operator may do: no more than it needs.

use super::manifest::documents;
use crate::harness;
use crate::harness::cluster::repository;

#[test]
fn the_role_names_each_right() {
    let role = std::fs::read_to_string(repository("config/rbac/role.yaml")).unwrap();
    let role = documents(&role).remove(0);
    let rules = role["rules"].as_array().unwrap();
    assert!(!rules.is_empty());
    for rule in rules {
        for part in ["apiGroups", "resources", "verbs"] {
            let names = rule[part].as_array().unwrap();
            assert!(names.iter().all(|name| name != "*"), "{rule}");
        }
        let resources = rule["resources"].as_array().unwrap();
        for forbidden in [
            "secrets",
            "nodes/proxy",
            "nodes/status",
            "pods/exec",
            "roles",
            "clusterroles",
            "serviceaccounts/token",
        ] {
            assert!(!resources.iter().any(|name| name == forbidden), "{rule}");
        }
        // So do nodes: only to look.
        if resources.iter().any(|name| name == "nodes") {
            assert_eq!(rule["verbs"], serde_json::json!(["get", "list", "watch"]));
            assert_eq!(resources.len(), 1, "{rule}");
        }
        // Definitions belong to the whole cluster: only those of the kinds here, and only to look.
        if rule["apiGroups"][0] == "apiextensions.k8s.io" {
            assert_eq!(rule["verbs"], serde_json::json!(["get", "list", "watch"]));
            let names = rule["resourceNames"].as_array().unwrap();
            assert!(
                names
                    .iter()
                    .all(|name| name.as_str().unwrap().ends_with(".core.pingcap.com")),
                "{rule}"
            );
        }
    }
}

#[test]
#[ignore = "needs a cluster: ./hack/test.sh"]
fn the_role_and_its_binding_are_accepted() {
    harness::run(async |test| {
        let account = std::fs::read_to_string(repository("config/rbac/service_account.yaml")).unwrap();
        let account = account.replace(
            "namespace: tiproxy-operator",
            &format!("namespace: {}", test.namespace),
        );
        let create = [
            "create",
            "--dry-run=server",
            "--validate=strict",
            "--filename",
            "-",
        ];
        test.kubectl.succeed_with_input(&create, &account).await;
        for file in ["role.yaml", "role_binding.yaml"] {
            let path = repository("config/rbac").join(file);
            let apply = [
                "apply",
                "--server-side",
                "--force-conflicts",
                "--dry-run=server",
                "--validate=strict",
            ];
            let output = test
                .kubectl
                .run(&[&apply[..], &["--filename", path.to_str().unwrap()]].concat())
                .await;
            assert_eq!(
                (output.code, output.stderr.as_str()),
                (Some(0), ""),
                "{file}: {output:?}"
            );
        }
    });
}
