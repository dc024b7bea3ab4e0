//! Hand-made events for tests.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr};

use dcom_parsers::guid::{Clsid, Guid, Ipid, Oxid};

use super::alert::{Action, Metadata};
use super::anomaly::AnomalyKind;
use super::dcerpc::{Circumstances, DcerpcInterface, InterfaceVersion, RequestSize, ResponseSize, ZeekRow};
use super::dcom::{
    Auth, ClientIdentity, EndpointRecord, Evidence, Hresult, Interface, Kind, LearnedFrom, NamedGuid, Outcome,
    SecurityBinding, ServerIdentity,
};
use super::few::Few;
use super::flow::{FlowState, RpcOnFlow, SeenOnFlow, Tcp, Traffic};
use super::meta::Protocol;
use super::record::{Interval, Port};
use super::stats::Counters;
use super::{Alert, Anomaly, Body, Dcerpc, Dcom, Event, Flow, Meta, Shared, Stats};
use crate::decode::Endpoint;
use crate::flow::Name;
use crate::severity::Severity;
use crate::time::Timestamp;

/// One of each body.
pub(crate) fn all() -> Vec<Event> {
    vec![
        event(Body::Dcom(Shared::new(dcom()))),
        event(Body::Alert(Box::new(alert()))),
        event(Body::Dcerpc(Shared::new(dcerpc()))),
        event(Body::Anomaly(Box::new(anomaly()))),
        Event {
            meta: Meta {
                reply_frame: None,
                rtt: None,
                ..meta()
            },
            body: Body::Flow(Box::new(flow())),
        },
        Event {
            meta: Meta {
                timestamp: time(),
                ..Meta::default()
            },
            body: Body::Stats(Box::new(stats())),
        },
    ]
}

pub(crate) fn event(body: Body) -> Event {
    Event { meta: meta(), body }
}

pub(crate) fn time() -> Timestamp {
    Timestamp::new(1_595_113_802, 61_141_999)
}

pub(crate) fn meta() -> Meta {
    let end = |last, port| {
        Some(Endpoint {
            address: IpAddr::V4(Ipv4Addr::new(172, 16, 66, last)),
            port,
        })
    };
    Meta {
        timestamp: time(),
        flow_id: Some(908_054_309_376_390),
        frame: Some(1),
        pcap_filename: Some("mmc20.pcapng".into()),
        uid: Some(Name(*b"CJioLj2aEkGc9R3T0")),
        client: end(25, 49_744),
        server: end(36, 135),
        proto: Some(Protocol::Tcp),
        community_id: Some(Name(*b"1:4yGOw7A+UdQfp33AK3WL3nNiH0Y=")),
        reply_frame: Some(2),
        rtt: Some(Interval(72_954_999)),
        ..Meta::default()
    }
}

fn guid(text: &str) -> Guid {
    Guid::parse(text).expect("a GUID")
}

pub(crate) fn dcom() -> Dcom {
    Dcom {
        kind: Kind::Activation,
        operation: Cow::Borrowed("RemoteCreateInstance"),
        opnum: Some(4),
        interface: Some(Interface {
            uuid: Guid::com(0x1a0),
            name: Some("IRemoteSCMActivator".into()),
        }),
        clsid: Some(Clsid(guid("49b2791a-b1ae-4c90-9b8e-e860ba07f889"))),
        class: Some("MMC20.Application".to_owned()),
        iids: vec![
            NamedGuid {
                uuid: Guid::com(0),
                name: Some("IUnknown".into()),
            },
            NamedGuid {
                uuid: Guid::com(0x0002_0400),
                name: None,
            },
        ],
        hresult: Some(Hresult(0)),
        hresult_name: Some("S_OK".into()),
        outcome: Some(Outcome::Succeeded),
        oxid: Some(Oxid(0xbed0_5b18_ecb1_3abf)),
        ipids: vec![Ipid(guid("0000b400-0f20-ffff-a9a5-0b3f0f6f8b3a"))],
        bindings: vec!["0156s-win16-ir[60283]".to_owned(), "172.16.66.36[60283]".to_owned()],
        security_bindings: vec![SecurityBinding {
            authn_service: "ntlm".into(),
            principal: Some("LAB\\runner".to_owned()),
        }],
        endpoint: Some(EndpointRecord {
            ip: Some(IpAddr::V4(Ipv4Addr::new(172, 16, 66, 36))),
            port: Some(Port(60_283)),
            learned_from: LearnedFrom::OxidBinding,
            followed: true,
        }),
        auth: Auth {
            service: Some("ntlm".into()),
            level: Some("pkt_integrity".into()),
            ..Auth::default()
        }
        .into(),
        client: ClientIdentity {
            user: Some("alice".to_owned()),
            domain: Some("LAB".to_owned()),
            workstation: Some("WS5".to_owned()),
        }
        .into(),
        server: ServerIdentity {
            runs_as: Some("LAB\\runner".to_owned()),
            ..ServerIdentity::default()
        }
        .into(),
        evidence: Evidence::Class,
        bind_seen: Some(false),
        ..Dcom::default()
    }
}

