//! The epoch of a leader: what its plans are ordered by, so that devices obey no leader of the past.
//!
//! It is the time at which the leader began, so that a controller with a new Lease, in a cluster that was built anew, is
//! obeyed without anything that the old one remembered. A clock that is behind is made up for by what was met: the epoch of
//! the Lease, of a status, or of a plan that our own key signed. What devices say moves no epoch, because one device could
//! then take the fleet from its controller; it is told as a condition, and a person decides (`--epoch-above`).

use modelfleet_protocol::plan::EPOCH_MAX;
use modelfleet_protocol::time::Time;

/// The epoch of a leader that begins `now`. `above`: an epoch that it has to be above, of the leader before or of a user's
/// choice; one that no leader can be above counts for nothing.
#[must_use]
pub fn next_epoch(above: Option<u64>, now: Time) -> u64 {
    let clock = (now.0 / 1000).clamp(1, EPOCH_MAX);
    let above = above.filter(|epoch| *epoch < EPOCH_MAX);
    above.map_or(clock, |epoch| clock.max(epoch + 1))
}

/// The highest epoch of a leader that `met` tells of, when it is later than `ours`, so that devices would not obey us. One that
/// no leader can be above counts for nothing.
#[must_use]
pub fn later_epoch(met: impl Iterator<Item = Option<i64>>, ours: u64) -> Option<u64> {
    let met = met.flatten().filter_map(|epoch| u64::try_from(epoch).ok());
    met.filter(|epoch| *epoch > ours && *epoch < EPOCH_MAX).max()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_800_000_000_999);

    #[test]
    fn a_new_leader_is_above_the_one_before_whatever_its_clock_says() {
        let table = [
            (None, NOW, 1_800_000_000),
            (Some(7), NOW, 1_800_000_000),
            (Some(1_800_000_000), NOW, 1_800_000_001),
            (Some(1_900_000_000), NOW, 1_900_000_001),
            // The clock is not set.
            (Some(1_900_000_000), Time(0), 1_900_000_001),
            (None, Time(0), 1),
            // No leader can be above these.
            (Some(EPOCH_MAX), NOW, 1_800_000_000),
            (Some(u64::MAX), NOW, 1_800_000_000),
            (Some(EPOCH_MAX - 1), NOW, EPOCH_MAX),
            (None, Time(u64::MAX), EPOCH_MAX),
        ];
        for (above, now, epoch) in table {
            assert_eq!(next_epoch(above, now), epoch, "{above:?} {now:?}");
        }
    }

    #[test]
    fn the_latest_epoch_that_is_above_ours_and_can_be_followed_is_told() {
        let later = |met: &[Option<i64>], ours| later_epoch(met.iter().copied(), ours);
        assert_eq!(later(&[None, Some(3), Some(8)], 4), Some(8));
        assert_eq!(later(&[None, Some(3), Some(-1)], 4), None);
        assert_eq!(later(&[Some(4)], 4), None, "our own");
        assert_eq!(later(&[Some(8), Some(i64::MAX)], 4), Some(8), "no leader can be above the second");
    }
}
