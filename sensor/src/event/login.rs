//! What a login says: the same for all calls that are made with it, and held once for the records of all of them.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use super::dcom::{Auth, ClientIdentity, ServerIdentity};
use super::record::{Column, Columns, Record, Visit, Visitor};

/// A part of a record that the login tells. Costs nothing to clone, and nothing at all where nothing is said. Who changes
/// it while others hold it gets one of its own.
#[derive(Clone, Debug, Default)]
pub struct ByLogin<T>(Option<Arc<T>>);

/// Has a value that says nothing.
pub trait Silent: Default + Clone + PartialEq + 'static {
    /// The same as its default.
    const SILENT: &'static Self;
}

impl Silent for Auth {
    const SILENT: &'static Self = &Self {
        service: None,
        level: None,
        context_id: None,
        mechanism: None,
        realm: None,
        service_name: None,
    };
}

impl Silent for ClientIdentity {
    const SILENT: &'static Self = &Self {
        user: None,
        domain: None,
        workstation: None,
        anonymous: None,
    };
}

impl Silent for ServerIdentity {
    const SILENT: &'static Self = &Self {
        netbios: None,
        dns: None,
        runs_as: None,
    };
}

impl<T: Silent> From<T> for ByLogin<T> {
    fn from(said: T) -> Self {
        Self((said != *T::SILENT).then(|| Arc::new(said)))
    }
}

impl<T: Silent> Deref for ByLogin<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::SILENT)
    }
}

impl<T: Silent> DerefMut for ByLogin<T> {
    fn deref_mut(&mut self) -> &mut T {
        Arc::make_mut(self.0.get_or_insert_default())
    }
}

impl<T: Silent> PartialEq for ByLogin<T> {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl<R: Record + Silent> Record for ByLogin<R> {
    const NAME: &'static str = R::NAME;
    const DOC: &'static str = R::DOC;
    const COLUMNS: &'static [Column] = R::COLUMNS;

    #[inline]
    fn show<V: Columns + ?Sized>(&self, visitor: &mut V) {
        (**self).show(visitor);
    }
}

impl<R: Record + Silent> Visit for ByLogin<R> {
    fn visit(&self, visitor: &mut Visitor<'_>) {
        self.show(visitor);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_seen_by_who_made_it_alone() {
        let mut one = ByLogin::from(ClientIdentity {
            user: Some("alice".to_owned()),
            ..ClientIdentity::default()
        });
        let other = one.clone();
        one.user = None;
        assert_eq!(other.user.as_deref(), Some("alice"));
        assert_eq!(one, ByLogin::default(), "nothing is said any more");
    }
}
