//! Which cluster the tests run against, and what they need there beforehand.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleRef, Subject};
use kube::api::{Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

/// Only this variable chooses the cluster; whatever `KUBECONFIG` says is left alone.
const KUBECONFIG: &str = "TIPROXY_OPERATOR_TEST_KUBECONFIG";
const OPERATOR_KUBECONFIG: &str = "TIPROXY_OPERATOR_TEST_OPERATOR_KUBECONFIG";
const AUDIT_LOG: &str = "TIPROXY_OPERATOR_TEST_AUDIT_LOG";
const KUBECTL: &str = "TIPROXY_OPERATOR_TEST_KUBECTL";

/// The user that the local cluster's operator authenticates as.
pub(crate) const OPERATOR_USER: &str = "tiproxy-operator";
/// Who writes when a test does.
pub(crate) const FIELD_MANAGER: &str = "tiproxy-operator-test";

/// Where things are, from the environment.
#[derive(Debug)]
pub(crate) struct Settings {
    pub(crate) kubeconfig: PathBuf,
    pub(crate) operator_kubeconfig: PathBuf,
    pub(crate) kubectl: PathBuf,
    audit_log: Option<PathBuf>,
}

impl Settings {
    /// The settings; a test that runs without a cluster fails and says what to do.
    pub(crate) fn get() -> &'static Self {
        static SETTINGS: OnceLock<Settings> = OnceLock::new();
        SETTINGS.get_or_init(|| {
            let variable = |name| std::env::var_os(name).map(PathBuf::from);
            let Some(kubeconfig) = variable(KUBECONFIG) else {
                panic!("these tests need a cluster: run ./hack/test.sh, or set {KUBECONFIG}");
            };
            Self {
                operator_kubeconfig: variable(OPERATOR_KUBECONFIG).unwrap_or_else(|| kubeconfig.clone()),
                kubeconfig,
                kubectl: variable(KUBECTL).unwrap_or_else(|| "kubectl".into()),
                audit_log: variable(AUDIT_LOG),
            }
        })
    }

    /// Those of a cluster that a test has started for itself.
    pub(crate) fn of(kubeconfig: PathBuf, operator_kubeconfig: PathBuf, kubectl: PathBuf) -> Self {
        Self {
            kubeconfig,
            operator_kubeconfig,
            kubectl,
            audit_log: None,
        }
    }

    /// The API server's audit log; a test that counts requests fails without one.
    pub(crate) fn audit_log(&self) -> &Path {
        let Some(path) = &self.audit_log else {
            panic!("counting requests needs the API server's audit log: set {AUDIT_LOG}");
        };
        path
    }
}

/// Where tests leave files, below `target/`.
pub(crate) fn output_directory() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join("cluster")
}

/// A file of the repository.
pub(crate) fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// A client by a kubeconfig.
pub(crate) async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("the kubeconfig can be read");
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .expect("the kubeconfig is valid");
    Client::try_from(config).expect("a client can be made")
}

/// Installs the definitions and grants the operator's rights, once for all tests of this process.
pub(crate) fn prepare(settings: &Settings, runtime: &tokio::runtime::Runtime) {
    static PREPARED: OnceLock<()> = OnceLock::new();
    PREPARED.get_or_init(|| {
        let crds = repository("config/crd");
        let optional = crds.join("optional");
        let definitions = [
            "--filename",
            &crds.to_string_lossy(),
            "--filename",
            &optional.to_string_lossy(),
        ];
        let role = repository("config/rbac/role.yaml");
        let apply = ["apply", "--server-side", "--force-conflicts"];
        kubectl(settings, &[&apply[..], &definitions[..]].concat());
        kubectl(
            settings,
            &[&apply[..], &["--filename", &role.to_string_lossy()]].concat(),
        );
        kubectl(
            settings,
            &[
                &["wait", "--for=condition=Established", "--timeout=30s"],
                &definitions[..],
            ]
            .concat(),
        );
        runtime.block_on(bind_role(settings));
    });
}

/// Gives the operator's user the role that is shipped for its service account.
pub(crate) async fn bind_role(settings: &Settings) {
    let name = format!("{OPERATOR_USER}-test");
    let binding = ClusterRoleBinding {
        metadata: kube::api::ObjectMeta {
            name: Some(name.clone()),
            ..Default::default()
        },
        role_ref: RoleRef {
            api_group: "rbac.authorization.k8s.io".into(),
            kind: "ClusterRole".into(),
            name: "tiproxy-operator".into(),
        },
        subjects: Some(vec![Subject {
            api_group: Some("rbac.authorization.k8s.io".into()),
            kind: "User".into(),
            name: OPERATOR_USER.into(),
            namespace: None,
        }]),
    };
    Api::<ClusterRoleBinding>::all(client(&settings.kubeconfig).await)
        .patch(
            &name,
            &PatchParams::apply(FIELD_MANAGER).force(),
            &Patch::Apply(&binding),
        )
        .await
        .expect("the operator's role can be bound");
}

fn kubectl(settings: &Settings, arguments: &[&str]) {
    let output = Command::new(&settings.kubectl)
        .env_remove("KUBECONFIG")
        .env("KUBECACHEDIR", kubectl_cache())
        .arg("--kubeconfig")
        .arg(&settings.kubeconfig)
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("kubectl can be started");
    assert!(
        output.status.success(),
        "kubectl {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// One cache per process: another cluster may have had the same address before.
pub(crate) fn kubectl_cache() -> PathBuf {
    output_directory().join(format!("kubectl-cache-{}", std::process::id()))
}
