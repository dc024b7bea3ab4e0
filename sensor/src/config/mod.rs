//! The settings, as a TOML file spells them.

pub(crate) mod environment;
mod outputs;
mod secret;
mod settings;
mod syslog;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use dcom_parsers::guid::Guid;
use serde::Serialize;

pub(crate) use outputs::is_url;
pub use outputs::{EveLog, EventType, FileType, Notify, Pipelining, RedisMode, RedisSettings};
pub use secret::Secret;
pub use settings::{BaselineSettings, CatalogSettings, DetectSettings, HostSettings, Key, OutputSettings, Seconds};
pub use syslog::{Facility, Level, SyslogAddress};

use crate::detect::is_signature;
use crate::document::{Document, Entry, Gravity, Problems};
use crate::policy::{Allow, Suppress, Threshold};

/// Everything that can be set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Config {
    /// `[detect]`
    pub detect: DetectSettings,
    /// `[catalog]`
    pub catalog: CatalogSettings,
    /// `[baseline]`
    pub baseline: BaselineSettings,
    /// `[host]`
    pub host: HostSettings,
    /// `[output]`
    pub output: OutputSettings,
    /// `[[allow]]`
    pub allow: Vec<Allow>,
    /// `[[threshold]]`
    pub threshold: Vec<Threshold>,
    /// `[[suppress]]`
    pub suppress: Vec<Suppress>,
    /// `[[eve-log]]`
    pub eve_log: Vec<EveLog>,
    /// `[[notify]]`
    pub notify: Vec<Notify>,
    /// The environment's variables that are in force.
    environment: Vec<String>,
}

const SECTIONS: [&str; 10] = [
    "detect",
    "catalog",
    "baseline",
    "host",
    "output",
    "allow",
    "threshold",
    "suppress",
    "eve-log",
    "notify",
];

impl Config {
    /// The sections of plain settings, each with its keys.
    const KEYS: &[(&'static str, &'static [Key])] = &[
        ("detect", DetectSettings::KEYS),
        ("catalog", CatalogSettings::KEYS),
        ("baseline", BaselineSettings::KEYS),
        ("host", HostSettings::KEYS),
        ("output", OutputSettings::KEYS),
    ];

    /// Reads a file. `path` tells the user which file a problem is in, and where paths in it begin.
    pub fn read(path: &Path, text: &str) -> Result<Self, Problems> {
        let mut document = Document::parse(&path.display().to_string(), text);
        document.only(&SECTIONS, |key| {
            let knows = |(_, keys): &&(_, &[Key])| keys.iter().any(|known| known.name == key);
            let (section, _) = Self::KEYS.iter().find(knows)?;
            Some(format!("it stands in [{section}]"))
        });
        let mut config = Self {
            detect: document.section("detect").unwrap_or_default(),
            catalog: document.section("catalog").unwrap_or_default(),
            baseline: document.section("baseline").unwrap_or_default(),
            host: document.section("host").unwrap_or_default(),
            output: document.section("output").unwrap_or_default(),
            allow: allow(&mut document),
            threshold: threshold(&mut document),
            suppress: suppress(&mut document),
            eve_log: outputs::eve_log(&mut document),
            notify: outputs::notify(&mut document),
            environment: Vec::new(),
        };
        for (section, keys) in Self::KEYS {
            check(&mut document, section, keys);
        }
        let problems = document.finish();
        if problems.are_grave() {
            return Err(problems);
        }
        config.resolve(path.parent().unwrap_or(Path::new("")));
        Ok(config)
    }

    /// Is nothing set, by no file and by no variable?
    pub(crate) fn is_built_in(&self) -> bool {
        self.environment.is_empty() && *self == Self::default()
    }

    /// Paths in a file begin where the file is.
    pub(crate) fn resolve(&mut self, folder: &Path) {
        let files = self.catalog.files.iter_mut();
        let paths = files.chain([&mut self.baseline.file, &mut self.output.log_dir]);
        let paths = paths.chain(outputs::paths(&mut self.eve_log, &mut self.notify));
        for path in paths.filter(|path| !path.as_os_str().is_empty()) {
            *path = folder.join(&path);
        }
    }

