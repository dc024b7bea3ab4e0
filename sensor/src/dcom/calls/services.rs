//! The services beside the activator: pings of the object resolver, and remote management of any RPC server.

use dcom_parsers::dcom::{ComplexPingReply, ComplexPingRequest, ServerAliveReply, SimplePingReply, SimplePingRequest};
use dcom_parsers::epm::{
    InqIfIdsReply, InqPrincNameReply, InqPrincNameRequest, InqStatsReply, IsServerListeningReply,
    StopServerListeningReply,
};
use dcom_parsers::guid::Guid;
use dcom_parsers::names::known;

use super::{Effect, Read};
use crate::event::dcom::{Evidence, NamedGuid};

/// Never true: these keep things going, and say nothing of what was done.
pub(super) fn read(call: &mut Read<'_>, interface: Guid, opnum: u16) -> bool {
    match (interface, opnum) {
        (known::IOBJECT_EXPORTER, 1) => {
            if let Some(request) = call.request(SimplePingRequest::parse) {
                call.dcom.arguments = vec![request.set_id.to_string()];
                call.effects.push(Effect::Ping(request.set_id, Vec::new(), Vec::new()));
            }
            let status = call.response(SimplePingReply::parse).map(|reply| reply.status);
            call.status(status);
        }
        (known::IOBJECT_EXPORTER, 2) => complex_ping(call),
        (known::IOBJECT_EXPORTER, 3) => {
            call.asks_nothing();
            let status = call.response(ServerAliveReply::parse).map(|reply| reply.status);
            call.status(status);
        }
        (known::MGMT, _) => management(call, opnum),
        _ => {}
    }
    false
}

fn complex_ping(call: &mut Read<'_>) {
    if let Some(request) = call.request(ComplexPingRequest::parse) {
        let added = request.added.iter().map(|oid| format!("+{oid}"));
        let deleted = request.deleted.iter().map(|oid| format!("-{oid}"));
        call.dcom.arguments = std::iter::once(request.set_id.to_string())
            .chain(added)
            .chain(deleted)
            .collect();
        let reply = call.response(ComplexPingReply::parse);
        // A set that is new gets its number in the answer.
        let set = reply.as_ref().map_or(request.set_id, |reply| reply.set_id);
        call.effects.push(Effect::Ping(set, request.added, request.deleted));
    }
    if let Some(reply) = call.response(ComplexPingReply::parse) {
        call.dcom.result = Some(reply.set_id.to_string());
        call.status(Some(reply.status));
    }
}

fn management(call: &mut Read<'_>, opnum: u16) {
    match opnum {
        0 => {
            call.asks_nothing();
            if let Some(reply) = call.response(InqIfIdsReply::parse) {
                let named = reply.interfaces.iter().map(|interface| NamedGuid::of(interface.uuid));
                call.dcom.iids = named.collect();
                call.status(Some(reply.status));
            }
        }
        1 => {
            let status = call.response(InqStatsReply::parse).map(|reply| reply.status);
            call.status(status);
        }
        2 => {
            call.asks_nothing();
            if let Some(reply) = call.response(IsServerListeningReply::parse) {
                call.dcom.result = Some(reply.listening.to_string());
                call.status(Some(reply.status));
            }
        }
        3 => {
            call.asks_nothing();
            let status = call.response(StopServerListeningReply::parse).map(|reply| reply.status);
            call.status(status);
        }
        4 => {
            if let Some(request) = call.request(InqPrincNameRequest::parse) {
                call.dcom.arguments = vec![request.authn_service.to_string()];
            }
            if let Some(reply) = call.response(InqPrincNameReply::parse) {
                call.dcom.result = Some(reply.name);
                call.status(Some(reply.status));
            }
        }
        _ => {}
    }
}

impl Read<'_> {
    /// The request has no arguments: it was read when it was there, whole and in clear.
    fn asks_nothing(&mut self) {
        if self
            .exchange
            .request
            .as_ref()
            .is_some_and(|message| message.readable().is_some())
        {
            self.dcom.evidence = Evidence::Arguments;
        }
    }

    fn status(&mut self, status: Option<u32>) {
        if let Some(status) = status {
            super::set_status(self.dcom, status);
        }
    }
}

#[cfg(test)]
mod tests {
    use dcom_parsers::dcom::StdObjref;
    use dcom_parsers::guid::{Iid, Ipid, Oid};

    use super::super::super::exporters::Told;
    use super::super::super::rig::{Bytes, OBJECT, Rig, exchange};
    use super::*;
    use crate::time::Timestamp;

    #[test]
    fn a_ping_that_the_server_refuses_keeps_nothing() {
        let (oid, set) = ([4, 0], [6, 0]);
        for (status, ends_early) in [(0, true), (5, false)] {
            let mut rig = Rig::new();
            let reference = StdObjref {
                public_refs: 5,
                oid: Oid(4),
                ipid: OBJECT,
                ..StdObjref::default()
            };
            let told = Told {
                reference: Some(reference),
                ..Told::interface(OBJECT, Iid(known::IDISPATCH), 1)
            };
            rig.exporters.learn(Rig::pair(), told);
            let asked = Bytes::default().words(&set).words(&[1 << 16 | 1, 0]);
            let asked = asked.words(&[0x2_0000, 1]).words(&oid).words(&[0]);
            let answer = Bytes::default().words(&set).words(&[0, status]).0;
            let ping = exchange(Some(known::IOBJECT_EXPORTER), 2, asked.into(), Some(answer));
            let dcom = rig.read(&ping).unwrap().dcom;
            assert_eq!(dcom.arguments.len(), 2, "{:?} {:?}", dcom.arguments, rig.odd);
            rig.exporters.advance(Timestamp(361_000_000_000));
            let is_there = |ipid: Ipid| rig.exporters.find(Rig::pair(), ipid).is_some();
            assert_eq!(is_there(OBJECT), !ends_early, "{status}");
        }
    }
}
