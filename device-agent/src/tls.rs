//! The TLS settings that MQTT and downloads share, and the certificate by which a broker knows the device.

#[cfg(feature = "pkcs11")]
pub mod token;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};
use tracing::warn;

use crate::log::chain;

use crate::clock::CertificateTime;

/// How the address of a key in a token begins.
const TOKEN_SCHEME: &str = "pkcs11:";

/// Why there are no TLS settings.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The file with certificates could not be read.
    #[error("read certificates {path}")]
    Certificates {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The key of the client certificate could not be read.
    #[error("read the key {path} of the client certificate")]
    Key {
        /// The file.
        path: PathBuf,
        /// Why not.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// The key in a token cannot be used.
    #[cfg(feature = "pkcs11")]
    #[error("use the client key in a token")]
    Token(#[from] token::TokenError),
    /// The key is in a token, and this agent opens none.
    #[error("the client key is in a token, and this agent was built without the feature pkcs11")]
    NoTokens,
    /// A certificate is not acceptable, or the provider lacks something.
    #[error("set up TLS")]
    Setup(#[from] rustls::Error),
}

/// The certificates of `authorities`, or else those of the system.
fn roots(authorities: Option<&Path>) -> Result<Arc<RootCertStore>, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = authorities {
        for certificate in certificates(path)? {
            roots.add(certificate)?;
        }
    } else {
        // A single certificate of the system that does not parse must not take the others away.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    Ok(Arc::new(roots))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let unreadable = |source| TlsError::Certificates { path: path.to_owned(), source };
    let certificates = CertificateDer::pem_file_iter(path).map_err(unreadable)?;
    certificates.collect::<Result<Vec<_>, _>>().map_err(unreadable)
}

fn trusting(
    roots: Arc<RootCertStore>,
    time: CertificateTime,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, TlsError> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_details(provider, Arc::new(time)).with_safe_default_protocol_versions()?;
    Ok(config.with_root_certificates(roots))
}

/// Settings that trust the certificates of `authorities`, or else those of the system, as long as they are valid by `time`.
///
/// # Errors
/// When the file cannot be read or holds something else.
pub fn client_config(
    authorities: Option<&Path>,
    time: CertificateTime,
) -> Result<Arc<ClientConfig>, TlsError> {
    Ok(Arc::new(trusting(roots(authorities)?, time)?.with_no_client_auth()))
}

/// Files by which the broker knows the device (PEM).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientCertificate {
    /// The certificate, and those between it and the authority.
    pub certificate: PathBuf,
    /// Its private key, or the address of a key in a token (`pkcs11:...`).
    pub key: PathBuf,
}

/// TLS to the broker. The files of a client certificate are read for every connection, so that a renewed one is used without
/// a restart.
#[derive(Debug)]
pub struct BrokerTls {
    roots: Arc<RootCertStore>,
    /// By what the broker's certificate has to be valid.
    time: CertificateTime,
    certificate: Option<ClientCertificate>,
    /// With the files as they were when they could last be read.
    last: Mutex<Arc<ClientConfig>>,
}

impl BrokerTls {
    /// Trusts `authorities`, or else those of the system, as long as they are valid by `time`.
    ///
    /// # Errors
    /// When the authorities cannot be read. A client certificate that cannot be read is none: the broker refuses the device
    /// until it can be.
    pub fn new(
        authorities: Option<&Path>,
        time: CertificateTime,
        certificate: Option<ClientCertificate>,
    ) -> Result<BrokerTls, TlsError> {
        let roots = roots(authorities)?;
        let last = Mutex::new(Arc::new(trusting(roots.clone(), time.clone())?.with_no_client_auth()));
        Ok(BrokerTls { roots, time, certificate, last })
    }

    /// The settings of the next connection. If the files cannot be read, those of the connection before.
    #[must_use]
    pub fn for_connection(&self) -> Arc<ClientConfig> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(certificate) = &self.certificate {
            match self.with_certificate(certificate) {
                Ok(config) => *last = Arc::new(config),
                Err(error) => {
                    warn!(error = %chain(&error), "the client certificate for the broker cannot be read, so the last one is used");
                }
            }
        }
        last.clone()
    }

    fn with_certificate(&self, files: &ClientCertificate) -> Result<ClientConfig, TlsError> {
        if let Some(address) = files.key.to_str().filter(|text| text.starts_with(TOKEN_SCHEME)) {
            return self.with_token(files, address);
        }
        let unreadable = |source| TlsError::Key { path: files.key.clone(), source };
        let key = PrivateKeyDer::from_pem_file(&files.key).map_err(unreadable)?;
        Ok(trusting(self.roots.clone(), self.time.clone())?
            .with_client_auth_cert(certificates(&files.certificate)?, key)?)
    }

    #[cfg(feature = "pkcs11")]
    fn with_token(&self, files: &ClientCertificate, address: &str) -> Result<ClientConfig, TlsError> {
        let key = Arc::new(token::TokenKey::open(address)?);
        let certified = rustls::sign::CertifiedKey::new(certificates(&files.certificate)?, key);
        let resolver = Arc::new(rustls::sign::SingleCertAndKey::from(certified));
        Ok(trusting(self.roots.clone(), self.time.clone())?.with_client_cert_resolver(resolver))
    }

    #[cfg(not(feature = "pkcs11"))]
    fn with_token(&self, _: &ClientCertificate, _: &str) -> Result<ClientConfig, TlsError> {
        Err(TlsError::NoTokens)
    }
}
