//! Values that many devices share are kept once, by number, and counted.
//!
//! The values are kept in pages, so that a copy of the whole table costs a pointer for each page; while a copy lives, a
//! change copies the page that it touches and no other.

#![allow(clippy::disallowed_types, reason = "nothing walks over the map, so that its order shows nowhere")]

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

/// Number of an interned value; never [`NONE`].
pub type Number = u32;

/// Stands for "no value" where an entry has room for a number only.
pub const NONE: Number = u32::MAX;

/// Values of a page.
const PAGE: usize = 256;

/// Values by number. Cheap to clone, and a clone does not change.
#[derive(Debug)]
pub struct Table<T> {
    pages: Vec<Arc<Page<T>>>,
}

/// As many values as [`PAGE`], each with how often it is held.
#[derive(Debug)]
struct Page<T> {
    slots: Vec<Option<(Arc<T>, u32)>>,
}

impl<T> Clone for Table<T> {
    fn clone(&self) -> Self {
        Table { pages: self.pages.clone() }
    }
}

impl<T> Clone for Page<T> {
    fn clone(&self) -> Self {
        Page { slots: self.slots.clone() }
    }
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table { pages: Vec::new() }
    }
}

fn place(number: Number) -> (usize, usize) {
    (number as usize / PAGE, number as usize % PAGE)
}

impl<T> Table<T> {
    fn slot(&self, number: Number) -> Option<&(Arc<T>, u32)> {
        let (page, at) = place(number);
        self.pages.get(page)?.slots.get(at)?.as_ref()
    }

    fn slot_mut(&mut self, number: Number) -> Option<&mut Option<(Arc<T>, u32)>> {
        let (page, at) = place(number);
        Arc::make_mut(self.pages.get_mut(page)?).slots.get_mut(at)
    }

    /// The value of a number.
    #[must_use]
    pub fn get(&self, number: Number) -> Option<&T> {
        self.slot(number).map(|(value, _)| value.as_ref())
    }

    /// How often a value is held.
    #[must_use]
    pub fn holders(&self, number: Number) -> u32 {
        self.slot(number).map_or(0, |(_, holders)| *holders)
    }

    /// One past the largest number in use: the length of a list by number.
    #[must_use]
    pub fn table_len(&self) -> usize {
        let before = self.pages.len().saturating_sub(1) * PAGE;
        self.pages.last().map_or(0, |page| before + page.slots.len())
    }

    /// The values, with number and holders.
    pub fn iter(&self) -> impl Iterator<Item = (Number, &T, u32)> {
        let slots = self.pages.iter().flat_map(|page| &page.slots);
        slots.zip(0..).filter_map(|(slot, number)| {
            let (value, holders) = slot.as_ref()?;
            Some((number, value.as_ref(), *holders))
        })
    }

    fn push(&mut self, value: Arc<T>) -> Number {
        let number = self.table_len();
        if number.is_multiple_of(PAGE) {
            self.pages.push(Arc::new(Page { slots: Vec::new() }));
        }
        if let Some(last) = self.pages.last_mut() {
            Arc::make_mut(last).slots.push(Some((value, 1)));
        }
        number as Number
    }
}

impl<T: Eq> Table<T> {
    /// The number of a value that is held. Looks at every value: for what is asked once in a look.
    #[must_use]
    pub fn find(&self, value: &T) -> Option<Number> {
        self.iter().find(|(_, held, _)| *held == value).map(|(number, ..)| number)
    }
}

/// A table that is written, with the numbers by value. A value goes when nothing holds it any more, so that changing labels
/// do not pile up.
#[derive(Debug)]
pub struct Interner<T> {
    table: Table<T>,
    numbers: HashMap<Arc<T>, Number>,
    free: Vec<Number>,
}

impl<T> Default for Interner<T> {
    fn default() -> Self {
        Interner { table: Table::default(), numbers: HashMap::new(), free: Vec::new() }
    }
}

impl<T: Eq + Hash> Interner<T> {
    /// The values by number.
    #[must_use]
    pub fn table(&self) -> &Table<T> {
        &self.table
    }

    /// The number of `value`, held once more. [`NONE`] when four billion values are held.
    pub fn hold(&mut self, value: T) -> Number {
        if let Some(&number) = self.numbers.get(&value) {
            if let Some(Some((_, holders))) = self.table.slot_mut(number) {
                *holders = holders.saturating_add(1);
            }
            return number;
        }
        let value = Arc::new(value);
        let number = if let Some(number) = self.free.pop() {
            if let Some(slot) = self.table.slot_mut(number) {
                *slot = Some((Arc::clone(&value), 1));
            }
            number
        } else {
            if self.table.table_len() >= NONE as usize {
                return NONE;
            }
            self.table.push(Arc::clone(&value))
        };
        self.numbers.insert(value, number);
        number
    }

    /// Gives back one hold.
    pub fn release(&mut self, number: Number) {
        if number == NONE {
            return;
        }
        let Some(slot) = self.table.slot_mut(number) else { return };
        let Some((value, holders)) = slot else { return };
        *holders = holders.saturating_sub(1);
        if *holders == 0 {
            self.numbers.remove(value);
            *slot = None;
            self.free.push(number);
        }
    }

    /// Gives back what `held` holds and holds `value` in its place. Nothing is written where that is the same, as with
    /// nearly every message.
    pub fn replace(&mut self, held: &mut Number, value: T) {
        if self.table.get(*held) == Some(&value) {
            return;
        }
        let before = std::mem::replace(held, self.hold(value));
        self.release(before);
    }

    /// The value of a number.
    #[must_use]
    pub fn get(&self, number: Number) -> Option<&T> {
        self.table.get(number)
    }

    /// The number of a value that is held.
    #[must_use]
    pub fn find(&self, value: &T) -> Option<Number> {
        self.numbers.get(value).copied()
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

    #[test]
    fn a_copy_of_the_table_does_not_change() {
        let mut names: Interner<String> = Interner::default();
        let numbers: Vec<Number> = (0..1_000).map(|i| names.hold(format!("n{i}"))).collect();
        let copy = names.table().clone();
        let of = |table: &Table<String>| -> Vec<(Number, String, u32)> {
            table.iter().map(|(number, name, holders)| (number, name.clone(), holders)).collect()
        };
        let before = of(&copy);
        numbers.iter().step_by(2).for_each(|number| names.release(*number));
        names.hold("n1".into());
        let later: Vec<Number> = (0..700).map(|i| names.hold(format!("later{i}"))).collect();
        assert_eq!(later.len(), 700);
        assert_eq!(of(&copy), before);
        assert_eq!(copy.find(&"n998".to_owned()), Some(998));
        assert_eq!(names.find(&"n998".to_owned()), None);
        assert_eq!((names.table().holders(1), copy.holders(1)), (2, 1));
        assert_eq!(names.table().table_len(), 1_200, "500 numbers were free");
    }

    #[test]
    fn replacing_a_value_by_itself_writes_nothing() {
        let mut names: Interner<String> = Interner::default();
        let mut held = names.hold("a".into());
        let copy = names.table().clone();
        names.replace(&mut held, "a".into());
        assert!(Arc::ptr_eq(&copy.pages[0], &names.table().pages[0]));
        names.replace(&mut held, "b".into());
        assert_eq!((names.get(held).map(String::as_str), names.find(&"a".to_owned())), (Some("b"), None));
    }
}
