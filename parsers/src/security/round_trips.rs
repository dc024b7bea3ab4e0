//! What is written is read: the tokens of NTLM, SPNEGO, Kerberos and Netlogon, whose byte orders are fixed.

use proptest::prelude::*;

use super::*;
use crate::input::ByteOrder;
use crate::ndr::Encoding;
use crate::testing::{Sample, Writer, flags, lasting, little_endian_round_trips, sample, samples, wrapped, writes};

use super::kerberos::{ApReq, KrbError, Principal, TgtReq, Ticket};
use super::netlogon::NlAuthMessage;
use super::ntlmssp::{Authenticate, AvPairs, Challenge, FileTime, Negotiate, NegotiateFlags, Version};
use super::spnego::{Init, NegState, ObjectIdentifier, Resp};

wrapped! { FileTime(u64) }
flags! { NegotiateFlags(u32) }

samples! {
    Version { major, minor, build, ntlm_revision }
    AvPairs {
        netbios_computer = name(), netbios_domain = name(), dns_computer = name(), dns_domain = name(),
        dns_tree = name(), flags, timestamp, target_name = name(), channel_bindings
    }
    Init<'static> { mech_types, mech_token, mech_list_mic }
    Resp<'static> { neg_state, supported_mech, response_token, mech_list_mic }
    Principal { name_type, name = "[a-z$]{1,8}(/[a-z.]{1,8}){0,2}" }
    Ticket { realm, service, etype }
    ApReq { user_to_user, ticket }
    KrbError { error_code, client_realm, client, realm, service }
    TgtReq { server, realm }
}

/// An empty name is none.
fn name() -> impl Strategy<Value = Option<String>> {
    sample::<Option<String>>().prop_map(|name| name.filter(|name| !name.is_empty()))
}

impl Sample for NegState {
    fn sample() -> BoxedStrategy<Self> {
        sample().prop_map(Self).boxed()
    }
}

impl Sample for ObjectIdentifier<'static> {
    fn sample() -> BoxedStrategy<Self> {
        sample().prop_map(ObjectIdentifier).boxed()
    }
}

impl Sample for spnego::Token<'static> {
    fn sample() -> BoxedStrategy<Self> {
        prop_oneof![sample().prop_map(Self::Init), sample().prop_map(Self::Resp)].boxed()
    }
}

impl Sample for kerberos::Message {
    fn sample() -> BoxedStrategy<Self> {
        prop_oneof![
            sample().prop_map(Self::ApReq),
            Just(Self::ApRep),
            sample().prop_map(Self::Error),
            sample().prop_map(Self::TgtReq),
            sample().prop_map(Self::TgtRep),
        ]
        .boxed()
    }
}

/// The flags say which names are there and how they are written.
fn flags_for(flags: NegotiateFlags, version: bool) -> NegotiateFlags {
    let mut flags = flags;
    flags.set(NegotiateFlags::VERSION, version);
    flags
}

fn negotiate() -> impl Strategy<Value = Negotiate> {
    (sample(), name(), name(), sample::<Option<Version>>()).prop_map(|(flags, domain, workstation, version)| {
        let mut flags = flags_for(flags, version.is_some());
        flags.set(NegotiateFlags::OEM_DOMAIN_SUPPLIED, domain.is_some());
        flags.set(NegotiateFlags::OEM_WORKSTATION_SUPPLIED, workstation.is_some());
        Negotiate {
            flags,
            domain,
            workstation,
            version,
        }
    })
}

fn challenge() -> impl Strategy<Value = Challenge> {
    (sample(), name(), sample(), sample(), sample::<Option<Version>>()).prop_map(
        |(flags, target_name, server_challenge, av_pairs, version)| Challenge {
            flags: flags_for(flags, version.is_some()),
            target_name,
            server_challenge,
            av_pairs,
            version,
        },
    )
}

