//! TLS of a TiProxy: which Secrets are mounted where, and what the configuration says of them.
//!
//! The table of the design, section 5. Secrets are mounted by name and never read.

use k8s_openapi::api::core::v1::{
    KeyToPath, ProjectedVolumeSource, SecretProjection, SecretVolumeSource, Volume, VolumeMount,
    VolumeProjection,
};

use super::super::validate::Instance;
use crate::api::TiProxySpec;
use crate::api::name::{SecretPurpose, default_secret};
use crate::api::security::{ClientAuth, SecretReference, ServerTls, Tls as TlsSpec};
use crate::proxy_config::{Tls as TlsConfig, TlsFiles};

const CA: &str = "ca.crt";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";

/// Everything about TLS that the Pod and the configuration need.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tls {
    /// The volumes with certificates.
    pub volumes: Vec<Volume>,
    /// Where they are mounted.
    pub mounts: Vec<VolumeMount>,
    /// `[security]` of the configuration.
    pub config: TlsConfig,
    /// Whether the HTTP API speaks TLS.
    pub http: bool,
    /// Whether the HTTP API demands a client's certificate, which the kubelet cannot show.
    pub http_requires_certificate: bool,
}

/// A place where certificates are mounted.
struct Place {
    volume: &'static str,
    path: &'static str,
}

const CLUSTER: Place = Place {
    volume: "ti-tls",
    path: "/var/lib/tiproxy-tls",
};
const HTTP: Place = Place {
    volume: "ti-tiproxy-http-tls",
    path: "/var/lib/tiproxy-http-tls",
};
const SQL: Place = Place {
    volume: "ti-tiproxy-sql-tls",
    path: "/var/lib/tiproxy-sql-tls",
};
const BACKEND: Place = Place {
    volume: "ti-tiproxy-tidb-tls",
    path: "/var/lib/tiproxy-tidb-tls",
};

/// Where certificates are mounted.
pub const DIRECTORIES: [&str; 4] = [CLUSTER.path, HTTP.path, SQL.path, BACKEND.path];

/// The TLS of a TiProxy.
#[must_use]
pub fn tls(instance: &Instance) -> Tls {
    let none = TlsSpec::default();
    let spec = instance
        .spec
        .template
        .security
        .as_ref()
        .and_then(|security| security.tls.as_ref())
        .unwrap_or(&none);
    let mut tls = Tls::default();
    if instance.discovery.tls.unwrap_or(false) {
        cluster(instance, spec, &mut tls);
    }
    http(instance, spec, &mut tls);
    sql(instance, spec, &mut tls);
    backend(instance, spec, &mut tls);
    tls
}

/// The field that asks for a volume with certificates; `None` for any other volume.
#[must_use]
pub fn asked_by(instance: &Instance, volume: &str) -> Option<&'static str> {
    let security = instance.spec.template.security.as_ref();
    let tls = security.and_then(|security| security.tls.as_ref());
    let cluster = if tls.is_some_and(|tls| tls.cluster.is_some()) {
        "spec.template.spec.security.tls.cluster"
    } else {
        "the Cluster's spec.tlsCluster"
    };
    let server = if tls.is_some_and(|tls| tls.server.is_some()) {
        "spec.template.spec.security.tls.server"
    } else {
        cluster
    };
    [
        (CLUSTER, cluster),
        (HTTP, server),
        (SQL, "spec.template.spec.security.tls.mysql"),
        (BACKEND, "spec.template.spec.security.tls.backend"),
    ]
    .into_iter()
    .find_map(|(place, field)| (place.volume == volume).then_some(field))
}

fn cluster(instance: &Instance, spec: &TlsSpec, tls: &mut Tls) {
    let (ca, pair) = cluster_secrets(instance, spec);
    let skip_ca = spec
        .cluster
        .as_ref()
        .and_then(|cluster| cluster.insecure_skip_tls_verify)
        .unwrap_or(false);
    // With a CA TiProxy ignores skip-ca, so not verifying means not giving it the CA.
    let ca = (!skip_ca).then_some(ca);
    tls.config.cluster = Some(tls.mount(&CLUSTER, ca, Some(pair), skip_ca));
}

/// The Secrets of the TLS to PD, which the HTTP API uses too unless it has its own.
fn cluster_secrets(instance: &Instance, spec: &TlsSpec) -> (String, String) {
    let cluster = spec.cluster.as_ref();
    (
        secret(
            instance,
            cluster.and_then(|cluster| cluster.ca.as_ref()),
            SecretPurpose::Cluster,
        ),
        secret(
            instance,
            cluster.and_then(|cluster| cluster.cert_key_pair.as_ref()),
            SecretPurpose::Cluster,
        ),
    )
}

/// Whether the HTTP API speaks TLS: as PD and TiDB do, unless the spec says otherwise.
#[must_use]
pub fn speaks_tls_on_http(spec: &TiProxySpec) -> bool {
    let security = spec.template.security.as_ref();
    let server = security.and_then(|security| security.tls.as_ref()?.server.as_ref());
    let like_cluster = spec.discovery.as_ref().and_then(|discovery| discovery.tls);
    server.map_or(like_cluster.unwrap_or(false), |server| server.enabled)
}

