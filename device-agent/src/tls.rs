//! The TLS settings that MQTT and downloads share.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use rustls::{ClientConfig, RootCertStore};

use crate::clock::CertificateTime;

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
    /// A certificate is not acceptable, or the provider lacks something.
    #[error("set up TLS")]
    Setup(#[from] rustls::Error),
}

/// Settings that trust the certificates of `authorities`, or else those of the system, as long as they are valid by `time`.
///
/// # Errors
/// When the file cannot be read or holds something else.
pub fn client_config(
    authorities: Option<&Path>,
    time: CertificateTime,
) -> Result<Arc<ClientConfig>, TlsError> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = authorities {
        let unreadable = |source| TlsError::Certificates { path: path.to_owned(), source };
        for certificate in CertificateDer::pem_file_iter(path).map_err(unreadable)? {
            roots.add(certificate.map_err(unreadable)?)?;
        }
    } else {
        // A single certificate of the system that does not parse must not take the others away.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config =
        ClientConfig::builder_with_details(provider, Arc::new(time)).with_safe_default_protocol_versions()?;
    Ok(Arc::new(config.with_root_certificates(roots).with_no_client_auth()))
}
