//! What is written is read: PDUs of both protocols, in both byte orders and both character sets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proptest::prelude::*;

use super::*;
use crate::guid::Guid;
use crate::input::ByteOrder;
use crate::ndr::Encoding;
use crate::testing::{Sample, Writer, flags, lasting, sample, samples, up_to, wrapped};

wrapped! { RejectReason(u16) }
flags! { PfcFlags(u8) FaultFlags(u8) RtsFlags(u16) DgFlags(u8) DgFlags2(u8) VerificationBits(u32) }

samples! {
    ContextElement { context_id, abstract_syntax, transfer_syntaxes }
    Bind { max_xmit_frag, max_recv_frag, assoc_group_id, contexts }
    ContextResult { result, reason, transfer_syntax }
    BindAck { max_xmit_frag, max_recv_frag, assoc_group_id, secondary_address = "[!-~]{0,12}", results }
    BindNak<'static> { reason, versions, extended_error }
    Request<'static> { alloc_hint, context_id, opnum, object, stub }
    Response<'static> { alloc_hint, context_id, cancel_count, stub }
    Fault<'static> { alloc_hint, context_id, cancel_count, flags, status, stub }
    SecTrailer<'static> {
        auth_type, auth_level, auth_pad_length = 0..16_u8, auth_context_id, auth_value = token()
    }
    DgFack { version, window_size, max_tsdu, max_frag_size, serial, selective }
    VerificationHeader { ptype = sample().prop_map(Ptype), drep, call_id, context_id, opnum }
    VerificationContext { abstract_syntax, transfer_syntax }
    VerificationTrailer { bits, header, context, unread = 1..4_u16 }
}

/// Without one there is no verifier.
fn token() -> impl Strategy<Value = &'static [u8]> {
    prop::collection::vec(any::<u8>(), 1..40).prop_map(lasting)
}

fn order() -> impl Strategy<Value = ByteOrder> {
    prop_oneof![Just(ByteOrder::Little), Just(ByteOrder::Big)]
}

fn body() -> impl Strategy<Value = (Ptype, Body<'static>)> {
    prop_oneof![
        sample().prop_map(|it| (Ptype::BIND, Body::Bind(it))),
        sample().prop_map(|it| (Ptype::BIND_ACK, Body::BindAck(it))),
        sample().prop_map(|it| (Ptype::BIND_NAK, Body::BindNak(it))),
        sample().prop_map(|it| (Ptype::ALTER_CONTEXT, Body::AlterContext(it))),
        sample().prop_map(|it| (Ptype::ALTER_CONTEXT_RESP, Body::AlterContextResp(it))),
        Just((Ptype::AUTH3, Body::Auth3)),
        sample().prop_map(|it| (Ptype::REQUEST, Body::Request(it))),
        sample().prop_map(|it| (Ptype::RESPONSE, Body::Response(it))),
        sample().prop_map(|it| (Ptype::FAULT, Body::Fault(it))),
        Just((Ptype::SHUTDOWN, Body::Shutdown)),
        Just((Ptype::CANCEL, Body::Cancel)),
        Just((Ptype::ORPHANED, Body::Orphaned)),
        (21..=u8::MAX, sample()).prop_map(|(ptype, it)| (Ptype(ptype), Body::Other(it))),
    ]
}

/// A PDU whose header says what it comes to.
impl Sample for Pdu<'static> {
    fn sample() -> BoxedStrategy<Self> {
        let head = (0..=1_u8, sample::<PfcFlags>(), order(), any::<bool>(), any::<u32>());
        (head, body(), sample::<Option<SecTrailer<'_>>>())
            .prop_map(
                |((version_minor, mut flags, order, ebcdic, call_id), (ptype, body), verifier)| {
                    let has_object = matches!(&body, Body::Request(request) if request.object.is_some());
                    flags.set(PfcFlags::OBJECT_UUID, has_object);
                    let header = CommonHeader {
                        version_minor,
                        ptype,
                        flags,
                        order,
                        ebcdic,
                        frag_length: 0,
                        auth_length: verifier.map_or(0, |it| u16::try_from(it.auth_value.len()).unwrap()),
                        call_id,
                    };
                    let mut pdu = Self { header, body, verifier };
                    pdu.header.frag_length = u16::try_from(written(&pdu).len()).unwrap();
                    pdu
                },
            )
            .boxed()
    }
}