    /// The file that says the same, with what each key means and its default.
    pub fn print(&self) -> String {
        let default = Self::default();
        let mut text = "# The settings in force. Each key is told with its meaning and its default.\n".to_owned();
        for (name, keys) in Self::KEYS {
            let [now, default] = [self, &default].map(|config| config.section(name));
            self.print_section(&mut text, name, keys, [&now, &default]);
        }
        entries(&mut text, "allow", ABOUT_ALLOW, &self.allow);
        entries(&mut text, "threshold", ABOUT_THRESHOLD, &self.threshold);
        entries(&mut text, "suppress", ABOUT_SUPPRESS, &self.suppress);
        entries(&mut text, "eve-log", outputs::ABOUT_EVE_LOG, &self.eve_log);
        entries(&mut text, "notify", outputs::ABOUT_NOTIFY, &self.notify);
        text
    }

    /// Settings that a running sensor does not take up, as far as they differ.
    pub(crate) fn fixed_and_changed<'c>(&'c self, other: &'c Self) -> impl Iterator<Item = String> + 'c {
        let plain = Self::KEYS.iter().flat_map(move |(section, keys)| {
            let [one, other] = [self, other].map(|config| config.section(section));
            let changed = keys.iter().filter(move |key| one.get(key.name) != other.get(key.name));
            changed.map(move |key| (*section, key.name))
        });
        let fixed =
            plain.filter(|&(section, key)| !matches!((section, key), ("detect" | "catalog", _) | ("output", "logs")));
        let outputs = [
            ("[[eve-log]]", self.eve_log != other.eve_log),
            ("[[notify]]", self.notify != other.notify),
        ];
        let outputs = outputs.into_iter().filter(|&(_, differ)| differ);
        fixed
            .map(|(section, key)| format!("[{section}] {key}"))
            .chain(outputs.map(|(name, _)| name.to_owned()))
    }

    /// A section as a table.
    fn section(&self, name: &str) -> toml::Table {
        let table = match name {
            "detect" => toml::Table::try_from(&self.detect),
            "catalog" => toml::Table::try_from(&self.catalog),
            "baseline" => toml::Table::try_from(&self.baseline),
            "host" => toml::Table::try_from(&self.host),
            _ => toml::Table::try_from(&self.output),
        };
        let Ok(table) = table else {
            unreachable!("sections are tables of plain values");
        };
        table
    }

    fn print_section(&self, text: &mut String, name: &str, keys: &[Key], [now, default]: [&toml::Table; 2]) {
        let _ = writeln!(text, "\n[{name}]");
        for key in keys {
            for line in key.doc {
                let _ = writeln!(text, "#{line}");
            }
            let value = |table: &toml::Table| table.get(key.name).map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(text, "# Default: {}", value(default));
            let variable = environment::variable(name, key.name);
            if self.environment.contains(&variable) {
                let _ = writeln!(text, "# From the environment: {variable}");
            }
            let _ = writeln!(text, "{} = {}", key.name, value(now));
        }
    }

    /// The files that are read again when the sensor is told to, beside the settings' own.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.catalog.files.iter().map(PathBuf::as_path)
    }

    /// Where the baseline is kept, if there is to be one.
    pub fn baseline_file(&self) -> Option<PathBuf> {
        let file = &self.baseline.file;
        (!file.as_os_str().is_empty()).then(|| file.clone())
    }
}

fn allow(document: &mut Document<'_>) -> Vec<Allow> {
    let mut all = Vec::new();
    for entry in document.sections::<Allow>("allow") {
        let line = document.line(entry.place());
        if entry.read.is_boundless() {
            let cause = "the entry allows everything".to_owned();
            let hint = format!("name at least one of {}", Allow::CONDITIONS.join(", "));
            document.problem(Gravity::Error, entry.place(), cause, Some(hint));
        }
        if entry.read.comment.trim().is_empty() {
            let hint = "say why: it is shown beside what the entry suppressed".to_owned();
            document.problem(
                Gravity::Error,
                entry.place_of("comment"),
                "`comment` is empty".to_owned(),
                Some(hint),
            );
        }
        for (index, class) in entry.read.class.0.iter().enumerate() {
            let digits = class.as_str().trim_matches(['{', '}']);
            let of_digits = digits.chars().all(|c| c.is_ascii_hexdigit() || c == '-');
            if of_digits && digits.matches('-').count() >= 3 && Guid::parse(class.as_str()).is_none() {
                let cause = format!("`{}` is no CLSID", class.as_str());
                let hint = "such as 49b2791a-b1ae-4c90-9b8e-e860ba07f889".to_owned();
                document.problem(Gravity::Error, entry.place_in("class", index), cause, Some(hint));
            }
        }
        signatures(document, &entry, &entry.read.sig_id.0);
        all.push(entry.read.in_line(line));
    }
    all
}

