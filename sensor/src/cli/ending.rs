//! What a run prints when all is read: the table, or what stands beside lines.

use std::fmt::Display;
use std::io::{self, Write};

use super::{Lines, output_width};
use crate::emit::growing::{Colour, Growing, Shown};
use crate::emit::reasons::Reasons;
use crate::policy::{self, Policy};

/// A run that has read all.
pub(crate) struct Ending<'r, R> {
    /// Where events went, if not into the table.
    pub(crate) lines: Option<&'r mut Lines>,
    pub(crate) table: &'r mut Growing<R>,
    /// What explains the rows of the table, if that was asked for.
    pub(crate) reasons: Option<Reasons>,
    pub(crate) policy: &'r Policy,
    pub(crate) show_suppressed: bool,
    pub(crate) colour: Colour,
    pub(crate) quiet: bool,
    pub(crate) verbose: bool,
}

impl<R: Shown> Ending<'_, R> {
    pub(crate) fn print(
        mut self,
        summary: &impl Display,
        counters: impl Iterator<Item = (&'static str, u64)>,
    ) -> io::Result<()> {
        if let Some(lines) = &mut self.lines {
            lines.flush()?;
        }
        if let Some(reasons) = self.reasons {
            self.table.add(&reasons.print(output_width(), self.colour));
        }
        let suppressed = self.verbose && self.policy.counters().suppressed > 0;
        if self.show_suppressed || suppressed {
            let listed = policy::report(self.policy, output_width());
            if self.lines.is_some() || self.quiet {
                write!(io::stderr().lock(), "{listed}")?;
            } else {
                self.table.add(&listed);
            }
        }
        if !self.quiet {
            if self.lines.is_none() {
                self.table.write(&mut io::stdout().lock(), summary)?;
            } else {
                writeln!(io::stderr().lock(), "{summary}")?;
            }
        }
        if self.verbose {
            let mut stderr = io::stderr().lock();
            for (name, count) in counters {
                writeln!(stderr, "{name:32} {count}")?;
            }
        }
        self.lines.map_or(Ok(()), Lines::end)
    }
}