fn drep(order: ByteOrder, ebcdic: bool) -> u8 {
    let integers = if order == ByteOrder::Big { 0 } else { 0x10 };
    integers | u8::from(ebcdic)
}

/// The bytes that stand for `text`: each character is looked up as the parser would read it.
fn letters(set: CharacterSet, text: &str) -> Vec<u8> {
    let all: Vec<(u8, String)> = (1..=u8::MAX).map(|byte| (byte, set.text(&[byte]))).collect();
    let byte = |letter: char| all.iter().find(|(_, read)| *read == letter.to_string()).unwrap().0;
    text.chars().map(byte).chain([0]).collect()
}

impl Writer {
    fn syntax(&mut self, syntax: SyntaxId) -> &mut Self {
        self.guid(syntax.uuid).u32(syntax.version)
    }

    fn small(&mut self, count: usize) -> &mut Self {
        self.u8(u8::try_from(count).unwrap())
    }
}

fn written(pdu: &Pdu<'_>) -> Vec<u8> {
    let header = pdu.header;
    let mut w = Writer::new(header.order, Encoding::Ndr20);
    w.raw(&[
        5,
        header.version_minor,
        header.ptype.0,
        header.flags.bits(),
        drep(header.order, header.ebcdic),
        0,
        0,
        0,
    ]);
    w.u16(header.frag_length).u16(header.auth_length).u32(header.call_id);
    match &pdu.body {
        Body::Bind(it) | Body::AlterContext(it) => {
            w.u16(it.max_xmit_frag).u16(it.max_recv_frag).u32(it.assoc_group_id);
            w.small(it.contexts.len()).raw(&[0xdd; 3]);
            for context in &it.contexts {
                w.u16(context.context_id)
                    .small(context.transfer_syntaxes.len())
                    .u8(0xdd);
                w.syntax(context.abstract_syntax);
                for &syntax in &context.transfer_syntaxes {
                    w.syntax(syntax);
                }
            }
        }
        Body::BindAck(it) | Body::AlterContextResp(it) => {
            let address = letters(header.characters(), &it.secondary_address);
            w.u16(it.max_xmit_frag).u16(it.max_recv_frag).u32(it.assoc_group_id);
            w.u16(u16::try_from(address.len()).unwrap()).raw(&address).align(4);
            w.small(it.results.len()).raw(&[0xdd; 3]);
            for result in &it.results {
                w.u16(result.result).u16(result.reason).syntax(result.transfer_syntax);
            }
        }
        Body::BindNak(it) => {
            w.u16(it.reason.0).small(it.versions.len());
            for &(major, minor) in &it.versions {
                w.u8(major).u8(minor);
            }
            if let Some(error) = it.extended_error {
                let signature = Guid::parse("90740320-fad0-11d3-82d7-009027b130ab").unwrap();
                w.align(4).guid(signature).raw(error);
            }
        }
        Body::Request(it) => {
            w.u32(it.alloc_hint).u16(it.context_id).u16(it.opnum);
            if let Some(object) = it.object {
                w.guid(object);
            }
            w.raw(it.stub);
        }
        Body::Response(it) => {
            w.u32(it.alloc_hint)
                .u16(it.context_id)
                .u8(it.cancel_count)
                .u8(0xdd)
                .raw(it.stub);
        }
        Body::Fault(it) => {
            w.u32(it.alloc_hint)
                .u16(it.context_id)
                .u8(it.cancel_count)
                .u8(it.flags.bits());
            w.u32(it.status).raw(&[0xdd; 4]).raw(it.stub);
        }
        Body::Auth3 | Body::Shutdown | Body::Cancel | Body::Orphaned => {}
        Body::Other(bytes) => _ = w.raw(bytes),
    }
    if let Some(it) = &pdu.verifier {
        w.raw(&vec![0xdd; it.auth_pad_length.into()]);
        w.u8(it.auth_type)
            .u8(it.auth_level)
            .u8(it.auth_pad_length)
            .u8(0)
            .u32(it.auth_context_id)
            .raw(it.auth_value);
    }
    w.bytes()
}

