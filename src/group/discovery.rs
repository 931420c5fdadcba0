//! Where PD is, and how it speaks. The first place that is **set** counts; nothing is ever probed. Pure.

use std::sync::Arc;

use k8s_openapi::api::core::v1::Service;
use kube::ResourceExt;

use crate::api::name::PD_PORT;
use crate::api::{Cluster, Discovery, TiProxyGroup};

/// Why nobody knows where PD is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotFound {
    /// There is no Cluster, and no `pdAddrs` that would do without one.
    #[error(
        "there is no Cluster {0} in this namespace; create it, or set spec.cluster.pdAddrs to the addresses of PD"
    )]
    Cluster(String),
    /// There is a Cluster, and it does not say.
    #[error(
        "PD of Cluster {0} is not known yet: neither its status.pd nor its spec.customizedPDServiceName is set, and \
         there is no Service with the labels pingcap.com/cluster={0} and pingcap.com/component=pd and the port 2379; \
         it is used as soon as one of them is there, or set spec.cluster.pdAddrs"
    )]
    Pd(String),
}

/// Finds PD for a group. `pd_services` are the Services of its namespace that are labelled as PD's.
pub fn discover(
    group: &TiProxyGroup,
    cluster: Option<&Cluster>,
    pd_services: &[Arc<Service>],
) -> Result<Discovery, NotFound> {
    let reference = &group.spec.cluster;
    if let Some(addresses) = &reference.pd_addrs {
        let tls = group
            .spec
            .template
            .spec
            .security
            .as_ref()
            .and_then(|security| security.tls.as_ref());
        return Ok(Discovery {
            pd_addrs: addresses.clone(),
            tls: tls.and_then(|tls| tls.cluster.as_ref()).map(|_| true),
            cluster_domain: None,
        });
    }
    let Some(cluster) = cluster else {
        return Err(NotFound::Cluster(reference.name.clone()));
    };
    let domain = cluster_domain(cluster);
    let namespace = group.namespace().unwrap_or_default();
    let of_service = |name: &str| service_address(name, &namespace, domain.as_deref());
    let pd_addrs = of_status(cluster)
        .or_else(|| {
            let name = cluster
                .spec
                .customized_pd_service_name
                .as_ref()
                .filter(|name| !name.is_empty())?;
            Some(vec![of_service(name)])
        })
        .or_else(|| Some(vec![of_service(&labelled_service(&reference.name, pd_services)?)]));
    let Some(pd_addrs) = pd_addrs else {
        return Err(NotFound::Pd(reference.name.clone()));
    };
    let tls = cluster
        .spec
        .tls_cluster
        .as_ref()
        .and_then(|tls| tls.enabled)
        .unwrap_or(false);
    Ok(Discovery {
        pd_addrs,
        tls: tls.then_some(true),
        cluster_domain: domain,
    })
}

fn of_status(cluster: &Cluster) -> Option<Vec<String>> {
    let text = cluster.status.as_ref()?.pd.as_ref()?;
    let addresses: Vec<String> = text
        .split(',')
        .map(|url| {
            url.trim()
                .trim_start_matches("https://")
                .trim_start_matches("http://")
                .trim_end_matches('/')
        })
        .filter(|address| !address.is_empty())
        .map(ToOwned::to_owned)
        .collect();
    (!addresses.is_empty()).then_some(addresses)
}

fn cluster_domain(cluster: &Cluster) -> Option<String> {
    let dns = cluster.spec.dns.as_ref()?;
    (dns.mode.as_deref() == Some("FQDN")).then(|| {
        dns.cluster_domain
            .clone()
            .unwrap_or_else(|| "cluster.local".to_owned())
    })
}

fn service_address(name: &str, namespace: &str, domain: Option<&str>) -> String {
    match domain {
        Some(domain) => format!("{name}.{namespace}.svc.{domain}:{PD_PORT}"),
        None => format!("{name}.{namespace}.svc:{PD_PORT}"),
    }
}

