//! What every test against a cluster needs. A test looks like this:
//!
//! ```text
//! #[test]
//! #[ignore = "needs a cluster: ./hack/test.sh"]
//! fn a_group_becomes_ready() {
//!     harness::run(async |test| {
//!         let history = test.record_history().await;
//!         let audit = test.audit();
//!         let mut operator = test.start_operator().await;
//!         test.apply(&json!({"apiVersion": "core.pingcap.com/v1alpha1", "kind": "TiProxyGroup", ...})).await;
//!         eventually(Duration::from_secs(30), "the group is ready", async || {
//!             let group = test.api::<TiProxyGroup>().get("web").await.unwrap();
//!             let ready = group.status.and_then(|status| status.ready_replicas);
//!             expect(ready == Some(3), ready)
//!         })
//!         .await;
//!         assert_eq!(count(&audit.writes())["create pods 201"], 3);
//!         replay(&history.entries().await, |state, change| assert!(state.len() < 20, "{change:?}"));
//!         assert!(operator.stop().await.success());
//!     });
//! }
//! ```

pub(crate) mod audit;
pub(crate) mod cluster;
pub(crate) mod group;
pub(crate) mod history;
pub(crate) mod kubectl;
pub(crate) mod metrics_api;
pub(crate) mod namespace;
pub(crate) mod node;
pub(crate) mod objects;
pub(crate) mod operator;
pub(crate) mod responder;
pub(crate) mod storage;
pub(crate) mod tls;
pub(crate) mod wait;

use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::FutureExt;
use kube::{Api, Client, Resource};

use audit::Audit;
use cluster::Settings;
use history::History;
use kubectl::Kubectl;
use operator::Operator;

/// How long a test may take before it counts as hanging.
const TIME_LIMIT: Duration = Duration::from_mins(5);

/// What a test works with: a namespace of its own, as the cluster's administrator.
pub(crate) struct Test {
    /// The name of the test.
    pub(crate) name: String,
    /// A client with the administrator's rights.
    pub(crate) client: Client,
    /// The test's own namespace.
    pub(crate) namespace: String,
    /// kubectl, as administrator, in the test's namespace.
    pub(crate) kubectl: Kubectl,
    /// Where the test leaves its logs; it goes when the test succeeds.
    pub(crate) directory: PathBuf,
    settings: &'static Settings,
}

impl Test {
    /// The objects of a kind in the test's namespace.
    pub(crate) fn api<K>(&self) -> Api<K>
    where
        K: Resource<Scope = kube::core::NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        Api::namespaced(self.client.clone(), &self.namespace)
    }

    /// A client with the rights that the operator has.
    pub(crate) async fn operator_client(&self) -> Client {
        cluster::client(&self.settings.operator_kubeconfig).await
    }

    /// A client with the administrator's rights that shows each refusal.
    pub(crate) async fn client_without_retries(&self) -> Client {
        cluster::client_without_retries(&self.settings.kubeconfig).await
    }

    /// Starts the operator for the test's namespace and waits until it is ready. It dies with the returned value.
    pub(crate) async fn start_operator(&self) -> Operator {
        self.start_operator_with(&[]).await
    }

    /// As [`Test::start_operator`], with more arguments.
    pub(crate) async fn start_operator_with(&self, arguments: &[&str]) -> Operator {
        let operator = Operator::spawn(
            &self.settings.operator_kubeconfig,
            &self.namespace,
            &self.directory,
            arguments,
        );
        operator.wait_until_ready().await;
        operator
    }

    /// As [`Test::start_operator`], as whom a kubeconfig says.
    pub(crate) async fn start_operator_as(&self, kubeconfig: &Path) -> Operator {
        let operator = Operator::spawn(kubeconfig, &self.namespace, &self.directory, &[]);
        operator.wait_until_ready().await;
        operator
    }

    /// Counts what the operator asks of the API server in the test's namespace from now on.
    pub(crate) fn audit(&self) -> Audit {
        Audit::from_now(self.settings.audit_log(), &self.namespace)
    }

    /// As [`Test::audit`], where the API server records it.
    pub(crate) fn audit_if_recorded(&self) -> Option<Audit> {
        self.settings.has_audit_log().then(|| self.audit())
    }

    /// Records every change in the test's namespace from now on.
    pub(crate) async fn record_history(&self) -> History {
        History::record(self.client.clone(), &self.namespace).await
    }

    /// How the operator reaches the cluster.
    pub(crate) fn operator_kubeconfig(&self) -> &Path {
        &self.settings.operator_kubeconfig
    }
}

/// Runs a test in a fresh namespace, which goes afterwards whatever happens.
pub(crate) fn run(test: impl AsyncFnOnce(&Test)) {
    run_within(TIME_LIMIT, test);
}

/// As [`run`], with a time limit of the test's own.
pub(crate) fn run_within(limit: Duration, test: impl AsyncFnOnce(&Test)) {
    let settings = Settings::get();
    cluster::prepare(settings, &runtime());
    run_in(settings, limit, test);
}

/// Runs a test for each of some cases, all at the same time, each in a namespace of its own.
pub(crate) fn run_for_each<C>(cases: &[C], test: impl AsyncFn(&Test, C) + Sync)
where
    C: Copy + Send + Sync + std::fmt::Debug,
{
    std::thread::scope(|scope| {
        let threads: Vec<_> = cases
            .iter()
            .map(|case| {
                let run_one = || run(async |context| test(context, *case).await);
                let named = std::thread::Builder::new().name(format!("{case:?}"));
                (case, named.spawn_scoped(scope, run_one).expect("a thread starts"))
            })
            .collect();
        let joined = threads.into_iter().map(|(case, thread)| (case, thread.join()));
        let failed: Vec<_> = joined
            .filter_map(|(case, result)| result.is_err().then_some(case))
            .collect();
        assert!(failed.is_empty(), "failed for {failed:?}");
    });
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .expect("a runtime starts")
}

/// As [`run_within`], in another cluster, in which the test installs what it needs.
pub(crate) fn run_in(settings: &'static Settings, limit: Duration, test: impl AsyncFnOnce(&Test)) {
    runtime().block_on(async {
        let client = cluster::client(&settings.kubeconfig).await;
        let namespace = namespace::create(&client).await;
        let directory = cluster::output_directory().join(&namespace);
        std::fs::create_dir_all(&directory).expect("the test's directory can be made");
        let context = Test {
            name: std::thread::current().name().unwrap_or("main").to_owned(),
            kubectl: Kubectl::new(settings, &namespace, &directory),
            client,
            namespace,
            directory,
            settings,
        };
        let outcome = AssertUnwindSafe(tokio::time::timeout(limit, test(&context)))
            .catch_unwind()
            .await;
        if matches!(outcome, Ok(Ok(()))) {
            std::fs::remove_dir_all(&context.directory).expect("the test's directory can be removed");
        } else {
            namespace::print_state(&context).await;
        }
        namespace::delete(&context.client, &context.namespace).await;
        match outcome {
            Ok(in_time) => assert!(in_time.is_ok(), "not finished within {limit:?}"),
            Err(panic) => resume_unwind(panic),
        }
    });
}