fn command() -> impl Strategy<Value = RtsCommand> {
    let of = |kinds: &'static [u32], value: BoxedStrategy<RtsValue>| {
        let kind = prop::sample::select(kinds).prop_map(RtsCommandType);
        (kind, value).prop_map(|(kind, value)| RtsCommand { kind, value })
    };
    let address = prop_oneof![
        any::<u32>().prop_map(|it| IpAddr::from(Ipv4Addr::from_bits(it))),
        any::<u128>().prop_map(|it| IpAddr::from(Ipv6Addr::from_bits(it))),
    ];
    prop_oneof![
        of(&[0, 2, 4, 5, 6, 0xd, 0xe], sample().prop_map(RtsValue::Number).boxed()),
        of(&[1], {
            let parts = (sample(), sample(), sample());
            parts
                .prop_map(|(received, window, channel)| RtsValue::FlowControl {
                    received,
                    window,
                    channel,
                })
                .boxed()
        }),
        of(&[3, 0xc], sample().prop_map(RtsValue::Cookie).boxed()),
        of(&[7, 9, 0xa], Just(RtsValue::Empty).boxed()),
        of(&[8], (0..20_u32).prop_map(RtsValue::Padding).boxed()),
        of(&[0xb], address.prop_map(RtsValue::Address).boxed()),
    ]
}

fn rts_body(rts: &Rts, order: ByteOrder) -> Vec<u8> {
    let mut w = Writer::new(order, Encoding::Ndr20);
    w.u16(rts.flags.bits()).u16(rts.number_of_commands);
    for command in &rts.commands {
        w.u32(command.kind.0);
        match command.value {
            RtsValue::Empty => {}
            RtsValue::Number(number) => _ = w.u32(number),
            RtsValue::Cookie(cookie) => _ = w.guid(cookie),
            RtsValue::Address(IpAddr::V4(address)) => _ = w.u32(0).raw(&address.octets()).raw(&[0; 12]),
            RtsValue::Address(IpAddr::V6(address)) => _ = w.u32(1).raw(&address.octets()).raw(&[0; 12]),
            RtsValue::FlowControl {
                received,
                window,
                channel,
            } => _ = w.u32(received).u32(window).guid(channel),
            RtsValue::Padding(length) => _ = w.u32(length).raw(&vec![0; length as usize]),
        }
    }
    w.bytes()
}

fn datagram_body() -> impl Strategy<Value = (DgPtype, DgBody<'static>)> {
    prop_oneof![
        sample().prop_map(|it| (DgPtype::REQUEST, DgBody::Request(it))),
        sample().prop_map(|it| (DgPtype::RESPONSE, DgBody::Response(it))),
        sample().prop_map(|it| (DgPtype::FAULT, DgBody::Fault(it))),
        sample().prop_map(|it| (DgPtype::REJECT, DgBody::Reject(it))),
        Just((DgPtype::PING, DgBody::Ping)),
        Just((DgPtype::WORKING, DgBody::Working)),
        sample().prop_map(|it| (DgPtype::NOCALL, DgBody::Nocall(it))),
        Just((DgPtype::ACK, DgBody::Ack)),
        sample().prop_map(|cancel_id| (DgPtype::CL_CANCEL, DgBody::Cancel { cancel_id })),
        sample().prop_map(|it| (DgPtype::FACK, DgBody::Fack(it))),
        (sample(), sample())
            .prop_map(|(cancel_id, accepting)| (DgPtype::CANCEL_ACK, DgBody::CancelAck { cancel_id, accepting })),
        (11..=u8::MAX, sample()).prop_map(|(ptype, it)| (DgPtype(ptype), DgBody::Other(it))),
    ]
}

