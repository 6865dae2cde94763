//! Replies that the shell owes. Each has a deadline: if it does not come in time, the log says so, and the request is made
//! again or given up.

use modelfleet_protocol::ids::Digest;
use modelfleet_protocol::state::{Failure, FailureCode};

use super::ManagedModel;
use crate::agent::context::StepContext;
use crate::interface::{Output, Retry, WakeReason};

/// What the shell is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Request {
    Download,
    Load,
    Switch,
    Shadow,
}

const REQUESTS: [Request; 4] = [Request::Download, Request::Load, Request::Switch, Request::Shadow];

/// The builds that the shell was asked for. A restart forgets them, and settling makes the requests again.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Requests {
    pub download: Option<Digest>,
    pub load: Option<Digest>,
    /// `Some(None)`: a switch to no build.
    pub switch: Option<Option<Digest>>,
    pub shadow: Option<Digest>,
}

/// How long the replies to a model's requests have been owed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ReplyDeadlines([Owed; REQUESTS.len()]);

#[derive(Clone, Copy, Debug, Default)]
struct Owed {
    /// The build that was asked for; `Some(None)`: no build.
    requested: Option<Option<Digest>>,
    /// Counted from step to step, like the time of a probation.
    waited_ms: u64,
    /// Replies in a row that did not come.
    missed: u32,
}

impl ReplyDeadlines {
    fn of(&mut self, request: Request) -> &mut Owed {
        &mut self.0[request as usize]
    }

    /// Time has passed.
    pub fn elapse(&mut self, passed_ms: u64) {
        for owed in &mut self.0 {
            owed.waited_ms = owed.waited_ms.saturating_add(passed_ms);
        }
    }

    /// The download makes progress: its wait begins again.
    pub fn download_progressed(&mut self) {
        self.of(Request::Download).waited_ms = 0;
    }

    /// How long the reply to this request has been owed. A request for another build begins a new wait.
    fn wait_for(&mut self, request: Request, requested: Option<Option<Digest>>) -> u64 {
        let owed = self.of(request);
        if owed.requested != requested {
            *owed = Owed { requested, ..Owed::default() };
        }
        owed.waited_ms
    }

    /// Whether the reply is late; then it counts as missed. Returns how long it was owed, and the replies missed in a row.
    fn take_overdue(
        &mut self,
        request: Request,
        digest: Option<Digest>,
        deadline_ms: u64,
    ) -> Option<(u64, u32)> {
        let owed = self.of(request);
        if owed.requested != Some(digest) || owed.waited_ms < deadline_ms {
            return None;
        }
        let missed = owed.missed.saturating_add(1);
        let waited_ms = owed.waited_ms;
        *owed = Owed { waited_ms: 0, missed, ..*owed };
        Some((waited_ms, missed))
    }
}

/// Longest wait for a reply, milliseconds. Slow flash memory and a rate limit are no fault.
fn deadline_ms(request: Request, size_bytes: u64, bytes_per_second: u64, ctx: &StepContext<'_>) -> u64 {
    let second_per_megabyte_ms = size_bytes / 1_000;
    let at_rate_ms = size_bytes.saturating_mul(1_000).checked_div(bytes_per_second).unwrap_or(0);
    let (base_ms, more_ms) = match request {
        Request::Download => {
            (ctx.limits.fetch_reply_ms, second_per_megabyte_ms.saturating_add(at_rate_ms.saturating_mul(2)))
        }
        Request::Load => (ctx.limits.admit_reply_ms, second_per_megabyte_ms.saturating_mul(4)),
        Request::Switch | Request::Shadow => {
            (ctx.limits.switch_reply_ms, second_per_megabyte_ms.saturating_mul(4))
        }
    };
    base_ms.saturating_add(more_ms)
}

