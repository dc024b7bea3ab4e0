//! Listens for a while, by the pipeline of `live`: what is measured is what `live` would meet.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::capture::live::{self, Heard, Kernel, Ring};
use crate::capture::{Batch, Next};
use crate::emit::eve;
use crate::event::{Body, Event};
use crate::live::PATIENCE;
use crate::statistics::Tally;
use crate::time::Timestamp;
use crate::workers::Crew;

use super::check::Check;

/// The busiest time is looked for in steps of so many nanoseconds: a tenth of a second.
const STEP: i64 = 100_000_000;
/// What the ring needs for a frame beside its bytes: headers of `packet_mmap`, address and alignment.
const BESIDE: u64 = 96;
/// A ring that holds less than this at the busiest time is short: so long may a machine do something else.
const SHORT: u64 = 100;
/// Milliseconds for which a ring is good.
const GOOD: u64 = 500;
/// A frame's time may be so far from that of its arrival.
const APART: i64 = 5_000_000_000;
/// So many of a thousand frames dropped make verdicts doubtful, as in `live`.
const DOUBTFUL: u64 = 10;

/// What came off one interface.
pub(super) struct Line {
    pub(super) name: Arc<str>,
    /// What the kernel counts of each ring.
    kernels: Vec<Arc<Kernel>>,
    frames: u64,
    pub(super) longest: u32,
    /// The farthest that a frame's time was from that of its arrival.
    apart: i64,
    step: i64,
    in_step: u64,
    /// Bytes of the ring that the busiest step needed.
    busiest: u64,
    down: bool,
}

/// What came.
pub(super) struct Sample {
    pub(super) lines: Vec<Line>,
    pub(super) tally: Tally,
    pub(super) lasted: Duration,
    pub(super) alerts: u64,
    /// How much was to be written to eve.json.
    pub(super) logged: u64,
}

impl Line {
    fn of(rings: &[Ring]) -> Option<Self> {
        let name = Arc::clone(&rings.first()?.name);
        Some(Self::new(
            name,
            rings.iter().map(|ring| Arc::clone(&ring.kernel)).collect(),
        ))
    }

    fn new(name: Arc<str>, kernels: Vec<Arc<Kernel>>) -> Self {
        Self {
            name,
            kernels,
            frames: 0,
            longest: 0,
            apart: 0,
            step: 0,
            in_step: 0,
            busiest: 0,
            down: false,
        }
    }

    fn take(&mut self, time: Timestamp, length: u32, captured: u64, arrived: Timestamp) {
        self.frames += 1;
        self.longest = self.longest.max(length);
        let apart = arrived.since(time);
        if apart.abs() > self.apart.abs() {
            self.apart = apart;
        }
        let step = time.0.div_euclid(STEP);
        if step != self.step {
            self.step = step;
            self.in_step = 0;
        }
        self.in_step += captured + BESIDE;
        self.busiest = self.busiest.max(self.in_step);
    }

    fn sum(&self, of: fn(&Kernel) -> &AtomicU64) -> u64 {
        self.kernels
            .iter()
            .map(|kernel| of(kernel).load(Ordering::Relaxed))
            .sum()
    }

    /// Frames that were lost in the ring, or before it.
    pub(super) fn dropped(&self) -> u64 {
        self.sum(|kernel| &kernel.dropped) + self.sum(|kernel| &kernel.interface_dropped)
    }

