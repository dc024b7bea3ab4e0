//! `dcom-sensor live`: frames off interfaces, as they come.
//!
//! ```text
//!  one thread a ring         ring → batches            capture/live.rs
//!    │ bounded channel: when the sensor cannot keep up, the ring fills and the kernel counts what it drops
//!  this thread               deals out, brings together, analyses, writes
//!    │ ⇅
//!  workers                   decode, flow, rpc         workers.rs
//!
//!  threads for host logs     files that grow, senders  hosts.rs: another bounded channel to this thread
//! ```

mod ending;
#[cfg(target_os = "linux")]
mod handing;
mod hosts;
#[cfg(target_os = "linux")]
pub(crate) mod jail;
mod loss;
#[cfg(target_os = "linux")]
mod metrics;
mod outlet;
mod rotation;
mod screen;
#[cfg(target_os = "linux")]
mod service;
mod signals;

use std::collections::BTreeSet;
#[cfg(target_os = "linux")]
use std::fs::File;
use std::mem;
use std::net::TcpListener;
#[cfg(target_os = "linux")]
use std::path::Path;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
#[cfg(target_os = "linux")]
use rustix::{fs::FlockOperation, io::Errno};

use crate::capture::live::{self, Heard, Kernel, Ring, Unheard};
use crate::capture::{Ears, Next};
use crate::cli::{Live, RAN, UNUSABLE, complain, settings, speak_aside};
use crate::config::Config;
use crate::correlate::Mode;
use crate::emit::foreign::Files;
use crate::event::Event;
use crate::failures;
use crate::keys::Keep;
use crate::limits::Limits;
use crate::name_answers::NameAnswers;
use crate::outputs::{Needs, Pace, Prepared};
use crate::time::Timestamp;
use crate::workers::Crew;
use ending::{Ending, Left};
use hosts::Feed;
use loss::Losses;
use outlet::Outlet;
use signals::Signals;

/// How long to wait for frames before something else is looked at.
pub(crate) const PATIENCE: Duration = Duration::from_millis(10);
/// How long what was received is still looked at, once it is time to end: who keeps up needs a few milliseconds, and who
/// does not has to put into the logs what is on its way, in less than two seconds in all.
const STOPPING: Duration = Duration::from_millis(300);
/// How long a thread that hangs in an interface may keep us then.
const HANGING: Duration = Duration::from_millis(200);
/// What was written is brought to the files at least so often.
const FLUSH: Duration = Duration::from_millis(25);

