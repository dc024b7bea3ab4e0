//! One entry of the catalogue, as the TOML files spell it.

use std::collections::BTreeMap;
use std::fmt;

use dcom_parsers::guid::{Clsid, Guid};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::elsewhere::is_elsewhere;
use super::members::APPLICATION;
use crate::severity::Severity;

/// What is known of a COM class.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Class {
    /// Names the class on the wire.
    #[serde(deserialize_with = "clsid", serialize_with = "shown")]
    pub clsid: Clsid,
    /// The one name shown: the `ProgID` without its version if there is a well-known one, else a short title.
    pub name: String,
    /// The names under which the class stands in the registry.
    #[serde(default)]
    pub prog_ids: Vec<String>,
    /// What the class is, and what attackers do with it.
    #[serde(default)]
    pub description: String,
    /// The part that it plays.
    pub category: Category,
    /// How bad a remote activation is by itself.
    pub severity: Severity,
    /// How well the entry is supported by its sources.
    #[serde(default)]
    pub confidence: Confidence,
    /// Image names of the process that holds the objects.
    #[serde(default)]
    pub host_processes: Vec<String>,
    /// The account that the process runs as, if it is not the caller.
    pub runs_as: Option<String>,
    /// Image names seen as children of the host process after abuse. None when the code stays inside.
    #[serde(default)]
    pub expected_children: Vec<String>,
    /// Published tools that activate the class.
    #[serde(default)]
    pub tools: Vec<String>,
    /// ATT&CK techniques that an abuse stands for.
    #[serde(default)]
    pub attack_ids: Vec<AttackId>,
    /// Where the facts are from.
    #[serde(default)]
    pub references: Vec<String>,
    /// What else helps to judge an alert.
    #[serde(default)]
    pub notes: String,
    /// Members by name, with the numbers that clients call them by without asking. Each is a member of the object at its place
    /// in `paths`; one that is in none of them, of the class's own object; one with its place before it (`Document.Application.Open`),
    /// of the object there.
    #[serde(default)]
    pub members: BTreeMap<String, i64>,
    /// How its objects lead to one that runs something, each a path of members from the class on:
    /// `Document.ActiveView.ExecuteShellCommand`. Where the class itself is sealed, it is known by these.
    #[serde(default)]
    pub paths: Vec<String>,
    /// The class that what its objects call their `Application` is of, where that is another.
    pub application: Option<String>,
    /// There when ordinary administration activates the class too.
    pub benign: Option<Benign>,
}

