//! What every plan and every write must be, judged by what is true.

use tiproxy_operator::runtime::time;

use super::*;

impl World {
    /// Whether a write that the API server accepts may be done, judged by what is true and not by what was seen.
    pub(super) fn check_write(&self, observed: &Observed, instance: Option<&Instance>, action: &Action) {
        let state = self.state();
        let uid = observed.object.uid().unwrap_or_default();
        let pod = state.pods.get(POD);
        let left = state.names_of_pods(&uid);
        match action {
            Action::AddFinalizer => {}
            Action::RemoveFinalizer => {
                let orphaning = observed.object.finalizers().iter().any(|found| found == "orphan");
                assert!(
                    left.is_empty() || orphaning || !self.sees_own_writes,
                    "{left:?} would be left behind"
                );
                assert!(observed.object.metadata.deletion_timestamp.is_some());
                let is_kept = retention(&observed.object.spec) == VolumeRetention::Retain;
                let claims = state.names_of_claims(&uid);
                assert!(
                    claims.is_empty() || !is_kept || orphaning || !self.sees_own_writes,
                    "{claims:?} would be lost"
                );
            }
            Action::CreateClaim(claim) => {
                let is_kept = retention(&observed.object.spec) == VolumeRetention::Retain;
                assert_eq!(belongs(&**claim, &uid), !is_kept);
            }
            Action::PatchClaim { target, .. } => {
                self.check_claim(&uid, &target.name);
            }
            Action::ChangeClaim { target, spec } => {
                let found = self.check_claim(&uid, &target.name);
                assert_eq!(found.binding, Binding::Bound);
                assert_eq!(found.requested.expect("a size").0, "1Gi", "{spec}");
            }
            Action::DeleteClaim(target) => {
                let found = state.claims.get(&target.name).expect("what is deleted");
                assert!(belongs(found, &uid), "a foreign or kept claim is deleted");
                assert_eq!(retention(&observed.object.spec), VolumeRetention::Delete);
                let mut volumes = observed.object.spec.template.volumes.iter().flatten();
                assert!(
                    !volumes.any(|volume| name::volume_claim(&volume.name, POD) == target.name),
                    "a claim of the spec is deleted"
                );
            }
            Action::AdoptConfigMap(_) => {
                let found = state.config_maps.get(POD).expect("what is adopted");
                assert!(controller(found).is_none() && is_watched(found));
            }
            Action::AdoptPod(_) => {
                let found = pod.expect("what is adopted");
                assert!(controller(found).is_none() && is_watched(found));
            }
            Action::CreateConfigMap(config_map) => self.check_config_map(&uid, config_map),
            Action::ReplaceConfigMap(config_map) => {
                let found = state.config_maps.get(POD).expect("what is replaced");
                assert!(belongs(found, &uid), "a foreign ConfigMap is written to");
                let unseen = pod.filter(|pod| matches!(observed.pod, Slot::Absent) && belongs(*pod, &uid));
                assert!(
                    unseen.is_none(),
                    "a Pod that was not seen loses its configuration"
                );
                self.check_config_map(&uid, config_map);
            }
            Action::DeleteConfigMap(_) => {
                let found = state.config_maps.get(POD).expect("what is deleted");
                assert!(belongs(found, &uid), "a foreign ConfigMap is deleted");
                assert!(
                    left.is_empty() || !self.sees_own_writes,
                    "{left:?} would lose its configuration"
                );
                assert!(observed.object.metadata.deletion_timestamp.is_some());
            }
            Action::CreatePod(pod) => {
                assert!(left.is_empty(), "a second Pod beside {left:?}");
                assert!(belongs(&pod.object, &uid) && pod.object.name_any() == POD);
                assert_eq!(cause(observed), None, "a Pod that nobody wants is made");
            }
            // A patch carries the UID only: it may meet a Pod of ours that was orphaned meanwhile.
            Action::PatchPod { metadata, .. } => {
                let pod = pod.expect("what is changed");
                assert!(belongs(pod, &uid) || self.is_orphan(pod));
                self.check_patch(pod, metadata);
            }
            Action::DeletePod { why, .. } => {
                let pod = pod.expect("what is deleted");
                self.check_delete(observed, instance, pod, *why);
            }
        }
    }

    /// A claim that is written to is the TiProxy's, or one that is kept.
    fn check_claim(&self, uid: &str, name: &str) -> ClaimState {
        let found = self.state().claims.get(name).expect("what is changed");
        let is_kept = controller(found).is_none() && is_watched(found);
        assert!(belongs(found, uid) || is_kept, "a foreign claim is written to");
        ClaimState::of(found)
    }

    /// The configuration never changes under a Pod of another revision.
    fn check_config_map(&self, uid: &str, config_map: &ConfigMap) {
        let revision = revision_label(config_map);
        for pod in self.state().pods.values().filter(|pod| belongs(*pod, uid)) {
            let of_pod = self.revisions.get(&pod.uid().unwrap_or_default());
            assert!(
                of_pod == Some(&revision) || !self.sees_own_writes,
                "the ConfigMap of {revision} is written under a Pod of {of_pod:?}"
            );
        }
    }

    fn check_delete(&self, observed: &Observed, instance: Option<&Instance>, pod: &Pod, why: DeleteReason) {
        let uid = observed.object.uid().unwrap_or_default();
        let pod_uid = pod.uid().unwrap_or_default();
        assert!(belongs(pod, &uid), "a foreign or orphaned Pod is deleted");
        let (cause, end) = match why {
            DeleteReason::Failed => {
                assert!(has_ended(pod), "a Pod that runs is deleted as ended");
                return;
            }
            DeleteReason::Left { cause, end } => (cause, end),
        };
        let object = &observed.object;
        match cause {
            Cause::Deleted => assert!(object.metadata.deletion_timestamp.is_some()),
            Cause::Offline => assert_eq!(object.spec.offline, Some(true)),
            Cause::Suspended => assert!(self.state().cluster_suspended),
            Cause::Outdated => {
                let wanted = &instance.expect("a valid TiProxy").revision;
                assert_ne!(
                    self.revisions.get(&pod_uid),
                    Some(wanted),
                    "an up-to-date Pod is replaced"
                );
            }
        }
        self.check_end(object, pod, end);
    }

