//! The keys file.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use toml::de::DeTable;
use zeroize::Zeroizing;

use super::secretsdump::hex;
use super::{Keys, keytab, ntlm, secretsdump};

/// Why keys cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// It cannot be read.
    #[error("{}: {cause}", path.display())]
    Unreadable {
        /// Which file.
        path: PathBuf,
        /// What the system says.
        cause: io::Error,
    },
    /// Others may read it.
    #[error("{}: mode {mode:04o} lets others than its owner read the keys", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// Something in it is wrong.
    #[error("{}: {place}{cause}", path.display())]
    Wrong {
        /// Which file.
        path: PathBuf,
        /// Where in it, if that is known: `line 3: `.
        place: String,
        /// What.
        cause: String,
    },
}

impl KeysError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Open { path, .. } => Some(format!("chmod 600 {}", path.display())),
            Self::Unreadable { .. } => None,
            Self::Wrong { .. } => Some("docs/KEYS.md shows what a keys file holds".to_owned()),
        }
    }
}

/// As it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KeysFile<'a> {
    #[serde(default, borrow)]
    ntlm: Vec<NtlmEntry<'a>>,
    #[serde(default)]
    kerberos: Vec<KerberosEntry>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NtlmEntry<'a> {
    domain: Option<String>,
    user: Option<String>,
    #[serde(borrow)]
    password: Option<Secret<'a>>,
    #[serde(borrow)]
    nt_hash: Option<Secret<'a>>,
    secretsdump: Option<PathBuf>,
}

/// A secret: where it stands in the file's text, or, where that has escapes, as what they stand for. Both are overwritten when
/// they are let go.
enum Secret<'a> {
    AsWritten(&'a str),
    Unescaped(Zeroizing<String>),
}

impl Secret<'_> {
    fn text(&self) -> &str {
        match self {
            Self::AsWritten(text) => text,
            Self::Unescaped(text) => text,
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Secret<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(OfText)
    }
}

struct OfText;

