//! Names of members, by the classes of the objects that have them.

use std::collections::VecDeque;
use std::net::IpAddr;

use dcom_parsers::guid::Clsid;

use super::known::MAX_NAMES;
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
    names: HashMap<Place, Vec<(i64, String)>>,
    order: VecDeque<Place>,
    count: usize,
}

impl Classes {
    /// A name that was told; beyond `most`, the oldest are forgotten.
    pub(super) fn learn(&mut self, place: Place, dispid: i64, name: &str, most: usize) {
        if !self.names.contains_key(&place) {
            self.order.push_back(place.clone());
        }
        let names = self.names.entry(place).or_default();
        let full = names.len() >= MAX_NAMES;
        match names.iter_mut().find(|(number, _)| *number == dispid) {
            Some((_, told)) => name.clone_into(told),
            None if full => return,
            None => {
                names.push((dispid, name.to_owned()));
                self.count += 1;
            }
        }
        while self.count > most {
            let Some(oldest) = self.order.pop_front() else { return };
            self.count -= self.names.remove(&oldest).map_or(0, |names| names.len());
        }
    }

    pub(super) fn member(&self, place: &Place, dispid: i64) -> Option<&str> {
        let named = self.names.get(place)?.iter().find(|(number, _)| *number == dispid);
        named.map(|(_, name)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use dcom_parsers::guid::Guid;

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
            classes.learn(place(number), 30, "Register", 100);
        }
        assert_eq!((classes.count, classes.names.len()), (100, 100));
        assert_eq!(classes.member(&place(0), 30), None);
        assert_eq!(classes.member(&place(999), 30), Some("Register"));
    }
}
