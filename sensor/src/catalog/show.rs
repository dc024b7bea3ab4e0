//! The catalogue as a person reads it, and as JSON.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use comfy_table::{ColumnConstraint, ContentArrangement, Row, Table, presets};
use serde::Serialize;

use super::Catalog;
use super::check::numbered;
use super::class::{Class, Method};

/// All that is known of a class.
#[derive(Serialize)]
pub struct Known<'a> {
    #[serde(flatten)]
    class: &'a Class,
    /// Those of its members that run something.
    methods: Vec<&'a Method>,
}

impl<'a> Known<'a> {
    /// What the catalogue knows of one of its classes.
    pub fn of(class: &'a Class, catalog: &'a Catalog) -> Self {
        let names = class.paths.iter().filter_map(|path| path.rsplit('.').next());
        let names: BTreeSet<&str> = class.members.keys().map(String::as_str).chain(names).collect();
        let for_it = |method: &&Method| {
            let path = class.name.as_str();
            method.path.is_empty()
                || method
                    .path
                    .iter()
                    .any(|pattern| super::matches(pattern, path) || pattern.starts_with(path))
        };
        let named = names.into_iter().flat_map(|name| catalog.methods(name)).filter(for_it);
        // Those that are for objects of this class alone are its own, whether a number is known or not.
        let own = catalog.own_methods(&class.name);
        let mut methods: Vec<&Method> = named.collect();
        methods.extend(
            own.filter(|method| !methods.iter().any(|known| std::ptr::eq(*known, *method)))
                .collect::<Vec<_>>(),
        );
        Self { class, methods }
    }
}

/// Prints one class: each thing that is known on a line of its own, or more where it is long.
pub fn show(known: &Known<'_>, width: u16) -> String {
    let Known { class, methods } = known;
    let mut table = plain(width);
    let mut row = |title: &str, text: String| {
        if !text.is_empty() {
            table.add_row([title.to_owned(), text]);
        }
    };
    row("CLSID", class.clsid.to_string());
    row("ProgIDs", class.prog_ids.join(", "));
    row("severity", class.severity.to_string());
    row(
        "category",
        format!("{}: {}", class.category.name(), class.category.meaning()),
    );
    row("confidence", class.confidence.name().to_owned());
    row("what", class.description.clone());
    row("host process", class.host_processes.join(", "));
    row("runs as", class.runs_as.clone().unwrap_or_default());
    row("children", class.expected_children.join(", "));
    let members: Vec<String> = class
        .members
        .iter()
        .map(|(name, number)| format!("{name} ({})", dispid(*number)))
        .collect();
    row("members", members.join(", "));
    row("paths", class.paths.join(", "));
    for method in methods {
        row(method.effect.meaning(), runs(method));
    }
    row("tools", class.tools.join(", "));
    let attack: Vec<&str> = class.attack_ids.iter().map(super::AttackId::as_str).collect();
    row("ATT&CK", attack.join(", "));
    if let Some(benign) = &class.benign {
        row("benign use", benign.used_by.clone());
        row("telling apart", benign.tuning_note.clone());
    }
    row("notes", class.notes.clone());
    let mut text = format!("{}\n{}", class.name, lines(&table));
    if !class.references.is_empty() {
        text.push_str(" references\n");
    }
    // Not broken into lines: they are there to be followed.
    for reference in &class.references {
        let _ = writeln!(text, "   {reference}");
    }
    text
}

/// Both ways in which a DISPID is written elsewhere.
fn dispid(number: i64) -> String {
    match number {
        0..=9 => number.to_string(),
        _ if number < 0 => number.to_string(),
        _ => format!("{number}, {number:#x}"),
    }
}

/// Which argument is what.
fn runs(method: &Method) -> String {
    let argument = |index: usize| match method.arguments.get(index) {
        Some(name) => format!("argument {index} ({name})"),
        None => format!("argument {index}"),
    };
    let mut text = match method.program {
        _ if method.elsewhere => format!("{} with a path on another machine", method.name),
        Some(program) => format!("{}: {} is the program", method.name, argument(program)),
        None => method.name.clone(),
    };
    if let Some(parameters) = method.parameters {
        let _ = write!(text, ", {} its parameters", argument(parameters));
    }
    if !method.arguments.is_empty() {
        let _ = write!(text, "; arguments: {}", numbered(&method.arguments));
    }
    text
}

