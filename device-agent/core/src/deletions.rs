//! What may be deleted, and when. Bytes that a slot or a download needs stay, and so do those of a build that answers or
//! is being made to, until something else answers: the shell may make a build answer just before it hears that the build
//! is not wanted, or that its bytes were lost.

use std::collections::BTreeMap;

use modelfleet_protocol::ids::{Digest, ModelName};

use crate::unit::Unit;
use crate::words::Output;

/// What is deleted once it does not answer any more. As many as the models can answer with; a restart forgets it, and the
/// shell then deletes whatever nobody names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deletions {
    later: Vec<Output>,
}

impl Deletions {
    /// Takes out of a step's outputs the deletions that may not be, or not yet, and adds those that may be by now.
    /// `writable`: the record can be written; without that it may still name what is to go.
    pub fn sift(&mut self, units: &BTreeMap<ModelName, Unit>, writable: bool, outputs: &mut Vec<Output>) {
        // Two models may share their bytes: what one of them still needs stays.
        let held = |digest: &Digest| units.values().any(|unit| unit.slot(digest).is_some());
        let begun = |digest: &Digest| units.values().any(|unit| unit.kept.parts.contains(digest));
        let answers = |digest: &Digest| units.values().any(|unit| unit.answers_with(digest));
        let needed = |output: &Output| match output {
            Output::Delete { digest } => held(digest),
            Output::CancelFetch { digest } => begun(digest) || held(digest),
            _ => false,
        };
        let waits = |output: &Output| deleted(output).is_some_and(answers);
        outputs.retain(|output| !needed(output));
        let (due, later) = std::mem::take(&mut self.later)
            .into_iter()
            .filter(|output| !needed(output))
            .partition(|output| writable && !waits(output));
        self.later = later;
        for output in outputs.extract_if(.., |output| waits(output)) {
            if !self.later.contains(&output) {
                self.later.push(output);
            }
        }
        outputs.extend::<Vec<Output>>(due);
    }
}

/// The build whose bytes this deletes.
fn deleted(output: &Output) -> Option<&Digest> {
    match output {
        Output::Delete { digest } | Output::CancelFetch { digest } => Some(digest),
        _ => None,
    }
}