impl Class {
    /// Does the path begin with its name?
    pub(super) fn begins(&self, path: &str) -> bool {
        let rest = path.strip_prefix(self.name.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
    }

    /// The member that a number stands for on the object that `members` lead to from the class on; none of them lead to the
    /// class's own object. The same number means something else on another object.
    pub fn member(&self, members: &str, dispid: i64) -> Option<&str> {
        let members = if self.is_itself(members) { "" } else { members };
        let name = self.named(dispid).find(|name| self.stands_at(name, members))?;
        name.rsplit('.').next()
    }

    /// Do they lead back to the class's own object? Objects of an application name it so, unless a path of the class says
    /// otherwise.
    fn is_itself(&self, members: &str) -> bool {
        let last = members.rsplit('.').next().unwrap_or_default();
        let by_number = || numbered(last).is_some_and(|number| self.members.get(APPLICATION) == Some(&number));
        let is_application = last.eq_ignore_ascii_case(APPLICATION) || by_number();
        is_application
            && !self
                .paths
                .iter()
                .any(|path| places(path).any(|place| self.has_members(place, members, true)))
    }

    /// The path to the member that has this number on some object of the class: where the path is known by that alone, on an
    /// object of its own alone.
    pub fn path_to(&self, dispid: i64) -> Option<&str> {
        let ends = |path: &&str| {
            let last = path.rsplit('.').next().unwrap_or_default();
            self.named(dispid).any(|name| name.eq_ignore_ascii_case(last))
        };
        let several = |path: &&str| path.contains('.');
        self.paths.iter().map(String::as_str).filter(several).find(ends)
    }

    /// The members with a number, whatever the object, with their places where those are told.
    fn named(&self, dispid: i64) -> impl Iterator<Item = &str> {
        let numbered = self.members.iter().filter(move |&(_, &number)| number == dispid);
        numbered.map(|(name, _)| name.as_str())
    }

    /// Is this a member of the object that `members` lead to? One that is on no path is a member of the class's own object.
    fn stands_at(&self, name: &str, members: &str) -> bool {
        if let Some((before, _)) = name.rsplit_once('.') {
            return self.has_members(before, members, true);
        }
        let mut on_a_path = false;
        for path in &self.paths {
            for led_to in places(path) {
                let (before, last) = led_to.rsplit_once('.').unwrap_or(("", led_to));
                if last.eq_ignore_ascii_case(name) {
                    on_a_path = true;
                    if self.has_members(before, members, true) {
                        return true;
                    }
                }
            }
        }
        !on_a_path && members.is_empty()
    }

    /// Do objects of the class lead along `path` to these members: all of it, or its end?
    pub(super) fn has_members(&self, path: &str, members: &str, all: bool) -> bool {
        let mut known = path.rsplit('.');
        for member in members.rsplit('.') {
            let Some(name) = known.next() else { return false };
            let same = name.eq_ignore_ascii_case(member)
                || (self.members.contains_key(name) && self.members.get(name).copied() == numbered(member))
                || (name == ITEM && ELEMENTS.contains(&member));
            if !same {
                return false;
            }
        }
        !all || known.next().is_none()
    }
}

/// The objects and members that a path leads over, from the class on, and the last.
fn places(path: &str) -> impl Iterator<Item = &str> {
    let ends = path.match_indices('.').map(|(end, _)| end).chain([path.len()]);
    ends.filter_map(|end| path.get(..end))
}

/// The number of a member that is known by that alone.
fn numbered(member: &str) -> Option<i64> {
    let digits = member.strip_prefix("[dispid 0x")?.strip_suffix(']')?;
    i64::from_str_radix(digits, 16).ok()
}

/// What a collection's element is called on a path.
const ITEM: &str = "Item";
/// What else gives one: the member with no name of its own, and the enumerator ([MS-OAUT] 2.2.32.1 Reserved DISPIDs).
const ELEMENTS: [&str; 3] = ["DISPID_VALUE", "DISPID_NEWENUM", "_NewEnum"];

/// An operation, of an interface that is no `IDispatch`, that runs something: one of its own, or a method of a dual interface by its
/// own number.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Operation {
    /// The interface.
    #[serde(deserialize_with = "guid")]
    pub interface: Guid,
    /// The operation's number in it.
    pub opnum: u16,
    /// Its name.
    pub name: String,
    /// What it does.
    #[serde(default)]
    pub effect: Effect,
    /// Its parameters, in order, as far as they are known: those behind the first that matters need not be given.
    #[serde(default)]
    pub arguments: Vec<Parameter>,
    /// Which argument names what is run, counted from 0.
    pub program: Option<usize>,
    /// Is the effect there only where one of its arguments is a path on another machine? That is what is told then.
    #[serde(default)]
    pub elsewhere: bool,
    /// Is it a method of a dual interface? It does what the method of its name does, which `Invoke` calls too.
    #[serde(default)]
    pub dual: bool,
    /// The objects that have this interface, as a path from their class on: what tells where they come from when nothing else
    /// does.
    pub path: Option<String>,
    /// Where the facts are from.
    #[serde(default)]
    pub references: Vec<String>,
}

impl Operation {
    /// Has it its effect, called so?
    pub fn is_called(&self, arguments: &[String]) -> bool {
        !self.elsewhere || self.command_line(arguments).is_some()
    }

    /// What the target would run, or where it would log in.
    pub fn command_line(&self, arguments: &[String]) -> Option<String> {
        let index = telling(self.program, self.elsewhere, arguments)?;
        arguments.get(index).filter(|text| !text.is_empty()).cloned()
    }
}

/// A parameter of an operation that is called by its own number, as far as it goes to the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Parameter {
    /// [MS-OAUT] 2.2.23 BSTR.
    Bstr,
    /// [MS-OAUT] 2.2.29 VARIANT.
    Variant,
    /// Four bytes: a number, a BOOL.
    Number,
    /// A text, of which nothing published says how it travels: a BSTR, or a string behind a pointer or without one.
    Text,
    /// A moniker, told where it is one of a URL by value.
    Moniker,
}

/// Which argument tells what is run; with `elsewhere`, which is a path on another machine.
fn telling(program: Option<usize>, elsewhere: bool, arguments: &[String]) -> Option<usize> {
    let leads = |index: &usize| !elsewhere || arguments.get(*index).is_some_and(|text| is_elsewhere(text));
    match program {
        None if elsewhere => (0..arguments.len()).find(leads),
        program => program.filter(leads),
    }
}

