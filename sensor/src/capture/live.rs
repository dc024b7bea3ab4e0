//! Frames off an interface, through libpcap's ring in the kernel.
//!
//! One thread for each ring copies frames into batches and does nothing else, so that the ring is emptied as fast as memory
//! allows. Where one thread cannot keep up, the kernel deals an interface's frames to several rings by their outer addresses.
//! Who looks at a frame is decided behind this, by the innermost ones.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pcap::{Active, Capture, Error, Precision};

use super::{At, Batch, LinkType, Slot, Spare};
use crate::time::Timestamp;

/// What can never be RPC, nor hold a tunnel that carries it. Everything else comes through: RPC is told by content, on any
/// port, and a tunnel has one of many protocols.
const NEVER: &str =
    "not (arp or rarp or icmp or icmp6 or igmp or ether proto 0x88cc or ether proto 0x8809 or ether proto 0x888e)";
/// The same for interfaces without a link layer.
const NEVER_RAW: &str = "not (icmp or icmp6 or igmp)";
/// Milliseconds that the kernel may gather frames before it hands them over.
const GATHER: i32 = 10;
/// Bytes of a batch, at most, but for its last frame.
const BATCH: usize = 256 << 10;
/// How long to wait when there is nothing: what this costs is a thousandth of a core.
const NOTHING: Duration = Duration::from_millis(1);
/// How often an interface without frames is asked whether it is down.
const LOOK: Duration = Duration::from_millis(500);

/// Batches that wait for the sensor: a few megabytes, so that memory is bounded and the kernel's ring takes the rest.
const QUEUE: usize = 16;

/// How to listen.
#[derive(Clone, Debug)]
pub(crate) struct Listening {
    pub(crate) ring_bytes: i32,
    pub(crate) snap_length: i32,
    pub(crate) filter: Option<String>,
    /// Rings for one interface.
    pub(crate) rings: u16,
}

/// What the kernel counted of one ring.
#[derive(Debug, Default)]
pub(crate) struct Kernel {
    /// Frames that came through the filter, dropped ones included.
    pub(crate) received: AtomicU64,
    /// Frames dropped because the ring was full.
    pub(crate) dropped: AtomicU64,
    /// Frames dropped by the interface or its driver; told with its first ring.
    pub(crate) interface_dropped: AtomicU64,
    /// Is the interface down? Told with its first ring.
    pub(crate) down: AtomicBool,
}

/// One of the rings of an interface that is open.
pub(crate) struct Ring {
    pub(crate) name: Arc<str>,
    pub(crate) kernel: Arc<Kernel>,
    /// Which of how many it is, from 0.
    number: u16,
    of: u16,
    capture: Capture<Active>,
    link_type: LinkType,
    nanoseconds: bool,
    /// Where Linux tells the interface's flags, for the first ring; opened while that is allowed.
    flags: Option<File>,
    /// When they were last looked at.
    looked: Instant,
}

/// What a ring's thread has to say.
pub(crate) enum Heard {
    Frames(Batch),
    /// It went down, or came up again.
    Down(Arc<str>, String),
    Up(Arc<str>),
}

/// Opens an interface, which is the so many-th: needs the right to.
pub(crate) fn open(name: &str, interface: u16, listening: &Listening) -> Result<Vec<Ring>, Error> {
    let rings: Vec<Ring> = (0..listening.rings)
        .map(|number| Ring::open(name, number, listening))
        .collect::<Result<_, _>>()?;
    #[cfg(target_os = "linux")]
    if rings.len() > 1 {
        use std::os::fd::AsFd;
        // No other process has that number, and none of our interfaces.
        let group = u16::try_from(std::process::id() & 0xffff).unwrap_or_default() ^ (interface << 8);
        for ring in &rings {
            super::fanout::join(ring.capture.as_fd(), group)
                .map_err(|error| Error::PcapError(format!("fanout: {error}")))?;
        }
    }
    Ok(rings)
}

/// Begins to read the rings of each interface, which is called by its number, into `spare` memory as far as there is some. What the threads hear comes by the channel; when
/// nobody takes it, the rings fill and the kernel counts what it drops.
pub(crate) fn start(
    interfaces: Vec<Vec<Ring>>,
    spare: &Spare,
    stop: &Arc<AtomicBool>,
) -> (Receiver<Heard>, Vec<JoinHandle<()>>) {
    let (out, heard) = sync_channel(QUEUE);
    let threads = (0..)
        .zip(interfaces)
        .flat_map(|(number, rings)| rings.into_iter().map(move |ring| (number, ring)))
        .map(|(number, ring)| ring.start(number, out.clone(), spare.clone(), Arc::clone(stop)))
        .collect();
    (heard, threads)
}

