//! What the sensor is given: can it be used?

use std::path::Path;
use std::sync::Arc;

use anyhow::Error;

use super::check::Check;
use crate::baseline::Baseline;
use crate::catalog::Catalog;
use crate::cli::{Doctor, settings};
use crate::config::Config;
use crate::document::Problems;
use crate::keys::{self, Keep, Keys, KeysError, Used};
use crate::limits::Limits;

const SETTINGS: &str = "settings";

/// What is used: where something cannot be, what there is without it.
pub(super) struct Given {
    pub(super) config: Config,
    pub(super) catalog: Catalog,
    pub(super) keys: Option<Used>,
}

impl Given {
    /// Reads all of it, and tells of each whether it can be used.
    pub(super) fn load(options: &Doctor, checks: &mut Vec<Check>) -> Self {
        let config = config(options.config.as_deref(), checks);
        let catalog = catalog(&config, checks);
        for (says, what_to_do) in settings::unknown_classes(&config, &catalog) {
            checks.push(Check::warn(SETTINGS, says, what_to_do));
        }
        Self {
            catalog,
            keys: options.keys.as_deref().and_then(|file| keys(file, checks)),
            config,
        }
    }
}

fn config(file: Option<&Path>, checks: &mut Vec<Check>) -> Config {
    let read = settings::file(file);
    let (check, config) = match settings::in_force(file) {
        Ok(config) if read.is_none() && config.is_built_in() => {
            (Check::ok(SETTINGS, "those that are built in"), config)
        }
        Ok(config) => (Check::ok(SETTINGS, "they can be used"), config),
        Err(error) => {
            let what_to_do = "mend it; `dcom-sensor replay --print-config` prints one that is right";
            (unusable(SETTINGS, &error, what_to_do), Config::default())
        }
    };
    checks.push(match read {
        Some(file) => check.of(&file.display().to_string()),
        None => check,
    });
    if let Some(path) = config.baseline_file() {
        const NAME: &str = "baseline";
        let check = match Baseline::load(&path, Limits::live().baseline) {
            Ok(baseline) if baseline.is_learning() => Check::ok(NAME, "it is not there yet, and will be learned"),
            Ok(_) => Check::ok(NAME, "it can be used"),
            Err(error) => {
                let what_to_do = error.hint().unwrap_or("name another file, or take the setting out");
                Check::bad(NAME, error.to_string(), what_to_do)
            }
        };
        checks.push(check.of(&path.display().to_string()));
    }
    config
}

fn catalog(config: &Config, checks: &mut Vec<Check>) -> Catalog {
    const NAME: &str = "catalogue";
    match settings::catalog(config) {
        Ok(catalog) => {
            let classes = catalog.iter().count();
            let says = match config.catalog.files.len() {
                0 => format!("{classes} classes, all built in"),
                files => format!("{classes} classes, with those of {files} files"),
            };
            checks.push(Check::ok(NAME, says));
            catalog
        }
        Err(error) => {
            let what_to_do = "`dcom-sensor catalog check FILE` says all that is wrong in it";
            checks.push(unusable(NAME, &error, what_to_do));
            Catalog::built_in()
        }
    }
}

fn keys(file: &Path, checks: &mut Vec<Check>) -> Option<Used> {
    const NAME: &str = "keys";
    if !keys::keep_out_of_core_dumps() {
        let what_to_do = "`ulimit -c 0` before the sensor is started keeps them out";
        checks.push(Check::warn(
            NAME,
            "the system refuses to keep them out of core dumps",
            what_to_do,
        ));
    }
    let (check, keys) = match Keys::load(file) {
        Ok(keys) => (Check::ok(NAME, "they can be used"), Some(Arc::new(keys))),
        Err(error) => {
            let hint = KeysError::hint(&error);
            let what_to_do = hint.unwrap_or_else(|| "name a file that this user may read".to_owned());
            (Check::bad(NAME, error.to_string(), what_to_do), None)
        }
    };
    checks.push(check.of(&file.display().to_string()));
    let keep = Keep::Records;
    keys.map(|keys| Used { keys, keep })
}

fn unusable(name: &'static str, error: &Error, what_to_do: &str) -> Check {
    // A file with problems lists all of them, each with its hint.
    let says = match error.downcast_ref::<Problems>() {
        Some(problems) => problems.to_string(),
        None => format!("{error:#}"),
    };
    Check::bad(name, says, what_to_do)
}
