//! Any text can be checked.
#![no_main]
use libfuzzer_sys::fuzz_target;
use modelfleet_cli::commands::lint;

fuzz_target!(|text: &str| {
    let _ = lint::lint(text);
});