/// The lowest name among PD's Services that are reached by one address: a headless one gives the addresses of Pods.
fn labelled_service(cluster: &str, services: &[Arc<Service>]) -> Option<String> {
    services
        .iter()
        .filter(|service| {
            service
                .labels()
                .get(crate::api::name::LABEL_CLUSTER)
                .is_some_and(|name| name == cluster)
        })
        .filter(|service| service.metadata.deletion_timestamp.is_none())
        .filter(|service| {
            service.spec.as_ref().is_some_and(|spec| {
                spec.cluster_ip.as_deref() != Some("None")
                    && spec.ports.iter().flatten().any(|port| port.port == PD_PORT)
            })
        })
        .map(|service| service.name_any())
        .min()
}

#[cfg(test)]
#[expect(
    clippy::needless_pass_by_value,
    reason = "JSON literals read better without a borrow"
)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn group(cluster: Value) -> TiProxyGroup {
        serde_json::from_value(json!({
            "apiVersion": "core.pingcap.com/v1alpha1", "kind": "TiProxyGroup",
            "metadata": {"name": "web", "namespace": "ns"},
            "spec": {"cluster": cluster, "replicas": 1, "template": {"spec": {"version": "v1.3.2"}}},
        }))
        .unwrap()
    }

    fn cluster(spec: Value, status: Value) -> Cluster {
        serde_json::from_value(json!({
            "apiVersion": "core.pingcap.com/v1alpha1", "kind": "Cluster",
            "metadata": {"name": "basic", "namespace": "ns"}, "spec": spec, "status": status,
        }))
        .unwrap()
    }

    fn service(name: &str, cluster: &str, cluster_ip: &str, port: i32) -> Arc<Service> {
        Arc::new(
            serde_json::from_value(json!({
                "metadata": {"name": name, "labels": {"pingcap.com/cluster": cluster, "pingcap.com/component": "pd"}},
                "spec": {"clusterIP": cluster_ip, "ports": [{"port": port}]},
            }))
            .unwrap(),
        )
    }

    fn found(cluster: Option<&Cluster>, services: &[Arc<Service>]) -> Result<Vec<String>, NotFound> {
        discover(&group(json!({"name": "basic"})), cluster, services).map(|discovery| discovery.pd_addrs)
    }

    #[test]
    fn the_first_place_that_is_set_counts() {
        let services = [
            service("z-pd", "basic", "10.0.0.1", 2379),
            service("b-pd", "basic", "10.0.0.2", 2379),
        ];
        let status = cluster(
            json!({"customizedPDServiceName": "own"}),
            json!({"pd": "https://basic-pd.ns:2379"}),
        );
        assert_eq!(found(Some(&status), &services).unwrap(), ["basic-pd.ns:2379"]);
        let customized = cluster(json!({"customizedPDServiceName": "own"}), json!({}));
        assert_eq!(found(Some(&customized), &services).unwrap(), ["own.ns.svc:2379"]);
        let silent = cluster(json!({}), json!({}));
        assert_eq!(found(Some(&silent), &services).unwrap(), ["b-pd.ns.svc:2379"]);
        let given = group(json!({"name": "basic", "pdAddrs": ["pd.example:2379"]}));
        assert_eq!(
            discover(&given, Some(&status), &services).unwrap().pd_addrs,
            ["pd.example:2379"]
        );
        assert_eq!(discover(&given, None, &[]).unwrap().pd_addrs, ["pd.example:2379"]);
    }

    #[test]
    fn services_that_are_headless_foreign_or_on_another_port_are_not_pd() {
        let silent = cluster(json!({}), json!({}));
        for service in [
            service("pd", "basic", "None", 2379),
            service("pd", "other", "10.0.0.1", 2379),
            service("pd", "basic", "10.0.0.1", 2380),
        ] {
            assert_eq!(
                found(Some(&silent), &[service]),
                Err(NotFound::Pd("basic".to_owned()))
            );
        }
        assert_eq!(found(None, &[]), Err(NotFound::Cluster("basic".to_owned())));
    }

    #[test]
    fn tls_and_domain_come_from_the_cluster() {
        let spec = json!({"tlsCluster": {"enabled": true}, "dns": {"mode": "FQDN"}, "customizedPDServiceName": "pd"});
        let discovery = discover(
            &group(json!({"name": "basic"})),
            Some(&cluster(spec, json!({}))),
            &[],
        )
        .unwrap();
        assert_eq!(discovery.pd_addrs, ["pd.ns.svc.cluster.local:2379"]);
        assert_eq!(discovery.tls, Some(true));
        assert_eq!(discovery.cluster_domain.as_deref(), Some("cluster.local"));
    }
}