    /// Did the ring hold what came, and what would it hold?
    pub(super) fn ring(&self, mebibytes: u16) -> Check {
        const NAME: &str = "ring";
        let (received, dropped) = (self.sum(|kernel| &kernel.received), self.sum(|kernel| &kernel.dropped));
        let rings = u64::try_from(self.kernels.len()).unwrap_or(u64::MAX).max(1);
        // Bytes in a tenth of a second are a hundredth of that in a millisecond.
        let holds = rings * (u64::from(mebibytes) << 20) * 100 / self.busiest.max(1);
        let enough = (self.busiest * GOOD / 100 / rings)
            .div_ceil(1 << 20)
            .next_power_of_two();
        // What was dropped is not in what came.
        let wanted = enough.max(2 * u64::from(mebibytes)).clamp(64, 2_047);
        let counts = [
            ("received", received),
            ("dropped", dropped),
            ("rings", rings),
            ("ring_mebibytes", mebibytes.into()),
            ("holds_milliseconds", holds),
        ];
        let mut says = format!("the kernel dropped {dropped} of {received} frames");
        if self.busiest > 0 {
            let _ = match rings {
                1 => write!(says, "; a ring of {mebibytes} MiB holds "),
                _ => write!(says, "; {rings} rings of {mebibytes} MiB hold "),
            };
            let _ = match holds {
                60_000.. => write!(says, "more than a minute of what came"),
                _ => write!(says, "{holds} ms of the busiest tenth of a second"),
            };
        }
        let what_to_do = format!(
            "--ring-size {wanted}; narrow --bpf by network; more cores (--workers): docs/OPERATING.md says what a core takes"
        );
        let check = if dropped * 1_000 > received * DOUBTFUL {
            Check::bad(NAME, says, what_to_do)
        } else if dropped > 0 || holds < SHORT {
            Check::warn(NAME, says, what_to_do)
        } else {
            Check::ok(NAME, says)
        };
        check.of(&self.name).measured(counts)
    }

    /// What the interface lost before the kernel had it. `lost`: what the card counts of it.
    pub(super) fn interface_drops(&self, lost: u64) -> Check {
        const NAME: &str = "interface_drops";
        let dropped = self.sum(|kernel| &kernel.interface_dropped);
        let counts = [("dropped", dropped), ("lost_in_card", lost)];
        let check = if dropped + lost == 0 {
            Check::ok(NAME, "none")
        } else {
            let what_to_do = format!(
                "`ethtool -S {0}` says where; a longer ring of the card: `ethtool -g {0}`, `ethtool -G {0} rx …`; damaged frames are \
                 the cable's or the optic's",
                self.name
            );
            Check::warn(
                NAME,
                format!("the interface or its driver dropped {dropped} frames, the card lost {lost}"),
                what_to_do,
            )
        };
        check.of(&self.name).measured(counts)
    }

    /// Do its times fit?
    pub(super) fn times(&self) -> Option<Check> {
        const NAME: &str = "time_stamps";
        let milliseconds = self.apart / 1_000_000;
        let check = if self.apart.abs() > APART {
            let what_to_do =
                "the card stamps frames by a clock of its own: set that (phc2sys, ptp4l), or the machine's";
            let says = format!(
                "frames are stamped up to {} ms away from the machine's clock",
                milliseconds.abs()
            );
            Check::bad(NAME, says, what_to_do)
        } else {
            Check::ok(NAME, "times of frames fit the machine's clock")
        };
        (self.frames > 0).then(|| {
            check
                .of(&self.name)
                .measured([("milliseconds_apart", milliseconds.unsigned_abs())])
        })
    }

    pub(super) fn went_down(&self) -> Option<Check> {
        self.down.then(|| {
            Check::bad(
                "link",
                "it went down while it was listened to",
                "look at the cable and at the port at its other end",
            )
            .of(&self.name)
        })
    }
}

