//! Where the bytes of models are: `<store>/<model>/<version>/<digest>.onnx`, with large details beside them.
//!
//! The name holds the digest, so that what is there under the name is either the model or damaged, and two who
//! upload the same model at the same time write the same bytes.

use std::path::Path as FilePath;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderValue};
use modelfleet_protocol::ids::Digest;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::http::HttpBuilder;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientConfigKey, ClientOptions, ObjectStore, ObjectStoreExt, ObjectStoreScheme,
    RetryConfig,
};
use url::Url;

use super::credentials::{self, Credentials};

/// The variable that holds the `Authorization` header for a WebDAV server.
pub const AUTHORIZATION_VARIABLE: &str = "MODELFLEET_STORE_AUTHORIZATION";

/// A model may take long over a thin line; that a server does not answer is noticed by the connection's own timeout.
const REQUEST_TIMEOUT: &str = "3600 seconds";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const RETRIES: usize = 3;
const RETRY_TIMEOUT: Duration = Duration::from_secs(60);
/// Schemes that a ModelVersion may name.
const SCHEMES: [&str; 6] = ["file", "http", "https", "s3", "gs", "az"];

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Not an address of a store.
    #[error(
        "{flag} {text:?} is neither a folder nor a URL with file://, http://, https://, s3://, gs:// or az://: {reason}"
    )]
    Address {
        /// The flag.
        flag: &'static str,
        /// What it said.
        text: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A password in an address that everyone can read.
    #[error(
        "{flag} holds a user, a password or a query, and everyone can read the address in the ModelVersion; pass secrets in \
         environment variables (see --help)"
    )]
    Secret {
        /// The flag.
        flag: &'static str,
    },
    /// The header is none.
    #[error("the variable {AUTHORIZATION_VARIABLE} is not a header, such as 'Basic ...' or 'Bearer ...'")]
    Authorization,
    /// The settings make no client.
    #[error("open the store {store}")]
    Open {
        /// Which one.
        store: String,
        /// Why.
        source: object_store::Error,
    },
    /// There are no credentials.
    #[error(transparent)]
    NoCredentials(Box<NoCredentials>),
    /// The upload failed.
    #[error("upload to {uri}")]
    Upload {
        /// Where to.
        uri: String,
        /// Why.
        source: object_store::Error,
    },
}

/// A store without credentials.
#[derive(Debug, thiserror::Error)]
#[error(
    "there are no credentials for {store}: none of {} is set, and this machine gets none from a cloud. Set {}{}",
    looked.variables.join(", "), looked.set, looked.more
)]
pub struct NoCredentials {
    /// Which store.
    store: String,
    /// Where they were looked for.
    looked: &'static Credentials,
}

/// What a file in the store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// A model.
    Model,
    /// The details of a build.
    Details,
}

/// What became of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Upload {
    /// The bytes were put there.
    Uploaded,
    /// They were there.
    Present,
    /// Something of another size was there.
    Replaced,
}

/// A store that models are put into.
pub struct Store {
    store: Box<dyn ObjectStore>,
    prefix: Path,
    base: String,
    /// Where credentials were looked for and not found.
    without_credentials: Option<(String, &'static Credentials)>,
    /// Whether devices, which speak HTTP and read folders, can download from it.
    pub reaches_devices: bool,
}

impl Store {
    /// Opens a store. Nothing is connected yet.
    ///
    /// # Errors
    /// When an address is none, or holds a secret.
    pub fn open(store: &str, public_url: Option<&str>) -> Result<Store, StoreError> {
        let url = address("--store", store)?;
        let public = public_url.map(|text| address("--public-url", text)).transpose()?;
        let refused = |source| StoreError::Open { store: url.to_string(), source };
        let (scheme, prefix) = ObjectStoreScheme::parse(&url).map_err(|error| refused(error.into()))?;
        let address = public.as_ref().unwrap_or(&url);
        let lacks = credentials::missing(url.scheme(), |name| std::env::var_os(name).is_some());
        Ok(Store {
            store: client(&scheme, &url)?.map_err(refused)?,
            prefix,
            without_credentials: lacks.map(|credentials| (url.to_string(), credentials)),
            base: address.as_str().trim_end_matches('/').to_owned(),
            reaches_devices: matches!(address.scheme(), "http" | "https" | "file"),
        })
    }

