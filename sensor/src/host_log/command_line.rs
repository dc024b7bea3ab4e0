//! Command lines, as those who ask for them and those who log them spell them.
//!
//! The same command stands as `cmd.exe /c %COMSPEC% /C calc` on the wire, as `"C:\Windows\System32\cmd.exe" /c
//! %%COMSPEC%% /C calc` in one log and with other capitals, quotes and blanks in the next. Nothing here is run or
//! expanded on a guess: what a variable stands for on every Windows is put in its place, all others stay.

/// How much two command lines have in common, the most first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Likeness {
    /// They say the same.
    Equal,
    /// What was logged is what was asked for, inside of `cmd /c`, `powershell -Command` or `start`.
    Wrapped,
    /// The longer begins with all of the shorter, which is long itself: it was cut where it was logged.
    Beginning,
    /// What was logged is what the shell that was asked for would run: the shell's child, then, not the caller's.
    Inside,
    /// The same program, with other parameters.
    Program,
}

/// Less than this is not taken for a line that was cut.
const CUT: usize = 256;

/// By what a line that was logged is found among many: each line that it runs, itself first, and the beginning of one
/// that may have been cut. [`Asked::keys`] of an alike line has one of them.
pub(crate) fn keys(logged: &str) -> Vec<String> {
    let mut keys = layers(logged);
    keys.extend(keys.first().and_then(|line| beginning(line)));
    keys
}

/// What every line has in common that is the beginning of this one, or begins with it.
fn beginning(normal: &str) -> Option<String> {
    let mut end = CUT;
    while !normal.is_char_boundary(end.min(normal.len())) {
        end -= 1;
    }
    (normal.len() >= CUT).then(|| normal.get(..end).unwrap_or_default().to_owned())
}
/// Wrappers in one another that are taken off.
const LAYERS: usize = 6;

/// Variables that stand for the same on every Windows that is set up as usual.
const VARIABLES: &[(&str, &str)] = &[
    ("%comspec%", r"c:\windows\system32\cmd.exe"),
    ("%systemroot%", r"c:\windows"),
    ("%windir%", r"c:\windows"),
    ("%systemdrive%", "c:"),
    ("%programdata%", r"c:\programdata"),
    ("%allusersprofile%", r"c:\programdata"),
    ("%programfiles%", r"c:\program files"),
    ("%programfiles(x86)%", r"c:\program files (x86)"),
    ("%programw6432%", r"c:\program files"),
    ("%public%", r"c:\users\public"),
];

/// What was asked for, to be compared with many lines: as it is, and without each wrapper that is around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked(Vec<String>);

impl Asked {
    /// A command line.
    pub fn of(line: &str) -> Self {
        Self(layers(line))
    }

    /// By what lines are found that are equal to it, have it inside, are its beginning, or are what it has inside.
    pub(crate) fn keys(&self) -> impl Iterator<Item = String> {
        let cut = self.0.first().and_then(|line| beginning(line));
        self.0.iter().cloned().chain(cut)
    }

    /// How much it has in common with what was logged; nothing when they are of different programs.
    pub fn compare(&self, logged: &str) -> Option<Likeness> {
        let (asked, outer_logged) = (self.0.first()?, &normalised(logged));
        if asked.is_empty() || outer_logged.is_empty() {
            return None;
        }
        if asked == outer_logged {
            return Some(Likeness::Equal);
        }
        if is_inside(asked, outer_logged) {
            return Some(Likeness::Wrapped);
        }
        if self.0.contains(outer_logged) {
            return Some(Likeness::Inside);
        }
        let (shorter, longer) = if asked.len() < outer_logged.len() {
            (asked, outer_logged)
        } else {
            (outer_logged, asked)
        };
        if shorter.len() >= CUT && longer.starts_with(shorter.as_str()) {
            return Some(Likeness::Beginning);
        }
        (head(asked) == head(outer_logged)).then_some(Likeness::Program)
    }
}

/// How much what was asked for and what was logged have in common; nothing when they are of different programs.
pub fn compare(asked: &str, logged: &str) -> Option<Likeness> {
    Asked::of(asked).compare(logged)
}

/// The program that it runs: the name of its file in lower case, without `.exe`.
pub fn program(line: &str) -> String {
    let normal = normalised(line);
    head(&normal).to_owned()
}