    /// A Pod that runs goes when its clients have left or their time is over, and not before.
    fn check_end(&self, object: &TiProxy, pod: &Pod, end: End) {
        let template = &object.spec.template;
        let begin = drain::begin(pod, self.now);
        let is_over = |begin, wait| self.now >= time::after(begin, wait);
        let is_hidden = !drain::is_serving(pod);
        match end {
            End::NothingRan | End::Stopped => assert!(!is_running(pod), "{end:?}"),
            End::Undrained => assert!(template.drain_timeout().is_zero()),
            End::Deadline { .. } => {
                let begin = begin.expect("a begin");
                assert!(is_over(begin, template.drain_timeout()), "{begin}");
                assert!(is_hidden || self.is_vandalised(pod));
            }
            End::Drained => {
                let uid = pod.uid().unwrap_or_default();
                let told = self.proxy.told(&uid);
                let quiet = told.quiet_since.expect("a quiet TiProxy");
                let since = quiet.max(begin.expect("a begin"));
                let heard = told.observation.expect("an answer").at;
                assert!(heard >= time::after(since, template.drain_quiet()), "{since}");
                assert!(is_hidden, "it takes new clients");
            }
        }
    }

    /// A leave that has begun keeps its begin, and takes the Pod out of service in the same write.
    fn check_patch(&self, pod: &Pod, metadata: &serde_json::Map<String, Value>) {
        match drain::turn(metadata) {
            Some(drain::Turn::Began(begin)) => {
                assert_eq!(begin, time::whole_seconds(self.now));
                assert_eq!(metadata["labels"], json!({name::LABEL_SERVING: null}));
                let is_known = self.sees_own_writes && !self.is_vandalised(pod);
                assert!(
                    !is_known || drain::begin(pod, self.now).is_none(),
                    "the time begins anew"
                );
            }
            Some(drain::Turn::Revived) => {
                assert_eq!(metadata["labels"][name::LABEL_SERVING], json!("true"));
            }
            None => {}
        }
    }
}

/// What every plan must be, whatever it was decided on.
pub(super) fn check_plan(
    observed: &Observed,
    instance: Result<&Instance, &Invalid>,
    found: &Plan,
    now: Timestamp,
) {
    assert_eq!(
        &plan(observed, instance, now),
        found,
        "the same input gives another plan"
    );
    let going = observed.object.metadata.deletion_timestamp.is_some();
    if !going && observed.paused {
        assert_eq!(found.actions, [], "nothing may be done");
    }
    if cause(observed).is_none() && instance.is_err() {
        let revives = |action: &Action| matches!(action, Action::PatchPod { metadata, .. } if drain::turn(metadata) == Some(drain::Turn::Revived));
        assert!(found.actions.iter().all(revives), "nothing else may be done");
    }
    let touches_config =
        |action: &Action| matches!(action, Action::ReplaceConfigMap(_) | Action::CreateConfigMap(_));
    assert!(found.leaving.is_none() || !found.actions.iter().any(touches_config));
    check_deadline(observed, found, now);
    let pods = found.actions.iter().filter(|action| {
        matches!(
            action,
            Action::CreatePod(_) | Action::DeletePod { .. } | Action::AdoptPod(_)
        )
    });
    assert!(pods.count() <= 1, "{found:#?}");
    for action in &found.actions {
        if let Action::DeletePod { target, .. } = action {
            let seen = observed
                .pods
                .iter()
                .find(|pod| pod.uid().as_deref() == Some(&target.uid));
            assert!(seen.is_some_and(|pod| pod.resource_version() == target.resource_version));
        }
    }
}

/// Whatever else is known: at the deadline a Pod that has to leave is deleted.
fn check_deadline(observed: &Observed, found: &Plan, now: Timestamp) {
    let Some(cause) = cause(observed) else { return };
    let finalizers = observed.object.finalizers();
    let has = |finalizer: &str| finalizers.iter().any(|found| found == finalizer);
    if cause == Cause::Deleted && (has("orphan") || !has(name::FINALIZER))
        || cause != Cause::Deleted && observed.paused
    {
        return;
    }
    for pod in observed
        .pods
        .iter()
        .filter(|pod| pod.metadata.deletion_timestamp.is_none())
    {
        let timeout = observed.object.spec.template.drain_timeout();
        let is_over = drain::begin(pod, now).is_some_and(|begin| now >= time::after(begin, timeout));
        let is_deleted = found.actions.iter().any(
            |action| matches!(action, Action::DeletePod { target, .. } if Some(&target.uid) == pod.uid().as_ref()),
        );
        assert!(is_deleted || !is_over && is_running(pod), "{found:#?}");
        let is_hidden = !drain::is_serving(pod)
            || found.actions.iter().any(|action| {
                matches!(action, Action::PatchPod { target, metadata }
                    if Some(&target.uid) == pod.uid().as_ref() && metadata["labels"][name::LABEL_SERVING].is_null())
            });
        assert!(
            is_hidden || is_over || !is_running(pod) || timeout.is_zero(),
            "it takes new clients: {found:#?}"
        );
        assert!(
            is_deleted
                || found
                    .recheck
                    .is_some_and(|wait| wait <= timeout.max(Duration::from_secs(1)) + Duration::from_mins(1))
        );
    }
}
