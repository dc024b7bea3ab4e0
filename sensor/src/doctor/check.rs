//! What was looked at, how it is, and what to do about it: as lines for a person, as JSON for a machine.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use comfy_table::{ColumnConstraint, ContentArrangement, Table, presets};
use serde::Serialize;

use crate::cli::{FOUND, RAN, UNUSABLE};
use crate::emit::console::printable;
use crate::emit::growing::Colour;
use crate::emit::summary::counted;

/// How something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Verdict {
    /// As it should be.
    Ok,
    /// It was looked for, and could not be found out.
    CannotTell,
    /// It works, and could work better; or something is not as one would expect.
    Warn,
    /// Something will not be seen, or not be written.
    Bad,
}

impl Verdict {
    fn words(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::CannotTell => "cannot tell",
            Self::Warn => "warn",
            Self::Bad => "bad",
        }
    }

    fn style(self) -> &'static str {
        match self {
            Self::Ok => "32",
            Self::CannotTell => "36",
            Self::Warn => "33",
            Self::Bad => "1;31",
        }
    }
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
pub(super) struct Check {
    /// What: a name that stays.
    #[serde(rename = "check")]
    pub(super) name: &'static str,
    /// Of which interface, capture or file.
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(rename = "result")]
    pub(super) verdict: Verdict,
    pub(super) says: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    what_to_do: Option<String>,
    /// The numbers that it rests on.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    measured: BTreeMap<&'static str, u64>,
}

impl Check {
    fn new(name: &'static str, verdict: Verdict, says: impl Into<String>, what_to_do: Option<String>) -> Self {
        Self {
            name,
            subject: None,
            verdict,
            says: says.into(),
            what_to_do,
            measured: BTreeMap::new(),
        }
    }

    pub(super) fn ok(name: &'static str, says: impl Into<String>) -> Self {
        Self::new(name, Verdict::Ok, says, None)
    }

    pub(super) fn cannot_tell(name: &'static str, says: impl Into<String>, what_to_do: impl Into<String>) -> Self {
        Self::new(name, Verdict::CannotTell, says, Some(what_to_do.into()))
    }

    pub(super) fn warn(name: &'static str, says: impl Into<String>, what_to_do: impl Into<String>) -> Self {
        Self::new(name, Verdict::Warn, says, Some(what_to_do.into()))
    }

    pub(super) fn bad(name: &'static str, says: impl Into<String>, what_to_do: impl Into<String>) -> Self {
        Self::new(name, Verdict::Bad, says, Some(what_to_do.into()))
    }

    /// Names what it is about.
    pub(super) fn of(mut self, subject: &str) -> Self {
        self.subject = Some(subject.to_owned());
        self
    }

    /// Adds the numbers that it rests on.
    pub(super) fn measured<const N: usize>(mut self, numbers: [(&'static str, u64); N]) -> Self {
        self.measured.extend(numbers);
        self
    }
}

/// All that was looked at.
#[derive(Debug, Default)]
pub(super) struct Checkup {
    pub(super) checks: Vec<Check>,
    /// Something that was asked for could not be looked at.
    pub(super) incomplete: bool,
}

impl Checkup {
    pub(super) fn status(&self) -> u8 {
        if self.incomplete {
            UNUSABLE
        } else if self.count(Verdict::Bad) > 0 {
            FOUND
        } else {
            RAN
        }
    }

    fn count(&self, verdict: Verdict) -> usize {
        self.checks.iter().filter(|check| check.verdict == verdict).count()
    }

    /// The worst there is: what cannot be told is worse than what is well, and better than what is doubtful.
    fn worst(&self) -> Verdict {
        let all = [Verdict::Bad, Verdict::Warn, Verdict::CannotTell];
        let found = all.into_iter().find(|&verdict| self.count(verdict) > 0);
        found.unwrap_or(Verdict::Ok)
    }

    /// One object with all checks.
    pub(super) fn json(&self) -> serde_json::Result<String> {
        #[derive(Serialize)]
        struct Page<'c> {
            result: Verdict,
            exit_status: u8,
            version: &'static str,
            checks: &'c [Check],
        }
        let page = Page {
            result: self.worst(),
            exit_status: self.status(),
            version: env!("CARGO_PKG_VERSION"),
            checks: &self.checks,
        };
        serde_json::to_string_pretty(&page).map(|text| text + "\n")
    }

    /// A line for each check, or more where it is long; below it what to do; last how many are how.
    pub(super) fn text(&self, width: u16, colour: Colour) -> String {
        let mut table = Table::new();
        table.load_style(presets::NOTHING);
        table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width);
        for check in &self.checks {
            let name = check.name.replace('_', " ");
            let subject = check.subject.as_ref().map(|subject| format!("{subject}: "));
            // Names of files stand in it, which whoever made the files chose.
            let said = format!("{}{}", subject.unwrap_or_default(), check.says);
            let mut says = printable(&said).into_owned();
            if let Some(what_to_do) = &check.what_to_do {
                let _ = write!(says, "\n→ {what_to_do}");
            }
            table.add_row([check.verdict.words(), &name, &says]);
        }
        table.set_constraints([const { ColumnConstraint::ContentWidth }; 2]);
        let mut verdicts = self.checks.iter().map(|check| check.verdict).peekable();
        let mut text = String::new();
        for line in table.lines() {
            let line = line.trim_end();
            // A check begins where the first column is not empty; nothing from outside stands in it.
            let began = verdicts.next_if(|verdict| line.trim_start().starts_with(verdict.words()) && !indented(line));
            match began {
                Some(verdict) if colour == Colour::Always => {
                    let (words, style) = (verdict.words(), verdict.style());
                    text += &line.replacen(words, &format!("\x1b[{style}m{words}\x1b[0m"), 1);
                }
                _ => text += line,
            }
            text.push('\n');
        }
        let _ = writeln!(text, "\n{}", self.sum());
        text
    }

