//! What every TiProxy of a group is made from: `spec.template`.

use std::collections::BTreeMap;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::probe::Probes;
use super::quantity::Quantity;
use super::security::Security;
use super::volume::{Overlay, OverlayMetadata, Volume};

/// The image used when `image` is absent.
pub const DEFAULT_IMAGE: &str = "pingcap/tiproxy";
/// How long clients have to leave when the spec does not say.
const DEFAULT_DRAIN_TIMEOUT_SECONDS: u64 = 60;
/// How long nobody connects before a TiProxy counts as empty, when the spec does not say.
const DEFAULT_DRAIN_QUIET_SECONDS: u64 = 15;
/// The SQL port used when the spec names none.
pub const DEFAULT_SQL_PORT: u16 = 6000;
/// The API port used when the spec names none.
pub const DEFAULT_API_PORT: u16 = 3080;
/// Seconds that a Pod goes on serving after its deletion began, when the spec names none.
pub const DEFAULT_PRE_STOP_SLEEP_SECONDS: i64 = 10;

/// The template of a group's TiProxies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TiProxyTemplate {
    /// Labels and annotations of each TiProxy and its Pod. They are changed in place, without a restart; the
    /// annotation `pingcap.com/restartedAt` asks for a rolling restart whenever its value changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub metadata: Option<OverlayMetadata>,
    /// What each TiProxy runs.
    pub spec: TiProxyTemplateSpec,
}

/// What a TiProxy runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TiProxyTemplateSpec {
    /// TiProxy's version, such as `v1.3.2`: semantic versioning, usable as an image tag (no build metadata).
    #[schemars(length(min = 1, max = 128))]
    pub version: String,
    /// The image; `:<version>` is appended when it has neither tag nor digest. Default: `pingcap/tiproxy`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 512))]
    pub image: Option<String>,
    /// Ports and labels of the TiProxy server.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<Server>,
    /// How connections are spread over TiDBs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balance: Option<Balance>,
    /// Capture and replay of client traffic.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traffic_replay: Option<TrafficReplay>,
    /// Compute resources of the container `tiproxy`. Default: none asked for and no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resources: Option<Resources>,
    /// Volumes of each TiProxy. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 256))]
    pub volumes: Option<Vec<Volume>>,
    /// TiProxy's configuration in TOML, the base that the operator's own keys are set in. Default: empty.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 65536))]
    pub config: Option<String>,
    /// How changes reach running TiProxies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub update_strategy: Option<UpdateStrategy>,
    /// How the kubelet judges a TiProxy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probes: Option<Probes>,
    /// What happens before a TiProxy is told to stop.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pre_stop: Option<PreStop>,
    /// How clients are given time to leave before a TiProxy goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drain: Option<Drain>,
    /// Security of TiProxy's connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub security: Option<Security>,
    /// Changes laid over what the operator builds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlay: Option<Overlay>,
}

impl TiProxyTemplateSpec {
    /// How long clients have to leave; zero takes a TiProxy away at once.
    #[must_use]
    pub fn drain_timeout(&self) -> Duration {
        let seconds = self.drain.as_ref().and_then(|drain| drain.timeout_seconds);
        Duration::from_secs(seconds.map_or(DEFAULT_DRAIN_TIMEOUT_SECONDS, |seconds| {
            u64::try_from(seconds).unwrap_or_default()
        }))
    }

    /// How long nobody is connected and nobody connects before a TiProxy counts as empty.
    #[must_use]
    pub fn drain_quiet(&self) -> Duration {
        let seconds = self.drain.as_ref().and_then(|drain| drain.quiet_seconds);
        Duration::from_secs(seconds.map_or(DEFAULT_DRAIN_QUIET_SECONDS, |seconds| {
            u64::try_from(seconds).unwrap_or_default()
        }))
    }

    /// The SQL port: `server.port.sql`, else `server.ports.client.port`, else 6000.
    #[must_use]
    pub fn sql_port(&self) -> u16 {
        let server = self.server.as_ref();
        server
            .and_then(|server| server.port.as_ref()?.sql)
            .or_else(|| Some(server?.ports.as_ref()?.client.as_ref()?.port))
            .and_then(|port| u16::try_from(port).ok())
            .unwrap_or(DEFAULT_SQL_PORT)
    }

    /// The API port: `server.port.api`, else `server.ports.api.port`, else 3080.
    #[must_use]
    pub fn api_port(&self) -> u16 {
        let server = self.server.as_ref();
        server
            .and_then(|server| server.port.as_ref()?.api)
            .or_else(|| Some(server?.ports.as_ref()?.api.as_ref()?.port))
            .and_then(|port| u16::try_from(port).ok())
            .unwrap_or(DEFAULT_API_PORT)
    }

    /// The image with its tag or digest.
    #[must_use]
    pub fn image_reference(&self) -> String {
        let image = self.image.as_deref().unwrap_or(DEFAULT_IMAGE);
        // A colon before the last slash is the port of a registry, not a tag.
        let last = image.rsplit('/').next().unwrap_or(image);
        if last.contains(':') || last.contains('@') {
            image.to_owned()
        } else {
            format!("{image}:{}", self.version)
        }
    }

