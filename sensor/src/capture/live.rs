//! Frames off an interface, through libpcap's ring in the kernel.
//!
//! One thread for each ring copies frames into batches and does nothing else, so that the ring is emptied as fast as memory
//! allows. Where one thread cannot keep up, the kernel deals an interface's frames to several rings by their outer addresses.
//! What the rings hear is brought into one order ([`super::merge`]), and who looks at a frame is decided behind that, by the
//! innermost addresses.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pcap::{Active, Capture, Error, Precision};

use super::merge::Ears;
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
/// Nanoseconds after which it has done so: its clock ticks twice for a block that has begun, and is late at times.
const HANDED_OVER: i64 = 3 * GATHER as i64 * 1_000_000;
/// How long a ring is still read once it is told to stop.
const STOPPING: Duration = Duration::from_millis(800);
/// Bytes of a batch, at most, but for its last frame.
pub(super) const BATCH: usize = 256 << 10;
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
    /// Frames dropped because the ring was full, or they were still in it when the sensor ended: counted after they were received.
    pub(crate) dropped: AtomicU64,
    /// Frames dropped by the interface or its driver; told with its first ring.
    pub(crate) interface_dropped: AtomicU64,
    /// Is the interface down? Told with its first ring.
    pub(crate) down: AtomicBool,
    /// Has nobody emptied it for a while?
    pub(crate) stuck: AtomicBool,
    /// Every frame that was stamped before this time, in nanoseconds since 1970, has been handed over.
    pub(crate) reached: AtomicI64,
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
    interface: Option<Interface>,
    /// When that was last looked at.
    looked: Instant,
    /// Was it said that libpcap finds fault with an interface that is up?
    doubted: bool,
    /// Frames that came before this time came to other rings as well.
    begun: Timestamp,
    /// So many at most of those that are still in the ring did.
    earlier: u32,
    /// Frames that came out of the ring since.
    taken: u64,
    /// Received and dropped frames, as libpcap counted them the last time.
    counted: [u32; 2],
}

/// What Linux tells of an interface, in files that were opened while that was allowed.
struct Interface {
    flags: File,
    /// What the card dropped before the kernel had it, and how much of it before the sensor began.
    drops: Option<([File; 2], u64)>,
}

impl Interface {
    fn open(name: &str) -> Option<Self> {
        let folder = Path::new("/sys/class/net").join(name);
        let drop = |which| File::open(folder.join("statistics").join(which)).ok();
        // Those that libpcap counts.
        let drops = drop("rx_missed_errors").zip(drop("rx_fifo_errors"));
        let mut interface = Self {
            flags: File::open(folder.join("flags")).ok()?,
            drops: drops.map(|(missed, overrun)| ([missed, overrun], 0)),
        };
        let before = interface.dropped();
        if let Some((_, start)) = &mut interface.drops {
            *start = before;
        }
        Some(interface)
    }

    /// Is it up? None when it is not there any more.
    fn is_up(&mut self) -> Option<bool> {
        let text = read(&mut self.flags).ok()?;
        let flags = u32::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or_default();
        // IFF_UP
        Some(flags & 1 != 0)
    }

    /// Frames that the card dropped since it was opened.
    fn dropped(&mut self) -> u64 {
        let Some((files, start)) = &mut self.drops else {
            return 0;
        };
        let counts = files.iter_mut().filter_map(|file| read(file).ok()?.parse::<u64>().ok());
        counts.sum::<u64>().saturating_sub(*start)
    }
}

/// All that a file holds by now, without its line feed.
fn read(file: &mut File) -> io::Result<String> {
    let mut text = String::new();
    file.seek(SeekFrom::Start(0))?;
    file.read_to_string(&mut text)?;
    text.truncate(text.trim_end().len());
    Ok(text)
}

/// Why an interface cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unheard {
    /// The user's filter.
    #[error("--bpf: {0}")]
    Filter(Error),
    #[error(transparent)]
    Interface(#[from] Error),
}

/// What a ring's thread has to say.
pub(crate) enum Heard {
    /// Frames off the ring of this number, among all.
    Frames(usize, Batch),
    /// It went down or something else is odd about it, or it came up again.
    Down(Arc<str>, String),
    Up(Arc<str>),
}

/// Opens an interface: needs the right to.
pub(crate) fn open(name: &str, listening: &Listening) -> Result<Vec<Ring>, Unheard> {
    let rings = (0..listening.rings)
        .map(|number| Ring::open(name, number, listening))
        .collect::<Result<_, _>>()?;
    #[cfg(target_os = "linux")]
    let rings = share(rings)?;
    Ok(rings)
}

/// Has the kernel deal frames to all of them, if there are several.
#[cfg(target_os = "linux")]
fn share(mut rings: Vec<Ring>) -> Result<Vec<Ring>, Error> {
    use std::os::fd::AsFd;
    if rings.len() > 1 {
        let mut group = None;
        for ring in &rings {
            let joined = super::fanout::join(ring.capture.as_fd(), group);
            group = Some(joined.map_err(|error| Error::PcapError(format!("fanout: {error}")))?);
        }
        let now = Timestamp::now();
        for ring in &mut rings {
            ring.begin(now);
        }
    }
    Ok(rings)
}

