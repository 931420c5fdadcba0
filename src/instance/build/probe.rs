//! Probes of a TiProxy Pod.

use k8s_openapi::api::core::v1::{ExecAction, HTTPGetAction, Probe, TCPSocketAction};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

use super::super::validate::Instance;
use super::tls::Tls;
use crate::api::name;
use crate::api::probe::{ProbeTiming, Probes, ReadinessProbeType, TcpProbe};

const HEALTH_PATH: &str = "/api/debug/health";

/// The probes of the container `tiproxy`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ContainerProbes {
    /// Whether the Pod gets new connections.
    pub readiness: Probe,
    /// Whether the container is restarted.
    pub liveness: Option<Probe>,
    /// Holds the other two back.
    pub startup: Option<Probe>,
}

/// The probes that the spec asks for.
#[must_use]
pub fn probes(instance: &Instance, tls: &Tls) -> ContainerProbes {
    let none = Probes::default();
    let spec = instance.spec.template.probes.as_ref().unwrap_or(&none);
    ContainerProbes {
        readiness: readiness(instance, spec, tls),
        liveness: tcp_probe(spec.liveness.as_ref()),
        startup: tcp_probe(spec.startup.as_ref()),
    }
}

/// How the kubelet finds out whether a Pod is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbedBy {
    /// It asks TiProxy for its health.
    Http {
        /// `HTTP` or `HTTPS`.
        scheme: &'static str,
    },
    /// It connects to the API port.
    Tcp,
    /// It lets the container ask for TiProxy's health.
    Command,
}

/// How the kubelet finds out whether the Pod is ready.
#[must_use]
pub fn probed_by(instance: &Instance, tls: &Tls) -> ProbedBy {
    let probes = instance.spec.template.probes.as_ref();
    let asked = probes.and_then(|probes| probes.readiness.as_ref()?.probe_type);
    match asked.unwrap_or(ReadinessProbeType::Http) {
        // The kubelet has no certificate to show, so a port that demands one can only be asked by TCP.
        ReadinessProbeType::Http if tls.http_requires_certificate => ProbedBy::Tcp,
        ReadinessProbeType::Http => ProbedBy::Http {
            scheme: if tls.http { "HTTPS" } else { "HTTP" },
        },
        ReadinessProbeType::Tcp => ProbedBy::Tcp,
        ReadinessProbeType::Command => ProbedBy::Command,
    }
}

/// Whether the kubelet judges the Pod by TiProxy's health, by its own or by the container's means.
#[must_use]
pub fn asks_for_health(instance: &Instance, tls: &Tls) -> bool {
    probed_by(instance, tls) != ProbedBy::Tcp
}

fn readiness(instance: &Instance, spec: &Probes, tls: &Tls) -> Probe {
    let readiness = spec.readiness.clone().unwrap_or_default();
    let (probe, timeout) = match probed_by(instance, tls) {
        ProbedBy::Http { scheme } => {
            let http_get = HTTPGetAction {
                path: Some(HEALTH_PATH.to_owned()),
                port: IntOrString::String(name::PORT_API.to_owned()),
                scheme: Some(scheme.to_owned()),
                ..HTTPGetAction::default()
            };
            (
                Probe {
                    http_get: Some(http_get),
                    ..Probe::default()
                },
                3,
            )
        }
        ProbedBy::Tcp => (
            Probe {
                tcp_socket: Some(api_port()),
                ..Probe::default()
            },
            1,
        ),
        ProbedBy::Command => {
            let exec = ExecAction {
                command: Some(health_command(instance, tls)),
            };
            (
                Probe {
                    exec: Some(exec),
                    ..Probe::default()
                },
                3,
            )
        }
    };
    timed(probe, &readiness.timing, 5, timeout)
}

fn health_command(instance: &Instance, tls: &Tls) -> Vec<String> {
    let scheme = if tls.http { "https" } else { "http" };
    let url = format!(
        "{scheme}://127.0.0.1:{}{HEALTH_PATH}",
        instance.spec.template.api_port()
    );
    let mut command = vec![
        "curl".to_owned(),
        url,
        "--fail".to_owned(),
        "-sS".to_owned(),
        "--location".to_owned(),
    ];
    if let Some(object) = tls.config.server_http.as_ref() {
        // The certificate names the Pod, not 127.0.0.1, so its name cannot be verified here.
        command.push("--insecure".to_owned());
        if let (Some(_), Some(cert), Some(key)) = (&object.ca, &object.cert, &object.key) {
            command.extend(["--cert".to_owned(), cert.clone(), "--key".to_owned(), key.clone()]);
        }
    }
    command
}

fn tcp_probe(spec: Option<&TcpProbe>) -> Option<Probe> {
    let spec = spec.filter(|spec| spec.enabled.unwrap_or(false))?;
    Some(timed(
        Probe {
            tcp_socket: Some(api_port()),
            ..Probe::default()
        },
        &spec.timing,
        10,
        1,
    ))
}

fn api_port() -> TCPSocketAction {
    TCPSocketAction {
        host: None,
        port: IntOrString::String(name::PORT_API.to_owned()),
    }
}

fn timed(probe: Probe, timing: &ProbeTiming, period: i32, timeout: i32) -> Probe {
    Probe {
        initial_delay_seconds: timing.initial_delay_seconds,
        timeout_seconds: Some(timing.timeout_seconds.unwrap_or(timeout)),
        period_seconds: Some(timing.period_seconds.unwrap_or(period)),
        success_threshold: Some(timing.success_threshold.unwrap_or(1)),
        failure_threshold: Some(timing.failure_threshold.unwrap_or(3)),
        ..probe
    }
}
