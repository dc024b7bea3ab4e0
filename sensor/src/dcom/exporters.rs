//! What an IPID stands for: its interface, the activation it descends from, and the names of its members; learned from
//! what replies hand out.
//!
//! IPIDs are unique within an exporter's machine, not across machines: what one server says is kept apart from what
//! another says.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use dcom_parsers::guid::{Clsid, Iid, Ipid, Oxid};

use crate::event::dcom::ActivationRecord;

/// Names remembered for one interface: an object has few members that anyone asks for by name.
const MAX_NAMES: usize = 64;
/// Bytes of the longest name remembered. No identifier is that long.
const MAX_NAME: usize = 255;
/// Bytes of the longest path that is made longer still.
const MAX_PATH: usize = 256;

/// Where an object comes from.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Lineage {
    /// The class that was activated.
    pub(super) clsid: Clsid,
    /// Its name in the catalogue.
    pub(super) class: Option<String>,
    /// How the object was reached from there, as code would write it.
    pub(super) path: String,
    /// The activation.
    pub(super) activation: ActivationRecord,
    /// What ties the object to it.
    pub(super) proof: Proof,
}

/// What ties an object to an activation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    /// Each reference on the way was seen to be handed out.
    Strong,
    /// It lives in the exporter that the activation named, and so may others.
    Weak,
}

impl Lineage {
    /// The object that `member` of this one gave. Each may give the next without end: where a path is too long, it says so
    /// and grows no more.
    pub(super) fn member(&self, member: &str) -> Self {
        let path = if self.path.len() + member.len() <= MAX_PATH {
            format!("{}.{member}", self.path)
        } else if self.path.ends_with(".…") {
            self.path.clone()
        } else {
            format!("{}.…", self.path)
        };
        Self { path, ..self.clone() }
    }
}

/// One interface of one object.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Known {
    /// The interface.
    pub(super) iid: Iid,
    /// The frame of the reply that told it.
    pub(super) frame: u64,
    /// Where the object comes from, when that was seen.
    pub(super) lineage: Option<Arc<Lineage>>,
    /// Names of members that were asked for, by number.
    names: Vec<(i64, String)>,
}

/// The interfaces of all servers, with the names of their members. The oldest is forgotten first.
#[derive(Debug)]
pub(super) struct Exporters {
    interfaces: HashMap<(IpAddr, Ipid), Known>,
    /// Names in all of them.
    names: usize,
    order: VecDeque<(IpAddr, Ipid)>,
    /// The last activation that named each exporter.
    activated: HashMap<(IpAddr, Oxid), Arc<Lineage>>,
    most: usize,
    /// How many were forgotten to make room.
    forgotten: u64,
}

impl Exporters {
    pub(super) fn new(most: usize) -> Self {
        Self {
            interfaces: HashMap::new(),
            names: 0,
            order: VecDeque::new(),
            activated: HashMap::new(),
            most,
            forgotten: 0,
        }
    }

    /// A reply of `server` says that `ipid` is an `iid`.
    pub(super) fn learn(&mut self, server: IpAddr, ipid: Ipid, iid: Iid, frame: u64, lineage: Option<Arc<Lineage>>) {
        if ipid.0.is_null() {
            return;
        }
        let known = self.interfaces.entry((server, ipid)).or_insert_with(|| {
            self.order.push_back((server, ipid));
            Known {
                iid,
                frame,
                lineage: None,
                names: Vec::new(),
            }
        });
        (known.iid, known.frame) = (iid, frame);
        // An object handed out again is the same object: where it came from first stands.
        if known.lineage.is_none() {
            known.lineage = lineage;
        }
        self.make_room();
    }

    /// A name takes as much room as an interface.
    fn make_room(&mut self) {
        while self.order.len() + self.names > self.most {
            let Some(oldest) = self.order.pop_front() else { return };
            if let Some(known) = self.interfaces.remove(&oldest) {
                self.names -= known.names.len();
            }
            self.forgotten += 1;
        }
    }

    /// An activation's reply names its exporter.
    pub(super) fn activated(&mut self, server: IpAddr, oxid: Oxid, lineage: &Arc<Lineage>) {
        if self.activated.len() < self.most || self.activated.contains_key(&(server, oxid)) {
            let weak = Lineage {
                proof: Proof::Weak,
                ..Lineage::clone(lineage)
            };
            self.activated.insert((server, oxid), Arc::new(weak));
        }
    }

    /// The activation that an object of this exporter may descend from.
    pub(super) fn by_exporter(&self, server: IpAddr, oxid: Oxid) -> Option<Arc<Lineage>> {
        self.activated.get(&(server, oxid)).cloned()
    }

