//! How often automation that is none of an attacker's fits by chance: made-up conversations out of members of products
//! that are automated every day. The page of the detection states what comes out.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use dcom_parsers::guid::Ipid;
use dcom_parsers::names::known;
use dcom_parsers::ndr::Encoding;

use super::shape::{Calls, Fit, Operation, Origins, Sealed, Verdict, judge};
use crate::catalog::Catalog;
use crate::event::meta::Place;

/// Members of Office, of the shell and its browser, of scripting, of directory and data access, of installers.
const MEMBERS: &str = "ActiveCell ActiveChart ActiveConnection ActiveDocument ActiveExplorer ActiveInspector \
    ActivePresentation ActiveSheet ActiveWindow ActiveWorkbook Add AddFromFile AddIns Address AddressEntry AddressLists Application \
    Assignments AtEndOfStream Attachments AutoFit Background Body BodyFormat Bold Bookmarks Borders Build BuildPath Busy \
    Calculate Calculation Caption Cells Charts ClassName Clear ClearContents Close Color Columns COMAddIns CommandBars \
    Comments CommitTrans Connection ConnectionString Content Copy CopyFile CopyFromRecordset CopyHere Count CreateFolder \
    CreateItem CreateParameter CreateTextFile CurrentRegion CursorLocation DataBodyRange Databases DateLastModified Default \
    DefaultFilePath DefinedNames Delete DeleteFile Description DisplayAlerts DisplayName Documents Drives EnableEvents \
    End EntireColumn EntireRow EOF Execute Exists Exit ExportAsFixedFormat Fields FileExists Files FileSystem Filter Find \
    FolderExists Folders Font Footers Formula FormulaR1C1 FullName GetDefaultFolder GetExtensionName GetFile GetFolder \
    GetNamespace GetObject GetRange GetRows GetSharedDefaultFolder Headers Height Hidden HorizontalAlignment HTMLBody Hwnd \
    Hyperlinks Import InlineShapes InsertAfter InsertParagraph InstallProduct Interior International Items Keys LanguageSettings \
    LastModified LeftMargin ListObjects LoadFromFile Locked Logon MailItem MoveFirst MoveNext Name NameSpace Names Navigate2 \
    NewWindow NumberFormat Offset OpenDatabase OpenRecordset OpenText Open Orientation PageSetup Paragraphs ParentFolder \
    Parent Password Paste PasteSpecial Path PivotTables Presentations PrintOut Processes Product Projects Properties Protect \
    Publish Quit Range ReadAll ReadLine ReadyState Recipients RecordCount Recordset Refresh RefreshAll Replace Resize Resources \
    Rows Run Save SaveAs SaveAsFile ScreenUpdating Sections Select Selection Send SenderName Sentences Services Session Shapes \
    Sheets ShowWindow Size SlideMaster Slides Sort SpecialCells StatusBar Storage Styles Subject Tables Tasks Text TextFrame \
    TextRange Title Toolbars TopMargin Tracking Transfer Type Typography Undo Unprotect UsedRange UserName Value Value2 \
    Version Views Visible Width WindowState Windows WordWrap Words Workbooks Worksheet Worksheets Wrap Write WriteLine Zoom";

const CONVERSATIONS: u32 = 100_000;

/// A number from 0 up to `below`; always the same row of them.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u32) -> u32 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        u32::try_from((self.0 >> 33) % u64::from(below)).unwrap()
    }
}

/// A client goes from object to object; on each it reads properties and calls methods, one of which gives the next.
fn conversation(dice: &mut Dice, members: &[&str], with_names: bool) -> Vec<Sealed> {
    let mut calls: Vec<Sealed> = Vec::new();
    let objects = 1 + dice.roll(6);
    for number in 0..objects {
        let mut uuid = known::IUNKNOWN;
        uuid.data1 = number;
        let mut call = |operation, length, reply| {
            calls.push(Sealed {
                place: Place::Frame(0),
                object: Ipid(uuid),
                number: number.into(),
                operation,
                length,
                reply: Some(reply),
                first: false,
            });
        };
        let uses = if with_names { 1 + dice.roll(3) } else { 1 };
        for index in 0..uses {
            if with_names {
                let member = members[usize::try_from(dice.roll(u32::try_from(members.len()).unwrap())).unwrap()];
                let name = u32::try_from(member.len() + 1).unwrap() * 2;
                call(Operation::Lookup, 76 + name.next_multiple_of(4), 20);
            }
            let is_next = index + 1 == uses && number + 1 < objects;
            // Half of the other answers have room for an object.
            let reply = if is_next { 228 } else { 80 + 4 * dice.roll(40) };
            // Half are properties that are read; to the others numbers and texts are passed, from one to five.
            let passed = match dice.roll(2) {
                0 => 0,
                _ => (0..=dice.roll(5)).map(|_| 28 + 8 * dice.roll(8)).sum(),
            };
            call(Operation::Invoke, 88 + passed, reply);
        }
    }
    calls
}