    fn sum(&self) -> String {
        let count = |verdict| u64::try_from(self.count(verdict)).unwrap_or(u64::MAX);
        let mut parts = Vec::new();
        for (verdict, one, many) in [
            (Verdict::Bad, "is bad", "are bad"),
            (Verdict::Warn, "warning", "warnings"),
            (Verdict::CannotTell, "cannot be told", "cannot be told"),
        ] {
            if count(verdict) > 0 {
                parts.push(counted(count(verdict), one, many));
            }
        }
        let all = counted(u64::try_from(self.checks.len()).unwrap_or(u64::MAX), "check", "checks");
        if parts.is_empty() {
            format!("{all}: all is well")
        } else {
            format!("{all}: {}", parts.join(", "))
        }
    }
}

/// Does the line go on with what began before it?
fn indented(line: &str) -> bool {
    line.starts_with("   ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checkup() -> Checkup {
        Checkup {
            checks: vec![
                Check::ok("rights", "root may"),
                Check::bad("link", "it is \u{1b}[2Jdown\nok", "ip link set eth1 up").of("eth1"),
                Check::cannot_tell("clock", "nobody says", "ask bad people").measured([("seconds", 3)]),
            ],
            incomplete: false,
        }
    }

    #[test]
    fn lines_begin_with_the_verdict_and_colour_touches_it_alone() {
        let plain = checkup().text(100, Colour::Never);
        let lines: Vec<_> = plain.lines().map(str::trim).collect();
        assert_eq!(lines[0], "ok           rights  root may");
        assert_eq!(lines[1], r"bad          link    eth1: it is \u{1b}[2Jdown\u{0a}ok");
        assert_eq!(lines[2], "→ ip link set eth1 up");
        assert_eq!(lines.last(), Some(&"3 checks: 1 is bad, 1 cannot be told"));
        let coloured = checkup().text(100, Colour::Always);
        assert_eq!(coloured.matches("\x1b[0m").count(), 3);
        assert!(coloured.contains("\x1b[1;31mbad\x1b[0m") && coloured.contains("ask bad people"));
    }

    #[test]
    fn the_exit_status_and_the_result_are_the_worst() {
        let mut checkup = checkup();
        assert_eq!((checkup.status(), checkup.worst()), (FOUND, Verdict::Bad));
        let text = checkup.json().unwrap();
        let json: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!((&json["result"], &json["exit_status"]), (&"bad".into(), &1.into()));
        assert_eq!(json["checks"][1]["what_to_do"], "ip link set eth1 up");
        assert_eq!(json["checks"][2]["result"], "cannot_tell");
        assert_eq!(json["checks"][2]["measured"]["seconds"], 3);
        checkup.incomplete = true;
        assert_eq!(checkup.status(), UNUSABLE);
        checkup.incomplete = false;
        checkup.checks.retain(|check| check.verdict == Verdict::Ok);
        assert_eq!((checkup.status(), checkup.worst()), (RAN, Verdict::Ok));
        assert!(checkup.text(80, Colour::Never).ends_with("1 check: all is well\n"));
    }
}
