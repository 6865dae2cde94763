//! What the next trust document changes. Pure: the time is an argument.

use modelfleet_protocol::envelope::KeyId;
use modelfleet_protocol::floor::SecurityFloors;
use modelfleet_protocol::ids::ModelName;
use modelfleet_protocol::time::Time;
use modelfleet_protocol::trust::{ArtifactKey, PublicKey, TrustDocument, TrustError};
use semver::Version;

use super::artifact_key_id;

/// Keys by role, to be added.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Keys {
    /// Sign the next document.
    pub root: Vec<PublicKey>,
    /// Sign plans.
    pub plan: Vec<PublicKey>,
    /// Sign models.
    pub artifact: Vec<ArtifactKey>,
    /// Sign device cards.
    pub enrolment: Vec<PublicKey>,
}

/// Names of keys by role, to be removed: as `show` prints them, or whole keys.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Names {
    /// Root keys.
    pub root: Vec<KeyId>,
    /// Plan keys.
    pub plan: Vec<KeyId>,
    /// Artifact keys: minisign's number of the key, or the key.
    pub artifact: Vec<String>,
    /// Enrolment keys.
    pub enrolment: Vec<KeyId>,
}

/// Why a document cannot be changed so.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// Nothing was asked for.
    #[error("nothing to change: name a key or a threshold")]
    Nothing,
    /// It has the key in this role.
    #[error("the {role} key {key} is in the trust document already")]
    Known {
        /// Which role.
        role: &'static str,
        /// Which key.
        key: String,
    },
    /// It has no such key.
    #[error("the trust document has no {role} key {key}; `kubectl modelfleet trust show` lists its keys")]
    Unknown {
        /// Which role.
        role: &'static str,
        /// Which key.
        key: String,
    },
    /// A floor never sinks.
    #[error("the security floor of {model} is {floor} already, and a floor can only rise")]
    Floor {
        /// Which model.
        model: ModelName,
        /// Where it is.
        floor: Version,
    },
    /// It is revoked already.
    #[error("key {0} is revoked already")]
    Revoked(KeyId),
    /// Too few root keys would be left to sign the next document.
    #[error(
        "without root key {0} only {left} of {needed} root keys that have to sign would be left; add another root key first, or \
         lower --threshold",
        left = .1,
        needed = .2
    )]
    Roots(KeyId, usize, usize),
    /// The end lies behind.
    #[error("the new document would have expired already; give a later --expires")]
    Expired,
    /// The document would break a bound.
    #[error(transparent)]
    Invalid(#[from] TrustError),
}

fn absent<T: PartialEq>(list: &[T], one: &T, role: &'static str, key: String) -> Result<(), ChangeError> {
    if list.contains(one) { Err(ChangeError::Known { role, key }) } else { Ok(()) }
}

fn put(list: &mut Vec<PublicKey>, keys: &[PublicKey], role: &'static str) -> Result<(), ChangeError> {
    for key in keys {
        absent(list, key, role, key.id().to_string())?;
        list.push(*key);
    }
    Ok(())
}

/// Adds keys.
///
/// # Errors
/// When a key has its role already.
pub fn add(document: &mut TrustDocument, keys: &Keys) -> Result<(), ChangeError> {
    put(&mut document.roots.keys, &keys.root, "root")?;
    put(&mut document.plan_keys, &keys.plan, "plan")?;
    put(&mut document.enrolment_keys, &keys.enrolment, "enrolment")?;
    for key in &keys.artifact {
        absent(&document.artifact_keys, key, "artifact", artifact_key_id(key))?;
        document.artifact_keys.push(key.clone());
    }
    Ok(())
}

fn take(list: &mut Vec<PublicKey>, ids: &[KeyId], role: &'static str) -> Result<(), ChangeError> {
    for id in ids {
        let at = list.iter().position(|key| key.id() == *id);
        let at = at.ok_or_else(|| ChangeError::Unknown { role, key: id.to_string() })?;
        list.remove(at);
    }
    Ok(())
}

/// Removes keys. What they have signed counts no more, and they may be added again; a stolen one is revoked instead.
///
/// # Errors
/// When the document has no such key, or too few root keys would be left.
pub fn remove(document: &mut TrustDocument, names: &Names) -> Result<(), ChangeError> {
    take(&mut document.plan_keys, &names.plan, "plan")?;
    take(&mut document.enrolment_keys, &names.enrolment, "enrolment")?;
    for name in &names.artifact {
        let is_it =
            |key: &ArtifactKey| key.as_str() == name || artifact_key_id(key).eq_ignore_ascii_case(name);
        let at = document.artifact_keys.iter().position(is_it);
        let at = at.ok_or_else(|| ChangeError::Unknown { role: "artifact", key: name.clone() })?;
        document.artifact_keys.remove(at);
    }
    take(&mut document.roots.keys, &names.root, "root")?;
    match names.root.last() {
        Some(id) => enough_roots(document, *id),
        None => Ok(()),
    }
}

fn enough_roots(document: &TrustDocument, without: KeyId) -> Result<(), ChangeError> {
    let (left, needed) = (document.roots.keys.len(), document.roots.threshold);
    if left >= needed { Ok(()) } else { Err(ChangeError::Roots(without, left, needed)) }
}

