//! The windows record: the windows of one model as bytes on disk. It is evidence, not safety: what cannot be read is left
//! out.

use modelfleet_protocol::generated;
use modelfleet_protocol::ids::Digest;
use prost::Message;

use super::backlog::{Backlog, Entry};
use super::build_windows::BuildWindows;
use super::history::{Past, PastWindow};
use super::windows::{BUILDS_MAX, Basis, ObservedWindows};

/// The bytes of the windows record.
#[derive(Clone, PartialEq, Message)]
struct SavedWindows {
    #[prost(message, repeated, tag = "1")]
    builds: Vec<SavedBuild>,
    #[prost(uint64, tag = "2")]
    observe_id: u64,
    #[prost(uint64, tag = "3")]
    since_index: u64,
    #[prost(uint64, tag = "4")]
    window_ms: u64,
}

#[derive(Clone, PartialEq, Message)]
struct SavedBuild {
    #[prost(bytes = "vec", tag = "1")]
    digest: Vec<u8>,
    #[prost(message, repeated, tag = "2")]
    past: Vec<PastWindow>,
    #[prost(message, repeated, tag = "3")]
    entries: Vec<generated::Window>,
    /// The last base window of each entry.
    #[prost(uint64, repeated, tag = "4")]
    last: Vec<u64>,
}

impl ObservedWindows {
    /// What is written, bounded by 4 builds of twice 600 short windows and 64 entries.
    pub fn to_bytes(&self) -> Vec<u8> {
        let build = |windows: &BuildWindows| SavedBuild {
            digest: windows.digest().0.to_vec(),
            past: windows.past().0.iter().cloned().collect(),
            entries: windows.backlog().0.iter().map(|e| (&e.summary, e.tally.clone()).into()).collect(),
            last: windows.backlog().0.iter().map(|e| e.last).collect(),
        };
        let Basis { observe_id, since_index, window_ms } = self.basis();
        let builds = self.builds().iter().map(build).collect();
        SavedWindows { builds, observe_id, since_index, window_ms }.encode_to_vec()
    }

    /// Reads what was written. What cannot be read is left out.
    pub fn from_bytes(bytes: &[u8]) -> ObservedWindows {
        let saved = SavedWindows::decode(bytes).unwrap_or_default();
        let SavedWindows { builds, observe_id, since_index, window_ms } = saved;
        let builds = builds.into_iter().take(BUILDS_MAX).filter_map(|build| {
            let digest = Digest::from_slice(&build.digest)?;
            let mut past = Past::default();
            let most = build.past.len();
            build.past.into_iter().for_each(|window| {
                past.add(window, most, since_index);
            });
            let mut backlog = Backlog::default();
            for (window, last) in build.entries.iter().zip(build.last) {
                let end = backlog.0.last().map(|entry: &Entry| entry.last);
                let in_order = last >= window.index && end.is_none_or(|end| window.index > end);
                if in_order && window.span > 0 {
                    let tally = window.tally.clone().unwrap_or_default();
                    backlog.0.push(Entry { summary: window.into(), last, tally });
                }
            }
            Some(BuildWindows::restored(digest, past, backlog))
        });
        ObservedWindows::restored(builds.collect(), Basis { observe_id, since_index, window_ms })
    }
}
