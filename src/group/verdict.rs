//! Whether the API server would take the Pods of a group with an overlay: asked before anything that runs is touched, and
//! once for each Pod that would be made.
//!
//! A group without overlay asks nothing: what the operator builds itself is valid. Verdicts live in memory; after a
//! restart the question is asked again, if something is to be made from the template at all.

use std::time::Duration;

use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::build;
use super::plan::{Action, Plan, Why};
use super::validate::Group;
use crate::api::Discovery;
use crate::api::condition::Reason;
use crate::instance;
use crate::instance::validate::Invalid;
use crate::runtime::notes::Notes;
use crate::runtime::time::elapsed;
use crate::runtime::write::Manifest;
use crate::runtime::write_error::{WriteError, WriteFailure};

/// What the API server finds invalid is asked again after so long: a default of the namespace may have made it so.
const ASK_AGAIN: Duration = Duration::from_mins(10);
/// What a policy denies is asked again after so long, as every refused write.
const ASK_POLICY_AGAIN: Duration = Duration::from_mins(1);

/// A Pod as the group would make it, to be judged.
#[derive(Clone, Debug)]
pub struct Question {
    /// The Pod.
    pub manifest: Manifest<Pod>,
    hash: [u8; 32],
}

/// Why no Pod can be made from the template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The reason for the condition.
    pub reason: Reason,
    /// Field, what is wrong, and what to do.
    pub message: String,
}

/// What is known of a Pod that would be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It can be made, or nobody can say before it is tried.
    Accepted,
    /// It cannot be made.
    Refused(Refusal),
}

/// The Pod that a group with an overlay would make; `None` without an overlay. An overlay that cannot even be laid over
/// the Pod is refused here.
#[must_use]
pub fn question(group: &Group, discovery: &Discovery) -> Option<Result<Question, Refusal>> {
    let example = build::instance::instance(group, discovery, 0, None);
    let overlay = example.spec.template.overlay.as_ref()?.pod.as_ref()?;
    if overlay.metadata.is_none() && overlay.spec.is_none() {
        return None;
    }
    let pod = match instance::validate::validate(&example) {
        Ok(example) => {
            let tls = instance::build::tls::tls(&example);
            instance::build::manifest::manifest(&example, &tls)
        }
        Err(Invalid::Overlay(error)) => Err(error),
        // The group says it of itself.
        Err(Invalid::NoGroup(_) | Invalid::NoDiscovery(_) | Invalid::Config(_) | Invalid::Volume(_)) => {
            return None;
        }
    };
    Some(match pod {
        Ok(manifest) => {
            // No ordinal: the name is never that of a Pod, and no owner needs to exist.
            let manifest = manifest.anonymous(format!("{}-tiproxy-check", group.name));
            let hash = Sha256::digest(manifest.body().to_string()).into();
            Ok(Question { manifest, hash })
        }
        Err(error) => Err(Refusal {
            reason: Reason::InvalidSpec,
            message: error.to_string(),
        }),
    })
}

/// Whether a plan makes Pods from the template, or takes running ones away for it.
#[must_use]
pub fn is_needed(plan: &Plan) -> bool {
    plan.actions.iter().any(|action| match action {
        Action::Revive { .. }
        | Action::Create { .. }
        | Action::UpdateInPlace { .. }
        | Action::Recreate { .. } => true,
        Action::Leave { why, .. } => *why == Why::Roll,
        Action::Remove { .. } => false,
    })
}