/// Does it name a library, which is loaded where it is asked for, and no program of its own?
pub fn is_library(line: &str) -> bool {
    let normal = normalised(line);
    let name = head(&normal);
    [".dll", ".xll", ".wll", ".ocx"].iter().any(|end| name.ends_with(end))
}

/// Does it begin with a program that can be run as it is, and not with a document, an address or a formula?
pub fn names_a_program(line: &str) -> bool {
    let normal = normalised(line);
    let name = head(&normal);
    let plain = |c: char| c.is_alphanumeric() || matches!(c, '.' | '_' | '-' | '~');
    let known = |end: &str| ["com", "bat", "cmd"].contains(&end);
    let address = line.contains("://");
    !address && !name.is_empty() && name.chars().all(plain) && name.rsplit_once('.').is_none_or(|(_, end)| known(end))
}

/// A command line, or another text, without what shells quote and escape with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bare {
    text: String,
    /// Where what stands behind the program begins; all of it, where nothing does.
    arguments: usize,
}

impl Bare {
    pub(crate) fn of(text: &str) -> Self {
        let is_kept = |c: &char| !c.is_whitespace() && !matches!(c, '^' | '`' | '\\' | '\'');
        let bare = |text: &str| text.chars().filter(is_kept).collect::<String>();
        let normal = normalised(text);
        let program = normal.split_once(' ').map_or("", |(program, _)| program);
        Self {
            arguments: bare(program).len(),
            text: bare(&normal),
        }
    }

    /// Has the other one all that this one says behind its program, in one piece? Then it was passed on from there, and says
    /// nothing of its own.
    pub(crate) fn is_passed_on_from(&self, other: &Self) -> bool {
        let arguments = self.text.get(self.arguments..).unwrap_or_default();
        other.text.contains(arguments)
    }

    /// The bytes of it.
    pub(crate) fn len(&self) -> usize {
        self.text.len()
    }
}

/// May the file that was asked for be the one at this path? By the whole path where both have one, else by its name.
pub(crate) fn is_same_file(asked: &str, logged: &str) -> bool {
    let (asked, logged) = (path(asked), path(logged));
    let name = |path: &str| path.rsplit('\\').next().unwrap_or_default().to_owned();
    let is_whole = asked.starts_with('\\') || asked.as_bytes().get(1) == Some(&b':');
    if !is_whole {
        return name(&asked) == name(&logged);
    }
    // `\Device\HarddiskVolume3\a.xll`, `\Device\Mup\server\share\a.xll`: which drive that is, is not known.
    let Some((_, rest)) = logged.strip_prefix(r"\device\").and_then(|rest| rest.split_once('\\')) else {
        return asked == logged;
    };
    let asked = asked.split_once(':').map_or(asked.as_str(), |(_, rest)| rest);
    asked.trim_start_matches('\\') == rest
}

/// Is it the line of a program that opens the file that was asked for, with the arguments that were asked for behind it? So
/// Windows runs what is no program: `wscript.exe "C:\a.vbs" /b` for `a.vbs /b`. A screen saver it runs itself, with its own
/// `/S`: `"C:\a.scr" /S`.
pub(crate) fn opens(asked: &str, logged: &str) -> bool {
    let spelled = |text: &str| {
        let words: Vec<&str> = text.split_whitespace().collect();
        path(&words.join(" ").replace('"', ""))
    };
    let lower = asked.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    let (file, arguments) = split(lower);
    let (file, arguments, logged) = (spelled(file), spelled(arguments), spelled(logged));
    let name = file.rsplit('\\').next().unwrap_or_default();
    let has_type = name.rsplit_once('.').is_some_and(|(stem, kind)| {
        !stem.is_empty() && (1..=8).contains(&kind.len()) && kind.chars().all(char::is_alphanumeric)
    });
    if !has_type || names_a_program(asked) || is_library(asked) {
        return false;
    }
    // The file's whole path, where it was asked for by that.
    let is_whole = file.starts_with('\\') || file.as_bytes().get(1) == Some(&b':') || asked.contains("://");
    let wanted = if is_whole { file.as_str() } else { name };
    let runs_itself = name.rsplit_once('.').is_some_and(|(_, kind)| kind == "scr");
    logged.match_indices(wanted).any(|(at, _)| {
        let before = logged.get(..at).and_then(|text| text.chars().next_back());
        let behind = logged.get(at + wanted.len()..).unwrap_or_default();
        before.map_or(runs_itself, |c| matches!(c, ' ' | '\\'))
            && (behind.is_empty() || behind.starts_with([' ', ',']))
            && (arguments.is_empty() || behind.trim_start_matches([' ', ',']).ends_with(&arguments))
    })
}

