//! The four TLS objects, by TiProxy's rules.

use std::fs;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, RootCertStore, ServerConfig, SignatureScheme};

use crate::config::Config;

/// One of `[security.server-tls]`, `server-http-tls`, `cluster-tls` and `sql-tls`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "so are TiProxy's")]
pub struct Object {
    /// `cert`
    pub cert: String,
    /// `key`
    pub key: String,
    /// `ca`
    pub ca: String,
    /// `skip-ca`
    pub skip_ca: bool,
    /// `min-tls-version` is 1.3.
    pub only_newest: bool,
    /// `auto-certs`
    pub auto_certs: bool,
    /// `cert-allowed-cn` has an entry.
    pub pinned: bool,
    /// A CA file without a certificate is an error, as in the newer line.
    pub strict: bool,
}

impl Object {
    /// The object of a configuration.
    #[must_use]
    pub fn of(config: &Config, name: &str) -> Self {
        let path = |key: &str| format!("security.{name}.{key}");
        let text = |key: &str| config.text(&path(key)).to_owned();
        Self {
            cert: text("cert"),
            key: text("key"),
            ca: text("ca"),
            skip_ca: config.flag(&path("skip-ca")),
            only_newest: text("min-tls-version") == "1.3",
            auto_certs: config.flag(&path("auto-certs")),
            pinned: !config.texts(&path("cert-allowed-cn")).is_empty(),
            strict: config.knows(&path("cert-allowed-cn")),
        }
    }

    /// The files that it names.
    pub fn files(&self) -> impl Iterator<Item = &str> {
        [self.cert.as_str(), &self.key, &self.ca]
            .into_iter()
            .filter(|path| !path.is_empty())
    }

    /// As a server: `None` is plain text.
    pub fn server(&self) -> Result<Option<Arc<ServerConfig>>, String> {
        if self.cert.is_empty() && self.key.is_empty() {
            return if self.auto_certs {
                Err("the stand-in makes no certificates: auto-certs is left out".to_owned())
            } else {
                Ok(None)
            };
        }
        let chain = certificates(&self.cert)?;
        let key = PrivateKeyDer::from_pem_slice(&read(&self.key)?)
            .map_err(|error| format!("{}: {error}", self.key))?;
        let versions: &[&rustls::SupportedProtocolVersion] = if self.only_newest {
            &[&rustls::version::TLS13]
        } else {
            rustls::DEFAULT_VERSIONS
        };
        let provider = Arc::new(ring::default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(versions)
            .map_err(|error| error.to_string())?;
        let builder = if self.ca.is_empty() {
            builder.with_no_client_auth()
        } else {
            builder.with_client_cert_verifier(self.verifier(&provider)?)
        };
        let config = builder
            .with_single_cert(chain, key)
            .map_err(|error| format!("{}: {error}", self.cert))?;
        Ok(Some(Arc::new(config)))
    }

    /// The authorities of the CA file. As TiProxy does, what cannot be read is left out.
    fn roots(&self) -> Result<RootCertStore, String> {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(&read(&self.ca)?).flatten() {
            // One that cannot be used does not keep the others out.
            let _ = roots.add(certificate);
        }
        if roots.is_empty() && self.strict {
            return Err("failed to append ca certs".to_owned());
        }
        Ok(roots)
    }

    /// How clients' certificates are judged. Without an authority nobody passes.
    fn verifier(&self, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, String> {
        let mandatory = !self.skip_ca || self.pinned;
        let roots = self.roots()?;
        if roots.is_empty() {
            return Ok(Arc::new(Nobody {
                mandatory,
                provider: Arc::clone(provider),
            }));
        }
        let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider));
        let verifier = if mandatory {
            builder.build()
        } else {
            builder.allow_unauthenticated().build()
        };
        verifier
            .map(|verifier| -> Arc<dyn ClientCertVerifier> { verifier })
            .map_err(|error| format!("{}: {error}", self.ca))
    }

