//! What is in production for which devices: an ordered list of selectors and versions, of which the first that matches a device
//! counts. A rollout proves its version for its own devices only.

use std::fmt;

use modelfleet_protocol::plan::STABLE_FOR_MAX;
use modelfleet_protocol::selector::Selector;

/// Most bytes that the selectors of a model's stable versions may come to, as JSON: every Rollout's status holds its way
/// back.
pub const SELECTORS_BYTES_MAX: usize = 1536;

/// A version that is in production for the devices that a selector means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proven {
    /// The devices.
    pub selector: Selector,
    /// The version.
    pub version: String,
}

/// What a model has in production, the newest first. No entry stands behind one that means all of its devices.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Production(Vec<Proven>);

impl Production {
    /// From entries, the first of which counts where two match a device.
    #[must_use]
    pub fn new(entries: impl IntoIterator<Item = Proven>) -> Production {
        let mut kept: Vec<Proven> = Vec::new();
        for entry in entries {
            if !kept.iter().any(|before| before.selector.covers(&entry.selector)) {
                kept.push(entry);
            }
        }
        Production(kept)
    }

    /// One version for all devices.
    #[must_use]
    pub fn of_all(version: impl Into<String>) -> Production {
        Production(vec![Proven { selector: Selector::default(), version: version.into() }])
    }

    /// The entries, in their order.
    #[must_use]
    pub fn entries(&self) -> &[Proven] {
        &self.0
    }

    /// Whether nothing is in production.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The same once `version` was proven for the devices of `selector`.
    #[must_use]
    pub fn with(&self, selector: &Selector, version: &str) -> Production {
        let first = Proven { selector: selector.clone(), version: version.to_owned() };
        Production::new(std::iter::once(first).chain(self.0.iter().cloned()))
    }

    /// The entries that devices of `scope` may go by, as far as the texts of the selectors show.
    pub fn of<'a>(&'a self, scope: &'a Selector) -> impl Iterator<Item = &'a Proven> {
        let last = self.0.iter().position(|entry| entry.selector.covers(scope));
        let reached = last.map_or(self.0.len(), |last| last + 1);
        self.0[..reached].iter().filter(|entry| !entry.selector.is_apart_from(scope))
    }

    /// Whether `version` is in production for every device of `scope`.
    #[must_use]
    pub fn is_whole(&self, scope: &Selector, version: &str) -> bool {
        let covered = self.0.iter().any(|entry| entry.selector.covers(scope));
        covered && self.of(scope).all(|entry| entry.version == version)
    }

    /// Whether `version` is in production for any device.
    #[must_use]
    pub fn names(&self, version: &str) -> bool {
        self.0.iter().any(|entry| entry.version == version)
    }

    /// Why a plan cannot carry it.
    #[must_use]
    pub fn too_many(&self) -> Option<String> {
        let narrow = self.0.iter().filter(|entry| !entry.selector.is_everybody());
        let texts: Vec<String> = narrow.map(|entry| entry.selector.to_json()).collect();
        let bytes: usize = texts.iter().map(String::len).sum();
        if texts.len() > STABLE_FOR_MAX {
            return Some(format!(
                "the model would have stable versions for {} selectors, but a plan carries at most {STABLE_FOR_MAX}",
                texts.len()
            ));
        }
        let long = bytes > SELECTORS_BYTES_MAX;
        long.then(|| {
            format!(
                "the selectors of the model's stable versions would take {bytes} bytes, but at most {SELECTORS_BYTES_MAX} fit"
            )
        })
    }
}

impl fmt::Display for Production {
    /// `1.2.0 for site=north, 1.1.0 for all other devices`; of one version for all, that version alone.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whom = |at: usize, entry: &Proven| match (entry.selector.is_everybody(), at) {
            (true, 0) => entry.version.clone(),
            (true, _) => format!("{} for all other devices", entry.version),
            (false, _) => format!("{} for {}", entry.version, entry.selector),
        };
        let all: Vec<String> = self.0.iter().enumerate().map(|(at, entry)| whom(at, entry)).collect();
        f.write_str(if all.is_empty() { "none" } else { "" })?;
        f.write_str(&all.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn site(value: &str) -> Selector {
        let labels = [("site".to_owned(), value.to_owned())].into();
        Selector { match_labels: labels, ..Selector::default() }
    }

    #[test]
    fn what_was_proven_for_some_is_theirs_alone_and_for_all_replaces_all() {
        let base = Production::of_all("1.0.0");
        let north = base.with(&site("north"), "1.1.0");
        assert_eq!(north.to_string(), "1.1.0 for site=north, 1.0.0 for all other devices");
        assert!(north.is_whole(&site("north"), "1.1.0") && north.is_whole(&site("south"), "1.0.0"));
        assert!(!north.is_whole(&Selector::default(), "1.0.0"), "not the north's");
        let again = north.with(&site("south"), "1.2.0").with(&site("north"), "1.3.0");
        let told = "1.3.0 for site=north, 1.2.0 for site=south, 1.0.0 for all other devices";
        assert_eq!(again.to_string(), told, "the same selector is replaced");
        assert_eq!(again.with(&Selector::default(), "2.0.0"), Production::of_all("2.0.0"));
        assert_eq!(Production::default().to_string(), "none");
    }

    #[test]
    fn who_has_a_label_of_each_goes_by_the_newest() {
        let ring =
            Selector { match_labels: [("ring".to_owned(), "1".to_owned())].into(), ..Selector::default() };
        let both = Production::of_all("1.0.0").with(&site("north"), "1.1.0").with(&ring, "1.2.0");
        let of = |scope: &Selector| both.of(scope).map(|entry| entry.version.clone()).collect::<Vec<_>>();
        assert_eq!(of(&site("north")), ["1.2.0", "1.1.0"], "some of them are in the ring");
        assert_eq!(of(&site("south")), ["1.2.0", "1.0.0"]);
        assert!(!both.is_whole(&site("north"), "1.1.0"));
    }

    #[test]
    fn there_is_a_ninth_selector_too_many() {
        let sites = |count: usize| {
            let add = |list: Production, i: usize| list.with(&site(&i.to_string()), "1.1.0");
            (0..count).fold(Production::of_all("1.0.0"), add)
        };
        assert_eq!(sites(STABLE_FOR_MAX).too_many(), None);
        assert!(sites(STABLE_FOR_MAX + 1).too_many().is_some_and(|why| why.contains("9 selectors")));
        let long = Production::default().with(&site(&"x".repeat(SELECTORS_BYTES_MAX)), "1.0.0");
        assert!(long.too_many().is_some_and(|why| why.contains("bytes")));
    }
}