/// Numbers that no signature has.
fn signatures<T>(document: &mut Document<'_>, entry: &Entry<'_, T>, ids: &[u32]) {
    for (index, id) in ids.iter().enumerate().filter(|(_, id)| !is_signature(**id)) {
        let cause = format!("there is no signature {id}");
        let hint = "docs/detections lists them, and alerts have them as `signature_id`".to_owned();
        document.problem(Gravity::Error, entry.place_in("sig_id", index), cause, Some(hint));
    }
}

/// The number that is asked for; none where 0 stands for any.
fn asked_for(sig_id: &u32) -> &[u32] {
    if *sig_id == 0 {
        &[]
    } else {
        std::slice::from_ref(sig_id)
    }
}

fn threshold(document: &mut Document<'_>) -> Vec<Threshold> {
    let mut all: Vec<Threshold> = Vec::new();
    for entry in document.sections::<Threshold>("threshold") {
        let line = document.line(entry.place());
        for (key, number) in [("count", entry.read.count), ("seconds", entry.read.seconds)] {
            if number == 0 {
                let cause = format!("`{key}` is 0, and a threshold of that never ends");
                let hint = Some("write 1 or more".to_owned());
                document.problem(Gravity::Error, entry.place_of(key), cause, hint);
            }
        }
        signatures(document, &entry, asked_for(&entry.read.sig_id));
        let same = |other: &&Threshold| (other.gen_id, other.sig_id) == (entry.read.gen_id, entry.read.sig_id);
        if let Some(earlier) = all.iter().find(same) {
            let (id, earlier) = (earlier.sig_id, earlier.line());
            let cause = format!("signature {id} has a threshold already, in line {earlier}");
            let hint = Some("make one of the two".to_owned());
            document.problem(Gravity::Error, entry.place(), cause, hint);
        }
        all.push(entry.read.in_line(line));
    }
    all
}

fn suppress(document: &mut Document<'_>) -> Vec<Suppress> {
    let mut all = Vec::new();
    for entry in document.sections::<Suppress>("suppress") {
        let line = document.line(entry.place());
        if entry.read.is_incomplete() {
            let cause = "`track` and `ip` go together".to_owned();
            let hint = "leave both out to suppress the signature whoever it is about".to_owned();
            document.problem(Gravity::Error, entry.place(), cause, Some(hint));
        }
        if entry.read.is_boundless() {
            let cause = "the entry suppresses everything".to_owned();
            let hint = "name a `sig_id`, or `track` and `ip`".to_owned();
            document.problem(Gravity::Error, entry.place(), cause, Some(hint));
        }
        signatures(document, &entry, asked_for(&entry.read.sig_id));
        all.push(entry.read.in_line(line));
    }
    all
}

const ABOUT_ALLOW: &str = "\
# Alerts that are not told, since what they are about is known: [[allow]]
#   comment        why; shown beside what the entry suppressed
#   expires        the first day, or moment, on which the entry no longer holds: 2027-01-31, 2027-01-31T12:00:00Z
#   source, target addresses, ranges (10.0.0.0/8) or host names
#   class          names or CLSIDs
#   user           user, or DOMAIN\\user
#   tool, method, command_line
#   host           of host logs: names of computers
#   parent, child  of host logs: the process that started another, and that other; image names or paths
#   parent_command_line
#   sig_id         numbers of signatures
#   days, hours    when, in UTC by the traffic's clock: [\"sat\", \"sun\"], \"22:00-06:00\"
# Each key takes one value or a list. All keys of an entry must fit, of a list one value. In names and command lines
# * stands for anything and ? for one character; case does not matter.";

const ABOUT_THRESHOLD: &str = "\
# How often a signature may be told, in Suricata's words: [[threshold]]
#   sig_id, gen_id the signature; without sig_id every one that has no threshold of its own
#   type           limit: the first `count` in `seconds`; threshold: each `count`th; both: once, at the `count`th
#   track          by_src, by_dst, by_both or by_rule
#   count, seconds";

const ABOUT_SUPPRESS: &str = "\
# Signatures that are not told at all, or not of some hosts, in Suricata's words: [[suppress]]
#   sig_id, gen_id the signature; without sig_id every one
#   track, ip      by_src, by_dst or by_either, and an address, a range, or a list of them";

