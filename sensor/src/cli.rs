//! The command line: what can be typed, and what it means.

mod catalog;
mod doctor;
mod ending;
mod explain;
mod hosts;
mod hunt;
mod lines;
mod live;
mod report;
pub(crate) mod settings;
mod voice;

use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Result;
use clap::builder::{PathBufValueParser, PossibleValuesParser, TypedValueParser};
use clap::{CommandFactory, Parser, Subcommand, ValueEnum};

use crate::config::Config;
use crate::dcom::Calls;
use crate::document::Problems;
use crate::emit::Format;
use crate::emit::console::printable;
use crate::emit::growing::Colour;
use crate::extract::ExtractError;
use crate::keys::{self, Keep, Keys, KeysError, Used};
use crate::outputs::{Outputs, Pace, Prepared};
use crate::replay;
use crate::severity::Severity;
pub(crate) use doctor::Doctor;
pub(crate) use ending::Ending;
pub(crate) use hosts::Loaded;
pub(crate) use lines::{Lines, Unread};
pub(crate) use live::{Compression, Live};
pub(crate) use voice::speak_aside;

/// Everything ran.
pub const RAN: u8 = 0;
/// `--fail-on` was met.
pub const FOUND: u8 = 1;
/// Some input or setting could not be used; what could be read has been processed and logged.
pub const UNUSABLE: u8 = 2;
/// Interrupted by Ctrl-C; the logs are complete up to there.
pub const INTERRUPTED: u8 = 130;

/// How wide a table is when nobody can say.
const WIDTH_WITHOUT_TERMINAL: u16 = 160;

/// What is typed to run it.
const NAME: &str = "dcom-sensor";

/// Sees DCOM lateral movement (ATT&CK T1021.003) on the wire.
#[derive(Debug, Parser)]
#[command(name = NAME, version, about, max_term_width = 100)]
#[command(
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    arg_required_else_help = true
)]
pub struct Arguments {
    /// Print what a detection sees, how sure it is, and what sets it off wrongly.
    #[arg(long, value_name = "SIGNATURE_ID", required = true)]
    explain: Option<u32>,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Read captures: pcap and pcapng, plain, .gz or .zst.
    Replay(Replay),
    /// Read host logs alone: EVTX, JSON and CSV exports, plain, .gz or .zst; tell what points to DCOM lateral movement.
    Hunt(hunt::Hunt),
    /// Look at the catalogue of classes, or check a file that adds to it.
    #[command(subcommand)]
    Catalog(catalog::Command),
    /// Print what makes a shell complete the options.
    #[command(after_help = "\
Examples:
  dcom-sensor completions bash > /etc/bash_completion.d/dcom-sensor
  dcom-sensor completions fish > ~/.config/fish/completions/dcom-sensor.fish")]
    Completions {
        /// For which shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page: all commands and options.
    #[command(after_help = "Example: dcom-sensor man | man -l -")]
    Man,
    /// Listen on interfaces: a SPAN port, a tap.
    Live(Live),
    /// Say whether the sensor would see DCOM on this machine, or in a capture, and what is in its way.
    Doctor(Doctor),
    /// Make one page out of logs, to read, to print and to send.
    Report(report::Options),
}

/// Options of `replay`.
#[allow(clippy::struct_excessive_bools, reason = "each is a switch that can be typed")]
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dcom-sensor replay capture.pcapng                  alerts as a table
  dcom-sensor replay -o logs captures/               eve.json and Zeek logs for a folder of captures
  dcom-sensor replay --extract packets captures/     a pcapng for each incident, to open in Wireshark
  zcat big.pcap.gz | dcom-sensor replay --json -     events as EVE lines
  dcom-sensor replay --fail-on high *.pcap           exit status 1 when there is a high or critical alert

Exit status: 0 ran, 1 --fail-on was met, 2 some input or setting could not be used, 130 interrupted.")]
pub(crate) struct Replay {
    /// Captures: files, folders, patterns, or - for standard input.
    #[arg(required_unless_present = "print_config", value_name = "INPUT")]
    pub(crate) inputs: Vec<PathBuf>,

