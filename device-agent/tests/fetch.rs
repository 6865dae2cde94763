//! Downloads from servers that misbehave.

#![allow(clippy::unwrap_used)]

mod support;

use std::collections::HashMap;
use std::time::Duration;

use modelfleet_agent::clock::CertificateTime;
use modelfleet_agent::fetch::{Again, FetchError, Fetcher, Keys, TimeLimits};
use modelfleet_agent::http::{Client, HttpError, Network, Reach};
use modelfleet_agent::tls::client_config;
use modelfleet_protocol::details::{Details, DetailsFile};
use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::in_toto;
use modelfleet_protocol::model::{Format, ModelBuild, SelfTest, Values};
use modelfleet_protocol::state::FailureCode;
use modelfleet_protocol::statement::{BareSignatures, Statement};
use modelfleet_test_support::pump_plan::pump_build;
use support::server::{Manners, Server};

fn bytes() -> Vec<u8> {
    (0..300_000_u32).map(|i| (i % 251) as u8).collect()
}

struct Depot {
    dir: tempfile::TempDir,
    server: Server,
    fetcher: Fetcher,
    build: ModelBuild,
}

fn depot(manners: Manners) -> Depot {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(HashMap::from([("/model".to_owned(), bytes())]), manners);
    let fetcher = Fetcher {
        blobs: dir.path().to_owned(),
        client: client(&[Network::Private]),
        files: None,
        keys: Keys::default(),
        time_limit: TimeLimits { stall: Duration::from_secs(5), total: Duration::from_secs(20) },
        durable: true,
    };
    let build = pump_build("1.0.0", &bytes(), format!("{}/model", server.url));
    Depot { dir, server, fetcher, build }
}

fn client(networks: &[Network]) -> Client {
    Client::new(client_config(None, CertificateTime::default()).unwrap(), Reach(networks.to_vec()))
}

impl Depot {
    async fn fetch(&self) -> Result<(), FetchError> {
        let path = self.fetcher.fetch(&self.build, 0, |_| {}).await?;
        assert_eq!(std::fs::read(path).unwrap(), bytes());
        Ok(())
    }

    fn part(&self) -> std::path::PathBuf {
        self.dir.path().join(format!("{}.part", self.build.digest.hex()))
    }
}

#[tokio::test]
async fn bytes_arrive_once() {
    let depot = depot(Manners { redirects: 2, ..Manners::default() });
    depot.fetch().await.unwrap();
    let requests = depot.server.requests();
    depot.fetch().await.unwrap();
    assert_eq!(depot.server.requests(), requests, "what is there is not fetched again");
    assert!(!depot.part().exists());
}

#[tokio::test]
async fn a_cut_download_goes_on_where_it_stopped() {
    let depot = depot(Manners { cut: Some((100_000, 2)), ..Manners::default() });
    for _ in 0..2 {
        let error = depot.fetch().await.unwrap_err();
        assert!(matches!(error, FetchError::Cut { .. }) && error.retryable(), "{error:?}");
    }
    depot.fetch().await.unwrap();
    assert_eq!(*depot.server.asked.lock().unwrap(), [0, 100_000, 200_000]);
}

#[tokio::test]
async fn a_server_without_ranges_begins_anew() {
    let depot = depot(Manners { cut: Some((100_000, 1)), no_range: true, ..Manners::default() });
    depot.fetch().await.unwrap_err();
    depot.fetch().await.unwrap();
    assert_eq!(*depot.server.asked.lock().unwrap(), [0, 100_000]);
}

#[tokio::test]
async fn a_damaged_part_is_thrown_away_and_convicts_nobody() {
    let depot = depot(Manners::default());
    std::fs::write(depot.part(), vec![7; 1000]).unwrap();
    let error = depot.fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::ResumedMismatch) && error.retryable());
    depot.fetch().await.unwrap();
}