/// Listens for so long, or until it is interrupted. `meanwhile` is called once, when everything listens.
pub(super) fn listen(
    interfaces: Vec<Vec<Ring>>,
    mut crew: Crew,
    lasts: Duration,
    interrupted: &AtomicBool,
    meanwhile: impl FnOnce(),
) -> Sample {
    let mut lines: Vec<Line> = interfaces.iter().filter_map(|rings| Line::of(rings)).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let (mut ears, threads) = live::start(interfaces, &crew.spare(), &stop);
    meanwhile();
    let began = Instant::now();
    let mut told = Told::default();
    let mut events = Vec::new();
    let mut take = |next: Heard, crew: &mut Crew, events: &mut Vec<Event>| match next {
        Heard::Frames(_, batch) => {
            count(&batch, &mut lines);
            crew.push(batch, events);
        }
        Heard::Down(name, _) => lines
            .iter_mut()
            .filter(|line| line.name == name)
            .for_each(|line| line.down = true),
        Heard::Up(_) => {}
    };
    while began.elapsed() < lasts && !interrupted.load(Ordering::Relaxed) {
        match ears.next(PATIENCE) {
            Next::Heard(next) => take(next, &mut crew, &mut events),
            Next::Nothing => crew.idle(ears.time(Timestamp::now()), &mut events),
            Next::Ended => break,
        }
        told.take(&mut events);
    }
    let lasted = began.elapsed();
    stop.store(true, Ordering::Relaxed);
    let until = Instant::now() + Duration::from_secs(1);
    while let Next::Heard(more) = ears.next(until.saturating_duration_since(Instant::now())) {
        take(more, &mut crew, &mut events);
        told.take(&mut events);
    }
    drop(ears);
    crew.finish(&mut events, &mut |_, _| true);
    crew.count(&mut events);
    told.take(&mut events);
    for thread in threads {
        if thread.is_finished() {
            let _ = thread.join();
        }
    }
    Sample {
        lines,
        tally: crew.tally(),
        lasted,
        alerts: told.alerts,
        logged: told.logged,
    }
}

fn count(batch: &Batch, lines: &mut [Line]) {
    let arrived = Timestamp::now();
    for slot in &batch.frames {
        if let Some(line) = lines.get_mut(slot.at.input as usize) {
            let captured = u64::try_from(slot.range.len()).unwrap_or(u64::MAX);
            line.take(slot.at.time, slot.original_length, captured, arrived);
        }
    }
}

/// What was told, in numbers.
#[derive(Default)]
pub(super) struct Told {
    pub(super) alerts: u64,
    pub(super) logged: u64,
    line: Vec<u8>,
}

impl Told {
    /// Counts the events, and leaves none.
    pub(super) fn take(&mut self, events: &mut Vec<Event>) {
        for event in events.drain(..) {
            self.alerts += u64::from(matches!(event.body, Body::Alert(_)));
            self.line.clear();
            eve::line(&event, &mut self.line);
            self.logged += u64::try_from(self.line.len()).unwrap_or(u64::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::check::Verdict;
    use super::*;

    fn line() -> Line {
        Line::new("eth1".into(), vec![Arc::default()])
    }

    #[test]
    fn a_ring_is_measured_by_the_busiest_tenth_of_a_second() {
        let mut line = line();
        let mut at = |tenth: i64, frames: u64| {
            for number in 0..frames {
                let time = Timestamp(tenth * STEP + i64::try_from(number).unwrap());
                line.take(time, 1_500, 1_500, time);
            }
        };
        at(1, 10);
        at(2, 50_000);
        at(3, 10);
        assert_eq!(line.busiest, 50_000 * (1_500 + BESIDE));
        // 800 MB in a second: 64 MiB are 84 ms of that, half a second needs 400 MB.
        let check = line.ring(64);
        assert_eq!((check.verdict, line.longest), (Verdict::Warn, 1_500));
        assert!(check.says.contains("holds 84 ms"), "{}", check.says);
        assert_eq!(line.ring(512).verdict, Verdict::Ok);
        line.kernels.push(Arc::default());
        assert!(
            line.ring(64).says.contains("2 rings of 64 MiB hold 168 ms"),
            "{}",
            line.ring(64).says
        );
        line.kernels[0].received.store(1_000, Ordering::Relaxed);
        line.kernels[0].dropped.store(11, Ordering::Relaxed);
        assert_eq!(line.ring(512).verdict, Verdict::Bad);
    }

    #[test]
    fn nothing_drops_out_of_a_ring_that_nothing_came_to() {
        assert_eq!(line().ring(64).verdict, Verdict::Ok);
        assert!(line().times().is_none());
    }

    #[test]
    fn a_clock_of_the_cards_own_is_told() {
        let mut line = line();
        line.take(Timestamp(0), 60, 60, Timestamp(37 * 1_000_000_000));
        let check = line.times().unwrap();
        assert_eq!(check.verdict, Verdict::Bad);
        assert!(check.says.contains("37000 ms"), "{}", check.says);
    }
}
