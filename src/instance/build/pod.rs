//! The Pod of a TiProxy.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    ConfigMapVolumeSource, Container, ContainerPort, EnvVar, EnvVarSource, Lifecycle, LifecycleHandler, Pod,
    PodSpec, ResourceFieldSelector, ResourceRequirements, SleepAction, Volume, VolumeMount,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use super::super::validate::Instance;
use super::config_map::CONFIG_FILE;
use super::placement::placement;
use super::tls::Tls;
use super::{probe, security_context, volume};
use crate::api::name;
use crate::api::quantity::Quantity as QuantitySpec;

pub(super) const CONFIG_VOLUME: &str = "ti-config";
/// Where the configuration is mounted.
pub const CONFIG_DIRECTORY: &str = "/etc/tiproxy";
/// Seconds beside the three timers: PD out of reach (15), leaving etcd (2), metering (10), and some to spare.
const GRACE_MARGIN_SECONDS: i64 = 30;

/// The Pod of a TiProxy.
#[must_use]
pub fn pod(instance: &Instance, tls: &Tls) -> Pod {
    let mut metadata = super::metadata(instance);
    let labels = metadata.labels.get_or_insert_default();
    labels.insert(name::LABEL_SERVING.to_owned(), "true".to_owned());
    metadata.annotations = Some(annotations(instance, tls));
    instance.template_metadata.put_into(&mut metadata);
    Pod {
        metadata,
        spec: Some(spec(instance, tls)),
        status: None,
    }
}

/// What a Pod tells Prometheus.
#[must_use]
pub fn annotations(instance: &Instance, tls: &Tls) -> BTreeMap<String, String> {
    let scheme = if tls.http { "https" } else { "http" };
    [
        ("prometheus.io/scrape", "true".to_owned()),
        (
            "prometheus.io/port",
            instance.spec.template.api_port().to_string(),
        ),
        // With the slash: TiProxy answers the path without it by a redirect.
        ("prometheus.io/path", "/metrics/".to_owned()),
        ("prometheus.io/scheme", scheme.to_owned()),
    ]
    .into_iter()
    .map(|(key, value)| (key.to_owned(), value))
    .collect()
}

fn spec(instance: &Instance, tls: &Tls) -> PodSpec {
    let config = Volume {
        name: CONFIG_VOLUME.to_owned(),
        config_map: Some(ConfigMapVolumeSource {
            name: instance.pod_name.clone(),
            ..ConfigMapVolumeSource::default()
        }),
        ..Volume::default()
    };
    let mut spec = PodSpec {
        hostname: Some(instance.pod_name.clone()),
        subdomain: Some(instance.spec.subdomain.clone()),
        automount_service_account_token: Some(false),
        // Hundreds of variables of other Services would only slow the start.
        enable_service_links: Some(false),
        security_context: Some(security_context::of_pod()),
        termination_grace_period_seconds: Some(termination_grace_period_seconds(instance)),
        containers: vec![container(instance, tls)],
        volumes: Some(
            std::iter::once(config)
                .chain(tls.volumes.iter().cloned())
                .chain(volume::pod_volumes(instance))
                .collect(),
        ),
        ..PodSpec::default()
    };
    placement(instance, &mut spec);
    spec
}

fn container(instance: &Instance, tls: &Tls) -> Container {
    let template = &instance.spec.template;
    let probes = probe::probes(instance, tls);
    let config = VolumeMount {
        name: CONFIG_VOLUME.to_owned(),
        mount_path: CONFIG_DIRECTORY.to_owned(),
        read_only: Some(true),
        ..VolumeMount::default()
    };
    let resources = resources(instance);
    Container {
        name: name::CONTAINER.to_owned(),
        image: Some(template.image_reference()),
        image_pull_policy: Some("IfNotPresent".to_owned()),
        command: Some(vec![
            "/bin/tiproxy".to_owned(),
            "--config".to_owned(),
            format!("{CONFIG_DIRECTORY}/{CONFIG_FILE}"),
        ]),
        env: go_max_procs(resources.as_ref()),
        ports: Some(vec![
            port(name::PORT_SQL, template.sql_port()),
            port(name::PORT_API, template.api_port()),
        ]),
        resources,
        lifecycle: pre_stop(template.pre_stop_sleep_seconds()),
        readiness_probe: Some(probes.readiness),
        liveness_probe: probes.liveness,
        startup_probe: probes.startup,
        security_context: Some(security_context::of_container()),
        volume_mounts: Some(
            std::iter::once(config)
                .chain(tls.mounts.iter().cloned())
                .chain(volume::mounts(instance))
                .collect(),
        ),
        ..Container::default()
    }
}

fn port(name: &str, number: u16) -> ContainerPort {
    ContainerPort {
        name: Some(name.to_owned()),
        container_port: i32::from(number),
        protocol: Some("TCP".to_owned()),
        ..ContainerPort::default()
    }
}

/// The native sleep needs neither a shell nor `sleep` in the image.
fn pre_stop(seconds: i64) -> Option<Lifecycle> {
    let sleep = LifecycleHandler {
        sleep: Some(SleepAction { seconds }),
        ..LifecycleHandler::default()
    };
    (seconds > 0).then(|| Lifecycle {
        pre_stop: Some(sleep),
        ..Lifecycle::default()
    })
}

fn resources(instance: &Instance) -> Option<ResourceRequirements> {
    let spec = instance.spec.template.resources.as_ref()?;
    let both: BTreeMap<String, Quantity> = [("cpu", spec.cpu.as_ref()), ("memory", spec.memory.as_ref())]
        .into_iter()
        .filter_map(|(resource, quantity)| Some((resource.to_owned(), quantity?.to_kubernetes())))
        .collect();
    let side = |named: Option<&BTreeMap<String, QuantitySpec>>| {
        let mut quantities = both.clone();
        quantities.extend(
            named
                .into_iter()
                .flatten()
                .map(|(resource, quantity)| (resource.clone(), quantity.to_kubernetes())),
        );
        (!quantities.is_empty()).then_some(quantities)
    };
    Some(ResourceRequirements {
        requests: side(spec.requests.as_ref()),
        limits: side(spec.limits.as_ref()),
        ..ResourceRequirements::default()
    })
}

/// TiProxy built with Go before 1.25 (v1.3.2 is) does not see the CPU limit of its container.
fn go_max_procs(resources: Option<&ResourceRequirements>) -> Option<Vec<EnvVar>> {
    resources?.limits.as_ref()?.get("cpu")?;
    let limit = ResourceFieldSelector {
        resource: "limits.cpu".to_owned(),
        ..ResourceFieldSelector::default()
    };
    Some(vec![EnvVar {
        name: "GOMAXPROCS".to_owned(),
        value: None,
        value_from: Some(EnvVarSource {
            resource_field_ref: Some(limit),
            ..EnvVarSource::default()
        }),
    }])
}

/// How long the Pod has to end: what the overlay says, or time for the preStop sleep, TiProxy's two graceful timers, and what comes after them.
#[must_use]
pub fn termination_grace_period_seconds(instance: &Instance) -> i64 {
    if let Some(seconds) = super::manifest::overlaid_grace_period_seconds(instance) {
        return seconds;
    }
    instance.spec.template.pre_stop_sleep_seconds()
        + i64::from(instance.config.graceful_wait_seconds())
        + i64::from(instance.config.graceful_close_seconds())
        + GRACE_MARGIN_SECONDS
}