    /// As a client: whether TLS is spoken. Its files are read, so that one that is missing or bad is noticed.
    pub fn client(&self) -> Result<bool, String> {
        if self.ca.is_empty() {
            // The pair is not even looked at.
            return Ok(self.skip_ca);
        }
        self.roots()?;
        if !(self.cert.is_empty() && self.key.is_empty()) {
            let pair = Self {
                ca: String::new(),
                ..self.clone()
            };
            pair.server()?;
        }
        Ok(true)
    }
}

fn read(path: &str) -> Result<Vec<u8>, String> {
    fs::read(path).map_err(|error| format!("open {path}: {error}"))
}

fn certificates(path: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(&read(path)?)
        .collect::<Result<_, _>>()
        .map_err(|error| format!("{path}: {error}"))?;
    if chain.is_empty() {
        return Err(format!("{path}: no certificate"));
    }
    Ok(chain)
}

/// What is made from the objects.
#[derive(Clone, Debug, Default)]
pub struct Tls {
    /// `server-tls`, for clients.
    pub sql: Option<Arc<ServerConfig>>,
    /// `server-http-tls`, for the API.
    pub http: Option<Arc<ServerConfig>>,
    /// Whether `sql-tls` can be used towards TiDB.
    pub backend: bool,
    http_at_start: Option<Object>,
}

impl Tls {
    /// Loads everything. Any error fails the start.
    pub fn load(config: &Config) -> Result<Self, String> {
        let http = Object::of(config, "server-http-tls");
        Object::of(config, "cluster-tls").client()?;
        Ok(Self {
            sql: Object::of(config, "server-tls").server()?,
            http: http.server()?,
            backend: Object::of(config, "sql-tls").client()?,
            http_at_start: Some(http),
        })
    }

    /// Loads everything again; what fails keeps what it had. Returns the reasons.
    pub fn reload(&mut self, config: &Config) -> Vec<String> {
        let mut errors = Vec::new();
        match Object::of(config, "server-tls").server() {
            Ok(server) => self.sql = server,
            Err(error) => errors.push(error),
        }
        match Object::of(config, "sql-tls").client() {
            Ok(usable) => self.backend = usable,
            Err(error) => errors.push(error),
        }
        if let Err(error) = Object::of(config, "cluster-tls").client() {
            errors.push(error);
        }
        match self.http_now(config).server() {
            // The listener was made once, with TLS or without.
            Ok(server) if self.http.is_some() && server.is_some() => self.http = server,
            Ok(_) => {}
            Err(error) => errors.push(error),
        }
        errors
    }

    /// New files, but whom it asks for certificates was fixed at the start.
    fn http_now(&self, config: &Config) -> Object {
        let now = Object::of(config, "server-http-tls");
        let Some(start) = &self.http_at_start else {
            return now;
        };
        let ca = match (start.ca.is_empty(), now.ca.is_empty()) {
            (true, _) => String::new(),
            (false, true) => start.ca.clone(),
            (false, false) => now.ca.clone(),
        };
        Object {
            cert: now.cert,
            key: now.key,
            auto_certs: now.auto_certs,
            ca,
            skip_ca: start.skip_ca,
            only_newest: start.only_newest,
            pinned: start.pinned,
            strict: start.strict,
        }
    }
}

/// The contents of all files that the objects name, to notice that one changed.
#[must_use]
pub fn contents(config: &Config) -> Vec<Option<Vec<u8>>> {
    ["server-tls", "server-http-tls", "cluster-tls", "sql-tls"]
        .iter()
        .flat_map(|name| {
            let object = Object::of(config, name);
            object.files().map(|path| fs::read(path).ok()).collect::<Vec<_>>()
        })
        .collect()
}

/// Lets no certificate pass.
#[derive(Debug)]
struct Nobody {
    mandatory: bool,
    provider: Arc<CryptoProvider>,
}

impl ClientCertVerifier for Nobody {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        Err(rustls::CertificateError::UnknownIssuer.into())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::CertificateError::UnknownIssuer.into())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Err(rustls::CertificateError::UnknownIssuer.into())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
