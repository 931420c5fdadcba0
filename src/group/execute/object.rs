//! The objects that a group has once: Services, `PodDisruptionBudget` and `NetworkPolicy`.

use kube::ResourceExt;

use crate::api::name;
use crate::claim;
use crate::context::Context;
use crate::group::build::{self, disruption_budget, network_policy, service};
use crate::group::observe::Observed;
use crate::group::refusal;
use crate::group::validate::Group;
use crate::ownership::Slot;
use crate::problem::ExecuteError;
use crate::runtime::cache::Cache;
use crate::runtime::write::{DeleteRule, Target, Writable};

/// One of them, as it is and as it should be.
struct Object<'a, K> {
    cache: &'a Cache<K>,
    found: &'a Slot<K>,
    /// Absent when it is not wanted.
    desired: Option<K>,
    /// What is to be written over what was found, if anything.
    replacement: fn(&K, &K) -> Option<K>,
}

/// Creates, corrects and removes them.
pub async fn objects(context: &Context, observed: &Observed, group: &Group) -> Result<(), ExecuteError> {
    let peer = Object {
        cache: &context.services,
        found: &observed.peer_service,
        desired: Some(service::peer(group)),
        replacement: service::replacement,
    };
    let client = Object {
        cache: &context.services,
        found: &observed.client_service,
        desired: Some(service::client(group)),
        replacement: service::replacement,
    };
    let budget = Object {
        cache: &context.disruption_budgets,
        found: &observed.disruption_budget,
        desired: group
            .has_disruption_budget
            .then(|| disruption_budget::disruption_budget(group)),
        replacement: disruption_budget::replacement,
    };
    let policy = Object {
        cache: &context.network_policies,
        found: &observed.network_policy,
        desired: group
            .has_network_policy
            .then(|| network_policy::network_policy(group, context.operator_pods.as_ref())),
        replacement: network_policy::replacement,
    };
    // Somebody else's object under the name of one is no reason to do without the others.
    let results = [
        object(context, group, peer).await,
        object(context, group, client)
            .await
            .map_err(|error| refusal::explain(error, &group.service)),
        object(context, group, budget).await,
        object(context, group, policy).await,
    ];
    results.into_iter().collect()
}

async fn object<K: Writable>(
    context: &Context,
    group: &Group,
    object: Object<'_, K>,
) -> Result<(), ExecuteError> {
    let Object { cache, found, .. } = object;
    let mark = (name::LABEL_GROUP, group.name.as_str());
    match (found, &object.desired) {
        (Slot::Absent, Some(desired)) => {
            claim::create(&context.writer, cache, &group.uid, mark, desired).await
        }
        (Slot::Foreign(found), Some(_)) => Err(ExecuteError::name_conflict(&**found)),
        (Slot::Leftover(found), Some(_)) => Err(ExecuteError::Behind {
            kind: K::kind(&()).into_owned(),
            name: found.name_any(),
        }),
        // Also when it is not wanted: only what is ours can be removed.
        (Slot::Adoptable(found), _) => {
            let Some(target) = Target::of(&**found) else {
                return Ok(());
            };
            let owner = build::owner_reference(&group.name, &group.uid);
            claim::adopt(&context.writer, cache, &target, &owner).await
        }
        (Slot::Ours(found), Some(desired)) => {
            if let Some(replacement) = (object.replacement)(found, desired) {
                context.writer.replace(cache, &replacement).await?;
            }
            Ok(())
        }
        (Slot::Ours(found), None) => {
            // That it is ours is a fact of its content: an orphan keeps its UID.
            let rule = DeleteRule {
                resource_version: true,
                ..DeleteRule::default()
            };
            match Target::of(&**found) {
                Some(target) if found.meta().deletion_timestamp.is_none() => {
                    context.writer.delete(cache, &target, rule).await?;
                    Ok(())
                }
                _ => Ok(()),
            }
        }
        (Slot::Absent | Slot::Foreign(_) | Slot::Leftover(_), None) => Ok(()),
    }
}

/// Deletes them with their group. The garbage collector would do it too, at its leisure, and the next group of the
/// name would wait for it.
pub(super) async fn delete_objects(context: &Context, observed: &Observed) -> Result<(), ExecuteError> {
    delete(context, &context.services, &observed.client_service).await?;
    delete(context, &context.services, &observed.peer_service).await?;
    delete(context, &context.disruption_budgets, &observed.disruption_budget).await?;
    delete(context, &context.network_policies, &observed.network_policy).await
}

async fn delete<K: Writable>(
    context: &Context,
    cache: &Cache<K>,
    found: &Slot<K>,
) -> Result<(), ExecuteError> {
    if let Some(target) = found.ours().and_then(|object| Target::of(&**object)) {
        context
            .writer
            .delete(cache, &target, DeleteRule::default())
            .await?;
    }
    Ok(())
}