/// From so many columns on, each class has a line of its own.
const WIDE: u16 = 140;
/// From so many on, there is room beside its name, CLSID and severity to say what it is.
const NARROW: u16 = 64;

/// Prints all classes, the worst first: a line each where there is room for that, else three.
pub fn list(catalog: &Catalog, width: u16) -> String {
    let mut classes: Vec<&Class> = catalog.iter().collect();
    classes.sort_by_key(|class| {
        (
            std::cmp::Reverse(class.severity),
            class.category.name(),
            class.name.to_lowercase(),
        )
    });
    let mut table = plain(width);
    if width >= WIDE {
        table.set_header(["name", "CLSID", "category", "severity", "what"]);
    }
    for class in classes {
        let what = match &class.benign {
            Some(benign) if class.description.is_empty() => &benign.used_by,
            _ => &class.description,
        };
        let (name, clsid) = (class.name.clone(), class.clsid.to_string());
        let (category, severity) = (class.category.name(), class.severity.name());
        let mut row = match width {
            WIDE.. => Row::from([&name, &clsid, category, severity, what]),
            NARROW.. => Row::from([format!("{name}\n{clsid}\n{severity}, {category}"), what.clone()]),
            _ => Row::from([format!("{name}\n{clsid}\n{severity}, {category}")]),
        };
        row.max_height(if width >= WIDE { 1 } else { 3 });
        table.add_row(row);
    }
    let whole = match width {
        WIDE.. => 4,
        NARROW.. => 1,
        _ => 0,
    };
    table.set_constraints(std::iter::repeat_n(ColumnConstraint::ContentWidth, whole));
    lines(&table)
}

fn plain(width: u16) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_width(width);
    table.set_constraints([ColumnConstraint::ContentWidth]);
    table
}

fn lines(table: &Table) -> String {
    table.lines().fold(String::new(), |mut all, line| {
        all.push_str(line.trim_end());
        all.push('\n');
        all
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_known_of_a_class_is_shown() {
        let catalog = Catalog::built_in();
        let class = catalog.find("MMC20.Application")[0];
        let known = Known::of(class, &catalog);
        let text = show(&known, 100);
        for (title, value) in [
            ("CLSID", "49b2791a-b1ae-4c90-9b8e-e860ba07f889"),
            ("ProgIDs", "MMC20.Application, MMC20.Application.1"),
            ("severity", "critical"),
            ("category", "execution: its members run code"),
            ("host process", "mmc.exe"),
            ("children", "cmd.exe, powershell.exe"),
            (
                "members",
                "ActiveView (6), Document (4), ExecuteShellCommand (54, 0x36)",
            ),
            (
                "runs something",
                "ExecuteShellCommand: argument 0 (Command) is the program, argument 2",
            ),
            ("ATT&CK", "T1021.003, T1559.001"),
        ] {
            let line = text.lines().find(|line| line.trim_start().starts_with(title));
            assert!(line.is_some_and(|line| line.contains(value)), "{title}: {text}");
        }
        assert!(text.starts_with("MMC20.Application\n"));
        let mut before = text.lines().take_while(|line| *line != " references");
        assert!(before.all(|line| line.chars().count() <= 100), "{text}");
        for reference in &class.references {
            assert!(text.contains(&format!("\n   {reference}\n")), "{reference}: {text}");
        }
        let json = serde_json::to_value(&known).unwrap();
        assert_eq!(json["clsid"], "49b2791a-b1ae-4c90-9b8e-e860ba07f889");
        assert_eq!(json["methods"][0]["parameters"], 2);
        assert_eq!(json["members"]["ExecuteShellCommand"], 54);
    }

    #[test]
    fn every_class_is_a_row_and_the_worst_come_first() {
        let catalog = Catalog::built_in();
        let text = list(&catalog, 160);
        for class in catalog.iter() {
            assert!(text.contains(&class.clsid.to_string()), "{}", class.name);
        }
        assert!(text.find("MMC20").unwrap() < text.find("8bc3f05e-d86b-11d0-a075-00c04fb68820").unwrap());
        for width in [40, 60, 80, 100, 120, 160, 200] {
            let text = list(&catalog, width);
            let too_long = text.lines().find(|line| line.chars().count() > width.into());
            assert_eq!(too_long, None, "{width}");
            assert!(text.contains(" 49b2791a-b1ae-4c90-9b8e-e860ba07f889"), "{text}");
        }
    }
}
