//! TLS of a TiProxy: `spec.template.spec.security`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Security of TiProxy's connections.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Security {
    /// TLS of TiProxy's connections.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
}

/// TLS of each kind of connection. Certificates are mounted from Secrets by name and never read by the operator.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Tls {
    /// TLS between MySQL clients and TiProxy, on the SQL port. Default: off.
    /// Default Secret: `<group>-tiproxy-server-secret`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mysql: Option<ServerTls>,
    /// TLS between TiProxy and TiDB's SQL port. Default: off. Default Secret: `<group>-tiproxy-tidb-secret`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backend: Option<BackendTls>,
    /// Secrets of the TLS between TiProxy, PD and TiDB's status port. With a Cluster, that TLS is on when the
    /// Cluster's `spec.tlsCluster.enabled` is; with `spec.cluster.pdAddrs`, it is on when this field is present.
    /// Default Secret: `<group>-tiproxy-cluster-secret`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<ClusterTls>,
    /// TLS of TiProxy's HTTP API. Default: on when the TLS to PD is. Default Secret: that of `cluster`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub server: Option<ServerTls>,
}

/// TLS where TiProxy is the server.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ServerTls {
    /// Whether this TLS is on. An explicit `false` is kept.
    pub enabled: bool,
    /// Whether clients must show a certificate. Default: `VerifyClientCertIfNeed`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_auth: Option<ClientAuth>,
    /// The Secret with `ca.crt`. Default: the default Secret of this TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<SecretReference>,
    /// The Secret with `tls.crt` and `tls.key`. Default: the default Secret of this TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_key_pair: Option<SecretReference>,
}

/// Whether clients must show a certificate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ClientAuth {
    /// Clients are not asked for a certificate, and no CA is needed.
    NoClientCert,
    /// A certificate is verified when a client shows one.
    VerifyClientCertIfNeed,
    /// Every client must show a certificate that the CA signed.
    RequireClientCert,
}

/// TLS where TiProxy is the client of TiDB.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct BackendTls {
    /// Whether this TLS is on. An explicit `false` is kept.
    pub enabled: bool,
    /// Whether TiProxy shows TiDB a certificate of its own. Default: `false`, only TiDB's certificate is verified.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mutual: Option<bool>,
    /// Whether TiDB's certificate is accepted without verification. Default: `false`.
    #[serde(rename = "insecureSkipTLSVerify", skip_serializing_if = "Option::is_none")]
    pub insecure_skip_tls_verify: Option<bool>,
    /// The Secret with `ca.crt`. Default: the default Secret of this TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<SecretReference>,
    /// The Secret with `tls.crt` and `tls.key`; used when `mutual` is `true`. Default: the default Secret.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_key_pair: Option<SecretReference>,
}

/// TLS where TiProxy is a member of the TiDB cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ClusterTls {
    /// Whether certificates of PD and TiDB are accepted without verification. Default: `false`.
    #[serde(rename = "insecureSkipTLSVerify", skip_serializing_if = "Option::is_none")]
    pub insecure_skip_tls_verify: Option<bool>,
    /// The Secret with `ca.crt`. Default: `<group>-tiproxy-cluster-secret`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca: Option<SecretReference>,
    /// The Secret with `tls.crt` and `tls.key`. Default: `<group>-tiproxy-cluster-secret`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cert_key_pair: Option<SecretReference>,
}

/// A Secret of the same namespace.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SecretReference {
    /// The Secret's name.
    #[schemars(length(min = 1, max = 253))]
    pub name: String,
}
