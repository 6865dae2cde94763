//! Writes the kept corpus: a few good entries of each kind of bytes, some kilobytes each at most, from which libFuzzer and the
//! tests make others. The same each time: `cargo run -p modelfleet-untrusted --bin corpus -- fuzz/corpus`.
//!
//! It replaces the entries that it names and leaves others alone: one that a fuzzer found stays under a name of its own.

mod fleet;
mod people;

use std::path::PathBuf;

/// One entry: kind, name, bytes.
type Entry = (&'static str, &'static str, Vec<u8>);

fn main() -> std::io::Result<()> {
    let folder = std::env::args_os().nth(1).map_or_else(|| PathBuf::from("fuzz/corpus"), PathBuf::from);
    for (kind, name, bytes) in fleet::entries().into_iter().chain(people::entries()) {
        let folder = folder.join(kind);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(name), bytes)?;
    }
    Ok(())
}
