use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::*;

/// A publisher with a key.
struct Publisher(EcdsaKeyPair);

impl Publisher {
    fn new() -> Publisher {
        let (random, kind) = (SystemRandom::new(), &ECDSA_P256_SHA256_ASN1_SIGNING);
        let made = EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
        Publisher(EcdsaKeyPair::from_pkcs8(kind, made.as_ref(), &random).unwrap())
    }

    fn pem(&self) -> String {
        let der = [&P256_PREFIX[..], self.0.public_key().as_ref()].concat();
        format!("-----BEGIN PUBLIC KEY-----\n{}\n-----END PUBLIC KEY-----\n", STANDARD.encode(der))
    }

    fn key(&self) -> PublisherKey {
        PublisherKey::of_pem(&self.pem()).unwrap()
    }

    fn sign(&self, statement: &Value) -> Value {
        let payload = statement.to_string();
        let head = format!("DSSEv1 {} {PAYLOAD_TYPE} {} ", PAYLOAD_TYPE.len(), payload.len());
        let signed = [head.as_bytes(), payload.as_bytes()].concat();
        let sig = self.0.sign(&SystemRandom::new(), &signed).unwrap();
        json!({
            "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
            "verificationMaterial": {"publicKey": {"hint": "k"}, "tlogEntries": []},
            "dsseEnvelope": {
                "payload": STANDARD.encode(payload), "payloadType": PAYLOAD_TYPE,
                "signatures": [{"sig": STANDARD.encode(sig), "keyid": ""}],
            },
        })
    }
}

/// A model of two files.
fn statement() -> Value {
    let digests = [Digest::of(b"weights"), Digest::of(b"words")];
    let all = Digest::of(&[digests[0].0, digests[1].0].concat());
    let resource =
        |name: &str, digest: &Digest| json!({"name": name, "algorithm": "sha256", "digest": digest.hex()});
    json!({
        "_type": STATEMENT_TYPE,
        "subject": [{"name": "pump", "digest": {"sha256": all.hex()}}],
        "predicateType": PREDICATE_TYPE,
        "predicate": {
            "resources": [resource("model.onnx", &digests[0]), resource("README.md", &digests[1])],
            "serialization": {"method": "files", "hash_type": "sha256", "allow_symlinks": false},
        },
    })
}

fn said(bundle: &Value, key: &PublisherKey) -> String {
    signed_digests(bundle.to_string().as_bytes(), key).unwrap_err().to_string()
}

#[test]
fn a_bundle_vouches_for_the_files_that_it_lists() {
    let publisher = Publisher::new();
    let folder = tempfile::tempdir().unwrap();
    let (bundle, key) = (folder.path().join("model.sig"), folder.path().join("model.pub"));
    std::fs::write(&bundle, publisher.sign(&statement()).to_string()).unwrap();
    std::fs::write(&key, publisher.pem()).unwrap();
    check(&bundle, &key, Digest::of(b"weights")).unwrap();
    let other = check(&bundle, &key, Digest::of(b"other weights")).unwrap_err().to_string();
    assert!(other.contains("does not list this file: none of its 2 files has the digest sha256:"), "{other}");
    std::fs::write(&key, "ssh-ed25519 AAAA").unwrap();
    assert!(matches!(check(&bundle, &key, Digest::of(b"weights")), Err(BundleError::Key)));
    std::fs::write(&bundle, vec![b' '; BUNDLE_BYTES_MAX as usize + 1]).unwrap();
    std::fs::write(&key, publisher.pem()).unwrap();
    assert!(matches!(check(&bundle, &key, Digest::of(b"weights")), Err(BundleError::Long { .. })));
}

/// Made by `model_signing sign key` of the package model-signing 1.1.1: of a folder, and of the file alone.
#[test]
fn bundles_of_the_reference_implementation_are_read() {
    let key = PublisherKey::of_pem(include_str!("publisher.pem")).unwrap();
    let (folder, file) = (include_bytes!("directory.sig"), include_bytes!("file.sig"));
    let weights = Digest::of(b"weights");
    assert_eq!(signed_digests(folder, &key).unwrap(), [Digest::of(b"words"), weights]);
    assert_eq!(signed_digests(file, &key).unwrap(), [weights]);
    let other = Publisher::new().key();
    assert!(matches!(signed_digests(folder, &other), Err(BundleError::Untrusted)));
}

#[test]
fn a_bundle_of_another_key_or_with_another_statement_vouches_for_nothing() {
    let (publisher, thief) = (Publisher::new(), Publisher::new());
    let key = publisher.key();
    assert!(said(&thief.sign(&statement()), &key).contains("the key has not signed"), "another key");
    let mut mixed = thief.sign(&statement());
    let mut other = statement();
    other["predicate"]["resources"][0]["digest"] = Digest::of(b"harm").hex().into();
    mixed["dsseEnvelope"]["signatures"] = publisher.sign(&other)["dsseEnvelope"]["signatures"].clone();
    assert!(said(&mixed, &key).contains("the key has not signed"), "a signature of another statement");
    let good = publisher.sign(&statement());
    let mut twice = good.clone();
    let one = good["dsseEnvelope"]["signatures"][0].clone();
    twice["dsseEnvelope"]["signatures"] = json!([one, one]);
    assert!(said(&twice, &key).contains("exactly one signature"));
    let mut keyless = good.clone();
    keyless["verificationMaterial"] = json!({"certificate": {"rawBytes": "AA=="}});
    assert!(said(&keyless, &key).contains("model_signing sign key"));
    let mut plain = good;
    plain["dsseEnvelope"]["payloadType"] = "text/plain".into();
    assert!(said(&plain, &key).contains("in-toto"));
}

#[test]
fn what_else_the_publisher_signs_vouches_for_no_file() {
    let publisher = Publisher::new();
    let edit = |pointer: &str, value: Value| {
        let mut statement = statement();
        *statement.pointer_mut(pointer).unwrap() = value;
        said(&publisher.sign(&statement), &publisher.key())
    };
    for (pointer, value, told) in [
        ("/_type", "https://in-toto.io/Statement/v0.1".into(), "not one of OpenSSF Model Signing 1.0"),
        ("/predicateType", "https://slsa.dev/provenance/v1".into(), "not one of OpenSSF Model Signing 1.0"),
        ("/predicate/serialization/method", "shards".into(), "parts of files"),
        ("/predicate/resources", json!([]), "lists no file"),
        ("/predicate/resources/1/algorithm", "blake2b".into(), "without a SHA-256"),
        ("/predicate/resources/1/digest", Digest::of(b"harm").hex().into(), "its subject is not the digest"),
        ("/predicate/resources/1/digest", "00".into(), "without a SHA-256"),
        ("/subject/0/digest", json!({"sha256": "00"}), "its subject is not the digest"),
        ("/subject", json!([]), "exactly one subject"),
    ] {
        let found = edit(pointer, value);
        assert!(found.contains(told), "{pointer}: {found}");
    }
}
