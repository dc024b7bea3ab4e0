//! What is set by options and by a file: the option wins.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

use super::catalog::{Files, catalog_of};
use super::{complain, log_formats};
use crate::analysis::Analysis;
use crate::baseline::Baseline;
use crate::catalog::Catalog;
use crate::config::{Config, environment};
use crate::document::closest;
use crate::emit::Format;
use crate::limits::Limits;
use crate::policy::Policy;

/// Bytes of a file of settings or classes: a running sensor stands still while it reads them.
const LONGEST: u64 = 8 << 20;

/// Those that are of use whatever is read.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct Common {
    /// Read settings from this file (TOML). Options go before it, and so do variables: `DCOM_SENSOR_<SECTION>_<KEY>`
    /// for a key, `DCOM_SENSOR_CONFIG` for this option.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Print the settings in force, each with its meaning and default, and do nothing else.
    #[arg(long)]
    pub(crate) print_config: bool,

    #[command(flatten)]
    catalog: Files,

    /// Which logs to write [default: eve,zeek].
    #[arg(long, value_name = "FORMATS", value_delimiter = ',', value_parser = log_formats())]
    logs: Vec<Format>,

    /// List after the table which alerts were suppressed, and by which entry of the settings.
    #[arg(long)]
    pub(crate) show_suppressed: bool,
}

/// Those of a sensor on the wire.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Settings")]
pub(crate) struct Settings {
    #[command(flatten)]
    pub(crate) common: Common,

    /// Learn who activates what where, and keep it in this file; a file that is not there yet is made.
    #[arg(long, value_name = "FILE")]
    baseline: Option<PathBuf>,
}

impl Settings {
    /// The file that they are read from.
    pub(crate) fn file(&self) -> Option<PathBuf> {
        self.common.file()
    }

    /// What is in force.
    pub(crate) fn config(&self) -> Result<Config> {
        let mut config = self.common.config()?;
        if let Some(baseline) = &self.baseline {
            config.baseline.file.clone_from(baseline);
            config.set_by_option("baseline", "file");
        }
        Ok(config)
    }
}

impl Common {
    /// The file that they are read from.
    fn file(&self) -> Option<PathBuf> {
        file(self.config.as_deref())
    }

    /// The files that are read to know what is in force.
    pub(crate) fn reads(&self, config: &Config) -> impl Iterator<Item = PathBuf> + use<> {
        self.file().into_iter().chain(config.catalog.files.clone())
    }

    /// Which logs to write is of no meaning where none are.
    pub(crate) fn refuse_logs_without(&self, folder: Option<&Path>) -> Result<()> {
        if !self.logs.is_empty() && folder.is_none() {
            bail!("--logs says which logs `-o DIR` writes: without it there are none");
        }
        Ok(())
    }

    /// What is in force.
    pub(crate) fn config(&self) -> Result<Config> {
        let mut config = in_force(self.config.as_deref())?;
        config.catalog.files.extend(self.catalog.catalog.iter().cloned());
        if !self.logs.is_empty() {
            config.output.logs.clone_from(&self.logs);
            config.set_by_option("output", "logs");
        }
        Ok(config)
    }
}

/// The file that settings are read from, where `--config` names this one, or none.
pub(crate) fn file(option: Option<&Path>) -> Option<PathBuf> {
    environment::file(option.map(Path::as_os_str)).map(PathBuf::from)
}

/// The settings of a file and of the environment, where `--config` names this file, or none.
pub(crate) fn in_force(option: Option<&Path>) -> Result<Config> {
    let mut config = match file(option) {
        Some(path) => {
            let text = text_of(&path)?;
            Config::read(&path, &text)?
        }
        None => Config::default(),
    };
    config.take_environment(std::env::vars_os())?;
    Ok(config)
}

/// What stands in a file of settings or classes.
pub(super) fn text_of(path: &Path) -> Result<String> {
    let read = fs::File::open(path).and_then(|file| {
        let mut text = String::new();
        file.take(LONGEST + 1).read_to_string(&mut text)?;
        Ok(text)
    });
    let read = read.map_err(|error| match error.kind() {
        ErrorKind::InvalidData => anyhow!("is no text: settings and catalogues are TOML, in UTF-8"),
        _ => error.into(),
    });
    let text = read.with_context(|| path.display().to_string())?;
    if text.len() as u64 > LONGEST {
        bail!("{}: has more than {} MiB", path.display(), LONGEST >> 20);
    }
    Ok(text)
}

/// A running sensor does not wait for whoever writes to a pipe that stands in a file's place.
fn refuse_what_is_no_file(path: &Path) -> Result<()> {
    let found = fs::metadata(path).with_context(|| path.display().to_string())?;
    if !found.is_file() {
        bail!("{}: is no file", path.display());
    }
    Ok(())
}

