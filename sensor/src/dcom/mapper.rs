//! The endpoint mapper: who was told which port.

use std::borrow::Cow;
use std::net::IpAddr;

use dcom_parsers::epm::{Entry, EptLookupReply, EptMapReply, EptMapRequest, Tower};
use dcom_parsers::names::known;
use dcom_parsers::ndr::Encoding;
use dcom_parsers::rpce::SyntaxId;

use super::Read;
use super::endpoints::Learned;
use super::exchange::{lead_to, listed, parse, parse_or_tell, record, response, set_status};
use crate::anomaly::Anomaly;
use crate::decode::Endpoint;
use crate::event::Dcom;
use crate::event::dcom::{Evidence, Kind, LearnedFrom, NamedGuid, Outcome, TowerRecord};
use crate::flow::Connection;
use crate::rpc::{Exchange, Named};

const EPT_LOOKUP: u16 = 2;
const EPT_MAP: u16 = 3;
/// C706 appendix E: `ept_s_not_registered`.
const NOT_REGISTERED: u32 = 0x16c9_a0d6;

/// Reads an exchange as one with the endpoint mapper, if it is a question for ports.
pub(super) fn read(connection: &Connection, exchange: &Exchange, odd: &mut Vec<Anomaly>) -> Option<Read> {
    let opnum = exchange.opnum?;
    let seen = match exchange.interface {
        Named::Interface(interface) if interface.uuid == known::EPMAPPER => true,
        Named::Unseen => false,
        _ => return None,
    };
    let set: fn(&mut Dcom, &Exchange, &mut Vec<Anomaly>) -> Vec<Entry> = match opnum {
        EPT_MAP if seen || is_map(exchange) => set_map,
        EPT_LOOKUP if seen => set_lookup,
        _ => return None,
    };
    let mut shared = record(connection, exchange, known::EPMAPPER, opnum);
    let dcom = &mut *shared;
    let entries = set(dcom, exchange, odd);
    let learned = finish(dcom, connection, &entries);
    Some(Read::recorded(shared, learned))
}

/// Without a bind: does the request hold a tower that names an interface, and nothing else?
fn is_map(exchange: &Exchange) -> bool {
    let asked = exchange.request.as_ref().and_then(|message| {
        parse(message, None, |reader| {
            let request = EptMapRequest::parse(reader)?;
            Ok(request.map_tower.is_some_and(|tower| tower.interface.is_some()) && reader.rest().is_empty())
        })
    });
    matches!(asked, Some(Ok((true, _))))
}

fn set_map(dcom: &mut Dcom, exchange: &Exchange, odd: &mut Vec<Anomaly>) -> Vec<Entry> {
    let mut encoding: Option<Encoding> = exchange.encoding;
    let asked = exchange.request.as_ref();
    let asked = asked.and_then(|message| parse_or_tell(message, encoding, odd, EptMapRequest::parse));
    if let Some((request, used)) = asked {
        dcom.evidence = Evidence::Arguments;
        encoding = used;
        let asked = request.map_tower.and_then(|tower| tower.interface);
        dcom.iids = asked
            .into_iter()
            .map(|interface| NamedGuid::of(interface.uuid))
            .collect();
    }
    let answered = response(exchange).and_then(|message| parse_or_tell(message, encoding, odd, EptMapReply::parse));
    let Some((reply, _)) = answered else {
        return Vec::new();
    };
    set_status(dcom, reply.status);
    let entry = |tower| Entry {
        tower: Some(tower),
        ..Entry::default()
    };
    reply.towers.into_iter().map(entry).collect()
}

fn set_lookup(dcom: &mut Dcom, exchange: &Exchange, odd: &mut Vec<Anomaly>) -> Vec<Entry> {
    let answered = response(exchange);
    let answered = answered.and_then(|message| parse_or_tell(message, exchange.encoding, odd, EptLookupReply::parse));
    let Some((reply, _)) = answered else {
        return Vec::new();
    };
    dcom.evidence = Evidence::Arguments;
    set_status(dcom, reply.status);
    if reply.status == NOT_REGISTERED {
        // How a listing in pieces ends: there is nothing more.
        dcom.outcome = Some(Outcome::Succeeded);
    }
    reply.entries
}

fn finish(dcom: &mut Dcom, connection: &Connection, entries: &[Entry]) -> Option<Learned> {
    dcom.kind = Kind::EndpointMapping;
    dcom.towers = listed(entries.iter().map(tower_record), "towers", &mut dcom.because);
    // A listing of everything leads nowhere in particular; an answer to a question for one interface does.
    if dcom.opnum != Some(EPT_MAP) {
        return None;
    }
    let towers = || entries.iter().filter_map(|entry| entry.tower.as_ref());
    dcom.bindings = towers().take(dcom.towers.len()).filter_map(binding).collect();
    let tcp = towers().filter_map(|tower| {
        // An address of zeroes stands for the machine that answered.
        let address = tower
            .address
            .filter(|address| !address.is_unspecified())
            .map(IpAddr::V4);
        Some(Endpoint {
            address: address.unwrap_or(connection.server.address),
            port: tower.tcp_port?,
        })
    });
    let mut learned = Learned::default();
    for endpoint in tcp {
        for address in [endpoint.address, connection.server.address] {
            learned.add(Endpoint { address, ..endpoint });
        }
    }
    lead_to(dcom, learned, LearnedFrom::EptMap)
}

/// `ncacn_ip_tcp:172.18.39.6[49726]`: [MS-RPCE] 2.2.1.2's protocol sequence, then as in a string binding.
fn binding(tower: &Tower) -> Option<String> {
    let sequence = tower.protocol_sequence()?;
    let host = tower.host().unwrap_or_default();
    Some(format!("{sequence}:{host}[{}]", tower.endpoint().unwrap_or_default()))
}

fn tower_record(entry: &Entry) -> TowerRecord {
    let tower = entry.tower.clone().unwrap_or_default();
    TowerRecord {
        uuid: tower.interface.map(|interface| interface.uuid),
        version: tower.interface.map(SyntaxId::version_text),
        transfer_syntax: tower.transfer_syntax.map(|syntax| syntax.uuid.to_string().into()),
        protocol_sequence: tower.protocol_sequence().map(Cow::Borrowed),
        address: tower.host(),
        endpoint: tower.endpoint(),
        annotation: Some(entry.annotation.clone()).filter(|annotation| !annotation.is_empty()),
    }
}
