//! The catalogue: what is known of the classes that are activated across networks, and of the tools that do it, as data.
//!
//! `classes.toml` holds what attackers use, `benign.toml` what administration uses, `tools.toml` how tools write. All
//! are built in; a user's file of the same form adds to them, or replaces entries by CLSID or name. Nothing here decides
//! what is an alert.

mod check;
mod class;
mod elsewhere;
mod fact;
pub(crate) mod members;
mod show;
mod tool;
mod tools_page;

use std::collections::BTreeMap;

use dcom_parsers::guid::{Clsid, Guid};

use crate::document::{Gravity, Problems};
pub use class::{AttackId, Benign, Category, Class, Confidence, Effect, Method, Operation, Parameter, matches};
pub use fact::{Expected, Fact, Field, Kind, Seen};
pub(crate) use members::{behind_application, without_arguments};
pub use tool::{Sightings, Told, Tool, Tools};
pub use tools_page::tools_page;

pub use check::check;
pub use show::{Known, list, show};

const BUILT_IN: [(&str, &str); 4] = [
    ("classes.toml", include_str!("classes.toml")),
    ("benign.toml", include_str!("benign.toml")),
    ("methods.toml", include_str!("methods.toml")),
    ("tools.toml", include_str!("tools.toml")),
];

/// Classes by CLSID.
#[derive(Clone, Debug, Default)]
pub struct Catalog {
    classes: BTreeMap<Clsid, Class>,
    /// By name in lower case: `IDispatch` does not tell cases apart.
    methods: BTreeMap<String, Vec<Method>>,
    operations: BTreeMap<(Guid, u16), Operation>,
    tools: Tools,
}

impl Catalog {
    /// What the sensor comes with.
    ///
    /// # Panics
    ///
    /// Never: a test reads the built-in files.
    pub fn built_in() -> Self {
        let mut catalog = Self::default();
        for (path, text) in BUILT_IN {
            catalog
                .extend_from_toml(path, text)
                .expect("the built-in files are well-formed");
        }
        catalog
    }

    /// Adds the classes of a file; a class that is there already is replaced as a whole. On an error nothing changes.
    ///
    /// `path` only tells the user which file an error is in.
    pub fn extend_from_toml(&mut self, path: &str, text: &str) -> Result<(), Problems> {
        let (read, mut problems) = check::read(path, text, self);
        if problems.are_grave() {
            problems.list.retain(|problem| problem.gravity == Gravity::Error);
            return Err(problems);
        }
        self.classes.extend(read.classes);
        for method in read.methods {
            // What is said later comes first: a user's file is read after the built-in ones.
            self.methods
                .entry(method.name.to_lowercase())
                .or_default()
                .insert(0, method);
        }
        let operations = read.operations.into_iter();
        self.operations
            .extend(operations.map(|operation| ((operation.interface, operation.opnum), operation)));
        self.tools = read.tools;
        Ok(())
    }

    /// What is known of a class.
    pub fn class(&self, clsid: Clsid) -> Option<&Class> {
        self.classes.get(&clsid)
    }

    /// The tools, and the facts that tell them.
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// What is known of a method that is called on the object with this path, with these arguments.
    pub fn method(&self, name: &str, path: Option<&str>, arguments: &[String]) -> Option<&Method> {
        let called = self.methods.get(&name.to_lowercase())?;
        let through = path.and_then(|path| self.through(path));
        let through = through.as_deref();
        let is_called = |method: &&Method| {
            method.is_called(path, arguments) || (through.is_some() && method.is_called(through, arguments))
        };
        called.iter().find(is_called)
    }

    /// The path of an object from the class on that it was reached through last, where that is another than the one at its
    /// beginning: one that `CreateObject` made on the way, or the application that a document led to.
    pub fn through(&self, path: &str) -> Option<String> {
        let created = self.created(path);
        let application = self.application(created.as_deref().unwrap_or(path));
        application.or(created)
    }

    fn created(&self, path: &str) -> Option<String> {
        const CREATE: &str = "createobject(\"";
        let at = path.to_ascii_lowercase().rfind(CREATE)? + CREATE.len();
        let (prog_id, rest) = path.get(at..)?.split_once('"')?;
        let (_, rest) = rest.split_once(')')?;
        let named = |name: &str| self.find(name).first().copied();
        let class = named(prog_id).or_else(|| {
            let (name, version) = prog_id.trim().rsplit_once('.')?;
            let is_version = version.bytes().all(|digit| digit.is_ascii_digit());
            is_version.then(|| named(name)).flatten()
        })?;
        Some(format!("{}{rest}", class.name))
    }

    fn application(&self, path: &str) -> Option<String> {
        // Few classes have one, and this is asked at each call.
        let mut documents = self.iter().filter(|class| class.application.is_some());
        if !documents.any(|class| class.begins(path)) {
            return None;
        }
        let class = self.beginning(path)?;
        let application = class.application.as_deref()?;
        let rest = behind_application(path.get(class.name.len()..)?)?;
        Some(format!("{application}{rest}"))
    }

