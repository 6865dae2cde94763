//! Answers that the shell owes. None is waited for without end: one that does not come in time is taken for lost,
//! which is told, and the request is made again or given up.

use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::state::{Failure, FailureCode};

use crate::turn::Turn;
use crate::unit::Unit;
use crate::words::{Output, Retry, Why};

/// What the shell is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    Fetch,
    Admit,
    Switch,
    Shadow,
}

const REQUESTS: [Request; 4] = [Request::Fetch, Request::Admit, Request::Switch, Request::Shadow];

/// How long the answers to a model's requests have been owed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Answers([Owed; REQUESTS.len()]);

#[derive(Clone, Copy, Debug, Default)]
struct Owed {
    /// The build that was asked for; `Some(None)`: that nothing answers.
    asked: Option<Option<Digest>>,
    /// Counted in steps, as time on probation is.
    waited_ms: u64,
    /// Answers in a row that did not come.
    lost: u32,
}

impl Answers {
    fn of(&mut self, request: Request) -> &mut Owed {
        &mut self.0[request as usize]
    }

    /// Time has passed.
    pub fn elapse(&mut self, passed_ms: u64) {
        for owed in &mut self.0 {
            owed.waited_ms = owed.waited_ms.saturating_add(passed_ms);
        }
    }

    /// The fetch goes on: its next word is waited for anew.
    pub fn fetch_goes_on(&mut self) {
        self.of(Request::Fetch).waited_ms = 0;
    }
}

/// Longest wait for an answer, milliseconds. Slow flash, and a rate that is asked for, are no fault.
fn patience_ms(request: Request, size_bytes: u64, bytes_per_second: u64, turn: &Turn<'_>) -> u64 {
    let second_per_megabyte_ms = size_bytes / 1_000;
    let at_rate_ms = size_bytes.saturating_mul(1_000).checked_div(bytes_per_second).unwrap_or(0);
    let (base_ms, more_ms) = match request {
        Request::Fetch => {
            (turn.limits.fetch_answer_ms, second_per_megabyte_ms.saturating_add(at_rate_ms.saturating_mul(2)))
        }
        Request::Admit => (turn.limits.admit_answer_ms, second_per_megabyte_ms.saturating_mul(4)),
        Request::Switch | Request::Shadow => {
            (turn.limits.switch_answer_ms, second_per_megabyte_ms.saturating_mul(4))
        }
    };
    base_ms.saturating_add(more_ms)
}

impl Unit {
    fn asked_for(&self, request: Request) -> Option<Option<Digest>> {
        match request {
            Request::Fetch => self.work.fetching.map(Some),
            Request::Admit => self.work.admitting.map(Some),
            Request::Switch => self.work.switching,
            Request::Shadow => self.work.shadow.filter(|_| !self.work.shadow_runs).map(Some),
        }
    }

    fn answer_patience_ms(&self, request: Request, digest: Option<Digest>, turn: &Turn<'_>) -> u64 {
        let goal = self.aim.goal().map(|goal| &goal.build).filter(|build| Some(build.digest) == digest);
        let slot = digest.and_then(|digest| self.slot(&digest)).map(|slot| &slot.build);
        let size_bytes = slot.or(goal).map_or(0, |build| build.size_bytes);
        patience_ms(request, size_bytes, self.work.fetch_rate, turn)
    }

    /// Asks to be woken when an answer is late. Called when a step has asked for all that it wants.
    pub fn await_answers(&mut self, turn: &mut Turn<'_>) {
        for request in REQUESTS {
            let asked = self.asked_for(request);
            let owed = self.answers.of(request);
            if owed.asked != asked {
                *owed = Owed { asked, ..Owed::default() };
            }
            let waited_ms = owed.waited_ms;
            if let Some(digest) = asked {
                let left_ms = self.answer_patience_ms(request, digest, turn).saturating_sub(waited_ms);
                turn.wake_at(turn.now.after_ms(left_ms), Why::Answer);
            }
        }
    }

    /// Gives up waiting for answers that are late.
    pub fn miss_answers(&mut self, turn: &mut Turn<'_>) {
        for request in REQUESTS {
            let Some(digest) = self.asked_for(request) else { continue };
            let owed = *self.answers.of(request);
            let patience_ms = self.answer_patience_ms(request, digest, turn);
            if owed.asked != Some(digest) || owed.waited_ms < patience_ms {
                continue;
            }
            let lost = owed.lost.saturating_add(1);
            *self.answers.of(request) = Owed { waited_ms: 0, lost, ..owed };
            let build = digest.map_or("nothing".to_owned(), |digest| digest.to_string());
            let what = match request {
                Request::Fetch => "the download of",
                Request::Admit => "the loading of",
                Request::Switch => "the switch to",
                Request::Shadow => "the start in shadow of",
            };
            let (model, seconds) = (&self.model, owed.waited_ms / 1_000);
            let detail = format!("{what} {build} has not ended, and said nothing for {seconds} s");
            turn.emit(Output::Note(format!("{model}: {detail}; it is asked for again")));
            self.miss(request, digest, lost, detail, turn);
        }
    }

    fn miss(
        &mut self,
        request: Request,
        digest: Option<Digest>,
        lost: u32,
        detail: String,
        turn: &mut Turn<'_>,
    ) {
        // That the agent's own parts do not answer says nothing about the model.
        let failure = Failure::new(FailureCode::Unproven, detail);
        let given_up = lost >= turn.limits.answers_lost_max;
        match (request, digest) {
            (Request::Fetch, Some(digest)) => {
                turn.emit(Output::PauseFetch { digest });
                let failure = Failure { code: FailureCode::DownloadExhausted, ..failure };
                self.fetch_failed(&digest, failure, Retry::Later, turn);
            }
            (Request::Admit, Some(digest)) => {
                turn.emit(Output::Unload { model: self.model.clone(), digest });
                self.unreadable(&digest, failure, turn);
            }
            (Request::Switch, digest) => {
                // Nobody knows what answers: what shall is asked for again, even if it is what answered before.
                let want = self.kept.active.as_ref().map(|active| active.digest);
                let build = want.and_then(|want| self.build(&want));
                self.work.switching = Some(build.as_ref().map(|build| build.digest));
                turn.emit(Output::Switch { model: self.model.clone(), build });
                let on_trial = digest.filter(|digest| self.is_active(digest) && self.on_trial());
                if on_trial.is_some() && given_up {
                    self.revert(failure, turn);
                }
            }
            (Request::Shadow, Some(_)) if given_up => self.end_shadow(failure, turn),
            (Request::Shadow, Some(digest)) => {
                turn.emit(Output::Shadow { model: self.model.clone(), build: self.build(&digest) });
            }
            // Only a switch may be one to nothing.
            (Request::Fetch | Request::Admit | Request::Shadow, None) => {}
        }
    }

    /// The shell runs it beside what answers.
    pub fn shadowing(&mut self, digest: &Digest) {
        self.work.shadow_runs |= self.work.shadow.as_ref() == Some(digest);
    }
}