impl Sample for DgPdu<'static> {
    fn sample() -> BoxedStrategy<Self> {
        let first = (
            sample(),
            sample(),
            order(),
            any::<bool>(),
            sample(),
            sample::<Option<Guid>>(),
            sample(),
            sample(),
        );
        let second = (
            sample(),
            sample(),
            sample(),
            sample(),
            sample(),
            sample(),
            sample(),
            sample(),
        );
        (first, second, datagram_body(), sample())
            .prop_map(|(first, second, (ptype, body), verifier)| {
                let (flags, flags2, order, ebcdic, serial, object, interface, interface_version) = first;
                let (activity, server_boot, sequence, opnum, interface_hint, activity_hint, fragment, auth_service) =
                    second;
                let header = DgHeader {
                    ptype,
                    flags,
                    flags2,
                    order,
                    ebcdic,
                    serial,
                    object: object.filter(|object| !object.is_null()),
                    interface,
                    interface_version,
                    activity,
                    server_boot,
                    sequence,
                    opnum,
                    interface_hint,
                    activity_hint,
                    length: u16::try_from(datagram_body_written(order, &body).len()).unwrap(),
                    fragment,
                    auth_service,
                };
                Self { header, body, verifier }
            })
            .boxed()
    }
}

fn datagram_body_written(order: ByteOrder, body: &DgBody<'_>) -> Vec<u8> {
    let mut w = Writer::new(order, Encoding::Ndr20);
    match body {
        DgBody::Request(bytes) | DgBody::Response(bytes) | DgBody::Other(bytes) => _ = w.raw(bytes),
        DgBody::Fault(status) | DgBody::Reject(status) => _ = w.u32(*status),
        DgBody::Nocall(Some(it)) | DgBody::Fack(Some(it)) => {
            w.u8(it.version)
                .u8(0xdd)
                .u16(it.window_size)
                .u32(it.max_tsdu)
                .u32(it.max_frag_size)
                .u16(it.serial);
            w.u16(u16::try_from(it.selective.len()).unwrap());
            for &bits in &it.selective {
                w.u32(bits);
            }
        }
        DgBody::Cancel { cancel_id } => _ = w.u32(0).u32(*cancel_id),
        DgBody::CancelAck { cancel_id, accepting } => _ = w.u32(0).u32(*cancel_id).u32(*accepting),
        DgBody::Ping | DgBody::Working | DgBody::Ack | DgBody::Nocall(None) | DgBody::Fack(None) => {}
    }
    w.bytes()
}

fn datagram(pdu: &DgPdu<'_>) -> Vec<u8> {
    let it = &pdu.header;
    let [serial_hi, serial_lo] = it.serial.to_be_bytes();
    let mut w = Writer::new(it.order, Encoding::Ndr20);
    w.raw(&[
        4,
        it.ptype.0,
        it.flags.bits(),
        it.flags2.bits(),
        drep(it.order, it.ebcdic),
        0,
        0,
        serial_hi,
    ]);
    w.guid(it.object.unwrap_or_default())
        .guid(it.interface)
        .guid(it.activity);
    w.u32(it.server_boot).u32(it.interface_version).u32(it.sequence);
    w.u16(it.opnum)
        .u16(it.interface_hint)
        .u16(it.activity_hint)
        .u16(it.length)
        .u16(it.fragment);
    w.u8(it.auth_service)
        .u8(serial_lo)
        .raw(&datagram_body_written(it.order, &pdu.body))
        .raw(pdu.verifier);
    w.bytes()
}

