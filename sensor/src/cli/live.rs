//! What can be typed behind `live`.

use std::net::SocketAddr;
use std::path::PathBuf;

use anyhow::Result;
use clap::ValueEnum;

use super::hosts::{HEADING, HostOptions};
use super::settings::Settings;
use super::{KeysFile, WhichCalls, folders, workers};
use crate::capture::live::Listening;
use crate::config::Config;

/// Options of `live`.
#[allow(clippy::struct_excessive_bools, reason = "each is a switch that can be typed")]
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dcom-sensor live -i eth1                           logs in /var/log/dcom-sensor
  dcom-sensor live -i eth1 -i eth2 -o logs           both directions of a tap
  dcom-sensor live -i eth1 --bpf 'net 10.0.0.0/8'    less to look at
  dcom-sensor live -i eth1 --metrics 127.0.0.1:9477  counters for Prometheus, and /health
  dcom-sensor live -i eth1 --host-logs /var/log/win  what Windows hosts log, as it comes

Signals: TERM and INT end it, HUP opens the logs anew and reads settings and catalogue again, USR1 logs the counters now.
Exit status: 0 ran, 2 it could not begin, or not everything could be written or shown.")]
pub(crate) struct Live {
    /// Listen on this interface; may be given several times.
    #[arg(short, long = "interface", required = true, value_name = "INTERFACE")]
    pub(crate) interfaces: Vec<String>,

    /// Write logs to this folder; it is made if missing. Default: where the settings say, /var/log/dcom-sensor.
    #[arg(short = 'o', long, value_name = "DIR", value_parser = folders())]
    pub(crate) log_dir: Option<PathBuf>,

    /// Print events as EVE lines in place of a line for each alert.
    #[arg(long)]
    pub(crate) json: bool,

    /// Which object calls are recorded.
    #[arg(long, value_name = "WHICH", default_value = "interest", value_enum)]
    pub(crate) calls: WhichCalls,

    #[command(flatten)]
    pub(crate) capture: CaptureOptions,

    #[command(flatten)]
    pub(crate) keys: KeysFile,

    #[command(flatten)]
    pub(crate) hosts: HostOptions,

    /// Take host logs from senders at this address of this machine: JSON lines or RFC 5424 syslog, over TCP.
    #[arg(long, value_name = "ADDRESS", help_heading = HEADING)]
    pub(crate) listen: Option<SocketAddr>,

    /// Log the counters once in so many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) stats_interval: u32,

    /// Begin new logs when one has this many mebibytes; 0 leaves that to logrotate.
    #[arg(long, value_name = "MIB", default_value_t = 0)]
    pub(crate) rotate_size: u32,

    /// Begin new logs after so many minutes; 0 leaves that to logrotate.
    #[arg(long, value_name = "MINUTES", default_value_t = 0)]
    pub(crate) rotate_minutes: u32,

    /// How logs are compressed that are over.
    #[arg(long, value_name = "HOW", default_value = "zst", value_enum)]
    pub(crate) compress: Compression,

    /// Answer at this address: /metrics for Prometheus, and /health.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) metrics: Option<SocketAddr>,

    /// Go on as this user once the interfaces are open; `nobody` where there is none of that name.
    #[arg(long, value_name = "USER", default_value = "dcom-sensor")]
    pub(crate) user: String,

    /// Go on as root.
    #[arg(long)]
    pub(crate) allow_root: bool,

    /// Print nothing but errors (and, with --json, events).
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    /// Explain each alert below its line.
    #[arg(short, long)]
    pub(crate) verbose: bool,

    #[command(flatten)]
    pub(crate) settings: Settings,
}

/// How frames come off interfaces.
#[derive(Debug, clap::Args)]
pub(crate) struct CaptureOptions {
    /// Look at nothing but what this filter lets through (as in tcpdump).
    #[arg(long, value_name = "FILTER")]
    bpf: Option<String>,

    /// Kernel rings for each interface, to which fanout deals pairs of hosts. Default: one for every four workers.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=64))]
    rings: Option<u16>,

    /// Mebibytes that the kernel holds in each ring while the sensor is busy.
    #[arg(long, value_name = "MIB", default_value_t = 64, value_parser = clap::value_parser!(u16).range(1..=2047))]
    pub(crate) ring_size: u16,

    /// Bytes of a frame that are looked at.
    #[arg(long, value_name = "BYTES", default_value_t = 65_535, value_parser = clap::value_parser!(u32).range(96..=262_144))]
    snap_length: u32,

    /// How many threads take packets apart. Default: the cores there are.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    workers: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Compression {
    /// As .zst.
    Zst,
    /// As .gz.
    Gz,
    /// Not at all.
    None,
}

impl Live {
    /// The settings in force.
    pub(crate) fn config(&self) -> Result<Config> {
        let mut config = self.settings.config()?;
        if let Some(folder) = &self.log_dir {
            config.output.log_dir.clone_from(folder);
            config.set_by_option("output", "log_dir");
        }
        self.hosts.set(&mut config);
        Ok(config)
    }
}

impl CaptureOptions {
    /// How many threads take packets apart.
    pub(crate) fn workers(&self) -> usize {
        workers(self.workers)
    }

    /// How interfaces are opened. A thread that does nothing but copy keeps several busy that take packets apart.
    pub(crate) fn listening(&self) -> Listening {
        let enough = u16::try_from(self.workers().div_ceil(4)).unwrap_or(u16::MAX).min(64);
        Listening {
            ring_bytes: i32::from(self.ring_size) * (1 << 20),
            snap_length: i32::try_from(self.snap_length).unwrap_or(i32::MAX),
            filter: self.bpf.clone(),
            rings: self.rings.unwrap_or(if cfg!(target_os = "linux") { enough } else { 1 }),
        }
    }
}
