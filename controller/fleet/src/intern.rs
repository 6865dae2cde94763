//! Values that many devices share are kept once and counted.

#![allow(clippy::disallowed_types, reason = "nothing walks over the map, so that its order shows nowhere")]

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// Number of an interned value; never [`NONE`].
pub type Number = u32;

/// Stands for "no value" where an entry has room for a number only.
pub const NONE: Number = u32::MAX;

/// Values by number. A value goes when nobody holds it any more, so that changing labels do not pile up.
#[derive(Debug)]
pub struct Interner<T> {
    numbers: HashMap<Arc<T>, Number>,
    slots: Vec<Option<(Arc<T>, u32)>>,
    free: Vec<Number>,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Interner { numbers: HashMap::new(), slots: Vec::new(), free: Vec::new() }
    }
}

impl<T: Eq + Hash> Interner<T> {
    /// The number of `value`, held once more. [`NONE`] when four billion values are held.
    pub fn hold(&mut self, value: T) -> Number {
        if let Some(&number) = self.numbers.get(&value) {
            if let Some(Some((_, holders))) = self.slots.get_mut(number as usize) {
                *holders = holders.saturating_add(1);
            }
            return number;
        }
        let value = Arc::new(value);
        let slot = Some((Arc::clone(&value), 1));
        let number = if let Some(number) = self.free.pop() {
            self.slots[number as usize] = slot;
            number
        } else {
            let Ok(number) = Number::try_from(self.slots.len()) else { return NONE };
            self.slots.push(slot);
            number
        };
        self.numbers.insert(value, number);
        number
    }

    /// Gives back one hold.
    pub fn release(&mut self, number: Number) {
        let Some(slot) = self.slots.get_mut(number as usize) else { return };
        let Some((value, holders)) = slot else { return };
        *holders = holders.saturating_sub(1);
        if *holders == 0 {
            self.numbers.remove(value);
            *slot = None;
            self.free.push(number);
        }
    }

    /// The value of a number.
    #[must_use]
    pub fn get(&self, number: Number) -> Option<&T> {
        self.slots.get(number as usize)?.as_ref().map(|(value, _)| value.as_ref())
    }

    /// How often a value is held.
    #[must_use]
    pub fn holders(&self, number: Number) -> u32 {
        self.slots.get(number as usize).and_then(Option::as_ref).map_or(0, |(_, holders)| *holders)
    }

    /// The number of a value that somebody holds.
    #[must_use]
    pub fn find(&self, value: &T) -> Option<Number> {
        self.numbers.get(value).copied()
    }

    /// One past the largest number in use: the length of a table by number.
    #[must_use]
    pub fn table_len(&self) -> usize {
        self.slots.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_kept_once_and_go_with_their_last_holder() {
        let mut names: Interner<String> = Interner::default();
        let (a, again, b) = (names.hold("a".into()), names.hold("a".into()), names.hold("b".into()));
        assert_eq!((a, names.get(b).map(String::as_str)), (again, Some("b")));
        names.release(a);
        assert!(names.get(a).is_some());
        names.release(a);
        assert!(names.get(a).is_none() && names.find(&"a".to_owned()).is_none());
        assert_eq!(names.hold("c".into()), a, "numbers are used again");
    }
}
