//! What stops progress, and the three conditions that tell it: `Ready`, `Reconciling` and `Stalled`.

use kube::Resource;

use crate::api::condition::{ConditionType, Reason};
use crate::api::{TiProxy, TiProxyGroup};
use crate::ownership;
use crate::proxy_config::Diagnosis;
use crate::runtime::condition::{NewCondition, Status};
use crate::runtime::runner::{ErrorCategory, ReconcileError};
use crate::runtime::write_error::{WriteError, WriteFailure};

/// How far the work on an object is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Where it stands.
    pub state: State,
    /// Why.
    pub reason: Reason,
    /// In words for the user: object, field, value, what is allowed, what to do.
    pub message: String,
}

/// Where the work on an object stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Everything asked for is there.
    Done,
    /// The work goes on by itself.
    Working,
    /// Somebody has to change something.
    Stalled,
    /// There is nothing to do, and nothing serves, because somebody asked for that.
    Suspended,
}

impl Progress {
    /// Everything asked for is there.
    #[must_use]
    pub fn done(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            state: State::Done,
            reason,
            message: message.into(),
        }
    }

    /// The work goes on by itself.
    #[must_use]
    pub fn working(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            state: State::Working,
            reason,
            message: message.into(),
        }
    }

    /// Somebody has to change something.
    #[must_use]
    pub fn stalled(reason: Reason, message: impl Into<String>) -> Self {
        Self {
            state: State::Stalled,
            reason,
            message: message.into(),
        }
    }

    /// There is nothing to do, and nothing serves, because the Cluster asks for that.
    #[must_use]
    pub fn suspended(message: impl Into<String>) -> Self {
        Self {
            state: State::Suspended,
            reason: Reason::Suspended,
            message: message.into(),
        }
    }

    /// The conditions `Ready`, `Reconciling` and `Stalled`.
    #[must_use]
    pub fn conditions(&self, generation: Option<i64>) -> [NewCondition; 3] {
        let of = |condition_type, holds| {
            new_condition(condition_type, holds, self.reason, &self.message, generation)
        };
        [
            of(ConditionType::Ready, self.state == State::Done),
            of(ConditionType::Reconciling, self.state == State::Working),
            of(ConditionType::Stalled, self.state == State::Stalled),
        ]
    }
}

/// A condition of a closed type and reason.
#[must_use]
pub fn new_condition(
    condition_type: ConditionType,
    holds: bool,
    reason: Reason,
    message: &str,
    generation: Option<i64>,
) -> NewCondition {
    condition_of(condition_type, Status::from(holds), reason, message, generation)
}

/// As [`new_condition`], also for what cannot be told.
#[must_use]
pub fn condition_of(
    condition_type: ConditionType,
    status: Status,
    reason: Reason,
    message: &str,
    generation: Option<i64>,
) -> NewCondition {
    NewCondition {
        type_: condition_type.as_str().to_owned(),
        status,
        reason: reason.as_str().to_owned(),
        message: shortened(message),
        observed_generation: generation,
    }
}

/// The API server takes 32 KiB in a condition; nobody reads more than this.
fn shortened(message: &str) -> String {
    const LONGEST: usize = 2000;
    if message.chars().count() <= LONGEST {
        return message.to_owned();
    }
    message.chars().take(LONGEST).chain("...".chars()).collect()
}

/// What is wrong with a configuration, as one text.
#[must_use]
pub fn sentences(diagnoses: &[Diagnosis]) -> String {
    diagnoses
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join("; ")
}

