//! Who is available, in truth and as far as the operator can know.

use kube::api::DynamicObject;

use super::view::{has_ended, is_active, is_pod_ready, pod_inputs, ready_since, time_of};
use super::{IN_FLIGHT, Judge, uid};

impl Judge<'_> {
    pub(super) fn note_available(&mut self) {
        let available: Vec<_> = self
            .of_kind("TiProxy")
            .filter(|instance| {
                let specs = self.believable_specs(instance).unwrap_or_default();
                let mildest = specs.iter().map(|limits| limits.min_ready).min();
                mildest.is_some_and(|min_ready| self.is_available(instance, min_ready))
            })
            .map(|instance| (uid(instance), pod_inputs(instance)))
            .collect();
        for (uid, inputs) in available {
            self.last_available.insert(uid, (inputs, self.clock));
        }
    }

    pub(super) fn is_available(&self, instance: &DynamicObject, min_ready: i64) -> bool {
        let ready = ready_since(instance).is_some_and(|since| since + min_ready <= self.clock);
        is_active(instance) && ready && self.pod_of(instance).is_some_and(is_pod_ready)
    }

    /// Whether the operator has said that it is available, and may not know yet that somebody else took its Pod away or
    /// that the Pod ended: maybe it was never both at one point of the history.
    fn was_taken_just_now(&self, instance: &DynamicObject, min_ready: i64) -> bool {
        let said = ready_since(instance).is_some_and(|since| since + min_ready <= self.clock);
        let taken = self.pod_of(instance).is_none_or(|pod| {
            let by_others = self.outside.contains(&uid(pod)) || has_ended(pod);
            by_others && self.clock - time_of(pod) <= IN_FLIGHT
        });
        is_active(instance) && said && taken
    }

    /// Available, as far as the operator can know.
    pub(super) fn stays_available(&self, instance: &DynamicObject, min_ready: i64) -> bool {
        if self.is_available(instance, min_ready) {
            return true;
        }
        if self.was_taken_just_now(instance, min_ready) {
            return true;
        }
        let Some((inputs, when)) = self.last_available.get(&uid(instance)) else {
            return false;
        };
        // What its Pod follows as it runs takes nobody away, also when it has not said so yet.
        let unchanged = is_active(instance) && pod_inputs(instance) == *inputs;
        self.clock - when <= IN_FLIGHT && (unchanged || self.outside.contains(&uid(instance)))
    }
}
