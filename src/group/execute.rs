//! The only writer of the group controller: carries out decisions, in order.

mod object;

use std::sync::Arc;

use kube::ResourceExt;

use super::build::{self, instance::spec_of};
use super::drain::resolved_drain;
use super::observe::Observed;
use super::plan::{Action, Exit, Plan, Target as PlanTarget};
use super::validate::Group;
use super::verdict::{self, Question, Verdict};
use crate::api::{Discovery, TiProxy, TiProxyGroup, name};
use crate::claim;
use crate::context::Context;
use crate::instance::volume::retention;
use crate::problem::ExecuteError;
use crate::runtime::write::{DeleteRule, Target};
pub use object::objects;

/// Takes part in the deletion of the group from now on; and adopts what an earlier group of the name left behind.
pub async fn prepare(context: &Context, observed: &Observed) -> Result<(), ExecuteError> {
    let group = &observed.object;
    if !group
        .finalizers()
        .iter()
        .any(|finalizer| finalizer == name::FINALIZER)
    {
        let mut finalizers = group.finalizers().to_vec();
        finalizers.push(name::FINALIZER.to_owned());
        claim::set_finalizers(&context.writer, &context.groups, group, &finalizers).await?;
    }
    let owner = build::owner_reference(&group.name_any(), &group.uid().unwrap_or_default());
    for instance in &observed.adoptable {
        if let Some(target) = Target::of(&**instance) {
            claim::adopt(&context.writer, &context.instances, &target, &owner).await?;
        }
    }
    Ok(())
}

/// Asks the API server whether it would take a Pod, and remembers its verdict.
pub async fn ask(context: &Context, uid: &str, question: &Question) -> Result<Verdict, ExecuteError> {
    let verdict = verdict::verdict(context.writer.judge(&question.manifest).await)?;
    context
        .verdicts
        .note(uid, question, verdict.clone(), context.clock.now());
    Ok(verdict)
}

/// Carries out a plan.
pub async fn instances(
    context: &Context,
    observed: &Observed,
    group: &Group,
    discovery: Option<&Discovery>,
    plan: &Plan,
) -> Result<(), ExecuteError> {
    // Whatever else is written to a TiProxy says it too.
    update_leavers(context, observed, |uid| plan.writes_to(uid)).await?;
    for action in &plan.actions {
        match action {
            Action::Revive { target } => {
                if let (Some(found), Some(discovery)) = (find(observed, target), discovery) {
                    let mut back = TiProxy::clone(found);
                    back.spec.offline = None;
                    update(context, group, &back, discovery).await?;
                    context.reporter.instance_revived(&observed.object, &target.name);
                }
            }
            Action::Create { ordinal, topology } => {
                if let Some(discovery) = discovery {
                    create(
                        context,
                        group,
                        build::instance::instance(group, discovery, *ordinal, topology.as_ref()),
                    )
                    .await?;
                    context
                        .reporter
                        .instance_created(&observed.object, &name::instance(&group.name, *ordinal));
                }
            }
            Action::UpdateInPlace { target } | Action::Recreate { target } => {
                if let (Some(found), Some(discovery)) = (find(observed, target), discovery) {
                    update(context, group, found, discovery).await?;
                }
            }
            Action::Leave { target, why, by } => {
                if let Some(found) = find(observed, target) {
                    match by {
                        Exit::Drain => drain(context, &observed.object, found).await?,
                        Exit::Delete => delete(context, &observed.object, found).await?,
                    }
                    context
                        .reporter
                        .instance_leaves(&observed.object, &target.name, *why, *by);
                }
            }
            Action::Remove { target } => {
                if let Some(found) = find(observed, target) {
                    delete(context, &observed.object, found).await?;
                }
            }
        }
    }
    Ok(())
}

fn find<'a>(observed: &'a Observed, target: &PlanTarget) -> Option<&'a Arc<TiProxy>> {
    observed
        .instances
        .iter()
        .find(|instance| instance.uid().as_deref() == Some(target.uid.as_str()))
}

async fn create(context: &Context, group: &Group, instance: TiProxy) -> Result<(), ExecuteError> {
    let mark = (name::LABEL_GROUP, group.name.as_str());
    match claim::create(&context.writer, &context.instances, &group.uid, mark, &instance).await {
        // The cache holds every TiProxy, so the next pass sees whose it is and takes another ordinal.
        Err(ExecuteError::NameConflict { kind, name, .. }) => {
            if let Some(found) = context.writer.get::<TiProxy>(&group.namespace, &name).await? {
                context.instances.record_written(found);
            }
            Err(ExecuteError::Behind { kind, name })
        }
        other => other,
    }
}