fn http(instance: &Instance, spec: &TlsSpec, tls: &mut Tls) {
    if !speaks_tls_on_http(&instance.spec) {
        return;
    }
    let server = spec.server.as_ref();
    let (default_ca, default_pair) = cluster_secrets(instance, spec);
    let ca = server
        .and_then(|server| server.ca.as_ref())
        .map_or(default_ca, |ca| ca.name.clone());
    let pair = server
        .and_then(|server| server.cert_key_pair.as_ref())
        .map_or(default_pair, |pair| pair.name.clone());
    tls.http = true;
    let auth = client_auth(server);
    tls.http_requires_certificate = auth == ClientAuth::RequireClientCert;
    let (ca, skip_ca) = server_side(auth, ca);
    tls.config.server_http = Some(tls.mount(&HTTP, ca, Some(pair), skip_ca));
}

fn sql(instance: &Instance, spec: &TlsSpec, tls: &mut Tls) {
    let Some(mysql) = spec.mysql.as_ref().filter(|mysql| mysql.enabled) else {
        return;
    };
    let ca = secret(instance, mysql.ca.as_ref(), SecretPurpose::Server);
    let pair = secret(instance, mysql.cert_key_pair.as_ref(), SecretPurpose::Server);
    let (ca, skip_ca) = server_side(client_auth(Some(mysql)), ca);
    tls.config.server_sql = Some(tls.mount(&SQL, ca, Some(pair), skip_ca));
}

fn backend(instance: &Instance, spec: &TlsSpec, tls: &mut Tls) {
    let Some(backend) = spec.backend.as_ref().filter(|backend| backend.enabled) else {
        return;
    };
    let skip_ca = backend.insecure_skip_tls_verify.unwrap_or(false);
    let ca = (!skip_ca).then(|| secret(instance, backend.ca.as_ref(), SecretPurpose::Backend));
    let pair = backend
        .mutual
        .unwrap_or(false)
        .then(|| secret(instance, backend.cert_key_pair.as_ref(), SecretPurpose::Backend));
    tls.config.backend = Some(tls.mount(&BACKEND, ca, pair, skip_ca));
    // Without it clients without TLS would reach TiDB without TLS.
    tls.config.require_backend_tls = true;
}

fn client_auth(server: Option<&ServerTls>) -> ClientAuth {
    server
        .and_then(|server| server.client_auth)
        .unwrap_or(ClientAuth::VerifyClientCertIfNeed)
}

/// What a server asks of its clients: the CA's Secret, and whether a client without certificate is welcome.
fn server_side(auth: ClientAuth, ca: String) -> (Option<String>, bool) {
    match auth {
        ClientAuth::NoClientCert => (None, false),
        ClientAuth::VerifyClientCertIfNeed => (Some(ca), true),
        ClientAuth::RequireClientCert => (Some(ca), false),
    }
}

fn secret(instance: &Instance, named: Option<&SecretReference>, purpose: SecretPurpose) -> String {
    named.map_or_else(
        || default_secret(&instance.group, purpose),
        |reference| reference.name.clone(),
    )
}

impl Tls {
    /// Mounts what is given at a place, and tells the configuration where it is.
    fn mount(&mut self, place: &Place, ca: Option<String>, pair: Option<String>, skip_ca: bool) -> TlsFiles {
        let path = |file: &str| format!("{}/{file}", place.path);
        let object = TlsFiles {
            ca: ca.as_ref().map(|_| path(CA)),
            cert: pair.as_ref().map(|_| path(CERTIFICATE)),
            key: pair.as_ref().map(|_| path(KEY)),
            skip_ca,
        };
        if let Some(volume) = volume(place, ca, pair) {
            self.volumes.push(volume);
            self.mounts.push(VolumeMount {
                name: place.volume.to_owned(),
                mount_path: place.path.to_owned(),
                read_only: Some(true),
                ..VolumeMount::default()
            });
        }
        object
    }
}

/// The keys are listed, so that a missing one is named by the kubelet instead of by a process that cannot start.
fn volume(place: &Place, ca: Option<String>, pair: Option<String>) -> Option<Volume> {
    let name = place.volume.to_owned();
    let of_one = |secret: String, keys: &[&str]| Volume {
        name: name.clone(),
        secret: Some(SecretVolumeSource {
            secret_name: Some(secret),
            items: Some(items(keys)),
            ..SecretVolumeSource::default()
        }),
        ..Volume::default()
    };
    match (ca, pair) {
        (None, None) => None,
        (Some(ca), None) => Some(of_one(ca, &[CA])),
        (None, Some(pair)) => Some(of_one(pair, &[CERTIFICATE, KEY])),
        (Some(ca), Some(pair)) if ca == pair => Some(of_one(pair, &[CA, CERTIFICATE, KEY])),
        (Some(ca), Some(pair)) => Some(Volume {
            name: name.clone(),
            projected: Some(ProjectedVolumeSource {
                sources: Some(vec![projection(ca, &[CA]), projection(pair, &[CERTIFICATE, KEY])]),
                ..ProjectedVolumeSource::default()
            }),
            ..Volume::default()
        }),
    }
}

fn projection(secret: String, keys: &[&str]) -> VolumeProjection {
    VolumeProjection {
        secret: Some(SecretProjection {
            name: secret,
            items: Some(items(keys)),
            optional: None,
        }),
        ..VolumeProjection::default()
    }
}

fn items(keys: &[&str]) -> Vec<KeyToPath> {
    keys.iter()
        .map(|key| KeyToPath {
            key: (*key).to_owned(),
            path: (*key).to_owned(),
            mode: None,
        })
        .collect()
}
