//! The server's side of TLS, with certificates that were made for tests of the client.

use std::sync::Arc;

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

use super::cluster::repository;

/// A server that takes any client.
pub(crate) fn acceptor() -> TlsAcceptor {
    let builder = builder().with_no_client_auth();
    TlsAcceptor::from(Arc::new(with_certificate(builder)))
}

/// A server that takes only clients with a certificate of its authority.
pub(crate) fn demanding_acceptor() -> TlsAcceptor {
    let provider = Arc::new(default_provider());
    let mut roots = RootCertStore::empty();
    roots.add(certificate("ca.crt")).expect("an authority");
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
        .build()
        .expect("it can verify");
    let builder = builder().with_client_cert_verifier(verifier);
    TlsAcceptor::from(Arc::new(with_certificate(builder)))
}

type Builder<State> = tokio_rustls::rustls::ConfigBuilder<ServerConfig, State>;

fn builder() -> Builder<tokio_rustls::rustls::WantsVerifier> {
    ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .expect("the provider knows them")
}

fn with_certificate(builder: Builder<tokio_rustls::rustls::server::WantsServerCert>) -> ServerConfig {
    let key = PrivateKeyDer::from_pem_file(pem("server.key")).expect("a key");
    builder
        .with_single_cert(vec![certificate("server.crt")], key)
        .expect("the key is that of the certificate")
}

fn certificate(name: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_file(pem(name)).expect("a certificate")
}

fn pem(name: &str) -> std::path::PathBuf {
    repository("src/proxy_api/client/pem").join(name)
}
