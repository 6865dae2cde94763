//! The windows record: what was observed, as bytes on disk. Evidence, not safety: what cannot be read is left out.

use modelfleet_protocol::generated;
use modelfleet_protocol::ids::Digest;
use prost::Message;

use crate::backlog::{Backlog, Entry};
use crate::history::{Past, PastWindow};
use crate::observation::{BOOKS_MAX, Book, Observation};

/// The bytes of the windows record.
#[derive(Clone, PartialEq, Message)]
struct SavedWindows {
    #[prost(message, repeated, tag = "1")]
    books: Vec<SavedBook>,
    #[prost(uint64, tag = "2")]
    observe_id: u64,
    #[prost(uint64, tag = "3")]
    since_index: u64,
    #[prost(uint64, tag = "4")]
    window_ms: u64,
}

#[derive(Clone, PartialEq, Message)]
struct SavedBook {
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

impl Observation {
    /// What is written, bounded by 4 books of twice 600 short windows and 64 entries.
    pub fn to_bytes(&self) -> Vec<u8> {
        let book = |book: &Book| SavedBook {
            digest: book.digest.0.to_vec(),
            past: book.past.0.iter().cloned().collect(),
            entries: book.backlog.0.iter().map(|e| (&e.summary, e.tally.clone()).into()).collect(),
            last: book.backlog.0.iter().map(|e| e.last).collect(),
        };
        let (observe_id, since_index, window_ms) = self.basis;
        let books = self.books.iter().map(book).collect();
        SavedWindows { books, observe_id, since_index, window_ms }.encode_to_vec()
    }

    /// Reads what was written; nothing where it cannot be read.
    pub fn from_bytes(bytes: &[u8]) -> Observation {
        let saved = SavedWindows::decode(bytes).unwrap_or_default();
        let basis = (saved.observe_id, saved.since_index, saved.window_ms);
        let books = saved.books.into_iter().take(BOOKS_MAX).filter_map(|book| {
            let digest = Digest::from_slice(&book.digest)?;
            let mut past = Past::default();
            let most = book.past.len();
            book.past.into_iter().for_each(|window| {
                past.add(window, most, saved.since_index);
            });
            let mut backlog = Backlog::default();
            for (window, last) in book.entries.iter().zip(book.last) {
                let end = backlog.0.last().map(|entry: &Entry| entry.last);
                let in_order = last >= window.index && end.is_none_or(|end| window.index > end);
                if in_order && window.span > 0 {
                    let tally = window.tally.clone().unwrap_or_default();
                    backlog.0.push(Entry { summary: window.into(), last, tally });
                }
            }
            Some(Book { digest, past, backlog })
        });
        Observation::restored(books.collect(), basis)
    }
}
