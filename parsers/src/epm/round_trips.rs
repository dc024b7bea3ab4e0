//! What is written is read: the endpoint mapper and remote management.

use std::net::Ipv4Addr;

use proptest::prelude::*;

use super::*;
use crate::guid::Guid;
use crate::input::ByteOrder;
use crate::ndr::Encoding;
use crate::rpce::SyntaxId;
use crate::testing::{Sample, WAYS, Write, Writer, round_trips, round_trips_of, sample, samples, up_to, wrapped};

wrapped! { InquiryType(u32) VersionOption(u32) }

samples! {
    LookupHandle { attributes, uuid }
    EptMapRequest { object = object(), map_tower, handle, max_towers }
    EptMapReply { handle, towers = repeated(), status }
    Entry { object = object(), tower, annotation = annotation() }
    EptLookupReply { handle, entries = repeated(), status }
    EptLookupRequest { inquiry_type, object = object(), interface, version_option, handle, max_entries }
    EptChangeRequest { entries, replace }
    EptLookupHandleFreeRequest { handle }
    EptLookupHandleFreeReply { handle, status }
    EptInqObjectReply { object = object(), status }
    EptMgmtDeleteRequest { object_specified, object = object(), tower }
    InqIfIdsReply { interfaces, status }
    InqStatsRequest { count }
    InqStatsReply { statistics, status }
    IsServerListeningReply { status, listening }
    StopServerListeningReply { status }
    InqPrincNameRequest { authn_service, name_size }
    InqPrincNameReply { name, status }
}

/// The null UUID stands for none.
fn object() -> impl Strategy<Value = Option<Guid>> {
    sample::<Option<Guid>>().prop_map(|object| object.filter(|uuid| !uuid.is_null()))
}

fn annotation() -> impl Strategy<Value = String> {
    "[a-z ]{0,62}"
}

/// The floors of each protocol sequence: a tower names one endpoint, and perhaps a host.
impl Sample for Tower {
    fn sample() -> BoxedStrategy<Self> {
        let endpoint = prop_oneof![
            sample().prop_map(|port| Self {
                tcp_port: Some(port),
                ..Self::default()
            }),
            sample().prop_map(|port| Self {
                udp_port: Some(port),
                ..Self::default()
            }),
            sample().prop_map(|port| Self {
                http_port: Some(port),
                ..Self::default()
            }),
            sample().prop_map(|pipe| Self {
                named_pipe: Some(pipe),
                ..Self::default()
            }),
            sample().prop_map(|port| Self {
                local_port: Some(port),
                ..Self::default()
            }),
        ];
        let syntaxes = prop_oneof![
            Just((None, None)),
            sample().prop_map(|interface| (Some(interface), None)),
            (sample(), sample()).prop_map(|(interface, syntax)| (Some(interface), Some(syntax))),
        ];
        let protocol = prop::option::of(0x0a_u8..=0x0c);
        let host = (sample::<Option<u32>>(), sample::<Option<String>>());
        (endpoint, syntaxes, protocol, host)
            .prop_map(
                |(endpoint, (interface, transfer_syntax), rpc_protocol, (address, netbios))| Self {
                    interface,
                    transfer_syntax,
                    rpc_protocol,
                    address: address.map(Ipv4Addr::from_bits),
                    netbios,
                    ..endpoint
                },
            )
            .boxed()
    }
}

/// A `tower_octet_string`.
fn octets(tower: &Tower) -> Vec<u8> {
    let mut floors: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    for syntax in [tower.interface, tower.transfer_syntax].into_iter().flatten() {
        let [low, high, minor @ ..] = syntax.version.to_le_bytes();
        let mut left = Writer::new(ByteOrder::Little, Encoding::Ndr20);
        left.u8(0x0d).guid(syntax.uuid).raw(&[low, high]);
        floors.push((left.bytes(), minor.into()));
    }
    floors.extend(tower.rpc_protocol.map(|protocol| (vec![protocol], vec![0, 0])));
    let ports = [(7, tower.tcp_port), (8, tower.udp_port), (0x1f, tower.http_port)];
    let ports = ports.map(|(id, port)| Some((vec![id], port?.to_be_bytes().to_vec())));
    floors.extend(ports.into_iter().flatten());
    floors.extend(tower.address.map(|address| (vec![9], address.octets().to_vec())));
    let names = [
        (0x0f, &tower.named_pipe),
        (0x10, &tower.local_port),
        (0x11, &tower.netbios),
    ];
    let names = names.map(|(id, name)| Some((vec![id], [name.as_ref()?.as_bytes(), &[0]].concat())));
    floors.extend(names.into_iter().flatten());
    // A floor of a kind that nobody knows changes nothing.
    floors.push((vec![0x77], vec![1, 2, 3]));
    let mut writer = Writer::new(ByteOrder::Little, Encoding::Ndr20);
    writer.short_raw(floors.len());
    for (left, right) in floors {
        writer
            .short_raw(left.len())
            .raw(&left)
            .short_raw(right.len())
            .raw(&right);
    }
    writer.bytes()
}