pub(crate) fn run(options: &Live) -> Result<u8> {
    let config = options.config()?;
    if options.settings.common.print_config {
        settings::print(&config)?;
        return Ok(RAN);
    }
    let signals = Signals::listen()?;
    let classes = settings::catalog(&config)?;
    let log_dir = config.output.log_dir.clone();
    let limits = Limits {
        community_id_seed: config.output.community_id_seed,
        ..Limits::live()
    };
    let keys = options.keys.load(Keep::Records)?;
    #[cfg(target_os = "linux")]
    let service = service::Service::connect();
    let interfaces = open(options)?;
    let metrics = options
        .metrics
        .map(|address| TcpListener::bind(address).with_context(|| format!("--metrics {address}")))
        .transpose()?;
    let listener = hosts::bind(options.listen)?;
    let outputs = Prepared::new(&config)?;
    std::fs::create_dir_all(&log_dir).with_context(|| log_dir.display().to_string())?;
    #[cfg(target_os = "linux")]
    let user = jail::goes_on_as(options);
    #[cfg(not(target_os = "linux"))]
    let user = None;
    let read: Vec<PathBuf> = options
        .hosts
        .reads()
        .chain(options.settings.common.reads(&config))
        .chain(keys.iter().flat_map(|used| used.keys.files().to_owned()))
        .collect();
    let files = Files {
        inputs: &read,
        formats: &config.output.logs,
        folder: Some(&log_dir),
        outputs: &Needs::of(&config).files,
        kept: &config.baseline_file().into_iter().collect::<Vec<_>>(),
    };
    files.refuse_but_of(user)?;
    #[cfg(target_os = "linux")]
    let mut held = hold(&log_dir)?;
    // Before any thread begins: what is given up is given up for all of them.
    #[cfg(target_os = "linux")]
    {
        use std::os::fd::AsRawFd;
        let listeners = metrics.iter().chain(&listener);
        let takers = live::sockets(&interfaces)
            .into_iter()
            .chain(listeners.map(AsRawFd::as_raw_fd));
        jail::enter(options, &config, &takers.collect::<Vec<_>>(), || {
            // Root without its rights over files may have been kept from looking.
            if held.is_none() {
                held = hold(&log_dir)?;
                files.refuse_but_of(user)?;
            }
            Ok(())
        })?;
    }
    speak_aside();
    let catalog = Arc::new(classes.clone());
    let outputs = outputs.start(Pace::Live)?;
    let mut outlet = Outlet::new(options, &log_dir, &config.output.logs, catalog, outputs)?;
    let has_feed = listener.is_some() || !options.hosts.host_logs.is_empty();
    let names = if has_feed {
        NameAnswers::Read
    } else {
        NameAnswers::PassedOver
    };
    let calls = options.calls.into();
    let mut crew = Crew::new(options.capture.workers(), classes, &limits, calls, keys.as_ref(), names);
    settings::equip(crew.analysis(), &config, &limits)?;
    if has_feed {
        let correlator = options.hosts.correlator(Mode::Live, &config, &limits)?;
        crew.analysis().set_hosts(correlator);
    }
    crew.analysis()
        .name_interfaces(options.interfaces.iter().map(|name| name.as_str().into()).collect());
    let kernels: Vec<(Arc<str>, Arc<Kernel>)> = interfaces
        .iter()
        .flatten()
        .map(|ring| (Arc::clone(&ring.name), Arc::clone(&ring.kernel)))
        .collect();
    let stop = Arc::new(AtomicBool::new(false));
    let feed = has_feed.then(|| Feed::start(options.hosts.host_logs.clone(), listener, &stop));
    signals.begun();
    let (mut ears, threads) = live::start(interfaces, &crew.spare(), &stop);
    let names = options.interfaces.join(", ");
    complain(&format!("listening on {names}, logs in {}", log_dir.display()), None);
    let mut losses = Losses::new(kernels, crew.tallies().count(), Timestamp::now());
    // The page is there from the first moment on.
    let _ = losses.tell(Timestamp::now(), &crew.tally(), crew.tallies(), 0, outlet.outputs());
    #[cfg(target_os = "linux")]
    if let Some(listener) = metrics {
        metrics::serve(listener, losses.page());
    }
    #[cfg(not(target_os = "linux"))]
    drop(metrics);
    #[cfg(target_os = "linux")]
    service.ready();
    let mut sensor = Sensor {
        #[cfg(target_os = "linux")]
        service,
        options,
        config,
        log_dir,
        limits,
        crew,
        feed,
        events: Vec::new(),
        flushed: Instant::now(),
        counted: Instant::now(),
        stuck: false,
        unkept: false,
    };
    let mut listens = true;
    while listens && !signals.stop() && !outlet.is_closed() {
        listens = sensor.hear(&mut ears, &mut outlet);
        sensor.attend(&signals, &mut outlet, &mut losses);
        sensor.live_on(&mut ears, &losses);
    }
    if outlet.is_closed() {
        complain("standard output was closed by whoever read it: this is the end", None);
    }
    let mut ending = Ending::begin();
    // What the kernel holds already is still looked at.
    stop.store(true, Ordering::Relaxed);
    let until = Instant::now() + STOPPING;
    while let Next::Heard(more) = ears.next(until.saturating_duration_since(Instant::now())) {
        sensor.take(more, &mut outlet);
        if Instant::now() > until {
            break;
        }
    }
    drop(ears);
    let until = Instant::now() + HANGING;
    while Instant::now() < until && !threads.iter().all(JoinHandle::is_finished) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let is_whole = sensor.finish(&mut ending, &mut outlet, &mut losses);
    threads.into_iter().filter(JoinHandle::is_finished).for_each(|thread| {
        let _ = thread.join();
    });
    if !listens {
        bail!("no interface is left to listen on");
    }
    Ok(if is_whole { RAN } else { UNUSABLE })
}

