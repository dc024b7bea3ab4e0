//! What can be typed behind `doctor`.

use std::path::PathBuf;

use super::When;
use super::live::CaptureOptions;
use crate::config::Config;
use crate::emit::growing::Colour;

/// Options of `doctor`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dcom-sensor doctor                         what this machine allows, and which interface looks like a mirror's end
  sudo dcom-sensor doctor -i eth1            what comes in there: both directions? DCOM? sealed? lost?
  sudo dcom-sensor doctor -i eth1 --seconds 300 --json
  dcom-sensor doctor capture.pcapng          the same of a capture: cut? one direction? sealed? any DCOM?

Each line says how something is (ok, warn, bad, cannot tell), and what to do about it. Nothing is written.
Exit status: 0 nothing is bad, 1 something is, 2 an interface or a capture could not be looked at.")]
pub(crate) struct Doctor {
    /// Look at these captures (files, folders, patterns, or - for standard input) and not at this machine.
    #[arg(value_name = "CAPTURE", conflicts_with_all = ["interfaces", "log_dir", "bpf"])]
    pub(crate) captures: Vec<PathBuf>,

    /// Listen on this interface; may be given several times. Without it, look at all of them from outside.
    #[arg(short, long = "interface", value_name = "INTERFACE")]
    pub(crate) interfaces: Vec<String>,

    /// For how long to listen.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    pub(crate) seconds: u32,

    /// The folder that `live` is to write logs to. Default: where the settings say, /var/log/dcom-sensor.
    #[arg(short = 'o', long, value_name = "DIR")]
    log_dir: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) capture: CaptureOptions,

    /// Read these settings (TOML), with all that they name.
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,

    /// Open sealed traffic with the keys that this file names.
    #[arg(long, value_name = "FILE")]
    pub(crate) keys: Option<PathBuf>,

    /// Listen as this user once the interfaces are open; `nobody` where there is none of that name.
    #[arg(long, value_name = "USER", default_value = "dcom-sensor")]
    pub(crate) user: String,

    /// Listen as root.
    #[arg(long)]
    pub(crate) allow_root: bool,

    /// Print one JSON object.
    #[arg(long)]
    pub(crate) json: bool,

    /// Colour the verdicts.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    color: When,
}

impl Doctor {
    /// The folder for logs.
    pub(crate) fn log_dir(&self, config: &Config) -> PathBuf {
        self.log_dir.clone().unwrap_or_else(|| config.output.log_dir.clone())
    }

    /// Colour for standard output.
    pub(crate) fn colour(&self) -> Colour {
        self.color.colour()
    }
}
