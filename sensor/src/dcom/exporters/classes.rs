//! Names of members, by the classes of the objects that have them.

use std::collections::VecDeque;
use std::net::IpAddr;

use dcom_parsers::guid::Clsid;

use super::names::{Member, Names};
use crate::hash::HashMap;

/// Objects of a class that are alike: those of one server that the same members lead to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) server: IpAddr,
    pub(super) clsid: Clsid,
    pub(super) path: String,
}

/// Names of members that a server told of such objects. Clients need not ask again for the next of them
/// ([MS-OAUT] 3.2.4 Message Processing and Sequencing Rules).
#[derive(Debug, Default)]
pub(super) struct Classes {
    names: HashMap<Place, Names>,
    order: VecDeque<Place>,
    count: usize,
}

impl Classes {
    /// A name that was told; beyond `most`, the oldest are forgotten.
    pub(super) fn learn(&mut self, place: Place, member: Member, most: usize) {
        if !self.names.contains_key(&place) {
            self.order.push_back(place.clone());
        }
        let is_new = self.names.entry(place).or_default().learn(member);
        self.count += usize::from(is_new);
        while self.count > most {
            let Some(oldest) = self.order.pop_front() else { return };
            self.count -= self.names.remove(&oldest).map_or(0, |names| names.len());
        }
    }

    pub(super) fn member(&self, place: &Place, dispid: i64) -> Option<&str> {
        let (name, _) = self.names.get(place)?.member(dispid)?;
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use dcom_parsers::guid::Guid;

    use super::super::known::ToldBy;
    use super::*;

    #[test]
    fn the_oldest_are_forgotten() {
        let mut classes = Classes::default();
        let place = |number| Place {
            server: IpAddr::from([10, 0, 0, 1]),
            clsid: Clsid(Guid::com(number)),
            path: "A".to_owned(),
        };
        for number in 0..1_000 {
            let member = Member {
                number: 30,
                name: "Register".to_owned(),
                by: ToldBy::GetIdsOfNames,
                matters: false,
            };
            classes.learn(place(number), member, 100);
        }
        assert_eq!((classes.count, classes.names.len()), (100, 100));
        assert_eq!(classes.member(&place(0), 30), None);
        assert_eq!(classes.member(&place(999), 30), Some("Register"));
    }
}
