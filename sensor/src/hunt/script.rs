//! Scripts and command lines that activate a class: which one, how, and on which computer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dcom_parsers::guid::{Clsid, Guid};

use super::memory::short;
use super::names::is_abused;
use crate::catalog::{Catalog, Category, Class};
use crate::host_log::event::{HostBody, HostEvent, Script};

/// Bytes of scripts that are held until all of their parts are there. Beyond it the one that began first is read as it is.
const HELD: usize = 8 << 20;
/// Bytes of one script that are read.
const READ: usize = 1 << 20;
/// Characters of a call's arguments that are looked at.
const ARGUMENTS: usize = 400;

/// On which computer.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Where {
    /// On the one that runs the script: no other is named.
    Here,
    /// It cannot be told.
    Unknown,
    /// On another, as the script spells it: a name, an address, a variable.
    There(String),
}

/// What a text activates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Activates {
    /// The classes of the catalogue that it names, those that attackers use first.
    pub(super) classes: Vec<Clsid>,
    /// The function that does it.
    pub(super) by: &'static str,
    /// Where.
    pub(super) target: Where,
    /// Is one of them a class that attackers use, and ordinary scripts do not?
    pub(super) abused: bool,
    /// The text around the first mention.
    pub(super) excerpt: String,
}

/// The names under which scripts know classes.
#[derive(Debug)]
pub(super) struct ClassNames(BTreeMap<String, Clsid>);

impl ClassNames {
    pub(super) fn of(catalog: &Catalog) -> Self {
        let names = catalog.iter().flat_map(|class| {
            let names = class.prog_ids.iter().map(|name| name.to_lowercase());
            names.map(move |name| (name, class.clsid))
        });
        Self(names.collect())
    }

    /// What the text activates, if it names a class of the catalogue and a function that activates.
    pub(super) fn read(&self, text: &str, catalog: &Catalog) -> Option<Activates> {
        let text = end_at(text, READ);
        let plain = plain(text);
        let (by, mut target) = activation(&plain)?;
        let mut classes: Vec<&Class> = Vec::new();
        let mut first = None;
        for (at, word) in words(&plain) {
            let clsid = Guid::parse(word).map(Clsid).or_else(|| self.0.get(word).copied());
            let Some(class) = clsid.and_then(|clsid| catalog.class(clsid)) else {
                continue;
            };
            first.get_or_insert(at);
            if !classes.iter().any(|known| known.clsid == class.clsid) {
                classes.push(class);
            }
        }
        if let Where::Unknown = target
            && by == "CreateInstance"
        {
            // The call has no place for a computer's name.
            target = Where::Here;
        }
        let abused = |class: &&Class| is_abused(class) && class.benign.is_none();
        let told = |class: &Class| match class.category {
            // Every second script of an administrator has these; only elsewhere do they tell something.
            Category::Probe | Category::Administration | Category::Context => matches!(target, Where::There(_)),
            _ => class.benign.is_none() || matches!(target, Where::There(_)),
        };
        classes.retain(|class| told(class));
        classes.sort_by_key(|class| (!abused(class), class.clsid));
        let first = first.filter(|_| !classes.is_empty())?;
        Some(Activates {
            abused: classes.iter().any(abused),
            classes: classes.iter().map(|class| class.clsid).collect(),
            by,
            target,
            excerpt: excerpt(&plain, first),
        })
    }
}

/// The text without what hides words in it: PowerShell's and cmd's escapes, and strings put together of pieces.
fn plain(text: &str) -> String {
    let mut text = text.to_lowercase();
    text.retain(|c| !matches!(c, '`' | '^' | '\0'));
    // As a command line spells a quote within quotes.
    text = text.replace("\\\"", "\"");
    for joint in ["'+'", "' + '", "\"+\"", "\" + \""] {
        if text.contains(joint) {
            text = text.replace(joint, "");
        }
    }
    text
}

/// Words as names of classes are written, with their place.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
    let pieces = text.split_inclusive(move |c| !is_part(c)).scan(0, |next, piece| {
        let at = *next;
        *next += piece.len();
        Some((at, piece))
    });
    pieces
        .map(move |(at, piece)| {
            (
                at,
                piece.trim_end_matches(move |c| !is_part(c)).trim_matches(['.', '-']),
            )
        })
        .filter(|(_, word)| word.len() > 4)
}

