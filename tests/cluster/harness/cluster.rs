//! Which cluster the tests run against, and what they need there beforehand.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use k8s_openapi::api::rbac::v1::{ClusterRoleBinding, RoleRef, Subject};
use kube::api::{Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};

use super::kubectl::Kubectl;
use super::wait::{eventually, expect};

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

    /// Whether the API server records what the operator asks for: in a local cluster, not in a user's.
    pub(crate) fn has_audit_log(&self) -> bool {
        self.audit_log.is_some()
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
    Client::try_from(config(kubeconfig).await).expect("a client can be made")
}

/// As [`client`]; it shows each refusal, where the other asks again when the server says that it is too early.
pub(crate) async fn client_without_retries(kubeconfig: &Path) -> Client {
    let mut config = config(kubeconfig).await;
    config.default_retry = false;
    Client::try_from(config).expect("a client can be made")
}

async fn config(kubeconfig: &Path) -> Config {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("the kubeconfig can be read");
    Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .expect("the kubeconfig is valid")
}

/// Installs the definitions and grants the operator's rights, once for all tests of this process. In a cluster of
/// the user's, which has no audit log for us, that is up to `hack/test.sh`: its definitions may be somebody else's.
pub(crate) fn prepare(settings: &'static Settings, runtime: &tokio::runtime::Runtime) {
    static PREPARED: OnceLock<()> = OnceLock::new();
    PREPARED.get_or_init(|| {
        let directory = output_directory().join(format!("prepare-{}", std::process::id()));
        let kubectl = Kubectl::new(settings, "default", &directory);
        runtime.block_on(async {
            if settings.audit_log.is_some() {
                install(&kubectl).await;
                bind_role(settings).await;
            }
            wait_until_served(&kubectl).await;
        });
        std::fs::remove_dir_all(&directory).expect("kubectl's cache can be removed");
    });
}

async fn install(kubectl: &Kubectl) {
    let path = |path: &str| repository(path).to_string_lossy().into_owned();
    let (crds, optional, role) = (
        path("config/crd"),
        path("config/crd/optional"),
        path("config/rbac/role.yaml"),
    );
    let definitions = ["--filename", &crds, "--filename", &optional];
    let apply = ["apply", "--server-side", "--force-conflicts"];
    kubectl.succeed(&[&apply[..], &definitions[..]].concat()).await;
    kubectl
        .succeed(&[&apply[..], &["--filename", &role]].concat())
        .await;
    let established = ["wait", "--for=condition=Established", "--timeout=30s"];
    kubectl
        .succeed(&[&established[..], &definitions[..]].concat())
        .await;
}

/// Until discovery has the short names, a kubectl that asks would not know them, and remember that.
async fn wait_until_served(kubectl: &Kubectl) {
    eventually(Duration::from_secs(30), "the kinds are served", async || {
        let kinds = kubectl
            .succeed(&["api-resources", "--api-group=core.pingcap.com", "--no-headers"])
            .await;
        expect(kinds.lines().count() >= 3, kinds)
    })
    .await;
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
