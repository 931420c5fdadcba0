//! Who is available, in truth and as far as the operator can know.

use kube::api::DynamicObject;

use super::view::{is_active, is_pod_ready, pod_inputs, ready_since};
use super::{IN_FLIGHT, Judge, uid};

impl Judge<'_> {
    pub(super) fn note_available(&mut self) {
        let has_ready_pod = |instance: &&DynamicObject| self.pod_of(instance).is_some_and(is_pod_ready);
        let with_pod: Vec<_> = self.of_kind("TiProxy").filter(has_ready_pod).map(uid).collect();
        for uid in with_pod {
            self.pod_ready.insert(uid, self.clock);
        }
        // An instance may call itself ready a moment after its Pod was.
        let available: Vec<_> = self
            .of_kind("TiProxy")
            .filter(|instance| {
                let specs = self.believable_specs(instance).unwrap_or_default();
                let mildest = specs.iter().map(|limits| limits.min_ready).min();
                mildest.is_some_and(|min_ready| self.says_available(instance, min_ready))
            })
            .filter_map(|instance| {
                let when = self.pod_ready.get(&uid(instance))?;
                Some((uid(instance), (pod_inputs(instance), *when)))
            })
            .collect();
        self.last_available.extend(available);
    }

    /// Available by its own word.
    fn says_available(&self, instance: &DynamicObject, min_ready: i64) -> bool {
        is_active(instance) && ready_since(instance).is_some_and(|since| since + min_ready <= self.clock)
    }

    pub(super) fn is_available(&self, instance: &DynamicObject, min_ready: i64) -> bool {
        self.says_available(instance, min_ready) && self.pod_of(instance).is_some_and(is_pod_ready)
    }

    /// Available, as far as the operator can know.
    pub(super) fn stays_available(&self, instance: &DynamicObject, min_ready: i64) -> bool {
        if self.is_available(instance, min_ready) {
            return true;
        }
        let Some((inputs, when)) = self.last_available.get(&uid(instance)) else {
            return false;
        };
        let unchanged = is_active(instance) && pod_inputs(instance) == *inputs;
        self.clock - when <= IN_FLIGHT && (unchanged || self.outside.contains(&uid(instance)))
    }
}
