//! PDUs as the library reads them, below calls and events.

use std::collections::BTreeMap;
use std::path::Path;

use dcom_parsers::rpce::{Body, DgHeader, Pdu, RtsValue, recognise_datagram};
use dcom_sensor::capture::{CaptureFile, Input};
use dcom_sensor::decode::{Decoded, Decoder};
use dcom_sensor::flow::{Flows, Output};
use dcom_sensor::limits::Limits;
use dcom_sensor::rpc::{Carriage, RpcBody, RpcBounds};

use super::Facts;

/// What the PDUs that end in one frame say.
#[derive(Debug, Default)]
struct InFrame {
    pdus: Vec<String>,
    opnums: Vec<String>,
    contexts: Vec<String>,
    objects: Vec<String>,
    offered: Vec<String>,
    results: Vec<String>,
    faults: Vec<String>,
    groups: Vec<String>,
    addresses: Vec<String>,
    rejects: Vec<String>,
    verifiers: Vec<String>,
    commands: Vec<String>,
    cookies: Vec<String>,
    answers: bool,
}

impl InFrame {
    fn take(&mut self, bytes: &[u8]) {
        let Ok(pdu) = Pdu::parse(bytes) else {
            self.pdus.push("unreadable".to_owned());
            return;
        };
        for command in pdu.rts().into_iter().flatten().flat_map(|rts| rts.commands) {
            self.commands.push(format!("0x{:08x}", command.kind.0));
            if let RtsValue::Cookie(cookie) = command.value {
                self.cookies.push(cookie.to_string());
            }
        }
        let Pdu { header, body, verifier } = pdu;
        self.pdus.push(format!("{}/{}", header.ptype.0, header.call_id));
        self.verifiers.extend(verifier.map(|it| {
            let (kind, level) = (it.auth_type, it.auth_level);
            format!("{kind}/{level}/{}/{}", it.auth_context_id, it.auth_pad_length)
        }));
        match body {
            Body::Request(request) => {
                self.opnums.push(request.opnum.to_string());
                self.contexts.push(request.context_id.to_string());
                self.objects.extend(request.object.map(|object| object.to_string()));
            }
            Body::Response(response) => {
                self.answers = true;
                self.contexts.push(response.context_id.to_string());
            }
            Body::Fault(fault) => {
                self.answers = true;
                self.contexts.push(fault.context_id.to_string());
                self.faults.push(format!("0x{:08x}", fault.status));
            }
            Body::Bind(bind) | Body::AlterContext(bind) => {
                self.groups.push(format!("0x{:08x}", bind.assoc_group_id));
                for context in &bind.contexts {
                    self.contexts.push(context.context_id.to_string());
                    self.offered.push(context.abstract_syntax.uuid.to_string());
                }
            }
            Body::BindAck(ack) | Body::AlterContextResp(ack) => {
                self.groups.push(format!("0x{:08x}", ack.assoc_group_id));
                self.addresses
                    .extend(Some(ack.secondary_address).filter(|address| !address.is_empty()));
                self.results.extend(ack.results.iter().map(|it| it.result.to_string()));
            }
            Body::BindNak(nak) => self.rejects.push(nak.reason.0.to_string()),
            _ => {}
        }
    }

    fn tell(self, frame: u64, facts: &mut Facts) {
        let mut list = |kind, values: Vec<String>| {
            if !values.is_empty() {
                facts.insert((frame, kind, values.join(" ")));
            }
        };
        if !self.answers {
            list("object", self.objects);
        }
        list("pdus", self.pdus);
        list("opnums", self.opnums);
        list("contexts", self.contexts);
        list("offered", self.offered);
        list("results", self.results);
        list("faults", self.faults);
        list("groups", self.groups);
        list("addresses", self.addresses);
        list("rejects", self.rejects);
        list("verifiers", self.verifiers);
        list("commands", self.commands);
        list("cookies", self.cookies);
    }
}

/// A datagram is a PDU, and every one says what its call is.
fn tell_datagram(header: &DgHeader, frame: u64, facts: &mut Facts) {
    let object = header.object.map(|object| object.to_string());
    let told = [
        ("pdus", Some(format!("{}/{}", header.ptype.0, header.sequence))),
        ("opnums", Some(header.opnum.to_string())),
        ("offered", Some(header.interface.to_string())),
        ("activity", Some(header.activity.to_string())),
        ("fragment", Some(header.fragment.to_string())),
        ("object", object),
    ];
    facts.extend(told.into_iter().filter_map(|(kind, value)| Some((frame, kind, value?))));
}

/// All PDUs of a capture, by the frame that brings their last byte: of connections, of pipes and of channels over HTTP.
pub(super) fn read(path: &Path, facts: &mut Facts) {
    let mut file = CaptureFile::open(&Input::File(path.to_owned())).expect("the capture can be read");
    let mut decoder = Decoder::default();
    let mut flows = Flows::<Carriage>::new(Limits::default());
    let mut bounds = RpcBounds::new(Limits::default(), |_, _, _| false);
    bounds.tells_pdus = true;
    let mut frames = BTreeMap::<u64, InFrame>::new();
    let mut hear = |output: Output<'_, Carriage>| {
        let Output::Stream(connection, carriage, event) = output else {
            return;
        };
        carriage.push(connection, event, &mut bounds, &mut |said| {
            if let RpcBody::Pdu(at, bytes) = said.body {
                frames.entry(at.frame).or_default().take(&bytes);
            }
        });
    };
    while let Some(frame) = file.next_frame().expect("the capture can be read") {
        match decoder.push(&frame) {
            Some(Decoded::Segment(segment)) => flows.push(&segment, &mut hear),
            Some(Decoded::Datagram(datagram)) => {
                if let Some(header) = recognise_datagram(datagram.payload) {
                    tell_datagram(&header, frame.at.frame, facts);
                }
            }
            None => {}
        }
    }
    flows.finish(&mut hear);
    for (number, frame) in frames {
        frame.tell(number, facts);
    }
}
