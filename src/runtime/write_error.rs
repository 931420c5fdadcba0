//! Why a write did not happen, sorted by who can help.

use std::fmt;

use kube::core::Status;

use super::error_chain::with_sources;
use super::runner::{ErrorCategory, ReconcileError};

/// What the API server says of a JSON patch whose test fails, which with our patches means another UID.
const FAILED_PATCH: &str = "the server rejected our request due to an error in our request";
/// The most bytes of a message that are kept.
const MOST_MESSAGE: usize = 1024;

/// A write, or the read before one, that failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot {verb} {kind} {namespace}/{name}: {message}")]
pub struct WriteError {
    /// Why.
    pub reason: WriteFailure,
    /// What was tried.
    pub verb: &'static str,
    /// The kind of the object.
    pub kind: String,
    /// The namespace of the object.
    pub namespace: String,
    /// The name of the object.
    pub name: String,
    /// The API server's own words, or what went wrong on the way to it.
    pub message: String,
}

/// How the API server begins to tell of fields that it does not know.
const STRICT_DECODING: &str = "strict decoding error";
const UNKNOWN_FIELD: &str = "unknown field";

/// Why a write failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WriteFailure {
    /// The object is not the one, or no longer in the state, that the write was decided for.
    Conflict,
    /// The object, or its namespace, is not there.
    NotFound,
    /// Another object has the name.
    AlreadyExists,
    /// Our service account lacks a right, or its credentials were refused.
    Forbidden,
    /// A `ResourceQuota` is used up.
    QuotaExceeded,
    /// The namespace is being deleted: nothing can be created in it.
    NamespaceTerminating,
    /// A webhook, an admission policy or an admission plugin said no.
    AdmissionDenied,
    /// The API server finds the object invalid.
    Invalid,
    /// The API server does not know one of its fields: the kind is defined otherwise than we know it.
    UnknownField,
    /// The write would break our own rules and was not sent.
    Refused,
    /// The server was not reached, was too busy, or failed. The write may have happened.
    Transient,
}

impl WriteFailure {
    /// The name of this failure, for labels and logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Conflict => "Conflict",
            Self::NotFound => "NotFound",
            Self::AlreadyExists => "AlreadyExists",
            Self::Forbidden => "Forbidden",
            Self::QuotaExceeded => "QuotaExceeded",
            Self::NamespaceTerminating => "NamespaceTerminating",
            Self::AdmissionDenied => "AdmissionDenied",
            Self::Invalid => "Invalid",
            Self::UnknownField => "UnknownField",
            Self::Refused => "Refused",
            Self::Transient => "Transient",
        }
    }

    /// What kube's error means, and its message.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "all other errors of the client are failures on the way"
    )]
    pub(super) fn of(error: &kube::Error) -> (Self, String) {
        match error {
            kube::Error::Api(status) => (Self::of_status(status), concise(&status.message)),
            kube::Error::BuildRequest(error) => (Self::Refused, error.to_string()),
            error => (Self::Transient, with_sources(error)),
        }
    }

    fn of_status(status: &Status) -> Self {
        let has_cause = |wanted: &str| {
            let details = status.details.as_ref();
            details.is_some_and(|details| details.causes.iter().any(|cause| cause.reason == wanted))
        };
        let says = |part: &str| status.message.contains(part);
        // By what they say first: webhooks and policies choose their own code.
        if says("denied the request") || says("denied request:") {
            return Self::AdmissionDenied;
        }
        match status.code {
            404 => Self::NotFound,
            409 if status.is_already_exists() => Self::AlreadyExists,
            409 => Self::Conflict,
            // A patch that carries the UID of another object tries to change an immutable field.
            422 if concerns_uid(status) || says(FAILED_PATCH) => Self::Conflict,
            400 | 422 if says(STRICT_DECODING) && says(UNKNOWN_FIELD) => Self::UnknownField,
            400 | 405 | 406 | 413 | 415 | 422 => Self::Invalid,
            403 if has_cause("NamespaceTerminating") => Self::NamespaceTerminating,
            403 if says("exceeded quota") => Self::QuotaExceeded,
            403 if says("User \"") || says("cannot set blockOwnerDeletion") => Self::Forbidden,
            // What admission plugins such as PodSecurity and LimitRanger say.
            403 if says(" is forbidden: ") => Self::AdmissionDenied,
            401 | 403 => Self::Forbidden,
            _ => Self::Transient,
        }
    }
}

impl fmt::Display for WriteFailure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

impl ReconcileError for WriteError {
    fn category(&self) -> ErrorCategory {
        match self.reason {
            // Not found and already there mean that a cache is behind, just as a conflict.
            WriteFailure::Conflict | WriteFailure::NotFound | WriteFailure::AlreadyExists => {
                ErrorCategory::Conflict
            }
            WriteFailure::Forbidden
            | WriteFailure::QuotaExceeded
            | WriteFailure::AdmissionDenied
            | WriteFailure::Transient => ErrorCategory::Transient,
            WriteFailure::NamespaceTerminating
            | WriteFailure::Invalid
            | WriteFailure::UnknownField
            | WriteFailure::Refused => ErrorCategory::Invalid,
        }
    }
}

fn concerns_uid(status: &Status) -> bool {
    let causes = status
        .details
        .as_ref()
        .map(|details| details.causes.as_slice())
        .unwrap_or_default();
    causes.iter().any(|cause| cause.field == "metadata.uid")
}

/// The paths of the fields that a message calls unknown.
pub fn unknown_fields(message: &str) -> impl Iterator<Item = &str> {
    message
        .split(UNKNOWN_FIELD)
        .skip(1)
        .filter_map(|rest| rest.strip_prefix(" \"")?.split('"').next())
}

