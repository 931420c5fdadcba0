//! The `ConfigMap` with `config.toml`.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::ConfigMap;

use super::super::location::{self, Labels, Location};
use super::super::validate::Instance;
use super::tls::Tls;
use crate::proxy_config::{self, Managed, Rendered};

/// The key of the configuration in the `ConfigMap`, and its file name in the Pod.
pub const CONFIG_FILE: &str = "config.toml";

/// The `ConfigMap` of a TiProxy that runs at this place.
#[must_use]
pub fn config_map(instance: &Instance, tls: &Tls, location: &Location) -> ConfigMap {
    let toml = rendered(instance, tls, &location.labels).toml;
    let mut config_map = ConfigMap {
        metadata: super::metadata(instance),
        data: Some(BTreeMap::from([(CONFIG_FILE.to_owned(), toml)])),
        ..ConfigMap::default()
    };
    location.record(&mut config_map);
    config_map
}

/// The configuration of a TiProxy that runs where these labels say, and what to tell of it.
#[must_use]
pub fn rendered(instance: &Instance, tls: &Tls, labels: &Labels) -> Rendered {
    let managed = Managed {
        default_labels: labels.clone(),
        ..managed(instance, tls)
    };
    proxy_config::render(&instance.config, &managed)
}

/// What the operator sets in the configuration, as far as it is known before a node is.
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
        default_labels: location::of_topology(instance.spec.topology.as_ref()),
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