#[tokio::test]
async fn folders_in_the_place_of_the_bytes_are_moved_aside() {
    let depot = depot(Manners::default());
    std::fs::create_dir_all(depot.part().join("inside")).unwrap();
    std::fs::create_dir_all(depot.part().with_extension("").join("inside")).unwrap();
    depot.fetch().await.unwrap();
}

#[tokio::test]
async fn a_finished_part_needs_no_server() {
    let depot = depot(Manners { status: Some(500), ..Manners::default() });
    std::fs::write(depot.part(), bytes()).unwrap();
    depot.fetch().await.unwrap();
    assert_eq!(depot.server.requests(), 0);
}

#[tokio::test]
async fn wrong_bytes_are_the_end() {
    for change in [
        |b: &mut ModelBuild| b.size_bytes -= 1,
        |b: &mut ModelBuild| b.size_bytes += 1,
        |b: &mut ModelBuild| {
            b.digest.0[0] ^= 1;
        },
    ] {
        let mut depot = depot(Manners::default());
        change(&mut depot.build);
        let error = depot.fetch().await.unwrap_err();
        assert_eq!((error.code(), error.retryable()), (FailureCode::DigestMismatch, false), "{error:?}");
        assert_eq!(std::fs::read_dir(depot.dir.path()).unwrap().count(), 0, "nothing is left");
    }
}

#[tokio::test]
async fn a_login_page_is_no_model() {
    let depot = depot(Manners { web_page: true, ..Manners::default() });
    let error = depot.fetch().await.unwrap_err();
    assert!(matches!(error, FetchError::WebPage { .. }) && error.retryable(), "{error:?}");
}

#[tokio::test]
async fn statuses_say_whether_to_try_again() {
    for (status, again) in [(500, true), (503, true), (429, true), (404, true), (403, false), (410, false)] {
        let depot = depot(Manners { status: Some(status), ..Manners::default() });
        let error = depot.fetch().await.unwrap_err();
        assert_eq!(error.retryable(), again, "{status} {error:?}");
    }
}

#[tokio::test]
async fn a_refusal_is_not_for_ever() {
    for (status, again) in
        [(401, Again::Later), (403, Again::Later), (410, Again::Later), (400, Again::Never)]
    {
        let depot = depot(Manners { status: Some(status), ..Manners::default() });
        assert_eq!(depot.fetch().await.unwrap_err().again(), again, "{status}");
    }
    assert_eq!(FetchError::DiskFull { needed: 2, free: 1 }.again(), Again::Later);
}

#[tokio::test]
async fn redirects_have_an_end() {
    let depot = depot(Manners { redirects: 1000, ..Manners::default() });
    let error = depot.fetch().await.unwrap_err();
    assert!(error.retryable() && matches!(error, FetchError::Http(_)), "{error:?}");
    assert!(depot.server.requests() < 10);
}

#[tokio::test]
async fn a_rate_is_kept() {
    let depot = depot(Manners::default());
    let start = std::time::Instant::now();
    depot.fetcher.fetch(&depot.build, 600_000, |_| {}).await.unwrap();
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(450), "300 kB at 600 kB a second took {took:?}");
}

#[tokio::test]
async fn a_model_too_large_for_the_disk_is_not_begun() {
    let mut depot = depot(Manners::default());
    depot.build.size_bytes = 15 * 1024 * 1024 * 1024 * 1024;
    assert!(matches!(depot.fetch().await, Err(FetchError::Size(_))));
    assert_eq!(depot.server.requests(), 0);
}

#[tokio::test]
async fn other_addresses_are_refused() {
    for uri in ["ftp://x/model", "model.onnx", "s3://bucket/model", ""] {
        let mut depot = depot(Manners::default());
        depot.build.uri = uri.into();
        assert!(!depot.fetch().await.unwrap_err().retryable(), "{uri}");
    }
}

