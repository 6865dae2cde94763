//! A recorded look that is read is judged again or refused, and the same each time.
#![no_main]
use libfuzzer_sys::fuzz_target;
use modelfleet_judge::record::{Answer, Record};

fuzz_target!(|line: &str| {
    if let Ok(record) = Record::from_line(line)
        && let Ok(first) = record.replay()
    {
        let again = record.replay().expect("it was judged before");
        assert!(Answer::of(&first) == Answer::of(&again));
    }
});