/// Where each tower stands first.
fn places(towers: &[Option<&Tower>]) -> Vec<Option<usize>> {
    let place = |tower: Option<&Tower>| {
        towers
            .iter()
            .position(|&other| other == tower)
            .filter(|_| tower.is_some())
    };
    towers.iter().copied().map(place).collect()
}

/// Values, some of them again.
fn repeated<T: Sample + Clone>() -> impl Strategy<Value = Vec<T>> {
    (sample::<Vec<T>>(), 0..3_usize).prop_map(|(values, again)| {
        let behind = values.iter().rev().take(again).cloned();
        values
            .iter()
            .cloned()
            .chain(behind)
            .chain(values.first().cloned())
            .collect()
    })
}

impl Writer {
    fn short_raw(&mut self, count: usize) -> &mut Self {
        self.u16(u16::try_from(count).unwrap())
    }

    /// Each tower where it comes first; the pointers behind it lead there.
    fn towers_once(&mut self, towers: &[Option<&Tower>], places: &[Option<usize>]) -> &mut Self {
        let first = places
            .iter()
            .enumerate()
            .filter(|(index, place)| **place == Some(*index));
        self.each(first.filter_map(|(index, _)| towers[index]))
    }

    fn entries(&mut self, entries: &[Entry]) -> &mut Self {
        let towers: Vec<_> = entries.iter().map(|entry| entry.tower.as_ref()).collect();
        let places = places(&towers);
        for (entry, place) in entries.iter().zip(&places) {
            self.align_pointer().guid(entry.object.unwrap_or_default());
            self.wide(place.map_or(0, |place| 0x0002_0000 + place));
            let text = [entry.annotation.as_bytes(), &[0]].concat();
            self.wide(0).wide(text.len()).raw(&text);
        }
        self.towers_once(&towers, &places)
    }
}

impl Write for Tower {
    fn write(&self, writer: &mut Writer) {
        let octets = octets(self);
        writer.wide(octets.len()).long_count(octets.len()).raw(&octets);
    }
}

/// `RPC_IF_ID`, as data.
impl Write for SyntaxId {
    fn write(&self, writer: &mut Writer) {
        let version = self.version;
        writer
            .put(&self.uuid)
            .short_count((version & 0xffff) as usize)
            .short_count((version >> 16) as usize);
    }
}

impl Write for LookupHandle {
    fn write(&self, writer: &mut Writer) {
        writer.put(&self.attributes).put(&self.uuid);
    }
}

impl Write for EptMapRequest {
    fn write(&self, writer: &mut Writer) {
        writer.optional(self.object.as_ref()).optional(self.map_tower.as_ref());
        writer.put(&self.handle).put(&self.max_towers);
    }
}

impl Write for EptMapReply {
    fn write(&self, writer: &mut Writer) {
        let count = self.towers.len();
        writer
            .put(&self.handle)
            .long_count(count)
            .wide(count + 1)
            .wide(0)
            .wide(count);
        let towers: Vec<_> = self.towers.iter().map(Some).collect();
        let places = places(&towers);
        for place in &places {
            writer.wide(place.map_or(0, |place| 0x0002_0000 + place));
        }
        writer.towers_once(&towers, &places).put(&self.status);
    }
}

impl Write for EptLookupReply {
    fn write(&self, writer: &mut Writer) {
        let count = self.entries.len();
        writer
            .put(&self.handle)
            .long_count(count)
            .wide(count + 1)
            .wide(0)
            .wide(count);
        writer.entries(&self.entries).put(&self.status);
    }
}

impl Write for EptLookupRequest {
    fn write(&self, writer: &mut Writer) {
        writer
            .put(&self.inquiry_type)
            .optional(self.object.as_ref())
            .optional(self.interface.as_ref());
        writer
            .put(&self.version_option)
            .put(&self.handle)
            .put(&self.max_entries);
    }
}

impl Write for EptChangeRequest {
    fn write(&self, writer: &mut Writer) {
        let count = self.entries.len();
        writer
            .long_count(count)
            .wide(count)
            .entries(&self.entries)
            .each(&self.replace);
    }
}

impl Write for EptLookupHandleFreeRequest {
    fn write(&self, writer: &mut Writer) {
        writer.put(&self.handle);
    }
}

impl Write for EptLookupHandleFreeReply {
    fn write(&self, writer: &mut Writer) {
        writer.put(&self.handle).put(&self.status);
    }
}

