//! The TiProxy operator: two controllers that turn a `TiProxyGroup` into running TiProxies.
//!
//! The **group controller** ([`group`]) turns a `TiProxyGroup` into `TiProxy` objects, two Services, a
//! `PodDisruptionBudget` and, on request, a `NetworkPolicy`. The **instance controller** ([`instance`]) turns one
//! `TiProxy` into one `ConfigMap`, the claims of its volumes and one Pod. Both read their caches, decide by pure
//! functions, and write through one executor: `observe`, `validate`, `plan`, `execute`, `status`, in this order and in
//! files of these names.
//!
//! [`api`] holds the custom resources, [`proxy_config`] renders `config.toml`, [`proxy_api`] asks the running TiProxies,
//! [`runtime`] is what kube lacks and knows no TiProxy.

pub mod api;
pub mod claim;
pub mod cli;
pub mod context;
pub mod group;
pub mod instance;
pub mod metrics;
pub mod operator_pods;
pub mod ownership;
pub mod pod_overlay;
pub mod problem;
pub mod proxy_api;
pub mod proxy_config;
pub mod render;
pub mod report;
pub mod revision;
pub mod run;
pub mod runtime;
pub mod server;
pub mod status_writer;
pub mod telemetry;
pub mod template_metadata;
pub mod watches;
