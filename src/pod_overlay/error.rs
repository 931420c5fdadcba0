//! Why an overlay cannot be laid over a Pod.

use std::fmt;

/// Where the overlay stands in a group.
const ROOT: &str = "spec.template.spec.overlay.pod.spec";

/// Why an overlay cannot be laid over a Pod, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverlayError {
    /// The field, below the Pod's spec; empty for all of it.
    pub path: String,
    /// What is wrong with it.
    pub problem: Problem,
}

/// What is wrong with a field of an overlay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// A directive that is not known.
    #[error("{0} is not supported; use $patch: delete or $patch: replace")]
    UnknownDirective(String),
    /// `$patch` with a value that is not known.
    #[error("$patch is {0}; it must be delete, replace or merge")]
    UnknownPatch(String),
    /// `$patch: delete` on an object that says more.
    #[error("$patch: delete removes the whole object; leave out its other fields")]
    DeleteWithMore,
    /// `$patch` in a list that is replaced whole.
    #[error("this list is replaced as a whole, so $patch has no meaning in it; leave it out")]
    PatchInWholeList,
    /// An item that is no object, in a list that is merged by keys.
    #[error("it is {0}; every item of this list must be an object")]
    NotAnObject(&'static str),
    /// An item without one of its merge keys.
    #[error("it has no {0}, by which the items of this list are told apart")]
    NoKey(&'static str),
    /// Two items with the same merge keys.
    #[error("another item of this list has the same {0}")]
    Twice(String),
    /// What the operator depends on would not hold any more.
    #[error("{0}")]
    Contract(String),
}

impl OverlayError {
    /// A problem at a path below the Pod's spec.
    #[must_use]
    pub fn new(path: impl Into<String>, problem: Problem) -> Self {
        Self {
            path: path.into(),
            problem,
        }
    }
}

impl fmt::Display for OverlayError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let dot = if self.path.is_empty() || self.path.starts_with('[') {
            ""
        } else {
            "."
        };
        write!(formatter, "{ROOT}{dot}{}: {}", self.path, self.problem)
    }
}

impl std::error::Error for OverlayError {}