/// What a method does to the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Effect {
    /// It runs something.
    #[default]
    Execution,
    /// It makes an account authenticate to another machine.
    Coercion,
    /// It creates a process through WMI.
    Process,
    /// It creates a service through WMI, or has one run another program.
    Service,
    /// It is part of a permanent WMI event subscription.
    #[serde(skip)]
    Subscription,
}

impl Effect {
    /// What it means, in a word or two.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Execution => "runs something",
            Self::Coercion => "coerces",
            Self::Process => "creates a process",
            Self::Service => "creates a service",
            Self::Subscription => "subscribes",
        }
    }
}

/// A method that runs something, or has another effect that an attacker wants.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Method {
    /// Its name.
    pub name: String,
    /// What it does.
    #[serde(default)]
    pub effect: Effect,
    /// Patterns of the object's path for which this holds, `*` for anything; without one, whatever the object.
    #[serde(default)]
    pub path: Vec<String>,
    /// What its arguments are called, in source order.
    #[serde(default)]
    pub arguments: Vec<String>,
    /// How many of them a caller has to give: a number that nothing names is not taken for this method with fewer.
    #[serde(default)]
    pub required: usize,
    /// Which argument names what is run, counted from 0 in source order.
    pub program: Option<usize>,
    /// Which argument holds the parameters, when one does.
    pub parameters: Option<usize>,
    /// What that argument has to look like, `*` for anything: without it, whatever it says.
    pub only: Option<String>,
    /// What the arguments have to look like from the first one on, `*` for anything.
    #[serde(default)]
    pub says: Vec<String>,
    /// What the first argument says where the method does not do this, `*` for anything.
    #[serde(default)]
    pub unless: Vec<String>,
    /// Does this hold only where that argument, or any where none is named, is a path on another machine? It is told then.
    #[serde(default)]
    pub elsewhere: bool,
    /// Does it run code in the object's own process, so that an exception may be raised by what was run?
    #[serde(default)]
    pub code: bool,
    /// What the program's name is, by the argument's text, where the argument is a number.
    #[serde(default)]
    pub programs: BTreeMap<String, String>,
    /// Where the facts are from.
    #[serde(default)]
    pub references: Vec<String>,
}

impl Method {
    /// Is it this method of that object, called so?
    pub fn is_called(&self, path: Option<&str>, arguments: &[String]) -> bool {
        // What a text has in quotation marks is no text that a member was given.
        let fits = |path: &str| {
            let path = path.replace("\"\"", "”");
            self.path.iter().any(|pattern| matches(pattern, &path))
        };
        let object = self.path.is_empty() || path.is_some_and(fits);
        let is_said =
            |(index, pattern): (usize, &String)| arguments.get(index).is_some_and(|text| matches(pattern, text));
        let is_excluded = |text: &String| self.unless.iter().any(|pattern| matches(pattern, text));
        object
            && self.says.iter().enumerate().all(is_said)
            && !arguments.first().is_some_and(is_excluded)
            && (!self.elsewhere || self.telling(arguments).is_some())
            && self
                .only
                .as_deref()
                .is_none_or(|only| self.telling(arguments).is_some_and(|text| matches(only, text)))
    }

    /// The argument that says what is run, or where the target is to log in.
    fn telling<'a>(&self, arguments: &'a [String]) -> Option<&'a String> {
        arguments.get(telling(self.program, self.elsewhere, arguments)?)
    }

    /// Is it this method of an object of that class, which these members lead to, called so? Names such as Run mean many
    /// things: only the members that the entry gives are taken for that, nothing below them.
    pub(super) fn may_be_of(&self, class: &str, members: &str, arguments: &[String]) -> bool {
        let leads_there = |pattern: &String| {
            let (start, rest) = pattern.split_at_checked(class.len())?;
            // The members that matter: what may stand before them, or behind, does not.
            let rest = rest.strip_prefix('*').unwrap_or(rest);
            let rest = rest.strip_suffix('*').unwrap_or(rest);
            (start.eq_ignore_ascii_case(class) && rest.eq_ignore_ascii_case(members))
                .then(|| format!("{class}{members}"))
        };
        let mut paths = self.path.iter().filter_map(leads_there);
        self.telling(arguments).is_some_and(|text| !text.is_empty())
            && paths.any(|path| self.is_called(Some(&path), arguments))
    }

    /// The program and its parameters as the target would run them.
    pub fn command_line(&self, arguments: &[String]) -> Option<String> {
        let given = self.telling(arguments).filter(|program| !program.is_empty())?;
        let program = self.programs.get(given).unwrap_or(given);
        let parameters = self
            .parameters
            .and_then(|index| arguments.get(index))
            .filter(|text| !text.is_empty());
        Some(match parameters {
            Some(parameters) => format!("{program} {parameters}"),
            None => program.clone(),
        })
    }
}

