//! `dcom-sensor report`: logs in, one page out.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::{RAN, UNUSABLE, complain};
use crate::emit::foreign;
use crate::report::Report;

/// Options of `report`.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  dcom-sensor replay -o logs capture.pcapng && dcom-sensor report logs -o report.html
  dcom-sensor report /var/log/dcom-sensor -o today.html      a folder, with rotated logs
  dcom-sensor report one/eve.json two/eve.json.gz -o both.html

The page needs no network and no other file.
Exit status: 0 it was written, 2 some input could not be used.")]
pub(super) struct Options {
    /// Logs: eve.json files, plain, .gz or .zst, or folders with an eve.json and what rotation made of it.
    #[arg(required = true, value_name = "LOG-DIR|EVE")]
    inputs: Vec<PathBuf>,

    /// Write the page to this file, or to standard output if it is -.
    #[arg(short = 'o', long, value_name = "FILE", default_value = "report.html")]
    output: PathBuf,

    /// Print nothing but errors.
    #[arg(short, long)]
    quiet: bool,
}

pub(super) fn run(options: &Options) -> Result<u8> {
    if options.output != Path::new("-") {
        foreign::refuse_input(&options.output, &crate::report::files(&options.inputs))?;
    }
    if options.output.is_dir() {
        let folder = options.output.display();
        bail!(
            "{folder}: is a folder; -o names the page in it: {}",
            options.output.join("report.html").display()
        );
    }
    let report = match Report::read(&options.inputs) {
        Ok(report) => report,
        Err(unusable) => {
            tell(&unusable);
            complain(
                "there is nothing to report from",
                Some("`dcom-sensor replay -o DIR CAPTURE` writes an eve.json"),
            );
            return Ok(UNUSABLE);
        }
    };
    tell(&report.unusable);
    tell(&report.bad_lines);
    if report.nothing_of_ours {
        complain(
            "there is no event of dcom-sensor in these logs: what they do not say is not known",
            Some("`dcom-sensor replay -o DIR CAPTURE` writes an eve.json"),
        );
    }
    let to_stdout = options.output == Path::new("-");
    let mut page = Vec::new();
    report.write(&mut page)?;
    if to_stdout {
        io::stdout().lock().write_all(&page)?;
    } else {
        let name = || options.output.display().to_string();
        std::fs::write(&options.output, page).with_context(name)?;
    }
    if !options.quiet && !to_stdout {
        let mut out = io::stdout().lock();
        writeln!(out, "{}", report.headline())?;
        let (incidents, alerts) = (report.incidents, report.alerts);
        writeln!(
            out,
            "{}: {incidents} {} of {alerts} {}",
            options.output.display(),
            if incidents == 1 { "incident" } else { "incidents" },
            if alerts == 1 { "alert" } else { "alerts" }
        )?;
    }
    Ok(if report.unusable.is_empty() && !report.nothing_of_ours {
        RAN
    } else {
        UNUSABLE
    })
}

fn tell(messages: &[String]) {
    for message in messages {
        complain(message, None);
    }
}
