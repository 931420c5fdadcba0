//! Finds out whether Pods may be made from a group's template before any of it is begun.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use kube::{Resource, ResourceExt};

use super::execute;
use super::observe::Observed;
use super::plan::Plan;
use super::validate::Group;
use super::verdict::{self, Refusal, Verdict};
use crate::api::Discovery;
use crate::context::Context;
use crate::problem::ExecuteError;

/// What was found out; without anything, Pods may be made.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// Why no Pod can be made.
    pub(super) refusal: Option<Refusal>,
    /// When it is asked again.
    pub(super) recheck: Option<Duration>,
    /// Why it could not be found out.
    pub(super) error: Option<ExecuteError>,
}

impl Judged {
    /// Whether Pods may be made.
    pub(super) fn permits(&self) -> bool {
        self.refusal.is_none() && self.error.is_none()
    }

    fn of(verdict: Verdict, recheck: Option<Duration>) -> Self {
        match verdict {
            Verdict::Accepted => Self::default(),
            Verdict::Refused(refusal) => Self {
                refusal: Some(refusal),
                recheck,
                error: None,
            },
        }
    }
}

/// Judges what a plan would make; asks the API server only when the plan makes something, and nothing is known of it.
pub(super) async fn judge(
    context: &Context,
    observed: &Observed,
    group: Option<&Group>,
    discovery: Option<&Discovery>,
    plan: &Plan,
    now: Timestamp,
) -> Judged {
    let rests = observed.object.meta().deletion_timestamp.is_some()
        || observed.is_managed_by_tidb_operator()
        || observed.is_cluster_paused()
        || !verdict::is_needed(plan);
    let (Some(group), Some(discovery), false) = (group, discovery, rests) else {
        return Judged::default();
    };
    let question = match verdict::question(group, discovery) {
        None => return Judged::default(),
        Some(Err(refusal)) => return Judged::of(Verdict::Refused(refusal), None),
        Some(Ok(question)) => question,
    };
    let uid = observed.object.uid().unwrap_or_default();
    if let Some((verdict, left)) = context.verdicts.of(&uid, &question, now) {
        return Judged::of(verdict, left);
    }
    match execute::ask(context, &uid, &question).await {
        Ok(verdict) => {
            let lifetime = verdict.lifetime();
            Judged::of(verdict, lifetime)
        }
        Err(error) => Judged {
            error: Some(error),
            ..Judged::default()
        },
    }
}