/// A path in one spelling.
fn path(text: &str) -> String {
    let mut text = text
        .trim_matches(|c: char| c.is_whitespace() || c == '\0' || c == '"')
        .to_lowercase()
        .replace('/', "\\");
    for (name, value) in VARIABLES {
        text = text.replace(name, value);
    }
    while text.contains(r"\\") {
        text = text.replace(r"\\", r"\");
    }
    text
}

/// In one spelling: lower case, single blanks and backslashes, no quotes, well-known variables in full, and the program by
/// the name of its file alone, without `.exe`.
pub fn normalised(line: &str) -> String {
    let mut text = line
        .trim_matches(|c: char| c.is_whitespace() || c == '\0')
        .to_lowercase();
    // A log that was written by a format string has each sign twice.
    while text.contains("%%") {
        text = text.replace("%%", "%");
    }
    if text.contains('%') {
        for (name, value) in VARIABLES {
            text = text.replace(name, value);
        }
    }
    let (program, rest) = split(&text);
    let mut normal = file_name(program);
    for word in rest.split_whitespace() {
        let word: String = word.chars().filter(|&c| c != '"').collect();
        if word.is_empty() {
            continue;
        }
        normal.push(' ');
        let mut last = ' ';
        for c in word.chars() {
            if !(c == '\\' && last == '\\') {
                normal.push(c);
            }
            last = c;
        }
    }
    normal
}

/// The program as it is written, and what stands behind it.
fn split(text: &str) -> (&str, &str) {
    if let Some(quoted) = text.strip_prefix('"') {
        return quoted.split_once('"').unwrap_or((quoted, ""));
    }
    // A path with blanks in it and no quotes around it ends where its file does.
    let is_path = text.starts_with('\\') || text.as_bytes().get(1) == Some(&b':');
    if is_path {
        for (at, _) in text.match_indices(".exe") {
            let end = at + ".exe".len();
            let rest = text.get(end..).unwrap_or_default();
            if rest.is_empty() || rest.starts_with(char::is_whitespace) {
                return (text.get(..end).unwrap_or(text), rest);
            }
        }
    }
    text.split_once(char::is_whitespace).unwrap_or((text, ""))
}

fn file_name(path: &str) -> String {
    let path = path.trim_matches('"');
    let name = path.rsplit(['\\', '/']).next().unwrap_or(path);
    name.strip_suffix(".exe").unwrap_or(name).to_owned()
}

fn head(normal: &str) -> &str {
    // The name of a file may have blanks; that of a program that is worth comparing has none.
    normal.split(' ').next().unwrap_or(normal)
}

/// The line as it is, and without each wrapper that is around it.
fn layers(line: &str) -> Vec<String> {
    let mut layers = vec![normalised(line)];
    while layers.len() < LAYERS
        && let Some(inner) = layers.last().and_then(|outer| unwrapped(outer))
    {
        layers.push(normalised(&inner));
    }
    layers
}

/// Is it what remains of a line without one of the wrappers around that?
fn is_inside(inner: &str, normal: &str) -> bool {
    let mut rest = unwrapped(normal);
    for _ in 1..LAYERS {
        let Some(line) = rest else { return false };
        let line = normalised(&line);
        if line == inner {
            return true;
        }
        rest = unwrapped(&line);
    }
    false
}

/// What is run by `cmd /c`, `powershell -Command` or `start`, when the line is that.
fn unwrapped(normal: &str) -> Option<String> {
    let mut words = normal.split(' ').peekable();
    let program = words.next()?;
    match program {
        "cmd" => {
            while let Some(word) = words.next() {
                let flag = word.strip_prefix('/')?;
                // `/ccalc` is understood as well as `/c calc`.
                if let Some(glued) = flag.strip_prefix(['c', 'k', 'r']) {
                    let glued = (!glued.is_empty()).then_some(glued);
                    return rest(glued.into_iter().chain(words));
                }
            }
            None
        }
        "powershell" | "pwsh" => {
            while let Some(word) = words.next() {
                let Some(flag) = word.strip_prefix(['-', '/']) else {
                    return rest(std::iter::once(word).chain(words));
                };
                if flag.starts_with('c') && "command".starts_with(flag) {
                    return rest(words);
                }
                // A script that is encoded is its own parameter; so is a file.
                if flag.starts_with('e') && !flag.starts_with("ex") && flag != "ep" || flag.starts_with('f') {
                    return None;
                }
                if TAKES_VALUE.iter().any(|full| full.starts_with(flag)) || flag == "ep" {
                    words.next();
                }
            }
            None
        }
        "start" => {
            while words.next_if(|word| word.starts_with('/')).is_some() {}
            rest(words)
        }
        _ => None,
    }
}

/// Parameters of `PowerShell` that a value follows.
const TAKES_VALUE: [&str; 6] = [
    "windowstyle",
    "executionpolicy",
    "version",
    "inputformat",
    "outputformat",
    "psconsolefile",
];

fn rest<'w>(words: impl Iterator<Item = &'w str>) -> Option<String> {
    let joined = words.collect::<Vec<_>>().join(" ");
    (!joined.is_empty()).then_some(joined)
}