/// Revokes keys: they lose every role, and nothing that they ever signed counts. Returns those that had no role.
///
/// # Errors
/// When a key is revoked already, or too few root keys would be left.
pub fn revoke(document: &mut TrustDocument, ids: &[KeyId]) -> Result<Vec<KeyId>, ChangeError> {
    let mut without_role = Vec::new();
    for id in ids {
        if document.has_revoked(*id) {
            return Err(ChangeError::Revoked(*id));
        }
        let was_root = document.roots.keys.iter().any(|key| key.id() == *id);
        let mut had_role = was_root;
        for list in [&mut document.roots.keys, &mut document.plan_keys, &mut document.enrolment_keys] {
            let before = list.len();
            list.retain(|key| key.id() != *id);
            had_role |= list.len() < before;
        }
        if was_root {
            enough_roots(document, *id)?;
        }
        if !had_role {
            without_role.push(*id);
        }
        document.revoked.push(*id);
    }
    Ok(without_role)
}

/// Forbids versions of a model below this one for good.
///
/// # Errors
/// When its floor is as high already.
pub fn raise_floor(
    document: &mut TrustDocument,
    model: &ModelName,
    version: &Version,
) -> Result<(), ChangeError> {
    if let Some(floor) = document.floor_of(model).filter(|floor| version.cmp_precedence(floor).is_le()) {
        return Err(ChangeError::Floor { model: model.clone(), floor: floor.clone() });
    }
    document.floors.raise(&SecurityFloors::of([(model.clone(), version.clone())]));
    match document.floor_of(model) {
        Some(_) => Ok(()),
        None => Err(TrustError::Content("it has floors for too many models").into()),
    }
}

/// The document as it is to be signed: made now, with this end, within all bounds.
///
/// # Errors
/// When it would break a bound or has expired.
pub fn dated(
    document: TrustDocument,
    version: u64,
    now: Time,
    expires: Time,
) -> Result<TrustDocument, ChangeError> {
    if expires <= now {
        return Err(ChangeError::Expired);
    }
    let document = TrustDocument { version, issued: now, expires, ..document };
    document.check()?;
    Ok(document)
}

#[cfg(test)]
pub(super) mod tests {
    use ed25519_dalek::SigningKey;
    use modelfleet_protocol::trust::Roots;

    use super::*;

    pub(in super::super) fn key(number: u8) -> SigningKey {
        SigningKey::from_bytes(&[number; 32])
    }

    pub(in super::super) fn public(number: u8) -> PublicKey {
        key(number).verifying_key().into()
    }

    /// Two of the root keys 1, 2 and 3 sign; plan key 10, enrolment key 20.
    pub(in super::super) fn document() -> TrustDocument {
        TrustDocument {
            version: 1,
            namespace: Some("plant".parse().unwrap()),
            issued: Time(1_000),
            expires: Time(1_000_000),
            roots: Roots { keys: [1, 2, 3].map(public).to_vec(), threshold: 2 },
            plan_keys: vec![public(10)],
            artifact_keys: vec![],
            enrolment_keys: vec![public(20)],
            revoked: vec![],
            floors: SecurityFloors::default(),
        }
    }

    fn refused<T: std::fmt::Debug>(result: Result<T, ChangeError>, words: &str) {
        let error = result.unwrap_err().to_string();
        assert!(error.contains(words), "{error}");
    }

    #[test]
    fn keys_are_added_once_and_removed_by_their_names() {
        let mut next = document();
        let more = Keys { plan: vec![public(11)], root: vec![public(4)], ..Keys::default() };
        add(&mut next, &more).unwrap();
        assert_eq!((next.plan_keys.len(), next.roots.keys.len()), (2, 4));
        refused(add(&mut next, &more), "root key");
        remove(&mut next, &Names { plan: vec![public(10).id()], ..Names::default() }).unwrap();
        assert_eq!(next.plan_keys, [public(11)]);
        let unknown = Names { enrolment: vec![public(10).id()], ..Names::default() };
        refused(remove(&mut next, &unknown), "has no enrolment key");
        let all = Names { root: [1, 2, 3].map(|n| public(n).id()).to_vec(), ..Names::default() };
        refused(remove(&mut next, &all), "only 1 of 2 root keys");
    }

    #[test]
    fn a_revoked_key_loses_every_role_and_cannot_come_back() {
        let mut next = document();
        assert_eq!(revoke(&mut next, &[public(10).id(), public(99).id()]).unwrap(), [public(99).id()]);
        assert!(next.plan_keys.is_empty() && next.has_revoked(public(10).id()));
        refused(revoke(&mut next, &[public(10).id()]), "revoked already");
        add(&mut next, &Keys { plan: vec![public(10)], ..Keys::default() }).unwrap();
        refused(dated(next, 2, Time(2_000), Time(3_000)), "revoked");
        let mut next = document();
        revoke(&mut next, &[public(1).id()]).unwrap();
        refused(revoke(&mut next, &[public(2).id()]), "only 1 of 2 root keys");
    }

    #[test]
    fn a_floor_rises_only_and_a_document_is_dated() {
        let (model, version) = (|| "pump".parse().unwrap(), |text: &str| text.parse().unwrap());
        let mut next = document();
        raise_floor(&mut next, &model(), &version("1.2.0")).unwrap();
        for lower in ["1.2.0", "1.1.9", "1.2.0+rebuilt"] {
            refused(raise_floor(&mut next, &model(), &version(lower)), "is 1.2.0 already");
        }
        raise_floor(&mut next, &model(), &version("1.3.0")).unwrap();
        refused(dated(next.clone(), 2, Time(5_000), Time(5_000)), "later --expires");
        let dated = dated(next, 2, Time(5_000), Time(9_000)).unwrap();
        assert_eq!((dated.version, dated.issued, dated.expires), (2, Time(5_000), Time(9_000)));
    }
}