    /// Seconds of the preStop sleep.
    #[must_use]
    pub fn pre_stop_sleep_seconds(&self) -> i64 {
        self.pre_stop
            .as_ref()
            .and_then(|pre_stop| pre_stop.sleep_seconds)
            .map_or(DEFAULT_PRE_STOP_SLEEP_SECONDS, i64::from)
    }
}

/// Ports and labels of the TiProxy server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Server {
    /// The ports. Give either `port` or `ports`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<Port>,
    /// The ports in TiDB Operator's form. Give either `port` or `ports`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ports: Option<Ports>,
    /// TiProxy's own labels: `[labels]` of its configuration. `zone`, `host` and `region` come from the node.
    /// Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<BTreeMap<String, String>>,
}

/// The ports.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Port {
    /// The port for MySQL clients. Default: 6000.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub sql: Option<i32>,
    /// The port of the HTTP API and the metrics. Default: 3080.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65535))]
    pub api: Option<i32>,
}

/// The ports in TiDB Operator's form.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Ports {
    /// The port for MySQL clients. Default: 6000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client: Option<PortNumber>,
    /// The port of the HTTP API and the metrics. Default: 3080.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api: Option<PortNumber>,
    /// Accepted for manifests of TiDB Operator; without effect, since TiProxy has no such port.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer: Option<PortNumber>,
}

/// A port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PortNumber {
    /// The port's number.
    #[schemars(range(min = 1, max = 65535))]
    pub port: i32,
}

/// How connections are spread over TiDBs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Balance {
    /// The label that decides which TiDBs are used: those whose value equals TiProxy's own in `server.labels`.
    /// Default: every TiDB is used.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253))]
    pub label_name: Option<String>,
}

/// Capture and replay of client traffic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct TrafficReplay {
    /// Whether the API may capture and replay traffic. Default: `false`, since that API asks for no password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub enabled: Option<bool>,
}

/// Compute resources. Give either `cpu` and `memory`, or `requests` and `limits`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Resources {
    /// CPU, as request and limit. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cpu: Option<Quantity>,
    /// Memory, as request and limit. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub memory: Option<Quantity>,
    /// What the scheduler reserves, by resource. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requests: Option<BTreeMap<String, Quantity>>,
    /// What the container may use at most, by resource. Default: no limit.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limits: Option<BTreeMap<String, Quantity>>,
}

/// How changes reach running TiProxies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct UpdateStrategy {
    /// How changes of the configuration reach running TiProxies. `HotReload`: what TiProxy can reload is
    /// reloaded, the rest rolls. `Restart`: every change rolls. Default: `HotReload`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<ConfigUpdateStrategy>,
}

/// How changes of the configuration reach running TiProxies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConfigUpdateStrategy {
    /// What TiProxy can reload is reloaded.
    HotReload,
    /// Every change rolls.
    Restart,
}

/// What happens before a TiProxy is told to stop.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct PreStop {
    /// Seconds that a Pod goes on serving after its deletion began, so that every node learns of it. Default: 10.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 86400))]
    pub sleep_seconds: Option<i32>,
}

/// How clients are given time to leave before a TiProxy goes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Drain {
    /// Seconds that clients have at most; 0 takes TiProxies away at once. Default: the annotation
    /// `core.pingcap.com/tiproxy-graceful-shutdown-delete-delay-seconds` when it is a number, else 60.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 604_800))]
    pub timeout_seconds: Option<i32>,
    /// Seconds without a connection and without a new one after which a TiProxy counts as empty. Default: 15.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 3600))]
    pub quiet_seconds: Option<i32>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn template(spec: serde_json::Value) -> TiProxyTemplateSpec {
        serde_json::from_value(spec).unwrap()
    }

    #[test]
    fn the_version_is_the_tag_unless_the_image_has_one() {
        for (image, expected) in [
            (None, "pingcap/tiproxy:v1.3.2"),
            (
                Some("example.com:5000/tiproxy"),
                "example.com:5000/tiproxy:v1.3.2",
            ),
            (
                Some("example.com:5000/tiproxy:nightly"),
                "example.com:5000/tiproxy:nightly",
            ),
            (Some("tiproxy@sha256:abc"), "tiproxy@sha256:abc"),
        ] {
            let spec = TiProxyTemplateSpec {
                version: "v1.3.2".into(),
                image: image.map(Into::into),
                ..TiProxyTemplateSpec::default()
            };
            assert_eq!(spec.image_reference(), expected);
        }
    }

    #[test]
    fn both_forms_of_ports_are_read() {
        let none = template(serde_json::json!({"version": "v1.3.2"}));
        assert_eq!((none.sql_port(), none.api_port()), (6000, 3080));
        let ours = template(serde_json::json!({"version": "v1.3.2", "server": {"port": {"sql": 4000}}}));
        assert_eq!((ours.sql_port(), ours.api_port()), (4000, 3080));
        let theirs = template(
            serde_json::json!({"version": "v1.3.2", "server": {"ports": {"client": {"port": 1}, "api": {"port": 2}}}}),
        );
        assert_eq!((theirs.sql_port(), theirs.api_port()), (1, 2));
    }
}
