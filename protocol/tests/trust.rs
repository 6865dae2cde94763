//! Laws of the trust document: who can move it, and that it moves forward only.

#![allow(clippy::unwrap_used, reason = "a test may end where it stands")]

use ed25519_dalek::SigningKey;
use modelfleet_protocol::envelope::{EnvelopeError, KeyId, PLAN_TYPE, add_signature, seal};
use modelfleet_protocol::floor::SecurityFloors;
use modelfleet_protocol::plan::Order;
use modelfleet_protocol::time::Time;
use modelfleet_protocol::trust::{
    FILE_BYTES_MAX, LINES_MAX, PublicKey, REVOKED_MAX, ROOT_KEYS_MAX, Roots, TRUST_BYTES_MAX, TRUST_TYPE,
    TrustDocument, TrustError, append, follow, lines,
};
use proptest::prelude::*;

/// Root keys have the numbers from 1 on, plan keys from 100 on.
fn key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

fn public(number: u8) -> PublicKey {
    key(number).verifying_key().into()
}

fn id(number: u8) -> KeyId {
    public(number).id()
}

fn roots(keys: &[u8], threshold: usize) -> Roots {
    Roots { keys: keys.iter().map(|&number| public(number)).collect(), threshold }
}

fn document(version: u64, roots: &Roots, plan_keys: &[u8]) -> TrustDocument {
    TrustDocument {
        version,
        namespace: Some("plant".parse().unwrap()),
        issued: Time(1_000),
        expires: Time(2_000),
        roots: roots.clone(),
        plan_keys: plan_keys.iter().map(|&number| public(number)).collect(),
        artifact_keys: vec![],
        enrolment_keys: vec![],
        revoked: vec![],
        floors: SecurityFloors::default(),
    }
}

fn sealed(document: &TrustDocument, signers: &[u8]) -> Vec<u8> {
    let payload = serde_json::to_vec(document).unwrap();
    let first = seal(&key(signers[0]), TRUST_TYPE, &payload);
    signers[1..].iter().fold(first, |bytes, &number| add_signature(&key(number), TRUST_TYPE, &bytes).unwrap())
}

fn step(
    anchor: &Roots,
    held: Option<&TrustDocument>,
    file: &[u8],
) -> Result<Option<TrustDocument>, TrustError> {
    follow(anchor, held, Some(&"plant".parse().unwrap()), file)
}

#[test]
fn enough_root_keys_have_to_sign_and_each_counts_once() {
    let anchor = roots(&[1, 2, 3], 2);
    let first = document(1, &anchor, &[100]);
    for signers in [&[1, 2][..], &[3, 1], &[1, 2, 3], &[9, 1, 3]] {
        assert_eq!(
            step(&anchor, None, &sealed(&first, signers)).unwrap(),
            Some(first.clone()),
            "{signers:?}"
        );
    }
    for signers in [&[1][..], &[1, 1], &[9, 8], &[1, 100], &[100]] {
        let refused = step(&anchor, None, &sealed(&first, signers)).unwrap_err();
        let TrustError::Envelope(EnvelopeError::TooFew { needed, .. }) = refused else { panic!("{refused}") };
        assert_eq!(needed, 2, "{signers:?}");
    }
    // The same signature twice, under whichever name.
    let once = String::from_utf8(sealed(&first, &[1])).unwrap();
    let (head, entry) = once.split_once("\"signatures\":[").unwrap();
    let entry = entry.trim_end_matches("]}");
    let renamed = entry.replace(&id(1).to_string(), &id(2).to_string());
    for second in [entry, &renamed] {
        let twice = format!("{head}\"signatures\":[{entry},{second}]}}");
        assert!(step(&anchor, None, twice.as_bytes()).is_err(), "{twice}");
    }
}

#[test]
fn new_root_keys_need_the_old_and_the_new() {
    let anchor = roots(&[1, 2, 3], 2);
    let held = document(1, &anchor, &[100]);
    for (changed, signers, good) in [
        (roots(&[4, 5], 2), &[1, 2, 4, 5][..], true),
        (roots(&[4, 5], 2), &[1, 2][..], false),
        (roots(&[4, 5], 2), &[4, 5][..], false),
        (roots(&[4, 5], 2), &[1, 2, 4][..], false),
        (roots(&[4, 5], 2), &[1, 4, 5][..], false),
        (roots(&[1, 2, 4], 2), &[1, 2][..], true),
        (roots(&[1, 2, 3], 3), &[1, 2][..], false),
        (roots(&[1, 2, 3], 3), &[1, 2, 3][..], true),
        (roots(&[1, 2, 3], 1), &[1][..], false),
        (roots(&[3, 1, 2], 2), &[1, 2][..], true),
    ] {
        let next = document(2, &changed, &[100]);
        let followed = step(&anchor, Some(&held), &sealed(&next, signers));
        assert_eq!(followed.is_ok_and(|found| found == Some(next)), good, "{changed:?} {signers:?}");
    }
    let unsigned_by_new = step(&anchor, Some(&held), &sealed(&document(2, &roots(&[4], 1), &[]), &[1, 2]));
    assert!(matches!(unsigned_by_new, Err(TrustError::NewRoots(_))));
}