    /// The client was told the number of a member of `ipid`.
    pub(super) fn name(&mut self, server: IpAddr, ipid: Ipid, dispid: i64, name: &str) {
        let Some(known) = self.interfaces.get_mut(&(server, ipid)) else {
            return;
        };
        if known.names.len() >= MAX_NAMES || name.len() > MAX_NAME {
            return;
        }
        self.names -= known.names.len();
        known.names.retain(|(number, _)| *number != dispid);
        known.names.push((dispid, name.to_owned()));
        self.names += known.names.len();
        self.make_room();
    }

    /// What `ipid` is on `server`.
    pub(super) fn find(&self, server: IpAddr, ipid: Ipid) -> Option<&Known> {
        self.interfaces.get(&(server, ipid))
    }

    /// How many were forgotten to make room.
    pub(super) fn forgotten(&self) -> u64 {
        self.forgotten
    }

    /// The capture is over.
    pub(super) fn clear(&mut self) {
        self.interfaces.clear();
        self.names = 0;
        self.order.clear();
        self.activated.clear();
    }
}

impl Known {
    /// The member that a number stands for, as the client was told.
    pub(super) fn member(&self, dispid: i64) -> Option<&str> {
        self.names
            .iter()
            .find(|(number, _)| *number == dispid)
            .map(|(_, name)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    use dcom_parsers::guid::Guid;

    use super::*;

    const DISPATCH: Iid = Iid(Guid::com(0x2_0400));

    fn server(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn ipid(number: u32) -> Ipid {
        Ipid(Guid::com(number))
    }

    #[test]
    fn an_ipid_is_known_on_its_server_only_and_the_oldest_is_forgotten() {
        let mut exporters = Exporters::new(2);
        exporters.learn(server(1), ipid(1), DISPATCH, 7, None);
        let known = exporters.find(server(1), ipid(1)).unwrap();
        assert_eq!((known.iid, known.frame), (DISPATCH, 7));
        assert_eq!(exporters.find(server(2), ipid(1)), None);
        exporters.learn(server(1), Ipid::default(), DISPATCH, 7, None);
        exporters.learn(server(1), ipid(2), DISPATCH, 8, None);
        exporters.learn(server(1), ipid(3), DISPATCH, 9, None);
        assert_eq!((exporters.find(server(1), ipid(1)), exporters.forgotten()), (None, 1));
    }

    #[test]
    fn an_object_keeps_its_first_origin_and_the_names_of_its_members() {
        let mut exporters = Exporters::new(9);
        let lineage = |path: &str| {
            Some(Arc::new(Lineage {
                clsid: Clsid::default(),
                class: None,
                path: path.to_owned(),
                activation: ActivationRecord::default(),
                proof: Proof::Strong,
            }))
        };
        exporters.learn(server(1), ipid(1), DISPATCH, 7, None);
        exporters.learn(server(1), ipid(1), DISPATCH, 8, lineage("A.B"));
        exporters.learn(server(1), ipid(1), DISPATCH, 9, lineage("A.C"));
        exporters.name(server(1), ipid(1), 54, "Run");
        let known = exporters.find(server(1), ipid(1)).unwrap();
        assert_eq!(known.lineage.as_ref().unwrap().member("Run").path, "A.B.Run");
        assert_eq!((known.member(54), known.member(6)), (Some("Run"), None));
    }

    #[test]
    fn names_take_room_and_no_name_takes_much() {
        let mut exporters = Exporters::new(4);
        for number in 1..=2 {
            exporters.learn(server(1), ipid(number), DISPATCH, 7, None);
            exporters.name(server(1), ipid(number), 1, "Run");
        }
        exporters.name(server(1), ipid(2), 1, "Run");
        exporters.name(server(1), ipid(2), 2, &"n".repeat(MAX_NAME + 1));
        assert_eq!((exporters.names, exporters.forgotten()), (2, 0));
        assert_eq!(exporters.find(server(1), ipid(2)).unwrap().member(2), None);
        exporters.name(server(1), ipid(2), 3, "Quit");
        assert_eq!((exporters.names, exporters.forgotten()), (2, 1));
        assert_eq!(exporters.find(server(1), ipid(1)), None);
        exporters.clear();
        assert_eq!(exporters.names, 0);
    }

    #[test]
    fn a_path_without_end_stops_growing() {
        let mut lineage = Lineage {
            clsid: Clsid::default(),
            class: None,
            path: "A".to_owned(),
            activation: ActivationRecord::default(),
            proof: Proof::Strong,
        };
        for _ in 0..1_000 {
            lineage = lineage.member("Next");
        }
        assert!(lineage.path.starts_with("A.Next.Next") && lineage.path.ends_with(".Next.…"));
        assert!(lineage.path.len() <= MAX_PATH + "Next".len() + ".…".len());
    }
}