/// The function that activates, and the computer that one of its calls names.
fn activation(plain: &str) -> Option<(&'static str, Where)> {
    const NAMED: [(&str, &str); 3] = [
        ("gettypefromclsid", "GetTypeFromCLSID"),
        ("gettypefromprogid", "GetTypeFromProgID"),
        ("createobject", "CreateObject"),
    ];
    let mut found: Option<(&'static str, Where)> = None;
    for (needle, name) in NAMED {
        for (at, _) in plain.match_indices(needle) {
            let target = plain.get(at + needle.len()..).map_or(Where::Unknown, target);
            // In VBScript it is an everyday function: with a second argument it goes elsewhere.
            if name == "CreateObject" && !matches!(target, Where::There(_)) {
                continue;
            }
            if found.as_ref().is_none_or(|(_, known)| *known < target) {
                found = Some((name, target));
            }
        }
    }
    let by_moniker =
        || (plain.contains("getobject") && plain.contains("new:")).then_some(("GetObject", Where::Unknown));
    let by_activator = || {
        let words = ["createinstance", "cogetclassobject", "cocreateinstanceex"];
        words
            .iter()
            .any(|word| plain.contains(word))
            .then_some(("CreateInstance", Where::Unknown))
    };
    found.or_else(by_moniker).or_else(by_activator)
}

/// The second argument of the call whose arguments come next.
fn target(rest: &str) -> Where {
    let rest = rest.trim_start_matches(['"', '\'', ' ', '.']);
    let rest = rest.strip_prefix("invoke").unwrap_or(rest);
    let Some(rest) = rest.trim_start().strip_prefix('(') else {
        return Where::Unknown;
    };
    let (mut depth, mut quote, mut arguments) = (0_u32, None, vec![String::new()]);
    for c in rest.chars().take(ARGUMENTS) {
        match quote {
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None => match c {
                '"' | '\'' => quote = Some(c),
                '(' | '{' | '[' => depth += 1,
                ')' | '}' | ']' if depth > 0 => depth -= 1,
                ')' => return named(arguments.get(1)),
                ',' if depth == 0 => {
                    arguments.push(String::new());
                    continue;
                }
                _ => {}
            },
        }
        if let Some(argument) = arguments.last_mut() {
            argument.push(c);
        }
    }
    Where::Unknown
}

/// The computer that a second argument names.
fn named(argument: Option<&String>) -> Where {
    match argument.map(|second| second.trim().trim_matches(['"', '\''])) {
        None | Some("" | "$true" | "$false" | "$null") => Where::Here,
        Some(named) => Where::There(named.to_owned()),
    }
}

/// Some of the text before and behind a place in it.
fn excerpt(text: &str, at: usize) -> String {
    let from = text.get(..at).map_or(0, |before| {
        before.char_indices().rev().nth(119).map_or(0, |(start, _)| start)
    });
    text.get(from..).unwrap_or_default().chars().take(360).collect()
}

/// The text up to so many bytes.
fn end_at(text: &str, bytes: usize) -> &str {
    let mut end = bytes.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}

/// A script's parts, by computer and script.
type Block = (String, Guid);

/// Scripts of which parts are missing.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    parts: BTreeMap<Block, BTreeMap<u32, HostEvent>>,
    bytes: usize,
    /// Scripts that were read before all of their parts were there.
    pub(super) incomplete: u64,
}

impl Blocks {
    /// Takes a part in; scripts that are to be read now, each as one event.
    pub(super) fn push(&mut self, event: HostEvent) -> Vec<HostEvent> {
        let HostBody::Script(script) = &event.body else {
            return vec![event];
        };
        let (Some(block), Some((part, of))) = (script.block, script.part.filter(|&(_, of)| of > 1)) else {
            return vec![event];
        };
        let mut whole = Vec::new();
        let size = event.size();
        while self.bytes + size > HELD {
            let Some((_, parts)) = self.parts.pop_first() else {
                break;
            };
            self.incomplete += 1;
            whole.extend(self.joined(parts));
        }
        let key = (short(&event.host), block);
        let parts = self.parts.entry(key.clone()).or_default();
        self.bytes += size;
        if let Some(former) = parts.insert(part, event) {
            self.bytes -= former.size();
        }
        let complete = u32::try_from(parts.len()).is_ok_and(|count| count >= of);
        if complete && let Some(parts) = self.parts.remove(&key) {
            whole.extend(self.joined(parts));
        }
        whole
    }

    /// Nothing more will come.
    pub(super) fn finish(&mut self) -> Vec<HostEvent> {
        let rest: Vec<_> = std::mem::take(&mut self.parts).into_values().collect();
        self.incomplete += rest.len() as u64;
        rest.into_iter().filter_map(|parts| self.joined(parts)).collect()
    }

    /// The first part, with the text of all of them.
    fn joined(&mut self, parts: BTreeMap<u32, HostEvent>) -> Option<HostEvent> {
        let mut text = String::new();
        let mut first: Option<HostEvent> = None;
        for part in parts.into_values() {
            self.bytes = self.bytes.saturating_sub(part.size());
            if let HostBody::Script(script) = &part.body {
                text.push_str(end_at(&script.text, READ.saturating_sub(text.len())));
            }
            first.get_or_insert(part);
        }
        let mut event = first?;
        if let HostBody::Script(script) = &mut event.body {
            let whole = Script {
                text: Arc::from(text),
                part: None,
                ..(**script).clone()
            };
            **script = whole;
        }
        Some(event)
    }
}

