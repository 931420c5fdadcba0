//! The two Services of a group, and what is to change in those that exist.

use k8s_openapi::api::core::v1::{Service, ServicePort, ServiceSpec};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use crate::api::name;
use crate::api::service::{IpFamilyPolicy, ServiceOptions, ServiceType, SessionAffinity, TrafficPolicy};
use crate::group::validate::Group;
use crate::template_metadata::TemplateMetadata;

/// The Service for clients: it leads to the Pods that take new connections.
#[must_use]
pub fn client(group: &Group) -> Service {
    let options = &group.service;
    let service_type = options.service_type.unwrap_or_default();
    let (sql, api) = group.ports();
    let node_port = options.node_ports.as_ref().and_then(|ports| ports.sql);
    let mut ports = vec![ServicePort {
        node_port,
        ..port(name::PORT_SQL, sql)
    }];
    if service_type == ServiceType::ClusterIP {
        // The API asks for no password, so it is never offered to the outside.
        ports.push(port(name::PORT_API, api));
    }
    let mut metadata = super::metadata(group, name::client_service(&group.name));
    user_metadata(group).put_into(&mut metadata);
    Service {
        metadata,
        spec: Some(client_spec(group, options, service_type, ports)),
        status: None,
    }
}

fn client_spec(
    group: &Group,
    options: &ServiceOptions,
    service_type: ServiceType,
    ports: Vec<ServicePort>,
) -> ServiceSpec {
    let text = |value: &str| Some(value.to_owned());
    let from_outside = service_type != ServiceType::ClusterIP;
    // What is not asked for is written as Kubernetes' default, so that it comes back when it is asked for no longer.
    let traffic = |policy: Option<TrafficPolicy>| text(policy.unwrap_or(TrafficPolicy::Cluster).as_str());
    ServiceSpec {
        type_: text(service_type.as_str()),
        selector: Some(name::serving_selector(&group.cluster, &group.name)),
        ports: Some(ports),
        ip_family_policy: text(options.ip_family_policy.unwrap_or_default().as_str()),
        load_balancer_class: options.load_balancer_class.clone(),
        load_balancer_source_ranges: options.load_balancer_source_ranges.clone(),
        external_traffic_policy: from_outside
            .then(|| traffic(options.external_traffic_policy))
            .flatten(),
        internal_traffic_policy: traffic(options.internal_traffic_policy),
        session_affinity: text(options.session_affinity.unwrap_or(SessionAffinity::None).as_str()),
        ..ServiceSpec::default()
    }
}

/// The user's labels and annotations of the client Service.
fn user_metadata(group: &Group) -> TemplateMetadata {
    TemplateMetadata::new(
        group.service.labels.clone().unwrap_or_default(),
        group.service.annotations.clone().unwrap_or_default(),
    )
}

/// The headless Service that gives every Pod its DNS name, ready or not.
#[must_use]
pub fn peer(group: &Group) -> Service {
    let (_, api) = group.ports();
    let spec = ServiceSpec {
        cluster_ip: Some("None".to_owned()),
        publish_not_ready_addresses: Some(true),
        selector: Some(name::group_selector(&group.cluster, &group.name)),
        ports: Some(vec![port(name::PORT_API, api)]),
        ip_family_policy: Some(IpFamilyPolicy::PreferDualStack.as_str().to_owned()),
        ..ServiceSpec::default()
    };
    Service {
        metadata: super::metadata(group, name::peer_service(&group.name)),
        spec: Some(spec),
        status: None,
    }
}

fn port(name: &str, number: u16) -> ServicePort {
    ServicePort {
        name: Some(name.to_owned()),
        port: i32::from(number),
        // By name, so that Pods of two templates may use different numbers.
        target_port: Some(IntOrString::String(name.to_owned())),
        protocol: Some("TCP".to_owned()),
        ..ServicePort::default()
    }
}

/// The Service as it should be, if it is not. Fields that the API server or others set stay.
#[must_use]
pub fn replacement(found: &Service, desired: &Service) -> Option<Service> {
    let mut service = found.clone();
    TemplateMetadata::of_object(&desired.metadata).change(&mut service.metadata);
    super::keep_labels(&mut service.metadata, &desired.metadata);
    if let (Some(spec), Some(wanted)) = (service.spec.as_mut(), desired.spec.as_ref()) {
        merge(spec, wanted);
    }
    (service != *found).then_some(service)
}

fn merge(spec: &mut ServiceSpec, wanted: &ServiceSpec) {
    set(&mut spec.type_, wanted.type_.as_ref());
    set(&mut spec.selector, wanted.selector.as_ref());
    set(&mut spec.ip_family_policy, wanted.ip_family_policy.as_ref());
    set(
        &mut spec.internal_traffic_policy,
        wanted.internal_traffic_policy.as_ref(),
    );
    set(
        &mut spec.publish_not_ready_addresses,
        wanted.publish_not_ready_addresses.as_ref(),
    );
    set(&mut spec.session_affinity, wanted.session_affinity.as_ref());
    if spec.session_affinity.as_deref() != Some(SessionAffinity::ClientIP.as_str()) {
        // The API server sets this with ClientIP and refuses it without.
        spec.session_affinity_config = None;
    }
    spec.load_balancer_source_ranges
        .clone_from(&wanted.load_balancer_source_ranges);
    merge_outside(spec, wanted);
    merge_ports(spec, wanted);
}

/// Fields that only some types have: the API server refuses them on the others.
fn merge_outside(spec: &mut ServiceSpec, wanted: &ServiceSpec) {
    if wanted.external_traffic_policy.is_some() {
        set(
            &mut spec.external_traffic_policy,
            wanted.external_traffic_policy.as_ref(),
        );
    } else if spec.external_ips.iter().flatten().next().is_none() {
        // With external addresses, which somebody else has set, the API server puts it back each time.
        spec.external_traffic_policy = None;
    }
    if wanted.type_.as_deref() == Some(ServiceType::LoadBalancer.as_str()) {
        set(&mut spec.load_balancer_class, wanted.load_balancer_class.as_ref());
    } else {
        spec.load_balancer_class = None;
        spec.allocate_load_balancer_node_ports = None;
    }
}

fn merge_ports(spec: &mut ServiceSpec, wanted: &ServiceSpec) {
    let found = spec.ports.take().unwrap_or_default();
    let has_node_ports = spec.type_.as_deref() != Some(ServiceType::ClusterIP.as_str());
    let ports = wanted.ports.iter().flatten().map(|port| {
        let allocated = found
            .iter()
            .find(|found| found.name == port.name)
            .and_then(|found| found.node_port);
        ServicePort {
            node_port: port.node_port.or(allocated.filter(|_| has_node_ports)),
            ..port.clone()
        }
    });
    spec.ports = Some(ports.collect());
}

fn set<T: Clone>(found: &mut Option<T>, wanted: Option<&T>) {
    if let Some(wanted) = wanted {
        *found = Some(wanted.clone());
    }
}

#[cfg(test)]
mod tests;