/// The API server puts whole objects into some messages, and what is wrong with them at the end.
fn concise(message: &str) -> String {
    let start = message.find(STRICT_DECODING).unwrap_or_default();
    let said = message.get(start..).unwrap_or_default();
    let end = said.floor_char_boundary(MOST_MESSAGE);
    let dots = if end < said.len() { "..." } else { "" };
    format!("{}{dots}", said.get(..end).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::ErrorCategory::{Conflict, Invalid, Transient};
    use super::*;

    #[test]
    fn failures_are_sorted_by_who_can_help() {
        let quota = r#"pods "a" is forbidden: exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1"#;
        let right = r#"pods is forbidden: User "system:serviceaccount:ns:operator" cannot create resource "pods" in API group "" in the namespace "ns""#;
        let owner = r#"pods "a" is forbidden: cannot set blockOwnerDeletion if an ownerReference refers to a resource you can't set finalizers on: , <nil>"#;
        let security = r#"pods "a" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false"#;
        let webhook = r#"admission webhook "policy.example.com" denied the request: no"#;
        let policy =
            r#"pods "a" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: no"#;
        let strict = r#"strict decoding error: unknown field "spec.colour""#;
        let taken = r#"pods "a" already exists"#;
        assert_sorted(
            WriteFailure::Conflict,
            Conflict,
            &[
                (409, "Conflict", "the object has been modified"),
                (422, "Invalid", FAILED_PATCH),
            ],
        );
        assert_sorted(
            WriteFailure::AlreadyExists,
            Conflict,
            &[(409, "AlreadyExists", taken)],
        );
        let missing = [
            (404, "NotFound", r#"pods "a" not found"#),
            (404, "", "404 page not found"),
        ];
        assert_sorted(WriteFailure::NotFound, Conflict, &missing);
        assert_sorted(
            WriteFailure::QuotaExceeded,
            Transient,
            &[(403, "Forbidden", quota)],
        );
        let forbidden = [
            (403, "Forbidden", right),
            (403, "Forbidden", owner),
            (403, "", "no"),
            (401, "", "no"),
        ];
        assert_sorted(WriteFailure::Forbidden, Transient, &forbidden);
        let denied = [
            (403, "Forbidden", security),
            (400, "", webhook),
            (422, "Invalid", policy),
        ];
        assert_sorted(WriteFailure::AdmissionDenied, Transient, &denied);
        let invalid = [(422, "Invalid", "must not be negative"), (413, "", "too large")];
        assert_sorted(WriteFailure::Invalid, Invalid, &invalid);
        let unknown = [(400, "BadRequest", strict), (422, "Invalid", strict)];
        assert_sorted(WriteFailure::UnknownField, Invalid, &unknown);
        let passing = [
            (429, "TooManyRequests", "later"),
            (503, "", "not ready"),
            (504, "Timeout", "timed out"),
        ];
        assert_sorted(WriteFailure::Transient, Transient, &passing);
        let broken = [(500, "InternalError", "failed calling webhook"), (0, "", "")];
        assert_sorted(WriteFailure::Transient, Transient, &broken);
    }

    fn assert_sorted(failure: WriteFailure, category: ErrorCategory, answers: &[(u16, &str, &str)]) {
        for (code, reason, message) in answers {
            let status = Status::failure(message, reason).with_code(*code);
            let (found, said) = WriteFailure::of(&kube::Error::Api(status.boxed()));
            assert_eq!((found, said.as_str()), (failure, *message), "{code} {message}");
            let (kind, namespace, name) = ("Pod".to_owned(), "ns".to_owned(), "a".to_owned());
            let error = WriteError {
                reason: found,
                verb: "create",
                kind,
                namespace,
                name,
                message: said,
            };
            assert_eq!(error.category(), category, "{code} {message}");
            assert_eq!(error.to_string(), format!("cannot create Pod ns/a: {message}"));
        }
    }

    #[test]
    fn a_message_is_cut_down_to_what_is_wrong() {
        let dump = format!(
            r#"" is invalid: patch: Invalid value: "{}": {}"#,
            "x".repeat(9999),
            "strict decoding error: y"
        );
        assert_eq!(concise(&dump), "strict decoding error: y");
        assert_eq!(concise("short"), "short");
        assert_eq!(concise(&"ä".repeat(600)), format!("{}...", "ä".repeat(512)));
    }

    #[test]
    fn causes_decide_where_the_message_does_not() {
        for (code, cause, expected) in [
            (
                403,
                json!({ "reason": "NamespaceTerminating" }),
                WriteFailure::NamespaceTerminating,
            ),
            (
                422,
                json!({ "reason": "FieldValueInvalid", "field": "metadata.uid" }),
                WriteFailure::Conflict,
            ),
            (
                422,
                json!({ "reason": "FieldValueInvalid", "field": "spec.port" }),
                WriteFailure::Invalid,
            ),
        ] {
            let status = json!({ "code": code, "message": "m", "details": { "causes": [cause] } });
            let status: Status = serde_json::from_value(status).unwrap();
            assert_eq!(WriteFailure::of_status(&status), expected, "{status:?}");
        }
    }

    #[test]
    fn unknown_fields_are_found_in_the_message() {
        let message = r#"strict decoding error: unknown field "status.a", unknown field "status.b.c""#;
        assert_eq!(
            unknown_fields(message).collect::<Vec<_>>(),
            ["status.a", "status.b.c"]
        );
        assert_eq!(unknown_fields("unknown field").count(), 0);
    }
}
