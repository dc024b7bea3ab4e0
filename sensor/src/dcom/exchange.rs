//! What every DCOM record says, whatever was exchanged.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::net::IpAddr;

use dcom_parsers::dcom::{DualStringArray, StringBinding};
use dcom_parsers::error::{ParseError, Result};
use dcom_parsers::guid::Guid;
use dcom_parsers::names;
use dcom_parsers::ndr::{Encoding, Reader};
use dcom_parsers::rpce::VerificationTrailer;
use dcom_parsers::security::{AuthLevel, AuthService, Claims};

use super::endpoints::Learned;
use super::exporters::Exporters;
use crate::anomaly::Anomaly;
use crate::decode::Endpoint;
use crate::event::dcom::{
    Auth, ClientIdentity, EndpointRecord, Evidence, Hresult, Interface, LearnedFrom, Outcome, SecurityBinding,
    ServerIdentity,
};
use crate::event::record::Port;
use crate::event::{Dcom, Shared};
use crate::flow::Connection;
use crate::keys::KeyName;
use crate::rpc::{AuthState, Exchange, Message, Named, Reply, Stub};

/// Reads a message's stub, if it can be read, and tells its encoding, if that is known.
pub(super) fn parse<'a, T>(
    message: &'a Message,
    encoding: Option<Encoding>,
    read: impl Fn(&mut Reader<'a>) -> Result<T>,
) -> Option<std::result::Result<(T, Option<Encoding>), ParseError>> {
    parse_sound(message, encoding, read, |_| true)
}

/// The same. With the encoding unknown, both are tried: the one in which more of the stub makes sense is told, since what was
/// written in the other may be read for a while without an error.
pub(super) fn parse_sound<'a, T>(
    message: &'a Message,
    encoding: Option<Encoding>,
    read: impl Fn(&mut Reader<'a>) -> Result<T>,
    is_sound: impl Fn(&T) -> bool,
) -> Option<std::result::Result<(T, Option<Encoding>), ParseError>> {
    let (whole, order) = message.readable()?;
    // What vouches for the header stands behind the arguments and is none of them. What looks like it may be one all the
    // same, as servers look for it behind the arguments only: it is taken off where more makes sense without it.
    let (without, trailer) = VerificationTrailer::split(whole);
    let attempt = |encoding| {
        let read = |stub| {
            let mut reader = Reader::new(stub, order, encoding, "stub");
            let value = read(&mut reader);
            let sense = match &value {
                Err(_) => 0,
                Ok(value) if !is_sound(value) => 1,
                Ok(_) if !is_at_end(&reader) => 2,
                Ok(_) => 3,
            };
            (sense, value)
        };
        let all = read(whole);
        let shorter = trailer.map(|_| read(without));
        shorter.filter(|(sense, _)| *sense > all.0).unwrap_or(all)
    };
    if let Some(known) = encoding {
        return Some(attempt(known).1.map(|value| (value, encoding)));
    }
    let ((sense_20, ndr20), (sense_64, ndr64)) = (attempt(Encoding::Ndr20), attempt(Encoding::Ndr64));
    Some(match sense_20.cmp(&sense_64) {
        Ordering::Greater => ndr20.map(|value| (value, Some(Encoding::Ndr20))),
        Ordering::Less => ndr64.map(|value| (value, Some(Encoding::Ndr64))),
        Ordering::Equal => ndr20.map(|value| (value, None)),
    })
}

/// A call that the server perhaps did not take proves less than one that it took.
pub(super) fn doubt_offer(dcom: &mut Dcom, exchange: &Exchange) {
    if exchange.is_offered && matches!(dcom.evidence, Evidence::Arguments | Evidence::Inferred) {
        dcom.evidence = Evidence::Inferred;
        dcom.because
            .push("the server was not seen to accept the interface".into());
    }
}

/// What was read makes as much sense in the other encoding.
pub(super) fn doubt_encoding(dcom: &mut Dcom) {
    const UNTOLD: &str = "in which encoding the request is was not told";
    dcom.evidence = Evidence::Inferred;
    if !dcom.because.iter().any(|because| because == UNTOLD) {
        dcom.because.push(UNTOLD.into());
    }
}

