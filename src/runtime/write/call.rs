//! One request of a writer.

use axum::http::{HeaderValue, Request, header};
use kube::api::{PatchParams, PostParams};

use super::{Target, Writable, WriteError, WriteFailure};

/// What is being tried, for requests and for errors.
pub(super) struct Call {
    verb: &'static str,
    kind: String,
    pub(super) namespace: String,
    pub(super) name: String,
}

impl Call {
    pub(super) fn new<K: Writable>(verb: &'static str, namespace: &str, name: &str) -> Self {
        let kind = K::kind(&()).into_owned();
        Self {
            verb,
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }

    pub(super) fn to<K: Writable>(verb: &'static str, object: &K) -> Self {
        let meta = object.meta();
        let (namespace, name) = (meta.namespace.as_deref(), meta.name.as_deref());
        Self::new::<K>(verb, namespace.unwrap_or_default(), name.unwrap_or_default())
    }

    pub(super) fn at<K: Writable>(verb: &'static str, target: &Target) -> Self {
        Self::new::<K>(verb, &target.namespace, &target.name)
    }

    pub(super) fn requests<K: Writable>(&self) -> kube::core::Request {
        kube::core::Request::new(K::url_path(&(), Some(&self.namespace)))
    }

    pub(super) fn encode<K: Writable>(&self, object: &K) -> Result<Vec<u8>, WriteError> {
        serde_json::to_vec(object).map_err(|error| self.refused(&error.to_string()))
    }

    pub(super) fn failed(&self, error: &kube::Error) -> WriteError {
        let (reason, message) = WriteFailure::of(error);
        self.error(reason, message)
    }

    pub(super) fn not_sent(&self, error: &kube::core::request::Error) -> WriteError {
        self.refused(&error.to_string())
    }

    pub(super) fn refused(&self, why: &str) -> WriteError {
        self.error(WriteFailure::Refused, why.to_owned())
    }

    fn error(&self, reason: WriteFailure, message: String) -> WriteError {
        let Self {
            verb,
            kind,
            namespace,
            name,
        } = self;
        let (kind, namespace, name) = (kind.clone(), namespace.clone(), name.clone());
        WriteError {
            reason,
            verb,
            kind,
            namespace,
            name,
            message,
        }
    }
}

pub(super) fn posted_by(manager: &str) -> PostParams {
    PostParams {
        dry_run: false,
        field_manager: Some(manager.to_owned()),
    }
}

/// Nothing is stored.
pub(super) fn judged_only(manager: &str) -> PostParams {
    PostParams {
        dry_run: true,
        ..posted_by(manager)
    }
}

pub(super) fn patched_by(manager: &str) -> PatchParams {
    PatchParams {
        field_manager: Some(manager.to_owned()),
        ..PatchParams::default()
    }
}

/// kube cannot ask for this on a POST or PUT.
pub(super) fn validated_strictly(mut request: Request<Vec<u8>>) -> Request<Vec<u8>> {
    let separator = if request.uri().query().is_some() { '&' } else { '?' };
    let uri = format!("{}{separator}fieldValidation=Strict", request.uri());
    // What was a URI stays one when a plain query parameter is added.
    if let Ok(uri) = uri.parse() {
        *request.uri_mut() = uri;
    }
    request
}

/// kube's own JSON patch needs a feature that brings two more crates, for the same bytes and this header.
pub(super) fn as_json_patch(mut request: Request<Vec<u8>>) -> Request<Vec<u8>> {
    let media_type = HeaderValue::from_static("application/json-patch+json");
    request.headers_mut().insert(header::CONTENT_TYPE, media_type);
    request
}
