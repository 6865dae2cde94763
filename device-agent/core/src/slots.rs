//! The builds on disk: two slots per model, and what each of them may hold.
//!
//! | what is active | the other slot holds | what is wanted besides |
//! |---|---|---|
//! | nothing | what is wanted | is fetched |
//! | a build on trial, or that no plan has called stable | the way back | waits for the end of the trial, unless there is no way back |
//! | a build that is stable and proven | what is wanted; without that, the last that ran well | is fetched, and takes the place |
//!
//! While a switch is under way both its ends are active. What is rejected holds no slot. Nothing is fetched before
//! there is a slot for it, so that no build that is wanted is ever deleted again.

use modelfleet_protocol::ids::Digest;

use crate::saved::Slot;

/// Builds per model.
pub const SLOTS_MAX: usize = 2;

pub(crate) fn find<'a>(slots: &'a [Slot], digest: &Digest) -> Option<&'a Slot> {
    slots.iter().find(|slot| &slot.build.digest == digest)
}

/// The last good build besides `from`: it ran here and came through, and no plan has rejected it. The plan's
/// stable build is the first choice.
pub(crate) fn go_back<'a>(
    slots: &'a [Slot],
    from: Option<&Digest>,
    stable: Option<&Digest>,
    rejected: &[Digest],
) -> Option<&'a Slot> {
    slots
        .iter()
        .filter(|s| Some(&s.build.digest) != from && s.proven && !rejected.contains(&s.build.digest))
        .max_by_key(|s| (Some(&s.build.digest) == stable, s.stable))
}

/// What a slot is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Worth {
    /// Rejected, and nothing depends on it any more: goes in any case.
    None,
    /// Neither proven nor wanted: stays while there is room.
    Little,
    /// It ran well here: stays while there is room.
    Proven,
    /// It is about to be admitted, or runs in shadow.
    Wanted,
    /// The way back from a build that is not proven.
    WayBack,
    /// It answers, or shall.
    Active,
}

/// Whether there is a slot for a build that is wanted and not here.
pub(crate) fn has_room(slots: &[Slot], worth: impl Fn(&Slot) -> Worth) -> bool {
    slots.iter().filter(|slot| worth(slot) > Worth::Wanted).count() < SLOTS_MAX
}

/// Digests that have to go, given what each slot is worth.
pub(crate) fn surplus(slots: &[Slot], worth: impl Fn(&Slot) -> Worth) -> Vec<Digest> {
    let mut ranked: Vec<(Worth, Digest)> = slots.iter().map(|s| (worth(s), s.build.digest)).collect();
    ranked.sort_by_key(|r| std::cmp::Reverse(r.0));
    let goes = |(i, (worth, digest)): (usize, (Worth, Digest))| {
        (worth == Worth::None || (i >= SLOTS_MAX && worth < Worth::Wanted)).then_some(digest)
    };
    ranked.into_iter().enumerate().filter_map(goes).collect()
}