/// Its commands, little-endian whatever the PDU says; those that are not read stand among them.
fn trailer(it: &VerificationTrailer) -> Vec<u8> {
    let value = |write: &dyn Fn(&mut Writer)| {
        let mut w = Writer::new(ByteOrder::Little, Encoding::Ndr20);
        write(&mut w);
        w.bytes()
    };
    let mut commands: Vec<(u16, Vec<u8>)> = Vec::new();
    commands.extend(it.bits.map(|bits| (1, value(&|w| _ = w.u32(bits.bits())))));
    commands.extend(it.context.map(|context| {
        (
            0x8002,
            value(&|w| _ = w.syntax(context.abstract_syntax).syntax(context.transfer_syntax)),
        )
    }));
    commands.extend(it.header.map(|header| {
        let write = |w: &mut Writer| {
            w.u8(header.ptype.0).raw(&[0; 3]).raw(&header.drep).u32(header.call_id);
            w.u16(header.context_id).u16(header.opnum);
        };
        (3, value(&write))
    }));
    commands.extend((0..it.unread).map(|length| (0x1234, vec![0xdd; length.into()])));
    commands.last_mut().unwrap().0 |= 0x4000;
    let mut w = Writer::new(ByteOrder::Little, Encoding::Ndr20);
    w.raw(&[0x8a, 0xe3, 0x13, 0x71, 0x02, 0xf4, 0x36, 0x71]);
    for (command, value) in commands {
        w.u16(command).u16(u16::try_from(value.len()).unwrap()).raw(&value);
    }
    w.bytes()
}

proptest! {
    #[test]
    fn every_pdu_is_read_as_it_was_written(pdu in Pdu::sample()) {
        let bytes = written(&pdu);
        let known = pdu.header.ptype.name().is_some() && pdu.header.lengths_agree();
        let recognised = if known { Prefix::Header(pdu.header) } else { Prefix::Foreign };
        prop_assert_eq!(recognise(&bytes), recognised);
        prop_assert_eq!(Pdu::parse(&bytes), Ok(pdu));
    }

    #[test]
    fn every_rts_pdu_is_read_as_it_was_written(
        flags in sample(),
        commands in prop::collection::vec(command(), 0..5),
        order in order(),
    ) {
        let rts = Rts { flags, number_of_commands: u16::try_from(commands.len()).unwrap(), commands };
        let body = rts_body(&rts, order);
        let header = CommonHeader {
            version_minor: 0,
            ptype: Ptype::RTS,
            flags: PfcFlags::FIRST_FRAG,
            order,
            ebcdic: false,
            frag_length: u16::try_from(CommonHeader::LENGTH + body.len()).unwrap(),
            auth_length: 0,
            call_id: 0,
        };
        let bytes = written(&Pdu { header, body: Body::Other(&body), verifier: None });
        prop_assert_eq!(Pdu::parse(&bytes).unwrap().rts(), Some(Ok(rts)));
    }

    #[test]
    fn every_datagram_is_read_as_it_was_written(pdu in DgPdu::sample()) {
        let bytes = datagram(&pdu);
        prop_assert_eq!(DgPdu::parse(&bytes), Ok(pdu));
    }

    #[test]
    fn every_verification_trailer_is_read_as_it_was_written(
        stub in up_to::<u8>(40),
        whole in VerificationTrailer::sample(),
    ) {
        let bytes = [stub.clone(), trailer(&whole)].concat();
        prop_assert_eq!(VerificationTrailer::split(&bytes), (&stub[..], Some(whole)));
    }

    #[test]
    fn text_is_read_as_it_was_written_in_both_character_sets(latin_1 in "[\u{1}-\u{ff}]{0,40}", ascii in "[\u{1}-\u{7f}]{0,40}") {
        prop_assert_eq!(CharacterSet::Ebcdic.text(&letters(CharacterSet::Ebcdic, &latin_1)), latin_1);
        prop_assert_eq!(CharacterSet::Ascii.text(&letters(CharacterSet::Ascii, &ascii)), ascii);
    }
}
