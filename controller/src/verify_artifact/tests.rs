use modelfleet_protocol::causes::with_causes;
use std::io::{Read as _, Write as _};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::SigningKey;
use modelfleet_crds::model_version::Artifact;
use modelfleet_protocol::in_toto;
use modelfleet_protocol::statement::Statement;
use serde_json::json;

use super::*;

fn spec(uri: &str, bytes: &[u8], size: usize) -> ModelVersionSpec {
    let digest = modelfleet_protocol::ids::Digest::of(bytes).to_string();
    let artifact = json!({"uri": uri, "digest": digest, "sizeBytes": size});
    serde_json::from_value(json!({"model": "m", "version": "1.0.0", "artifact": artifact})).unwrap()
}

/// Answers every request on a free port of this machine with `answer`.
fn server(answer: String) -> String {
    // As the process does at its start.
    drop(rustls::crypto::ring::default_provider().install_default());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 4096]);
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    format!("http://{at}/m.onnx")
}

fn answer(status: &str, headers: &str, body: &str) -> String {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n{body}")
}

async fn said(trust: &Trust, spec: &ModelVersionSpec) -> (&'static str, String) {
    match check(trust, spec).await.unwrap_err() {
        CheckError::Refuse { reason, message } => (reason, message),
        other => ("", with_causes(&other)),
    }
}

#[tokio::test]
async fn a_file_is_read_below_the_root_only_and_nothing_is_told_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("passwd");
    std::fs::write(&path, b"secret").unwrap();
    let uri = format!("file://{}", path.display());
    let off = Trust::default();
    assert_eq!(said(&off, &spec(&uri, b"guess", 6)).await.0, "UriForbidden");
    assert_eq!(said(&off, &spec("file:///etc/none", b"guess", 6)).await.0, "UriForbidden");
    let root = folder.path().join("models");
    std::fs::create_dir(&root).unwrap();
    let elsewhere = Trust { artifact_root: Some(root), ..Trust::default() };
    assert_eq!(said(&elsewhere, &spec(&uri, b"guess", 6)).await.0, "UriForbidden");
    let trust = Trust { artifact_root: Some(folder.path().to_owned()), ..Trust::default() };
    let (reason, message) = said(&trust, &spec(&uri, b"guess", 7)).await;
    assert_eq!(reason, "SizeMismatch");
    assert!(!message.contains("has 6"), "{message}");
    let (reason, message) = said(&trust, &spec(&uri, b"guess", 6)).await;
    let found = modelfleet_protocol::ids::Digest::of(b"secret").to_string();
    assert_eq!(reason, "DigestMismatch");
    assert!(!message.contains(&found) && message.contains("has another digest"), "{message}");
}

#[tokio::test]
async fn what_a_store_answers_is_not_told() {
    for status in ["403 Forbidden", "400 Bad Request", "404 Not Found"] {
        let uri = server(answer(status, "", "token=hunter2"));
        let (reason, message) = said(&Trust::default(), &spec(&uri, b"m", 1)).await;
        assert!(reason.is_empty() && message.contains("fetch http://"), "{message}");
        assert!(!message.contains("hunter2"), "{message}");
    }
}

#[tokio::test]
async fn link_local_addresses_are_not_asked_not_even_by_a_redirect() {
    let (reason, _) = said(&Trust::default(), &spec("http://169.254.169.254/latest", b"m", 1)).await;
    assert_eq!(reason, "UriForbidden");
    let away = server(answer("302 Found", "Location: http://169.254.169.254/latest\r\n", ""));
    let started = tokio::time::Instant::now();
    let (reason, message) = said(&Trust::default(), &spec(&away, b"m", 1)).await;
    assert!(reason.is_empty() && message.contains("not reachable"), "{message}");
    assert!(started.elapsed() < SILENCE_MAX, "nobody was asked");
    // A redirect to where artifacts may be is followed.
    let there = server(answer("200 OK", "", "m"));
    let uri = server(answer("302 Found", &format!("Location: {there}\r\n"), ""));
    assert_eq!(said(&Trust::default(), &spec(&uri, b"m", 1)).await.0, "FormatInvalid", "its digest is good");
}

#[test]
fn time_goes_by_size_and_is_bounded() {
    assert_eq!(time_for(0), TIME_MIN);
    assert_eq!(time_for(100 * BYTES_PER_SECOND_MIN), TIME_MIN + Duration::from_secs(100));
    assert_eq!(time_for(u64::MAX), TIME_MAX);
}

