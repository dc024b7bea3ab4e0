//! How fast is it? `cargo bench --bench pipeline`; README.md beside this file says what is measured.

mod joining;
mod repeat;
mod sealed;

use std::path::PathBuf;
use std::sync::LazyLock;
use std::{env, fs, process};

use dcom_parsers::dcom::ActivationRequest;
use dcom_parsers::input::ByteOrder;
use dcom_parsers::ndr::{Encoding, Reader};
use dcom_parsers::oaut::InvokeRequest;
use dcom_parsers::rpce::{Body, CommonHeader, Pdu, Prefix, recognise};
use dcom_sensor::Sensor;
use dcom_sensor::capture::{At, CaptureFile, Input};
use dcom_sensor::catalog::Catalog;
use dcom_sensor::dcom::Calls;
use dcom_sensor::decode::{Decoded, Decoder};
use dcom_sensor::emit::{Emitters, Format};
use dcom_sensor::event::Event;
use dcom_sensor::flow::{Assembler, Bounds, Consumer, Flows, Output, Piece, StreamEvent};
use dcom_sensor::limits::Limits;
use divan::counter::{BytesCount, ItemsCount};
use divan::{Bencher, black_box};

/// Names the capture to read; without it one is built.
const CAPTURE: &str = "DCOM_BENCH_CAPTURE";

/// Where the built capture and the logs stand while this runs.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = env::temp_dir().join(format!("dcom-sensor-bench-{}", process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder");
    folder
});

static LARGE: LazyLock<Input> = LazyLock::new(|| {
    let path = env::var_os(CAPTURE).map_or_else(
        || {
            let path = FOLDER.join("built.pcap");
            repeat::write(&path).expect("the built capture");
            path
        },
        PathBuf::from,
    );
    Input::File(path)
});

fn main() {
    divan::main();
    // What is left over is in a folder of temporary files.
    let _ = fs::remove_dir_all(&*FOLDER);
}

/// Reads the large capture through the whole pipeline.
fn replay(mut take: impl FnMut(&mut Vec<Event>)) -> Sensor {
    let mut sensor = Sensor::new(Catalog::built_in(), Limits::default(), Calls::default());
    let mut capture = CaptureFile::open(&LARGE).expect("a capture");
    let mut events = Vec::new();
    while let Some(frame) = capture.next_frame().expect("a whole capture") {
        sensor.push(&frame, &mut events);
        if !events.is_empty() {
            take(&mut events);
        }
    }
    sensor.finish(&mut events);
    take(&mut events);
    sensor
}

fn large_size() -> BytesCount {
    let mut capture = CaptureFile::open(&LARGE).expect("a capture");
    while capture.next_frame().expect("a whole capture").is_some() {}
    BytesCount::new(capture.bytes_read())
}

/// File to events.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn pipeline_to_events(bencher: Bencher<'_, '_>) {
    bencher
        .counter(large_size())
        .bench_local(|| replay(|events| black_box(events).clear()));
}

/// File to eve.json and Zeek's logs.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn pipeline_to_logs(bencher: Bencher<'_, '_>) {
    bencher.counter(large_size()).bench_local(|| {
        let folder = FOLDER.join("logs");
        let mut logs = Emitters::create(&folder, &[Format::Eve, Format::Zeek]).expect("a folder for logs");
        let sensor = replay(|events| {
            let written = events.drain(..).try_for_each(|event| logs.write(&event));
            written.expect("room for logs");
        });
        let (first, last) = sensor.span();
        logs.finish(first, last).expect("room for logs");
    });
}

/// So many bytes of one direction, in segments of the usual size.
const STREAM: usize = 16 << 20;
const SEGMENT: usize = 1460;

/// Segments in order.
#[divan::bench]
fn reassembly(bencher: Bencher<'_, '_>) {
    assemble(bencher, 1);
}

/// Every four segments the wrong way round.
#[divan::bench]
fn reassembly_out_of_order(bencher: Bencher<'_, '_>) {
    assemble(bencher, 4);
}

fn assemble(bencher: Bencher<'_, '_>, turned: usize) {
    let stream = vec![0x5a; STREAM];
    let numbered: Vec<(u32, &[u8])> = (0..).step_by(SEGMENT).zip(stream.chunks(SEGMENT)).collect();
    let segments: Vec<_> = numbered.chunks(turned).flat_map(|some| some.iter().rev()).collect();
    bencher.counter(BytesCount::new(STREAM)).bench_local(|| {
        let (mut assembler, mut bounds) = (Assembler::new(0), Bounds::default());
        let mut total = 0;
        for &&(sequence, payload) in &segments {
            let take = |piece: Piece<'_>| {
                if let Piece::Data(_, bytes) = black_box(piece) {
                    total += bytes.len();
                }
            };
            assembler.push(At::default(), sequence, payload, &mut bounds, take);
        }
        assert_eq!(total, STREAM);
    });
}

/// Every PDU of the sample captures.
#[divan::bench]
fn pdus(bencher: Bencher<'_, '_>) {
    let pdus = sample_pdus();
    bencher.counter(ItemsCount::new(pdus.len())).bench_local(|| {
        for pdu in &pdus {
            let _ = black_box(Pdu::parse(black_box(pdu)));
        }
    });
}