/// Keeps other sensors from writing to a folder for as long as what is returned is kept: each would tear the other's logs.
#[cfg(target_os = "linux")]
fn hold(folder: &Path) -> Result<Option<File>> {
    // One that cannot be listed cannot be held, now, and a file system may know of no locks.
    let Ok(held) = File::open(folder) else { return Ok(None) };
    match rustix::fs::flock(&held, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => bail!(
            "{}: another sensor that listens writes its logs there; give this one a folder of its own (-o)",
            folder.display()
        ),
        _ => Ok(Some(held)),
    }
}

/// The rings of each interface.
fn open(options: &Live) -> Result<Vec<Vec<Ring>>> {
    let listening = options.capture.listening();
    let open = |name: &String| match live::open(name, &listening) {
        Ok(rings) => Ok(rings),
        Err(error) => {
            complain(&format!("{name}: {error}"), Some(&hint(name, &error)));
            bail!("cannot listen on {name}")
        }
    };
    if let Some(twice) = twice(&options.interfaces) {
        bail!("-i {twice} is there twice: each of its frames would be seen twice");
    }
    options.interfaces.iter().map(open).collect()
}

fn twice(names: &[String]) -> Option<&String> {
    let mut seen = BTreeSet::new();
    names.iter().find(|name| !seen.insert(*name))
}

/// What to do when an interface cannot be listened on.
fn hint(name: &str, error: &Unheard) -> String {
    match error {
        Unheard::Filter(_) => "`tcpdump -d 'FILTER'` takes the same filters; no name in one is looked up".to_owned(),
        Unheard::Interface(error) if error.to_string().contains("not up") => format!("`ip link set {name} up`"),
        Unheard::Interface(_) => {
            "it needs root, or CAP_NET_RAW and CAP_NET_ADMIN, and an interface of that name; `ip link` lists them"
                .to_owned()
        }
    }
}

/// What runs until it is told to stop.
struct Sensor<'o> {
    #[cfg(target_os = "linux")]
    service: service::Service,
    options: &'o Live,
    config: Config,
    log_dir: PathBuf,
    limits: Limits,
    crew: Crew,
    feed: Option<Feed>,
    events: Vec<Event>,
    flushed: Instant,
    counted: Instant,
    /// Does a thread hang that reads an interface?
    stuck: bool,
    /// Could what was learned not be kept?
    unkept: bool,
}