/// A spec of bytes in a file below `folder`, with a signature of `bytes` that has this trusted comment.
fn signed_spec(
    folder: &std::path::Path,
    pair: &minisign::KeyPair,
    bytes: &[u8],
    comment: &str,
) -> ModelVersionSpec {
    let path = folder.join("model");
    std::fs::write(&path, bytes).unwrap();
    let signature = minisign::sign(Some(&pair.pk), &pair.sk, bytes, Some(comment), None).unwrap();
    let mut spec = spec(&format!("file://{}", path.display()), bytes, bytes.len());
    let value = STANDARD.encode(signature.into_string());
    spec.signatures = serde_json::from_value(json!([{"keyId": "k", "value": value}])).unwrap();
    spec
}

#[tokio::test]
async fn bytes_signed_as_one_version_of_one_model_are_not_verified_as_another() {
    let folder = tempfile::tempdir().unwrap();
    let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    let keys = vec![PublicKey::from_base64(&pair.pk.to_base64()).unwrap()];
    let digest = modelfleet_protocol::ids::Digest::of(b"bytes").hex();
    let stated = |model: &str, version: &str, size: u64| {
        format!("modelfleet model={model} version={version} sha256={digest} size={size}")
    };
    let bare = "timestamp:1633700835\tfile:m.onnx\thashed".to_owned();
    // The file is no model: it fails in what comes after the signature, if the signature counts.
    let good = "FormatInvalid";
    for (comment, refused, allowed) in [
        (stated("m", "1.0.0", 5), good, good),
        (format!("m 1.0.0 sha256:{digest}"), good, good),
        (stated("m", "1.1.0", 5), "StatementInvalid", "StatementInvalid"),
        (stated("n", "1.0.0", 5), "StatementInvalid", "StatementInvalid"),
        (stated("m", "1.0.0", 6), "StatementInvalid", "StatementInvalid"),
        (stated("m", "1.0.0", 5) + " size=5", "StatementInvalid", "StatementInvalid"),
        (bare, "StatementInvalid", good),
    ] {
        let spec = signed_spec(folder.path(), &pair, b"bytes", &comment);
        let root = Some(folder.path().to_owned());
        for (bare, expected) in [(BareSignatures::Refused, refused), (BareSignatures::Allowed, allowed)] {
            let trust = Trust { keys: keys.clone(), artifact_root: root.clone(), bare, ..Trust::default() };
            let (reason, message) = said(&trust, &spec).await;
            assert_eq!(reason, expected, "{comment}: {message}");
        }
    }
}

/// Statements in DSSE envelopes: of another model, version, file or size, by another key, and the right one.
#[tokio::test]
async fn an_in_toto_statement_counts_for_its_version_and_its_key_alone() {
    let folder = tempfile::tempdir().unwrap();
    let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    let key: ArtifactKey = pair.pk.to_base64().parse().unwrap();
    let trust = Trust {
        keys: vec![PublicKey::from_base64(key.as_str()).unwrap()],
        statement_keys: vec![key.clone()],
        artifact_root: Some(folder.path().to_owned()),
        ..Trust::default()
    };
    let seed: [u8; 32] = pair.sk.to_bytes()[62..94].try_into().unwrap();
    let (publisher, thief) = (SigningKey::from_bytes(&seed), SigningKey::from_bytes(&[8; 32]));
    let path = folder.path().join("model");
    std::fs::write(&path, b"bytes").unwrap();
    let right = Statement {
        model: "m".parse().unwrap(),
        version: "1.0.0".parse().unwrap(),
        digest: modelfleet_protocol::ids::Digest::of(b"bytes"),
        size_bytes: Some(5),
    };
    let other = modelfleet_protocol::ids::Digest::of(b"other");
    // The file is no model: it fails in what comes after the signature, if the signature counts.
    for (key, statement, told) in [
        (&publisher, right.clone(), "FormatInvalid"),
        (&publisher, Statement { size_bytes: None, ..right.clone() }, "FormatInvalid"),
        (&thief, right.clone(), "SignatureMissing"),
        (&publisher, Statement { model: "n".parse().unwrap(), ..right.clone() }, "StatementInvalid"),
        (&publisher, Statement { version: "1.1.0".parse().unwrap(), ..right.clone() }, "StatementInvalid"),
        (&publisher, Statement { digest: other, ..right.clone() }, "StatementInvalid"),
        (&publisher, Statement { size_bytes: Some(6), ..right.clone() }, "StatementInvalid"),
    ] {
        let mut spec = spec(&format!("file://{}", path.display()), b"bytes", 5);
        let value = STANDARD.encode(in_toto::sign(key, &statement));
        let signature = json!([{"keyId": "k", "format": "Dsse", "value": value}]);
        spec.signatures = serde_json::from_value(signature).unwrap();
        let (reason, message) = said(&trust, &spec).await;
        assert_eq!(reason, told, "{statement}: {message}");
    }
}

