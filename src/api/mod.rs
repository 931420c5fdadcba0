//! The custom resources: types, schema, validation rules, conditions and names. Nothing here talks to a cluster.
//!
//! What a user writes is [`TiProxyGroup`]; [`TiProxy`] is written by the group controller; [`Cluster`] is the part
//! of TiDB Operator's kind that is read here. Rules that a schema cannot say stand in [`rule`].

pub mod cluster;
pub mod condition;
pub mod crd;
pub mod group;
pub mod instance;
pub mod name;
pub mod probe;
pub mod quantity;
pub mod rule;
pub mod security;
pub mod service;
pub mod template;
pub mod volume;

pub use cluster::{Cluster, ClusterReference};
pub use group::{TiProxyGroup, TiProxyGroupSpec, TiProxyGroupStatus};
pub use instance::{Discovery, TiProxy, TiProxySpec, TiProxyStatus};
pub use template::{TiProxyTemplate, TiProxyTemplateSpec};

/// The API group of all kinds.
pub const GROUP: &str = "core.pingcap.com";
/// The API version of all kinds.
pub const VERSION: &str = "v1alpha1";