async fn update(
    context: &Context,
    group: &Group,
    found: &TiProxy,
    discovery: &Discovery,
) -> Result<(), ExecuteError> {
    let mut instance = found.clone();
    instance.status = None;
    instance.spec = spec_of(&group.instance_spec(discovery), &found.spec);
    group.template_metadata.change(&mut instance.metadata);
    context.writer.replace(&context.instances, &instance).await?;
    Ok(())
}

/// How long clients have, and what becomes of the volumes, is what the group says while a TiProxy goes, not what it said
/// before: a user may shorten a drain that goes on, or ask with one edit for fewer TiProxies and for their volumes.
async fn update_leavers(
    context: &Context,
    observed: &Observed,
    but: impl Fn(&str) -> bool,
) -> Result<(), ExecuteError> {
    let leaving = observed.instances.iter().filter(|instance| {
        let leaves = instance.metadata.deletion_timestamp.is_some() || instance.spec.offline == Some(true);
        leaves && !instance.uid().is_some_and(|uid| but(&uid))
    });
    for instance in leaving {
        tell(context, &observed.object, instance).await?;
    }
    Ok(())
}

/// What a TiProxy that goes should say, if it does not.
fn told(group: &TiProxyGroup, instance: &TiProxy) -> Option<TiProxy> {
    let drain = resolved_drain(&group.spec.template);
    let mut told = instance.clone();
    told.spec.volume_retention = group.spec.volume_retention;
    told.spec.template.drain = drain;
    let (before, after) = (&instance.spec, &told.spec);
    let same = retention(before) == retention(after)
        && before.template.drain_timeout() == after.template.drain_timeout()
        && before.template.drain_quiet() == after.template.drain_quiet();
    told.status = None;
    (!same).then_some(told)
}

/// Tells a TiProxy that goes; returns what it was written to.
async fn tell(
    context: &Context,
    group: &TiProxyGroup,
    instance: &TiProxy,
) -> Result<Option<TiProxy>, ExecuteError> {
    match told(group, instance) {
        Some(told) => Ok(Some(context.writer.replace(&context.instances, &told).await?)),
        None => Ok(None),
    }
}

/// Gives its clients time to leave.
async fn drain(context: &Context, group: &TiProxyGroup, instance: &TiProxy) -> Result<(), ExecuteError> {
    let mut leaving = told(group, instance).unwrap_or_else(|| instance.clone());
    leaving.status = None;
    leaving.spec.offline = Some(true);
    context.writer.replace(&context.instances, &leaving).await?;
    Ok(())
}

async fn delete(context: &Context, group: &TiProxyGroup, instance: &TiProxy) -> Result<(), ExecuteError> {
    let told = tell(context, group, instance).await?;
    let Some(target) = Target::of(told.as_ref().unwrap_or(instance)) else {
        return Ok(());
    };
    let rule = DeleteRule {
        resource_version: true,
        ..DeleteRule::default()
    };
    context.writer.delete(&context.instances, &target, rule).await?;
    Ok(())
}

/// Carries out a deletion: first the TiProxies, then the group. With orphan deletion nothing is deleted.
pub async fn deletion(context: &Context, observed: &Observed) -> Result<(), ExecuteError> {
    let group = &observed.object;
    let finalizers = group.finalizers();
    let has = |finalizer: &str| finalizers.iter().any(|found| found == finalizer);
    if !has(name::FINALIZER) {
        return Ok(());
    }
    if !has("orphan") && observed.instances.is_empty() {
        object::delete_objects(context, observed).await?;
    }
    if has("orphan") || observed.instances.is_empty() {
        let others: Vec<String> = finalizers
            .iter()
            .filter(|found| *found != name::FINALIZER)
            .cloned()
            .collect();
        claim::set_finalizers(&context.writer, &context.groups, group, &others).await?;
        let uid = group.uid().unwrap_or_default();
        context.pace.forget(&uid);
        context.verdicts.forget(&uid);
        return Ok(());
    }
    update_leavers(context, observed, |_| false).await?;
    for instance in observed
        .instances
        .iter()
        .filter(|instance| instance.metadata.deletion_timestamp.is_none())
    {
        delete(context, group, instance).await?;
    }
    Ok(())
}