/// A response of version 2 has AV pairs, one of version 1 is 24 bytes long, an anonymous login has none.
fn authenticate() -> impl Strategy<Value = Authenticate> {
    let names = (name(), name(), name());
    let response = prop_oneof![
        Just(0),
        Just(24),
        sample::<AvPairs>().prop_map(|pairs| 44 + av_pairs(&pairs).len())
    ];
    (
        sample(),
        names,
        sample::<Option<Version>>(),
        sample::<AvPairs>(),
        response,
    )
        .prop_map(|(flags, (domain, user, workstation), version, pairs, length)| {
            let pairs = if length > 24 { pairs } else { AvPairs::default() };
            let length = if length > 24 {
                44 + av_pairs(&pairs).len()
            } else {
                length
            };
            Authenticate {
                flags: flags_for(flags, version.is_some()),
                domain,
                anonymous: user.is_none() && length == 0,
                user,
                workstation,
                version,
                // The writer leaves the LM response empty.
                lm_response: false,
                mic: pairs.flags.is_some_and(|bits| bits & 2 != 0),
                nt_response_length: u16::try_from(length).unwrap(),
                av_pairs: pairs,
            }
        })
}

impl Sample for ntlmssp::Message {
    fn sample() -> BoxedStrategy<Self> {
        prop_oneof![
            negotiate().prop_map(Self::Negotiate),
            challenge().prop_map(Self::Challenge),
            authenticate().prop_map(Self::Authenticate),
        ]
        .boxed()
    }
}

/// Which strings there are, the flags say.
impl Sample for NlAuthMessage {
    fn sample() -> BoxedStrategy<Self> {
        let dns = || prop::option::of("[a-z0-9]{1,9}(\\.[a-z0-9]{1,9}){0,3}");
        (0..2_u32, (sample(), sample()), (dns(), dns()), dns())
            .prop_map(|(message_type, (domain, computer), (dns_domain, dns_host), utf8)| {
                let names: [&Option<String>; 5] = [&domain, &computer, &dns_domain, &dns_host, &utf8];
                let flags = names
                    .iter()
                    .enumerate()
                    .map(|(bit, name)| u32::from(name.is_some()) << bit)
                    .sum();
                Self {
                    message_type,
                    flags,
                    netbios_domain: domain,
                    netbios_computer: computer,
                    dns_domain,
                    dns_host,
                    netbios_computer_utf8: utf8,
                }
            })
            .boxed()
    }
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn av_pairs(pairs: &AvPairs) -> Vec<u8> {
    let names = [
        (1, &pairs.netbios_computer),
        (2, &pairs.netbios_domain),
        (3, &pairs.dns_computer),
        (4, &pairs.dns_domain),
        (5, &pairs.dns_tree),
        (9, &pairs.target_name),
    ];
    let mut all: Vec<(u16, Vec<u8>)> = names
        .into_iter()
        .filter_map(|(id, name)| Some((id, utf16(name.as_ref()?))))
        .collect();
    all.extend(pairs.flags.map(|flags| (6, flags.to_le_bytes().into())));
    all.extend(pairs.timestamp.map(|time| (7, time.0.to_le_bytes().into())));
    all.push((8, vec![0xdd; 48]));
    all.push((10, vec![u8::from(pairs.channel_bindings); 16]));
    all.push((0, Vec::new()));
    let mut w = Writer::new(ByteOrder::Little, Encoding::Ndr20);
    for (id, value) in all {
        w.u16(id).u16(u16::try_from(value.len()).unwrap()).raw(&value);
    }
    w.bytes()
}

/// A message in the making: fields that say where their bytes stand, and the bytes behind them all.
struct Fields {
    fixed: usize,
    payload: Vec<u8>,
}

impl Fields {
    fn add(&mut self, w: &mut Writer, bytes: &[u8]) {
        let length = u16::try_from(bytes.len()).unwrap();
        w.u16(length)
            .u16(length)
            .u32(u32::try_from(self.fixed + self.payload.len()).unwrap());
        self.payload.extend(bytes);
    }
}

fn text(flags: NegotiateFlags, text: Option<&String>) -> Vec<u8> {
    match text {
        Some(text) if flags.contains(NegotiateFlags::UNICODE) => utf16(text),
        Some(text) => text.as_bytes().into(),
        None => Vec::new(),
    }
}

fn version(w: &mut Writer, version: Option<Version>) {
    let it = version.unwrap_or(Version {
        major: 1,
        minor: 2,
        build: 3,
        ntlm_revision: 4,
    });
    w.u8(it.major)
        .u8(it.minor)
        .u16(it.build)
        .raw(&[0; 3])
        .u8(it.ntlm_revision);
}

writes! {
    ntlmssp::Message: |it, w| match it {
        Self::Negotiate(it) => {
            let mut fields = Fields { fixed: 40, payload: Vec::new() };
            w.raw(b"NTLMSSP\0").u32(1).u32(it.flags.bits());
            // Names without their flag are to be ignored, so they are there all the same.
            for name in [&it.domain, &it.workstation] {
                fields.add(w, name.as_ref().map_or(&b"ignored"[..], |name| name.as_bytes()));
            }
            version(w, it.version);
            w.raw(&fields.payload);
        }
        Self::Challenge(it) => {
            let mut fields = Fields { fixed: 56, payload: Vec::new() };
            w.raw(b"NTLMSSP\0").u32(2);
            fields.add(w, &text(it.flags, it.target_name.as_ref()));
            w.u32(it.flags.bits()).raw(&it.server_challenge).raw(&[0; 8]);
            fields.add(w, &av_pairs(&it.av_pairs));
            version(w, it.version);
            w.raw(&fields.payload);
        }
        Self::Authenticate(it) => {
            let mut fields = Fields { fixed: 88, payload: Vec::new() };
            let response = match it.nt_response_length {
                0 => Vec::new(),
                24 => vec![0xdd; 24],
                _ => [&[0xdd; 16][..], &[1, 1], &[0xdd; 26], &av_pairs(&it.av_pairs)].concat(),
            };
            w.raw(b"NTLMSSP\0").u32(3);
            fields.add(w, &[0]);
            fields.add(w, &response);
            for name in [&it.domain, &it.user, &it.workstation] {
                fields.add(w, &text(it.flags, name.as_ref()));
            }
            fields.add(w, &[0xdd; 16]);
            w.u32(it.flags.bits());
            version(w, it.version);
            w.raw(&[0xdd; 16]).raw(&fields.payload);
        }
    };
    NlAuthMessage: |it, w| {
        w.u32(it.message_type).u32(it.flags);
        for name in [&it.netbios_domain, &it.netbios_computer].into_iter().flatten() {
            w.raw(name.as_bytes()).u8(0);
        }
        for name in [&it.dns_domain, &it.dns_host, &it.netbios_computer_utf8].into_iter().flatten() {
            for label in name.split('.') {
                w.u8(u8::try_from(label.len()).unwrap()).raw(label.as_bytes());
            }
            w.u8(0);
        }
    };
}

/// X.690 section 8.1: an element, its length in the shortest form that holds it or in the longest.
fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    let length = match content.len() {
        short @ 0..0x70 => vec![u8::try_from(short).unwrap()],
        0x70..0x100 => vec![0x81, length[3]],
        0x100..0x200 => vec![0x82, length[2], length[3]],
        _ => [&[0x84], &length[..]].concat(),
    };
    [&[tag], &length[..], content].concat()
}