/// Does a text fit a pattern, in which `*` stands for anything? Cases are not told apart.
pub fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text) = (pattern.to_lowercase(), text.to_lowercase());
    let Some((start, mut rest)) = pattern.split_once('*') else {
        return pattern == text;
    };
    let Some(mut text) = text.strip_prefix(start) else {
        return false;
    };
    // Between two stars the first place will do: whatever fits later fits behind it too.
    while let Some((part, behind)) = rest.split_once('*') {
        let Some(at) = text.find(part) else { return false };
        text = text.get(at + part.len()..).unwrap_or_default();
        rest = behind;
    }
    text.ends_with(rest)
}

/// The ordinary use of a class.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Benign {
    /// Products and consoles that activate it.
    pub used_by: String,
    /// How to tell abuse from that.
    #[serde(default)]
    pub tuning_note: String,
}

/// The part that a class plays in an attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Category {
    /// Plays none: administration uses it.
    Administration,
    /// A tool's own mistake: nothing else asks for it.
    Artefact,
    /// Makes an account authenticate to the attacker.
    Coercion,
    /// Helps to read host logs.
    Context,
    /// Its members run code.
    Execution,
    /// Redirected in the registry, so that another class loads it.
    Pivot,
    /// Cannot work remotely, so an attempt tells.
    Probe,
    /// Activation alone loads a planted file.
    Trigger,
}

impl Category {
    /// In lower case, as in the files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Administration => "administration",
            Self::Artefact => "artefact",
            Self::Coercion => "coercion",
            Self::Context => "context",
            Self::Execution => "execution",
            Self::Pivot => "pivot",
            Self::Probe => "probe",
            Self::Trigger => "trigger",
        }
    }

    /// What that means.
    pub fn meaning(self) -> &'static str {
        match self {
            Self::Administration => "administration uses it",
            Self::Artefact => "a tool's own mistake",
            Self::Coercion => "makes an account authenticate to the attacker",
            Self::Context => "helps to read host logs",
            Self::Execution => "its members run code",
            Self::Pivot => "redirected in the registry, so that another class loads it",
            Self::Probe => "cannot work remotely, so an attempt tells",
            Self::Trigger => "activation alone loads a planted file",
        }
    }
}

/// How well an entry is supported by its sources.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Confidence {
    /// One source, or a name that is not established.
    Low,
    /// Some of the facts have one source only.
    #[default]
    Medium,
    /// Several sources agree.
    High,
}

impl Confidence {
    /// In lower case, as in the files.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }
}

/// An ATT&CK technique, `T1047`, or one of its sub-techniques, `T1021.003`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(try_from = "String", into = "String")]
pub struct AttackId(String);

impl AttackId {
    /// As ATT&CK writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for AttackId {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digits = |text: &str, count: usize| text.len() == count && text.bytes().all(|b| b.is_ascii_digit());
        let well_formed = text
            .strip_prefix('T')
            .is_some_and(|number| match number.split_once('.') {
                Some((technique, sub)) => digits(technique, 4) && digits(sub, 3),
                None => digits(number, 4),
            });
        if well_formed {
            return Ok(Self(text));
        }
        let hint = if text.starts_with("TA") {
            "that is a tactic; name the technique, such as T1047 or T1021.003"
        } else {
            "a technique is written T1047, a sub-technique T1021.003"
        };
        Err(format!("`{text}` is no ATT&CK id\n{hint}"))
    }
}

impl From<AttackId> for String {
    fn from(id: AttackId) -> Self {
        id.0
    }
}

impl fmt::Display for AttackId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

fn guid<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Guid, D::Error> {
    let text = String::deserialize(deserializer)?;
    Guid::parse(&text).ok_or_else(|| D::Error::custom(format!("`{text}` is no GUID")))
}

fn clsid<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Clsid, D::Error> {
    let text = String::deserialize(deserializer)?;
    let parsed = Guid::parse(text.trim()).map(Clsid);
    parsed.ok_or_else(|| D::Error::custom(format!("`{text}` is no CLSID\n{}", clsid_hint(&text))))
}