#[test]
fn a_document_is_followed_forward_only_and_for_its_own_fleet() {
    let anchor = roots(&[1], 1);
    let held = document(5, &anchor, &[100]);
    assert_eq!(step(&anchor, Some(&held), &sealed(&held, &[1])).unwrap(), None, "it is held already");
    let other = document(5, &anchor, &[101]);
    assert!(matches!(step(&anchor, Some(&held), &sealed(&other, &[1])), Err(TrustError::Forked(5))));
    let older = step(&anchor, Some(&held), &sealed(&document(4, &anchor, &[101]), &[1]));
    assert!(matches!(older, Err(TrustError::Older { found: 4, held: 5 })));
    let mill = TrustDocument { namespace: Some("mill".parse().unwrap()), ..document(6, &anchor, &[100]) };
    assert!(matches!(step(&anchor, Some(&held), &sealed(&mill, &[1])), Err(TrustError::Scope { .. })));
    let all = TrustDocument { namespace: None, ..mill };
    assert_eq!(step(&anchor, Some(&held), &sealed(&all, &[1])).unwrap(), Some(all));
}

#[test]
fn a_reader_that_was_away_finds_every_change_of_roots() {
    let sets = [roots(&[1], 1), roots(&[2], 1), roots(&[3], 1)];
    let mut file = Vec::new();
    let mut all = Vec::new();
    // Versions 1 to 3 have the first key, 4 to 6 the second, 7 to 9 the third.
    for version in 1..=9_u64 {
        let of = |version: u64| usize::try_from((version - 1) / 3).unwrap();
        let next = document(version, &sets[of(version)], &[100]);
        let before = of(version.saturating_sub(1).max(1));
        let signers = [u8::try_from(before + 1).unwrap(), u8::try_from(of(version) + 1).unwrap()];
        file = append(&file, &sealed(&next, &signers)).unwrap();
        all.push(next);
    }
    assert_eq!(lines(&file).unwrap().len(), 4, "the first, 4 and 7, which change the keys, and the last");
    let newest = all.last().cloned();
    for held in [None, Some(&all[0]), Some(&all[2]), Some(&all[4]), Some(&all[7])] {
        assert_eq!(step(&sets[0], held, &file).unwrap(), newest, "{:?}", held.map(|held| held.version));
    }
    assert_eq!(step(&sets[0], newest.as_ref(), &file).unwrap(), None);
    // Without the step from the first to the second key nothing can be followed.
    let last_only = *lines(&file).unwrap().last().unwrap();
    assert!(step(&sets[0], Some(&all[2]), last_only).is_err());
}

#[test]
fn nothing_is_parsed_before_its_signatures_are_good() {
    let anchor = roots(&[1], 1);
    for payload in [&b"{"[..], b"nonsense", b"\xff", b"{\"version\":0}"] {
        let signed = step(&anchor, None, &seal(&key(1), TRUST_TYPE, payload)).unwrap_err();
        assert!(matches!(signed, TrustError::Json(_)), "{signed}");
        let unsigned = step(&anchor, None, &seal(&key(2), TRUST_TYPE, payload)).unwrap_err();
        assert!(matches!(unsigned, TrustError::Envelope(EnvelopeError::TooFew { .. })), "{unsigned}");
    }
    let as_plan = seal(&key(1), PLAN_TYPE, &serde_json::to_vec(&document(1, &anchor, &[])).unwrap());
    assert!(matches!(step(&anchor, None, &as_plan), Err(TrustError::Envelope(EnvelopeError::Type(_)))));
}

/// Breaks a document.
type Change<'a> = &'a dyn Fn(&mut TrustDocument);

