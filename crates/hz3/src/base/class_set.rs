//! A set of size classes: one bit each.

use super::size_class::{CLASSES, SizeClass};

/// A set of size classes; bit `n` stands for the class with index `n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClassSet(u128);

const _: () = assert!(CLASSES <= u128::BITS as usize);

impl ClassSet {
    /// The set without a class.
    pub(crate) const EMPTY: ClassSet = ClassSet(0);
    /// The set of every class.
    pub(crate) const ALL: ClassSet = ClassSet(u128::MAX);

    fn bit(class: SizeClass) -> u128 {
        1 << class.index()
    }

    pub(crate) fn has(self, class: SizeClass) -> bool {
        self.0 & Self::bit(class) != 0
    }

    pub(crate) fn insert(&mut self, class: SizeClass) {
        self.0 |= Self::bit(class);
    }

    /// Removes a class; returns whether it was in the set.
    pub(crate) fn remove(&mut self, class: SizeClass) -> bool {
        let had = self.has(class);
        self.0 &= !Self::bit(class);
        had
    }

    /// Adds all classes of `other`.
    pub(crate) fn add(&mut self, other: ClassSet) {
        self.0 |= other.0;
    }
}

impl FromIterator<SizeClass> for ClassSet {
    fn from_iter<I: IntoIterator<Item = SizeClass>>(classes: I) -> ClassSet {
        let mut set = ClassSet::EMPTY;
        classes.into_iter().for_each(|class| set.insert(class));
        set
    }
}