impl Ring {
    fn open(name: &str, number: u16, listening: &Listening) -> Result<Self, Error> {
        let open = |precision| {
            Capture::from_device(name)?
                .promisc(true)
                .snaplen(listening.snap_length)
                .buffer_size(listening.ring_bytes)
                .timeout(GATHER)
                .precision(precision)
                .open()
        };
        // Not every interface has the finer clock.
        let (mut capture, nanoseconds) = match open(Precision::Nano) {
            Ok(capture) => (capture, true),
            Err(_) => (open(Precision::Micro)?, false),
        };
        let with = |never: &str| match &listening.filter {
            Some(filter) => format!("({never}) and ({filter})"),
            None => never.to_owned(),
        };
        capture
            .filter(&with(NEVER), true)
            .or_else(|_| capture.filter(&with(NEVER_RAW), true))?;
        // Blocking, libpcap would wait for the next frame with the last ones in our hands.
        let capture = capture.setnonblock()?;
        let link_type = LinkType(u16::try_from(capture.get_datalink().0).unwrap_or(u16::MAX));
        Ok(Self {
            name: name.into(),
            kernel: Arc::default(),
            number,
            of: listening.rings,
            capture,
            link_type,
            nanoseconds,
            flags: (number == 0)
                .then(|| File::open(format!("/sys/class/net/{name}/flags")).ok())
                .flatten(),
            looked: Instant::now(),
        })
    }

    /// Reads until it is told to stop.
    fn start(mut self, number: u32, out: SyncSender<Heard>, spare: Spare, stop: Arc<AtomicBool>) -> JoinHandle<()> {
        thread::spawn(move || self.run(number, &out, &spare, &stop))
    }

    fn run(&mut self, number: u32, out: &SyncSender<Heard>, spare: &Spare, stop: &AtomicBool) {
        let mut frame = u64::from(self.number);
        let mut batch = empty(spare);
        while !stop.load(Ordering::Relaxed) {
            let (nanoseconds, link_type) = (self.nanoseconds, self.link_type);
            let mut nothing = false;
            let taken = match self.capture.next_packet() {
                Ok(packet) => {
                    // No two frames of an interface have the same number.
                    frame += u64::from(self.of);
                    let part = packet.header.ts.tv_usec;
                    let time = Timestamp::new(packet.header.ts.tv_sec, if nanoseconds { part } else { part * 1_000 });
                    let at = At {
                        frame,
                        time,
                        input: number,
                    };
                    let start = batch.bytes.len();
                    batch.bytes.extend_from_slice(packet.data);
                    batch.frames.push(Slot {
                        at,
                        link_type,
                        range: start..batch.bytes.len(),
                        original_length: packet.header.len.max(packet.header.caplen),
                    });
                    // A steady trickle must not wait for a batch to fill.
                    let since = batch.frames.first().map_or(0, |first| time.since(first.at.time));
                    batch.bytes.len() < BATCH && since < i64::from(GATHER) * 1_000_000
                }
                Err(Error::TimeoutExpired) => {
                    nothing = true;
                    false
                }
                Err(error) => {
                    self.down(&error.to_string(), out);
                    thread::sleep(LOOK);
                    continue;
                }
            };
            if taken {
                continue;
            }
            if nothing && self.looked.elapsed() > LOOK {
                self.look(out);
            }
            if !batch.frames.is_empty() {
                self.count();
                if out
                    .send(Heard::Frames(std::mem::replace(&mut batch, empty(spare))))
                    .is_err()
                {
                    return;
                }
            } else if nothing {
                thread::sleep(NOTHING);
            }
        }
        self.count();
        let _ = out.send(Heard::Frames(batch));
    }

    /// Without blocking libpcap does not say that an interface is down: there are no frames, which is nothing odd.
    fn look(&mut self, out: &SyncSender<Heard>) {
        self.looked = Instant::now();
        let Some(file) = &mut self.flags else { return };
        let mut text = String::new();
        let read = file
            .seek(SeekFrom::Start(0))
            .and_then(|_| file.read_to_string(&mut text));
        let flags = u32::from_str_radix(text.trim().trim_start_matches("0x"), 16).unwrap_or_default();
        match read {
            Err(_) => self.down(
                "the interface is gone, and a new one of that name needs a new start",
                out,
            ),
            // IFF_UP
            Ok(_) if flags & 1 == 0 => self.down("the interface is down", out),
            Ok(_) => {
                if self.kernel.down.swap(false, Ordering::Relaxed) {
                    let _ = out.send(Heard::Up(Arc::clone(&self.name)));
                }
            }
        }
    }

    /// Says it once.
    fn down(&self, why: &str, out: &SyncSender<Heard>) {
        if self.number == 0 && !self.kernel.down.swap(true, Ordering::Relaxed) {
            let _ = out.send(Heard::Down(Arc::clone(&self.name), why.to_owned()));
        }
    }

    fn count(&mut self) {
        if let Ok(counted) = self.capture.stats() {
            self.kernel.received.store(counted.received.into(), Ordering::Relaxed);
            self.kernel.dropped.store(counted.dropped.into(), Ordering::Relaxed);
            if self.number == 0 {
                self.kernel
                    .interface_dropped
                    .store(counted.if_dropped.into(), Ordering::Relaxed);
            }
        }
    }
}

fn empty(spare: &Spare) -> Batch {
    let Batch { mut bytes, mut frames } = spare.take();
    bytes.clear();
    bytes.reserve(BATCH + 2048);
    frames.clear();
    Batch { bytes, frames }
}
