//! Reads a file of classes, and says all that is wrong or doubtful in it.

use std::collections::BTreeMap;

use dcom_parsers::guid::Clsid;

use super::class::{AttackId, Class, Effect, Method, Operation};
use super::{Catalog, Category, Fact, Tool, Tools};
use crate::document::{Document, Entry, Gravity, Problems, closest};
use crate::severity::Severity;

/// The numbers of ATT&CK's techniques. What is not there may be of a later version.
const ATTACK_IDS: &str = include_str!("attack-ids.txt");

/// What stands in a file.
pub(super) struct Read {
    pub(super) classes: BTreeMap<Clsid, Class>,
    pub(super) methods: Vec<Method>,
    pub(super) operations: Vec<Operation>,
    /// The tools and facts of the catalogue, with those of the file.
    pub(super) tools: Tools,
    /// Has the file no entry at all?
    is_empty: bool,
}

/// All that is wrong or doubtful in a file that is to be added to `catalog`.
pub fn check(path: &str, text: &str, catalog: &Catalog) -> Problems {
    let (added, mut problems) = read(path, text, catalog);
    if !problems.are_grave() && added.is_empty {
        problems.list.push(crate::document::Problem {
            gravity: Gravity::Warning,
            line: None,
            cause: "the file has no entry".to_owned(),
            hint: Some("write [[class]], [[method]], [[operation]], [[fact]] or [[tool]] above each".to_owned()),
        });
    }
    problems
}

/// Reads a file that is to be added to `catalog`.
pub(super) fn read(path: &str, text: &str, catalog: &Catalog) -> (Read, Problems) {
    let mut document = Document::parse(path, text);
    document.only(&["class", "method", "operation", "fact", "tool"], |_| None);
    let classes = classes(&mut document, catalog);
    let methods = methods(&mut document, catalog);
    let operations = operations(&mut document, &methods, catalog);
    let (tools, told) = tools(&mut document, catalog);
    let read = Read {
        is_empty: classes.is_empty() && methods.is_empty() && operations.is_empty() && told == 0,
        classes,
        methods,
        operations,
        tools,
    };
    (read, document.finish())
}

fn operations(document: &mut Document<'_>, methods: &[Method], catalog: &Catalog) -> Vec<Operation> {
    let mut added: Vec<Operation> = Vec::new();
    for entry in document.sections::<Operation>("operation") {
        let same = |known: &Operation| (known.interface, known.opnum) == (entry.read.interface, entry.read.opnum);
        let (given, program) = (entry.read.arguments.len(), entry.read.program);
        if let Some(program) = program.filter(|&program| program >= given) {
            let cause = format!("`program` is {program}, and {given} of its arguments are told");
            document.problem(Gravity::Error, entry.place_of("program"), cause, None);
        }
        let is_its = |method: &Method| method.name.eq_ignore_ascii_case(&entry.read.name);
        if entry.read.dual && !methods.iter().any(is_its) && catalog.methods(&entry.read.name).is_empty() {
            let cause = format!("no method is named {}, so that nothing is told of it", entry.read.name);
            let hint = Some("an operation that is `dual` does what the [[method]] of its name does".to_owned());
            document.problem(Gravity::Warning, entry.place_of("name"), cause, hint);
        }
        if let (true, Some(key)) = (entry.read.dual, own_effect(&entry.read)) {
            let cause = format!("`{key}` is not looked at where `dual` stands");
            let hint = Some("the [[method]] of its name says it".to_owned());
            document.problem(Gravity::Warning, entry.place_of(key), cause, hint);
        }
        if added.iter().any(same) {
            let cause = format!(
                "operation {} of {} is listed twice",
                entry.read.opnum, entry.read.interface
            );
            document.problem(Gravity::Error, entry.place_of("opnum"), cause, None);
        }
        added.push(entry.read);
    }
    added
}

/// What an operation says of its effect itself.
fn own_effect(operation: &Operation) -> Option<&'static str> {
    match operation {
        Operation { program: Some(_), .. } => Some("program"),
        Operation { elsewhere: true, .. } => Some("elsewhere"),
        Operation { effect, .. } if *effect != Effect::default() => Some("effect"),
        _ => None,
    }
}