    /// The same of an object of which nobody saw what class it descends from, but for the members that led to it (`.Addons`):
    /// the classes that have such a method there.
    pub fn method_of_unseen(&self, name: &str, members: &str, arguments: &[String]) -> Option<(&Method, Vec<&str>)> {
        let called = self.methods.get(&name.to_lowercase())?;
        called.iter().find_map(|method| {
            let may_be = |class: &&Class| method.may_be_of(&class.name, members, arguments);
            let mut classes: Vec<_> = self.iter().filter(may_be).map(|class| class.name.as_str()).collect();
            // One name may be that of several classes.
            classes.sort_unstable();
            classes.dedup();
            (!classes.is_empty()).then_some((method, classes))
        })
    }

    /// All that is known of methods of this name.
    pub fn methods(&self, name: &str) -> &[Method] {
        self.methods.get(&name.to_lowercase()).map_or(&[], Vec::as_slice)
    }

    /// The methods that are for objects of a class and no others.
    pub fn own_methods(&self, class: &str) -> impl Iterator<Item = &Method> {
        let is_its = move |pattern: &String| pattern.starts_with(class) || matches(pattern, class);
        let own = move |method: &&Method| method.path.iter().any(is_its);
        self.methods.values().flatten().filter(own)
    }

    /// What is known of an operation of an interface that is no `IDispatch`.
    pub fn operation(&self, interface: Guid, opnum: u16) -> Option<&Operation> {
        self.operations.get(&(interface, opnum))
    }

    /// The class that a path begins with.
    pub fn beginning(&self, path: &str) -> Option<&Class> {
        let begin = self.iter().filter(|class| class.begins(path));
        begin.max_by_key(|class| class.name.len())
    }