#[test]
fn documents_and_files_are_bounded() {
    let anchor = roots(&[1], 1);
    let good = document(1, &anchor, &[100]);
    let check = |change: Change<'_>| {
        let mut changed = good.clone();
        change(&mut changed);
        changed.check().map_err(|error| error.to_string())
    };
    check(&|_| ()).unwrap();
    check(&|d| d.plan_keys.clear()).unwrap();
    let many = |count: usize| (0..count).map(|i| public(u8::try_from(i + 10).unwrap())).collect::<Vec<_>>();
    let wrong: [(&str, Change<'_>); 12] = [
        ("version", &|d| d.version = 0),
        ("version", &|d| d.version = u64::MAX),
        ("expires before", &|d| d.expires = d.issued),
        ("no root key", &|d| d.roots.keys.clear()),
        ("too many root keys", &|d| d.roots.keys = many(ROOT_KEYS_MAX + 1)),
        ("named twice", &|d| d.roots.keys = vec![public(1), public(1)]),
        ("threshold of root keys is 0", &|d| d.roots.threshold = 0),
        ("more root keys than it names", &|d| d.roots.threshold = 2),
        ("too many plan keys", &|d| d.plan_keys = many(17)),
        ("another role", &|d| d.plan_keys = vec![public(1)]),
        ("is revoked", &|d| d.revoked = vec![id(100)]),
        ("too many revoked", &|d| d.revoked = vec![id(7); REVOKED_MAX + 1]),
    ];
    for (told, change) in wrong {
        let refused = check(change).unwrap_err();
        assert!(refused.contains(told), "{refused}");
    }
    let line = sealed(&good, &[1]);
    let long = [line.clone(), vec![b' '; TRUST_BYTES_MAX]].concat();
    assert!(step(&anchor, None, &[b"x", &long[..]].concat()).is_err());
    let many: Vec<u8> = (0..=LINES_MAX).flat_map(|_| [&line[..], b"\n"].concat()).collect();
    assert!(matches!(step(&anchor, None, &many), Err(TrustError::Lines(_))));
    assert!(matches!(step(&anchor, None, &vec![b'\n'; FILE_BYTES_MAX + 1]), Err(TrustError::File(_))));
    assert!(matches!(step(&anchor, None, b"\n\n"), Err(TrustError::Lines(0))));
}

#[test]
fn a_full_document_fits_into_its_envelope() {
    let eight: Vec<u8> = (1..=8).collect();
    let keys: Vec<u8> = (100..116).collect();
    let mut full = document(1 << 53, &roots(&eight, 8), &keys);
    full.enrolment_keys = (120..136).map(public).collect();
    full.revoked = (140..140 + u8::try_from(REVOKED_MAX).unwrap()).map(id).collect();
    let artifact = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";
    full.artifact_keys = vec![artifact.parse().unwrap()];
    let bytes = sealed(&full, &eight);
    assert!(bytes.len() < TRUST_BYTES_MAX, "{} bytes", bytes.len());
    assert_eq!(step(&roots(&eight, 8), None, &bytes).unwrap(), Some(full));
}

#[test]
fn floors_rise_only_and_an_expired_document_starts_nothing_new() {
    let anchor = roots(&[1], 1);
    let floor = |version: &str| SecurityFloors::of([("pump".parse().unwrap(), version.parse().unwrap())]);
    let held = TrustDocument { floors: floor("1.4.0"), ..document(1, &anchor, &[100]) };
    let lower = TrustDocument { floors: floor("1.2.0"), ..document(2, &anchor, &[100]) };
    let followed = step(&anchor, Some(&held), &sealed(&lower, &[1])).unwrap().unwrap();
    assert_eq!(followed.floor_of(&"pump".parse().unwrap()), Some(&"1.4.0".parse().unwrap()));
    assert_eq!(step(&anchor, Some(&followed), &sealed(&lower, &[1])).unwrap(), None, "it is held already");
    assert!(!held.has_expired(Time(1_999)) && held.has_expired(Time(2_000)));
    let order = |expires| Order { expires: Time(expires), ..Order::default() };
    assert_eq!(held.limits(order(1_500)), order(1_500));
    assert_eq!(held.limits(order(9_000)), order(2_000));
}

proptest! {
    /// Documents in any order, signed by any keys: what a reader holds never goes back, and each step was signed by enough of
    /// the keys before it and of its own.
    #[test]
    fn each_step_goes_forward_by_enough_keys(
        made in proptest::collection::vec(
            (1_u64..6, proptest::sample::subsequence(vec![1_u8, 2, 3, 4], 1..=4), 1_usize..3,
             proptest::sample::subsequence(vec![1_u8, 2, 3, 4], 1..=4)),
            1..12,
        ),
    ) {
        let anchor = roots(&[1, 2], 2);
        let mut held: Option<TrustDocument> = None;
        for (version, keys, threshold, signers) in made {
            let set = roots(&keys, threshold.min(keys.len()));
            let next = document(version, &set, &[100]);
            let enough = |of: &Roots| {
                signers.iter().filter(|&&s| of.keys.contains(&public(s))).count() >= of.threshold
            };
            let in_force = held.as_ref().map_or(&anchor, |held| &held.roots);
            let newer = held.as_ref().is_none_or(|held| version > held.version);
            let due = newer && enough(in_force) && enough(&set);
            let found = step(&anchor, held.as_ref(), &sealed(&next, &signers)).unwrap_or(None);
            prop_assert_eq!(found.is_some(), due);
            if let Some(found) = found {
                held = Some(found);
            }
        }
    }

    /// No change of a single bit makes another document.
    #[test]
    fn a_changed_envelope_is_the_same_document_or_none(at in 0_usize..2_000, bit in 0_u8..8) {
        let anchor = roots(&[1, 2], 2);
        let first = document(1, &anchor, &[100]);
        let mut bytes = sealed(&first, &[1, 2]);
        let at = at % bytes.len();
        bytes[at] ^= 1 << bit;
        prop_assert!(step(&anchor, None, &bytes).unwrap_or(None).is_none_or(|found| found == first));
    }
}
