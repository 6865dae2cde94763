//! Bad windows right after a change of models that do not last: they are the price of the change, not the model's.
//!
//! Windows in the settling time are in no test ([`crate::SloCounts::post`] leaves them out), so a price that ends there is
//! only told. A price that lasts longer is in the tests, and controls do not pay it. So harm that a test shows counts only
//! if it lasts: where the bad windows are confined to the first ones after each device's own change, and canaries are as
//! before after them, nothing is taken back. This can only take a rejection away, so the promise of the tests holds
//! whatever the rule here.

use crate::decide::tally::Tally;
use crate::observations::{AfterSwap, Arm, Counts, SloRule};
use modelfleet_number::beta::binomial_upper_tail;

/// The chance that harm that lasts seems to be confined to the windows before a given one.
const CONFINED: f64 = 1e-3;
/// Canaries are as before where so many bad windows come by chance no more rarely than this.
const AS_BEFORE: f64 = 1e-3;

/// Windows that were bad after the change of models and are not any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transient {
    /// The first so many after the change, those that never count included.
    pub windows: u32,
    /// Canaries' device-windows in them.
    pub canary: Counts,
    /// Controls' in the same hours.
    pub control: Counts,
    /// All of them are settling time.
    pub settling: bool,
}

/// A price of the change, wherever it ended.
pub fn told(rule: &SloRule<'_>, tally: &Tally) -> Option<Transient> {
    find(rule.after_swap, tally, |_| true)
}

/// One that reached into the windows by which the rule is judged.
pub fn judged(rule: &SloRule<'_>, tally: &Tally) -> Option<Transient> {
    find(rule.after_swap, tally, |span| !span.settling)
}

/// Canaries' and controls' windows in the settling time.
pub fn settling(rule: &SloRule<'_>) -> (Counts, Counts) {
    let of = |arm| {
        let spans = rule.after_swap.iter().filter(|span| span.arm == arm && span.settling);
        spans.fold(Counts::default(), |sum, span| sum.plus(span.devices))
    };
    (of(Arm::Canary), of(Arm::Control))
}

/// Of all windows at which the bad ones may have ended the one that explains them best.
fn find(spans: &[AfterSwap], tally: &Tally, counts: impl Fn(&AfterSwap) -> bool) -> Option<Transient> {
    let canaries: Vec<&AfterSwap> = spans.iter().filter(|s| s.arm == Arm::Canary && counts(s)).collect();
    let controls: Vec<&AfterSwap> = spans.iter().filter(|s| s.arm == Arm::Control && counts(s)).collect();
    if canaries.len() != controls.len() {
        return None;
    }
    let sum = |list: &[&AfterSwap]| list.iter().fold(Counts::default(), |sum, span| sum.plus(span.devices));
    let usual = Usual::of(&sum(&controls), tally)?;
    let ends = (1..canaries.len()).filter_map(|end| {
        let before = (sum(&canaries[..end]), sum(&controls[..end]));
        let after = (sum(&canaries[end..]), sum(&controls[end..]));
        let chance = confined(before, after, &usual)?;
        let (windows, settling) = (canaries[end].from, canaries[..end].iter().all(|span| span.settling));
        Some((chance, Transient { windows, canary: before.0, control: before.1, settling }))
    });
    let best = ends.min_by(|a, b| a.0.total_cmp(&b.0))?;
    (best.0 <= CONFINED).then_some(best.1)
}

/// The chance that so many of canaries' bad windows fall before the end if they are equally often bad after it; `None`:
/// they are worse than expected after it as well, or nothing is known of it.
fn confined(before: (Counts, Counts), after: (Counts, Counts), usual: &Usual) -> Option<f64> {
    let expected = |(canary, control): (Counts, Counts)| canary.known as f64 * usual.share(control);
    if before.0.known == 0 || after.0.known == 0 {
        return None;
    }
    let (earlier, later) = (expected(before), expected(after));
    let lasting = binomial_upper_tail(after.0.bad(), after.0.known, later / after.0.known as f64);
    if lasting <= AS_BEFORE {
        return None;
    }
    let all = before.0.bad().saturating_add(after.0.bad());
    Some(binomial_upper_tail(before.0.bad(), all, earlier / (earlier + later)))
}

/// How often canaries' windows would be bad without the candidate.
struct Usual {
    /// Controls' share of bad windows over all spans; of canaries' own past where there are no controls.
    mean: f64,
    /// Canaries' share in the past over that of controls.
    level: f64,
}