    /// The address that a ModelVersion names.
    #[must_use]
    pub fn uri(&self, model: &str, version: &semver::Version, digest: &Digest, content: Content) -> String {
        format!("{}/{}", self.base, name(model, version, digest, content))
    }

    /// Puts the bytes there unless they are there.
    ///
    /// # Errors
    /// When the store refuses or does not answer.
    pub async fn put_if_absent(
        &self,
        model: &str,
        version: &semver::Version,
        bytes: Bytes,
        content: Content,
    ) -> Result<Upload, StoreError> {
        let digest = Digest::of(&bytes);
        let name = name(model, version, &digest, content);
        let path = name.split('/').fold(self.prefix.clone(), |path, part| path.join(part));
        // Stores that let writers write but not look, and servers without HEAD, refuse this: then it is written.
        let outcome = match self.store.head(&path).await {
            Ok(found) if found.size == bytes.len() as u64 => return Ok(Upload::Present),
            Ok(_) => Upload::Replaced,
            Err(_) => Upload::Uploaded,
        };
        let refused = |source| match (&self.without_credentials, source) {
            // The error of a missing metadata service does not say what to do.
            (Some((store, looked)), object_store::Error::Generic { .. }) => {
                StoreError::NoCredentials(Box::new(NoCredentials { store: store.clone(), looked }))
            }
            (_, source) => StoreError::Upload { uri: self.uri(model, version, &digest, content), source },
        };
        self.store.put(&path, bytes.into()).await.map_err(refused)?;
        Ok(outcome)
    }
}

/// Opens a store to read from, with the path that its address names. Nothing is connected yet.
///
/// # Errors
/// When the address is none, or holds a secret.
pub fn opened(flag: &'static str, store: &str) -> Result<(Box<dyn ObjectStore>, Path), StoreError> {
    let url = address(flag, store)?;
    let refused = |source| StoreError::Open { store: url.to_string(), source };
    let (scheme, prefix) = ObjectStoreScheme::parse(&url).map_err(|error| refused(error.into()))?;
    Ok((client(&scheme, &url)?.map_err(refused)?, prefix))
}

/// The name of a model below the store. Build metadata begins with a '+', which some servers read as a blank.
fn name(model: &str, version: &semver::Version, digest: &Digest, content: Content) -> String {
    let ending = match content {
        Content::Model => "onnx",
        Content::Details => "details.json",
    };
    format!("{model}/{}/{}.{ending}", version.to_string().replace('+', "_"), digest.hex())
}

fn address(flag: &'static str, text: &str) -> Result<Url, StoreError> {
    let refused = |reason: String| StoreError::Address { flag, text: shortened(text), reason };
    if !text.contains("://") {
        let folder = std::path::absolute(FilePath::new(text)).map_err(|error| refused(error.to_string()))?;
        return Url::from_file_path(folder).map_err(|()| refused("the folder has no address".to_owned()));
    }
    let url = Url::parse(text).map_err(|error| refused(error.to_string()))?;
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() {
        return Err(StoreError::Secret { flag });
    }
    if !SCHEMES.contains(&url.scheme()) {
        return Err(refused(format!("it begins with {}://", url.scheme())));
    }
    if url.scheme() == "file" && url.host_str().is_some() {
        return Err(refused("a folder has three slashes, such as file:///srv/models".to_owned()));
    }
    Ok(url)
}

fn shortened(text: &str) -> String {
    text.chars().take(200).collect()
}

type Opened = object_store::Result<Box<dyn ObjectStore>>;

fn client(scheme: &ObjectStoreScheme, url: &Url) -> Result<Opened, StoreError> {
    let retry = RetryConfig {
        max_retries: RETRIES,
        retry_timeout: RETRY_TIMEOUT,
        backoff: BackoffConfig { max_backoff: Duration::from_secs(2), ..BackoffConfig::default() },
    };
    let timeout = ClientConfigKey::Timeout;
    Ok(match scheme {
        ObjectStoreScheme::AmazonS3 => AmazonS3Builder::from_env()
            .with_url(url.as_str())
            .with_retry(retry)
            .with_config(AmazonS3ConfigKey::Client(timeout), REQUEST_TIMEOUT)
            .build()
            .map(|store| Box::new(store) as Box<dyn ObjectStore>),
        ObjectStoreScheme::GoogleCloudStorage => GoogleCloudStorageBuilder::from_env()
            .with_url(url.as_str())
            .with_retry(retry)
            .with_config(GoogleConfigKey::Client(timeout), REQUEST_TIMEOUT)
            .build()
            .map(|store| Box::new(store) as Box<dyn ObjectStore>),
        ObjectStoreScheme::MicrosoftAzure => MicrosoftAzureBuilder::from_env()
            .with_url(url.as_str())
            .with_retry(retry)
            .with_config(AzureConfigKey::Client(timeout), REQUEST_TIMEOUT)
            .build()
            .map(|store| Box::new(store) as Box<dyn ObjectStore>),
        ObjectStoreScheme::Http => HttpBuilder::new()
            .with_url(&url[..url::Position::BeforePath])
            .with_retry(retry)
            .with_client_options(http_options()?)
            .build()
            .map(|store| Box::new(store) as Box<dyn ObjectStore>),
        _ => Ok(Box::new(LocalFileSystem::new().with_fsync(true))),
    })
}

fn http_options() -> Result<ClientOptions, StoreError> {
    let options = ClientOptions::new()
        .with_allow_http(true)
        .with_connect_timeout(CONNECT_TIMEOUT)
        .with_config(ClientConfigKey::Timeout, REQUEST_TIMEOUT);
    let Ok(authorization) = std::env::var(AUTHORIZATION_VARIABLE) else { return Ok(options) };
    let mut value = HeaderValue::from_str(authorization.trim()).map_err(|_| StoreError::Authorization)?;
    value.set_sensitive(true);
    Ok(options.with_default_headers(HeaderMap::from_iter([(AUTHORIZATION, value)])))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn version() -> semver::Version {
        "1.1.0+build.5".parse().unwrap()
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_folder_gets_the_bytes_once() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_str().unwrap(), None).unwrap();
        let (bytes, digest) = (Bytes::from_static(b"model"), Digest::of(b"model"));
        let version = version();
        let put = || store.put_if_absent("pump", &version, bytes.clone(), Content::Model);
        assert_eq!(put().await.unwrap(), Upload::Uploaded);
        assert_eq!(put().await.unwrap(), Upload::Present);
        let uri = store.uri("pump", &version, &digest, Content::Model);
        let path = uri.strip_prefix("file://").unwrap();
        assert!(path.ends_with(&format!("/pump/1.1.0_build.5/{}.onnx", digest.hex())), "{path}");
        assert_eq!(std::fs::read(path).unwrap(), b"model");
        std::fs::write(path, b"cut").unwrap();
        assert_eq!(put().await.unwrap(), Upload::Replaced);
        assert!(store.reaches_devices);
    }

    #[test]
    fn addresses_are_checked_and_never_hold_a_secret() {
        crate::tls::use_ring();
        let message =
            |text: &str| Store::open(text, None).err().map(|error| error.to_string()).unwrap_or_default();
        assert!(message("ftp://x/y").contains("ftp://"));
        assert!(message("file://models").contains("three slashes"));
        for secret in ["https://me:geheim@x/y", "https://me@x/y", "https://x/y?sig=geheim"] {
            let message = message(secret);
            assert!(message.contains("environment") && !message.contains("geheim"), "{message}");
        }
        let bucket = Store::open("s3://models/fleet", Some("https://cdn.example.com/m/")).unwrap();
        assert!(bucket.reaches_devices);
        let uri = bucket.uri("pump", &version(), &Digest::of(b""), Content::Model);
        assert!(uri.starts_with("https://cdn.example.com/m/pump/1.1.0_build.5/e3b0c442"), "{uri}");
        assert!(!Store::open("gs://models", None).map(|store| store.reaches_devices).unwrap_or(false));
    }
}
