//! A table that grows row by row, and what stands below it: of alerts, of findings.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, Write};

use comfy_table::{ContentArrangement, Table, presets};

use super::summary::counted;
use crate::severity::Severity;

/// Rows beyond these are counted only: who wants them all reads the logs.
pub(super) const MAX_ROWS: usize = 1_000;

/// Narrower than this no table can be read.
pub(super) const MIN_WIDTH: u16 = 60;

/// Narrower than this there is no room for a column for each thing.
pub(super) const WIDE: u16 = 120;

/// Are severities coloured?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Yes, whatever the output is.
    Always,
    /// No.
    Never,
}

/// Rows as they are shown.
pub trait Shown: Sized {
    /// What those are called that found no room: one, and several.
    const MORE: (&str, &str);

    /// With a column for each thing.
    fn wide(rows: &[Self], width: u16) -> Table;

    /// With few columns.
    fn narrow(rows: &[Self], width: u16) -> Table;
}

/// The table, as it grows.
#[derive(Debug)]
pub struct Growing<R> {
    width: u16,
    colour: Colour,
    rows: Vec<R>,
    more: u64,
    /// What stands between the table and the summary.
    below: String,
}

impl<R: Shown> Growing<R> {
    /// An empty table, not wider than `width` columns.
    pub fn new(width: u16, colour: Colour) -> Self {
        Self {
            width: width.max(MIN_WIDTH),
            colour,
            rows: Vec::new(),
            more: 0,
            below: String::new(),
        }
    }

    /// Adds lines below the table.
    pub fn add(&mut self, lines: String) {
        self.below = lines;
    }

    /// Adds a row, which is made where there is room for it.
    pub(super) fn add_row(&mut self, row: impl FnOnce() -> R) {
        if self.rows.len() < MAX_ROWS {
            self.rows.push(row());
        } else {
            self.more += 1;
        }
    }

    /// Prints the table, if there is anything in it, and the summary.
    pub fn write(&self, out: &mut dyn Write, summary: &impl Display) -> io::Result<()> {
        if !self.rows.is_empty() {
            let shown = if self.width < WIDE { R::narrow } else { R::wide };
            for line in shown(&self.rows, self.width).lines() {
                writeln!(out, "{}", coloured(line.trim_end(), self.colour))?;
            }
            if self.more > 0 {
                let (one, several) = R::MORE;
                writeln!(out, "… and {}, in the logs", counted(self.more, one, several))?;
            }
            writeln!(out)?;
        }
        if !self.below.is_empty() {
            writeln!(out, "{}", self.below)?;
        }
        writeln!(out, "{summary}")
    }
}

/// A table that is not wider than this.
pub(super) fn empty(width: u16) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width);
    table
}

/// Colours the severity: a line's first word, or the first after the time. Nothing from the wire stands there.
pub(super) fn coloured(line: &str, colour: Colour) -> Cow<'_, str> {
    let first_column = line
        .strip_prefix(' ')
        .filter(|line| !line.starts_with(' '))
        .unwrap_or_default();
    let rest = first_column.trim_start_matches(|c: char| c.is_ascii_digit() || matches!(c, '-' | ':' | ' '));
    match Severity::ALL
        .into_iter()
        .find(|severity| rest.starts_with(severity.name()))
    {
        Some(severity) if colour == Colour::Always => {
            let painted = format!("\x1b[{}m{severity}\x1b[0m", style(severity));
            Cow::Owned(line.replacen(severity.name(), &painted, 1))
        }
        _ => Cow::Borrowed(line),
    }
}

fn style(severity: Severity) -> &'static str {
    match severity {
        Severity::Critical => "1;31",
        Severity::High => "31",
        Severity::Medium => "33",
        Severity::Low => "36",
        Severity::Informational => "2",
    }
}
