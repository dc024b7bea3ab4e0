//! Settings by environment variables: `DCOM_SENSOR_<SECTION>_<KEY>`. They go before the file, and options before them.

use std::ffi::{OsStr, OsString};

use serde::Serialize;
use serde::de::DeserializeOwned;
use toml::Value;

use super::Config;
use super::settings::Key;
use crate::document::{Document, Gravity, Problem, Problems, closest};

/// How the sensor's variables begin.
const PREFIX: &str = "DCOM_SENSOR_";
/// The variable that stands for `--config`.
pub(crate) const CONFIG: &str = "DCOM_SENSOR_CONFIG";
/// Variables that are no settings: the service's options are typed by systemd, and the third is of debug builds.
const OTHERS: &[&str] = &[
    CONFIG,
    "DCOM_SENSOR_OPTIONS",
    #[cfg(debug_assertions)]
    "DCOM_SENSOR_PANIC_ON",
];

/// What the environment is called where a problem is told.
const ENVIRONMENT: &str = "environment";

/// The variable for a key.
pub(super) fn variable(section: &str, key: &str) -> String {
    format!("{PREFIX}{section}_{key}").to_uppercase()
}

impl Config {
    /// Takes in what these variables say. All that is wrong with them is told at once.
    pub(crate) fn take_environment(
        &mut self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<(), Problems> {
        let mut ours: Vec<(String, OsString)> = variables
            .into_iter()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
            .filter(|(name, _)| name.starts_with(PREFIX) && !OTHERS.contains(&name.as_str()))
            .collect();
        // An environment has no order.
        ours.sort();
        let mut problems = Vec::new();
        for (name, value) in &ours {
            let taken = match value.to_str() {
                Some(value) => self.take_variable(name, value),
                None => Err(vec![problem(format!("{name}: is no text in UTF-8"), None)]),
            };
            match taken {
                Ok(()) => self.environment.push(name.clone()),
                Err(wrong) => problems.extend(wrong),
            }
        }
        if problems.is_empty() {
            return Ok(());
        }
        Err(Problems {
            path: ENVIRONMENT.to_owned(),
            list: problems,
        })
    }

    fn take_variable(&mut self, name: &str, value: &str) -> Result<(), Vec<Problem>> {
        for (section, keys) in Self::KEYS {
            if let Some(key) = keys.iter().find(|key| variable(section, key.name) == name) {
                let set = (name, *section, key, value);
                return match *section {
                    "detect" => put(&mut self.detect, set),
                    "catalog" => put(&mut self.catalog, set),
                    "baseline" => put(&mut self.baseline, set),
                    "host" => put(&mut self.host, set),
                    _ => put(&mut self.output, set),
                };
            }
        }
        let known: Vec<String> = Self::KEYS
            .iter()
            .flat_map(|(section, keys)| keys.iter().map(|key| variable(section, key.name)))
            .chain(OTHERS.iter().map(|name| (*name).to_owned()))
            .collect();
        // The beginning, which all share, says nothing.
        let rest = |name: &'_ str| name.strip_prefix(PREFIX).unwrap_or_default().to_owned();
        let known: Vec<String> = known.iter().map(|name| rest(name)).collect();
        let hint = closest(&rest(name), known.iter().map(String::as_str)).map_or_else(
            || "docs/OPERATING.md says which there are".to_owned(),
            |meant| format!("did you mean {PREFIX}{meant}?"),
        );
        Err(vec![problem(format!("unknown variable {name}"), Some(hint))])
    }

    /// An option has set this key: it is not the environment's any more.
    pub(crate) fn set_by_option(&mut self, section: &str, key: &str) {
        let name = variable(section, key);
        self.environment.retain(|known| *known != name);
    }
}

/// The file that `--config` names, or the environment.
pub(crate) fn file(option: Option<&OsStr>) -> Option<OsString> {
    let named = option.map(ToOwned::to_owned).or_else(|| std::env::var_os(CONFIG));
    named.filter(|name| !name.is_empty())
}

fn problem(cause: String, hint: Option<String>) -> Problem {
    Problem {
        gravity: Gravity::Error,
        line: None,
        cause,
        hint,
    }
}

/// Sets one key of a section, by way of a file that has it alone, so that it is read and told of as in a file.
fn put<S: Serialize + DeserializeOwned + Default>(
    section: &mut S,
    (variable, name, key, text): (&str, &str, &Key, &str),
) -> Result<(), Vec<Problem>> {
    let [Ok(mut now), Ok(default)] = [&*section, &S::default()].map(toml::Table::try_from) else {
        unreachable!("sections are tables of plain values");
    };
    let mut one = toml::Table::new();
    one.insert(key.name.to_owned(), value(text, default.get(key.name)));
    let file = format!("[{name}]\n{one}");
    let mut document = Document::parse(variable, &file);
    let read: Option<S> = document.section(name);
    super::check(&mut document, name, std::slice::from_ref(key));
    let problems = document.finish().list;
    let put = read.and_then(|read| {
        let mut read = toml::Table::try_from(&read).ok()?;
        now.insert(key.name.to_owned(), read.remove(key.name)?);
        now.try_into().ok()
    });
    match put {
        Some(put) if problems.is_empty() => *section = put,
        _ => {
            let named = |wrong: Problem| problem(format!("{variable}: {}", wrong.cause), wrong.hint);
            return Err(problems.into_iter().map(named).collect());
        }
    }
    Ok(())
}

/// A text as the value of a key that is like `default`. What it is not stays a text, and is told when it is read.
fn value(text: &str, default: Option<&Value>) -> Value {
    let number = || text.trim().parse().map(Value::Integer);
    let flag = || text.trim().parse().map(Value::Boolean);
    let string = || Value::String(text.to_owned());
    match default {
        Some(Value::Array(_)) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Value::Array(items.map(|item| Value::String(item.to_owned())).collect())
        }
        Some(Value::Integer(_)) => number().unwrap_or_else(|_| string()),
        Some(Value::Boolean(_)) => flag().unwrap_or_else(|_| string()),
        Some(_) => string(),
        // A key without a default does not say what it is.
        None => number().or_else(|_| flag()).unwrap_or_else(|_| string()),
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Path, PathBuf};

