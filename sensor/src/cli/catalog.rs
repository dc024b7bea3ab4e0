//! `dcom-sensor catalog`: what is known of classes, and what is wrong in a user's file.

use std::fmt::Write as _;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::Subcommand;

use super::settings::text_of;
use super::{RAN, UNUSABLE, complain, output_width};
use crate::catalog::{self, Catalog, Class, Known};

/// Classes named when several are meant: more than these are no help.
const MAX_NAMED: usize = 20;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// List all classes.
    List {
        /// As a JSON list.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        files: Files,
    },
    /// Print all that is known of a class.
    Show {
        /// Its CLSID, name or `ProgID`, or the beginning or a part of it.
        #[arg(value_name = "CLSID|NAME")]
        class: String,
        /// As a JSON object.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        files: Files,
    },
    /// Say all that is wrong or doubtful in a file for --catalog; exit status 0 when it can be used, else 2.
    Check {
        /// The file (TOML), or - for standard input.
        file: PathBuf,
    },
}

/// What is known beside what is built in.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Files {
    /// Add classes to the built-in catalogue, or replace them (TOML).
    #[arg(long, value_name = "FILE")]
    pub(crate) catalog: Vec<PathBuf>,
}

impl Files {
    fn read(&self) -> Result<Catalog> {
        catalog_of(self.catalog.iter().map(PathBuf::as_path))
    }
}

/// What is built in, and what stands in these files.
pub(crate) fn catalog_of<'a>(files: impl IntoIterator<Item = &'a Path>) -> Result<Catalog> {
    let mut catalog = Catalog::built_in();
    for path in files {
        let name = path.display().to_string();
        let text = text_of(path)?;
        catalog.extend_from_toml(&name, &text)?;
    }
    Ok(catalog)
}

pub(super) fn run(command: &Command) -> Result<u8> {
    match command {
        Command::List { json, files } => list(&files.read()?, *json),
        Command::Show { class, json, files } => show(class, &files.read()?, *json),
        Command::Check { file } => check(file),
    }
}

fn list(catalog: &Catalog, json: bool) -> Result<u8> {
    let mut out = io::stdout().lock();
    if json {
        let known: Vec<Known<'_>> = catalog.iter().map(|class| Known::of(class, catalog)).collect();
        writeln!(out, "{}", serde_json::to_string_pretty(&known)?)?;
    } else {
        write!(out, "{}", catalog::list(catalog, output_width()))?;
    }
    Ok(RAN)
}

fn show(words: &str, catalog: &Catalog, json: bool) -> Result<u8> {
    let found = catalog.search(words);
    let [class] = found[..] else {
        tell_which(words, &found);
        return Ok(UNUSABLE);
    };
    let known = Known::of(class, catalog);
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::to_string_pretty(&known)?)?;
    } else {
        write!(out, "{}", catalog::show(&known, output_width()))?;
    }
    Ok(RAN)
}

/// None is meant, or several are: what to type.
fn tell_which(words: &str, found: &[&Class]) {
    if found.is_empty() {
        let hint = "`dcom-sensor catalog list` prints those there are";
        return complain(&format!("the catalogue has no class `{words}`"), Some(hint));
    }
    let mut message = format!("`{words}` may be each of {} classes:", found.len());
    for class in found.iter().take(MAX_NAMED) {
        let _ = write!(
            message,
            "\n  dcom-sensor catalog show {}  # {}",
            class.clsid, class.name
        );
    }
    let more = found.len().saturating_sub(MAX_NAMED);
    if more > 0 {
        let _ = write!(message, "\n  … and {more} more");
    }
    complain(&message, Some("type more of the name, or the CLSID"));
}

fn check(file: &Path) -> Result<u8> {
    let (name, text) = if file == Path::new("-") {
        (
            "<stdin>".to_owned(),
            io::read_to_string(io::stdin()).context("standard input")?,
        )
    } else {
        let name = file.display().to_string();
        (name, text_of(file)?)
    };
    let problems = catalog::check(&name, &text, &Catalog::built_in());
    let mut out = io::stdout().lock();
    if !problems.list.is_empty() {
        writeln!(out, "{problems}")?;
    }
    if problems.are_grave() {
        return Ok(UNUSABLE);
    }
    writeln!(out, "{name}: can be used")?;
    Ok(RAN)
}