impl Write for EptInqObjectReply {
    fn write(&self, writer: &mut Writer) {
        writer.put(&self.object.unwrap_or_default()).put(&self.status);
    }
}

impl Write for EptMgmtDeleteRequest {
    fn write(&self, writer: &mut Writer) {
        writer
            .put(&self.object_specified)
            .optional(self.object.as_ref())
            .optional(self.tower.as_ref());
    }
}

impl Write for InqIfIdsReply {
    fn write(&self, writer: &mut Writer) {
        let count = self.interfaces.len();
        writer.pointer().wide(count).align_pointer().long_count(count);
        writer.pointers(self.interfaces.len());
        writer.each(&self.interfaces).put(&self.status);
    }
}

impl Write for InqStatsRequest {
    fn write(&self, writer: &mut Writer) {
        writer.put(&self.count);
    }
}

impl Write for InqStatsReply {
    fn write(&self, writer: &mut Writer) {
        writer
            .long_count(self.statistics.len())
            .array(&self.statistics)
            .put(&self.status);
    }
}

impl Write for IsServerListeningReply {
    fn write(&self, writer: &mut Writer) {
        writer.put(&self.status).put(&self.listening);
    }
}

impl Write for StopServerListeningReply {
    fn write(&self, writer: &mut Writer) {
        writer.put(&self.status);
    }
}

impl Write for InqPrincNameRequest {
    fn write(&self, writer: &mut Writer) {
        writer.put(&self.authn_service).put(&self.name_size);
    }
}

impl Write for InqPrincNameReply {
    fn write(&self, writer: &mut Writer) {
        writer.string(&self.name).put(&self.status);
    }
}

#[test]
fn every_tower_is_read_as_it_was_written() {
    proptest!(|(tower in Tower::sample())| {
        prop_assert_eq!(Tower::parse(&octets(&tower)), Ok(tower));
    });
}

#[test]
fn every_operation_of_the_mapper_is_read_as_it_was_written() {
    round_trips(EptMapRequest::parse);
    round_trips(EptMapReply::parse);
    round_trips(EptLookupRequest::parse);
    round_trips(EptLookupReply::parse);
    let change = |replace: bool| {
        (up_to::<Entry>(4), sample::<u32>()).prop_map(move |(entries, value)| EptChangeRequest {
            entries,
            replace: replace.then_some(value),
        })
    };
    round_trips_of(change(true), EptChangeRequest::parse_insert);
    round_trips_of(change(false), EptChangeRequest::parse_delete);
    round_trips(EptLookupHandleFreeRequest::parse);
    round_trips(EptLookupHandleFreeReply::parse);
    round_trips(EptInqObjectReply::parse);
    round_trips(EptMgmtDeleteRequest::parse);
    round_trips(parse_status);
}

#[test]
fn every_operation_of_remote_management_is_read_as_it_was_written() {
    round_trips(InqIfIdsReply::parse);
    round_trips(InqStatsRequest::parse);
    round_trips(InqStatsReply::parse);
    round_trips(IsServerListeningReply::parse);
    round_trips(StopServerListeningReply::parse);
    round_trips(InqPrincNameRequest::parse);
    round_trips(InqPrincNameReply::parse);
}

#[test]
fn towers_that_share_an_identifier_and_are_all_sent_are_all_read() {
    let tower = |port| Tower {
        tcp_port: Some(port),
        ..Tower::default()
    };
    for (order, encoding) in WAYS {
        let mut writer = Writer::new(order, encoding);
        writer.put(&LookupHandle::default()).ndr_u32(3).wide(3).wide(0).wide(3);
        writer.wide(7).wide(7).wide(8);
        writer.put(&tower(1)).put(&tower(2)).put(&tower(3)).ndr_u32(0);
        let read = EptMapReply::parse(&mut writer.reader()).unwrap();
        assert_eq!(read.towers, [tower(1), tower(2), tower(3)]);
    }
}

#[test]
fn a_tower_that_many_pointers_share_is_not_copied_without_end() {
    let pipe = Tower {
        named_pipe: Some("x".repeat(1500)),
        ..Tower::default()
    };
    let port = Tower {
        tcp_port: Some(1),
        ..Tower::default()
    };
    for (tower, count, well) in [(&pipe, 4096, false), (&port, 4096, false), (&port, 60, true)] {
        let mut writer = Writer::new(ByteOrder::Little, Encoding::Ndr20);
        writer.put(&LookupHandle::default()).ndr_u32(count);
        writer.wide(count as usize).wide(0).wide(count as usize);
        for _ in 0..count {
            writer.wide(7);
        }
        writer.put(tower).ndr_u32(0);
        assert_eq!(EptMapReply::parse(&mut writer.reader()).is_ok(), well);
    }
}