/// The catalogue's tools and facts with those of the file, and how many those are.
fn tools(document: &mut Document<'_>, catalog: &Catalog) -> (Tools, usize) {
    let mut places = Vec::new();
    let (mut facts, mut tools): (Vec<Fact>, Vec<Tool>) = (Vec::new(), Vec::new());
    for entry in document.sections::<Fact>("fact") {
        let at = entry.place_of("id");
        if facts.iter().any(|known| known.id == entry.read.id) {
            let cause = format!("fact `{}` is listed twice", entry.read.id);
            document.problem(Gravity::Error, at, cause, None);
        }
        places.push(at);
        facts.push(entry.read);
    }
    for entry in document.sections::<Tool>("tool") {
        let at = entry.place_of("name");
        if tools.iter().any(|known| known.name == entry.read.name) {
            let cause = format!("tool `{}` is listed twice", entry.read.name);
            document.problem(Gravity::Error, at, cause, None);
        }
        places.push(at);
        tools.push(entry.read);
    }
    let mut all = catalog.tools.clone();
    for (place, cause) in all.extend(facts, tools).err().unwrap_or_default() {
        if let Some(&place) = places.get(place) {
            document.problem(Gravity::Error, place, cause, None);
        }
    }
    (all, places.len())
}

fn classes(document: &mut Document<'_>, catalog: &Catalog) -> BTreeMap<Clsid, Class> {
    let mut added = BTreeMap::new();
    let mut places = BTreeMap::new();
    for entry in document.sections::<Class>("class") {
        let at = entry.place_of("clsid");
        let clsid = entry.read.clsid;
        if entry.read.name.trim().is_empty() {
            let cause = format!("class {clsid} has no name");
            document.problem(Gravity::Error, entry.place_of("name"), cause, None);
        }
        if let Some(earlier) = places.insert(clsid, at) {
            let earlier = document.line(earlier);
            let cause = format!("class {clsid} is listed twice: first in line {earlier}");
            document.problem(Gravity::Error, at, cause, Some("make one entry of the two".to_owned()));
        }
        doubts(document, &entry);
        if let Some(known) = catalog.class(clsid) {
            let cause = format!("replaces the entry `{}` that there is, as a whole", known.name);
            let hint = lost(known, &entry.read);
            document.problem(Gravity::Note, at, cause, hint);
        } else if let Some(known) = catalog.find(&entry.read.name).first() {
            let cause = format!("another class, {}, has the name `{}`", known.clsid, known.name);
            document.problem(Gravity::Warning, entry.place_of("name"), cause, None);
        }
        added.insert(clsid, entry.read);
    }
    added
}

/// What can be used and is probably not what was meant.
fn doubts(document: &mut Document<'_>, entry: &Entry<'_, Class>) {
    let class = &entry.read;
    for (index, id) in class.attack_ids.iter().enumerate() {
        if !is_known(id) {
            let cause = format!("unknown ATT&CK id `{id}`");
            let hint = match closest(id.as_str(), attack_ids().iter().map(String::as_str)) {
                Some(meant) => format!("did you mean `{meant}`? It is used as it stands"),
                None => "it is used as it stands".to_owned(),
            };
            document.problem(Gravity::Warning, entry.place_in("attack_ids", index), cause, Some(hint));
        }
    }
    let mut numbers = BTreeMap::new();
    for (name, number) in &class.members {
        if let Some(other) = numbers.insert(number, name) {
            let cause = format!("`{other}` and `{name}` have the same number, {number}");
            let hint = Some(format!("calls of it are told as `{other}`"));
            document.problem(Gravity::Warning, entry.place_of("members"), cause, hint);
        }
    }
    if class.category == Category::Administration && class.severity >= Severity::High {
        let cause = format!(
            "category `administration` and severity `{}` contradict each other",
            class.severity
        );
        document.problem(Gravity::Warning, entry.place_of("severity"), cause, None);
    }
}

