//! Which labels the bad devices share and the good ones mostly do not: where to look first. Nothing is decided by it.

use std::collections::BTreeMap;

use modelfleet_protocol::selector::Labels;

/// Most labels that are told.
const SHOWN_MAX: usize = 3;
/// A label that is as long as text is not told, bytes.
const TEXT_MAX: usize = 48;
/// A key with more values than this among the bad devices, such as a serial number, says nothing.
const VALUES_MAX: usize = 16;
/// Most keys that are looked at.
const KEYS_MAX: usize = 256;

/// Devices of one label set.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    /// Their labels.
    pub labels: &'a Labels,
    /// Bad ones.
    pub bad: u64,
    /// The others.
    pub good: u64,
}

/// What one label says.
struct Shared<'a> {
    key: &'a str,
    value: &'a str,
    bad: u64,
    good: u64,
}

/// As a sentence without a stop: `All 7 have age=old, load=heavy`, `6 of the 7 have age=old`. Empty when no label is carried by
/// three quarters of the bad devices and by at most half of the good ones, when there is one bad device, or no good one.
#[must_use]
pub fn sentence(groups: &[Group<'_>]) -> String {
    let bad: u64 = groups.iter().map(|group| group.bad).sum();
    let good: u64 = groups.iter().map(|group| group.good).sum();
    if bad < 2 || good == 0 {
        return String::new();
    }
    let mut shared = carried(groups);
    let told = |label: &Shared<'_>| label.bad * 4 >= bad * 3 && label.good * 2 <= good && label.is_plain();
    shared.retain(told);
    // The one that fewest good devices carry says most.
    shared.sort_by_key(|label| (std::cmp::Reverse(label.bad), label.good, label.key));
    let all: Vec<String> =
        shared.iter().filter(|label| label.bad == bad).take(SHOWN_MAX).map(Shared::text).collect();
    match (all.is_empty(), shared.first()) {
        (false, _) if bad == 2 => format!("Both have {}", all.join(", ")),
        (false, _) => format!("All {bad} have {}", all.join(", ")),
        (true, Some(most)) => format!("{} of the {bad} have {}", most.bad, most.text()),
        (true, None) => String::new(),
    }
}

/// Short, and of the letters that Kubernetes takes: devices choose their labels.
pub(crate) fn is_plain(key: &str, value: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    key.len() + value.len() < TEXT_MAX && key.chars().chain(value.chars()).all(plain)
}

impl Shared<'_> {
    fn is_plain(&self) -> bool {
        is_plain(self.key, self.value)
    }

    fn text(&self) -> String {
        format!("{}={}", self.key, self.value)
    }
}

/// By value of a key: bad devices and good ones.
type Counts<'a> = BTreeMap<&'a str, (u64, u64)>;

/// The labels of bad devices, with how many devices carry them; keys of many values are left out.
fn carried<'a>(groups: &[Group<'a>]) -> Vec<Shared<'a>> {
    let mut keys: BTreeMap<&str, Option<Counts<'_>>> = BTreeMap::new();
    for group in groups.iter().filter(|group| group.bad > 0) {
        for (key, value) in group.labels {
            if keys.len() >= KEYS_MAX && !keys.contains_key(key.as_str()) {
                continue;
            }
            let values = keys.entry(key).or_insert_with(|| Some(BTreeMap::new()));
            if let Some(known) = values {
                known.entry(value).or_default().0 += group.bad;
                if known.len() > VALUES_MAX {
                    *values = None;
                }
            }
        }
    }
    for group in groups.iter().filter(|group| group.good > 0) {
        for (key, value) in group.labels {
            let known = keys.get_mut(key.as_str()).and_then(Option::as_mut);
            if let Some(counts) = known.and_then(|values| values.get_mut(value.as_str())) {
                counts.1 += group.good;
            }
        }
    }
    let of_key = |(key, values): (&'a str, Option<Counts<'a>>)| {
        let each = move |(value, (bad, good))| Shared { key, value, bad, good };
        values.into_iter().flatten().map(each)
    };
    keys.into_iter().flat_map(of_key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Labels {
        text.split(' ').filter_map(|l| l.split_once('=')).map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    fn check(groups: &[(&str, u64, u64)], sentence: &str) {
        let sets: Vec<(Labels, u64, u64)> =
            groups.iter().map(|(l, bad, good)| (labels(l), *bad, *good)).collect();
        let groups: Vec<Group<'_>> =
            sets.iter().map(|(labels, bad, good)| Group { labels, bad: *bad, good: *good }).collect();
        assert_eq!(super::sentence(&groups), sentence, "{groups:?}");
    }

    #[test]
    fn what_bad_devices_share_and_good_ones_do_not_is_told() {
        let rest = [("age=old load=light", 0, 6), ("age=new load=heavy", 0, 6), ("age=new load=light", 0, 5)];
        let mut groups = vec![("age=old load=heavy", 7, 0)];
        groups.extend(rest);
        check(&groups, "All 7 have age=old, load=heavy");
        // One of them differs in load: the age alone is shared by all.
        check(
            &[("age=old load=heavy", 6, 0), ("age=old load=light", 1, 6), ("age=new load=heavy", 0, 9)],
            "All 7 have age=old",
        );
        check(&[("site=a", 6, 1), ("site=b", 1, 16)], "6 of the 7 have site=a");
        check(&[("site=a", 2, 1), ("site=b", 0, 16)], "Both have site=a");
    }

    #[test]
    fn what_says_nothing_is_not_told() {
        check(&[("site=a", 7, 17)], "");
        check(&[("site=a", 1, 0), ("site=b", 0, 9)], "");
        check(&[("site=a", 7, 0)], "");
        check(&[("site=a", 4, 2), ("site=b", 3, 15)], "");
        check(&[], "");
        let serials: Vec<String> = (0..40).map(|i| format!("serial={i}")).collect();
        let mut groups: Vec<(&str, u64, u64)> = serials.iter().map(|s| (s.as_str(), 1, 0)).collect();
        groups.push(("", 0, 9));
        check(&groups, "");
    }

    #[test]
    fn at_most_three_short_plain_labels_are_told() {
        check(&[("a=<b> b=\n", 3, 0), ("b=2", 0, 5)], "");
        let long = format!("a={} b=1 c=1 d=1 e=1", "x".repeat(90));
        check(&[(&long, 3, 0), ("b=2", 0, 5)], "All 3 have b=1, c=1, d=1");
    }
}
