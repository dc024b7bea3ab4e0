//! What was not told, entry by entry, for a person.

use comfy_table::{ContentArrangement, Table, presets};

use super::{Kept, Policy};
use crate::emit::console::printable;

/// A table of the entries, with what each kept back; also of those that kept back nothing.
pub fn report(policy: &Policy, width: u16) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_HORIZONTAL_ONLY);
    table
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width);
    table.set_header(["suppressed", "by", "comment", "first of them"]);
    let mut rows = 0;
    let mut row = |kept: &Kept, by: String, comment: &str| {
        rows += 1;
        let example = printable(&kept.example).into_owned();
        table.add_row([kept.count.to_string(), by, comment.to_owned(), example]);
    };
    for rule in &policy.allow {
        let over = match &rule.entry.expires {
            Some(expiry) if rule.expired => format!(", expired on {expiry}"),
            _ => String::new(),
        };
        let by = format!("[[allow]] line {}{over}", rule.entry.line());
        row(&rule.kept, by, &rule.entry.comment);
    }
    for rule in &policy.suppress {
        let by = format!("[[suppress]] line {}", rule.entry.line());
        row(&rule.kept, by, &rule.entry.comment);
    }
    for rule in &policy.threshold {
        let by = format!("[[threshold]] line {}", rule.entry.line());
        row(&rule.kept, by, &rule.entry.comment);
    }
    if policy.duplicates.count > 0 {
        row(&policy.duplicates, "told before".to_owned(), "");
    }
    if rows == 0 {
        return "nothing was suppressed: there are no entries\n".to_owned();
    }
    table.lines().fold(String::new(), |mut all, line| {
        all.push_str(line.trim_end());
        all.push('\n');
        all
    })
}