/// What the answer to a question means; an error when it says nothing about the Pod.
pub fn verdict(answer: Result<(), WriteError>) -> Result<Verdict, WriteError> {
    let Err(error) = answer else {
        return Ok(Verdict::Accepted);
    };
    let refused = |reason, what_to_do: &str| {
        Ok(Verdict::Refused(Refusal {
            reason,
            message: format!(
                "spec.template.spec.overlay.pod: the API server refuses a Pod with it: {}; {what_to_do}; TiProxies that \
                 run stay as they are",
                error.message
            ),
        }))
    };
    match error.reason {
        // It says nothing about the Pod but that its webhook cannot be asked in a dry run.
        WriteFailure::Invalid if error.message.contains("does not support dry run") => Ok(Verdict::Accepted),
        WriteFailure::Invalid | WriteFailure::UnknownField => {
            refused(Reason::InvalidSpec, "correct the overlay")
        }
        WriteFailure::AdmissionDenied => refused(
            Reason::AdmissionDenied,
            "change the overlay or the policy of the namespace",
        ),
        // The quota is judged last, and may be free when the Pod is created.
        WriteFailure::QuotaExceeded | WriteFailure::AlreadyExists => Ok(Verdict::Accepted),
        WriteFailure::Conflict
        | WriteFailure::NotFound
        | WriteFailure::Forbidden
        | WriteFailure::NamespaceTerminating
        | WriteFailure::Refused
        | WriteFailure::Transient => Err(error),
    }
}

/// The last verdict for each group, by UID.
#[derive(Clone, Debug, Default)]
pub struct Verdicts(Notes<Remembered>);

#[derive(Clone, Debug)]
struct Remembered {
    hash: [u8; 32],
    verdict: Verdict,
    /// When it was given.
    at: Timestamp,
}

impl Verdicts {
    /// The verdict on exactly this Pod, and how long it holds; `None` when it must be asked for.
    #[must_use]
    pub fn of(&self, uid: &str, question: &Question, now: Timestamp) -> Option<(Verdict, Option<Duration>)> {
        let known = self.0.get(uid)?;
        if known.hash != question.hash {
            return None;
        }
        let Some(lifetime) = known.verdict.lifetime() else {
            return Some((known.verdict, None));
        };
        let left = lifetime.saturating_sub(elapsed(known.at, now));
        (!left.is_zero()).then_some((known.verdict, Some(left)))
    }

    /// Remembers a verdict; the one before it is forgotten.
    pub fn note(&self, uid: &str, question: &Question, verdict: Verdict, at: Timestamp) {
        let hash = question.hash;
        self.0.set(uid, Remembered { hash, verdict, at });
    }

    /// The group is gone.
    pub fn forget(&self, uid: &str) {
        self.0.forget(uid);
    }
}