/// One `RemoteCreateInstance` request.
#[divan::bench]
fn activation_request(bencher: Bencher<'_, '_>) {
    let pdus = sample_pdus();
    let (stub, order) = pdus
        .iter()
        .filter_map(|bytes| {
            let pdu = Pdu::parse(bytes).ok()?;
            match pdu.body {
                Body::Request(request) if pdu.header.flags.bits() & 3 == 3 => Some((request.stub, pdu.header.order)),
                _ => None,
            }
        })
        .find(|&(stub, order)| create_instance(stub, order).is_some())
        .expect("a readable activation among the samples");
    bencher
        .counter(BytesCount::new(stub.len()))
        .bench_local(|| create_instance(black_box(stub), order));
}

fn create_instance(stub: &[u8], order: ByteOrder) -> Option<ActivationRequest> {
    ActivationRequest::parse_create_instance(&mut Reader::new(stub, order, Encoding::Ndr20, "request")).ok()
}

/// The PDUs of the sample captures; of a stream, those before the first damage.
fn sample_pdus() -> Vec<Vec<u8>> {
    repeat::inputs()
        .iter()
        .flat_map(streams)
        .flat_map(|stream| cut(&stream))
        .collect()
}

fn cut(mut stream: &[u8]) -> Vec<Vec<u8>> {
    let mut pdus = Vec::new();
    while let Prefix::Header(CommonHeader { frag_length, .. }) = recognise(stream)
        && let Some((pdu, rest)) = stream.split_at_checked(frag_length.into())
    {
        pdus.push(pdu.to_vec());
        stream = rest;
    }
    pdus
}

/// What the client sent, and the server.
#[derive(Default)]
struct Both([Vec<u8>; 2]);

impl Consumer for Both {}

/// Both directions of every RPC connection.
fn streams(input: &Input) -> Vec<Vec<u8>> {
    let mut capture = CaptureFile::open(input).expect("a sample capture");
    let (mut decoder, mut flows) = (Decoder::default(), Flows::<Both>::new(Limits::default()));
    let mut streams = Vec::new();
    let mut hear = |output: Output<'_, Both>| match output {
        Output::Stream(_, kept, StreamEvent::Data { side, bytes, .. }) => {
            kept.0[usize::from(side == dcom_sensor::flow::Side::Server)].extend_from_slice(bytes);
        }
        Output::Stream(_, kept, StreamEvent::Closed) => streams.extend(std::mem::take(&mut kept.0)),
        Output::Stream(..)
        | Output::Heard { .. }
        | Output::Due(..)
        | Output::Odd(..)
        | Output::Unanswered(..)
        | Output::Ended(..) => {}
    };
    while let Some(frame) = capture.next_frame().expect("a whole sample capture") {
        if let Some(Decoded::Segment(segment)) = decoder.push(&frame) {
            flows.push(&segment, &mut hear);
        }
    }
    flows.finish(&mut hear);
    streams
}

/// One `Invoke` whose only argument is a string of 10 kB, as an encoded PowerShell command is.
#[divan::bench]
fn invoke_10_kb(bencher: Bencher<'_, '_>) {
    let short = include_bytes!("../parsers/corpus/oaut/invoke-execute-shell-command-request.bin");
    let stub = with_long_argument(short, 5_000);
    let read = |stub: &[u8]| {
        let mut reader = Reader::new(stub, ByteOrder::Little, Encoding::Ndr20, "request");
        InvokeRequest::parse(&mut reader).map(|request| request.arguments.len())
    };
    assert_eq!(read(&stub), Ok(4));
    bencher
        .counter(BytesCount::new(stub.len()))
        .bench_local(|| read(black_box(&stub)));
}

/// The sample with its second argument, at offset 160, replaced by `characters` letters.
fn with_long_argument(sample: &[u8], characters: u32) -> Vec<u8> {
    let mut stub = sample[..160].to_vec();
    for count in [characters, characters * 2, characters] {
        stub.extend(count.to_le_bytes());
    }
    stub.extend((0..characters).flat_map(|_| [b'A', 0]));
    stub.resize(stub.len().next_multiple_of(8), 0);
    stub.extend(&sample[200..]);
    stub
}

/// Bytes of sealed stubs that are opened in one go.
const SEALED: usize = 64 << 20;

/// Frames of sealed requests to events: opened, their signatures checked, on one core.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn sealed_stubs(bencher: Bencher<'_, '_>) {
    let sealed = sealed::Requests::new(&FOLDER, SEALED);
    bencher
        .counter(BytesCount::new(sealed.stubs))
        .bench_local(|| sealed.open());
}

/// The same frames without keys: what of that time is not the keys'.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn sealed_stubs_without_keys(bencher: Bencher<'_, '_>) {
    let sealed = sealed::Requests::new(&FOLDER, SEALED);
    bencher
        .counter(BytesCount::new(sealed.stubs))
        .bench_local(|| sealed.pass());
}
