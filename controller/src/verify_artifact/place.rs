//! Where artifacts may be read from.
//!
//! A user who may register a version chooses a URI, and the controller opens it with its own permissions. So files are read
//! only below the folder that the operator names, and link-local addresses are never contacted ([`crate::reach`]).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use object_store::client::{HttpClient, HttpConnector};
use object_store::{ClientConfigKey, ClientOptions};
use url::Url;

use crate::reach::{self, CarefulNames};

/// Most redirects that are followed.
const REDIRECTS_MAX: usize = 5;
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// Why an artifact may not be read from somewhere. Says nothing of what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// No folder is named.
    #[error("the controller reads no files without --artifact-root; set it, or use a store")]
    NoRoot,
    /// Not below the folder.
    #[error("is not below the controller's --artifact-root")]
    Outside,
    /// A link-local address.
    #[error("is at a link-local address, where the controller reads no artifacts")]
    LinkLocal,
}

/// The file that a `file://` URI means, without a link in it; `None`: there is none.
///
/// # Errors
/// When it is not below `root`.
pub async fn file(url: &Url, root: Option<&Path>) -> Result<Option<PathBuf>, Forbidden> {
    let root = root.ok_or(Forbidden::NoRoot)?;
    let path = url.to_file_path().map_err(|()| Forbidden::Outside)?;
    // Before the disk is asked: what lies elsewhere is not told apart from what does not exist.
    if !path.starts_with(root) {
        return Err(Forbidden::Outside);
    }
    let (Ok(root), Ok(real)) = (tokio::fs::canonicalize(root).await, tokio::fs::canonicalize(&path).await)
    else {
        return Ok(None);
    };
    if !real.starts_with(root) {
        return Err(Forbidden::Outside);
    }
    let is_file = tokio::fs::metadata(&real).await.is_ok_and(|about| about.is_file());
    Ok(is_file.then_some(real))
}

/// Whether a URL names a host that is never asked.
///
/// # Errors
/// When it does.
pub fn host(url: &Url) -> Result<(), Forbidden> {
    reach::host(url).map_err(|reach::LinkLocal| Forbidden::LinkLocal)
}

/// Makes clients that keep to what may be asked, wherever names and redirects lead.
#[derive(Debug)]
pub struct Careful;

impl HttpConnector for Careful {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let set = |key| options.get_config_value(&key).filter(|value| !value.is_empty());
        let redirects = reqwest::redirect::Policy::custom(|attempt| {
            if attempt.previous().len() > REDIRECTS_MAX {
                return attempt.error("too many redirects");
            }
            match host(attempt.url()) {
                Ok(()) => attempt.follow(),
                Err(forbidden) => attempt.error(forbidden),
            }
        });
        let mut builder = reqwest::Client::builder()
            .redirect(redirects)
            .dns_resolver(Arc::new(CarefulNames))
            .connect_timeout(CONNECT_MAX)
            // A compressed answer would have another length than the artifact.
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .https_only(set(ClientConfigKey::AllowHttp).as_deref() != Some("true"));
        if set(ClientConfigKey::AllowInvalidCertificates).as_deref() == Some("true") {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        let failed =
            |source: reqwest::Error| object_store::Error::Generic { store: "HTTP", source: Box::new(source) };
        if let Some(proxy) = set(ClientConfigKey::ProxyUrl) {
            builder = builder.proxy(reqwest::Proxy::all(proxy).map_err(failed)?);
        }
        Ok(HttpClient::new(builder.build().map_err(failed)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_are_read_below_the_root_only() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("models");
        std::fs::create_dir(&root).unwrap();
        std::fs::write(root.join("m.onnx"), b"m").unwrap();
        std::fs::write(folder.path().join("secret"), b"s").unwrap();
        std::os::unix::fs::symlink(folder.path().join("secret"), root.join("link")).unwrap();
        let at = |path: &Path| Url::from_file_path(path).unwrap();
        assert_eq!(file(&at(&root.join("m.onnx")), None).await, Err(Forbidden::NoRoot));
        let file = async |path: &Path| file(&at(path), Some(&root)).await;
        assert_eq!(file(&root.join("m.onnx")).await, Ok(Some(root.canonicalize().unwrap().join("m.onnx"))));
        assert_eq!(file(&root.join("none")).await, Ok(None));
        assert_eq!(file(&root).await, Ok(None), "a folder");
        assert_eq!(file(&root.join("link")).await, Err(Forbidden::Outside));
        for outside in ["secret", "models/../secret", "none", "models-of-others/m"] {
            assert_eq!(file(&folder.path().join(outside)).await, Err(Forbidden::Outside), "{outside}");
        }
    }
}