/// What the entry that is replaced has and the new one has not.
fn lost(known: &Class, new: &Class) -> Option<String> {
    let lost: Vec<&str> = [
        ("paths", !known.paths.is_empty() && new.paths.is_empty()),
        ("members", !known.members.is_empty() && new.members.is_empty()),
        (
            "host_processes",
            !known.host_processes.is_empty() && new.host_processes.is_empty(),
        ),
        (
            "expected_children",
            !known.expected_children.is_empty() && new.expected_children.is_empty(),
        ),
        ("attack_ids", !known.attack_ids.is_empty() && new.attack_ids.is_empty()),
        ("benign", known.benign.is_some() && new.benign.is_none()),
    ]
    .into_iter()
    .filter_map(|(key, lost)| lost.then_some(key))
    .collect();
    (!lost.is_empty()).then(|| format!("the new entry has no {}; the old one has", lost.join(", ")))
}

fn methods(document: &mut Document<'_>, catalog: &Catalog) -> Vec<Method> {
    let mut added = Vec::new();
    let mut places = BTreeMap::new();
    for entry in document.sections::<Method>("method") {
        let method = &entry.read;
        let at = entry.place_of("name");
        if method.name.trim().is_empty() {
            document.problem(Gravity::Error, at, "the method has no name".to_owned(), None);
        }
        // Methods of one name are told apart by the objects and arguments that they are for.
        let key = (
            method.name.to_lowercase(),
            method.path.clone(),
            method.only.clone(),
            method.says.clone(),
        );
        if let Some(earlier) = places.insert(key, at) {
            let earlier = document.line(earlier);
            let cause = format!("method {} is listed twice: first in line {earlier}", method.name);
            let hint = Some("names are compared without regard to case; `path` tells objects apart".to_owned());
            document.problem(Gravity::Error, at, cause, hint);
        }
        let known = catalog.methods(&method.name).first();
        indexes(document, &entry, known);
        if !method.arguments.is_empty() && method.required > method.arguments.len() {
            let cause = format!(
                "`required` is {}, and {} has {} arguments",
                method.required,
                method.name,
                method.arguments.len()
            );
            document.problem(Gravity::Error, entry.place_of("required"), cause, None);
        }
        if let Some(known) = known {
            let whose = if method.path.is_empty() {
                "for every class"
            } else {
                "for the objects in `path`"
            };
            let cause = format!("goes before the method `{}` that there is, {whose}", known.name);
            document.problem(Gravity::Note, at, cause, None);
        }
        added.push(entry.read);
    }
    added
}

/// Are the arguments there that hold what is run?
fn indexes(document: &mut Document<'_>, entry: &Entry<'_, Method>, known: Option<&Method>) {
    let method = &entry.read;
    let arguments = match known {
        Some(known) if method.arguments.is_empty() => &known.arguments,
        _ => &method.arguments,
    };
    let named = [("program", method.program), ("parameters", method.parameters)];
    for (key, index) in named.into_iter().filter_map(|(key, index)| Some((key, index?))) {
        let beyond = if arguments.is_empty() {
            index >= MAX_ARGUMENTS
        } else {
            index >= arguments.len()
        };
        if beyond {
            let (cause, hint) = if arguments.is_empty() {
                (
                    format!("`{key}` is {index}: no method has so many arguments"),
                    "the first argument is 0".to_owned(),
                )
            } else {
                let last = arguments.len() - 1;
                (
                    format!("`{key}` is {index}, and the last argument of {} is {last}", method.name),
                    format!("counted from 0: {}", numbered(arguments)),
                )
            };
            document.problem(Gravity::Error, entry.place_of(key), cause, Some(hint));
        }
    }
    if let (Some(program), Some(parameters)) = (method.program, method.parameters)
        && program == parameters
    {
        let cause = format!("`program` and `parameters` are the same argument, {program}");
        let hint = Some("leave `parameters` out when one argument holds both".to_owned());
        document.problem(Gravity::Error, entry.place_of("parameters"), cause, hint);
    }
}

/// [MS-OAUT] bounds the arguments of a call by memory alone; no automation method in use has as many as this.
const MAX_ARGUMENTS: usize = 64;

/// Arguments with their numbers, as people say them.
pub(super) fn numbered(arguments: &[String]) -> String {
    let named: Vec<String> = arguments
        .iter()
        .enumerate()
        .map(|(index, name)| format!("{index} {name}"))
        .collect();
    named.join(", ")
}

