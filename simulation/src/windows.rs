//! The newest windows merged over each arm, for the incident watch and the plain rules.

use modelfleet_evidence::MERGED_WINDOWS_MAX;
use modelfleet_judge::{Arm, Counts};

/// Windows that are kept.
const KEPT: u32 = MERGED_WINDOWS_MAX as u32;

/// One window of one indicator over one arm.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cell {
    /// The window.
    pub window: u32,
    /// Devices with a known outcome.
    pub known: u32,
    /// Of those, devices that were bad.
    pub bad: u32,
    /// Bad events.
    pub errors: u64,
}

impl Cell {
    /// As the judge counts.
    pub fn counts(&self) -> Counts {
        Counts::new(u64::from(self.known), u64::from(self.bad))
    }
}

/// Merged windows of both arms.
#[derive(Debug)]
pub struct Windows {
    cells: Vec<Cell>,
    indicators: usize,
}

impl Windows {
    /// No windows yet.
    pub fn new(indicators: usize) -> Windows {
        Windows { cells: vec![Cell::default(); 2 * indicators * KEPT as usize], indicators }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.cells.fill(Cell::default());
    }

    fn range(&self, arm: Arm, indicator: usize) -> std::ops::Range<usize> {
        let row = if arm == Arm::Canary { indicator } else { self.indicators + indicator };
        row * KEPT as usize..(row + 1) * KEPT as usize
    }

    /// Adds one device's window; one that is older than what is kept is left out.
    #[inline]
    pub fn add(&mut self, arm: Arm, indicator: usize, window: u32, bad: bool, errors: u64) {
        let at = self.range(arm, indicator).start + (window % KEPT) as usize;
        let cell = &mut self.cells[at];
        if cell.window < window {
            *cell = Cell { window, ..Cell::default() };
        }
        if cell.window == window {
            cell.known += 1;
            cell.bad += u32::from(bad);
            cell.errors += errors;
        }
    }

    /// The windows that are kept, in no order.
    pub fn of(&self, arm: Arm, indicator: usize) -> impl Iterator<Item = &Cell> {
        self.cells[self.range(arm, indicator)].iter().filter(|cell| cell.known > 0)
    }

    /// One window.
    pub fn at(&self, arm: Arm, indicator: usize, window: u32) -> Cell {
        let cell = self.cells[self.range(arm, indicator).start + (window % KEPT) as usize];
        if cell.window == window { cell } else { Cell::default() }
    }

    /// The newest windows with a known outcome, newest first.
    pub fn newest<const N: usize>(&self, arm: Arm, indicator: usize) -> [Cell; N] {
        let mut newest = [Cell::default(); N];
        for cell in self.of(arm, indicator) {
            let at = newest.partition_point(|kept| kept.window > cell.window);
            if at < N {
                newest[at..].rotate_right(1);
                newest[at] = *cell;
            }
        }
        newest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_windows_make_room() {
        let mut windows = Windows::new(1);
        for window in 100..200 {
            windows.add(Arm::Control, 0, window, window % 2 == 0, 3);
            windows.add(Arm::Control, 0, window, false, 0);
        }
        windows.add(Arm::Control, 0, 110, true, 1);
        let newest = windows.newest::<3>(Arm::Control, 0).map(|c| (c.window, c.known, c.bad));
        assert_eq!(newest, [(199, 2, 0), (198, 2, 1), (197, 2, 0)]);
        assert_eq!(windows.of(Arm::Control, 0).count(), 64);
        assert_eq!(windows.of(Arm::Canary, 0).count(), 0);
        assert_eq!(windows.at(Arm::Control, 0, 110), Cell::default());
    }
}
