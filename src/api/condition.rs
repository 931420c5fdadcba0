//! Condition types and reasons: a closed list, each with its place in the documentation.

/// The type of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ConditionType {
    /// Everything asked for is there and serves.
    Ready,
    /// The operator, or what it waits for, is still at work.
    Reconciling,
    /// Nothing goes on until a human changes something.
    Stalled,
    /// A group: enough TiProxies are available.
    Available,
    /// Pods were taken away because the Cluster asks for it.
    Suspended,
    /// A group: parts of the spec that have no effect, or another one than written. An instance: trouble at run time
    /// that the configuration of TiProxy or TiDB leads to.
    ConfigWarnings,
    /// Fields of the spec that this version of the operator accepts and does not act on yet.
    UnsupportedFields,
    /// An instance: the running configuration is the one that the spec asks for.
    ConfigApplied,
    /// An instance: a TiDB that it may route to is healthy.
    BackendsAvailable,
    /// An instance: its volumes are bound and as asked for.
    VolumesReady,
    /// An instance: its clients have left.
    Drained,
}

impl ConditionType {
    /// The type as it stands in the status.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "Ready",
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
            Self::Available => "Available",
            Self::Suspended => "Suspended",
            Self::ConfigWarnings => "ConfigWarnings",
            Self::UnsupportedFields => "UnsupportedFields",
            Self::ConfigApplied => "ConfigApplied",
            Self::BackendsAvailable => "BackendsAvailable",
            Self::VolumesReady => "VolumesReady",
            Self::Drained => "Drained",
        }
    }
}

macro_rules! reasons {
    ($($(#[$doc:meta])* $name:ident,)*) => {
        /// Why a condition is as it is.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Reason {
            $($(#[$doc])* $name,)*
        }

        impl Reason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            /// The reason of this text.
            #[must_use]
            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|reason| reason.as_str() == text)
            }

            /// The reason as it stands in the status.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => stringify!($name),)*
                }
            }
        }
    };
}

reasons! {
    /// Everything asked for is there and serves.
    AllReady,
    /// Changes are on their way.
    Progressing,
    /// The group asks for no TiProxy and has none.
    ScaledToZero,
    /// Neither `spec.cluster.pdAddrs`, nor the Cluster, nor a Service says where PD is.
    PDNotFound,
    /// There is no Cluster of the name in `spec.cluster.name`.
    ClusterNotFound,
    /// No TiDB that the TiProxy may route to is healthy.
    BackendsUnavailable,
    /// A TiDB that the TiProxy may route to is healthy.
    BackendsHealthy,
    /// Whether a TiDB is available cannot be told.
    BackendsUnknown,
    /// The TiProxy has found no healthy TiDB since it started.
    NoBackendFound,
    /// The TiDBs that the TiProxy knew are not healthy any more.
    BackendsUnhealthy,
    /// TiDBs are healthy, and none carries the label that the TiProxy asks for.
    NoBackendWithLabel,
    /// Sessions cannot be moved from one TiDB to another.
    SessionMigrationFailing,
    /// The Cluster's compute is suspended.
    Suspended,
    /// The Cluster, or the rollout, is paused.
    Paused,
    /// A Pod runs and is not ready.
    NotReady,
    /// The TiProxy is leaving.
    Leaving,
    /// Clients are given time to leave.
    Draining,
    /// All clients have left, or were given all the time there is.
    DrainComplete,
    /// The Cluster asks for no suspension.
    NotSuspended,
    /// The node of a Pod does not end it.
    PodLost,
    /// TiProxy runs with the configuration that the spec asks for.
    ConfigInEffect,
    /// TiProxy does not run with the configuration that the spec asks for.
    ConfigNotInEffect,
    /// What TiProxy runs with cannot be read.
    ConfigUnknown,
    /// Too few TiProxies are available.
    Unavailable,
    /// Enough TiProxies are available.
    MinimumAvailable,
    /// Every volume is bound and as the spec asks for.
    VolumesBound,
    /// A volume is being made larger, or given another `VolumeAttributesClass`.
    VolumeChanging,
    /// Parts of the spec are overridden, unknown or without effect.
    Warnings,
    /// There is nothing to warn of.
    NoWarnings,
    /// Fields are accepted and not acted on yet.
    NotYetSupported,
    /// The spec cannot be carried out.
    InvalidSpec,
    /// Somebody else's object has one of our names.
    NameConflict,
    /// A `CustomResourceDefinition` is not this operator's, or of another version: it lacks a field.
    ForeignDefinition,
    /// The group belongs to TiDB Operator v2.
    ManagedByTiDBOperator,
    /// The image cannot be pulled.
    ImageUnavailable,
    /// The container ends again and again.
    CrashLooping,
    /// No node fits.
    Unschedulable,
    /// A Secret, or a key in it, is missing.
    SecretMissing,
    /// A volume is not bound.
    VolumeNotBound,
    /// A quota is used up.
    QuotaExceeded,
    /// An admission policy refuses an object.
    AdmissionDenied,
    /// A rollout makes no progress.
    ProgressDeadlineExceeded,
    /// The operator lacks a right.
    Forbidden,
    /// The API server refused a write for another reason.
    WriteFailed,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_valid_condition_reasons() {
        for reason in Reason::ALL {
            assert!(
                reason
                    .as_str()
                    .chars()
                    .all(|character| character.is_ascii_alphanumeric())
            );
        }
    }

    #[test]
    fn every_reason_is_explained() {
        let page = include_str!("../../docs/reference/conditions.md");
        for reason in Reason::ALL {
            assert!(
                page.contains(&format!("\n## {}\n", reason.as_str())),
                "{} is not explained",
                reason.as_str()
            );
        }
    }
}