/// The programs in which objects of these classes live.
pub(super) fn servers(classes: &[Clsid], catalog: &Catalog) -> BTreeSet<String> {
    let classes = classes.iter().filter_map(|&clsid| catalog.class(clsid));
    classes
        .flat_map(|class| class.host_processes.iter().map(|image| image.to_lowercase()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hunt::testing;

    fn read(text: &str) -> Option<(Vec<String>, &'static str, Where, bool)> {
        let catalog = Catalog::built_in();
        let found = ClassNames::of(&catalog).read(text, &catalog)?;
        let names = found.classes.iter().filter_map(|&clsid| catalog.class(clsid));
        Some((
            names.map(|class| class.name.clone()).collect(),
            found.by,
            found.target,
            found.abused,
        ))
    }

    #[test]
    fn what_a_script_activates_is_read() {
        let there = |name: &str| Where::There(name.to_owned());
        for (text, class, by, target) in [
            (
                r#"[activator]::CreateInstance([type]::GetTypeFromProgID("MMC20.Application","10.0.0.5")).Document"#,
                "MMC20.Application",
                "GetTypeFromProgID",
                there("10.0.0.5"),
            ),
            (
                "$c=[Type]::GetTypeFromCLSID('9BA05972-F6A8-11CF-A442-00A0C90A8F39',\"localhost\")",
                "ShellWindows",
                "GetTypeFromCLSID",
                there("localhost"),
            ),
            (
                "$id = '{9BA05972-F6A8-11CF-A442-00A0C90A8F39}'; [type]::GetTypeFromCLSID($id, $ComputerName)",
                "ShellWindows",
                "GetTypeFromCLSID",
                there("$computername"),
            ),
            (
                "[Type]::\"GetType`FromPro`gID\".Invoke('MMC'+'20.Application',$t)",
                "MMC20.Application",
                "GetTypeFromProgID",
                there("$t"),
            ),
            (
                r#"Set x = CreateObject("Excel.Application", "srv1")"#,
                "Excel.Application",
                "CreateObject",
                there("srv1"),
            ),
            (
                "[type]::GetTypeFromProgID('MMC20.Application.1')",
                "MMC20.Application",
                "GetTypeFromProgID",
                Where::Here,
            ),
        ] {
            assert_eq!(read(text), Some((vec![class.to_owned()], by, target, true)), "{text}");
        }
    }

    #[test]
    fn what_names_no_class_or_activates_nothing_is_passed_over() {
        for text in [
            "",
            "Get-Help MMC20.Application",
            "[type]::GetTypeFromProgID('Scripting.FileSystemObject')",
            "[type]::GetTypeFromProgID('Shell.Application')",
            r#"Set x = CreateObject("Excel.Application")"#,
            "$s = New-Object -ComObject Microsoft.Update.Session; $s.CreateInstance()",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
        let (_, _, _, abused) = read("[type]::GetTypeFromProgID('Microsoft.Update.Session', $pc)").unwrap();
        assert!(!abused);
    }

    #[test]
    fn parts_are_joined_in_whatever_order_they_come() {
        let whole = "x = [type]::GetTypeFromProgID('MMC20.Application','a')";
        let (one, two) = whole.split_at(20);
        let mut blocks = Blocks::default();
        assert!(blocks.push(testing::script(1, 2, two, Some((2, 2)))).is_empty());
        let joined = blocks.push(testing::script(1, 1, one, Some((1, 2))));
        let HostBody::Script(script) = &joined[0].body else {
            panic!()
        };
        assert_eq!((&*script.text, joined[0].place.record), (whole, 1));
        assert_eq!((blocks.bytes, blocks.incomplete), (0, 0));
    }

    #[test]
    fn scripts_without_an_end_cost_bounded_memory() {
        let mut blocks = Blocks::default();
        let text = "a".repeat(READ);
        let mut read = 0;
        for second in 0..20 {
            read += blocks.push(testing::script(second, 1, &text, Some((1, 2)))).len();
        }
        assert!(blocks.bytes <= HELD && read == 13, "{read}");
        assert_eq!(blocks.finish().len(), 7);
        assert_eq!((blocks.bytes, blocks.incomplete), (0, 20));
        // Short ones take what keeping them takes; one that comes again takes the other's place.
        for second in 0..20_000 {
            blocks.push(testing::script(second, 1, "x", Some((1, 2))));
            blocks.push(testing::script(second, 1, "longer", Some((1, 2))));
        }
        assert!(
            blocks.parts.len() < 16_384 && blocks.bytes <= HELD,
            "{}",
            blocks.parts.len()
        );
        blocks.finish();
        assert_eq!(blocks.bytes, 0);
    }
}