/// Begins to read the rings of each interface, which is called by its number, into `spare` memory as far as there is some.
/// When nobody listens to what the threads hear, the rings fill and the kernel counts what it drops.
pub(crate) fn start(interfaces: Vec<Vec<Ring>>, spare: &Spare, stop: &Arc<AtomicBool>) -> (Ears, Vec<JoinHandle<()>>) {
    let (out, heard) = sync_channel(QUEUE);
    let rings: Vec<(u32, Ring)> = (0..)
        .zip(interfaces)
        .flat_map(|(number, rings)| rings.into_iter().map(move |ring| (number, ring)))
        .collect();
    let kernels = rings.iter().map(|(_, ring)| Arc::clone(&ring.kernel)).collect();
    let threads = rings
        .into_iter()
        .enumerate()
        .map(|(place, (number, ring))| {
            let out = Out {
                place,
                out: out.clone(),
            };
            ring.start(number, out, spare.clone(), Arc::clone(stop))
        })
        .collect();
    (Ears::new(heard, kernels, spare.clone()), threads)
}

/// Where a ring's thread says what it hears.
struct Out {
    /// Which of all rings it is.
    place: usize,
    out: SyncSender<Heard>,
}

/// Nobody listens any more.
struct Alone;

/// Was all read?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Whole(bool);

impl Out {
    fn say(&self, heard: Heard) -> Result<(), Alone> {
        self.out.send(heard).map_err(|_| Alone)
    }
}

/// The sockets that frames come by.
#[cfg(target_os = "linux")]
pub(crate) fn sockets(interfaces: &[Vec<Ring>]) -> Vec<std::os::fd::RawFd> {
    use std::os::fd::AsRawFd;
    let rings = interfaces.iter().flatten();
    rings.map(|ring| ring.capture.as_raw_fd()).collect()
}