/// Is nothing but padding left?
pub(super) fn is_at_end(reader: &Reader<'_>) -> bool {
    let rest = reader.rest();
    rest.len() < 8 && rest.iter().all(|&byte| byte == 0)
}

/// The same; a stub that had to be readable and was not is an anomaly.
pub(super) fn parse_or_tell<'a, T>(
    message: &'a Message,
    encoding: Option<Encoding>,
    odd: &mut Vec<Anomaly>,
    read: impl Fn(&mut Reader<'a>) -> Result<T>,
) -> Option<(T, Option<Encoding>)> {
    parse(message, encoding, read)?
        .map_err(|error| odd.push(unreadable(message, &error)))
        .ok()
}

/// The response, if there is one.
pub(super) fn response(exchange: &Exchange) -> Option<&Message> {
    match &exchange.reply {
        Reply::Response(message) => Some(message),
        _ => None,
    }
}

/// What is told of a stub that cannot be read.
pub(super) fn unreadable(message: &Message, error: &ParseError) -> Anomaly {
    let (name, detail) = match cut(message) {
        Some(cut) => ("oversized_stub", format!("{cut}: {error}")),
        None => ("malformed_stub", error.to_string()),
    };
    Anomaly {
        at: message.at,
        name,
        detail,
    }
}

/// What a reader has to know of a stub that is beyond the limit.
fn cut(message: &Message) -> Option<String> {
    let kept = message.cut()?;
    Some(format!(
        "only the first {kept} of {} bytes of the stub were kept",
        message.stub_length
    ))
}

/// A record with all that any exchange tells.
pub(super) fn record(connection: &Connection, exchange: &Exchange, interface: Guid, opnum: u16) -> Shared<Dcom> {
    let fault = match exchange.reply {
        Reply::Fault { status, .. } => Some(fault_name(status)),
        _ => None,
    };
    let outcome = match exchange.reply {
        Reply::Fault { .. } => Some(Outcome::Failed),
        Reply::Unanswered => Some(Outcome::Unanswered),
        Reply::Response(_) | Reply::NotWanted => None,
    };
    let named = |names: Option<&'static str>| names.map(Cow::Borrowed);
    let operation = named(names::operation(interface, opnum)).unwrap_or_else(|| format!("unknown-{opnum}").into());
    // Where it will stay: it is too large to be copied from hand to hand.
    Shared::new(Dcom {
        operation,
        opnum: Some(opnum),
        interface: Some(Interface {
            uuid: interface,
            name: named(names::interface(interface)),
        }),
        fault,
        outcome,
        named_pipe: exchange.named_pipe.clone(),
        bind_seen: Some(exchange.interface != Named::Unseen),
        bytes_missing: exchange.bytes_missing,
        sealed_stub_length: sealed(exchange.request.as_ref()),
        sealed_reply_length: sealed(response(exchange)),
        decrypted: key(exchange).map(|_| true),
        key: key(exchange),
        because: exchange
            .request
            .as_ref()
            .and_then(cut)
            .into_iter()
            .map(Cow::Owned)
            .chain(missing_start(connection, exchange))
            .collect(),
        ..Dcom::default()
    })
}

/// Who logged in.
pub(super) fn client(claims: &Claims) -> ClientIdentity {
    let told = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    ClientIdentity {
        user: told(&claims.user),
        domain: told(&claims.domain),
        workstation: told(&claims.workstation),
        anonymous: claims.anonymous.then_some(true),
    }
}

/// Who answers, as the login tells.
pub(super) fn server(claims: &Claims) -> ServerIdentity {
    ServerIdentity {
        netbios: claims.server_netbios.clone(),
        dns: claims.server_dns.clone(),
        runs_as: None,
    }
}

/// The length of a message's stub, where that is sealed.
pub(super) fn sealed(message: Option<&Message>) -> Option<u32> {
    let message = message.filter(|message| message.stub == Stub::Sealed)?;
    u32::try_from(message.stub_length).ok()
}

