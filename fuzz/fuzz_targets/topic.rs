//! A topic that is read is the topic that is written.
#![no_main]
use libfuzzer_sys::fuzz_target;
use modelfleet_protocol::topic::Topic;

fuzz_target!(|text: &str| {
    if let Ok(topic) = Topic::parse(text) {
        assert_eq!(topic.name(), text);
    }
});
