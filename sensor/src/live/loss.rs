//! What was lost, and whether that makes verdicts doubtful.

use std::fmt::Write;
use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
#[cfg(target_os = "linux")]
use std::time::Instant;

#[cfg(target_os = "linux")]
use super::metrics::Page;
use crate::capture::live::Kernel;
use crate::detect;
use crate::event::record::Interval;
use crate::event::stats::Counters;
use crate::event::{Body, Event, Meta, Stats};
use crate::outputs::Outputs;
use crate::statistics::Tally;
use crate::time::Timestamp;

/// From so many lost of a thousand on, an alert says so.
const DOUBTFUL: u64 = 10;

/// Counters, and what they were the last time.
pub(super) struct Losses {
    kernels: Vec<(Arc<str>, Arc<Kernel>)>,
    /// What the counters of each ring and of each worker are called.
    names: Names,
    /// Frames that were lost, and that came, by the last record.
    before: (u64, u64),
    /// When the sensor began.
    began: Timestamp,
    /// What the last record said, and when; before it, when the sensor began.
    told: (Counters, Timestamp),
    /// What each worker had counted by then.
    told_of_workers: Vec<Counters>,
    last: Counts,
    /// Does nobody look at frames any more?
    over: bool,
    #[cfg(target_os = "linux")]
    page: Arc<Mutex<Page>>,
}

/// What the kernel says of one ring, in the order of [`OF_A_RING`].
struct Delivered([u64; OF_A_RING.len()]);

impl Delivered {
    fn of(kernel: &Kernel) -> Self {
        // Its thread may go on counting meanwhile: what was dropped was received.
        let dropped = kernel.dropped.load(Ordering::Acquire);
        let received = kernel.received.load(Ordering::Acquire);
        Self([received, dropped, kernel.interface_dropped.load(Ordering::Relaxed)])
    }
}

#[derive(Clone, Copy, Default)]
struct Counts {
    received: u64,
    dropped: u64,
    interface_dropped: u64,
    seen: u64,
    missing: u64,
}

/// The counters of each worker that tell what it had to do and what of that was lost: names are Suricata's where it has them.
/// Those that share a parent stand together.
const OF_A_WORKER: [&str; 13] = [
    "decoder.pkts",
    "decoder.bytes",
    "decoder.invalid",
    "flow.tcp",
    "tcp.reassembly_gap",
    "tcp.overlap",
    "dcom.flow.copies",
    "dcom.flow.evicted",
    "dcom.flow.over_limit",
    "dcom.flow.bytes_missing",
    "dcom.flow.acks",
    "dcom.flow.acks_of_unseen",
    "dcom.rpc.malformed",
];

/// What is counted of each ring.
const OF_A_RING: [&str; 3] = [
    "capture.kernel_packets",
    "capture.kernel_drops",
    "capture.kernel_ifdrops",
];

/// What is counted of each output, under `dcom.outputs`.
const OF_AN_OUTPUT: [&str; 4] = ["delivered", "dropped", "failures", "waiting_bytes"];