/// The key by which a stub was opened that was sealed.
pub(super) fn key(exchange: &Exchange) -> Option<KeyName> {
    let of = |message: Option<&Message>| message?.key.clone();
    of(exchange.request.as_ref()).or_else(|| of(response(exchange)))
}

/// What a reader has to know about how the record came to its interface.
fn missing_start(connection: &Connection, exchange: &Exchange) -> Vec<Cow<'static, str>> {
    if exchange.interface != Named::Unseen {
        return Vec::new();
    }
    let start = match (connection.syn_seen, &exchange.request) {
        (false, _) => "capture starts in mid-stream",
        (true, None) => "request not seen",
        (true, Some(_)) => "bind not seen",
    };
    vec![start.into(), "interface told by the content of the stub".into()]
}

/// A fault status by name and number.
pub(super) fn fault_name(status: u32) -> String {
    match names::fault(status) {
        Some(name) => format!("{name} (0x{status:08x})"),
        None => format!("0x{status:08x}"),
    }
}

/// How a call was authenticated.
pub(super) fn auth(state: Option<AuthState>, claims: &Claims) -> Auth {
    let Some(state) = state else {
        return Auth::default();
    };
    Auth {
        mechanism: claims
            .mechanism
            .filter(|_| state.service == AuthService::SPNEGO)
            .map(Cow::Borrowed),
        realm: claims.realm.clone(),
        service_name: claims.service.clone(),
        ..login(state)
    }
}

/// By what, how far, and in which security context.
pub(super) fn login(state: AuthState) -> Auth {
    let (service, level) = (state.service, state.level);
    Auth {
        service: Some(service.name().map_or_else(|| service.to_string().into(), Cow::Borrowed)),
        level: Some(level.name().map_or_else(|| level.to_string().into(), Cow::Borrowed)),
        context_id: state.context,
        ..Auth::default()
    }
}

/// An authentication level as a word.
pub(super) fn level_name(level: u32) -> Cow<'static, str> {
    let level = u8::try_from(level).map(AuthLevel);
    match level {
        Ok(level) => level.name().map_or_else(|| level.to_string().into(), Cow::Borrowed),
        Err(_) => "unknown".into(),
    }
}

/// [MS-ERREF] 2.1 HRESULT: the severity.
pub(super) const FAILURE: u32 = 0x8000_0000;

/// Sets an HRESULT and what it means.
pub(super) fn set_result(dcom: &mut Dcom, hresult: u32) {
    // Older servers answer with a plain Win32 code (5); 1 is S_FALSE.
    let failed = hresult & FAILURE != 0 || (2..0x1_0000).contains(&hresult);
    set(dcom, hresult, failed);
}

/// Sets an `error_status_t` (C706 appendix E, [MS-DCOM] 2.2.4) and what it means: 0 is success, and nothing else is.
pub(super) fn set_status(dcom: &mut Dcom, status: u32) {
    set(dcom, status, status != 0);
}

fn set(dcom: &mut Dcom, result: u32, failed: bool) {
    dcom.hresult = Some(Hresult(result));
    dcom.hresult_name = names::status(result).map(Cow::Borrowed);
    dcom.outcome = Some(if failed { Outcome::Failed } else { Outcome::Succeeded });
}

/// What a record lists of something of which a reply may hold thousands. No server is known to send so many.
pub(super) fn listed<T>(
    all: impl ExactSizeIterator<Item = T>,
    what: &str,
    because: &mut Vec<Cow<'static, str>>,
) -> Vec<T> {
    const MOST: usize = 512;
    if let Some(more @ 1..) = all.len().checked_sub(MOST) {
        because.push(format!("{more} more {what} are not listed").into());
    }
    all.take(MOST).collect()
}

