//! A trust file, behind its signature too: what a stranger wrote is not followed, and what a root key signed is bounded and
//! reads back as it was written.
#![no_main]
use ed25519_dalek::SigningKey;
use libfuzzer_sys::fuzz_target;
use modelfleet_protocol::envelope::seal;
use modelfleet_protocol::trust::{Roots, TRUST_TYPE, follow};

fuzz_target!(|bytes: &[u8]| {
    let root = SigningKey::from_bytes(&[7; 32]);
    let anchor = Roots { keys: vec![root.verifying_key().into()], threshold: 1 };
    assert!(!matches!(follow(&anchor, None, None, bytes), Ok(Some(_))), "no fuzzer makes a signature");
    let signed = seal(&root, TRUST_TYPE, bytes);
    if let Ok(Some(document)) = follow(&anchor, None, None, &signed) {
        document.check().expect("what is followed is within its bounds");
        let again = seal(&root, TRUST_TYPE, &serde_json::to_vec(&document).expect("a document is JSON"));
        assert!(matches!(follow(&anchor, Some(&document), None, &again), Ok(None)));
    }
});
