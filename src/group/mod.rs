//! The group controller: a `TiProxyGroup` becomes `TiProxy` objects, two Services, a `PodDisruptionBudget` and, on
//! request, a `NetworkPolicy`.

pub mod build;
pub mod deadline;
pub mod discovery;
mod drain;
pub mod execute;
mod judge;
pub mod observe;
pub mod pace;
pub mod plan;
pub mod refusal;
pub mod status;
#[cfg(test)]
pub(crate) mod testing;
pub mod unsupported;
pub mod validate;
pub mod verdict;
pub mod volumes;
pub mod warnings;

use k8s_openapi::jiff::Timestamp;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource, ResourceExt};

use self::observe::Observed;
use self::plan::Plan;
use self::status::Planned;
use self::validate::{Group, Invalid};
use self::verdict::Refusal;
use crate::api::{Discovery, TiProxyGroup};
use crate::context::Context;
use crate::instance::CONFLICT_RECHECK;
use crate::problem::ExecuteError;
use crate::revision;
use crate::runtime::runner::{Outcome, ReconcileError};
use crate::runtime::write_error::WriteError;
use crate::status_writer::{Written, write_status};

/// Brings one group a step closer to what its spec asks for.
pub async fn reconcile(context: Context, key: ObjectRef<TiProxyGroup>) -> Result<Outcome, ExecuteError> {
    let namespace = key.namespace.unwrap_or_default();
    let Some(observed) = observe::observe(&context, &namespace, &key.name) else {
        return Ok(Outcome::Skipped);
    };
    let group = validate::validate(&observed.object);
    let now = context.clock.now();
    let discovery = observed.known_discovery();
    let mut view = group.as_ref().ok().map(|group| {
        let desired = discovery.as_ref().map(|discovery| group.instance_spec(discovery));
        observed.for_plan(group, desired.as_ref())
    });
    let mut plan = view
        .as_ref()
        .map(|view| plan::plan(view, now))
        .unwrap_or_default();
    let judged = judge::judge(
        &context,
        &observed,
        group.as_ref().ok(),
        discovery.as_ref(),
        &plan,
        now,
    )
    .await;
    if let Some(view) = view.as_mut().filter(|_| !judged.permits()) {
        // Nothing is made from this template; scaling in goes on, and so does whatever runs.
        view.may_create = false;
        view.may_roll = false;
        plan = plan::plan(view, now);
    }

    let executed = execute(
        &context,
        &observed,
        group.as_ref().ok(),
        discovery.as_ref(),
        &plan,
    )
    .await
    .and(judged.error.map_or(Ok(()), Err));
    if observed.is_leaving_for_good() || executed.as_ref().is_err_and(ReconcileError::is_conflict) {
        return executed.map(|()| Outcome::Done);
    }
    let planned = match (&group, &view) {
        (Ok(group), Some(view)) => Ok(planned(
            &observed,
            group,
            view,
            discovery.as_ref(),
            &plan,
            judged.refusal.as_ref(),
            now,
        )),
        (Err(invalid), _) => Err(invalid),
        (Ok(_), None) => return Ok(Outcome::Skipped),
    };
    let pending = report(
        &context,
        &observed,
        planned.as_ref().map_err(|invalid| *invalid),
        executed.as_ref().err(),
        now,
    )
    .await?;
    let deadline = planned
        .as_ref()
        .ok()
        .and_then(|planned| planned.deadline.recheck());
    match executed {
        Ok(()) => Ok(Outcome::waiting_for([
            plan.recheck,
            pending,
            judged.recheck,
            deadline,
        ])),
        Err(ExecuteError::NameConflict { .. }) => Ok(Outcome::Waiting {
            recheck: Some(CONFLICT_RECHECK),
        }),
        Err(error) => Err(error),
    }
}

async fn execute(
    context: &Context,
    observed: &Observed,
    group: Option<&Group>,
    discovery: Option<&Discovery>,
    plan: &Plan,
) -> Result<(), ExecuteError> {
    if observed.object.meta().deletion_timestamp.is_some() {
        return execute::deletion(context, observed).await;
    }
    // Without a valid spec, whatever runs goes on as it is.
    let Some(group) = group.filter(|_| !observed.is_managed_by_tidb_operator()) else {
        return Ok(());
    };
    if observed.is_cluster_paused() {
        return Ok(());
    }
    execute::prepare(context, observed).await?;
    let objects = execute::objects(context, observed, group).await;
    // A Service that somebody else has keeps nobody from scaling.
    let instances = execute::instances(context, observed, group, discovery, plan).await;
    objects.and(instances)
}

fn planned<'a>(
    observed: &Observed,
    group: &'a Group,
    view: &plan::Observed,
    discovery: Option<&Discovery>,
    plan: &'a Plan,
    refusal: Option<&'a Refusal>,
    now: Timestamp,
) -> Planned<'a> {
    Planned {
        group,
        revision: discovery.map(|discovery| revision::name(&group.name, &group.instance_spec(discovery))),
        counts: plan::counts(view, now),
        plan,
        deadline: deadline::deadline(observed, group, plan, now),
        refusal,
        warnings: discovery
            .map(|discovery| warnings::warnings(group, discovery))
            .unwrap_or_default(),
    }
}

async fn report(
    context: &Context,
    observed: &Observed,
    planned: Result<&Planned<'_>, &Invalid>,
    error: Option<&ExecuteError>,
    now: Timestamp,
) -> Result<Option<std::time::Duration>, WriteError> {
    let object = &observed.object;
    let uid = object.uid().unwrap_or_default();
    let unsupported = unsupported::fields(object);
    let status = status::status(observed, planned, &unsupported, error, now);
    let wait = context.pace.wait(&uid, now);
    match write_status(&context.writer, &context.groups, &**object, &status, wait, now).await? {
        Written::Unchanged => Ok(None),
        Written::TooEarly(wait) => Ok(Some(wait)),
        Written::Now => {
            // Not the time of the decision: what was done since would shorten the interval.
            context.pace.note(&uid, context.clock.now());
            let before = object.conditions();
            context.reporter.transition(&**object, before, &status.conditions);
            Ok(None)
        }
    }
}
