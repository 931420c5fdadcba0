//! The resource metrics API, as a metrics server provides it: what a `HorizontalPodAutoscaler` asks for. The Pods that
//! are selected share a load.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::Router;
use axum::extract::{Path, RawQuery, State};
use axum::http::{Request, header};
use axum::response::IntoResponse;
use axum::routing::get;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::core::ObjectList;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::task::AbortOnDropHandle;

use super::Test;
use super::cluster::FIELD_MANAGER;
use super::tls;

const GROUP_VERSION: &str = "metrics.k8s.io/v1beta1";
/// On cluster-wide objects of a test: its namespace.
const LABEL: &str = "tiproxy-test";

/// The API; it ends with this value, and the test's namespace takes its registration along.
pub(crate) struct MetricsApi {
    load: Arc<AtomicU64>,
    _task: AbortOnDropHandle<()>,
}

impl MetricsApi {
    /// Registers the API with the API server. Only one test can do so at a time.
    pub(crate) async fn start(test: &Test, millicores: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound address").port();
        let load = Arc::new(AtomicU64::new(millicores));
        let shared = Shared {
            load: Arc::clone(&load),
            client: test.client.clone(),
        };
        let router = Router::new()
            .route(
                "/apis/metrics.k8s.io/v1beta1",
                get(async || as_json(&resources())),
            )
            .route(
                "/apis/metrics.k8s.io/v1beta1/namespaces/{namespace}/pods",
                get(usages),
            )
            .with_state(shared);
        let listener = Encrypted(listener, tls::acceptor());
        let task = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves");
        });
        test.apply(&json!({
            "apiVersion": "v1", "kind": "Service", "metadata": {"name": "metrics"},
            "spec": {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]},
        }))
        .await;
        let registration = json!({
            "apiVersion": "apiregistration.k8s.io/v1", "kind": "APIService",
            "metadata": {"name": "v1beta1.metrics.k8s.io", "labels": {LABEL: test.namespace}},
            "spec": {
                "group": "metrics.k8s.io", "version": "v1beta1",
                "groupPriorityMinimum": 100, "versionPriority": 100, "insecureSkipTLSVerify": true,
                "service": {"namespace": test.namespace, "name": "metrics", "port": port},
            },
        });
        registrations(&test.client)
            .patch(
                "v1beta1.metrics.k8s.io",
                &PatchParams::apply(FIELD_MANAGER).force(),
                &Patch::Apply(&registration),
            )
            .await
            .expect("an API can be registered");
        Self {
            load,
            _task: AbortOnDropHandle::new(task),
        }
    }

    /// How much the selected Pods use together, from now on.
    pub(crate) fn set_load(&self, millicores: u64) {
        self.load.store(millicores, Ordering::Relaxed);
    }
}

/// Removes the registration of a test: one that nobody answers for would keep namespaces from being deleted.
pub(crate) async fn clean(client: &Client, namespace: &str) {
    let labelled = ListParams::default().labels(&format!("{LABEL}={namespace}"));
    let registrations = registrations(client);
    for found in registrations
        .list(&labelled)
        .await
        .expect("registrations can be listed")
    {
        let _ = registrations
            .delete(&found.name_any(), &DeleteParams::default())
            .await;
    }
}

fn registrations(client: &Client) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk("apiregistration.k8s.io", "v1", "APIService");
    Api::all_with(client.clone(), &ApiResource::from_gvk(&kind))
}

#[derive(Clone)]
struct Shared {
    load: Arc<AtomicU64>,
    client: Client,
}

fn as_json(value: &Value) -> impl IntoResponse + use<> {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string())
}

fn resources() -> Value {
    json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": GROUP_VERSION,
        "resources": [
            {"name": "pods", "singularName": "", "namespaced": true, "kind": "PodMetrics", "verbs": ["get", "list"]},
        ],
    })
}

async fn usages(
    State(shared): State<Shared>,
    Path(namespace): Path<String>,
    RawQuery(query): RawQuery,
) -> impl IntoResponse {
    // The same selector selects the Pods.
    let path = format!(
        "/api/v1/namespaces/{namespace}/pods?{}",
        query.unwrap_or_default()
    );
    let request = Request::get(path).body(Vec::new()).expect("a request");
    let pods = shared.client.request::<ObjectList<Pod>>(request).await;
    let pods = pods.map(|list| list.items).unwrap_or_default();
    let each = shared.load.load(Ordering::Relaxed) / u64::try_from(pods.len()).unwrap_or(1).max(1);
    let usage = |pod: &Pod| {
        json!({
            "metadata": {"name": pod.name_any(), "namespace": namespace, "labels": pod.labels()},
            "timestamp": Timestamp::now().to_string(), "window": "1s",
            "containers": [{"name": "tiproxy", "usage": {"cpu": format!("{each}m"), "memory": "1Mi"}}],
        })
    };
    as_json(&json!({
        "kind": "PodMetricsList", "apiVersion": GROUP_VERSION, "metadata": {},
        "items": pods.iter().map(usage).collect::<Vec<_>>(),
    }))
}

/// A listener that speaks TLS, as the API server demands of those behind it.
struct Encrypted(TcpListener, TlsAcceptor);

impl axum::serve::Listener for Encrypted {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let Ok((stream, address)) = self.0.accept().await else {
                continue;
            };
            if let Ok(stream) = self.1.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.0.local_addr()
    }
}
