//! A list that mostly holds one element, which then stands in its record itself.

use std::ops::{Deref, DerefMut};

use super::record::{Column, Elements, Field, Value};

/// The elements of a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Few<T> {
    /// Just one.
    One(T),
    /// Any number, as a rule none or several.
    Many(Vec<T>),
}

impl<T> Default for Few<T> {
    fn default() -> Self {
        Self::Many(Vec::new())
    }
}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(elements: I) -> Self {
        let mut elements = elements.into_iter();
        match (elements.next(), elements.next()) {
            (None, _) => Self::default(),
            (Some(only), None) => Self::One(only),
            (Some(first), Some(second)) => Self::Many([first, second].into_iter().chain(elements).collect()),
        }
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Self::One(only) => std::slice::from_ref(only),
            Self::Many(elements) => elements,
        }
    }
}

impl<T> DerefMut for Few<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Self::One(only) => std::slice::from_mut(only),
            Self::Many(elements) => elements,
        }
    }
}

impl<T: Field> Field for Few<T> {
    const ZEEK_TYPE: &'static str = Vec::<T>::ZEEK_TYPE;
    const ALWAYS: bool = Vec::<T>::ALWAYS;
    const RECORD: Option<&'static [Column]> = Vec::<T>::RECORD;

    #[inline]
    fn value(&self) -> Value<'_> {
        Value::List(self)
    }
}

impl<T: Field> Elements for Few<T> {
    fn is_empty(&self) -> bool {
        (**self).is_empty()
    }

    fn each(&self, visitor: &mut dyn FnMut(Value<'_>)) {
        for element in &**self {
            visitor(element.value());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn however_many_there_are_they_are_those_that_came_in() {
        for count in 0..4 {
            let few: Few<u8> = (0..count).collect();
            assert_eq!(*few, *(0..count).collect::<Vec<_>>());
            assert_eq!(matches!(few, Few::One(_)), count == 1);
        }
    }
}