pub(crate) fn dcerpc() -> Dcerpc {
    Dcerpc {
        request: Some("REQUEST"),
        req: Some(RequestSize {
            opnum: 4,
            frag_cnt: 1,
            stub_data_size: 788,
        }),
        interfaces: Few::One(DcerpcInterface {
            uuid: Guid::com(0x1a0),
            version: InterfaceVersion::default(),
            ack_result: Some(0),
            service: Some("IRemoteSCMActivator"),
            procedure: Some("RemoteCreateInstance"),
        }),
        response: Some("RESPONSE"),
        res: Some(ResponseSize {
            frag_cnt: 1,
            stub_data_size: 848,
        }),
        call_id: 3,
        activityuuid: None,
        seqnum: None,
        rpc_version: "5.0",
        zeek_row: Some(ZeekRow {
            named_pipe: Some("135".into()),
            endpoint: Some("IRemoteSCMActivator".into()),
            operation: Some("RemoteCreateInstance".into()),
        }),
        circumstances: Circumstances {
            protocol_sequence: "ncacn_ip_tcp",
            ..Circumstances::default()
        },
    }
}

pub(crate) fn alert() -> Alert {
    Alert {
        action: Action::Allowed,
        gid: 1,
        signature_id: 1_021_301,
        rev: 1,
        signature: "DCOM remote activation of MMC20.Application".into(),
        category: "Lateral Movement".into(),
        severity: Severity::Critical,
        metadata: Metadata {
            confidence: vec!["high".into()],
            mitre_tactic_id: vec!["TA0008".into()],
            mitre_technique_id: vec!["T1021.003".into()],
            ..Metadata::default()
        },
        note: "DCOM::Remote_Activation".into(),
        message: "172.16.66.25 activated MMC20.Application on 172.16.66.36".to_owned(),
        dcom: Some(Shared::new(dcom())),
        dcerpc: Some(Shared::new(dcerpc())),
        host_event: None,
    }
}

pub(crate) fn anomaly() -> Anomaly {
    Anomaly {
        app_proto: Some("dcerpc"),
        kind: AnomalyKind::Applayer,
        event: "fragment_out_of_place".into(),
        layer: Some("proto_parser"),
        detail: Some("common_header: `frag_length` is 3 (offset 8)".to_owned()),
        count: Some(2),
    }
}

fn flow() -> Flow {
    Flow {
        app_proto: "dcerpc",
        traffic: Traffic {
            packets_to_server: 7,
            packets_to_client: 5,
            bytes_to_server: 3_242,
            bytes_to_client: 1_783,
            start: Timestamp::new(1_595_113_801, 999_999_000),
            end: time(),
            age: 1,
            state: FlowState::Closed,
            ..Traffic::default()
        },
        tcp: Some(Tcp {
            flags: "1a".to_owned(),
            flags_to_server: "1a".to_owned(),
            flags_to_client: "1a".to_owned(),
            syn: Some(true),
            ..Tcp::default()
        }),
        seen: SeenOnFlow {
            protocol_sequence: "ncacn_ip_tcp",
            rpc: RpcOnFlow {
                pdus: 6,
                calls: 2,
                ..RpcOnFlow::default()
            },
            activations: Some(1),
            ..SeenOnFlow::default()
        },
    }
}

fn stats() -> Stats {
    Stats {
        counters: Counters(vec![
            ("decoder.pkts", 324),
            ("decoder.bytes", 40_960),
            ("dcom.endpoints.expected", 1),
            ("dcom.endpoints.realized", 1),
        ]),
        before: Counters::default(),
        interval: Interval(2_500_000_000),
        worker: None,
    }
}