impl Sensor<'_> {
    /// Takes in what there is, and once there is nothing writes what was told. False when nothing will come any more.
    fn hear(&mut self, ears: &mut Ears, outlet: &mut Outlet) -> bool {
        if let (Some(feed), Some(hosts)) = (&self.feed, self.crew.analysis().hosts()) {
            feed.take(hosts);
        }
        let mut next = ears.next(Duration::ZERO);
        if matches!(next, Next::Nothing) {
            self.crew.idle(ears.time(Timestamp::now()), &mut self.events);
            self.write(outlet);
            next = ears.next(PATIENCE);
        }
        match next {
            Next::Heard(heard) => self.take(heard, outlet),
            Next::Nothing => {}
            Next::Ended => return false,
        }
        if self.flushed.elapsed() > FLUSH {
            self.crew.drain(&mut self.events);
            self.write(outlet);
        }
        true
    }

    fn take(&mut self, heard: Heard, outlet: &mut Outlet) {
        match heard {
            Heard::Frames(_, batch) => self.crew.push(batch, &mut self.events),
            Heard::Down(name, why) => complain(&format!("{name}: {why}"), None),
            Heard::Up(name) => complain(&format!("{name}: listening again"), None),
        }
        outlet.take(&mut self.events);
    }

    fn write(&mut self, outlet: &mut Outlet) {
        outlet.take(&mut self.events);
        outlet.flush();
        self.flushed = Instant::now();
    }

    /// Does what signals ask for, and what is due.
    fn attend(&mut self, signals: &Signals, outlet: &mut Outlet, losses: &mut Losses) {
        if signals.reload() {
            let renewed = settings::renew(self.crew.analysis(), &self.options.settings, &self.limits);
            if let Ok(config) = &renewed {
                outlet.set_formats(&config.output.logs);
                // It has just been read.
                if let Ok(catalog) = settings::catalog(config) {
                    outlet.replace_catalog(catalog);
                }
            }
            let opened = if outlet.reopen(Timestamp::now()) {
                "logs opened anew, "
            } else {
                ""
            };
            outlet.outputs().renew();
            match renewed {
                Ok(config) => {
                    self.tell_what_waits(&config);
                    complain(&format!("{opened}settings and catalogue read again"), None);
                }
                Err(error) => {
                    let why = format!("{error:#}\n{opened}settings and catalogue stay as they were");
                    complain(&why, settings::closed_by_jail(&error));
                }
            }
        }
        let due = self.counted.elapsed().as_secs() >= self.options.stats_interval.into();
        if signals.count() || due {
            self.counted = Instant::now();
            self.count(outlet, losses);
        }
        outlet.rotate(Timestamp::now());
    }

    /// Says that the loop goes round, unless a thread that empties a ring hangs: only a new start helps then.
    fn live_on(&mut self, ears: &mut Ears, losses: &Losses) {
        let before = mem::replace(&mut self.stuck, ears.are_stuck());
        if self.stuck && !before {
            complain("the thread that reads an interface hangs: nothing is seen there", None);
        }
        losses.alive();
        #[cfg(target_os = "linux")]
        if !self.stuck {
            self.service.alive();
        }
    }

    /// Settings that have changed, but were fixed when the sensor began.
    fn tell_what_waits(&self, config: &Config) {
        let is_overruled = |name: &String| name == "[output] log_dir" && self.options.log_dir.is_some();
        let waiting: Vec<_> = self
            .config
            .fixed_and_changed(config)
            .filter(|name| !is_overruled(name))
            .collect();
        if !waiting.is_empty() {
            let message = format!("{} changed: that holds from the next start on", waiting.join(", "));
            complain(
                &message,
                Some("what they need was fixed when the sensor began; all other settings hold from now on"),
            );
        }
    }

    fn count(&mut self, outlet: &mut Outlet, losses: &mut Losses) {
        self.crew.count(&mut self.events);
        if let (Some(feed), Some(hosts)) = (&self.feed, self.crew.analysis().hosts()) {
            feed.count(hosts);
            for conflict in hosts.take_news() {
                complain(&conflict, Some("--host-map FILE says whose address it is"));
            }
        }
        let lost = outlet.lost();
        let told = losses.tell(
            Timestamp::now(),
            &self.crew.tally(),
            self.crew.tallies(),
            lost,
            outlet.outputs(),
        );
        self.events.extend(self.crew.analysis().pass(told));
        let failures = self.crew.take_failures();
        if !failures.is_empty() {
            let folder = self.log_dir.join(failures::FOLDER);
            complain(&failures::keep(Some(&folder), &failures), Some(failures::HINT));
        }
        for message in self.crew.analysis().policy().take_news() {
            complain(&message, Some("give it a later date, or take it out"));
        }
        self.keep();
        self.write(outlet);
    }

    /// Keeps what was learned, and says once that it cannot be kept, and that it can be again.
    fn keep(&mut self) {
        let unkept = settings::keep(self.crew.analysis(), &self.config).err();
        match &unkept {
            Some(error) if !self.unkept => complain(&format!("{error:#}"), None),
            None if self.unkept => complain("the baseline is kept again", None),
            _ => {}
        }
        self.unkept = unkept.is_some();
    }

    /// Was everything written?
    fn finish(mut self, ending: &mut Ending, outlet: &mut Outlet, losses: &mut Losses) -> bool {
        let mut is_told = false;
        let missing = self.crew.finish(&mut self.events, &mut |events, waiting| {
            let left = ending.left(waiting);
            if left != Left::Everything && !mem::replace(&mut is_told, true) {
                complain(
                    "more waits than can be written now that it is to end: alerts come first",
                    None,
                );
            }
            outlet.hurry(left);
            outlet.take(events);
            left != Left::Nothing
        });
        outlet.lose(missing);
        losses.end();
        self.count(outlet, losses);
        let is_whole = outlet.finish(Timestamp::now());
        if let Some(hosts) = self.crew.analysis().hosts() {
            for clock in hosts.clocks() {
                complain(&clock, None);
            }
        }
        complain(&losses.summary(), None);
        is_whole
    }
}