fn is_known(id: &AttackId) -> bool {
    let (technique, sub) = id.as_str().split_once('.').unwrap_or((id.as_str(), ""));
    let listed = ATTACK_IDS.lines().find_map(|line| line.strip_prefix(technique));
    listed.is_some_and(|subs| sub.is_empty() || subs.split_whitespace().any(|known| known == sub))
}

fn attack_ids() -> Vec<String> {
    let mut ids = Vec::new();
    for line in ATTACK_IDS.lines().filter(|line| !line.starts_with('#')) {
        let mut numbers = line.split_whitespace();
        let technique = numbers.next().unwrap_or_default();
        ids.push(technique.to_owned());
        ids.extend(numbers.map(|sub| format!("{technique}.{sub}")));
    }
    ids
}

#[cfg(test)]
mod tests {
    use super::*;

    const MMC20: &str = "49b2791a-b1ae-4c90-9b8e-e860ba07f889";

    fn told(text: &str) -> String {
        check("f.toml", text, &Catalog::built_in()).to_string()
    }

    #[test]
    fn every_problem_of_a_file_is_told_once_in_the_order_of_its_lines() {
        let text = "\
[[class]]
clsid = \"49B2791AB1AE4C909B8EE860BA07F889\"
naem = \"Ours\"
category = \"exection\"
severity = \"urgent\"
attack_ids = [\"T1021.003\", \"T47\", \"TA0008\"]

[[class]]
clsid = \"00000000-1111-2222-3333-444444444444\"
name = \"Second\"
members = { Run = \"x\", Walk = 2 }
benign = { used_bye = \"us\" }

[[klass]]
";
        assert_eq!(
            told(text),
            "\
f.toml:1: `name` is missing
f.toml:2: `49B2791AB1AE4C909B8EE860BA07F889` is no CLSID
hint: write `49b2791a-b1ae-4c90-9b8e-e860ba07f889`
f.toml:3: unknown key `naem`
hint: did you mean `name`?
f.toml:4: unknown value `exection`
hint: did you mean `execution`?
f.toml:5: unknown value `urgent`
hint: there are informational, low, medium, high, critical
f.toml:6: `T47` is no ATT&CK id
hint: a technique is written T1047, a sub-technique T1021.003
f.toml:6: `TA0008` is no ATT&CK id
hint: that is a tactic; name the technique, such as T1047 or T1021.003
f.toml:8: `category` is missing
f.toml:8: `severity` is missing
f.toml:11: string \"x\" where a whole number is expected
f.toml:12: `used_by` is missing
f.toml:12: unknown key `used_bye`
hint: did you mean `used_by`?
f.toml:14: unknown section `klass`
hint: did you mean `class`?"
        );
    }

    fn class(clsid: &str, name: &str) -> String {
        format!("[[class]]\nclsid = \"{clsid}\"\nname = \"{name}\"\ncategory = \"execution\"\nseverity = \"high\"\n")
    }

    #[test]
    fn what_can_be_used_is_told_apart_from_what_cannot() {
        let catalog = Catalog::built_in();
        let shadowing = class(MMC20, "Ours");
        let problems = check("f.toml", &shadowing, &catalog);
        assert!(!problems.are_grave());
        assert!(
            problems
                .to_string()
                .starts_with("f.toml:2: note: replaces the entry `MMC20.Application`"),
            "{problems}"
        );
        // Without them, a sealed call is not told by the object's depth.
        assert!(
            problems.to_string().contains("the new entry has no paths, members, "),
            "{problems}"
        );
        let doubtful = class("00000000-1111-2222-3333-444444444444", "ShellWindows")
            + "attack_ids = [\n\"T1021.003\",\n\"T1021.033\",\n]\nmembers = { A = 1, B = 1 }\n";
        let problems = check("f.toml", &doubtful, &catalog);
        let lines: Vec<_> = problems.list.iter().map(|p| (p.gravity, p.line)).collect();
        assert_eq!(
            lines,
            [
                (Gravity::Warning, Some(3)),
                (Gravity::Warning, Some(8)),
                (Gravity::Warning, Some(10))
            ],
            "{problems}"
        );
        assert!(problems.to_string().contains("did you mean `T1021.003`?"), "{problems}");
        assert!(told("").contains("no entry"));
        assert_eq!(told(&class("00000000-1111-2222-3333-444444444444", "Ours")), "");
    }

    #[test]
    fn entries_that_contradict_each_other_or_themselves_are_errors() {
        let one = class("00000000-1111-2222-3333-444444444444", "Ours");
        assert!(told(&format!("{one}\n{one}")).starts_with(
            "f.toml:8: class 00000000-1111-2222-3333-444444444444 is listed twice: first in line 2\nhint: "
        ));
        let method = |rest: &str| format!("[[method]]\nname = \"RunIt\"\n{rest}");
        for (text, starts) in [
            (
                method("arguments = [\"a\", \"b\"]\nprogram = 2\n"),
                "f.toml:4: `program` is 2, and the last argument of RunIt is 1\nhint: counted from 0: 0 a, 1 b",
            ),
            (
                method("program = 64\n"),
                "f.toml:3: `program` is 64: no method has so many arguments\nhint: ",
            ),
            (
                method("program = -1\n"),
                "f.toml:3: integer `-1` where a whole number from 0 is expected",
            ),
            (
                method("program = 1\nparameters = 1\n"),
                "f.toml:4: `program` and `parameters` are the same argument, 1\nhint: ",
            ),
            (
                "[[method]]\nname = \"executeshellcommand\"\nprogram = 0\nparameters = 4\n".to_owned(),
                "f.toml:2: note: goes before the method `ExecuteShellCommand`",
            ),
            (
                method("program = 0\n") + "[[method]]\nname = \"RUNIT\"\nprogram = 0\n",
                "f.toml:5: method RUNIT is listed twice: first in line 2\nhint: ",
            ),
        ] {
            assert!(told(&text).starts_with(starts), "{}", told(&text));
        }
        assert!(
            told("[[method]]\nname = \"ExecuteShellCommand\"\nprogram = 0\nparameters = 4\n")
                .contains("f.toml:4: `parameters` is 4, and the last argument of ExecuteShellCommand is 3")
        );
    }

    #[test]
    fn all_that_is_wrong_with_facts_and_tools_is_told() {
        let fact = |id: &str, test: &str| {
            format!("[[fact]]\nid = \"{id}\"\nwhat = \"w\"\nseen_in = \"s\"\nfield = \"bind_fragment\"\n{test}\n")
        };
        let tool = |name: &str, facts: &str| {
            format!("[[tool]]\nname = \"{name}\"\nfamily = \"f\"\nfacts = [{facts}]\nleast = 2\n")
        };
        let text = [
            fact("a", "is = 1"),
            fact("a", "is = 2"),
            fact("b", "from = 5\nto = 4"),
            fact("c", "is = true"),
            tool("one", "\"none\""),
            tool("two", "\"a\""),
            tool("two", "\"a\""),
        ];
        let told = told(&text.concat());
        for part in [
            "fact `a` is listed twice",
            "fact `b`: no number is from 5 to 4",
            "fact `c` compares a number with something else",
            "tool `one`: there is no fact `none`",
            "tool `two`: its facts are of 1 kinds",
            "tool `two` is listed twice",
        ] {
            assert!(told.contains(part), "{part}: {told}");
        }
        let method = "[[method]]\nname = \"RunIt\"\narguments = [\"a\"]\nrequired = 5\nprogram = 0\n";
        let told = check("f.toml", method, &Catalog::built_in()).to_string();
        assert!(
            told.contains("f.toml:4: `required` is 5, and RunIt has 1 arguments"),
            "{told}"
        );
    }

    #[test]
    fn a_file_that_is_no_toml_says_where_it_stops_being_so() {
        let problems = check("f.toml", "[[class]]\nname = \n", &Catalog::built_in());
        assert!(problems.are_grave());
        assert_eq!(problems.list[0].line, Some(2), "{problems}");
    }

    #[test]
    fn the_catalogues_own_techniques_are_known() {
        for class in Catalog::built_in().iter() {
            for id in &class.attack_ids {
                assert!(is_known(id), "{}: {id}", class.name);
            }
        }
        for unknown in ["T9999", "T1021.999"] {
            assert!(!is_known(&AttackId::try_from(unknown.to_owned()).unwrap()));
        }
    }
}
