//! What must be true when the trouble is over.

use super::*;

impl World {
    /// What must be true when the trouble is over.
    pub(crate) fn check_goal(&self) {
        let state = self.state();
        let Some(object) = &state.instance else {
            assert!(state.pods.values().all(|pod| controller(pod).is_none()));
            assert!(
                state
                    .config_maps
                    .values()
                    .all(|config_map| controller(config_map).is_none())
            );
            assert!(state.claims.values().all(|claim| controller(claim).is_none()));
            return;
        };
        let instance = validate(object).expect("a valid TiProxy");
        let uid = object.uid().unwrap_or_default();
        assert!(
            object.metadata.deletion_timestamp.is_none(),
            "it is not let go: {state:#?}"
        );
        assert_eq!(object.finalizers(), [name::FINALIZER]);
        if object.spec.offline == Some(true) || state.cluster_suspended {
            self.check_none(object);
            return;
        }
        let (pod, config_map) = (&state.pods[POD], &state.config_maps[POD]);
        assert!(belongs(pod, &uid) && belongs(config_map, &uid));
        assert!(PodState::of(pod).is_ready());
        assert_eq!(
            self.revisions.get(&pod.uid().unwrap_or_default()),
            Some(&instance.revision)
        );
        assert_eq!(
            (revision_label(pod), revision_label(config_map)),
            (instance.revision.clone(), instance.revision.clone())
        );
        self.check_volumes(object, pod);
        let text = &config_map.data.as_ref().expect("data")["config.toml"];
        assert!(text.contains("pd.ns.svc:2379"), "{text}");
        let zone = pod.uid().unwrap_or_default().chars().last().unwrap_or_default();
        assert!(text.contains(&format!("zone = \"zone-{zone}\"")), "{text}");
        assert_eq!(instance.template_metadata.patch_of(&pod.metadata), None);
        let status = object.status.as_ref().expect("a status");
        assert_eq!(status.observed_generation, object.metadata.generation);
        assert_eq!(status.current_revision.as_ref(), Some(&instance.revision));
        let ready = status
            .conditions
            .iter()
            .find(|condition| condition.type_ == "Ready");
        let ready = ready.expect("the condition Ready");
        assert_eq!(
            (ready.status.as_str(), ready.observed_generation),
            ("True", object.metadata.generation)
        );
        assert_eq!(Some(ready.last_transition_time.0), PodState::of(pod).ready_since);
        assert!(!drain::is_marked(pod), "it is still on its way out");
        assert!(drain::is_serving(pod) || self.is_vandalised(pod));
        assert_eq!(status.drain, None);
    }

    /// Where there is to be no Pod there is none, and the status says why.
    fn check_none(&self, object: &TiProxy) {
        let uid = object.uid().unwrap_or_default();
        assert_eq!(self.state().names_of_pods(&uid), Vec::<String>::new());
        let status = object.status.as_ref().expect("a status");
        let is = |kind: &str| {
            let found = status.conditions.iter().find(|condition| condition.type_ == kind);
            found.map(|found| (found.status.as_str(), found.reason.as_str()))
        };
        let is_suspended = self.state().cluster_suspended;
        let is_offline = object.spec.offline == Some(true);
        let reason = if is_offline { "Leaving" } else { "Suspended" };
        assert_eq!(is("Ready"), Some(("False", reason)));
        let suspended = if is_suspended {
            ("True", "Suspended")
        } else {
            ("False", "NotSuspended")
        };
        assert_eq!(is("Suspended"), Some(suspended));
        assert_eq!(
            (is("Drained"), status.drain.clone(), status.replicas),
            (None, None, Some(0))
        );
    }

    /// Each volume has its claim, of the size asked for; those that are not kept belong to the TiProxy, and no others.
    fn check_volumes(&self, object: &TiProxy, pod: &Pod) {
        let (state, uid) = (self.state(), object.uid().unwrap_or_default());
        let is_kept = retention(&object.spec) == VolumeRetention::Retain;
        let (mut names, mut deleted) = (BTreeSet::new(), BTreeSet::new());
        for volume in object.spec.template.volumes.iter().flatten() {
            let name = name::volume_claim(&volume.name, POD);
            let claim = &state.claims[&name];
            let found = ClaimState::of(claim);
            names.insert(name.clone());
            if found.terminating {
                // A user deleted it under the Pod; it goes with the Pod.
                deleted.insert(name);
                continue;
            }
            assert!(!found.is_to_grow(volume), "{claim:#?}");
            assert_eq!(controller(claim).is_none(), is_kept, "{claim:#?}");
        }
        assert_eq!(state.mounts[&pod.uid().unwrap_or_default()], names);
        let owned: BTreeSet<String> = state.names_of_claims(&uid).into_iter().collect();
        let expected = if is_kept { BTreeSet::new() } else { names };
        assert_eq!(&owned - &deleted, &expected - &deleted);
    }
}