/// How many of the conversations fit, by how well.
#[derive(Default)]
struct Chance {
    paths: BTreeMap<String, u32>,
    /// From another object than the first, or with others in between: of a rare path, and of another one.
    loose: [u32; 2],
    two_texts: u32,
    one: u32,
    part: u32,
    unnamed: u32,
}

impl Chance {
    /// As the detection does it: the first fit is told, a part only at the end.
    fn take(&mut self, calls: &[Sealed], catalog: &Catalog) {
        let heard = |end: usize, over| -> Option<Verdict<'_>> {
            let calls = &calls[..end];
            let asked = calls.iter().find(|call| call.operation == Operation::Lookup);
            let asked = asked.map(|call| call.object);
            let heard = Calls {
                all: calls,
                since: 0,
                until: None,
                asked,
                origins: &Origins::of(calls, &[0]),
            };
            judge(heard, Encoding::Ndr20, catalog, over)
        };
        let early = (1..=calls.len())
            .filter(|end| calls[end - 1].operation == Operation::Invoke)
            .find_map(|end| heard(end, false));
        let verdict = early.or_else(|| heard(calls.len(), true));
        let path = verdict.as_ref().map_or("", |verdict| verdict.path);
        let close = verdict.as_ref().is_none_or(|verdict| verdict.close);
        match verdict.as_ref().map(|verdict| (verdict.fit, verdict.texts)) {
            None => {}
            Some((Fit::Whole(2..), _)) if !close => self.loose[usize::from(!rare(path))] += 1,
            Some((Fit::Whole(2..), _)) => *self.paths.entry(path.to_owned()).or_default() += 1,
            Some((Fit::Whole(_), 2..)) => self.two_texts += 1,
            Some((Fit::Whole(_), _)) => self.one += 1,
            Some((Fit::Part, _)) => self.part += 1,
            Some((Fit::Unnamed, _)) => self.unnamed += 1,
        }
    }
}

#[test]
fn the_page_says_how_often_chance_looks_alike() {
    let catalog = Catalog::built_in();
    let members: Vec<_> = MEMBERS.split_whitespace().collect();
    let mut dice = Dice(2021);
    let (mut named, mut unnamed) = (Chance::default(), Chance::default());
    for _ in 0..CONVERSATIONS {
        named.take(&conversation(&mut dice, &members, true), &catalog);
        unnamed.take(&conversation(&mut dice, &members, false), &catalog);
    }
    let of_all = |count: u32| format!("{:.3} %", f64::from(count) * 100.0 / f64::from(CONVERSATIONS));
    let mut table = String::from("| what fits | severity | confidence | by chance |\n|---|---|---|---:|\n");
    let paths = catalog.iter().flat_map(|class| &class.paths).map(String::as_str);
    let paths: Vec<_> = paths.filter(|path| path.contains('.')).collect();
    let counted = |path: &str| named.paths.get(path).copied().unwrap_or_default();
    for &path in &paths {
        let confidence = if rare(path) { "high" } else { "medium" };
        writeln!(table, "| `{path}` | high | {confidence} | {} |", of_all(counted(path))).unwrap();
    }
    let [loose, looser] = named.loose;
    writeln!(
        table,
        "| one of the first two, loosely | high | medium | {} |",
        of_all(loose)
    )
    .unwrap();
    for (what, severity, count) in [
        ("the third, loosely", "medium", looser),
        ("a part of such a path, at least two names", "medium", named.part),
        ("one name, whose method takes two texts", "medium", named.two_texts),
        ("one name, whose method takes less", "low", named.one),
        ("as many calls as on a path, without names", "medium", unnamed.unnamed),
    ] {
        writeln!(table, "| {what} | {severity} | low | {} |", of_all(count)).unwrap();
    }
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/detections/sealed-activation.md");
    let written = fs::read_to_string(&page).unwrap();
    let begin = "<!-- chance: UPDATE_DOCS=1 cargo test chance rewrites it -->\n";
    let end = "<!-- end of chance -->\n";
    let (before, rest) = written.split_once(begin).expect("the table has a beginning");
    let (_, after) = rest.split_once(end).expect("the table has an end");
    let due = [before, begin, &table, end, after].concat();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&page, &due).unwrap();
    } else {
        assert!(
            written == due,
            "out of date: UPDATE_DOCS=1 cargo test chance rewrites it\n{table}"
        );
    }
    for path in paths {
        let most = if rare(path) { 50 } else { 500 };
        let count = counted(path);
        assert!(count <= most, "{path}: {count} of {CONVERSATIONS}");
    }
    assert!(loose <= 500, "{loose} of {CONVERSATIONS}");
}

/// As the detection judges it.
fn rare(path: &str) -> bool {
    path.split('.').count() > 3 || path.split('.').any(|name| name.len() >= super::shape::LONG)
}
