//! A certificate authority of our own and the broker's certificate, so that plants speak TLS as real ones do.

use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};

use crate::part::PartError;

/// Writes `ca.crt`, `tls.crt` and `tls.key` for this machine's loopback into `dir`.
///
/// # Errors
/// When a key cannot be made or a file not be written.
pub fn issue(dir: &Path) -> Result<(), PartError> {
    let [ca, certificate, key] = generate().map_err(PartError::Certificate)?;
    for (name, pem) in [("ca.crt", ca), ("tls.crt", certificate), ("tls.key", key)] {
        let path = dir.join(name);
        std::fs::write(&path, pem).map_err(|source| PartError::File { what: "write", path, source })?;
    }
    Ok(())
}

/// PEM of the authority, of the server's certificate and of its key.
fn generate() -> Result<[String; 3], rcgen::Error> {
    let mut authority = CertificateParams::default();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority_key = KeyPair::generate()?;
    let ca = authority.self_signed(&authority_key)?.pem();
    let issuer = Issuer::new(authority, authority_key);
    let key = KeyPair::generate()?;
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let certificate = CertificateParams::new(names)?.signed_by(&key, &issuer)?;
    Ok([ca, certificate.pem(), key.serialize_pem()])
}
