//! Probes of a TiProxy Pod: `spec.template.spec.probes`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How the kubelet judges a TiProxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Probes {
    /// Whether the Pod gets new connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub readiness: Option<ReadinessProbe>,
    /// Whether the container is restarted. Default: off, since TiProxy's health tells the state of TiDB too, and a
    /// restart would only cut clients. When it is on, it opens a TCP connection to the API port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub liveness: Option<TcpProbe>,
    /// Holds the other probes back until it succeeds once. Default: off. When it is on, it opens a TCP connection
    /// to the API port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub startup: Option<TcpProbe>,
}

/// The readiness probe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ReadinessProbe {
    /// How to ask: `http` asks TiProxy's health API; `tcp` opens a connection to the API port; `command` runs
    /// `curl` in the container, which the image must hold. Default: `http`.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub probe_type: Option<ReadinessProbeType>,
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub timing: ProbeTiming,
}

/// How readiness is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ReadinessProbeType {
    /// `GET /api/debug/health` on the API port.
    Http,
    /// A TCP connection to the API port.
    Tcp,
    /// `curl` in the container.
    Command,
}

/// A probe that opens a TCP connection to the API port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TcpProbe {
    /// Whether the probe is on. Default: `false`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
    #[serde(flatten)]
    #[allow(missing_docs)]
    pub timing: ProbeTiming,
}

/// The usual timing fields of a probe.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ProbeTiming {
    /// Seconds after the container's start before the first probe. Default: 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86400))]
    pub initial_delay_seconds: Option<i32>,
    /// Seconds after which a probe without an answer fails. Default: 1 for tcp, 3 for http and command.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub timeout_seconds: Option<i32>,
    /// Seconds between two probes. Default: 5 for readiness, 10 for the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 3600))]
    pub period_seconds: Option<i32>,
    /// Successes in a row that turn a failed probe good; must be 1 for liveness and startup. Default: 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub success_threshold: Option<i32>,
    /// Failures in a row that turn a good probe bad. Default: 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 1000))]
    pub failure_threshold: Option<i32>,
}