    use super::*;
    use crate::config::Seconds;
    use crate::emit::Format;

    fn with(file: &str, variables: &[(&str, &str)]) -> Result<Config, String> {
        let mut config = Config::read(Path::new("etc/s.toml"), file).unwrap();
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        match config.take_environment(variables) {
            Ok(()) => Ok(config),
            Err(problems) => Err(problems.to_string()),
        }
    }

    #[test]
    fn variables_go_before_the_file_and_say_so_where_settings_are_printed() {
        let config = with(
            "[detect]\nfanout_targets = 7\nscan_classes = 8\n",
            &[
                ("DCOM_SENSOR_DETECT_FANOUT_TARGETS", "9"),
                ("DCOM_SENSOR_DETECT_SCAN_WINDOW", " 30 "),
                ("DCOM_SENSOR_OUTPUT_LOGS", "eve, zeek-json"),
                ("DCOM_SENSOR_OUTPUT_LOG_DIR", "logs/here"),
                ("DCOM_SENSOR_CATALOG_FILES", "a.toml,b.toml"),
                ("DCOM_SENSOR_OPTIONS", "-i eth1"),
                ("DCOM_SENSOR_CONFIG", "s.toml"),
                ("PATH", "/bin"),
                ("DCOM_CORPUS", "/x"),
            ],
        )
        .unwrap();
        assert_eq!((config.detect.fanout_targets, config.detect.scan_classes), (9, 8));
        assert_eq!(config.detect.scan_window, Seconds(30));
        assert_eq!(config.output.logs, [Format::Eve, Format::ZeekJson]);
        // Where the program stands, not where the file does.
        assert_eq!(config.output.log_dir, PathBuf::from("logs/here"));
        assert_eq!(config.catalog.files, [PathBuf::from("a.toml"), PathBuf::from("b.toml")]);
        let printed = config.print();
        let line = "# Default: 5\n# From the environment: DCOM_SENSOR_DETECT_FANOUT_TARGETS\nfanout_targets = 9\n";
        assert!(printed.contains(line), "{printed}");
        assert_eq!(printed.matches("# From the environment").count(), 5);
        let mut config = config;
        config.set_by_option("output", "logs");
        assert_eq!(config.print().matches("# From the environment").count(), 4);
    }

    #[test]
    fn every_key_has_a_variable_and_takes_its_own_default_from_it() {
        let default = Config::default();
        let printed = default.print();
        let mut all: Vec<(OsString, OsString)> = Vec::new();
        for (section, keys) in Config::KEYS {
            for key in *keys {
                let line = printed
                    .lines()
                    .find(|line| line.starts_with(&format!("{} = ", key.name)));
                let value = line.and_then(|line| line.split_once(" = ")).unwrap().1;
                let text = value.trim_matches(['[', ']', '"']).replace("\", \"", ",");
                all.push((variable(section, key.name).into(), text.into()));
            }
        }
        assert!(all.len() > 15);
        let mut config = Config::default();
        config.take_environment(all).unwrap();
        assert_eq!(config.detect, default.detect);
        assert_eq!(config.output, default.output);
        assert_eq!(config.host, default.host);
    }

    #[test]
    fn what_is_wrong_names_the_variable() {
        let told = with(
            "",
            &[
                ("DCOM_SENSOR_DETECT_FANOUT_TARGET", "9"),
                ("DCOM_SENSOR_DETECT_SCAN_CLASSES", "many"),
                ("DCOM_SENSOR_DETECT_SWEEP_WINDOW", "0"),
                ("DCOM_SENSOR_HOST_WINDOW", "-1"),
                ("DCOM_SENSOR_OUTPUT_LOGS", "eve,zeke"),
                ("DCOM_SENSOR_X", ""),
            ],
        );
        assert_eq!(
            told.unwrap_err(),
            "\
environment: unknown variable DCOM_SENSOR_DETECT_FANOUT_TARGET
hint: did you mean DCOM_SENSOR_DETECT_FANOUT_TARGETS?
environment: DCOM_SENSOR_DETECT_SCAN_CLASSES: string \"many\" where a whole number from 0 to 4294967295 is expected
environment: DCOM_SENSOR_DETECT_SWEEP_WINDOW: `sweep_window` is 0
hint: write 1 or more
environment: DCOM_SENSOR_HOST_WINDOW: integer `-1` where a whole number from 0 to 4294967295 is expected
environment: DCOM_SENSOR_OUTPUT_LOGS: unknown value `zeke`
hint: did you mean `zeek`?
environment: unknown variable DCOM_SENSOR_X
hint: docs/OPERATING.md says which there are"
        );
    }
}