    /// Write logs to this folder; it is made if missing. Without it, only print.
    #[arg(short = 'o', long, value_name = "DIR", value_parser = folders())]
    pub(crate) log_dir: Option<PathBuf>,

    /// Write the packets of each alert's connections to this folder: a pcapng for each incident, with comments on the
    /// frames that decide. Captures are read twice; files that an earlier run wrote there are replaced.
    #[arg(long, value_name = "DIR", value_parser = folders())]
    pub(crate) extract: Option<PathBuf>,

    /// Print events as EVE lines in place of the table.
    #[arg(long)]
    pub(crate) json: bool,

    /// Which object calls are recorded.
    #[arg(long, value_name = "WHICH", default_value = "interest", value_enum)]
    pub(crate) calls: WhichCalls,

    /// How many threads take packets apart; the logs are the same for any number. Default: the cores there are.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..))]
    workers: Option<u16>,

    #[command(flatten)]
    pub(crate) keys: KeyOptions,

    #[command(flatten)]
    pub(crate) hosts: hosts::HostOptions,

    #[command(flatten)]
    log_hosts: hosts::LogHosts,

    /// Show alerts of this severity and above; logs hold all of them.
    #[arg(long, value_name = "SEVERITY", default_value = "informational", value_parser = severities())]
    pub(crate) min_severity: Severity,

    /// Exit with status 1 when there is an alert of this severity or above.
    #[arg(long, value_name = "SEVERITY", value_parser = severities())]
    pub(crate) fail_on: Option<Severity>,

    /// Print nothing but errors (and, with --json, events).
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,

    /// Explain each alert of the table, list what was suppressed, and print every counter at the end.
    #[arg(short, long)]
    pub(crate) verbose: bool,

    /// Show no progress bar.
    #[arg(long)]
    no_progress: bool,

    /// Colour the table.
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    color: When,

    #[command(flatten)]
    pub(crate) settings: settings::Settings,
}

/// Keys for sealed traffic.
#[derive(Debug, clap::Args)]
pub(crate) struct KeysFile {
    /// Open sealed traffic with the keys that this file names (TOML, mode 0600; see docs/KEYS.md).
    #[arg(long = "keys", value_name = "FILE")]
    file: Option<PathBuf>,
}

/// Keys for sealed traffic, and what becomes of that which they open.
#[derive(Debug, clap::Args)]
pub(crate) struct KeyOptions {
    #[command(flatten)]
    keys: KeysFile,

    /// Write each stub that was opened to this file, as a line of JSON.
    #[arg(long, value_name = "FILE", requires = "file")]
    pub(crate) unsealed: Option<PathBuf>,
}

impl KeysFile {
    /// Loads the keys, if there are any.
    pub(crate) fn load(&self, keep: Keep) -> Result<Option<Used>> {
        let Some(path) = &self.file else { return Ok(None) };
        if !keys::keep_out_of_core_dumps() {
            let hint = "`ulimit -c 0` before the sensor is started keeps them out";
            complain("the system refuses to keep keys out of core dumps", Some(hint));
        }
        let keys = Arc::new(Keys::load(path)?);
        Ok(Some(Used { keys, keep }))
    }
}

impl KeyOptions {
    /// Loads the keys, if there are any.
    pub(crate) fn load(&self) -> Result<Option<Used>> {
        let keep = if self.unsealed.is_some() {
            Keep::Stubs
        } else {
            Keep::Records
        };
        self.keys.load(keep)
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

fn log_formats() -> impl TypedValueParser<Value = Format> {
    PossibleValuesParser::new(Format::ALL.map(Format::name)).try_map(|name| name.parse::<Format>())
}

/// Folders to write to. `-`, where others write to standard output, is taken for none.
fn folders() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(|folder| {
        if folder == Path::new("-") {
            return Err("a folder is expected: `--json` prints events, and `./-` is a folder of that name");
        }
        if folder.is_file() {
            return Err("a folder is expected, and this is a file");
        }
        Ok(folder)
    })
}

/// So many threads, or one for each core.
fn workers(wanted: Option<u16>) -> usize {
    wanted.map_or_else(
        || std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        usize::from,
    )
}

impl Replay {
    /// How many threads take packets apart.
    pub(crate) fn workers(&self) -> usize {
        workers(self.workers)
    }