#[tokio::test]
async fn with_keys_only_signed_models_are_taken() {
    let mut depot = depot(Manners::default());
    let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    let other = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    let key = depot.dir.path().join("key.pub");
    std::fs::write(&key, pair.pk.to_box().unwrap().into_string()).unwrap();
    depot.fetcher.keys = Keys::read(std::slice::from_ref(&key), BareSignatures::Refused).unwrap();
    let comment = Statement::of(&depot.build).to_string();
    for signatures in [vec![], vec![sign(&other, &comment)], vec!["garbage".to_owned()]] {
        depot.build.signatures = signatures;
        let error = depot.fetch().await.unwrap_err();
        assert_eq!((error.code(), error.retryable()), (FailureCode::SignatureInvalid, false));
    }
    depot.build.signatures = vec![sign(&other, &comment), sign(&pair, &comment)];
    depot.fetch().await.unwrap();
    depot.fetcher.keys.check_bytes(&bytes(), &depot.build).unwrap();
    assert!(depot.fetcher.keys.check_bytes(b"other", &depot.build).is_err());
}

fn sign(pair: &minisign::KeyPair, comment: &str) -> String {
    let signature = minisign::sign(Some(&pair.pk), &pair.sk, &bytes()[..], Some(comment), None);
    signature.unwrap().into_string()
}

#[tokio::test]
async fn bytes_signed_as_one_version_of_one_model_are_not_taken_as_another() {
    let mut depot = depot(Manners::default());
    let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    let key = depot.dir.path().join("key.pub");
    std::fs::write(&key, pair.pk.to_box().unwrap().into_string()).unwrap();
    let signed = Statement::of(&depot.build);
    depot.build.signatures = vec![sign(&pair, &signed.to_string())];
    let bare = sign(&pair, "timestamp:1633700835\tfile:pump.onnx\thashed");
    for (allowed, bare_counts) in [(BareSignatures::Refused, false), (BareSignatures::Allowed, true)] {
        depot.fetcher.keys = Keys::read(std::slice::from_ref(&key), allowed).unwrap();
        // Twice each: as they arrive, and as they lie on the disk already.
        for _ in 0..2 {
            depot.fetch().await.unwrap();
            let as_another = ModelBuild { version: "2.0.0".parse().unwrap(), ..depot.build.clone() };
            let as_another_model = ModelBuild { model: "valve".parse().unwrap(), ..depot.build.clone() };
            for build in [as_another, as_another_model] {
                let error = depot.fetcher.fetch(&build, 0, |_| {}).await.unwrap_err();
                assert_eq!((error.code(), error.retryable()), (FailureCode::SignatureInvalid, false));
                assert!(error.to_string().contains("was signed as pump-anomaly 1.0.0, not as"), "{error}");
                assert!(depot.fetcher.keys.check_bytes(&bytes(), &build).is_err());
            }
            let build = ModelBuild { signatures: vec![bare.clone()], ..depot.build.clone() };
            let taken = depot.fetcher.fetch(&build, 0, |_| {}).await;
            assert_eq!(taken.is_ok(), bare_counts, "{taken:?}");
        }
    }
}

