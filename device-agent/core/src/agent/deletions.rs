//! What may be deleted, and when. Bytes that a slot or a download needs stay. Bytes of a build that answers, or is being
//! switched to, stay until another build answers: the shell may switch to a build just before it hears that the build is
//! not wanted, or that its bytes were lost.

use modelfleet_protocol::ids::Digest;

use super::models::ModelTable;
use crate::interface::Output;

/// Deletions that wait until the build does not answer any more. There are at most as many as there are models. A restart
/// forgets them; the shell then deletes every build that is not needed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deletions {
    later: Vec<Output>,
}

impl Deletions {
    /// Takes those deletions out of a step's outputs that must not happen, or not yet, and adds those that may happen by
    /// now. `writable`: the record can be written; if not, it may still name what is to be deleted.
    pub fn sort_out(&mut self, models: &ModelTable, writable: bool, outputs: &mut Vec<Output>) {
        // Two models may share their bytes: what one of them still needs stays.
        let in_slot = |digest: &Digest| models.iter().any(|model| model.slots().contains(digest));
        let partial = |digest: &Digest| models.iter().any(|model| model.download().has_partial(digest));
        let answers = |digest: &Digest| models.iter().any(|model| model.serving().answers_with(digest));
        let needed = |output: &Output| match output {
            Output::Delete { digest } => in_slot(digest),
            Output::CancelFetch { digest } => partial(digest) || in_slot(digest),
            _ => false,
        };
        let waits = |output: &Output| deleted_build(output).is_some_and(answers);
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

/// The build whose bytes this output deletes.
fn deleted_build(output: &Output) -> Option<&Digest> {
    match output {
        Output::Delete { digest } | Output::CancelFetch { digest } => Some(digest),
        _ => None,
    }
}
