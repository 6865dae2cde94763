//! Certificate authorities of our own, so that plants speak TLS as real ones do.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::part::PartError;

/// Signs certificates.
pub struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    /// A new one.
    ///
    /// # Errors
    /// When its key cannot be made.
    pub fn new() -> Result<Authority, PartError> {
        let make = || {
            let mut params = CertificateParams::default();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            let key = KeyPair::generate()?;
            let pem = params.self_signed(&key)?.pem();
            Ok(Authority { pem, issuer: Issuer::new(params, key) })
        };
        make().map_err(PartError::Certificate)
    }

    /// Writes its own certificate.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn write(&self, path: &Path) -> Result<(), PartError> {
        write(path, &self.pem)
    }

    /// Writes a certificate with this common name and these host names, and its key.
    ///
    /// # Errors
    /// When the key cannot be made or a file not be written.
    pub fn issue(&self, name: &str, hosts: &[&str], certificate: &Path, key: &Path) -> Result<(), PartError> {
        let make = || {
            let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
            let mut params = CertificateParams::new(hosts)?;
            params.distinguished_name.push(DnType::CommonName, name);
            let key = KeyPair::generate()?;
            Ok((params.signed_by(&key, &self.issuer)?.pem(), key.serialize_pem()))
        };
        let (certificate_pem, key_pem) = make().map_err(PartError::Certificate)?;
        write(certificate, &certificate_pem)?;
        write(key, &key_pem)
    }
}

fn write(path: &Path, text: &str) -> Result<(), PartError> {
    std::fs::write(path, text).map_err(|source| PartError::File {
        what: "write",
        path: path.to_owned(),
        source,
    })
}

/// Writes `ca.crt`, `tls.crt` and `tls.key` for this machine's loopback into `dir`.
///
/// # Errors
/// When a key cannot be made or a file not be written.
pub fn issue(dir: &Path) -> Result<(), PartError> {
    let authority = Authority::new()?;
    authority.write(&dir.join("ca.crt"))?;
    let hosts = ["localhost", "127.0.0.1"];
    authority.issue("broker", &hosts, &dir.join("tls.crt"), &dir.join("tls.key"))
}