/// The same with statements in DSSE envelopes: for another model, version, file or size, and by another key.
#[tokio::test]
async fn an_in_toto_statement_counts_for_its_version_and_its_key_alone() {
    let mut depot = depot(Manners::default());
    let pair = minisign::KeyPair::generate_unencrypted_keypair().unwrap();
    let key = depot.dir.path().join("key.pub");
    std::fs::write(&key, pair.pk.to_box().unwrap().into_string()).unwrap();
    depot.fetcher.keys = Keys::read(std::slice::from_ref(&key), BareSignatures::Refused).unwrap();
    // The seed of a secret key of minisign lies behind six letters, salt, two limits and the key's number.
    let seed: [u8; 32] = pair.sk.to_bytes()[62..94].try_into().unwrap();
    let publisher = ed25519_dalek::SigningKey::from_bytes(&seed);
    let thief = ed25519_dalek::SigningKey::from_bytes(&[8; 32]);
    let sign = |key, statement: &Statement| String::from_utf8(in_toto::sign(key, statement)).unwrap();
    let right = Statement::of(&depot.build);
    let wrong = [
        sign(&thief, &right),
        sign(&publisher, &Statement { model: "valve".parse().unwrap(), ..right.clone() }),
        sign(&publisher, &Statement { version: "2.0.0".parse().unwrap(), ..right.clone() }),
        sign(&publisher, &Statement { digest: Digest::of(b"other"), ..right.clone() }),
        sign(&publisher, &Statement { size_bytes: Some(1), ..right.clone() }),
    ];
    for envelope in &wrong {
        let build = ModelBuild { signatures: vec![envelope.clone()], ..depot.build.clone() };
        let error = depot.fetcher.fetch(&build, 0, |_| {}).await.unwrap_err();
        assert_eq!((error.code(), error.retryable()), (FailureCode::SignatureInvalid, false), "{error}");
        assert!(depot.fetcher.keys.check_bytes(&bytes(), &build).is_err());
    }
    depot.build.signatures = wrong.into_iter().chain([sign(&publisher, &right)]).collect();
    depot.fetch().await.unwrap();
    depot.fetcher.keys.check_bytes(&bytes(), &depot.build).unwrap();
    assert!(
        depot.fetcher.keys.check_bytes(b"other", &depot.build).is_err(),
        "the digest is that of the bytes"
    );
}

/// Whether a download failed because of the address that was to be connected to; which one.
fn refused(error: &FetchError) -> Option<String> {
    match error {
        FetchError::Http(HttpError::Unreachable { address, .. }) => Some(address.to_string()),
        _ => None,
    }
}

#[tokio::test]
async fn an_address_that_is_not_public_is_not_connected_to_by_number_nor_by_name() {
    let mut depot = depot(Manners::default());
    depot.fetcher.client = client(&[]);
    let by_name = depot.build.uri.replace("127.0.0.1", "localhost");
    let other_forms = ["127.1", "0x7f000001", "2130706433", "[::ffff:127.0.0.1]"];
    let other_forms = other_forms.map(|form| depot.build.uri.replace("127.0.0.1", form));
    for uri in other_forms.into_iter().chain([by_name, depot.build.uri.clone()]) {
        depot.build.uri = uri;
        let error = depot.fetch().await.unwrap_err();
        assert!(refused(&error).is_some(), "{}: {error:?}", depot.build.uri);
        assert_eq!((error.again(), error.code()), (Again::Later, FailureCode::DownloadExhausted));
    }
    assert_eq!(depot.server.requests(), 0);
    depot.build.uri = "http://169.254.169.254/latest/meta-data".into();
    depot.fetcher.client = client(&[Network::Private, "169.254.0.0/16".parse().unwrap()]);
    assert_eq!(refused(&depot.fetch().await.unwrap_err()).unwrap(), "169.254.169.254");
}

