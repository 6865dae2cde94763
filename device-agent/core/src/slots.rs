//! The builds on disk: two per model, and where to go back to without a download.

use modelfleet_protocol::ids::Digest;

use crate::saved::Slot;

/// Complete builds per model once things have settled; one more is being fetched at most.
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

/// What a slot is good for; the best two stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Worth {
    /// Rejected, and nothing depends on it any more: goes in any case.
    None,
    /// Neither proven nor wanted.
    Little,
    /// It ran well here.
    Proven,
    /// It is about to be admitted.
    Wanted,
    /// The way back from a build that is not proven.
    WayBack,
    /// It answers, or shall.
    Active,
}

/// Digests that have to go, given what each slot is worth.
pub(crate) fn surplus(slots: &[Slot], worth: impl Fn(&Slot) -> Worth) -> Vec<Digest> {
    let mut ranked: Vec<(Worth, Digest)> = slots.iter().map(|s| (worth(s), s.build.digest)).collect();
    ranked.sort_by_key(|r| std::cmp::Reverse(r.0));
    let goes = |(i, (worth, digest)): (usize, (Worth, Digest))| {
        (worth == Worth::None || (i >= SLOTS_MAX && worth != Worth::Active)).then_some(digest)
    };
    ranked.into_iter().enumerate().filter_map(goes).collect()
}
