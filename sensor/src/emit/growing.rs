//! A table that grows row by row, and what stands below it: of alerts, of findings.

use std::borrow::Cow;
use std::fmt::Display;
use std::io::{self, Write};

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};

use super::summary::counted;
use crate::severity::Severity;

/// Rows beyond these are counted only: who wants them all reads the logs.
pub(super) const MAX_ROWS: usize = 1_000;

/// Narrower than this nothing can be read.
pub(super) const MIN_WIDTH: u16 = 40;

/// Narrower than this there is no room for three columns.
const THREE: u16 = 60;

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

    /// Heads of few columns.
    const NARROW: [&str; 3];

    /// A row of them: time and severity first.
    fn few(&self) -> [String; 3];
}

/// How much room there is for columns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// For one for each thing.
    Wide,
    /// For three.
    Narrow,
    /// For two.
    Stacked,
}

impl Layout {
    fn of(width: u16) -> Self {
        match width {
            WIDE.. => Self::Wide,
            THREE.. => Self::Narrow,
            _ => Self::Stacked,
        }
    }

    fn table<R: Shown>(self, rows: &[R], width: u16) -> Table {
        let stacked = |[time, ends, what]: [String; 3]| [time.replacen(' ', "\n", 1), format!("{ends}\n{what}")];
        let mut table = empty(width);
        match self {
            Self::Wide => return R::wide(rows, width),
            Self::Narrow => {
                table.set_header(R::NARROW);
                table.add_rows(rows.iter().map(R::few));
            }
            Self::Stacked => {
                let [_, ends, what] = R::NARROW;
                table.set_header(["when".to_owned(), format!("{}, {what}", ends.replace('\n', " "))]);
                table.add_rows(rows.iter().map(|row| stacked(row.few())));
            }
        }
        table.set_constraints([ColumnConstraint::ContentWidth]);
        table
    }
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
    pub fn add(&mut self, lines: &str) {
        if !self.below.is_empty() {
            self.below.push('\n');
        }
        self.below.push_str(lines);
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
            let layout = Layout::of(self.width);
            for line in layout.table(&self.rows, self.width).lines() {
                writeln!(out, "{}", coloured(line.trim_end(), layout, self.colour))?;
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

/// Colours the severity: in a wide table what stands behind the time, else a line's first word. Nothing from the wire
/// stands there.
pub(super) fn coloured(line: &str, layout: Layout, colour: Colour) -> Cow<'_, str> {
    /// A blank, date and time, and what is between two columns.
    const TIME: usize = 1 + 19 + 3;
    let before = match layout {
        Layout::Wide => TIME,
        Layout::Narrow | Layout::Stacked => 1,
    };
    let is_before = |text: &str| text.chars().all(|c| c.is_ascii_digit() || matches!(c, '-' | ':' | ' '));
    // Where a cell goes on in further lines, there is no time.
    let has_time = layout != Layout::Wide || line.as_bytes().get(1).is_some_and(u8::is_ascii_digit);
    let Some((before, rest)) = line
        .split_at_checked(before)
        .filter(|(before, _)| has_time && is_before(before))
    else {
        return Cow::Borrowed(line);
    };
    let word = rest.split(' ').next().unwrap_or_default();
    match Severity::ALL.into_iter().find(|severity| severity.name() == word) {
        Some(severity) if colour == Colour::Always => {
            let after = rest.get(word.len()..).unwrap_or_default();
            Cow::Owned(format!("{before}\x1b[{}m{severity}\x1b[0m{after}", style(severity)))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_in_the_column_of_severities_is_coloured() {
        let painted = |line: &str, layout| coloured(line, layout, Colour::Always).contains('\x1b');
        let time = " 2026-11-22 09:45:55   ";
        assert!(painted(&format!("{time}high       192.0.2.20"), Layout::Wide));
        assert!(painted(" high       192.0.2.20", Layout::Narrow));
        assert!(painted(" critical", Layout::Stacked));
        // A host that calls itself so, behind the time of a narrow table; what goes on in a further line.
        assert!(!painted(&format!("{time}high"), Layout::Narrow));
        assert!(!painted(" 2026-11-22   high", Layout::Stacked));
        assert!(!painted(&format!("{:23}high", ""), Layout::Wide));
        assert!(!painted(&format!("{time}higher"), Layout::Wide));
        assert!(!coloured(" high", Layout::Narrow, Colour::Never).contains('\x1b'));
    }
}
