//! Which interface an IPID stands for, learned from the references that replies hand out.
//!
//! IPIDs are unique within an exporter's machine, not across machines: what one server says is kept apart from what
//! another says.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;

use dcom_parsers::guid::{Iid, Ipid};

/// Where and how an interface was learned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// The interface.
    pub(super) iid: Iid,
    /// The frame of the reply that told it.
    pub(super) frame: u64,
}

/// The interfaces of all servers. The oldest is forgotten first.
#[derive(Debug)]
pub(super) struct Exporters {
    interfaces: HashMap<(IpAddr, Ipid), Known>,
    order: VecDeque<(IpAddr, Ipid)>,
    most: usize,
    /// How many were forgotten to make room.
    forgotten: u64,
}

impl Exporters {
    pub(super) fn new(most: usize) -> Self {
        Self {
            interfaces: HashMap::new(),
            order: VecDeque::new(),
            most,
            forgotten: 0,
        }
    }

    /// A reply of `server` says that `ipid` is an `iid`.
    pub(super) fn learn(&mut self, server: IpAddr, ipid: Ipid, iid: Iid, frame: u64) {
        if ipid.0.is_null() {
            return;
        }
        if self.interfaces.insert((server, ipid), Known { iid, frame }).is_none() {
            self.order.push_back((server, ipid));
        }
        while self.order.len() > self.most {
            if let Some(oldest) = self.order.pop_front() {
                self.interfaces.remove(&oldest);
                self.forgotten += 1;
            }
        }
    }

    /// What `ipid` is on `server`.
    pub(super) fn find(&self, server: IpAddr, ipid: Ipid) -> Option<Known> {
        self.interfaces.get(&(server, ipid)).copied()
    }

    /// How many were forgotten to make room.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// The capture is over.
    pub(super) fn clear(&mut self) {
        self.interfaces.clear();
        self.order.clear();
    }
}

#[cfg(test)]
mod tests {
    use dcom_parsers::guid::Guid;

    use super::*;

    #[test]
    fn an_ipid_is_known_on_its_server_only_and_the_oldest_is_forgotten() {
        let mut exporters = Exporters::new(2);
        let server = |last| IpAddr::from([10, 0, 0, last]);
        let ipid = |number| Ipid(Guid::com(number));
        exporters.learn(server(1), ipid(1), Iid(Guid::com(0x2_0400)), 7);
        assert_eq!(
            exporters.find(server(1), ipid(1)),
            Some(Known {
                iid: Iid(Guid::com(0x2_0400)),
                frame: 7
            })
        );
        assert_eq!(exporters.find(server(2), ipid(1)), None);
        exporters.learn(server(1), Ipid::default(), Iid::default(), 7);
        exporters.learn(server(1), ipid(2), Iid(Guid::com(1)), 8);
        exporters.learn(server(1), ipid(3), Iid(Guid::com(1)), 9);
        assert_eq!((exporters.find(server(1), ipid(1)), exporters.forgotten()), (None, 1));
    }
}
