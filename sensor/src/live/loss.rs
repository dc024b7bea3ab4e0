//! What was lost, and whether that makes verdicts doubtful.

use std::fmt::Write;
use std::mem;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

#[cfg(target_os = "linux")]
use super::metrics::Page;
use crate::capture::live::Kernel;
use crate::detect;
use crate::event::record::Interval;
use crate::event::stats::Counters;
use crate::event::{Body, Event, Meta, Stats};
use crate::statistics::Tally;
use crate::time::Timestamp;

/// From so many lost of a thousand on, an alert says so.
const DOUBTFUL: u64 = 10;

/// Counters, and what they were the last time.
pub(super) struct Losses {
    kernels: Vec<(Arc<str>, Arc<Kernel>)>,
    before: (u64, u64),
    /// What the last record said, and when; before it, when the sensor began.
    told: (Counters, Timestamp),
    last: Counts,
    #[cfg(target_os = "linux")]
    page: Arc<Mutex<Page>>,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    received: u64,
    dropped: u64,
    interface_dropped: u64,
    seen: u64,
    missing: u64,
}

/// The counters of each worker that tell whether it keeps up: names are Suricata's where it has them.
const OF_A_WORKER: [&str; 8] = [
    "decoder.pkts",
    "decoder.bytes",
    "decoder.invalid",
    "tcp.reassembly_gap",
    "tcp.overlap",
    "dcom.flow.evicted",
    "dcom.flow.over_limit",
    "dcom.rpc.malformed",
];

impl Losses {
    pub(super) fn new(kernels: Vec<(Arc<str>, Arc<Kernel>)>, now: Timestamp) -> Self {
        Self {
            kernels,
            before: (0, 0),
            told: (Counters::default(), now),
            last: Counts::default(),
            #[cfg(target_os = "linux")]
            page: Arc::default(),
        }
    }

    #[cfg(target_os = "linux")]
    pub(super) fn page(&self) -> Arc<Mutex<Page>> {
        Arc::clone(&self.page)
    }

    /// The counters of this moment as events, with a warning when too much was lost since the last time.
    pub(super) fn tell<'t>(
        &mut self,
        now: Timestamp,
        tally: &Tally,
        workers: impl Iterator<Item = &'t Tally>,
        unwritten: u64,
    ) -> Vec<Event> {
        let sum = |of: fn(&Kernel) -> u64| self.kernels.iter().map(|(_, kernel)| of(kernel)).sum::<u64>();
        let counts = Counts {
            received: sum(|kernel| kernel.received.load(Ordering::Relaxed)),
            dropped: sum(|kernel| kernel.dropped.load(Ordering::Relaxed)),
            interface_dropped: sum(|kernel| kernel.interface_dropped.load(Ordering::Relaxed)),
            seen: tally.get("decoder.pkts"),
            missing: tally.get("dcom.flow.bytes_missing"),
        };
        let mut all = vec![
            ("capture.kernel_packets", counts.received),
            ("capture.kernel_drops", counts.dropped),
            ("capture.kernel_ifdrops", counts.interface_dropped),
        ];
        all.extend(tally.iter());
        all.push(("dcom.emit.unwritten", unwritten));
        let workers: Vec<&Tally> = workers.collect();
        self.publish(&all, &workers);
        let counters = Counters(all);
        let (before, since) = mem::replace(&mut self.told, (counters.clone(), now));
        let meta = Meta {
            timestamp: now,
            ..Meta::default()
        };
        let mut events = vec![Event {
            meta: meta.clone(),
            body: Body::Stats(Box::new(Stats {
                counters,
                before,
                interval: Interval(now.since(since)),
            })),
        }];
        let lost = counts.dropped + counts.interface_dropped;
        let (lost_now, seen_now) = (
            lost.saturating_sub(self.before.0),
            counts.seen.saturating_sub(self.before.1),
        );
        self.before = (lost, counts.seen);
        if lost_now * 1_000 > (seen_now + lost_now) * DOUBTFUL {
            let alert = detect::doubtful(lost_now, seen_now + lost_now);
            events.push(Event {
                meta,
                body: Body::Alert(Box::new(alert)),
            });
        }
        self.last = counts;
        events
    }

    /// One line at the end.
    pub(super) fn summary(&self) -> String {
        let Counts {
            received,
            dropped,
            interface_dropped,
            seen,
            missing,
        } = self.last;
        format!(
            "{seen} frames seen of {received} that the kernel delivered; it dropped {dropped}, interfaces {interface_dropped}; \
             {missing} bytes of RPC connections missing"
        )
    }

    #[cfg(target_os = "linux")]
    fn publish(&self, all: &[(&'static str, u64)], workers: &[&Tally]) {
        let mut text = String::new();
        // Writing to memory cannot fail.
        for (name, count) in all {
            let name = metric(name);
            let _ = writeln!(text, "# TYPE {name} counter\n{name} {count}");
        }
        for wanted in OF_A_WORKER {
            let name = metric(wanted).replacen("dcom_sensor_", "dcom_sensor_worker_", 1);
            let _ = writeln!(text, "# TYPE {name} counter");
            for (number, worker) in workers.iter().enumerate() {
                let _ = writeln!(text, "{name}{{worker=\"{number}\"}} {}", worker.get(wanted));
            }
        }
        for (interface, kernel) in &self.kernels {
            let up = u8::from(!kernel.down.load(Ordering::Relaxed));
            let _ = writeln!(text, "dcom_sensor_interface_up{{interface=\"{interface}\"}} {up}");
        }
        let down = self
            .kernels
            .iter()
            .find(|(_, kernel)| kernel.down.load(Ordering::Relaxed));
        if let Ok(mut page) = self.page.lock() {
            page.metrics = text;
            page.ill = down.map(|(name, _)| format!("{name} is down"));
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn publish(&self, _: &[(&'static str, u64)], _: &[&Tally]) {}
}

#[cfg(target_os = "linux")]
fn metric(name: &str) -> String {
    let name = name.strip_prefix("dcom.").unwrap_or(name);
    format!("dcom_sensor_{}_total", name.replace('.', "_"))
}
