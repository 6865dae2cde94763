//! A card that is read is one that could be signed again; without a trusted key none opens.
#![no_main]
use libfuzzer_sys::fuzz_target;
use modelfleet_protocol::card::Card;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    assert!(Card::open(&[], text).is_err());
    if let Ok(card) = Card::read_own(text) {
        assert!(card.labels.len() <= modelfleet_protocol::selector::LABELS_MAX);
        let json = serde_json::to_vec(&card).expect("a card is JSON");
        let again: Card = serde_json::from_slice(&json).expect("a card reads what a card writes");
        assert!(again == card);
    }
});