#[tokio::test]
async fn a_server_cannot_send_a_device_to_an_address_that_is_not_allowed() {
    let depot = depot(Manners::default());
    let elsewhere = depot.server.url.replace("127.0.0.1", "127.0.0.2");
    let front = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/model", front.local_addr().unwrap());
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = front.accept().unwrap();
        let _ = stream.read(&mut [0; 4096]);
        let answer =
            format!("HTTP/1.1 302 Found\r\nLocation: {elsewhere}/model\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let mut depot = depot;
    depot.fetcher.client = client(&["127.0.0.1".parse().unwrap()]);
    depot.fetch().await.unwrap();
    depot.fetcher.forget(&depot.build.digest).await;
    std::fs::remove_file(depot.dir.path().join(depot.build.digest.hex())).unwrap();
    depot.build.uri = url;
    assert_eq!(refused(&depot.fetch().await.unwrap_err()).unwrap(), "127.0.0.2");
}

#[tokio::test]
async fn files_are_taken_from_below_one_folder_alone() {
    let mut depot = depot(Manners::default());
    let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let secret = outside.path().join("model");
    std::fs::write(&secret, bytes()).unwrap();
    let link = inside.path().join("link");
    std::os::unix::fs::symlink(&secret, &link).unwrap();
    let uri = |path: &std::path::Path| format!("file://{}", path.display());
    let around = inside.path().join("..").join(outside.path().file_name().unwrap()).join("model");
    for (folder, path) in [
        (None, &secret),
        (Some(inside.path()), &secret),
        (Some(inside.path()), &link),
        (Some(inside.path()), &around),
    ] {
        depot.fetcher.files = folder.map(std::path::Path::to_owned);
        depot.build.uri = uri(path);
        let error = depot.fetch().await.unwrap_err();
        assert!(matches!(error, FetchError::Outside { .. }), "{folder:?} {path:?}: {error:?}");
        assert_eq!(error.again(), Again::Later);
    }
    depot.fetcher.files = Some(outside.path().to_owned());
    depot.build.uri = uri(&secret);
    depot.fetch().await.unwrap();
}

/// A server with a model and its details file, and the build that names both.
fn with_details(content: &[u8], manners: Manners) -> Depot {
    let mut depot = depot(Manners::default());
    let files = HashMap::from([("/model".to_owned(), bytes()), ("/details".to_owned(), content.to_vec())]);
    depot.server = Server::start(files, manners);
    let uri = format!("{}/details", depot.server.url);
    let file = DetailsFile { uri, digest: Digest::of(content), size_bytes: content.len() as u64 };
    (depot.build.format, depot.build.details) = (Format::OnnxWithDetails, Some(file));
    depot.build.uri = format!("{}/model", depot.server.url);
    depot
}

/// Details of some kilobytes.
fn details() -> Details {
    let values = |name: &str| Values { name: name.into(), values: vec![0.1; 2000], texts: Vec::new() };
    let case = SelfTest { inputs: vec![values("in")], outputs: vec![values("out")], tolerance: 1e-4 };
    Details { self_test: vec![case], profile: None }
}

#[tokio::test]
async fn a_details_file_is_fetched_verified_and_leaves_nothing_behind() {
    let depot = with_details(&details().to_json(), Manners { cut: Some((3_000, 1)), ..Manners::default() });
    let error = depot.fetcher.fetch_details(&depot.build, 0).await.unwrap_err();
    assert!(matches!(error, FetchError::Details(_)) && error.retryable(), "{error:?}");
    let fetched = depot.fetcher.fetch_details(&depot.build, 0).await.unwrap().unwrap();
    assert_eq!(*fetched.details, details());
    assert_eq!(fetched.file, depot.build.details.as_ref().unwrap().digest);
    assert_eq!(*depot.server.asked.lock().unwrap(), [0, 3_000], "it goes on where it stopped");
    assert_eq!(std::fs::read_dir(depot.dir.path()).unwrap().count(), 0);
    let without = ModelBuild { details: None, ..depot.build.clone() };
    assert_eq!(depot.fetcher.fetch_details(&without, 0).await.unwrap(), None);
}

#[tokio::test]
async fn a_details_file_that_is_another_one_is_not_read() {
    let content = details().to_json();
    for change in [
        |file: &mut DetailsFile| file.digest.0[0] ^= 1,
        |file: &mut DetailsFile| file.size_bytes -= 1,
        |file: &mut DetailsFile| file.size_bytes = u64::MAX,
    ] {
        let mut depot = with_details(&content, Manners::default());
        change(depot.build.details.as_mut().unwrap());
        let error = depot.fetcher.fetch_details(&depot.build, 0).await.unwrap_err();
        assert_eq!(error.again(), Again::Never, "{error:?}");
        assert_eq!(std::fs::read_dir(depot.dir.path()).unwrap().count(), 0);
    }
    let depot = with_details(br#"{"selfTest":7}"#, Manners::default());
    let error = depot.fetcher.fetch_details(&depot.build, 0).await.unwrap_err();
    assert_eq!((error.again(), error.code()), (Again::Never, FailureCode::FormatUnknown));
}