/// Numbers that make no sense.
fn check(document: &mut Document<'_>, section: &str, keys: &[Key]) {
    for key in keys {
        let Some((least, most)) = key.range else { continue };
        let Some((place, number)) = document.number_in_section(section, key.name) else {
            continue;
        };
        // What is no number of the key's type was told when it was read.
        if !(least..=most).contains(&number) && u32::try_from(number).is_ok() {
            let cause = format!("`{}` is {number}", key.name);
            let hint = if number < least {
                format!("write {least} or more")
            } else {
                format!("write {most} or less")
            };
            document.problem(Gravity::Error, place, cause, Some(hint));
        }
    }
}

fn entries<S: Serialize>(text: &mut String, name: &str, about: &str, entries: &[S]) {
    let _ = writeln!(text, "\n{about}");
    if entries.is_empty() {
        let _ = writeln!(text, "# Default: none.");
    }
    for entry in entries {
        let _ = writeln!(text, "[[{name}]]");
        let Ok(table) = toml::Table::try_from(entry) else {
            unreachable!("an entry is a table of plain values");
        };
        for (key, value) in table {
            let _ = writeln!(text, "{key} = {value}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, String> {
        Config::read(Path::new("etc/s.toml"), text).map_err(|problems| problems.to_string())
    }

    #[test]
    fn an_empty_file_changes_nothing() {
        let config = read("").unwrap();
        assert_eq!(config.detect, DetectSettings::default());
        assert_eq!(
            (config.detect.fanout_targets, config.detect.fanout_window),
            (5, Seconds(300))
        );
        assert_eq!(config.detect.no_call_patience.nanoseconds(), 30_000_000_000);
        assert_eq!(config.baseline_file(), None);
    }

    const FULL: &str = "\
[detect]
fanout_targets = 7
scan_window = 90
[catalog]
files = [\"ours.toml\"]
[baseline]
file = \"/var/lib/s/baseline\"
[output]
logs = [\"eve\"]
[[allow]]
comment = \"Tests \\\"of\\\" ours\"
expires = 2027-01-31
source = [\"10.0.0.0/8\", \"::1\", \"admin-*\"]
target = \"sccm.corp.example\"
class = \"{49B2791A-b1ae-4c90-9b8e-e860ba07f889}\"
user = 'CORP\\svc-*'
tool = \"impacket\"
method = [\"Execute*\"]
command_line = \"*notepad*\"
host = \"ws*\"
parent = \"mmc.exe\"
child = [\"cmd.exe\", \"powershell.exe\"]
parent_command_line = \"*.msc*\"
sig_id = 1021301
days = [\"mon\", \"sun\"]
hours = \"22:00-06:30\"
[[threshold]]
sig_id = 1021302
type = \"limit\"
track = \"by_src\"
count = 1
seconds = 60
[[suppress]]
sig_id = 1021301
track = \"by_dst\"
ip = [\"10.0.0.0/8\"]
[[eve-log]]
filetype = \"redis\"
types = [\"alert\", \"stats\"]
[eve-log.redis]
server = \"redis.example\"
mode = \"xadd\"
stream-maxlen = 5
pipelining = { enabled = false }
username = \"sensor\"
password = { file = \"redis.secret\" }
[[eve-log]]
filetype = \"syslog\"
facility = \"security\"
level = \"notice\"
[[notify]]
webhook = { env = \"DCOM_HOOK\" }
headers = { Authorization = { file = \"/etc/token\" } }
min_severity = \"critical\"
[[notify]]
cef = \"udp://[2001:db8::1]:514\"
";

    #[test]
    fn what_is_printed_says_the_same_when_it_is_read_again() {
        for text in ["", FULL] {
            let config = read(text).unwrap();
            let printed = config.print();
            let again = Config::read(Path::new("s.toml"), &printed).unwrap_or_else(|e| panic!("{e}\n{printed}"));
            assert_eq!(again.print(), printed);
            assert_eq!(again.detect, config.detect);
            assert_eq!(again.allow.len(), config.allow.len());
        }
        let printed = read(FULL).unwrap().print();
        for line in [
            "# Default: 5\nfanout_targets = 7",
            "# Default: 60\nscan_window = 90",
            "files = [\"etc/ours.toml\"]",
            "file = \"/var/lib/s/baseline\"",
            "logs = [\"eve\"]",
            "password = { file = \"etc/redis.secret\" }",
            "headers = { Authorization = { file = \"/etc/token\" } }",
            "mode = \"stream\"",
            "level = \"Notice\"",
        ] {
            assert!(printed.contains(line), "{line}: {printed}");
        }
    }

    #[test]
    fn the_examples_can_be_used_once_they_are_no_comments() {
        let text = include_str!("../../../docs/allow-list.example.toml");
        assert!(read(text).unwrap().allow.is_empty(), "an example is in force");
        // What explains them has two signs.
        let lines = text
            .lines()
            .map(|line| line.strip_prefix('#').unwrap_or(line).trim_start());
        let config = read(&lines.collect::<Vec<_>>().join("\n")).unwrap_or_else(|problems| panic!("{problems}"));
        let told = |word: &str| config.allow.iter().any(|entry| entry.comment.contains(word));
        for word in [
            "SCCM",
            "Ansible",
            "SaltStack",
            "monitoring",
            "Excel",
            "OPC",
            "finance",
            "help desk",
            "developers",
        ] {
            assert!(told(word), "{word}");
        }
        assert!(config.allow.iter().all(|entry| entry.expires.is_some()));
        let of_hosts = config.allow.iter().filter(|entry| !entry.parent.is_empty());
        assert!(of_hosts.count() >= 6);
        assert!(!config.threshold.is_empty() && !config.suppress.is_empty());
    }

    #[test]
    fn the_settings_on_the_page_of_outputs_can_be_used() {
        let page = include_str!("../../../docs/OUTPUTS.md");
        let blocks = page.split("```toml\n").skip(1);
        let all: String = blocks.filter_map(|block| block.split("```").next()).collect();
        let config = read(&all).unwrap_or_else(|problems| panic!("{problems}"));
        assert!(config.eve_log.len() >= 3 && config.notify.len() >= 2, "{all}");
    }

    #[test]
    fn outputs_have_suricatas_defaults_and_secrets_are_not_printed() {
        let config = read(
            "\
[[eve-log]]
filetype = \"redis\"
[eve-log.redis]
password = \"hush\"
[[notify]]
webhook = \"https://soc.example/T0/hush\"
headers = { Authorization = \"Bearer hush\" }
",
        )
        .unwrap();
        let [log] = &*config.eve_log else { panic!("one output") };
        let redis = log.redis.as_ref().unwrap();
        assert_eq!(
            (redis.port, &*redis.key, redis.mode),
            (6379, "suricata", RedisMode::List)
        );
        assert_eq!((log.types.len(), log.enabled), (6, true));
        let printed = config.print();
        assert!(
            !printed.contains("hush") && !format!("{config:?}").contains("hush"),
            "{printed}"
        );
        let error = read(&printed).unwrap_err();
        assert!(error.contains("`(not shown)` stands for a text"), "{error}");
    }

    #[test]
    fn every_problem_of_an_output_is_told_with_its_line() {
        let text = "\
[[eve_log]]
[[eve-log]]
filetype = \"unix_steam\"
[[eve-log]]
filetype = \"unix_stream\"
types = []
[[eve-log]]
filetype = \"redis\"
filename = \"x\"
[eve-log.redis]
sever = \"127.0.0.1\"
[[eve-log]]
filetype = \"syslog\"
facility = \"local9\"
[[eve-log]]
filetype = \"syslog\"
types = [\"alerts\"]
[[eve-log]]
filetype = \"redis\"
redis = { pipelining = { batch-size = 0 } }
[[notify]]
[[notify]]
webhook = \"ftp://soc.example\"
min_severity = \"urgent\"
[[notify]]
webhook = \"ftp://soc.example\"
[[notify]]
cef = \"udp://siem.example\"
[[notify]]
cef = \"/dev/log\"
headers = { A = { fil = \"x\" } }
[[notify]]
cef = \"/dev/log\"
timeout = 0
headers = { A = \"x\" }
";
        assert_eq!(
            read(text).unwrap_err(),
            "\
etc/s.toml:1: unknown section `eve_log`
hint: did you mean `eve-log`?
etc/s.toml:3: unknown value `unix_steam`
hint: did you mean `unix_stream`?
etc/s.toml:5: `filename` is missing
hint: it is the socket's path, or the file's
etc/s.toml:6: `types` is empty, and nothing would go there
hint: leave it out, and all go there
etc/s.toml:11: unknown key `sever`
hint: did you mean `server`?
etc/s.toml:14: unknown value `local9`
hint: did you mean `local7`?
etc/s.toml:17: unknown value `alerts`
hint: did you mean `alert`?
etc/s.toml:20: `batch-size` is 0
hint: write 1 or more
etc/s.toml:21: an entry has either `webhook` or `cef`
etc/s.toml:24: unknown value `urgent`
hint: there are informational, low, medium, high, critical
etc/s.toml:26: `webhook` is no address that can be posted to
hint: such as https://soc.example/hook
etc/s.toml:28: `udp://siem.example` is no address of a syslog
hint: such as /dev/log, udp://siem.example:514 or tcp://[2001:db8::1]:601
etc/s.toml:31: either `file` or `env` is expected
etc/s.toml:31: unknown key `fil`
hint: did you mean `file`?
etc/s.toml:34: `timeout` is 0, and nobody answers that fast
hint: write 1 or more
etc/s.toml:35: `headers` goes with `webhook`
hint: syslog has no such thing"
        );
    }

    #[test]
    fn every_problem_is_told_with_its_line() {
        let text = "\
[detect]
fanout_target = 5
scan_window = \"1m\"
[outptu]
[[allow]]
comment = \"all\"
[[allow]]
source = \"10.0.0.0/33\"
hours = \"22-6\"
days = [\"monday\", \"fridya\"]
expires = \"next year\"
[[threshold]]
type = \"limits\"
track = \"by_scr\"
count = 0
seconds = 60
[[threshold]]
type = \"limit\"
track = \"by_src\"
count = 0
seconds = 60
[[suppress]]
track = \"by_src\"
[[suppress]]
[[suppress]]
sig_id = 1021399
[[allow]]
comment = \"of numbers\"
target = [\"10.0.0.1\", \"10.0.0.256\"]
";
        assert_eq!(
            read(text).unwrap_err(),
            "\
etc/s.toml:2: unknown key `fanout_target`
hint: did you mean `fanout_targets`?
etc/s.toml:3: string \"1m\" where a whole number from 0 to 4294967295 is expected
etc/s.toml:4: unknown section `outptu`
hint: did you mean `output`?
etc/s.toml:5: the entry allows everything
hint: name at least one of source, target, class, user, tool, method, command_line, host, parent, child, parent_command_line, sig_id, days, hours
etc/s.toml:7: `comment` is missing
etc/s.toml:8: `10.0.0.0/33` is no address and no range of addresses
hint: such as 10.0.0.5, 10.0.0.0/8 or 2001:db8::/32
etc/s.toml:9: `22-6` is no time of day
hint: such as 22:00-06:00, in UTC
etc/s.toml:10: unknown value `fridya`
hint: did you mean `friday`?
etc/s.toml:11: `next year` is no date
hint: such as 2027-01-31 or 2027-01-31T12:00:00Z
etc/s.toml:13: unknown value `limits`
hint: did you mean `limit`?
etc/s.toml:14: unknown value `by_scr`
hint: did you mean `by_src`?
etc/s.toml:20: `count` is 0, and a threshold of that never ends
hint: write 1 or more
etc/s.toml:22: `track` and `ip` go together
hint: leave both out to suppress the signature whoever it is about
etc/s.toml:24: the entry suppresses everything
hint: name a `sig_id`, or `track` and `ip`
etc/s.toml:26: there is no signature 1021399
hint: docs/detections lists them, and alerts have them as `signature_id`
etc/s.toml:29: `10.0.0.256` is no address and no range of addresses
hint: such as 10.0.0.5, 10.0.0.0/8 or 2001:db8::/32"
        );
        let text = "\
[[allow]]
comment = \"of numbers\"
class = \"49b2791a-b1ae-4c90-9b8e-e860ba07f88\"
sig_id = [1021301,
    1021310, 102130]
";
        assert_eq!(
            read(text).unwrap_err(),
            "\
etc/s.toml:3: `49b2791a-b1ae-4c90-9b8e-e860ba07f88` is no CLSID
hint: such as 49b2791a-b1ae-4c90-9b8e-e860ba07f889
etc/s.toml:5: there is no signature 102130
hint: docs/detections lists them, and alerts have them as `signature_id`"
        );
    }
}
