//! The command line: what can be typed, and what it means.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{Parser, Subcommand, ValueEnum};

use crate::Sensor;
use crate::catalog::Catalog;
use crate::dcom::Calls;
use crate::emit::Format;
use crate::emit::console::Colour;
use crate::keys::{self, Keep, Keys, KeysError};
use crate::replay;
use crate::severity::Severity;

/// Everything ran.
pub const RAN: u8 = 0;
/// `--fail-on` was met.
pub const FOUND: u8 = 1;
/// Some input or setting could not be used; what could be read has been processed and logged.
pub const UNUSABLE: u8 = 2;
/// Interrupted by Ctrl-C; the logs are complete up to there.
pub const INTERRUPTED: u8 = 130;

/// Sees DCOM lateral movement (ATT&CK T1021.003) on the wire.
#[derive(Debug, Parser)]
#[command(name = "dcom-sensor", version, about, max_term_width = 100)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read captures: pcap and pcapng, plain, .gz or .zst.
    Replay(Replay),
}

/// Options of `replay`.
#[allow(clippy::struct_excessive_bools, reason = "each is a switch that can be typed")]
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dcom-sensor replay capture.pcapng                  alerts as a table
  dcom-sensor replay -o logs captures/               eve.json and Zeek logs for a folder of captures
  zcat big.pcap.gz | dcom-sensor replay --json -     events as EVE lines
  dcom-sensor replay --fail-on high *.pcap           exit status 1 when there is a high or critical alert

Exit status: 0 ran, 1 --fail-on was met, 2 some input or setting could not be used, 130 interrupted.")]
pub(crate) struct Replay {
    /// Captures: files, folders, patterns, or - for standard input.
    #[arg(required = true, value_name = "INPUT")]
    pub(crate) inputs: Vec<PathBuf>,

    /// Write logs to this folder; it is made if missing. Without it, only print.
    #[arg(short = 'o', long, value_name = "DIR")]
    pub(crate) log_dir: Option<PathBuf>,

    /// Which logs to write.
    #[arg(long, value_name = "FORMATS", value_delimiter = ',', default_value = "eve,zeek", value_parser = formats())]
    pub(crate) logs: Vec<Format>,

    /// Print events as EVE lines in place of the table.
    #[arg(long)]
    pub(crate) json: bool,

    /// Which object calls are recorded.
    #[arg(long, value_name = "WHICH", default_value = "interest", value_enum)]
    pub(crate) calls: WhichCalls,

    /// Add classes to the built-in catalogue, or replace them (TOML).
    #[arg(long, value_name = "FILE")]
    catalog: Vec<PathBuf>,

    #[command(flatten)]
    pub(crate) keys: KeyOptions,

    /// Show alerts of this severity and above; logs hold all of them.
    #[arg(long, value_name = "SEVERITY", default_value = "informational", value_parser = severities())]
    pub(crate) min_severity: Severity,

    /// Exit with status 1 when there is an alert of this severity or above.
    #[arg(long, value_name = "SEVERITY", value_parser = severities())]
    pub(crate) fail_on: Option<Severity>,

    /// Print nothing but errors (and, with --json, events).
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    /// Print every counter at the end.
    #[arg(short, long)]
    pub(crate) verbose: bool,

    /// Show no progress bar.
    #[arg(long)]
    no_progress: bool,

    /// Colour the table.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    color: When,
}

/// Keys for sealed traffic.
#[derive(Debug, clap::Args)]
pub(crate) struct KeyOptions {
    /// Open sealed traffic with the keys that this file names (TOML, mode 0600; see docs/KEYS.md).
    #[arg(long = "keys", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,

    /// Write each stub that was opened to this file, as a line of JSON.
    #[arg(long, value_name = "FILE", requires = "file")]
    pub(crate) unsealed: Option<PathBuf>,
}

impl KeyOptions {
    /// Loads the keys, if there are any, and gives them to the sensor.
    pub(crate) fn hand_to(&self, sensor: &mut Sensor) -> Result<()> {
        let Some(path) = &self.file else { return Ok(()) };
        keys::keep_out_of_core_dumps();
        let keep = if self.unsealed.is_some() {
            Keep::Stubs
        } else {
            Keep::Records
        };
        sensor.use_keys(Arc::new(Keys::load(path)?), keep);
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum WhichCalls {
    /// Those that say what was done: `IDispatch`, WMI, tasks, services.
    Interest,
    /// Bookkeeping too: references, type information.
    All,
}

impl From<WhichCalls> for Calls {
    fn from(which: WhichCalls) -> Self {
        match which {
            WhichCalls::Interest => Self::Interest,
            WhichCalls::All => Self::All,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum When {
    /// On a terminal, unless `NO_COLOR` is set.
    Auto,
    Always,
    Never,
}

fn severities() -> impl TypedValueParser<Value = Severity> {
    PossibleValuesParser::new(Severity::ALL.map(Severity::name)).try_map(|name| name.parse::<Severity>())
}

fn formats() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(Format::ALL.map(Format::name)).try_map(|name| name.parse::<Format>())
}

impl Replay {
    /// The classes to know.
    pub(crate) fn catalog(&self) -> Result<Catalog> {
        let mut catalog = Catalog::built_in();
        for path in &self.catalog {
            let name = path.display().to_string();
            let text = std::fs::read_to_string(path).with_context(|| name.clone())?;
            catalog.extend_from_toml(&name, &text)?;
        }
        Ok(catalog)
    }

    /// Is there someone to show progress to?
    pub(crate) fn shows_progress(&self) -> bool {
        !self.no_progress && !self.quiet && std::io::stderr().is_terminal()
    }

    /// Colour for standard output.
    pub(crate) fn colour(&self) -> Colour {
        let wanted = match self.color {
            When::Always => true,
            When::Never => false,
            When::Auto => {
                std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        };
        if wanted { Colour::Always } else { Colour::Never }
    }
}

/// Does what was asked, and says how it went.
pub fn run(arguments: &Arguments) -> ExitCode {
    let Command::Replay(replay) = &arguments.command;
    match replay::run(replay) {
        Ok(status) => ExitCode::from(status),
        Err(error) if is_broken_pipe(&error) => ExitCode::from(RAN),
        Err(error) => {
            let hint = error.downcast_ref::<KeysError>().and_then(KeysError::hint);
            complain(&format!("{error:#}"), hint.as_deref());
            ExitCode::from(UNUSABLE)
        }
    }
}

/// Whoever read our output has stopped: there is nothing left to do, and nothing wrong.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<std::io::Error>())
        .map(std::io::Error::kind);
    kind == Some(std::io::ErrorKind::BrokenPipe)
}

/// One line on standard error, and what to do about it.
pub(crate) fn complain(message: &str, hint: Option<&str>) {
    let mut stderr = std::io::stderr().lock();
    // With standard error closed there is nobody to tell.
    let _ = writeln!(stderr, "dcom-sensor: {message}");
    if let Some(hint) = hint {
        let _ = writeln!(stderr, "hint: {hint}");
    }
}