#[tokio::test]
async fn a_bare_signature_is_refused_with_the_comment_that_is_right() {
    let folder = tempfile::tempdir().unwrap();
    let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    let keys = vec![PublicKey::from_base64(&pair.pk.to_base64()).unwrap()];
    let trust = Trust { keys, artifact_root: Some(folder.path().to_owned()), ..Trust::default() };
    let spec = signed_spec(folder.path(), &pair, b"bytes", "hashed");
    let (_, message) = said(&trust, &spec).await;
    let digest = modelfleet_protocol::ids::Digest::of(b"bytes").hex();
    let right = format!("modelfleet model=m version=1.0.0 sha256={digest} size=5");
    assert!(message.contains(&right) && message.len() <= 512, "{message}");
    let spec = signed_spec(folder.path(), &pair, b"bytes", &right);
    assert_eq!(said(&trust, &spec).await.0, "FormatInvalid", "with it, it passes");
}

/// A version whose details are in a file below `folder`, written from the version itself. Its model passes.
fn spec_with_details(
    folder: &std::path::Path,
    bytes: &[u8],
    edit: impl FnOnce(Vec<u8>) -> Vec<u8>,
) -> ModelVersionSpec {
    let model = folder.join("model.onnx");
    std::fs::write(&model, bytes).unwrap();
    let mut spec = spec(&format!("file://{}", model.display()), bytes, bytes.len());
    let features = json!([{"name": "x", "edges": ["0.1", "0.30000000000000004"], "counts": [1, 2, 3]}]);
    spec.baseline = serde_json::from_value(json!({"features": features})).unwrap();
    let written = modelfleet_model::builds::details(&spec).unwrap().to_json();
    let content = edit(written);
    let file = folder.join("details.json");
    std::fs::write(&file, &content).unwrap();
    let digest = modelfleet_protocol::ids::Digest::of(&content).to_string();
    let uri = format!("file://{}", file.display());
    let details = json!({"uri": uri, "digest": digest, "sizeBytes": content.len()});
    spec.artifact.details = serde_json::from_value(details).unwrap();
    spec
}

#[tokio::test]
async fn a_details_file_is_whole_and_says_what_the_version_says() {
    let folder = tempfile::tempdir().unwrap();
    let trust = Trust { artifact_root: Some(folder.path().to_owned()), ..Trust::default() };
    let of = |edit: fn(Vec<u8>) -> Vec<u8>| spec_with_details(folder.path(), b"", edit);
    let checked = async |spec: &ModelVersionSpec| match details::check(&trust, spec).await {
        Ok(()) => "good".to_owned(),
        Err(CheckError::Refuse { reason, .. }) => reason.to_owned(),
        Err(other) => with_causes(&other),
    };
    let good = of(|bytes| bytes);
    assert_eq!(checked(&good).await, "good");
    std::fs::write(folder.path().join("details.json"), b"cut").unwrap();
    assert_eq!(checked(&good).await, "DetailsMismatch");
    std::fs::remove_file(folder.path().join("details.json")).unwrap();
    assert!(checked(&good).await.contains("the file is not there"));
    let other = of(|bytes| String::from_utf8(bytes).unwrap().replace("[1,2,3]", "[1,2,4]").into_bytes());
    assert_eq!(checked(&other).await, "DetailsMismatch");
    assert_eq!(checked(&of(|_| b"{}".to_vec())).await, "DetailsInvalid");
    let none = ModelVersionSpec { artifact: Artifact { details: None, ..good.artifact.clone() }, ..good };
    assert_eq!(checked(&none).await, "good");
}
