//! Recent predictions that ground truth may still arrive for: a ring, so that the oldest are forgotten first.

use modelfleet_protocol::ids::Digest;

/// What is remembered of a prediction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub key: u64,
    pub digest: Digest,
    pub window_ms: u64,
    pub index: u64,
    pub positive: bool,
}

#[derive(Debug)]
pub(crate) struct Truth {
    keys: Box<[u64]>,
    /// Window, and build in the upper bits' stead: an index into `builds`.
    entries: Box<[Entry]>,
    next: usize,
    builds: [Option<(Digest, u64)>; 4],
    build: u8,
}

#[derive(Clone, Copy, Debug, Default)]
struct Entry {
    index: u64,
    build: u8,
    positive: bool,
}

impl Truth {
    pub fn new(remembered: usize) -> Truth {
        let remembered = remembered.max(1);
        Truth {
            keys: vec![0; remembered].into_boxed_slice(),
            entries: vec![Entry::default(); remembered].into_boxed_slice(),
            next: 0,
            builds: [None; 4],
            build: 0,
        }
    }

    pub fn remember(&mut self, known: Known) {
        let build = Some((known.digest, known.window_ms));
        if self.builds[usize::from(self.build)] != build {
            self.turn_to(build);
        }
        self.keys[self.next] = known.key;
        self.entries[self.next] = Entry { index: known.index, build: self.build, positive: known.positive };
        self.next = if self.next + 1 < self.keys.len() { self.next + 1 } else { 0 };
    }

    /// Another build makes the predictions from now on; those of the fourth last one are forgotten.
    fn turn_to(&mut self, build: Option<(Digest, u64)>) {
        self.build = (self.build + 1) % 4;
        for (key, entry) in self.keys.iter_mut().zip(&self.entries) {
            if entry.build == self.build {
                *key = 0;
            }
        }
        self.builds[usize::from(self.build)] = build;
    }

    /// The newest prediction with this key. It is taken out: its truth counts once.
    pub fn take(&mut self, key: u64) -> Option<Known> {
        if key == 0 {
            return None;
        }
        let (older, newer) = self.keys.split_at(self.next);
        let position = |keys: &[u64]| keys.iter().rposition(|&k| k == key);
        let at = position(older).or_else(|| position(newer).map(|at| at + self.next))?;
        let Entry { index, build, positive } = self.entries[at];
        let (digest, window_ms) = self.builds[usize::from(build)]?;
        self.keys[at] = 0;
        Some(Known { key, digest, window_ms, index, positive })
    }
}