/// What a text was probably meant to be that is no CLSID.
fn clsid_hint(text: &str) -> String {
    let digits: String = text.chars().filter(char::is_ascii_hexdigit).collect();
    let foreign = text
        .chars()
        .any(|c| !c.is_ascii_hexdigit() && !matches!(c, '{' | '}' | '(' | ')' | '-' | ' ' | ':'));
    match digits.len() {
        32 if !foreign => {
            let groups = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)];
            let groups = groups.map(|(from, to)| digits.get(from..to).unwrap_or_default().to_lowercase());
            format!("write `{}`", groups.join("-"))
        }
        _ if text.contains('.') && foreign => {
            "that looks like a ProgID, which belongs into `prog_ids`; `dcom-sensor catalog show` tells the CLSIDs it knows"
                .to_owned()
        }
        _ => "32 hexadecimal digits in groups of 8, 4, 4, 4 and 12, with dashes between them; braces may be there"
            .to_owned(),
    }
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn shown<S: serde::Serializer>(clsid: &Clsid, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(clsid)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_stand_for_anything() {
        for (pattern, text, fits) in [
            ("MMC20.Application", "mmc20.application", true),
            ("MMC20*", "MMC20.Application.Document", true),
            ("*.Run", "A.B.Run", true),
            ("*.Run", "A.B.Run.C", false),
            ("A*B*C", "AxBxBxC", true),
            ("A*B*C", "AxCxB", false),
            ("A*A", "A", false),
            ("*", "", true),
            ("", "x", false),
        ] {
            assert_eq!(matches(pattern, text), fits, "{pattern} {text}");
        }
    }

    #[test]
    fn what_stands_in_a_text_leads_to_no_object() {
        let catalog = crate::catalog::Catalog::built_in();
        let runs = |name, path| catalog.method(name, Some(path), &["x".to_owned()]).is_some();
        assert!(runs("Run", r#"Outlook.Application.CreateObject("WScript.Shell")"#));
        assert!(!runs("Run", r#"Lab.Inventory.Item("CreateObject(""WScript.Shell")"#));
        assert!(runs(
            "Eval",
            r#"Outlook.Application.CreateObject("MSScriptControl.ScriptControl")"#
        ));
        assert!(!runs("Eval", r#"Lab.Inventory.Item("CreateObject(""ScriptControl")"#));
    }

    #[test]
    fn a_method_may_be_of_each_class_whose_entry_leads_to_its_object() {
        let catalog = crate::catalog::Catalog::built_in();
        let text = ["C:\\x.exe".to_owned()];
        let classes = |name, members| {
            catalog
                .method_of_unseen(name, members, &text)
                .map(|(_, classes)| classes)
        };
        let visio = ["Visio.Application", "Visio.InvisibleApp"];
        assert_eq!(classes("Add", ".Addons").as_deref(), Some(&visio[..]));
        assert_eq!(classes("macro", "").as_deref(), Some(&["MSProject.Application"][..]));
        let run = classes("Run", "").unwrap();
        assert!(
            run.contains(&"Word.Application") && run.contains(&"Excel.Application"),
            "{run:?}"
        );
        assert!(classes("Navigate2", "").unwrap().contains(&"ShellBrowserWindow"));
        for (name, members) in [
            ("Run", ".Document.ActivePage"),
            ("Add", ".OPCGroups"),
            ("Add", ""),
            ("Open", ""),
        ] {
            assert_eq!(classes(name, members), None, "{name} of {members}");
        }
        assert_eq!(catalog.method_of_unseen("Run", "", &[]), None, "nothing is run");
    }

    #[test]
    fn a_number_is_a_member_of_the_object_at_its_place_alone() {
        let catalog = crate::catalog::Catalog::built_in();
        let named = |class: &str, members: &str, dispid: i64| {
            let class = catalog.find(class)[0];
            class.member(members, dispid).unwrap_or("-").to_owned()
        };
        for (class, members, dispid, name) in [
            ("MMC20.Application", "", 4, "Document"),
            ("MMC20.Application", "Document", 6, "ActiveView"),
            ("MMC20.Application", "document.[dispid 0x6]", 54, "ExecuteShellCommand"),
            ("MMC20.Application", "", 54, "-"),
            ("MMC20.Application", "Document.[dispid 0x5]", 54, "-"),
            ("MMC20.Application", "ActiveView", 54, "-"),
            ("MMC20.Application", "Document.…", 54, "-"),
            ("ShellWindows", "", 0, "Item"),
            ("ShellWindows", "", 0x6002_0000, "-"),
            ("ShellWindows", "Item.Document", 0x6002_0000, "Application"),
            ("ShellWindows", "_NewEnum.Document", 0x6002_0000, "Application"),
            ("ShellWindows", "DISPID_NEWENUM", 203, "Document"),
            (
                "ShellBrowserWindow",
                "Document.Application",
                0x6003_0001,
                "ShellExecute",
            ),
            ("ShellBrowserWindow", "Document.Application", 203, "-"),
            ("ShellWindows", "Item.Document.Application", 0x6002_0005, "Open"),
            ("ShellWindows", "Item.Document.Application", 0x6002_0000, "-"),
            ("ShellWindows", "Item", 0x1f4, "Navigate2"),
            ("InternetExplorer.Application", "", 0x68, "Navigate"),
            ("InternetExplorer.Application", "Document", 0x6002_0000, "Application"),
            ("InternetExplorer.Application", "", 0x6002_0000, "-"),
            ("Access.Application", "DoCmd", 0x406, "RunMacro"),
        ] {
            assert_eq!(named(class, members, dispid), name, "{class}.{members} {dispid:#x}");
        }
        for (class, members, dispid, name) in [
            ("Excel.Application", "", 30, "RegisterXLL"),
            ("Excel.Application", "Workbooks.Item.Application", 30, "RegisterXLL"),
            ("Excel.Application", "Workbooks.[dispid 0x94]", 0x14e, "DDEInitiate"),
            ("Excel.Application (second CLSID)", "", 0x15e, "ExecuteExcel4Macro"),
            ("Excel.Application", "Workbooks", 30, "-"),
            ("Excel.Application", "ActiveSheet.Shapes", 30, "-"),
            ("Word.Application", "Documents.Add.Application", 0x137, "DDEInitiate"),
            ("MMC20.Application", "Document.Application", 4, "Document"),
        ] {
            assert_eq!(named(class, members, dispid), name, "{class}.{members} {dispid:#x}");
        }
        let excel = catalog.find("Excel.Application")[0];
        assert_eq!(excel.path_to(30), None, "on other objects it is another member");
        let mmc = catalog.find("MMC20.Application")[0];
        assert_eq!(mmc.path_to(54), Some("Document.ActiveView.ExecuteShellCommand"));
        assert_eq!((mmc.path_to(6), mmc.path_to(1)), (None, None), "those run nothing");
        let mut own = mmc.clone();
        own.paths.clear();
        assert_eq!(
            (own.member("", 54), own.member("Document", 6)),
            (Some("ExecuteShellCommand"), None)
        );
    }

    #[test]
    fn what_holds_for_an_object_holds_wherever_it_is_reached_from() {
        let catalog = crate::catalog::Catalog::built_in();
        let effect = |path: &str, name: &str, arguments: &[&str]| {
            let arguments: Vec<_> = arguments.iter().map(|&text| text.to_owned()).collect();
            let method = catalog.method(name, Some(path), &arguments);
            method.map(|method| (method.effect, method.command_line(&arguments)))
        };
        let runs = |what: &str| Some((Effect::Execution, Some(what.to_owned())));
        for (path, name, arguments, told) in [
            (
                "Excel.Application (second CLSID).AddIns",
                "Add",
                &["C:\\x.xlam"][..],
                "C:\\x.xlam",
            ),
            (
                "PowerPoint.Application.Application.AddIns",
                "Add",
                &["C:\\x.ppam"],
                "C:\\x.ppam",
            ),
            ("Visio.InvisibleApp.Addons", "Add", &["cmd.exe"], "cmd.exe"),
            (
                "Visio.InvisibleApp.Addons.Add(\"cmd.exe\")",
                "Run",
                &["/c calc"],
                "/c calc",
            ),
            ("Visio.InvisibleApp.Documents.Add(\"\")", "ExecuteLine", &["x"], "x"),
            ("WScript.Shell", "Run", &["cmd.exe", "0", "False"], "cmd.exe"),
            ("WScript.Shell", "exec", &["cmd.exe"], "cmd.exe"),
            ("MSScriptControl.ScriptControl", "ExecuteStatement", &["x"], "x"),
            ("Shell.Application", "Open", &["C:\\x.exe"], "C:\\x.exe"),
            (
                "ShellBrowserWindow.Document.Application",
                "Open",
                &["dvs://cmd"],
                "dvs://cmd",
            ),
            (
                "ShellWindows.Item.Document.Application",
                "ControlPanelItem",
                &["x.cpl"],
                "x.cpl",
            ),
            (
                "InternetExplorerMedium.Document.Application",
                "Open",
                &["dvs://cmd"],
                "dvs://cmd",
            ),
            (
                "InternetExplorerMedium",
                "Navigate2",
                &["http://192.0.2.66/"],
                "http://192.0.2.66/",
            ),
            ("MSProject.Application", "DDEExecute", &["[exec()]", "30"], "[exec()]"),
            ("MSProject.Application", "Run", &["macro"], "macro"),
            ("Excel.Application", "DDEExecute", &["1", "[exec()]"], "[exec()]"),
            ("BDEUILauncher", "BdeUIProcessStart", &["4", "5", "a b"], "a b"),
            (
                "Outlook.Application.CreateObject(\"WScript.Shell.1\")",
                "Run",
                &["cmd.exe"],
                "cmd.exe",
            ),
            (
                "?.CreateObject(\"Word.Application\")",
                "Run",
                &["C:\\x.dotm!go"],
                "C:\\x.dotm!go",
            ),
            (
                "Outlook.Application.CreateObject(\"MSProject.Application\")",
                "DDEExecute",
                &["[exec()]"],
                "[exec()]",
            ),
            (
                "Outlook.Application.CreateObject(\"VisualStudio.DTE.17.0\")",
                "ExecuteCommand",
                &["x"],
                "x",
            ),
            (
                "Word.Document.12.Application",
                "Run",
                &["C:\\x.dotm!go"],
                "C:\\x.dotm!go",
            ),
            ("Excel.Sheet.8.Application.AddIns", "Add", &["C:\\x.xll"], "C:\\x.xll"),
            ("Word.Basic", "Shell", &["cmd.exe"], "cmd.exe"),
            (
                "ShellWindows.Item.Document.Folder.Application",
                "Open",
                &["C:\\x.exe"],
                "C:\\x.exe",
            ),
            (
                "ShellWindows.Item.Document.Application.NameSpace(\"C:\\\").Application",
                "ServiceStart",
                &["abc"],
                "abc",
            ),
            (
                "Excel.Application.Workbooks.Add.VBProject.VBComponents.Add.CodeModule",
                "InsertLines",
                &["1", "Shell \"calc\""],
                "Shell \"calc\"",
            ),
            (
                "Excel.Application.ActiveWorkbook.VBProject.VBComponents",
                "Import",
                &["\\\\h\\s\\x.bas"],
                "\\\\h\\s\\x.bas",
            ),
            (
                "htafile.Document.parentWindow",
                "execScript",
                &["x()", "jscript"],
                "x()",
            ),
        ] {
            assert_eq!(effect(path, name, arguments), runs(told), "{path}.{name}");
        }
        let create = effect(
            "WbemScripting.SWbemLocator.ConnectServer(\"h\", \"ROOT\\CIMV2\").Get(\"Win32_Process\")",
            "Create",
            &["cmd.exe"],
        );
        assert_eq!(create, Some((Effect::Process, Some("cmd.exe".to_owned()))));
        let created = "Outlook.Application.CreateObject(\"WbemScripting.SWbemLocator\").ConnectServer";
        let get = |class: &str| format!("{created}.Get(\"\\\\.\\root\\cimv2:{class}\")");
        let process = |command: Option<&str>| Some((Effect::Process, command.map(str::to_owned)));
        let service = |command: Option<&str>| Some((Effect::Service, command.map(str::to_owned)));
        for (path, name, arguments, told) in [
            (
                get("Win32_Process"),
                "Create",
                &["cmd.exe"][..],
                process(Some("cmd.exe")),
            ),
            (get("Win32_Process"), "ExecMethod_", &["Create"], process(None)),
            (get("Win32_Process"), "ExecMethod_", &["Terminate"], None),
            (
                created.to_owned(),
                "ExecMethod",
                &["Win32_Process", "Create"],
                process(None),
            ),
            (
                created.to_owned(),
                "ExecMethod",
                &["Win32_Process.Handle=\"4\"", "Terminate"],
                None,
            ),
            (
                created.to_owned(),
                "ExecMethod",
                &["Win32_Service", "Create"],
                service(None),
            ),
            (
                get("Win32_Service"),
                "Create",
                &["e", "e", "cmd.exe"],
                service(Some("cmd.exe")),
            ),
        ] {
            assert_eq!(effect(&path, name, arguments), told, "{path}.{name}");
        }
        let item = "ShellWindows.Item.Document.Application.NameSpace(\"C:\\\").ParseName(\"x.exe\")";
        for (name, arguments, runs) in [
            ("InvokeVerb", &["open"][..], true),
            ("InvokeVerb", &[], true),
            ("invokeverb", &["Properties"], false),
            ("InvokeVerbEx", &["runas", "x"], true),
            ("DoIt", &[], false),
        ] {
            let told = runs.then_some((Effect::Execution, None));
            assert_eq!(effect(item, name, arguments), told, "{name} {arguments:?}");
        }
        assert!(effect(&format!("{item}.Verbs.Item"), "DoIt", &[]).is_some());
        assert!(effect("WSHRemote", "Execute", &[]).is_some());
        for (path, name) in [
            ("Excel.Application.Workbooks", "Open"),
            ("ShellWindows.Item", "Open"),
            ("InternetExplorer.Application", "Open"),
            ("Lab.Inventory", "ControlPanelItem"),
            ("Lab.Inventory", "DoIt"),
            ("Excel.Application", "ServiceStart"),
            ("Word.Document.12", "Run"),
            (
                "WbemScripting.SWbemLocator.ConnectServer.Get(\"Win32_Share\")",
                "Create",
            ),
        ] {
            assert_eq!(effect(path, name, &["x"]), None, "{path}.{name}");
        }
    }

    #[test]
    fn coercion_takes_a_path_that_leads_elsewhere_on_an_object_that_logs_in_there() {
        let catalog = crate::catalog::Catalog::built_in();
        let coerces = |path: &str, name: &str, arguments: &[&str]| {
            let arguments: Vec<_> = arguments.iter().map(|&text| text.to_owned()).collect();
            let method = catalog.method(name, Some(path), &arguments)?;
            assert_eq!(method.effect, Effect::Coercion);
            method.command_line(&arguments)
        };
        let share = "//192.0.2.66/share";
        let image = "IMAPI2FS.MsftFileSystemImage";
        assert_eq!(coerces(image, "workingdirectory", &[share]).as_deref(), Some(share));
        for path in ["PLA.SystemDataCollectorSet.datamanager", "?.DataManager"] {
            for arguments in [[share, "C:\\x"], ["C:\\x.cab", share]] {
                assert_eq!(coerces(path, "Extract", &arguments).as_deref(), Some(share), "{path}");
            }
        }
        let scan = coerces(
            "Microsoft.Update.ServiceManager",
            "AddScanPackageService",
            &["x", share, "0"],
        );
        assert_eq!(scan.as_deref(), Some(share));
        assert_eq!(coerces(image, "workingdirectory", &["\\\\?\\C:\\images"]), None);
        assert_eq!(coerces("Schedule.Service", "WorkingDirectory", &[share]), None);
        let unseen = catalog.method_of_unseen("workingdirectory", "", &[share.to_owned()]);
        assert_eq!(unseen.unwrap().1, [image], "one grade less");
    }

    #[test]
    fn attack_ids_are_techniques_and_sub_techniques() {
        for text in ["T1047", "T1021.003"] {
            assert_eq!(AttackId::try_from(text.to_owned()).unwrap().as_str(), text);
        }
        for text in [
            "",
            "T",
            "1021",
            "T102",
            "t1021",
            "T1021.",
            "T1021.3",
            "T1021.0033",
            "TA0008",
            "T10é1",
        ] {
            assert!(AttackId::try_from(text.to_owned()).is_err(), "{text:?}");
        }
    }

    #[test]
    fn what_is_no_clsid_gets_a_hint_that_helps() {
        for (text, hint) in [
            (
                "49B2791AB1AE4C909B8EE860BA07F889",
                "write `49b2791a-b1ae-4c90-9b8e-e860ba07f889`",
            ),
            (
                "(49b2791a:b1ae:4c90:9b8e:e860ba07f889)",
                "write `49b2791a-b1ae-4c90-9b8e-e860ba07f889`",
            ),
            ("MMC20.Application", "ProgID"),
            ("49b2791a", "32 hexadecimal digits"),
            ("", "32 hexadecimal digits"),
        ] {
            assert!(clsid_hint(text).contains(hint), "{text:?}: {}", clsid_hint(text));
        }
    }
}