/// Says which interfaces the server did not give, and why.
pub(super) fn set_refused(dcom: &mut Dcom, refused: &[(Guid, u32)]) {
    let texts = refused.iter().map(|&(iid, hresult)| {
        let interface = names::interface(iid).map_or_else(|| iid.to_string(), str::to_owned);
        let name = names::status(hresult).map_or_else(String::new, |name| format!("{name} "));
        format!("{interface} ({name}0x{hresult:08x})")
    });
    let texts = listed(texts, "refused interfaces", &mut dcom.because);
    if !texts.is_empty() {
        let because = format!("interfaces refused: {}", texts.join(", "));
        dcom.because.push(because.into());
    }
}

/// Takes over what bindings tell: where, and who.
pub(super) fn set_bindings(dcom: &mut Dcom, bindings: &DualStringArray) {
    let texts = bindings.string_bindings.iter().map(|it| it.network_address.clone());
    dcom.bindings = listed(texts, "bindings", &mut dcom.because);
    let security = bindings.security_bindings.iter().map(|binding| SecurityBinding {
        authn_service: service_name(binding.authn_service),
        principal: Some(binding.principal_name.clone()).filter(|name| !name.is_empty()),
    });
    dcom.security_bindings = listed(security, "security bindings", &mut dcom.because);
    // An account is DOMAIN\user; a service principal name (host/…) only says which machine it is.
    let accounts = bindings.security_bindings.iter().map(|binding| &binding.principal_name);
    dcom.server.runs_as = accounts.clone().find(|name| name.contains('\\')).cloned();
    let is_name = |binding: &&StringBinding| binding.address().is_none();
    let names = || bindings.string_bindings.iter().filter(is_name);
    let names = || names().map(|binding| binding.host().trim_start_matches('\\'));
    let names = || names().filter(|name| !name.is_empty());
    if dcom.server.dns.is_none() {
        dcom.server.dns = names().find(|name| name.contains('.')).map(str::to_owned);
    }
    if dcom.server.netbios.is_none() {
        dcom.server.netbios = names().find(|name| !name.contains('.')).map(str::to_owned);
    }
}

/// The addresses that bindings give.
pub(super) fn addresses(bindings: &DualStringArray) -> impl Iterator<Item = IpAddr> + '_ {
    bindings.string_bindings.iter().filter_map(StringBinding::address)
}

fn service_name(service: u16) -> Cow<'static, str> {
    let known = u8::try_from(service)
        .ok()
        .and_then(|service| AuthService(service).name());
    known.map_or_else(|| format!("0x{service:04x}").into(), Cow::Borrowed)
}

/// The dynamic port that bindings name: on the machine that answered, and on every address they give.
pub(super) fn learn(
    dcom: &mut Dcom,
    connection: &Connection,
    bindings: &DualStringArray,
    exporters: &Exporters,
    learned_from: LearnedFrom,
) -> Option<Learned> {
    let mut learned = Learned::default();
    let answered = connection.server.address;
    let tcp = || {
        let bindings = bindings.string_bindings.iter();
        bindings.filter_map(|binding| Some((binding.address(), binding.tcp()?.1)))
    };
    // A name stands for the machine that answered, and so does its own address among others.
    for (address, port) in tcp() {
        if address.is_none_or(|address| address == answered) {
            learned.add(Endpoint {
                address: answered,
                port,
            });
        }
    }
    for (address, port) in tcp() {
        if let Some(address) = address {
            learned.add(Endpoint { address, port });
        }
    }
    // A name stands for the machine's other addresses, too.
    for (_, port) in tcp().filter(|(address, _)| address.is_none()) {
        for &address in exporters.addresses_of(answered) {
            learned.add(Endpoint { address, port });
        }
    }
    lead_to(dcom, learned, learned_from)
}