impl Ring {
    fn open(name: &str, number: u16, listening: &Listening) -> Result<Self, Unheard> {
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
        let filter = listening.filter.as_deref().filter(|filter| !filter.trim().is_empty());
        // By itself first: in parentheses, half of one could end ours.
        if let Some(filter) = filter {
            capture.filter(filter, true).map_err(Unheard::Filter)?;
        }
        let with = |never: &str| match filter {
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
            interface: Interface::open(name),
            looked: Instant::now(),
            doubted: false,
            begun: Timestamp::default(),
            earlier: 0,
            taken: 0,
            counted: [0; 2],
        })
    }

    /// From now on the kernel deals frames to all rings of the interface: what each has of before is not counted and not read.
    #[cfg(target_os = "linux")]
    fn begin(&mut self, now: Timestamp) {
        self.begun = now;
        if let Ok(stats) = self.capture.stats() {
            self.counted = [stats.received, stats.dropped];
            self.earlier = stats.received.wrapping_sub(stats.dropped);
        }
    }

    /// Reads until it is told to stop, and then what the kernel holds by that time.
    fn start(mut self, number: u32, out: Out, spare: Spare, stop: Arc<AtomicBool>) -> JoinHandle<()> {
        thread::spawn(move || {
            let read = self.run(number, &out, &spare, &stop);
            self.count();
            let Kernel { received, dropped, .. } = &*self.kernel;
            let handed_on = self.taken - read.err().unwrap_or_default();
            let seen = dropped.load(Ordering::Relaxed) + handed_on;
            if read == Ok(Whole(true)) {
                // What came after that is nobody's.
                received.store(seen, Ordering::Relaxed);
            } else {
                // What nobody will look at is lost as if it had not found room.
                let lost = received.load(Ordering::Relaxed).saturating_sub(seen);
                dropped.fetch_add(lost, Ordering::Release);
            }
        })
    }

    /// Says whether all was read that came until it was to stop. Fails with the number of frames that were read when
    /// nobody listened any more.
    fn run(&mut self, number: u32, out: &Out, spare: &Spare, stop: &AtomicBool) -> Result<Whole, u64> {
        let mut frame = u64::from(self.number);
        let mut batch = empty(spare);
        let mut last = 0;
        // When it was told to stop, as frames are stamped, and since when nothing has come.
        let mut ending: Option<(Timestamp, Instant, Instant)> = None;
        let whole = loop {
            let (nanoseconds, link_type) = (self.nanoseconds, self.link_type);
            let (mut nothing, mut failed) = (false, None);
            let taken = match self.capture.next_packet() {
                Ok(packet) => {
                    let part = packet.header.ts.tv_usec;
                    let time = Timestamp::new(packet.header.ts.tv_sec, if nanoseconds { part } else { part * 1_000 });
                    let is_earlier = self.earlier > 0 && time < self.begun;
                    self.earlier = self.earlier.saturating_sub(1);
                    if is_earlier {
                        continue;
                    }
                    self.taken += 1;
                    // No two frames of an interface have the same number.
                    frame += u64::from(self.of);
                    last = time.0;
                    let at = At {
                        frame,
                        time,
                        input: number,
                        set_back: 0,
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
                    (nothing, failed) = (true, Some(error.to_string()));
                    false
                }
            };
            if taken {
                continue;
            }
            if (failed.is_some() || nothing && self.looked.elapsed() > LOOK) && !self.look(out) {
                break true;
            }
            if !batch.frames.is_empty() {
                self.count();
                let count = batch.frames.len() as u64;
                out.say(Heard::Frames(out.place, std::mem::replace(&mut batch, empty(spare))))
                    .map_err(|Alone| count)?;
                self.reach(last);
            } else if nothing {
                let now = Timestamp::now().0;
                self.reach(last.min(now).max(now - HANDED_OVER));
                thread::sleep(NOTHING);
            }
            if let Some(why) = failed {
                self.fault(&why, out);
                thread::sleep(LOOK / 5);
            }
            if !stop.load(Ordering::Relaxed) {
                continue;
            }
            let now = Instant::now();
            let (stopped, until, quiet) = ending.get_or_insert_with(|| (Timestamp::now(), now + STOPPING, now));
            if !nothing {
                *quiet = now;
            }
            let handed_over = Duration::from_nanos(HANDED_OVER.unsigned_abs());
            if last > stopped.0 || now.duration_since(*quiet) > handed_over {
                break true;
            }
            if now > *until {
                break false;
            }
        };
        let count = batch.frames.len() as u64;
        let said = out.say(Heard::Frames(out.place, batch)).map_err(|Alone| count);
        self.reach(i64::MAX);
        said.map(|()| Whole(whole))
    }

    /// Every frame before this time was handed over.
    fn reach(&self, time: i64) {
        self.kernel.reached.store(time, Ordering::Release);
    }

    /// Without blocking libpcap does not say that an interface is down: there are no frames, which is nothing odd. False
    /// when it is gone.
    fn look(&mut self, out: &Out) -> bool {
        self.looked = Instant::now();
        let is_there = self.has_interface();
        let Some(interface) = &mut self.interface else {
            return true;
        };
        match interface.is_up().filter(|_| is_there) {
            None => {
                // Also where it was said to be down.
                self.kernel.down.store(false, Ordering::Relaxed);
                let why = "the interface is gone, and a new one of that name needs a new start";
                self.down(why, out);
                return false;
            }
            Some(false) => self.down("the interface is down; waiting for it", out),
            Some(true) => {
                if self.number == 0 && self.kernel.down.swap(false, Ordering::Relaxed) {
                    let _ = out.say(Heard::Up(Arc::clone(&self.name)));
                }
            }
        }
        true
    }

    #[cfg(target_os = "linux")]
    fn has_interface(&self) -> bool {
        use std::os::fd::AsFd;
        super::fanout::has_interface(self.capture.as_fd())
    }

    #[cfg(not(target_os = "linux"))]
    fn has_interface(&self) -> bool {
        true
    }

    /// libpcap asks for an interface that was down by the name that it had: whoever renamed it need not wait for us.
    fn fault(&mut self, why: &str, out: &Out) {
        if self.interface.as_mut().and_then(Interface::is_up) != Some(true) {
            self.down(&format!("{why}; waiting for it"), out);
        } else if self.number == 0 && !self.doubted {
            self.doubted = true;
            let why = format!("{why}; but it is up, perhaps by another name, and still listened to");
            let _ = out.say(Heard::Down(Arc::clone(&self.name), why));
        }
    }

    /// Says it once.
    fn down(&self, why: &str, out: &Out) {
        if self.number == 0 && !self.kernel.down.swap(true, Ordering::Relaxed) {
            let _ = out.say(Heard::Down(Arc::clone(&self.name), why.to_owned()));
        }
    }

    /// libpcap's counters have 32 bits: what is added is by how much they have grown.
    fn count(&mut self) {
        let Kernel { received, dropped, .. } = &*self.kernel;
        if let Ok(stats) = self.capture.stats() {
            let now = [stats.received, stats.dropped];
            let [grown, lost] = [0, 1].map(|which| u64::from(now[which].wrapping_sub(self.counted[which])));
            self.counted = now;
            received.fetch_add(grown, Ordering::Relaxed);
            dropped.fetch_add(lost, Ordering::Release);
        }
        if self.number == 0
            && let Some(interface) = &mut self.interface
        {
            self.kernel
                .interface_dropped
                .store(interface.dropped(), Ordering::Relaxed);
        }
    }
}

pub(super) fn empty(spare: &Spare) -> Batch {
    let Batch { mut bytes, mut frames } = spare.take();
    bytes.clear();
    bytes.reserve(BATCH + 2048);
    frames.clear();
    Batch { bytes, frames }
}