impl<'de> Visitor<'de> for OfText {
    type Value = Secret<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    fn visit_borrowed_str<E: Error>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(Secret::AsWritten(text))
    }

    fn visit_str<E: Error>(self, copy: &str) -> Result<Self::Value, E> {
        self.visit_string(copy.to_owned())
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Self::Value, E> {
        Ok(Secret::Unescaped(Zeroizing::new(text)))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct KerberosEntry {
    keytab: PathBuf,
}

impl Keys {
    /// Reads a keys file and the files that it names.
    pub fn load(path: &Path) -> Result<Self, KeysError> {
        let mut keys = Self::default();
        let text = keys.read(path)?;
        let wrong = |place: String, cause: &str| KeysError::Wrong {
            path: path.to_owned(),
            place,
            cause: cause.to_owned(),
        };
        let text = std::str::from_utf8(&text).map_err(|_| wrong(String::new(), "is no text in UTF-8"))?;
        // Not by `toml::from_str`, whose errors hold a copy of all of it.
        let file = DeTable::parse(text).and_then(|table| KeysFile::deserialize(toml::Deserializer::from(table)));
        let file = file.map_err(|error| {
            // The message, and the line itself, may hold a secret: only what cannot is repeated.
            let line = error
                .span()
                .map(|span| text[..span.start.min(text.len())].matches('\n').count() + 1);
            let message = error.message();
            let harmless = ["unknown field", "missing field"]
                .iter()
                .any(|known| message.starts_with(known));
            let cause = if harmless {
                message
            } else {
                "is not what may stand there"
            };
            wrong(line.map_or_else(String::new, |line| format!("line {line}: ")), cause)
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for (number, entry) in (1..).zip(file.ntlm) {
            let place = format!("[[ntlm]] {number}: ");
            keys.add_ntlm(entry, folder).map_err(|error| match error {
                EntryError::Other(error) => error,
                EntryError::Wrong(cause) => wrong(place, cause),
            })?;
        }
        for entry in file.kerberos {
            keys.add_keytab(&folder.join(entry.keytab))?;
        }
        if keys.is_empty() {
            return Err(wrong(String::new(), "names no keys"));
        }
        Ok(keys)
    }

    fn is_empty(&self) -> bool {
        self.accounts.is_empty() && self.tickets.is_empty()
    }

    fn add_ntlm(&mut self, entry: NtlmEntry<'_>, folder: &Path) -> Result<(), EntryError> {
        let NtlmEntry {
            domain,
            user,
            password,
            nt_hash,
            secretsdump,
        } = entry;
        let domain = domain.as_deref().filter(|domain| !domain.is_empty());
        if user.as_deref() == Some("") {
            return Err(EntryError::Wrong("`user` is empty"));
        }
        match (user, password, nt_hash, secretsdump) {
            (Some(user), Some(password), None, None) => {
                self.add_nt_hash(domain, &user, &ntlm::nt_hash(password.text()));
            }
            (Some(user), None, Some(digits), None) => {
                let hash = hex(digits.text()).filter(|hash| hash.len() == 16);
                let hash = hash.ok_or(EntryError::Wrong("`nt_hash` is not 32 hexadecimal digits"))?;
                self.add_nt_hash(domain, &user, &hash);
            }
            (None, None, None, Some(path)) if domain.is_none() => {
                let path = folder.join(path);
                let bytes = self.read(&path).map_err(EntryError::Other)?;
                if secretsdump::add(self, &bytes) == 0 {
                    return Err(EntryError::Other(KeysError::Wrong {
                        path,
                        place: String::new(),
                        cause: "has no line of an account: name:number:LM hash:NT hash:::".to_owned(),
                    }));
                }
            }
            _ => {
                return Err(EntryError::Wrong(
                    "takes `user` with either `password` or `nt_hash`, or `secretsdump` alone",
                ));
            }
        }
        Ok(())
    }

    fn add_keytab(&mut self, path: &Path) -> Result<(), KeysError> {
        let bytes = self.read(path)?;
        let wrong = |cause: String| KeysError::Wrong {
            path: path.to_owned(),
            place: String::new(),
            cause,
        };
        match keytab::add(self, &bytes) {
            Ok(0) => Err(wrong("has no key of a type that is known".to_owned())),
            Ok(_) => Ok(()),
            Err(error) => Err(wrong(error.to_string())),
        }
    }

    /// A file's bytes, and that it is one of these: nobody but its owner may read it.
    fn read(&mut self, path: &Path) -> Result<Zeroizing<Vec<u8>>, KeysError> {
        let unreadable = |cause| KeysError::Unreadable {
            path: path.to_owned(),
            cause,
        };
        let mut file = File::open(path).map_err(unreadable)?;
        let about: fs::Metadata = file.metadata().map_err(unreadable)?;
        if about.is_dir() {
            return Err(unreadable(io::ErrorKind::IsADirectory.into()));
        }
        let mode = about.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(KeysError::Open {
                path: path.to_owned(),
                mode,
            });
        }
        // Room for all of it at once: what grows leaves its old place behind.
        let length = usize::try_from(about.len()).unwrap_or_default();
        let mut bytes = Zeroizing::new(Vec::with_capacity(length + 1));
        file.read_to_end(&mut bytes).map_err(unreadable)?;
        self.read_from.push(path.to_owned());
        Ok(bytes)
    }
}

enum EntryError {
    Wrong(&'static str),
    Other(KeysError),
}

/// No image of this process is written when it crashes, and no other process may look into it. False where the system
/// refuses both ways to say so.
#[must_use]
pub(crate) fn keep_out_of_core_dumps() -> bool {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    let none = Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    // Where the system refuses one of the two, the other has been asked for all the same.
    let refused = [
        setrlimit(Resource::Core, none).is_err(),
        set_dumpable_behavior(DumpableBehavior::NotDumpable).is_err(),
    ];
    refused != [true; 2]
}