impl Verdict {
    /// How long it holds; `None` for ever.
    #[must_use]
    pub fn lifetime(&self) -> Option<Duration> {
        match self {
            Self::Accepted => None,
            Self::Refused(refusal) if refusal.reason == Reason::AdmissionDenied => Some(ASK_POLICY_AGAIN),
            Self::Refused(_) => Some(ASK_AGAIN),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::group::plan::{Exit, Target};
    use crate::group::testing::{discovery, group};

    fn with(overlay: &Value) -> Option<Result<Question, Refusal>> {
        let spec = json!({"template": {"spec": {"overlay": overlay}}});
        question(&group(&spec), &discovery())
    }

    fn asked(overlay: &Value) -> Question {
        with(overlay).unwrap().unwrap()
    }

    #[test]
    fn only_a_group_with_an_overlay_asks() {
        for overlay in [json!({}), json!({"pod": {}}), json!({"volumeClaims": []})] {
            assert!(with(&overlay).is_none(), "{overlay}");
        }
        let question =
            asked(&json!({"pod": {"spec": {"colour": "red"}, "metadata": {"annotations": {"a": "b"}}}}));
        let body = question.manifest.body();
        assert_eq!(body["metadata"]["name"], "web-tiproxy-check");
        assert_eq!(body["metadata"].get("ownerReferences"), None);
        assert_eq!(body["metadata"]["annotations"]["a"], "b");
        assert_eq!(body["spec"]["colour"], "red");
    }

    #[test]
    fn what_cannot_be_laid_over_is_refused_without_asking() {
        let refusal = with(&json!({"pod": {"spec": {"subdomain": "other"}}}))
            .unwrap()
            .unwrap_err();
        assert_eq!(refusal.reason, Reason::InvalidSpec);
        assert!(
            refusal
                .message
                .starts_with("spec.template.spec.overlay.pod.spec.subdomain: "),
            "{refusal:?}"
        );
    }

    #[test]
    fn only_what_makes_pods_asks() {
        let target = || Target {
            name: "web-0".to_owned(),
            uid: "1".to_owned(),
            resource_version: "1".to_owned(),
        };
        let leave = |why| Action::Leave {
            target: target(),
            why,
            by: Exit::Drain,
        };
        for (action, expected) in [
            (
                Action::Create {
                    ordinal: 0,
                    topology: None,
                },
                true,
            ),
            (Action::Recreate { target: target() }, true),
            (Action::Revive { target: target() }, true),
            (Action::Remove { target: target() }, false),
            (Action::UpdateInPlace { target: target() }, true),
            (leave(Why::Roll), true),
            (leave(Why::ScaleIn), false),
            (leave(Why::Lost), false),
        ] {
            let plan = Plan {
                actions: vec![action.clone()],
                ..Plan::default()
            };
            assert_eq!(is_needed(&plan), expected, "{action:?}");
        }
        assert!(!is_needed(&Plan::default()));
    }

    #[test]
    fn what_says_nothing_about_the_pod_is_no_verdict() {
        let answer = |reason, message: &str| {
            verdict(Err(WriteError {
                reason,
                verb: "check",
                kind: "Pod".to_owned(),
                namespace: "ns".to_owned(),
                name: "web-tiproxy-check".to_owned(),
                message: message.to_owned(),
            }))
        };
        assert_eq!(verdict(Ok(())).unwrap(), Verdict::Accepted);
        for (failure, message) in [
            (WriteFailure::QuotaExceeded, "exceeded quota"),
            (
                WriteFailure::Invalid,
                "admission webhook \"a\" does not support dry run",
            ),
        ] {
            assert_eq!(answer(failure, message).unwrap(), Verdict::Accepted, "{failure}");
        }
        for (failure, expected) in [
            (WriteFailure::Invalid, Reason::InvalidSpec),
            (WriteFailure::UnknownField, Reason::InvalidSpec),
            (WriteFailure::AdmissionDenied, Reason::AdmissionDenied),
        ] {
            match answer(failure, "its words").unwrap() {
                Verdict::Refused(refusal) => {
                    assert_eq!(refusal.reason, expected, "{failure}");
                    let start =
                        "spec.template.spec.overlay.pod: the API server refuses a Pod with it: its words; ";
                    assert!(refusal.message.starts_with(start), "{}", refusal.message);
                }
                Verdict::Accepted => panic!("{failure}"),
            }
        }
        for failure in [
            WriteFailure::Forbidden,
            WriteFailure::Transient,
            WriteFailure::NamespaceTerminating,
        ] {
            assert_eq!(answer(failure, "later").unwrap_err().reason, failure);
        }
    }

    #[test]
    fn a_verdict_is_remembered_for_its_pod_and_a_refusal_not_for_ever() {
        let (verdicts, start) = (Verdicts::default(), Timestamp::UNIX_EPOCH);
        let at = |seconds| start + Duration::from_secs(seconds);
        let one = asked(&json!({"pod": {"spec": {"priority": 1}}}));
        let other = asked(&json!({"pod": {"spec": {"priority": 2}}}));
        assert_eq!(verdicts.of("a", &one, start), None);
        verdicts.note("a", &one, Verdict::Accepted, start);
        assert_eq!(
            verdicts.of("a", &one, at(1_000_000)),
            Some((Verdict::Accepted, None))
        );
        assert_eq!(verdicts.of("a", &other, start), None);
        assert_eq!(verdicts.of("b", &one, start), None);
        for (reason, lifetime) in [(Reason::InvalidSpec, 600), (Reason::AdmissionDenied, 60)] {
            let refused = Verdict::Refused(Refusal {
                reason,
                message: "no".to_owned(),
            });
            verdicts.note("a", &other, refused.clone(), start);
            assert_eq!(
                verdicts.of("a", &other, at(lifetime - 1)),
                Some((refused, Some(Duration::from_secs(1))))
            );
            assert_eq!(verdicts.of("a", &other, at(lifetime)), None);
        }
        assert_eq!(verdicts.of("a", &one, start), None, "only the last one is kept");
        verdicts.note("a", &one, Verdict::Accepted, start);
        verdicts.forget("a");
        assert_eq!(verdicts.of("a", &one, start), None);
    }
}