/// The dynamic port, the likeliest address first.
pub(super) fn lead_to(dcom: &mut Dcom, learned: Learned, learned_from: LearnedFrom) -> Option<Learned> {
    let first = learned.endpoints.first()?;
    dcom.endpoint = Some(EndpointRecord {
        ip: Some(first.address),
        port: Some(Port(first.port)),
        learned_from,
        followed: false,
    });
    Some(learned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_encoding_in_which_more_of_a_stub_makes_sense_is_told() {
        let numbers = |stub: &[u64], is_sound: fn(&u64) -> bool| {
            let message = Message {
                stub: Stub::Whole(stub.iter().flat_map(|number| number.to_le_bytes()).collect()),
                ..Message::default()
            };
            let read = |reader: &mut Reader<'_>| {
                reader.uint3264()?;
                reader.uint3264()
            };
            parse_sound(&message, None, read, is_sound).unwrap().ok()
        };
        assert_eq!(
            numbers(&[7, 8], |_| true),
            Some((8, Some(Encoding::Ndr64))),
            "to its end"
        );
        assert_eq!(numbers(&[7], |_| true), Some((0, Some(Encoding::Ndr20))), "at all");
        assert_eq!(numbers(&[7, 0, 1], |&number| number == 0), Some((0, None)), "in both");
        assert_eq!(numbers(&[7, 0, 1], |&number| number == 1), Some((0, None)), "in none");
        assert_eq!(
            numbers(&[7, 9, 1], |&number| number == 9),
            Some((9, Some(Encoding::Ndr64))),
            "and is sound"
        );
        assert_eq!(numbers(&[], |_| true), None);
    }

    #[test]
    fn a_trailer_is_what_stands_behind_the_arguments() {
        // Of eight bytes behind the signature, an end of a kind that nobody knows.
        const TRAILER: [u8; 16] = *b"\x8a\xe3\x13\x71\x02\xf4\x36\x71\x09\x40\x04\0\x08\0\0\0";
        let numbers = |stub: &[u8], count: usize| {
            let message = Message {
                stub: Stub::Whole(stub.to_vec()),
                ..Message::default()
            };
            let read = |reader: &mut Reader<'_>| (0..count).map(|_| reader.u32()).collect::<Result<Vec<_>>>();
            let is_all = |numbers: &Vec<u32>| numbers.len() == count;
            let (numbers, _) = parse_sound(&message, Some(Encoding::Ndr20), read, is_all)
                .unwrap()
                .unwrap();
            numbers.last().copied()
        };
        let arguments = [&[7, 0, 0, 0], &TRAILER[..]].concat();
        assert_eq!(numbers(&arguments, 5), Some(8), "they hold one");
        assert_eq!(numbers(&arguments, 1), Some(7), "it stands behind them");
        assert_eq!(numbers(&[&arguments[..], &TRAILER].concat(), 5), Some(8), "both");
    }

    #[test]
    fn a_name_stands_for_all_addresses_of_the_machine() {
        let binding = |text: &str| StringBinding {
            tower_id: 7,
            network_address: text.to_owned(),
        };
        let bindings = DualStringArray {
            string_bindings: vec![binding("TGT[50000]"), binding("fe80::7%12[50001]")],
            ..DualStringArray::default()
        };
        let mut exporters = Exporters::new(&crate::limits::Limits::default());
        let connection = super::super::rig::connection();
        let (here, there) = (connection.server.address, IpAddr::from([10, 0, 0, 9]));
        exporters.has_addresses(here, [there].into_iter());
        let mut dcom = Dcom::default();
        set_bindings(&mut dcom, &bindings);
        assert_eq!(dcom.server.netbios.as_deref(), Some("TGT"));
        let learned = learn(&mut dcom, &connection, &bindings, &exporters, LearnedFrom::OxidBinding);
        let local = "fe80::7".parse().unwrap();
        let places = learned.unwrap().endpoints;
        let places: Vec<_> = places.iter().map(|place| (place.address, place.port)).collect();
        assert_eq!(places, [(here, 50_000), (local, 50_001), (there, 50_000)]);
    }

    #[test]
    fn a_record_says_how_much_it_does_not_list() {
        let mut because = Vec::new();
        assert_eq!(listed(0..512, "towers", &mut because).len(), 512);
        assert!(because.is_empty());
        assert_eq!(listed(0..600, "towers", &mut because).len(), 512);
        assert_eq!(because, ["88 more towers are not listed"]);
    }
}
