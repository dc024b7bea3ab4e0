//! OXID resolutions, and servers that say their names (`ServerAlive2`).

use dcom_parsers::dcom::{ResolveOxidReply, ResolveOxidRequest, ServerAlive2Reply};
use dcom_parsers::error::{ErrorKind, Result};
use dcom_parsers::guid::Iid;
use dcom_parsers::names::known;
use dcom_parsers::ndr::{Encoding, Reader};

use super::Read;
use super::endpoints::Learned;
use super::exchange::{
    addresses, is_at_end, learn, level_name, parse, parse_or_tell, record, response, set_bindings, set_status,
};
use super::exporters::{Exporters, Pair, Told};
use crate::anomaly::Anomaly;
use crate::event::dcom::{Evidence, Kind, LearnedFrom};
use crate::event::{Dcom, Shared};
use crate::flow::Connection;
use crate::rpc::{Exchange, Named};

const RESOLVE_OXID: u16 = 0;
const RESOLVE_OXID_2: u16 = 4;
const SERVER_ALIVE_2: u16 = 5;

/// Reads an exchange as one with the object resolver, if it is one of those that tell something.
pub(super) fn read(
    connection: &Connection,
    exchange: &Exchange,
    exporters: &mut Exporters,
    odd: &mut Vec<Anomaly>,
) -> Option<Read> {
    let opnum = exchange.opnum?;
    let seen = match exchange.interface {
        Named::Interface(interface) if interface.uuid == known::IOBJECT_EXPORTER => true,
        Named::Unseen => false,
        _ => return None,
    };
    match opnum {
        RESOLVE_OXID | RESOLVE_OXID_2 if seen || is_resolution(exchange, opnum) => {
            Some(resolution(connection, exchange, opnum, exporters, odd))
        }
        SERVER_ALIVE_2 if seen || is_server_alive(exchange) => {
            Some(Read::recorded(server_alive(connection, exchange, exporters, odd), None))
        }
        _ => None,
    }
}

/// Without a bind: do request and reply fit to the last byte, with protocol sequences that exist and bindings?
fn is_resolution(exchange: &Exchange, opnum: u16) -> bool {
    let whole = |reader: &mut Reader<'_>| {
        let request = ResolveOxidRequest::parse(reader)?;
        let sequences = &request.requested_protseqs;
        if sequences.is_empty() || sequences.iter().any(|sequence| !(1..=0x20).contains(sequence)) {
            return Err(reader.input().invalid("arRequestedProtseqs", 0_u32));
        }
        at_end(reader)
    };
    let asked = exchange
        .request
        .as_ref()
        .and_then(|message| parse(message, None, whole));
    let Some(Ok(((), encoding))) = asked else { return false };
    let answered = response(exchange).and_then(|message| {
        parse(message, encoding, |reader| {
            let reply = parse_resolution(reader, opnum)?;
            at_end(reader)?;
            Ok(reply
                .bindings
                .is_some_and(|bindings| !bindings.string_bindings.is_empty()))
        })
    });
    matches!(answered, Some(Ok((true, _))))
}

/// Without a bind: is there nothing asked, and bindings in an answer that fits to the last byte?
fn is_server_alive(exchange: &Exchange) -> bool {
    let nothing_asked = exchange
        .request
        .as_ref()
        .is_some_and(|message| message.stub_length == 0);
    let answered = response(exchange).and_then(|message| {
        parse(message, None, |reader| {
            let reply = ServerAlive2Reply::parse(reader)?;
            at_end(reader)?;
            Ok(reply.version.major == 5
                && reply
                    .bindings
                    .is_some_and(|bindings| !bindings.string_bindings.is_empty()))
        })
    });
    nothing_asked && matches!(answered, Some(Ok((true, _))))
}

/// Nothing but padding is left.
fn at_end(reader: &Reader<'_>) -> Result<()> {
    if is_at_end(reader) {
        return Ok(());
    }
    Err(reader.input().error(ErrorKind::Limit {
        field: "trailing bytes",
        max: 7,
    }))
}

fn parse_resolution(reader: &mut Reader<'_>, opnum: u16) -> Result<ResolveOxidReply> {
    if opnum == RESOLVE_OXID {
        ResolveOxidReply::parse(reader)
    } else {
        ResolveOxidReply::parse_2(reader)
    }
}

fn resolution(
    connection: &Connection,
    exchange: &Exchange,
    opnum: u16,
    exporters: &mut Exporters,
    odd: &mut Vec<Anomaly>,
) -> Read {
    let mut shared = record(connection, exchange, known::IOBJECT_EXPORTER, opnum);
    let learned = set_resolution(&mut shared, connection, exchange, opnum, exporters, odd);
    Read::recorded(shared, learned)
}

fn set_resolution(
    dcom: &mut Dcom,
    connection: &Connection,
    exchange: &Exchange,
    opnum: u16,
    exporters: &mut Exporters,
    odd: &mut Vec<Anomaly>,
) -> Option<Learned> {
    dcom.kind = Kind::OxidResolution;
    let mut encoding: Option<Encoding> = exchange.encoding;
    let asked = exchange.request.as_ref();
    let asked = asked.and_then(|message| parse_or_tell(message, encoding, odd, ResolveOxidRequest::parse));
    if let Some((request, used)) = asked {
        dcom.evidence = Evidence::Arguments;
        dcom.oxid = Some(request.oxid);
        encoding = used;
    }
    let message = response(exchange)?;
    let reply = parse_or_tell(message, encoding, odd, |reader| parse_resolution(reader, opnum));
    let (reply, _) = reply?;
    set_status(dcom, reply.status);
    let bindings = reply.bindings?;
    dcom.ipid_rem_unknown = Some(reply.ipid_rem_unknown);
    let pair = Pair::from(connection);
    let rem_unknown = Iid(known::IREM_UNKNOWN2);
    exporters.learn(
        pair,
        Told::interface(reply.ipid_rem_unknown, rem_unknown, message.at.frame),
    );
    exporters.has_addresses(pair.server, addresses(&bindings));
    dcom.authn_hint = Some(level_name(reply.authn_hint));
    set_bindings(dcom, &bindings);
    learn(dcom, connection, &bindings, exporters, LearnedFrom::ResolveOxid)
}

fn server_alive(
    connection: &Connection,
    exchange: &Exchange,
    exporters: &mut Exporters,
    odd: &mut Vec<Anomaly>,
) -> Shared<Dcom> {
    let mut shared = record(connection, exchange, known::IOBJECT_EXPORTER, SERVER_ALIVE_2);
    let Some(message) = response(exchange) else {
        return shared;
    };
    let dcom = &mut *shared;
    if let Some((reply, _)) = parse_or_tell(message, exchange.encoding, odd, ServerAlive2Reply::parse) {
        dcom.evidence = Evidence::Arguments;
        set_status(dcom, reply.status);
        if let Some(bindings) = reply.bindings {
            exporters.has_addresses(connection.server.address, addresses(&bindings));
            set_bindings(dcom, &bindings);
        }
    }
    shared
}