fn field(number: u8, content: Option<Vec<u8>>) -> Vec<u8> {
    content.map(|content| tlv(0xa0 | number, &content)).unwrap_or_default()
}

fn integer(tag: u8, value: i32) -> Vec<u8> {
    tlv(tag, &value.to_be_bytes())
}

fn octets(bytes: Option<&[u8]>) -> Option<Vec<u8>> {
    bytes.map(|bytes| tlv(4, bytes))
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

fn spnego_token(token: &spnego::Token<'_>) -> Vec<u8> {
    let mic = |there: bool| there.then(|| tlv(4, b"mic"));
    match token {
        spnego::Token::Init(it) => {
            let mechanisms: Vec<Vec<u8>> = it.mech_types.iter().map(|mechanism| tlv(6, mechanism.0)).collect();
            // Where there is no integrity code, [MS-SPNG]'s hints stand in its place.
            let third = mic(it.mech_list_mic).or(Some(tlv(0x30, &[])));
            let parts = [
                field(0, Some(sequence(&mechanisms))),
                field(1, Some(tlv(3, &[0, 0]))),
                field(2, octets(it.mech_token)),
                field(3, third),
            ];
            tlv(0xa0, &sequence(&parts))
        }
        spnego::Token::Resp(it) => {
            let parts = [
                field(0, it.neg_state.map(|state| integer(0x0a, state.0))),
                field(1, it.supported_mech.map(|mechanism| tlv(6, mechanism.0))),
                field(2, octets(it.response_token)),
                field(3, mic(it.mech_list_mic)),
            ];
            tlv(0xa1, &sequence(&parts))
        }
    }
}

fn principal(it: &Principal) -> Vec<u8> {
    let names: Vec<Vec<u8>> = it.name.split('/').map(|name| tlv(0x1b, name.as_bytes())).collect();
    sequence(&[
        field(0, Some(integer(2, it.name_type))),
        field(1, Some(sequence(&names))),
    ])
}

fn letters(text: &str) -> Vec<u8> {
    tlv(0x1b, text.as_bytes())
}

fn ticket(it: &Ticket) -> Vec<u8> {
    let sealed = sequence(&[field(0, Some(integer(2, it.etype))), field(2, Some(tlv(4, b"sealed")))]);
    let parts = [
        field(0, Some(integer(2, 5))),
        field(1, Some(letters(&it.realm))),
        field(2, Some(principal(&it.service))),
        field(3, Some(sealed)),
    ];
    tlv(0x61, &sequence(&parts))
}

/// A message with its token identifier; the user-to-user ones have no tag of their own.
fn kerberos_message(message: &kerberos::Message) -> ([u8; 2], Vec<u8>) {
    let head = [field(0, Some(integer(2, 5))), field(1, Some(integer(2, 14)))].concat();
    match message {
        kerberos::Message::ApReq(it) => {
            let options = if it.user_to_user { 0x40 } else { 0x20 };
            let parts = [
                head,
                field(2, Some(tlv(3, &[0, options, 0, 0, 0]))),
                field(3, Some(ticket(&it.ticket))),
                field(4, Some(sequence(&[]))),
            ];
            ([1, 0], tlv(0x6e, &sequence(&parts)))
        }
        kerberos::Message::ApRep => ([2, 0], tlv(0x6f, &sequence(&[head]))),
        kerberos::Message::Error(it) => {
            let parts = [
                head,
                field(4, Some(tlv(0x18, b"20260101000000Z"))),
                field(6, Some(integer(2, it.error_code))),
                field(7, it.client_realm.as_deref().map(letters)),
                field(8, it.client.as_ref().map(principal)),
                field(9, it.realm.as_deref().map(letters)),
                field(10, it.service.as_ref().map(principal)),
            ];
            ([3, 0], tlv(0x7e, &sequence(&parts)))
        }
        kerberos::Message::TgtReq(it) => {
            let parts = [
                head,
                field(2, it.server.as_ref().map(principal)),
                field(3, it.realm.as_deref().map(letters)),
            ];
            ([4, 0], sequence(&parts))
        }
        kerberos::Message::TgtRep(it) => ([4, 1], sequence(&[head, field(2, Some(ticket(it)))])),
    }
}

#[test]
fn every_message_of_ntlm_and_netlogon_is_read_as_it_was_written() {
    little_endian_round_trips(ntlmssp::Message::parse);
    little_endian_round_trips(NlAuthMessage::parse);
}

proptest! {
    /// With the header of RFC 2743 or without.
    #[test]
    fn every_token_of_spnego_is_read_as_it_was_written(token in spnego::Token::sample()) {
        let bare = lasting(spnego_token(&token));
        let read = spnego::Token::parse(bare);
        prop_assert_eq!(read.as_ref(), Ok(&token));
        let framed = tlv(0x60, &[tlv(6, ObjectIdentifier::SPNEGO.0), bare.to_vec()].concat());
        prop_assert_eq!(spnego::Token::parse(&framed), Ok(token));
    }

    /// In the frame of RFC 4121, and bare where the message has a tag of its own.
    #[test]
    fn every_message_of_kerberos_is_read_as_it_was_written(message in kerberos::Message::sample()) {
        let (token_id, bare) = kerberos_message(&message);
        let framed = tlv(0x60, &[tlv(6, ObjectIdentifier::KERBEROS.0), token_id.into(), bare.clone()].concat());
        prop_assert!(kerberos::Message::is_one(&framed));
        let read = kerberos::Message::parse(&framed);
        prop_assert_eq!(read.as_ref(), Ok(&message));
        if token_id[0] != 4 {
            prop_assert!(kerberos::Message::is_one(&bare));
            prop_assert_eq!(kerberos::Message::parse(&bare), Ok(message));
        }
    }
}