/// Why a plan was not carried out to its end.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError {
    /// A write failed.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// A write failed, and which field of the spec made it fail is known.
    #[error("{error}; {advice}")]
    Explained {
        /// The failure.
        error: Box<WriteError>,
        /// The field, its value and what to do.
        advice: String,
    },
    /// The cache does not show yet what is there; the next pass sees it.
    #[error("{kind} {name} exists and the cache does not show it yet")]
    Behind {
        /// The kind.
        kind: String,
        /// The name.
        name: String,
    },
    /// Somebody else's object has a name that we need.
    #[error(
        "{kind} {name} exists and is not ours: {whose}; delete it, or create the TiProxyGroup under another name"
    )]
    NameConflict {
        /// The kind.
        kind: String,
        /// The name.
        name: String,
        /// Whose it is.
        whose: String,
    },
    /// The API server took a write and dropped one of its fields.
    #[error(
        "{kind} {name}: the API server dropped {field} {value:?}; it needs {needs}; do without the field, or upgrade"
    )]
    FieldDropped {
        /// The kind.
        kind: String,
        /// The name.
        name: String,
        /// The field.
        field: String,
        /// What it was set to.
        value: String,
        /// What the API server needs to keep it.
        needs: &'static str,
    },
}

impl ExecuteError {
    /// The kind of the object that it is about.
    #[must_use]
    pub fn kind(&self) -> &str {
        match self {
            Self::Write(error) => &error.kind,
            Self::Explained { error, .. } => &error.kind,
            Self::Behind { kind, .. } | Self::NameConflict { kind, .. } | Self::FieldDropped { kind, .. } => {
                kind
            }
        }
    }

    /// The conflict over the name of a foreign object.
    #[must_use]
    pub fn name_conflict<K: Resource<DynamicType = ()>>(object: &K) -> Self {
        Self::NameConflict {
            kind: K::kind(&()).into_owned(),
            name: object.meta().name.clone().unwrap_or_default(),
            whose: ownership::describe(object),
        }
    }

    /// How it is told; `None` for what the next pass settles by itself.
    #[must_use]
    pub fn progress(&self) -> Option<Progress> {
        match self {
            Self::Behind { .. } => None,
            Self::NameConflict { .. } => Some(Progress::stalled(Reason::NameConflict, self.to_string())),
            Self::Write(error) => progress_of_write(error),
            Self::Explained { .. } | Self::FieldDropped { .. } => {
                Some(Progress::stalled(Reason::InvalidSpec, self.to_string()))
            }
        }
    }
}

/// How a failed write is told; `None` for what the next pass settles by itself.
#[must_use]
pub fn progress_of_write(error: &WriteError) -> Option<Progress> {
    let told = |reason, what_to_do: &str| Some(Progress::stalled(reason, format!("{error}; {what_to_do}")));
    match error.reason {
        WriteFailure::AdmissionDenied if is_about_growth(error) => told(
            Reason::AdmissionDenied,
            "the volume goes on with the size that it has; set allowVolumeExpansion: true on its StorageClass, if its \
             driver can do that",
        ),
        WriteFailure::Conflict | WriteFailure::NotFound | WriteFailure::AlreadyExists => None,
        WriteFailure::Forbidden => told(
            Reason::Forbidden,
            "give the operator's service account this right (see config/rbac)",
        ),
        WriteFailure::QuotaExceeded => told(Reason::QuotaExceeded, "raise the ResourceQuota or ask for less"),
        WriteFailure::AdmissionDenied => told(
            Reason::AdmissionDenied,
            "change the spec or the policy of the namespace",
        ),
        WriteFailure::Invalid | WriteFailure::Refused => told(Reason::InvalidSpec, "correct the spec"),
        WriteFailure::UnknownField if is_defined_by_us(&error.kind) => told(
            Reason::ForeignDefinition,
            "the CustomResourceDefinition of this kind is another operator's or of another version; apply those of \
             this operator's version (config/crd)",
        ),
        WriteFailure::UnknownField => told(
            Reason::InvalidSpec,
            "this version of Kubernetes does not know the field; do without it, or upgrade Kubernetes",
        ),
        WriteFailure::NamespaceTerminating => Some(Progress::working(
            Reason::Progressing,
            "the namespace is being deleted",
        )),
        WriteFailure::Transient => Some(Progress::working(
            Reason::WriteFailed,
            format!("{error}; the operator tries again"),
        )),
    }
}