/// Controls are believed to differ from hour to hour as far as so many bad windows and more show it.
const STEADY_EVENTS: f64 = 4.0;

impl Usual {
    /// `None`: there is nothing to compare with.
    fn of(controls: &Counts, tally: &Tally) -> Option<Usual> {
        let share = |counts: Counts| (counts.bad() as f64 + 0.5) / (counts.known as f64 + 1.0);
        let (ours, theirs) = (tally.canary_history, tally.control_history);
        match (controls.known, ours.known, theirs.known) {
            (0, 0, _) => None,
            (0, ..) => Some(Usual { mean: share(ours), level: 1.0 }),
            (_, 0, _) | (_, _, 0) => Some(Usual { mean: share(*controls), level: 1.0 }),
            _ => Some(Usual { mean: share(*controls), level: share(ours) / share(theirs) }),
        }
    }

    /// As often as controls in the same hours, and as much more or less often as in the past.
    fn share(&self, control: Counts) -> f64 {
        let hours =
            (control.bad() as f64 + STEADY_EVENTS) / (control.known as f64 + STEADY_EVENTS / self.mean);
        (hours * self.level).min(1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EDGES: [u32; 6] = [1, 2, 3, 6, 9, 13];

    /// Five canaries and 195 controls, so many windows in each span; bad windows of canaries by span.
    fn spans(bad: [u64; 6], settling: usize) -> Vec<AfterSwap> {
        let of = |arm, devices: u64, bad: [u64; 6]| {
            let ends = EDGES.into_iter().skip(1).chain([23]);
            let spans = EDGES.into_iter().zip(ends).zip(bad).enumerate();
            spans.map(move |(i, ((from, end), bad))| AfterSwap {
                arm,
                from,
                settling: i < settling,
                devices: Counts::new(devices * u64::from(end - from), bad),
            })
        };
        let controls = [4, 4, 12, 12, 16, 40];
        of(Arm::Canary, 5, bad).chain(of(Arm::Control, 195, controls)).collect()
    }

    fn tally() -> Tally {
        let (canary_history, control_history) = (Counts::new(3_000, 60), Counts::new(117_000, 2_340));
        Tally { canary_history, control_history, ..Tally::default() }
    }

    fn both(bad: [u64; 6], settling: usize) -> (Option<u32>, Option<u32>) {
        let spans = spans(bad, settling);
        let rule = SloRule { after_swap: &spans, ..SloRule::statistical("slo", 0) };
        (told(&rule, &tally()).map(|t| t.windows), judged(&rule, &tally()).map(|t| t.windows))
    }

    #[test]
    fn bad_windows_that_end_are_told_with_their_number() {
        assert_eq!(both([5, 5, 0, 0, 1, 1], 3), (Some(3), None), "the settling time has them all");
        assert_eq!(both([5, 5, 15, 0, 0, 1], 2), (Some(6), Some(6)), "three of them are judged");
    }

    #[test]
    fn what_lasts_is_no_price_of_the_change() {
        assert_eq!(both([0, 0, 0, 0, 1, 1], 2), (None, None), "nothing is bad");
        assert_eq!(both([1, 1, 3, 3, 4, 10], 2), (None, None), "bad all along");
        assert_eq!(both([5, 5, 3, 3, 4, 10], 2), (None, None), "a price, and harm that lasts on top");
        assert_eq!(both([0, 0, 0, 0, 10, 25], 2), (None, None), "bad later");
        assert_eq!(both([5, 5, 15, 0, 0, 0], 6).1, None, "nothing is judged yet");
    }

    #[test]
    fn without_controls_the_own_past_says_what_is_usual() {
        let mut spans = spans([5, 5, 0, 0, 1, 1], 3);
        for span in spans.iter_mut().filter(|span| span.arm == Arm::Control) {
            span.devices = Counts::default();
        }
        let rule = SloRule { after_swap: &spans, ..SloRule::statistical("slo", 0) };
        let alone = Tally { control_history: Counts::default(), ..tally() };
        assert_eq!(told(&rule, &alone).map(|t| t.windows), Some(3));
        assert_eq!(told(&rule, &Tally::default()).map(|t| t.windows), None, "nothing to compare with");
        let none = SloRule::statistical("slo", 0);
        assert_eq!(told(&none, &tally()), None);
    }
}