/// The names of counters under `threads`, where Suricata has those of each of its threads.
struct Names {
    rings: Vec<[&'static str; OF_A_RING.len()]>,
    workers: Vec<[&'static str; OF_A_WORKER.len()]>,
    outputs: Vec<[&'static str; OF_AN_OUTPUT.len()]>,
}

impl Names {
    /// They are made once and kept for as long as the program runs: as many as there are rings and workers.
    fn new(kernels: &[(Arc<str>, Arc<Kernel>)], workers: usize) -> Self {
        fn under<const N: usize>(thread: &str, names: [&str; N]) -> [&'static str; N] {
            names.map(|name| &*format!("threads.{thread}.{name}").leak())
        }
        Self {
            rings: (1..)
                .zip(kernels)
                // A dot would begin another object, and what else is replaced would end the name.
                .map(|(number, (name, _))| {
                    (
                        number,
                        name.replace(|c: char| ".\"\\".contains(c) || c.is_control(), "_"),
                    )
                })
                .map(|(number, name)| under(&format!("RX#{number:02}-{name}"), OF_A_RING))
                .collect(),
            workers: (1..=workers)
                .map(|number| under(&format!("W#{number:02}"), OF_A_WORKER))
                .collect(),
            outputs: Vec::new(),
        }
    }

    /// Those of outputs, made when they are first told: there are no others later.
    fn outputs(&mut self, outputs: &Outputs) {
        if self.outputs.is_empty() {
            let of = |key: &str| OF_AN_OUTPUT.map(|name| &*format!("dcom.outputs.{key}.{name}").leak());
            self.outputs.extend(outputs.tell().map(|told| of(told.key)));
        }
    }
}

impl Losses {
    pub(super) fn new(kernels: Vec<(Arc<str>, Arc<Kernel>)>, workers: usize, now: Timestamp) -> Self {
        Self {
            names: Names::new(&kernels, workers),
            told_of_workers: vec![Counters::default(); workers],
            kernels,
            before: (0, 0),
            began: now,
            told: (Counters::default(), now),
            last: Counts::default(),
            over: false,
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
        outputs: &Outputs,
    ) -> Vec<Event> {
        let mut kernels: Vec<_> = self.kernels.iter().map(|(_, kernel)| Delivered::of(kernel)).collect();
        let sum = |of: fn(&Delivered) -> u64| kernels.iter().map(of).sum::<u64>();
        let mut counts = Counts {
            received: sum(|kernel| kernel.0[0]),
            dropped: sum(|kernel| kernel.0[1]),
            interface_dropped: sum(|kernel| kernel.0[2]),
            seen: tally.get("decoder.pkts"),
            missing: tally.get("dcom.flow.bytes_missing"),
        };
        if self.over {
            // What came and nobody will look at is lost as if the kernel had dropped it; of which ring is not known.
            let mut left = counts.received.saturating_sub(counts.dropped + counts.seen);
            counts.dropped += left;
            for Delivered([received, dropped, _]) in &mut kernels {
                let lost = received.saturating_sub(*dropped).min(left);
                *dropped += lost;
                left -= lost;
            }
        }
        let mut all: Vec<_> = OF_A_RING
            .into_iter()
            .zip([counts.received, counts.dropped, counts.interface_dropped])
            .collect();
        all.extend(tally.iter());
        // Frames say when the last one came. By the clock that stamps records: who reads them reckons back to the beginning.
        if let Some((_, uptime)) = all.iter_mut().find(|(name, _)| *name == "uptime") {
            *uptime = u64::try_from(now.since(self.began) / 1_000_000_000).unwrap_or_default();
        }
        all.push(("dcom.emit.unwritten", unwritten));
        let workers: Vec<&Tally> = workers.collect();
        self.publish(&all, &workers, outputs);
        self.names.outputs(outputs);
        for (names, told) in self.names.outputs.iter().zip(outputs.tell()) {
            all.extend(
                names
                    .iter()
                    .copied()
                    .zip([told.delivered, told.dropped, told.failures, told.waiting]),
            );
        }
        let of_workers: Vec<_> = workers
            .iter()
            .map(|worker| OF_A_WORKER.map(|name| worker.get(name)))
            .collect();
        for (names, kernel) in self.names.rings.iter().zip(&kernels) {
            all.extend(names.iter().copied().zip(kernel.0));
        }
        for (names, counted) in self.names.workers.iter().zip(&of_workers) {
            all.extend(names.iter().copied().zip(*counted));
        }
        let counters = Counters(all);
        let (before, since) = mem::replace(&mut self.told, (counters.clone(), now));
        let meta = Meta {
            timestamp: now,
            ..Meta::default()
        };
        // A clock that was set back has not gone backwards.
        let interval = Interval(now.since(since).max(0));
        let stats = |counters, before, worker| Event {
            meta: meta.clone(),
            body: Body::Stats(Box::new(Stats {
                counters,
                before,
                interval,
                worker,
            })),
        };
        let mut events = vec![stats(counters, before, None)];
        for ((number, counted), told) in (1..).zip(of_workers).zip(&mut self.told_of_workers) {
            let counters = Counters(OF_A_WORKER.into_iter().zip(counted).collect());
            let before = mem::replace(told, counters.clone());
            events.push(stats(counters, before, Some(number)));
        }
        let lost = counts.dropped + counts.interface_dropped;
        // What the kernel dropped it has received; what workers have looked at lags behind.
        let came = counts.received + counts.interface_dropped;
        let lost_now = lost.saturating_sub(self.before.0);
        // What was left in the end came earlier.
        let came_now = came.saturating_sub(self.before.1).max(lost_now);
        self.before = (lost, came);
        if lost_now > 0 && lost_now * 1_000 >= came_now * DOUBTFUL {
            let alert = detect::doubtful(lost_now, came_now);
            events.push(Event {
                meta,
                body: Body::Alert(Box::new(alert)),
            });
        }
        self.last = counts;
        events
    }

    /// The loop goes round.
    #[cfg(target_os = "linux")]
    pub(super) fn alive(&self) {
        // Whoever has it for a moment to answer from keeps nobody waiting.
        if let Ok(mut page) = self.page.try_lock() {
            page.alive = Some(Instant::now());
        }
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn alive(&self) {}

    /// Nobody looks at frames any more: what is told from now on is told for good.
    pub(super) fn end(&mut self) {
        self.over = true;
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
            "{seen} frames seen of {received} that came through the filter; dropped {dropped}, by interfaces {interface_dropped}; \
             {missing} bytes of RPC connections missing"
        )
    }

    #[cfg(target_os = "linux")]
    fn publish(&self, all: &[(&'static str, u64)], workers: &[&Tally], outputs: &Outputs) {
        let mut text = String::new();
        for (counter, count) in all {
            let name = metric(counter);
            head(&mut text, &name, "counter", &format!("{counter} of the stats record."));
            let _ = writeln!(text, "{name} {count}");
        }
        for wanted in OF_A_WORKER {
            let name = metric(wanted).replacen("dcom_sensor_", "dcom_sensor_worker_", 1);
            head(&mut text, &name, "counter", &format!("{wanted} of each worker."));
            for (number, worker) in (1..).zip(workers) {
                let _ = writeln!(text, "{name}{{worker=\"{number}\"}} {}", worker.get(wanted));
            }
        }
        // The last two are no counts, but what there is now.
        for (place, (name, kind, help)) in [
            ("delivered_total", "counter", "Lines that the output took."),
            (
                "dropped_total",
                "counter",
                "Lines that found no room, or that the output refused.",
            ),
            (
                "failures_total",
                "counter",
                "How often the output could not be reached or failed.",
            ),
            ("waiting_bytes", "gauge", "Bytes of lines that wait for the output."),
            ("up", "gauge", "1 while nothing is wrong with the output."),
        ]
        .into_iter()
        .enumerate()
        {
            if !outputs.is_empty() {
                head(&mut text, &format!("dcom_sensor_output_{name}"), kind, help);
            }
            for told in outputs.tell() {
                let count = [
                    told.delivered,
                    told.dropped,
                    told.failures,
                    told.waiting,
                    told.up.into(),
                ]
                .get(place)
                .copied();
                let _ = writeln!(
                    text,
                    "dcom_sensor_output_{name}{{output=\"{}\"}} {}",
                    label(told.key),
                    count.unwrap_or_default()
                );
            }
        }
        head(
            &mut text,
            "dcom_sensor_interface_up",
            "gauge",
            "1 while the interface is there and up.",
        );
        for rings in self.kernels.chunk_by(|(one, _), (other, _)| one == other) {
            let Some((interface, first)) = rings.first() else {
                continue;
            };
            let up = u8::from(!first.down.load(Ordering::Relaxed));
            let interface = label(interface);
            let _ = writeln!(text, "dcom_sensor_interface_up{{interface=\"{interface}\"}} {up}");
        }
        let ill = |(name, kernel): &(Arc<str>, Arc<Kernel>)| {
            let is = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
            let why = match (is(&kernel.down), is(&kernel.stuck)) {
                (true, _) => "is down",
                (false, true) => "is not read: its thread hangs",
                (false, false) => return None,
            };
            Some(format!("{name} {why}"))
        };
        if let Ok(mut page) = self.page.lock() {
            page.metrics = text;
            page.ill = self.kernels.iter().find_map(ill);
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn publish(&self, _: &[(&'static str, u64)], _: &[&Tally], _: &Outputs) {}
}

/// What stands before a metric's samples, in Prometheus' text format 0.0.4.
#[cfg(target_os = "linux")]
fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    // Writing to memory cannot fail.
    let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

/// A label's value, as Prometheus' text format 0.0.4 has it.
#[cfg(target_os = "linux")]
fn label(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(target_os = "linux")]
fn metric(name: &str) -> String {
    let name = name.strip_prefix("dcom.").unwrap_or(name);
    format!("dcom_sensor_{}_total", name.replace('.', "_"))
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::decode::DecodeCounters;
    use crate::emit::eve;
    use crate::statistics::Counted;

    fn losses() -> Losses {
        Losses::new(vec![("eth1".into(), Arc::default())], 1, Timestamp(5_000_000_000))
    }

    /// What is told so many seconds after the beginning, when so many frames were looked at.
    fn told(losses: &mut Losses, seconds: i64, seen: u64) -> Vec<Event> {
        let tally = Tally::of(&Counted {
            decode: DecodeCounters {
                frames: seen,
                ..DecodeCounters::default()
            },
            ..Counted::default()
        });
        let now = Timestamp((5 + seconds) * 1_000_000_000);
        losses.tell(now, &tally, [&tally].into_iter(), 0, &Outputs::none())
    }

    #[test]
    fn the_sensor_is_up_also_while_nothing_comes() {
        let mut losses = losses();
        for (seconds, uptime) in [(0, 0), (60, 60), (3_600, 3_600), (-2, 0)] {
            let events = told(&mut losses, seconds, 0);
            let Body::Stats(stats) = &events[0].body else {
                panic!("{events:?}")
            };
            assert!(stats.counters.0.contains(&("uptime", uptime)), "{stats:?}");
        }
        let page = losses.page.lock().unwrap();
        assert!(
            page.metrics.contains("\ndcom_sensor_uptime_total 0\n"),
            "{}",
            page.metrics
        );
    }

    #[test]
    fn what_was_lost_is_a_share_of_what_came() {
        let mut losses = losses();
        let kernel = Arc::clone(&losses.kernels[0].1);
        kernel.received.store(27_000, Ordering::Relaxed);
        kernel.dropped.store(20_429, Ordering::Relaxed);
        kernel.interface_dropped.store(1_000, Ordering::Relaxed);
        let alerts = |events: Vec<Event>| -> Vec<_> {
            let alert = |event| match event {
                Body::Alert(alert) => Some(alert.message.clone()),
                _ => None,
            };
            events.into_iter().filter_map(|event| alert(event.body)).collect()
        };
        // Workers are behind.
        let first = alerts(told(&mut losses, 60, 1_497));
        assert_eq!(first.len(), 1);
        assert!(
            first[0].starts_with("21429 of 28000 frames were lost (76.5 %)"),
            "{first:?}"
        );
        kernel.received.fetch_add(1_000, Ordering::Relaxed);
        kernel.dropped.fetch_add(9, Ordering::Relaxed);
        assert!(
            alerts(told(&mut losses, 120, 7_000)).is_empty(),
            "less than one in a hundred"
        );
        // Five were handed over that nobody looked at any more.
        losses.end();
        let last = alerts(told(&mut losses, 121, 28_000 - 20_438 - 5));
        assert!(last[0].starts_with("5 of 5 frames were lost"), "{last:?}");
        let all = "7557 frames seen of 28000 that came through the filter; dropped 20443, by interfaces 1000; ";
        assert!(losses.summary().starts_with(all), "{}", losses.summary());
    }

    #[test]
    fn an_interface_may_have_any_name() {
        assert_eq!(label("q\"b\\c\nd"), r#"q\"b\\c\nd"#);
        let kernels: Vec<(Arc<str>, _)> = vec![("q\"b\\.1".into(), Arc::default())];
        let mut losses = Losses::new(kernels, 1, Timestamp::default());
        let mut line = Vec::new();
        eve::line(&told(&mut losses, 60, 0)[0], &mut line);
        let told: serde_json::Value = serde_json::from_slice(&line).unwrap();
        assert!(told["stats"]["threads"]["RX#01-q_b__1"].is_object(), "{told}");
        losses.kernels[0].1.stuck.store(true, Ordering::Relaxed);
        self::told(&mut losses, 120, 0);
        let page = losses.page.lock().unwrap();
        assert!(
            page.metrics
                .contains(r#"dcom_sensor_interface_up{interface="q\"b\\.1"} 1"#)
        );
        assert_eq!(page.ill.as_deref(), Some("q\"b\\.1 is not read: its thread hangs"));
    }

    #[test]
    fn the_page_is_in_the_text_format_of_prometheus() {
        let mut losses = losses();
        told(&mut losses, 60, 1);
        let page = losses.page.lock().unwrap();
        assert!(page.metrics.ends_with('\n'));
        let mut heads = BTreeSet::new();
        let mut lines = page.metrics.lines().peekable();
        while let Some(line) = lines.next() {
            let (name, help) = line.strip_prefix("# HELP ").unwrap().split_once(' ').unwrap();
            assert!(!help.is_empty() && !help.contains('\\'), "{line}");
            let word = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(name.starts_with("dcom_sensor_") && name.chars().all(word), "{line}");
            assert!(heads.insert(name), "{name} stands in one place");
            let kind = lines.next().unwrap().strip_prefix("# TYPE ").unwrap();
            let kind = kind.strip_prefix(name).unwrap();
            assert_eq!(kind, if name.ends_with("_total") { " counter" } else { " gauge" });
            let mut samples = BTreeSet::new();
            while let Some(sample) = lines.next_if(|line| !line.starts_with('#')) {
                let (sample, count) = sample.rsplit_once(' ').unwrap();
                assert!(count.parse::<u64>().is_ok(), "{sample}");
                assert!(samples.insert(sample), "{sample} is there once");
                let labels = sample.strip_prefix(name).unwrap();
                assert!(
                    labels.is_empty() || labels.starts_with('{') && labels.ends_with("\"}"),
                    "{sample}"
                );
            }
            assert!(!samples.is_empty(), "{name}");
        }
        assert!(heads.contains("dcom_sensor_worker_decoder_pkts_total") && heads.contains("dcom_sensor_interface_up"));
    }

    #[test]
    fn metrics_that_the_operating_guide_names_are_there() {
        let tally = Tally::of(&Counted::default());
        let counted = tally.iter().map(|(name, _)| name).chain(OF_A_RING);
        let known: BTreeSet<String> = counted.chain(["dcom.emit.unwritten"]).map(metric).collect();
        let guide = include_str!("../../../docs/OPERATING.md");
        let named = guide.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let named: Vec<_> = named
            .filter(|word| word.starts_with("dcom_sensor_") && word.ends_with("_total"))
            .collect();
        assert!(named.len() > 10);
        for name in named {
            assert!(known.contains(name), "{name}");
        }
    }
}
