//! Which alerts were told: one is never told twice of the same record.

use std::collections::{BTreeSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use dcom_parsers::guid::Clsid;

use crate::event::{Alert, Meta};
use crate::time::Timestamp;

/// All that makes two alerts the same.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    signature: (u32, u32),
    /// The record: its file, its connection, the frame and the call in it.
    record: (Option<Arc<str>>, Option<u64>, Option<u64>, Option<u32>),
    at: Timestamp,
    ends: [Option<IpAddr>; 2],
    clsid: Option<Clsid>,
    class: Option<String>,
    method: Option<String>,
    command_line: Option<String>,
    /// The record of a host's log.
    host_record: Option<(Arc<str>, u64)>,
}

impl Key {
    fn bytes(&self) -> usize {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        size_of::<Self>() + length(&self.class) + length(&self.method) + length(&self.command_line)
    }
}

/// The alerts told last.
#[derive(Debug)]
pub(super) struct Seen {
    keys: BTreeSet<Arc<Key>>,
    order: VecDeque<Arc<Key>>,
    bytes: usize,
    limit: usize,
}

impl Seen {
    /// Remembers alerts of so many bytes.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            keys: BTreeSet::new(),
            order: VecDeque::new(),
            bytes: 0,
            limit,
        }
    }

    /// Was it told before? From now on it was.
    pub(super) fn again(&mut self, meta: &Meta, alert: &Alert) -> bool {
        let dcom = alert.about();
        let call = alert.dcerpc.as_ref().map(|dcerpc| dcerpc.call_id);
        let key = Arc::new(Key {
            signature: (alert.gid, alert.signature_id),
            record: (meta.pcap_filename.clone(), meta.flow_id, meta.frame, call),
            at: meta.timestamp,
            ends: [meta.client, meta.server].map(|end| end.map(|end| end.address)),
            clsid: dcom.clsid,
            class: dcom.class.clone(),
            method: dcom.method.as_deref().map(str::to_owned),
            command_line: dcom.command_line.clone(),
            host_record: alert
                .host_event
                .as_ref()
                .map(|event| (Arc::clone(&event.input), event.record)),
        });
        if !self.keys.insert(Arc::clone(&key)) {
            return true;
        }
        self.bytes += key.bytes();
        self.order.push_back(key);
        while self.bytes > self.limit {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            self.bytes -= oldest.bytes();
            self.keys.remove(&oldest);
        }
        false
    }
}
