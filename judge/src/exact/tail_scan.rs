//! Harm to a few devices: are the devices that changed most canaries more often than chance lets them be?
//!
//! A sum over all canaries does not see a few that got far worse while the rest got better. So the devices are ordered by
//! how much each changed against its own past, and for the first, the first two, three, four, six and so on it is counted
//! how many are canaries: Fisher's exact test at each cut, and the smallest of these p-values as the statistic. That is
//! the scan of Berk & Jones (*Zeitschrift fuer Wahrscheinlichkeitstheorie* 1979) over the upper tail, a relative of higher
//! criticism (Donoho & Jin, *Annals of Statistics* 2004) that keeps its level in small samples (Moscovich, Nadler &
//! Spiegelman, *Electronic Journal of Statistics* 2016), with the hypergeometric in the place of the binomial because a
//! given number of canaries is picked. Each cut is counted out within strata, and the cuts share the level.

use crate::exact::change::Subject;
use crate::exact::flags::{Table, at_least};
use crate::observations::Arm;

/// How many of the devices that changed most are looked at.
const CUTS: [usize; 14] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128];

/// What the scan found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scan {
    /// P-value over all cuts.
    pub p: f64,
    /// Devices before the cut that says most.
    pub devices: usize,
}

/// The p-value of the scan at a level, for subjects ordered by stratum with their change scores. Cuts that could not
/// reach the level, whichever devices were picked, are left out, and cost the others nothing.
pub fn scan(subjects: &[Subject], scores: &[f64], level: f64) -> Scan {
    let strata = strata(subjects);
    let mut order: Vec<(f64, usize, bool)> = Vec::new();
    let mut start = 0;
    for (number, group) in subjects.chunk_by(|a, b| a.stratum == b.stratum).enumerate() {
        let own = scores.get(start..start + group.len()).unwrap_or_default();
        start += group.len();
        if strata[number].is_mixed() {
            let risen = group.iter().zip(own).filter(|(_, score)| **score > 0.0);
            order.extend(risen.map(|(s, score)| (*score, number, s.arm == Arm::Canary)));
        }
    }
    order.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let mixed: u64 = strata.iter().filter(|t| t.is_mixed()).map(|t| t.devices).sum();
    let mut found = Scan { p: 1.0, devices: 0 };
    let mut cuts = 0;
    let mut last = 0;
    for cut in CUTS {
        if cut > order.len() || 4 * cut as u64 > mixed {
            break;
        }
        // Devices that changed alike are on the same side of the cut.
        let lowest = order[cut - 1].0;
        let cut = order.partition_point(|(score, ..)| *score >= lowest);
        if cut == last {
            continue;
        }
        last = cut;
        let mut tables = strata.clone();
        order[..cut].iter().for_each(|(_, stratum, _)| tables[*stratum].marked += 1);
        tables.retain(|table| table.is_mixed() && table.marked > 0);
        let most = tables.iter().map(|t| t.marked.min(t.canaries)).sum();
        if at_least(&tables, most).is_none_or(|p| p > level) {
            continue;
        }
        cuts += 1;
        let seen = order[..cut].iter().filter(|(.., is_canary)| *is_canary).count() as u64;
        if let Some(p) = at_least(&tables, seen).filter(|p| *p < found.p) {
            found = Scan { p, devices: cut };
        }
    }
    Scan { p: (found.p * f64::from(cuts.max(1))).min(1.0), ..found }
}

/// The size of each stratum, nothing marked.
fn strata(subjects: &[Subject]) -> Vec<Table> {
    let count = |group: &[Subject]| Table {
        devices: group.len() as u64,
        marked: 0,
        canaries: group.iter().filter(|s| s.arm == Arm::Canary).count() as u64,
    };
    subjects.chunk_by(|a, b| a.stratum == b.stratum).map(count).collect()
}

/// P(so many or more of the marked devices are canaries), within strata.
pub fn marked_among_canaries(subjects: &[Subject], marks: &[bool]) -> f64 {
    let mut tables = strata(subjects);
    let (mut seen, mut start) = (0, 0);
    for (table, group) in tables.iter_mut().zip(subjects.chunk_by(|a, b| a.stratum == b.stratum)) {
        let marked = group.iter().zip(&marks[start..]).filter(|(_, marked)| **marked);
        start += group.len();
        if table.is_mixed() {
            table.marked = marked.clone().count() as u64;
            seen += marked.filter(|(s, _)| s.arm == Arm::Canary).count() as u64;
        }
    }
    tables.retain(Table::is_mixed);
    at_least(&tables, seen).unwrap_or(1.0)
}
