//! The instance controller: one `TiProxy` becomes one `ConfigMap`, one `PersistentVolumeClaim` for each of its volumes,
//! and one Pod.
//!
//! A Pod leaves by one path, whatever the reason: [`plan::leave`].

pub mod backends;
pub mod belonging;
pub mod build;
pub mod claim_state;
pub mod config_applied;
pub mod drain;
pub mod execute;
pub mod failed_mount;
pub mod failures;
pub mod location;
pub mod lost;
pub mod mount_problem;
pub mod observe;
pub mod plan;
pub mod pod_state;
pub mod status;
#[cfg(test)]
pub(crate) mod testing;
mod unready;
pub mod validate;
pub mod volume;

use std::time::Duration;

use kube::ResourceExt;
use kube::runtime::reflector::ObjectRef;

use self::belonging::Belonging;
use crate::api::TiProxy;
use crate::context::Context;
use crate::ownership;
use crate::problem::ExecuteError;
use crate::runtime::runner::{Outcome, ReconcileError};
use crate::status_writer::{Written, write_status};

/// How soon a name that somebody else uses is tried again.
pub const CONFLICT_RECHECK: Duration = Duration::from_secs(15);

/// Brings one TiProxy a step closer to what its spec asks for.
pub async fn reconcile(context: Context, key: ObjectRef<TiProxy>) -> Result<Outcome, ExecuteError> {
    let namespace = key.namespace.unwrap_or_default();
    let Some(observed) = observe::observe(&context, &namespace, &key.name) else {
        return Ok(Outcome::Done);
    };
    match belonging(&context, &observed.object) {
        Belonging::Ours => {}
        Belonging::Foreign => return Ok(Outcome::Skipped),
        // Nothing here tells when the group is given back.
        Belonging::TiDBOperator => {
            return Ok(Outcome::Waiting {
                recheck: Some(CONFLICT_RECHECK),
            });
        }
    }
    let instance = validate::validate(&observed.object);
    let now = context.clock.now();
    let plan = plan::plan(&observed, instance.as_ref(), now);
    let executed = execute::execute(&context, &observed, &plan).await;
    observed.note_readiness(&context.failures);

    if plan.releases() || executed.as_ref().is_err_and(ReconcileError::is_conflict) {
        return executed.map(|()| Outcome::Done);
    }
    let report = status::status(&observed, instance.as_ref(), &plan, executed.as_ref().err(), now);
    let object = &*observed.object;
    let pending = match write_status(
        &context.writer,
        &context.instances,
        object,
        &report.status,
        report.after,
        now,
    )
    .await?
    {
        Written::Unchanged => None,
        Written::TooEarly(wait) => Some(wait),
        Written::Now => {
            let before = object.conditions();
            context
                .reporter
                .transition(object, before, &report.status.conditions);
            None
        }
    };
    match executed {
        Ok(()) => {
            // Nobody watches somebody else's objects.
            let conflict = observed.is_name_taken().then_some(CONFLICT_RECHECK);
            Ok(Outcome::waiting_for([plan.recheck, pending, conflict]))
        }
        Err(ExecuteError::NameConflict { .. }) => Ok(Outcome::Waiting {
            recheck: Some(CONFLICT_RECHECK),
        }),
        Err(error) => Err(error),
    }
}

fn belonging(context: &Context, instance: &TiProxy) -> Belonging {
    let namespace = instance.namespace().unwrap_or_default();
    let group = ownership::controller(instance).and_then(|owner| {
        context
            .groups
            .get(&namespace, &owner.name)
            .filter(|group| group.uid().as_ref() == Some(&owner.uid))
    });
    belonging::of(instance, group.as_deref())
}
