//! Traffic that was shuffled, damaged, cut and repeated, without end: memory stays flat, nothing panics, counters add up.
//!
//! Five seconds of it; `DCOM_SOAK=1800` makes it half an hour.

use std::time::{Duration, Instant};

use dcom_sensor::Sensor;
use dcom_sensor::capture::Frame;
use dcom_sensor::catalog::Catalog;
use dcom_sensor::dcom::Calls;
use dcom_sensor::event::Body;
use dcom_sensor::limits::Limits;
use dcom_sensor::time::Timestamp;

use crate::program::{all_pcaps, memory};
use crate::traffic::{frame, frames};

/// A generator of numbers that look random and are the same each time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 11).expect("53 bits") % limit.max(1)
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }
}

fn resident() -> u64 {
    memory(std::process::id(), "VmRSS")
}

#[test]
fn hostile_traffic_without_end_leaves_memory_flat_and_counters_that_add_up() {
    let seconds =
        std::env::var("DCOM_SOAK").map_or(5, |seconds| seconds.parse().expect("DCOM_SOAK is a number of seconds"));
    let samples: Vec<_> = all_pcaps().iter().map(|name| frames(name)).collect();
    let mut numbers = Numbers(0x000D_C035_5EED);
    let mut sensor = Sensor::new(Catalog::built_in(), Limits::default(), Calls::All);
    let (mut events, mut pushed, mut bytes_pushed) = (Vec::new(), 0_u64, 0_u64);
    let mut time = 1_600_000_000_000_000_000_i64;
    let (start, length) = (Instant::now(), Duration::from_secs(seconds));
    let (mut settled, mut most) = (0, 0);
    while start.elapsed() < length {
        let sample = &samples[numbers.below(samples.len())];
        // Other hosts each time, or the same ones as before.
        let host = u8::try_from(numbers.below(256)).expect("a byte");
        let mut packets: Vec<_> = sample.clone();
        for _ in 0..numbers.below(4) {
            let (a, b) = (numbers.below(packets.len()), numbers.below(packets.len()));
            packets.swap(a, b);
        }
        for (link_type, mut bytes, _) in packets {
            for at in 0..bytes.len().saturating_sub(4).min(60) {
                if bytes[at..at + 3] == [192, 0, 2] {
                    bytes[at + 2] = host;
                }
            }
            if numbers.one_in(20) && !bytes.is_empty() {
                let at = numbers.below(bytes.len());
                bytes[at] ^= 1 << numbers.below(8);
            }
            let original = u32::try_from(bytes.len()).expect("frames are short");
            if numbers.one_in(30) {
                bytes.truncate(numbers.below(bytes.len() + 1));
            }
            for _ in 0..=usize::from(numbers.one_in(25)) {
                if numbers.one_in(40) {
                    continue; // lost
                }
                pushed += 1;
                bytes_pushed += bytes.len() as u64;
                time += i64::try_from(numbers.below(2_000_000)).expect("a moment");
                let frame = Frame {
                    original_length: original,
                    ..frame(link_type, &bytes, pushed, Timestamp(time))
                };
                sensor.push(&frame, &mut events);
            }
        }
        events.clear();
        // The first half fills the tables; from then on nothing more may come.
        let resident = if numbers.one_in(64) { resident() } else { continue };
        if start.elapsed() < length / 2 {
            settled = settled.max(resident);
        } else {
            most = most.max(resident);
        }
    }
    assert!(
        most < settled + settled / 4 + (16 << 20),
        "{settled} bytes in the first half, {most} in the second"
    );
    assert!(sensor.take_failures().is_empty(), "a stage has panicked");
    sensor.finish(&mut events);
    let Some(Body::Stats(stats)) = events.pop().map(|event| event.body) else {
        panic!("a run ends with its counters");
    };
    let counter = |wanted: &str| {
        let found = stats.counters.0.iter().find(|(name, _)| *name == wanted);
        found.unwrap_or_else(|| panic!("there is no counter {wanted}")).1
    };
    assert_eq!(
        (counter("decoder.pkts"), counter("decoder.bytes")),
        (pushed, bytes_pushed)
    );
    assert_eq!(counter("dcom.faults"), 0);
}
