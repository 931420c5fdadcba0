//! The only writer of the instance controller: carries out a plan, in order, and stops at the first failure of something
//! that the rest depends on.

use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{Resource, ResourceExt};
use serde_json::{Value, json};

use super::build;
use super::drain::{self, Turn};
use super::observe::Observed;
use super::plan::{Action, DeleteReason, Plan, delete_rule};
use super::validate::group_of;
use crate::api::{TiProxy, name};
use crate::claim;
use crate::context::Context;
use crate::ownership::Slot;
use crate::problem::ExecuteError;
use crate::runtime::time;

/// Carries out a plan.
pub async fn execute(context: &Context, observed: &Observed, plan: &Plan) -> Result<(), ExecuteError> {
    let mut first = None;
    for action in &plan.actions {
        if matches!(action, Action::ReplaceConfigMap(_)) && matches!(observed.pod, Slot::Absent) {
            confirm_no_pod(context, observed).await?;
        }
        match carry_out(context, &observed.object, action).await {
            Err(error) if action.is_independent() => first = first.or(Some(error)),
            result => result?,
        }
    }
    first.map_or(Ok(()), Err)
}

/// A Pod whose creation was answered into the void may run unseen, and must keep the configuration it was made for.
async fn confirm_no_pod(context: &Context, observed: &Observed) -> Result<(), ExecuteError> {
    let name = observed.object.name_any();
    let Some(group) = group_of(&observed.object) else {
        return Ok(());
    };
    claim::confirm_absent(
        &context.writer,
        &context.pods,
        &observed.object.namespace().unwrap_or_default(),
        &name::pod(&group, &name),
        &observed.object.uid().unwrap_or_default(),
    )
    .await
}

async fn carry_out(context: &Context, instance: &TiProxy, action: &Action) -> Result<(), ExecuteError> {
    let writer = &context.writer;
    let name = instance.name_any();
    let uid = instance.uid().unwrap_or_default();
    let mark = (name::LABEL_INSTANCE, name.as_str());
    let owner = || build::owner_reference(&name, &uid);
    match action {
        Action::AddFinalizer => {
            let mut finalizers = instance.finalizers().to_vec();
            finalizers.push(name::FINALIZER.to_owned());
            claim::set_finalizers(&context.writer, &context.instances, instance, &finalizers).await?;
        }
        Action::RemoveFinalizer => {
            let mut finalizers = instance.finalizers().to_vec();
            finalizers.retain(|finalizer| finalizer != name::FINALIZER);
            claim::set_finalizers(&context.writer, &context.instances, instance, &finalizers).await?;
            context.failures.forget(&uid);
            context.deletions.forget(&uid);
        }
        Action::AdoptConfigMap(target) => {
            claim::adopt(writer, &context.config_maps, target, &owner()).await?;
        }
        Action::AdoptPod(target) => claim::adopt(writer, &context.pods, target, &owner()).await?,
        Action::CreateConfigMap(config_map) => {
            claim::create(writer, &context.config_maps, &uid, mark, &**config_map).await?;
        }
        Action::ReplaceConfigMap(config_map) => {
            writer.replace(&context.config_maps, &**config_map).await?;
        }
        Action::DeleteConfigMap(target) => {
            writer
                .delete(&context.config_maps, target, delete_rule(None))
                .await?;
        }
        Action::CreateClaim(claim) => {
            claim::create(writer, &context.volume_claims, &uid, mark, &**claim).await?;
        }
        Action::PatchClaim { target, metadata } => {
            if action.adopts_claim() {
                check_alive(context, instance).await?;
            }
            writer
                .patch_metadata(&context.volume_claims, target, json!({ "metadata": metadata }))
                .await?;
        }
        Action::ChangeClaim { target, spec } => {
            let answer = writer.patch_spec(&context.volume_claims, target, spec).await?;
            check_attributes_class(&answer, spec)?;
        }
        Action::DeleteClaim(target) => {
            writer
                .delete(&context.volume_claims, target, delete_rule(None))
                .await?;
        }
        Action::CreatePod(pod) => {
            claim::create_manifest(writer, &context.pods, &uid, mark, pod).await?;
        }
        Action::PatchPod { target, metadata } => {
            writer
                .patch_metadata(&context.pods, target, json!({ "metadata": metadata }))
                .await?;
            match drain::turn(metadata) {
                Some(Turn::Began(begin)) => {
                    let deadline = time::after(begin, instance.spec.template.drain_timeout());
                    context.reporter.drain_began(instance, &target.name, deadline);
                }
                Some(Turn::Revived) => {
                    context.drains.called_off();
                    context.reporter.drain_called_off(instance, &target.name);
                }
                None => {}
            }
        }
        Action::DeletePod {
            target,
            grace_period_seconds,
            why,
        } => {
            let rule = delete_rule(*grace_period_seconds);
            writer.delete(&context.pods, target, rule).await?;
            context.deletions.set(&uid, context.clock.now());
            match why {
                DeleteReason::Failed => context.failures.add(&uid),
                DeleteReason::Left { end, .. } => context.drains.ended(*end),
            }
            context.reporter.pod_deleted(instance, &target.name, *why);
        }
    }
    Ok(())
}

/// A claim that is taken over goes with its owner. An older view of the TiProxy than of the claim may not show yet that
/// it is being deleted and has just let the claim go, so this looks past the cache.
async fn check_alive(context: &Context, instance: &TiProxy) -> Result<(), ExecuteError> {
    let (namespace, name) = (instance.namespace().unwrap_or_default(), instance.name_any());
    let found = context.writer.get::<TiProxy>(&namespace, &name).await?;
    match found {
        Some(found) if found.uid() == instance.uid() && found.meta().deletion_timestamp.is_none() => Ok(()),
        _ => Err(ExecuteError::Behind {
            kind: TiProxy::kind(&()).into_owned(),
            name,
        }),
    }
}

/// An API server that does not have the feature takes the field away without a word.
fn check_attributes_class(answer: &PersistentVolumeClaim, asked: &Value) -> Result<(), ExecuteError> {
    let field = "volumeAttributesClassName";
    let found = answer
        .spec
        .as_ref()
        .and_then(|spec| spec.volume_attributes_class_name.as_deref());
    match asked.get(field).and_then(Value::as_str) {
        Some(asked) if found != Some(asked) => Err(ExecuteError::FieldDropped {
            kind: "PersistentVolumeClaim".to_owned(),
            name: answer.name_any(),
            field: format!("spec.{field}"),
            value: asked.to_owned(),
            needs: "Kubernetes 1.34, or the feature gate VolumeAttributesClass",
        }),
        _ => Ok(()),
    }
}
