//! A statement that is read is written back as it was read, and counts for itself alone.
#![no_main]
use libfuzzer_sys::fuzz_target;
use modelfleet_protocol::statement::{BareSignatures, Statement, check};

fuzz_target!(|bytes: &[u8]| {
    let Ok(comment) = std::str::from_utf8(bytes) else { return };
    let Ok(Some(signed)) = Statement::read(comment) else { return };
    check(&signed.to_string(), &signed, BareSignatures::Refused).expect("it fits itself");
    let other = Statement { model: "another-model".parse().expect("a valid name"), ..signed.clone() };
    if other != signed {
        assert!(check(comment, &other, BareSignatures::Allowed).is_err());
    }
});
