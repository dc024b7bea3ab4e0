//! What several hold: a record stands in its own line, in the alerts that rest on it, and in the memory of detections.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::record::{Column, Columns, Record, Visit, Visitor};

/// A value that costs nothing to clone. Who changes it while others hold it gets one of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shared<T>(Arc<T>);

impl<T> Shared<T> {
    /// Held by one, so far.
    pub fn new(value: T) -> Self {
        Self(Arc::new(value))
    }
}

impl<T> Deref for Shared<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Clone> DerefMut for Shared<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(&mut self.0)
    }
}

impl<R: Record> Record for Shared<R> {
    const NAME: &'static str = R::NAME;
    const DOC: &'static str = R::DOC;
    const COLUMNS: &'static [Column] = R::COLUMNS;

    #[inline]
    fn show<V: Columns + ?Sized>(&self, visitor: &mut V) {
        (**self).show(visitor);
    }
}

impl<R: Record> Visit for Shared<R> {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        self.show(visitor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_by_who_made_it_alone() {
        let mut one = Shared::new(vec![1]);
        let other = one.clone();
        one.push(2);
        assert_eq!((&*one, &*other), (&vec![1, 2], &vec![1]));
    }
}