impl ManagedModel {
    fn requested(&self, request: Request) -> Option<Option<Digest>> {
        match request {
            Request::Download => self.download.running().map(Some),
            Request::Load => self.admission.requested().map(Some),
            Request::Switch => self.serving.switching(),
            Request::Shadow => self.shadow.requested().map(Some),
        }
    }

    fn reply_deadline_ms(&self, request: Request, digest: Option<Digest>, ctx: &StepContext<'_>) -> u64 {
        let size_bytes = digest.map_or(0, |digest| {
            let slot = self.slots.get(&digest).map(|slot| &slot.build);
            let target = self.orders.target_of(&digest).map(|target| &target.build);
            slot.or(target).map_or(0, |build| build.size_bytes)
        });
        deadline_ms(request, size_bytes, self.download.bytes_per_second(), ctx)
    }

    /// Asks to be woken when a reply is late. Called when a step has made all its requests.
    pub(super) fn await_replies(&mut self, ctx: &mut StepContext<'_>) {
        for request in REQUESTS {
            let requested = self.requested(request);
            let waited_ms = self.replies.wait_for(request, requested);
            if let Some(digest) = requested {
                let left_ms = self.reply_deadline_ms(request, digest, ctx).saturating_sub(waited_ms);
                ctx.wake_at(ctx.now.after_ms(left_ms), WakeReason::Reply);
            }
        }
    }

    /// Makes requests again, or gives them up, whose replies are late.
    pub(super) fn repeat_overdue_requests(&mut self, ctx: &mut StepContext<'_>) {
        for request in REQUESTS {
            let Some(digest) = self.requested(request) else { continue };
            let deadline_ms = self.reply_deadline_ms(request, digest, ctx);
            let Some((waited_ms, missed)) = self.replies.take_overdue(request, digest, deadline_ms) else {
                continue;
            };
            let build = digest.map_or("no build".to_owned(), |digest| digest.to_string());
            let what = match request {
                Request::Download => "the download of",
                Request::Load => "the load of",
                Request::Switch => "the switch to",
                Request::Shadow => "the start in shadow of",
            };
            let detail = format!("{what} {build} has shown no progress for {} s", waited_ms / 1_000);
            ctx.log(format!("{}: {detail}; requesting it again", self.name));
            self.reply_missed(request, digest, missed, detail, ctx);
        }
    }

    fn reply_missed(
        &mut self,
        request: Request,
        digest: Option<Digest>,
        missed: u32,
        detail: String,
        ctx: &mut StepContext<'_>,
    ) {
        // A missing reply of the agent's own shell says nothing about the build.
        let failure = Failure::new(FailureCode::Unproven, detail);
        let given_up = missed >= ctx.limits.replies_lost_max;
        match (request, digest) {
            (Request::Download, Some(digest)) => {
                ctx.emit(Output::PauseFetch { digest });
                let failure = Failure { code: FailureCode::DownloadExhausted, ..failure };
                self.download_failed(&digest, failure, Retry::Later, ctx);
            }
            (Request::Load, Some(digest)) => {
                ctx.emit(Output::Unload { model: self.name.clone(), digest });
                self.load_unreadable(&digest, failure, ctx);
            }
            (Request::Switch, digest) => {
                // It is not known which build answers, so the switch to the active one is requested even if it answered
                // before.
                let want = self.active.as_ref().map(|active| active.digest);
                self.serving.repeat_switch(&self.name, want, &self.slots, ctx);
                let on_probation =
                    digest.is_some_and(|digest| self.is_active(&digest)) && self.on_probation();
                if on_probation && given_up {
                    self.revert(failure, ctx);
                }
            }
            (Request::Shadow, Some(_)) if given_up => self.end_shadow(failure, ctx),
            (Request::Shadow, Some(digest)) => {
                ctx.emit(Output::Shadow { model: self.name.clone(), build: self.slots.build(&digest) });
            }
            // Only a switch can be one to no build.
            (Request::Download | Request::Load | Request::Shadow, None) => {}
        }
    }
}