    /// All classes whose objects have such members, one of the other, and where: what a path without its beginning tells.
    ///
    /// A member without a name is given by its number, `[dispid 0x4]`.
    pub fn with_members<'a>(&'a self, members: &str) -> impl Iterator<Item = (&'a Class, &'a str)> {
        self.iter().flat_map(move |class| {
            let paths = class.paths.iter().map(String::as_str);
            paths.filter_map(move |path| class.has_members(path, members, false).then_some((class, path)))
        })
    }

    /// The classes that a person means by a CLSID, a name or a `ProgID`, in whatever case.
    pub fn find(&self, name_or_clsid: &str) -> Vec<&Class> {
        let wanted = name_or_clsid.trim();
        if let Some(guid) = Guid::parse(wanted) {
            return self.class(Clsid(guid)).into_iter().collect();
        }
        let called = |name: &String| name.eq_ignore_ascii_case(wanted);
        self.iter()
            .filter(|class| called(&class.name) || class.prog_ids.iter().any(called))
            .collect()
    }

    /// The classes that a person may mean: those with the name, else those whose names or CLSID begin so, else those
    /// in whose names it stands.
    pub fn search(&self, words: &str) -> Vec<&Class> {
        let exact = self.find(words);
        let wanted = words.trim().trim_matches(['{', '}']).to_lowercase();
        if !exact.is_empty() || wanted.is_empty() {
            return exact;
        }
        let matching = |fits: &dyn Fn(&str) -> bool| -> Vec<&Class> {
            let called = |name: &String| fits(&name.to_lowercase());
            self.iter()
                .filter(|class| {
                    called(&class.name) || class.prog_ids.iter().any(called) || fits(&class.clsid.to_string())
                })
                .collect()
        };
        let beginning = matching(&|name| name.starts_with(&wanted));
        if beginning.is_empty() {
            matching(&|name| name.contains(&wanted))
        } else {
            beginning
        }
    }

    /// All classes, in the order of their CLSIDs.
    pub fn iter(&self) -> impl Iterator<Item = &Class> {
        self.classes.values()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::severity::Severity;

    const MMC20: &str = "49b2791a-b1ae-4c90-9b8e-e860ba07f889";
    const SHELL_WINDOWS: &str = "9ba05972-f6a8-11cf-a442-00a0c90a8f39";
    const WMI: &str = "8bc3f05e-d86b-11d0-a075-00c04fb68820";

    fn clsid(text: &str) -> Clsid {
        Clsid(Guid::parse(text).unwrap())
    }

    fn read(index: usize) -> Catalog {
        let (path, text) = BUILT_IN[index];
        let mut catalog = Catalog::default();
        catalog.extend_from_toml(path, text).unwrap_or_else(|e| panic!("{e}"));
        catalog
    }

    #[test]
    fn built_in_files_do_not_overlap() {
        let (attacks, benign) = (read(0), read(1));
        assert_eq!(attacks.iter().count(), 78);
        assert_eq!(benign.iter().count(), 79);
        assert_eq!(Catalog::built_in().iter().count(), 78 + 79);
    }

    #[test]
    fn built_in_clsids_are_written_as_they_are_printed() {
        for (path, text) in BUILT_IN {
            for line in text.lines().filter_map(|line| line.strip_prefix("clsid = ")) {
                assert_eq!(format!("\"{}\"", clsid(line.trim_matches('"'))), line, "{path}");
            }
        }
    }

    #[test]
    fn names_are_short_and_unique() {
        let catalog = Catalog::built_in();
        let mut seen = HashSet::new();
        for class in catalog.iter() {
            assert!(seen.insert(class.name.to_lowercase()), "{} twice", class.name);
            assert!((1..=40).contains(&class.name.chars().count()), "{}", class.name);
            assert!(
                class.name.is_ascii() && class.name.trim() == class.name,
                "{}",
                class.name
            );
        }
    }

    #[test]
    fn every_attack_class_says_what_it_is_and_where_from() {
        for class in read(0).iter() {
            assert!(!class.description.is_empty(), "{}", class.name);
            assert!(!class.attack_ids.is_empty(), "{}", class.name);
            assert!(
                !class.references.is_empty() && class.references.iter().all(|r| !r.is_empty()),
                "{}",
                class.name
            );
            assert_ne!(class.category, Category::Administration, "{}", class.name);
        }
    }

    #[test]
    fn every_administration_class_says_who_uses_it() {
        for class in read(1).iter() {
            let benign = class.benign.as_ref().unwrap_or_else(|| panic!("{}", class.name));
            assert!(
                !benign.used_by.is_empty() && !benign.tuning_note.is_empty(),
                "{}",
                class.name
            );
            assert_eq!(class.category, Category::Administration, "{}", class.name);
            assert_eq!(class.severity, Severity::Informational, "{}", class.name);
        }
    }

    #[test]
    fn best_known_classes_are_critical() {
        let catalog = Catalog::built_in();
        for (text, name, host) in [
            (MMC20, "MMC20.Application", "mmc.exe"),
            (SHELL_WINDOWS, "ShellWindows", "explorer.exe"),
        ] {
            let class = catalog.class(clsid(text)).unwrap();
            assert_eq!(class.name, name);
            assert_eq!(class.severity, Severity::Critical);
            assert_eq!(class.host_processes, [host]);
            assert!(class.attack_ids.iter().any(|id| id.as_str() == "T1021.003"));
            assert_eq!(class.benign, None);
        }
    }

    #[test]
    fn wmi_is_benign() {
        let catalog = Catalog::built_in();
        let wmi = catalog.class(clsid(WMI)).unwrap();
        assert_eq!(wmi.name, "WbemLevel1Login (WMI)");
        assert!(wmi.benign.is_some());
    }

    #[test]
    fn dual_use_classes_are_both() {
        let catalog = Catalog::built_in();
        for (name, severity) in [
            ("Microsoft.Update.Session", Severity::Medium),
            ("PLA.SystemDataCollectorSet", Severity::High),
        ] {
            let found = catalog.find(name);
            assert_eq!(found.len(), 1, "{name}");
            assert_eq!((found[0].category, found[0].severity), (Category::Coercion, severity));
            assert!(found[0].benign.is_some(), "{name}");
        }
    }

    #[test]
    fn a_dual_operation_does_what_the_method_of_its_name_does() {
        let catalog = Catalog::built_in();
        let dual: Vec<_> = catalog.operations.values().filter(|it| it.dual).collect();
        assert!(dual.len() > 50);
        for it in dual {
            let methods = catalog.methods(&it.name);
            assert!(!methods.is_empty(), "{}", it.name);
            let called = dcom_parsers::names::operation(it.interface, it.opnum);
            assert_eq!(called, Some(it.name.as_str()), "{} {}", it.interface, it.opnum);
        }
        for path in catalog.operations.values().filter_map(|it| it.path.as_deref()) {
            assert!(catalog.beginning(path).is_some(), "{path}");
        }
    }

    #[test]
    fn an_object_is_reached_through_what_made_it_last() {
        let catalog = Catalog::built_in();
        for (path, through) in [
            (
                r#"Outlook.Application.CreateObject("WScript.Shell")"#,
                Some("WScript.Shell"),
            ),
            (
                r#"?.createobject("word.application.16").Documents"#,
                Some("Word.Application.Documents"),
            ),
            (
                r#"Outlook.Application.CreateObject("Excel.Sheet.12").application.AddIns"#,
                Some("Excel.Application.AddIns"),
            ),
            (
                r#"A.CreateObject("WScript.Shell", "h").B.CreateObject("ScriptControl")"#,
                Some("MSScriptControl.ScriptControl"),
            ),
            ("Word.Document.8.Application.Run", Some("Word.Application.Run")),
            ("PowerPoint.Show.12.Slides.Application", Some("PowerPoint.Application")),
            ("Word.Document.8.ApplicationName", None),
            ("Word.Document.8", None),
            ("Excel.Application.Workbooks.Application", None),
            (r#"Outlook.Application.CreateObject("Lab.Thing").Run"#, None),
            (r#"Outlook.Application.CreateObject("WScript.Shell"#, None),
            ("", None),
        ] {
            assert_eq!(catalog.through(path).as_deref(), through, "{path}");
        }
    }

    #[test]
    fn classes_are_found_by_clsid_name_and_prog_id() {
        let catalog = Catalog::built_in();
        for wanted in [
            MMC20,
            "{49B2791A-B1AE-4C90-9B8E-E860BA07F889}",
            "mmc20.application",
            " MMC20.Application.1 ",
        ] {
            let found = catalog.find(wanted);
            assert_eq!(found.len(), 1, "{wanted}");
            assert_eq!(found[0].clsid, clsid(MMC20), "{wanted}");
        }
        assert!(catalog.find("").is_empty());
        assert!(catalog.find("No.Such.Class").is_empty());
    }

    #[test]
    fn a_part_of_a_name_finds_what_begins_so_then_what_holds_it() {
        let catalog = Catalog::built_in();
        let names = |words| -> Vec<&str> { catalog.search(words).iter().map(|class| class.name.as_str()).collect() };
        assert_eq!(names("mmc20"), ["MMC20.Application"]);
        assert_eq!(names("{49B2791A-b1ae"), ["MMC20.Application"]);
        let shell = names("shell");
        assert!(
            shell.contains(&"ShellWindows") && shell.contains(&"ShellBrowserWindow"),
            "{shell:?}"
        );
        assert!(
            shell.iter().all(|name| name.to_lowercase().starts_with("shell")),
            "{shell:?}"
        );
        assert_eq!(names("browserwindow"), ["ShellBrowserWindow"]);
        assert_eq!(names("ShellWindows"), ["ShellWindows"], "a whole name means no other");
        assert!(names("  ").is_empty() && names("no such class").is_empty());
    }

    #[test]
    fn users_file_adds_and_replaces() {
        let mut catalog = Catalog::built_in();
        let before = catalog.iter().count();
        let text = r#"
            [[class]]
            clsid = "{49B2791A-B1AE-4C90-9B8E-E860BA07F889}"
            name = "Our console"
            category = "administration"
            severity = "low"
            benign = { used_by = "our own scripts" }

            [[class]]
            clsid = "00000000-1111-2222-3333-444444444444"
            name = "Vendor.Thing"
            category = "execution"
            severity = "high"
            attack_ids = ["T1021.003"]
        "#;
        catalog.extend_from_toml("ours.toml", text).unwrap();
        assert_eq!(catalog.iter().count(), before + 1);
        let console = catalog.class(clsid(MMC20)).unwrap();
        assert_eq!(
            (console.name.as_str(), console.severity),
            ("Our console", Severity::Low)
        );
        assert!(console.prog_ids.is_empty(), "replaced as a whole");
        assert_eq!(catalog.find("vendor.thing")[0].confidence, Confidence::Medium);
    }

    #[test]
    fn errors_name_file_and_line_and_change_nothing() {
        let head = format!("[[class]]\nclsid = \"{MMC20}\"\nname = \"x\"\ncategory = \"execution\"\n");
        let second = head.clone() + "severity = \"low\"\n";
        for (text, line, cause) in [
            (format!("{head}severity = \"urgent\"\n"), 5, "urgent"),
            (format!("{head}severity = \"low\"\ncolour = \"red\"\n"), 6, "colour"),
            (
                format!("{head}severity = \"low\"\nattack_ids = [\n  \"T1047\",\n  \"T47\",\n]\n"),
                8,
                "T47",
            ),
            (second.replace(MMC20, "49b2791a"), 2, "no CLSID"),
            (head, 1, "severity"),
            ("[[class]]\nname = \n".to_owned(), 2, ""),
            ("[[klass]]\n".to_owned(), 1, "klass"),
            (format!("{second}\n{second}"), 8, "twice"),
            (second.replace("\"x\"", "\" \""), 3, "no name"),
        ] {
            let mut catalog = Catalog::built_in();
            let error = catalog.extend_from_toml("ours.toml", &text).unwrap_err();
            let first = &error.list[0];
            assert_eq!(first.line, Some(line), "{text}{error}");
            assert!(first.cause.contains(cause), "{error}");
            assert!(error.to_string().starts_with(&format!("ours.toml:{line}: ")), "{error}");
            assert_eq!(catalog.class(clsid(MMC20)).unwrap().name, "MMC20.Application");
        }
    }
}
