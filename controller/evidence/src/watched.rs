//! Which devices share the value of a label that a stage watches.
//!
//! A stage is spread over few labels, and harm may follow another one: the firmware, the supplier of a sensor. The values of
//! a watched label make groups in which harm is looked for as in strata, however the stage was drawn. Each label is taken
//! by itself. Their number is bounded: the values that most devices have make groups, all others none.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use modelfleet_judge::WATCHED_MAX;
use modelfleet_protocol::membership::STRATA_MAX;
use modelfleet_protocol::selector::Labels;

/// For each of `sets`, a label set with how many devices carry it, the number of its value of each watched label; 0: it has
/// none, or one of too many. In the order of the values, so that a restarted controller has the same numbers.
#[must_use]
pub fn watched(watch_by: &[String], sets: &[(&Labels, u64)]) -> Vec<[u16; WATCHED_MAX]> {
    let mut watched = vec![[0; WATCHED_MAX]; sets.len()];
    for (label, key) in watch_by.iter().take(WATCHED_MAX).enumerate() {
        let numbers = numbers(key, sets);
        for (own, (labels, _)) in watched.iter_mut().zip(sets) {
            own[label] = labels.get(key).and_then(|value| numbers.get(value.as_str())).copied().unwrap_or(0);
        }
    }
    watched
}

/// From 1, of the values that most devices have.
fn numbers<'a>(key: &str, sets: &[(&'a Labels, u64)]) -> BTreeMap<&'a str, u16> {
    let mut sizes: BTreeMap<&str, u64> = BTreeMap::new();
    for (labels, devices) in sets {
        if let Some(value) = labels.get(key) {
            *sizes.entry(value).or_default() += devices;
        }
    }
    let mut order: Vec<(&str, u64)> = sizes.into_iter().collect();
    order.sort_by_key(|(_, devices)| Reverse(*devices));
    order.truncate(STRATA_MAX);
    order.sort_unstable();
    order.into_iter().map(|(value, _)| value).zip(1..).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(all: &[(&str, &str)]) -> Labels {
        all.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn each_label_is_watched_by_itself() {
        let sets = [
            labels(&[("firmware", "2"), ("site", "b")]),
            labels(&[("firmware", "1"), ("site", "a")]),
            labels(&[("site", "b")]),
        ];
        let sized: Vec<(&Labels, u64)> = sets.iter().zip([5, 5, 5]).collect();
        let by =
            |keys: &[&str]| watched(&keys.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>(), &sized);
        assert_eq!(by(&[]), [[0; 4]; 3]);
        assert_eq!(by(&["firmware", "site"]), [[2, 2, 0, 0], [1, 1, 0, 0], [0, 2, 0, 0]]);
        assert_eq!(by(&["supplier"]), [[0; 4]; 3]);
        assert_eq!(by(&["site"; 6]), [[2; 4], [1; 4], [2; 4]], "so many labels at the most");
    }

    #[test]
    fn the_values_that_most_devices_have_make_groups() {
        let sets: Vec<Labels> =
            (0..STRATA_MAX + 9).map(|i| labels(&[("site", &format!("s{i:03}"))])).collect();
        let sized: Vec<(&Labels, u64)> =
            sets.iter().enumerate().map(|(i, labels)| (labels, if i < 9 { 1 } else { 1_000 })).collect();
        let numbers: Vec<u16> = watched(&["site".to_owned()], &sized).iter().map(|own| own[0]).collect();
        assert_eq!(numbers[..9], [0; 9]);
        assert_eq!(numbers[9..].to_vec(), (1..=STRATA_MAX as u16).collect::<Vec<_>>());
    }
}
