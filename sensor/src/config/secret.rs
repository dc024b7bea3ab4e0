//! Texts that are not for everybody.

use std::fmt;
use std::path::PathBuf;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use zeroize::Zeroizing;

/// What is shown in place of a secret.
const HIDDEN: &str = "(not shown)";

/// A text that is not for everybody: written in the settings, or where else it is.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// It stands in the settings.
    Plain(Zeroizing<String>),
    /// The first line of a file.
    File(PathBuf),
    /// A variable of the environment.
    Env(String),
}

impl Secret {
    /// The text itself. The error says where it was looked for.
    pub fn read(&self) -> Result<Zeroizing<String>, String> {
        match self {
            Self::Plain(text) => Ok(text.clone()),
            Self::File(path) => match std::fs::read_to_string(path).map(Zeroizing::new) {
                Ok(text) => Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_owned())),
                Err(error) => Err(format!("{}: {error}", path.display())),
            },
            Self::Env(name) => match std::env::var(name) {
                Ok(text) => Ok(Zeroizing::new(text)),
                Err(error) => Err(format!("the variable {name}: {error}")),
            },
        }
    }
}

impl Secret {
    /// The file it is in.
    pub(super) fn path(&mut self) -> Option<&mut PathBuf> {
        match self {
            Self::File(path) => Some(path),
            Self::Plain(_) | Self::Env(_) => None,
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(_) => f.write_str(HIDDEN),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "env {name}"),
        }
    }
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut place = Elsewhere::default();
        match self {
            Self::Plain(_) => return serializer.serialize_str(HIDDEN),
            Self::File(path) => place.file = Some(path.clone()),
            Self::Env(name) => place.env = Some(name.clone()),
        }
        place.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextOrPlace)
    }
}

/// Where a secret is kept.
#[derive(Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Elsewhere {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<PathBuf>,
    #[serde(skip_serializing_if = "Option::is_none")]
    env: Option<String>,
}

struct TextOrPlace;

impl<'de> Visitor<'de> for TextOrPlace {
    type Value = Secret;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, { file = \"…\" } or { env = \"…\" }")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Secret, E> {
        match text {
            HIDDEN => Err(E::custom(format!(
                "`{HIDDEN}` stands for a text that was not printed\nwrite it, or {{ file = \"…\" }} or {{ env = \"…\" }}"
            ))),
            text => Ok(Secret::Plain(Zeroizing::new(text.to_owned()))),
        }
    }

    fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Secret, M::Error> {
        match Elsewhere::deserialize(MapAccessDeserializer::new(map))? {
            Elsewhere {
                file: Some(path),
                env: None,
            } => Ok(Secret::File(path)),
            Elsewhere {
                file: None,
                env: Some(name),
            } => Ok(Secret::Env(name)),
            _ => Err(Error::custom("either `file` or `env` is expected")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_read_from_where_it_is_and_never_shown() {
        let plain = Secret::Plain(Zeroizing::new("hush".to_owned()));
        assert_eq!(plain.read().unwrap().as_str(), "hush");
        assert_eq!(format!("{plain:?}"), HIDDEN);
        let file = std::env::temp_dir().join(format!("dcom-sensor-secret-{}", std::process::id()));
        std::fs::write(&file, "Bearer 12\nmore\n").unwrap();
        let read = Secret::File(file.clone()).read();
        std::fs::remove_file(&file).unwrap();
        assert_eq!(read.unwrap().as_str(), "Bearer 12");
        let error = Secret::File(file.clone()).read().unwrap_err();
        assert!(error.contains(&*file.to_string_lossy()), "{error}");
        assert_eq!(
            Secret::Env("PATH".to_owned()).read().unwrap().as_str(),
            std::env::var("PATH").unwrap()
        );
        let error = Secret::Env("DCOM_SENSOR_NO_SUCH".to_owned()).read().unwrap_err();
        assert!(error.contains("DCOM_SENSOR_NO_SUCH"), "{error}");
    }
}