    /// Is there someone to show progress to?
    pub(crate) fn shows_progress(&self) -> bool {
        !self.no_progress && !self.quiet && io::stderr().is_terminal()
    }

    /// Colour for standard output.
    pub(crate) fn colour(&self) -> Colour {
        self.color.colour()
    }
}

impl When {
    fn colour(self) -> Colour {
        let wanted = match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => {
                io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        };
        if wanted { Colour::Always } else { Colour::Never }
    }
}

/// Does what was asked, and says how it went.
pub fn run(arguments: &Arguments) -> ExitCode {
    let done = match &arguments.command {
        Some(Command::Replay(replay)) => replay::run(replay),
        Some(Command::Hunt(hunt)) => hunt::run(hunt),
        Some(Command::Live(live)) => crate::live::run(live),
        Some(Command::Doctor(options)) => crate::doctor::run(options),
        Some(Command::Catalog(command)) => catalog::run(command),
        Some(Command::Report(options)) => report::run(options),
        Some(Command::Completions { shell }) => completions(*shell),
        Some(Command::Man) => manual(),
        // One of the two is required.
        None => explain::run(arguments.explain.unwrap_or_default()),
    };
    let code = match done {
        Ok(status) => ExitCode::from(status),
        Err(error) if is_broken_pipe(&error) => ExitCode::from(RAN),
        Err(error) => {
            // Each names its file and line, as editors know it.
            if let Some(problems) = error.downcast_ref::<Problems>() {
                tell(&problems.to_string());
            } else {
                let of_keys = error.downcast_ref::<KeysError>().and_then(KeysError::hint);
                let of_extract = error.downcast_ref::<ExtractError>().and_then(ExtractError::hint);
                complain(&format!("{error:#}"), of_keys.as_deref().or(of_extract));
            }
            ExitCode::from(UNUSABLE)
        }
    };
    voice::finish();
    code
}

fn completions(shell: clap_complete::Shell) -> Result<u8> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), NAME, &mut text);
    if shell == clap_complete::Shell::Bash {
        // clap_complete 4.6 (clap-rs/clap #6421) looks commands up as if a hyphen in the program's name stood between two of them.
        let [wrong, right] = ["__subcmd__", "__"].map(|hyphen| NAME.replace('-', hyphen));
        text = String::from_utf8(text)?.replace(&wrong, &right).into_bytes();
    }
    io::stdout().lock().write_all(&text)?;
    Ok(RAN)
}

/// One page: the program's, then that of each command without the head that all share.
fn manual() -> Result<u8> {
    // It goes without a command.
    let mut command = Arguments::command().mut_arg("explain", |explain| explain.required(false));
    command.build();
    let mut head = Vec::new();
    clap_mangen::Man::new(command.clone()).render(&mut head)?;
    // Commands have no pages of their own, but sections of this one.
    let mut head = String::from_utf8(head)?;
    for part in command.get_subcommands().map(clap::Command::get_name) {
        head = head.replace(&format!("\\-sensor\\-{part}(1)\n"), &format!("\\-sensor {part}\n"));
    }
    let mut page = head.into_bytes();
    commands_manual(&command, &mut page)?;
    io::stdout().lock().write_all(&page)?;
    Ok(RAN)
}