/// The admission plugin that guards the size of claims.
fn is_about_growth(error: &WriteError) -> bool {
    error.kind == "PersistentVolumeClaim" && error.message.contains("resize")
}

fn is_defined_by_us(kind: &str) -> bool {
    [TiProxyGroup::kind(&()), TiProxy::kind(&())]
        .iter()
        .any(|ours| ours == kind)
}

impl ReconcileError for ExecuteError {
    fn category(&self) -> ErrorCategory {
        match self {
            Self::Write(error) => error.category(),
            Self::Explained { error, .. } => error.category(),
            Self::Behind { .. } => ErrorCategory::Conflict,
            // An API server that is upgraded sends no event.
            Self::FieldDropped { .. } => ErrorCategory::Transient,
            Self::NameConflict { .. } => ErrorCategory::Invalid,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(reason: WriteFailure) -> ExecuteError {
        ExecuteError::Write(WriteError {
            reason,
            verb: "create",
            kind: "Pod".to_owned(),
            namespace: "ns".to_owned(),
            name: "web-tiproxy-0".to_owned(),
            message: "the server says no".to_owned(),
        })
    }

    #[test]
    fn who_can_help_decides_what_is_told() {
        for (failure, told) in [
            (WriteFailure::Conflict, None),
            (WriteFailure::NotFound, None),
            (WriteFailure::AlreadyExists, None),
            (WriteFailure::Forbidden, Some((State::Stalled, Reason::Forbidden))),
            (
                WriteFailure::QuotaExceeded,
                Some((State::Stalled, Reason::QuotaExceeded)),
            ),
            (
                WriteFailure::AdmissionDenied,
                Some((State::Stalled, Reason::AdmissionDenied)),
            ),
            (WriteFailure::Invalid, Some((State::Stalled, Reason::InvalidSpec))),
            (WriteFailure::Refused, Some((State::Stalled, Reason::InvalidSpec))),
            (
                WriteFailure::NamespaceTerminating,
                Some((State::Working, Reason::Progressing)),
            ),
            (
                WriteFailure::Transient,
                Some((State::Working, Reason::WriteFailed)),
            ),
        ] {
            let progress = failed(failure).progress();
            assert_eq!(
                progress
                    .as_ref()
                    .map(|progress| (progress.state, progress.reason)),
                told,
                "{failure:?}"
            );
            if let Some(progress) = progress.filter(|progress| progress.state == State::Stalled) {
                let begin = "cannot create Pod ns/web-tiproxy-0: the server says no; ";
                assert!(progress.message.starts_with(begin), "{}", progress.message);
                assert!(progress.message.len() > begin.len(), "what to do");
            }
        }
        let behind = ExecuteError::Behind {
            kind: "Pod".to_owned(),
            name: "x".to_owned(),
        };
        assert_eq!(behind.progress(), None);
        assert!(behind.is_conflict());
    }

    #[test]
    fn at_most_one_condition_holds() {
        for (progress, expected) in [
            (Progress::done(Reason::AllReady, "x"), &["Ready"][..]),
            (Progress::working(Reason::Progressing, "x"), &["Reconciling"]),
            (Progress::stalled(Reason::InvalidSpec, "x"), &["Stalled"]),
            (Progress::suspended("x"), &[]),
        ] {
            let conditions = progress.conditions(Some(4));
            let holding: Vec<&str> = conditions
                .iter()
                .filter(|condition| condition.status == Status::True)
                .map(|condition| condition.type_.as_str())
                .collect();
            assert_eq!(holding, expected);
            assert!(
                conditions
                    .iter()
                    .all(|condition| condition.observed_generation == Some(4))
            );
        }
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        let of = |message: &str| {
            Progress::done(Reason::AllReady, message).conditions(None)[0]
                .message
                .clone()
        };
        assert_eq!(of(&"ü".repeat(2000)), "ü".repeat(2000));
        assert_eq!(of(&"ü".repeat(2001)), format!("{}...", "ü".repeat(2000)));
    }
}