#[cfg(test)]
mod tests {
    use super::Likeness::{Beginning, Equal, Inside, Program, Wrapped};
    use super::*;

    #[test]
    fn spellings_of_one_line_are_equal() {
        for (asked, logged) in [
            (
                "cmd.exe /c %COMSPEC% /C start /b powershell -noP  -enc  SQBG",
                r#""C:\Windows\System32\cmd.exe" /c %%COMSPEC%% /C start /b powershell -noP -enc SQBG"#,
            ),
            ("calc", r"C:\WINDOWS\system32\calc.exe "),
            ("%SystemRoot%\\notepad.exe a.txt", r#""C:\Windows\notepad.exe" "a.txt""#),
            (
                r"C:\Program Files\Tool\run me.exe /x",
                r#""c:\program files\tool\run me.exe"   /X"#,
            ),
            (r"c:\\programdata\\a.exe", r"C:\programdata\a.exe"),
            ("%COMSPEC% /q", "cmd /Q"),
        ] {
            assert_eq!(compare(asked, logged), Some(Equal), "{asked} {logged}");
            assert_eq!(compare(logged, asked), Some(Equal), "{asked} {logged}");
        }
    }

    #[test]
    fn what_a_wrapper_runs_is_the_same_line_inside() {
        for (asked, logged) in [
            ("calc.exe", r#"C:\Windows\system32\cmd.exe /Q /c "calc.exe""#),
            ("calc.exe", "cmd /c cmd.exe /C start /b calc"),
            ("whoami /all", "powershell -nop -w hidden -c whoami /all"),
            ("whoami", "powershell.exe -ep bypass whoami"),
        ] {
            assert_eq!(compare(asked, logged), Some(Wrapped), "{asked} {logged}");
            assert_eq!(compare(logged, asked), Some(Inside), "{logged} {asked}");
            let found = Asked::of(asked).keys().any(|key| keys(logged).contains(&key));
            assert!(found, "{asked} {logged}");
        }
    }

    #[test]
    fn another_line_of_the_same_program_is_no_more_than_that() {
        assert_eq!(compare("cmd.exe /c whoami", "cmd.exe /c ipconfig"), Some(Program));
        assert_eq!(compare("powershell -enc AAAA", "powershell -enc BBBB"), Some(Program));
        assert_eq!(compare("cmd.exe /c whoami", "mmc.exe -Embedding"), None);
        assert_eq!(compare("", "cmd"), None);
        assert_eq!(compare(" \0", ""), None);
    }

    #[test]
    fn a_long_line_may_have_been_cut_and_a_short_one_not() {
        let long = format!("powershell -enc {}", "QUJD".repeat(300));
        assert_eq!(compare(&long, &long[..900]), Some(Beginning));
        assert_eq!(compare(&long, &long[..100]), Some(Program));
        for (asked, logged) in [(&long[..], &long[..900]), (&long[..900], &long[..])] {
            assert!(Asked::of(asked).keys().any(|key| keys(logged).contains(&key)));
        }
    }

    #[test]
    fn programs_and_libraries_are_told_by_the_first_word() {
        assert_eq!(program(r#""C:\Windows\System32\MMC.exe" -Embedding"#), "mmc");
        assert!(is_library(r"C:\\programdata\calc.xll"));
        assert!(!is_library("rundll32.exe a.dll,b"));
    }

    #[test]
    fn what_a_shell_passes_on_is_all_in_its_own_line() {
        for (line, text) in [
            (
                "powershell -c \"[a]::b('c')\"",
                r#"C:\Windows\System32\cmd.exe /c "powershell.exe -c \"[a]::b('c')\"""#,
            ),
            ("powershell -c a|b", "cmd /c powershell -c a^|b"),
            ("a.exe", "cmd /c start a"),
        ] {
            assert!(Bare::of(line).is_passed_on_from(&Bare::of(text)), "{line} {text}");
        }
        for (line, text) in [
            ("powershell -c b", "powershell -c a; .\\next.ps1"),
            ("powershell -c a b", "cmd /c powershell -c a"),
        ] {
            assert!(!Bare::of(line).is_passed_on_from(&Bare::of(text)), "{line} {text}");
        }
    }

    #[test]
    fn a_file_is_the_same_by_its_path_and_by_its_name_where_it_has_none() {
        for (asked, logged, same) in [
            (r"C:\\programdata\calc.xll", r"c:\ProgramData\calc.xll", true),
            (r"%ProgramData%\calc.xll", r"C:\ProgramData\calc.xll", true),
            (r"C:\Users\Public\report.xll", r"D:\other\report.xll", false),
            (r"C:\a\b.xll", r"\Device\HarddiskVolume3\a\b.xll", true),
            (r"\\server\share\b.xll", r"\Device\Mup\server\share\b.xll", true),
            (r"\\server\share\b.xll", r"\\server\share\b.xll", true),
            (r"\\server\share\b.xll", r"C:\share\b.xll", false),
            ("b.xll", r"C:\share\b.xll", true),
        ] {
            assert_eq!(is_same_file(asked, logged), same, "{asked} {logged}");
        }
    }

    #[test]
    fn what_opens_a_file_has_its_name_and_the_arguments_behind_it() {
        let script = r#""C:\Windows\System32\WScript.exe" "C:\windows\system32\xyz.vbs" /Q /c whoami"#;
        let page = r#""C:\Windows\System32\mshta.exe" "C:\a\xyz.hta" {1E460BD7}{1E460BD7} /Q /c whoami"#;
        for (asked, logged, same) in [
            ("xyz.vbs /Q /c whoami", script, true),
            (r"C:\Windows\System32\xyz.vbs /q /c  whoami", script, true),
            (r"%SystemRoot%\system32\xyz.vbs /q /c whoami", script, true),
            ("xyz.hta /Q /c whoami", page, true),
            ("xyz.msi /q", r"msiexec.exe /i C:\a\xyz.msi /q", true),
            ("xyz.cpl /q", r"control.exe C:\a\xyz.cpl,/q", true),
            ("https://a.example/b.hta", "mshta.exe https://a.example/b.hta", true),
            (r"C:\a\xyz.scr", r#""C:\a\xyz.scr" /S"#, true),
            (r"C:\a\xyz.scr /p 1", r#""C:\a\xyz.scr" /S /p 1"#, true),
            ("xyz.scr", r#""C:\a\xyz.scr" /S"#, true),
            (r"C:\a\xyz.scr", r#""C:\b\xyz.scr" /S"#, false),
            (r"C:\a\xyz.scr /p 1", r#""C:\a\xyz.scr" /S"#, false),
            (r"D:\xyz.vbs /Q /c whoami", script, false),
            ("yz.vbs /Q /c whoami", script, false),
            ("xyz.vbs /Q /c hostname", script, false),
            ("xyz.vb", script, false),
            ("xyz.vbs", "xyz.vbs", false),
            ("whoami", script, false),
            (r#"EXEC("whoami")"#, script, false),
        ] {
            assert_eq!(opens(asked, logged), same, "{asked} {logged}");
        }
    }

    #[test]
    fn a_program_is_told_from_documents_addresses_and_formulas() {
        for line in ["calc", r"C:\a b\cmd.exe /c x", "a.bat", "%COMSPEC% /c x"] {
            assert!(names_a_program(line), "{line}");
        }
        for line in [
            "a.hta",
            "=EXEC(\"calc\")",
            "EXEC(\"calc\")",
            "https://a.example/b",
            "",
            "a.xlsm",
        ] {
            assert!(!names_a_program(line), "{line}");
        }
    }

    #[test]
    fn variables_that_differ_from_host_to_host_stay() {
        assert_eq!(normalised("%TEMP%\\a.exe"), "a");
        assert_eq!(normalised("x %TEMP%\\A"), r"x %temp%\a");
        assert_eq!(normalised("%"), "%");
    }
}
