//! The address and the key of a sink in a Secret, read when they are needed and kept for a minute.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use modelfleet_protocol::causes::with_causes;
use modelfleet_protocol::time::Time;
use modelfleet_telling::signature::HmacKey;

/// How long a Secret that was read is used, milliseconds.
const FRESH_MS: u64 = 60_000;
/// Most Secrets that are kept.
const KEPT_MAX: usize = 256;
/// Longest address, bytes.
const URL_MAX: usize = 2_048;

/// When, and what was read then.
type Read = (Time, (String, Option<HmacKey>));

/// Reads Secrets.
pub(super) struct Secrets {
    client: Client,
    kept: Mutex<BTreeMap<(String, String), Read>>,
}

impl Secrets {
    pub(super) fn new(client: Client) -> Secrets {
        Secrets { client, kept: Mutex::default() }
    }

    /// The keys `url` and `hmacKey` of a Secret; the second may be absent.
    ///
    /// # Errors
    /// Says what is missing; never shows what is there.
    pub(super) async fn read(
        &self,
        namespace: &str,
        name: &str,
        now: Time,
    ) -> Result<(String, Option<HmacKey>), String> {
        let at = (namespace.to_owned(), name.to_owned());
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).get(&at).cloned();
        if let Some((since, read)) = kept.filter(|(since, _)| now.since_ms(*since) < FRESH_MS) {
            let _ = since;
            return Ok(read);
        }
        let secret = Api::<Secret>::namespaced(self.client.clone(), namespace).get(name).await;
        let secret =
            secret.map_err(|error| format!("read Secret {namespace}/{name}: {}", with_causes(&error)))?;
        let read = from(&secret).map_err(|why| format!("Secret {namespace}/{name}: {why}"))?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= KEPT_MAX {
            kept.clear();
        }
        kept.insert(at, (now, read.clone()));
        Ok(read)
    }
}

fn from(secret: &Secret) -> Result<(String, Option<HmacKey>), String> {
    let entry = |name: &str| secret.data.as_ref().and_then(|data| data.get(name));
    let url = entry("url").ok_or("it has no key named url")?;
    let url = std::str::from_utf8(&url.0).ok().map(str::trim).filter(|url| url.len() <= URL_MAX);
    let url = url.ok_or("its url is no text of at most 2048 bytes")?;
    let key = entry("hmacKey").map(|key| HmacKey::read(&key.0)).transpose();
    Ok((url.to_owned(), key.map_err(|why| format!("its hmacKey: {why}"))?))
}