fn commands_manual(parent: &clap::Command, page: &mut Vec<u8>) -> Result<()> {
    for command in parent.get_subcommands().filter(|command| command.get_name() != "help") {
        let name = command.get_bin_name().unwrap_or(command.get_name()).to_owned();
        writeln!(page, ".SH \"{}\"", name.to_uppercase())?;
        let man = clap_mangen::Man::new(command.clone());
        let mut part = Vec::new();
        man.render_description_section(&mut part)?;
        man.render_synopsis_section(&mut part)?;
        man.render_options_section(&mut part)?;
        if let Some(after) = command.get_after_help() {
            write_after_help(&after.to_string(), &mut part)?;
        }
        // Sections of a command are subsections of the page.
        page.extend_from_slice(String::from_utf8(part)?.replace(".SH ", ".SS ").as_bytes());
        commands_manual(command, page)?;
    }
    Ok(())
}

/// What stands below the options, with its own sections; what is indented there is shown line by line.
fn write_after_help(text: &str, page: &mut Vec<u8>) -> io::Result<()> {
    for line in text.lines().filter(|line| !line.is_empty()) {
        let section = |(head, _): &(&str, &str)| ["Example", "Examples", "Signals", "Exit status"].contains(head);
        let (head, rest) = line.split_once(':').filter(section).unwrap_or(("", line));
        if !head.is_empty() {
            writeln!(page, ".SH \"{}\"", head.to_uppercase())?;
        }
        // Nothing in it is a command or an escape.
        let rest_escaped = rest.trim_start().replace('\\', "\\e").replace('-', "\\-");
        match rest.trim_start() {
            "" => {}
            _ if rest.starts_with("  ") => writeln!(page, ".nf\n\\&{rest_escaped}\n.fi")?,
            _ => writeln!(page, "\\&{rest_escaped}")?,
        }
    }
    Ok(())
}

/// Runs with the settings' outputs; whatever becomes of the run, what was told is brought where it was to go.
pub(crate) fn with_outputs(config: &Config, verbose: bool, run: impl FnOnce(&Outputs) -> Result<u8>) -> Result<u8> {
    let outputs = Prepared::new(config)?.start(Pace::Patient)?;
    let outcome = run(&outputs);
    let all_delivered = outputs.end(verbose);
    Ok(match outcome? {
        RAN | FOUND if !all_delivered => UNUSABLE,
        code => code,
    })
}

/// How wide what is printed may be.
pub(crate) fn output_width() -> u16 {
    let terminal = console::Term::stdout();
    if terminal.is_term() {
        terminal.size().1
    } else {
        WIDTH_WITHOUT_TERMINAL
    }
}

/// Whoever read our output has stopped: there is nothing left to do, and nothing wrong.
fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<io::Error>())
        .map(io::Error::kind);
    kind == Some(io::ErrorKind::BrokenPipe)
}

/// Lines on standard error. Names of files stand in them, which whoever made the files chose: none of it commands the
/// terminal.
pub(crate) fn tell(lines: &str) {
    let mut message = String::with_capacity(lines.len() + 1);
    for line in lines.lines() {
        message.push_str(&printable(line));
        message.push('\n');
    }
    voice::say(message);
}

/// What of folders was not read, since it is no `what`.
pub(crate) fn tell_passed_over(files: &[PathBuf], what: &str, by_name: bool) {
    match files {
        [] => {}
        files if by_name => {
            for file in files {
                let file = file.display().to_string();
                complain(&format!("{}: no {what}, passed over", printable(&file)), None);
            }
        }
        [_] => complain(
            &format!("1 file in a folder is no {what} and was passed over"),
            Some("-v names it"),
        ),
        files => complain(
            &format!("{} files in folders are no {what}s and were passed over", files.len()),
            Some("-v names them"),
        ),
    }
}

/// One line on standard error, and what to do about it.
pub(crate) fn complain(message: &str, hint: Option<&str>) {
    let hint = hint.map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
    tell(&format!("dcom-sensor: {message}{hint}"));
}