/// Reads settings and catalogue again, while the sensor runs.
pub(crate) fn renew(analysis: &mut Analysis, settings: &Settings, limits: &Limits) -> Result<Config> {
    settings
        .file()
        .iter()
        .try_for_each(|file| refuse_what_is_no_file(file))?;
    let config = settings.config()?;
    config
        .catalog
        .files
        .iter()
        .try_for_each(|file| refuse_what_is_no_file(file))?;
    analysis.replace_catalog(catalog(&config)?);
    doubt(&config, analysis.catalog());
    analysis.set_detection(&(&config.detect).into());
    analysis.replace_policy(policy(&config, limits));
    Ok(config)
}

/// What to do when files that are to be read again are out of reach.
pub(crate) fn closed_by_jail(error: &anyhow::Error) -> Option<&'static str> {
    let cause = error.chain().find_map(|cause| cause.downcast_ref::<io::Error>())?;
    (cause.kind() == ErrorKind::PermissionDenied).then_some(
        "a running sensor can read no folder but those of the settings and catalogues that it was started with, and there what \
         its user may read: put the file there, or start the sensor anew",
    )
}

/// Which alerts are told, by these settings.
pub(crate) fn policy(config: &Config, limits: &Limits) -> Policy {
    let Config {
        allow,
        suppress,
        threshold,
        ..
    } = config.clone();
    Policy::new(allow, suppress, threshold, limits)
}

/// Classes of the allow-list that nobody knows, each with what to do about it: such an entry keeps nothing back.
pub(crate) fn unknown_classes(config: &Config, catalog: &Catalog) -> Vec<(String, String)> {
    let names = || catalog.iter().map(|class| class.name.as_str());
    let mut unknown = Vec::new();
    for entry in &config.allow {
        let is_unknown = |class: &&str| !names().any(|name| name.eq_ignore_ascii_case(class));
        for class in entry.class_names().filter(is_unknown) {
            let known = catalog.find(class).first().map(|class| class.name.as_str());
            let hint = match known.or_else(|| closest(class, names())) {
                Some(meant) => format!("did you mean `{meant}`?"),
                None => "`dcom-sensor catalog list` prints those there are".to_owned(),
            };
            let line = entry.line();
            unknown.push((format!("[[allow]] in line {line}: there is no class `{class}`"), hint));
        }
    }
    unknown
}

/// Says what of the settings will probably be of no use.
pub(crate) fn doubt(config: &Config, catalog: &Catalog) {
    for (message, hint) in unknown_classes(config, catalog) {
        complain(&message, Some(&hint));
    }
}

/// Prints the settings in force, as a file that says the same wherever it is kept: paths in a file begin there.
pub(crate) fn print(config: &Config) -> Result<()> {
    let mut config = config.clone();
    config.resolve(&std::env::current_dir().context("where paths begin")?);
    io::stdout().lock().write_all(config.print().as_bytes())?;
    Ok(())
}

/// The classes to know.
pub(crate) fn catalog(config: &Config) -> Result<Catalog> {
    catalog_of(config.catalog.files.iter().map(PathBuf::as_path))
}

/// Hands the sensor its policy and its baseline.
pub(crate) fn equip(analysis: &mut Analysis, config: &Config, limits: &Limits) -> Result<()> {
    doubt(config, analysis.catalog());
    analysis.set_detection(&(&config.detect).into());
    analysis.set_policy(policy(config, limits));
    if let Some(path) = config.baseline_file() {
        let baseline = match Baseline::load(&path, limits.baseline) {
            Ok(baseline) => baseline,
            Err(error) => {
                let hint = error.hint().map(|hint| format!("\nhint: {hint}")).unwrap_or_default();
                bail!("{error}{hint}");
            }
        };
        if baseline.is_learning() {
            let path = path.display();
            let message = format!("{path} is not there yet: learning, nothing is told as new in this run");
            complain(&message, None);
        }
        analysis.set_baseline(baseline);
    }
    Ok(())
}

/// Keeps what the baseline has learned.
pub(crate) fn keep(analysis: &Analysis, config: &Config) -> Result<()> {
    if let (Some(path), Some(baseline)) = (config.baseline_file(), analysis.baseline()) {
        baseline.save(&path)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::emit::Scratch;

    #[test]
    fn what_is_read_is_a_file_of_bounded_size() {
        let scratch = Scratch::new("settings");
        let path = scratch.0.join("settings.toml");
        fs::write(&path, "[detect]\n").unwrap();
        assert_eq!(text_of(&path).unwrap(), "[detect]\n");
        refuse_what_is_no_file(&path).unwrap();
        fs::File::create(&path).unwrap().set_len(LONGEST + 1).unwrap();
        let told = text_of(&path).unwrap_err().to_string();
        assert!(told.ends_with("settings.toml: has more than 8 MiB"), "{told}");
        fs::remove_file(&path).unwrap();
        let (fifo, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RUSR);
        rustix::fs::mknodat(rustix::fs::CWD, &path, fifo, mode, 0).unwrap();
        let told = refuse_what_is_no_file(&path).unwrap_err().to_string();
        assert!(told.ends_with("settings.toml: is no file"), "{told}");
    }
}
