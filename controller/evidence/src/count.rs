//! A device in the counts that the core decides on.

use modelfleet_judge::Arm;
use modelfleet_protocol::state::Phase;
use modelfleet_rollout::FleetView;

use crate::{Facts, Moment};

/// Adds a device to the counts.
#[inline]
pub fn count(view: &mut FleetView, facts: &Facts, moment: &Moment) {
    let one = u64::from;
    let (runs, exposed) = (facts.runs(), facts.is_exposed());
    let lost = facts.is_lost(moment);
    view.matching += one(facts.matching);
    let was_member = facts.member || facts.set_aside || (facts.set_aside_by_user && facts.was_drawn);
    view.unmarked += one(was_member && facts.online && !runs && facts.phase.is_none());
    let other = facts.arm() == Some(Arm::Control);
    view.others += one(other);
    view.others_lost += one(other && lost);
    let compared = lost && (other || (facts.member && runs));
    view.away_by_rhythm += one(compared && facts.by_rhythm == Some(true));
    view.away_beyond_rhythm += one(compared && facts.by_rhythm == Some(false));
    if !facts.member && !runs && facts.phase.is_none() {
        // As most devices at most times: it has nothing to do with the attempt.
        return;
    }
    let mute = moment.back_since.is_some_and(|since| facts.heard_at < since);
    view.exposed_ever += one(facts.was_exposed());
    view.still_exposed += one(exposed && facts.online);
    view.still_exposed_mute += one(exposed && facts.online && mute);
    view.still_exposed_unreachable += one(exposed && !facts.online);
    if !facts.member {
        return;
    }
    view.members += 1;
    if facts.is_incompatible() {
        view.incompatible += 1;
        return;
    }
    if facts.has_own_trouble() {
        view.own_trouble += 1;
        return;
    }
    let downloaded = matches!(facts.phase, Some(Phase::Downloaded | Phase::Reverted | Phase::RolledBack));
    view.eligible += 1;
    view.reachable += one(facts.online);
    view.unreachable += one(!facts.online);
    view.offered += one(facts.phase.is_some() || runs);
    view.downloaded += one(runs || downloaded);
    view.activated += one(runs);
    view.confirmed += one(facts.is_confirmed());
    view.failed += one(facts.has_failed());
    view.unproven += one(facts.is_unproven());
    view.unasked += one(facts.is_unasked(moment) && facts.online);
    view.lost += one(runs && lost && facts.by_rhythm != Some(true));
    view.lost_untold += one(runs && lost && facts.by_rhythm.is_none());
    view.silent_after_activation += one(runs && !facts.is_heard(moment));
}
