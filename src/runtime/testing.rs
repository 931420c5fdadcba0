//! Objects and an in-memory API server for the tests of this module.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::http::{Request, Response};
use futures::StreamExt;
use k8s_openapi::api::core::v1::ConfigMap;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::Client;
use serde_json::{Value, json};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

/// A `ConfigMap` of the namespace `ns`.
pub(crate) fn config_map(name: &str, uid: &str, version: u64) -> ConfigMap {
    let metadata = ObjectMeta {
        namespace: Some("ns".to_owned()),
        name: Some(name.to_owned()),
        uid: Some(uid.to_owned()),
        resource_version: Some(version.to_string()),
        ..ObjectMeta::default()
    };
    ConfigMap {
        metadata,
        ..ConfigMap::default()
    }
}

/// The same with a controlling owner.
pub(crate) fn owned(mut object: ConfigMap, owner: &str) -> ConfigMap {
    let reference = OwnerReference {
        uid: owner.to_owned(),
        controller: Some(true),
        name: format!("owner-{owner}"),
        ..OwnerReference::default()
    };
    object.metadata.owner_references = Some(vec![reference]);
    object
}

/// What tests compare: name, UID and resourceVersion.
pub(crate) fn brief(object: &ConfigMap) -> String {
    let meta = &object.metadata;
    let [name, uid, version] =
        [&meta.name, &meta.uid, &meta.resource_version].map(|field| field.clone().unwrap());
    format!("{name}/{uid}@{version}")
}

pub(crate) fn briefs<'list>(objects: impl IntoIterator<Item = &'list Arc<ConfigMap>>) -> Vec<String> {
    objects.into_iter().map(|object| brief(object)).collect()
}

/// A request as the API server got it.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Call {
    pub(crate) method: String,
    /// Path and query.
    pub(crate) uri: String,
    pub(crate) content_type: String,
    pub(crate) body: Value,
}

impl Call {
    pub(crate) fn is_watch(&self) -> bool {
        self.uri.contains("watch=true")
    }
}

/// What the API server answers.
pub(crate) enum Reply {
    Json(u16, Value),
    Watch(UnboundedReceiver<String>),
}

impl Reply {
    pub(crate) fn ok(object: &impl serde::Serialize) -> Self {
        Self::Json(200, serde_json::to_value(object).unwrap())
    }

    pub(crate) fn list(objects: &[impl serde::Serialize], version: u64) -> Self {
        Self::Json(
            200,
            json!({ "metadata": { "resourceVersion": version.to_string() }, "items": objects }),
        )
    }

    pub(crate) fn status(code: u16, reason: &str, message: &str) -> Self {
        let status = json!({ "kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message });
        Self::Json(code, status)
    }

    /// A watch that sends what is put into the sender, and ends with it.
    pub(crate) fn watch() -> (UnboundedSender<String>, Self) {
        let (sender, receiver) = unbounded_channel();
        (sender, Self::Watch(receiver))
    }
}

/// One line of a watch.
pub(crate) fn line(type_: &str, object: &impl serde::Serialize) -> String {
    format!("{}\n", json!({ "type": type_, "object": object }))
}

/// The calls so far, and a client whose calls the handler answers.
pub(crate) fn fake_api(
    handler: impl FnMut(&Call) -> Reply + Send + 'static,
) -> (Arc<Mutex<Vec<Call>>>, Client) {
    let calls: Arc<Mutex<Vec<Call>>> = Arc::default();
    let (recorded, handler) = (Arc::clone(&calls), Arc::new(Mutex::new(handler)));
    let service = tower::service_fn(move |request: Request<kube::client::Body>| {
        let (recorded, handler) = (Arc::clone(&recorded), Arc::clone(&handler));
        async move {
            let (parts, body) = request.into_parts();
            let body = body.collect_bytes().await.unwrap();
            let content_type = parts
                .headers
                .get("content-type")
                .map_or("", |value| value.to_str().unwrap());
            let call = Call {
                method: parts.method.to_string(),
                uri: parts.uri.to_string(),
                content_type: content_type.to_owned(),
                body: serde_json::from_slice(&body).unwrap_or_default(),
            };
            recorded.lock().unwrap().push(call.clone());
            let reply = handler.lock().unwrap()(&call);
            let (code, body) = match reply {
                Reply::Json(code, value) => (code, Body::from(value.to_string())),
                Reply::Watch(lines) => {
                    let lines = futures::stream::unfold(lines, async |mut lines| {
                        lines.recv().await.map(|line| (line, lines))
                    });
                    (200, Body::from_stream(lines.map(Ok::<_, Infallible>)))
                }
            };
            Ok::<_, Infallible>(Response::builder().status(code).body(body).unwrap())
        }
    });
    (calls, Client::new(service, "ns"))
}
