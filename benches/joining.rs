//! What joining host logs costs: keeping an event, and a verdict among many.

use std::sync::Arc;

use dcom_sensor::catalog::Catalog;
use dcom_sensor::correlate::names::Names;
use dcom_sensor::correlate::{Correlator, Mode};
use dcom_sensor::dcom::Record;
use dcom_sensor::decode::Endpoint;
use dcom_sensor::event::dcom::{Kind, Outcome};
use dcom_sensor::event::{Dcom, Meta, Shared};
use dcom_sensor::flow::Opener;
use dcom_sensor::host_log::event::{Clock, Direction, HostEnd, NetworkConnect, Place, Process, ProcessCreate, Source};
use dcom_sensor::host_log::{HostBody, HostEvent};
use dcom_sensor::limits::Limits;
use dcom_sensor::time::Timestamp;
use divan::counter::ItemsCount;
use divan::{Bencher, black_box};

const SECOND: i64 = 1_000_000_000;
const EVENTS: u32 = 100_000;

/// Half of them processes and half connections, a hundred a second, on ten hosts.
fn events() -> Vec<HostEvent> {
    let input: Arc<str> = "host.ndjson".into();
    let event = |number: u32| {
        let time = Timestamp(i64::from(number) * SECOND / 100);
        let host = number / 2 % 10;
        let process = Process {
            pid: Some(number),
            image: Some(r"C:\Windows\System32\cmd.exe".into()),
            command_line: Some(format!("cmd.exe /c whoami {number}").into()),
            ..Process::default()
        };
        let end = |last: u8, port: u32| HostEnd {
            ip: [10, 0, 0, last].into(),
            port: u16::try_from(port).unwrap_or_default(),
        };
        let (source, body) = if number.is_multiple_of(2) {
            let body = ProcessCreate {
                process,
                ..ProcessCreate::default()
            };
            (Source::Sysmon(1), HostBody::ProcessCreate(Box::new(body)))
        } else {
            let body = NetworkConnect {
                process,
                account: dcom_sensor::host_log::event::Account::default(),
                protocol: Some(6),
                direction: Some(Direction::Inbound),
                source: end(200, 1024 + number % 60_000),
                source_name: None,
                destination: end(u8::try_from(host).unwrap_or_default(), 135),
                destination_name: None,
            };
            (Source::Security(5156), HostBody::NetworkConnect(Box::new(body)))
        };
        HostEvent {
            time,
            logged: None,
            clock: Clock::Utc,
            host: format!("host{host}").into(),
            source,
            place: Place {
                input: Arc::clone(&input),
                record: number.into(),
            },
            body,
        }
    };
    (0..EVENTS).map(event).collect()
}

fn correlator(events: Vec<HostEvent>) -> Correlator {
    let mut correlator = Correlator::new(Mode::Replay, &Limits::default(), 120 * SECOND, Names::default());
    for event in events {
        correlator.push(event);
    }
    correlator
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn host_events_kept(bencher: Bencher<'_, '_>) {
    bencher
        .counter(ItemsCount::new(EVENTS))
        .with_inputs(events)
        .bench_local_values(correlator);
}

/// A call in the middle of all that: some twelve hundred processes of its host are within the window.
#[divan::bench]
fn verdict(bencher: Bencher<'_, '_>) {
    let (mut correlator, catalog) = (correlator(events()), Catalog::built_in());
    let end = |last: u8, port| Endpoint {
        address: [10, 0, 0, last].into(),
        port,
    };
    let at = Timestamp(i64::from(EVENTS) / 200 * SECOND);
    // The connection of the event in the middle, to host 0.
    let (client, server) = (end(200, 51_025), end(0, 135));
    correlator.heard([client, server], Opener::First, at);
    let record = Record {
        meta: Meta {
            timestamp: at,
            client: Some(client),
            server: Some(server),
            ..Meta::default()
        },
        dcom: Shared::new(Dcom {
            kind: Kind::Call,
            command_line: Some("cmd.exe /c whoami /all".to_owned()),
            outcome: Some(Outcome::Succeeded),
            ..Dcom::default()
        }),
        dcerpc: Shared::default(),
        recorded: true,
        encoding: None,
    };
    bencher.bench_local(|| {
        let mut record = record.clone();
        correlator.record(&mut record, &catalog);
        black_box(record.dcom.host.clone())
    });
}
