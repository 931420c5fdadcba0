//! The `ConfigMap` with `config.toml`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;

use super::super::validate::Instance;
use super::tls::Tls;
use crate::proxy_config::{self, Managed, Rendered};

/// The key of the configuration in the `ConfigMap`, and its file name in the Pod.
pub const CONFIG_FILE: &str = "config.toml";

/// The `ConfigMap` of a TiProxy.
#[must_use]
pub fn config_map(instance: &Instance, tls: &Tls) -> ConfigMap {
    let toml = rendered(instance, tls).toml;
    ConfigMap {
        metadata: super::metadata(instance),
        data: Some(BTreeMap::from([(CONFIG_FILE.to_owned(), toml)])),
        ..ConfigMap::default()
    }
}

/// The configuration of a TiProxy, and what to tell of it.
#[must_use]
pub fn rendered(instance: &Instance, tls: &Tls) -> Rendered {
    proxy_config::render(&instance.config, &managed(instance, tls))
}

/// What the operator sets in the configuration.
#[must_use]
pub fn managed(instance: &Instance, tls: &Tls) -> Managed {
    let template = &instance.spec.template;
    Managed {
        sql_port: template.sql_port(),
        api_port: template.api_port(),
        advertise_address: advertise_address(instance),
        pd_addresses: instance.discovery.pd_addrs.clone(),
        labels: template
            .server
            .as_ref()
            .and_then(|server| server.labels.clone())
            .unwrap_or_default(),
        default_labels: BTreeMap::new(),
        label_name: template
            .balance
            .as_ref()
            .and_then(|balance| balance.label_name.clone()),
        traffic_replay: template
            .traffic_replay
            .as_ref()
            .and_then(|replay| replay.enabled)
            .unwrap_or(false),
        tls: tls.config.clone(),
        version: Some(template.version.clone()),
    }
}

/// The Pod's stable DNS name, which TiDB, the dashboard and the other TiProxies use.
fn advertise_address(instance: &Instance) -> String {
    let name = format!(
        "{}.{}.{}.svc",
        instance.pod_name, instance.spec.subdomain, instance.namespace
    );
    match &instance.discovery.cluster_domain {
        Some(domain) => format!("{name}.{domain}"),
        None => name,
    }
}
