//! TLS towards TiProxy's HTTP API.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{self, CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem};
use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, Error, SignatureScheme};

/// Files of the certificate that the operator shows to TiProxies that demand one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFiles {
    /// The certificate and those that sign it, as PEM.
    pub certificate: PathBuf,
    /// Its key, as PEM.
    pub key: PathBuf,
}

/// Why the operator cannot show its certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// A file cannot be read, or is no PEM.
    #[error("cannot read {path}: {source}; it must be a PEM file", path = path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// The certificate and the key cannot be used.
    #[error("cannot use the certificate in {certificate} with the key in {key}: {source}",
        certificate = files.certificate.display(), key = files.key.display())]
    Pair {
        /// The files.
        files: CertificateFiles,
        /// What is wrong.
        source: Error,
    },
}

/// How often the files are read again: certificates are renewed while the operator runs.
const READ_EVERY: Duration = Duration::from_mins(1);

/// The client's side of TLS.
#[derive(Debug)]
pub(super) struct Tls {
    files: Option<CertificateFiles>,
    current: Mutex<(Instant, Arc<ClientConfig>)>,
}

impl Tls {
    pub(super) fn new(files: Option<CertificateFiles>) -> Result<Self, CertificateError> {
        let config = Arc::new(config(files.as_ref())?);
        Ok(Self {
            files,
            current: Mutex::new((Instant::now(), config)),
        })
    }

    /// What to connect with now.
    pub(super) fn config(&self) -> Arc<ClientConfig> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if self.files.is_some() && current.0.elapsed() >= READ_EVERY {
            current.0 = Instant::now();
            match config(self.files.as_ref()) {
                Ok(config) => current.1 = Arc::new(config),
                Err(error) => {
                    tracing::warn!(
                        %error,
                        "the certificate for TiProxy's API cannot be read again; the former one stays in use"
                    );
                }
            }
        }
        Arc::clone(&current.1)
    }
}

fn config(files: Option<&CertificateFiles>) -> Result<ClientConfig, CertificateError> {
    let provider = Arc::new(ring::default_provider());
    let verifier = Arc::new(NoVerification(Arc::clone(&provider)));
    let pair_error = |source| CertificateError::Pair {
        files: files.cloned().unwrap_or_else(|| CertificateFiles {
            certificate: PathBuf::new(),
            key: PathBuf::new(),
        }),
        source,
    };
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(pair_error)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let Some(files) = files else {
        return Ok(builder.with_no_client_auth());
    };
    let certificates = CertificateDer::pem_file_iter(&files.certificate)
        .and_then(Iterator::collect::<Result<Vec<_>, _>>)
        .map_err(|source| unreadable(&files.certificate, source))?;
    if certificates.is_empty() {
        return Err(unreadable(&files.certificate, pem::Error::NoItemsFound));
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|source| unreadable(&files.key, source))?;
    builder
        .with_client_auth_cert(certificates, key)
        .map_err(pair_error)
}

fn unreadable(path: &Path, source: pem::Error) -> CertificateError {
    CertificateError::File {
        path: path.to_owned(),
        source,
    }
}

/// Takes any certificate of a server that has its key. The operator reads no Secret, so it knows no authority; and a
/// Pod is reached by its address, which stands in no certificate.
#[derive(Debug)]
struct NoVerification(Arc<CryptoProvider>);

impl ServerCertVerifier for NoVerification {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls12_signature(message, certificate, signature, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        crypto::verify_tls13_signature(message, certificate, signature, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_files_no_certificate_is_shown_and_bad_files_are_named() {
        assert!(Tls::new(None).is_ok());
        let missing = CertificateFiles {
            certificate: "/nowhere/tls.crt".into(),
            key: "/nowhere/tls.key".into(),
        };
        let error = Tls::new(Some(missing)).unwrap_err().to_string();
        assert!(error.starts_with("cannot read /nowhere/tls.crt: "), "{error}");
    }
}
