//! What the operator asked of the API server, from the API server's own audit log.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::cluster::OPERATOR_USER;

/// The operator's requests in one namespace since a point in time.
pub(crate) struct Audit {
    path: PathBuf,
    namespace: String,
    offset: u64,
}

/// One request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) verb: String,
    /// The resource, with its subresource: `pods`, `tiproxies/status`.
    pub(crate) resource: String,
    /// The object's name; empty for lists and watches, and for a create.
    pub(crate) name: String,
    /// The HTTP status of the answer.
    pub(crate) code: u16,
    /// When the request came in, as RFC 3339 with microseconds.
    pub(crate) received: String,
    /// What a delete was bound to.
    pub(crate) preconditions: Option<Preconditions>,
}

/// Which object, in which state, a delete may take.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct Preconditions {
    pub(crate) uid: Option<String>,
    pub(crate) resource_version: Option<String>,
}

impl Request {
    /// Whether it is a write that counts: Events and leases do not.
    pub(crate) fn is_write(&self) -> bool {
        matches!(
            self.verb.as_str(),
            "create" | "update" | "patch" | "delete" | "deletecollection"
        ) && !matches!(self.resource.as_str(), "events" | "leases")
    }
}

impl Audit {
    pub(crate) fn from_now(path: &Path, namespace: &str) -> Self {
        let mut audit = Self {
            path: path.to_owned(),
            namespace: namespace.to_owned(),
            offset: 0,
        };
        audit.restart();
        audit
    }

    /// Forgets what was before now.
    pub(crate) fn restart(&mut self) {
        self.offset = std::fs::metadata(&self.path)
            .expect("the audit log is there")
            .len();
    }

    /// All requests so far. A watch is a request only when it has ended.
    pub(crate) fn requests(&self) -> Vec<Request> {
        let mut file = File::open(&self.path).expect("the audit log can be read");
        file.seek(SeekFrom::Start(self.offset.saturating_sub(1)))
            .expect("the audit log only grows");
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).expect("the audit log can be read");
        let text = String::from_utf8_lossy(&bytes);
        // What was half written at the beginning is of before, and the last line may be half written.
        let begin = if self.offset == 0 {
            0
        } else {
            text.find('\n').map_or(text.len(), |end| end + 1)
        };
        let text = &text[begin..];
        let complete = text.rfind('\n').map_or("", |end| &text[..end]);
        complete
            .lines()
            .map(|line| serde_json::from_str::<Line>(line).expect("a line of the audit log is JSON"))
            .filter_map(|line| line.request_in(&self.namespace))
            .collect()
    }

    /// The writes so far, Events and leases aside.
    pub(crate) fn writes(&self) -> Vec<Request> {
        self.requests().into_iter().filter(Request::is_write).collect()
    }
}

/// How often each request was made, by a text such as `patch tiproxies/status 200`.
pub(crate) fn count(requests: &[Request]) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in requests {
        let key = format!("{} {} {}", request.verb, request.resource, request.code);
        *counts.entry(key).or_default() += 1;
    }
    counts
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Line {
    verb: String,
    user: User,
    object_ref: Option<ObjectReference>,
    request_object: Option<DeleteOptions>,
    response_status: Option<ResponseStatus>,
    request_received_timestamp: String,
}

/// Only the bodies of deletes are recorded.
#[derive(Deserialize)]
struct DeleteOptions {
    preconditions: Option<Preconditions>,
}

#[derive(Deserialize)]
struct User {
    username: String,
}

#[derive(Deserialize)]
#[serde(default, rename_all = "camelCase")]
#[derive(Default)]
struct ObjectReference {
    resource: String,
    subresource: String,
    namespace: String,
    name: String,
}

#[derive(Deserialize)]
struct ResponseStatus {
    code: u16,
}

impl Line {
    fn request_in(self, namespace: &str) -> Option<Request> {
        let object = self.object_ref?;
        if self.user.username != OPERATOR_USER || object.namespace != namespace {
            return None;
        }
        let resource = if object.subresource.is_empty() {
            object.resource
        } else {
            format!("{}/{}", object.resource, object.subresource)
        };
        Some(Request {
            verb: self.verb,
            resource,
            name: object.name,
            code: self.response_status.map_or(0, |status| status.code),
            received: self.request_received_timestamp,
            preconditions: self.request_object.and_then(|options| options.preconditions),
        })
    }
}
