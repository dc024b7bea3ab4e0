//! Keytab files, as MIT Kerberos writes them ("The Keytab Binary File Format", version 2).

use std::fmt;

use secrecy::ExposeSecret;

use super::etype::Etype;
use super::{Keys, Secret, TicketKey};

/// What is wrong with a keytab, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct KeytabError {
    pub(super) offset: usize,
    pub(super) cause: &'static str,
}

impl fmt::Display for KeytabError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (offset {})", self.cause, self.offset)
    }
}

/// Bytes being read, big-endian.
struct Cursor<'a> {
    bytes: &'a [u8],
    /// Of `bytes` in the file.
    offset: usize,
}

impl<'a> Cursor<'a> {
    fn take(&mut self, length: usize) -> Result<&'a [u8], KeytabError> {
        let Some((taken, rest)) = self.bytes.split_at_checked(length) else {
            return Err(self.error("ends early"));
        };
        self.bytes = rest;
        self.offset += length;
        Ok(taken)
    }

    fn error(&self, cause: &'static str) -> KeytabError {
        KeytabError {
            offset: self.offset,
            cause,
        }
    }

    fn number(&mut self, length: usize) -> Result<u32, KeytabError> {
        Ok(self
            .take(length)?
            .iter()
            .fold(0, |number, &byte| number << 8 | u32::from(byte)))
    }

    fn counted(&mut self) -> Result<&'a [u8], KeytabError> {
        let length = self.number(2)?;
        self.take(length as usize)
    }
}

/// Adds a keytab's keys; gives how many.
pub(super) fn add(keys: &mut Keys, file: &[u8]) -> Result<usize, KeytabError> {
    let mut input = Cursor { bytes: file, offset: 0 };
    match input.take(2)? {
        [5, 2] => {}
        [5, 1] => {
            return Err(KeytabError {
                offset: 0,
                cause: "is a keytab of version 1; `ktutil` writes version 2",
            });
        }
        _ => {
            return Err(KeytabError {
                offset: 0,
                cause: "is no keytab: it does not begin with the bytes 05 02",
            });
        }
    }
    let mut added = 0;
    while !input.bytes.is_empty() {
        let length = input.number(4)?.cast_signed();
        let offset = input.offset;
        let entry = input.take(length.unsigned_abs() as usize)?;
        // A negative length is the hole that a deleted entry leaves behind.
        if length > 0 {
            added += usize::from(add_entry(keys, Cursor { bytes: entry, offset })?);
        }
    }
    Ok(added)
}

/// True when it is of a type that is known.
fn add_entry(keys: &mut Keys, mut entry: Cursor<'_>) -> Result<bool, KeytabError> {
    let components = entry.number(2)?;
    let realm = String::from_utf8_lossy(entry.counted()?).into_owned();
    let names = (0..components)
        .map(|_| Ok(String::from_utf8_lossy(entry.counted()?).into_owned()))
        .collect::<Result<Vec<_>, KeytabError>>()?;
    let principal = names.join("/");
    let _name_type = entry.number(4)?;
    let _timestamp = entry.number(4)?;
    let short_kvno = entry.number(1)?;
    let number = entry.number(2)?;
    let key_offset = entry.offset;
    let key: Secret = entry.counted()?.to_vec().into();
    // A longer version number may follow; zero is none.
    let kvno = entry.number(4).ok().filter(|&kvno| kvno != 0).unwrap_or(short_kvno);
    let number = i32::try_from(number).unwrap_or_default();
    let Some(etype) = Etype::of(number) else {
        return Ok(false);
    };
    if key.expose_secret().len() != etype.key_length() {
        return Err(KeytabError {
            offset: key_offset,
            cause: "has a key whose length is not its encryption type's",
        });
    }
    add_key(keys, &principal, &realm, Some(kvno), number, key);
    Ok(true)
}

/// Adds a key of a principal; one for RC4 is the account's NT hash as well.
pub(super) fn add_key(keys: &mut Keys, principal: &str, realm: &str, kvno: Option<u32>, etype: i32, key: Secret) {
    if Etype::of(etype) == Some(Etype::Rc4) && !principal.contains('/') {
        let domain = Some(realm).filter(|realm| !realm.is_empty());
        let _ = keys.add_account(domain, false, principal, key.expose_secret().to_vec().into());
    }
    let name = if realm.is_empty() {
        principal.to_owned()
    } else {
        format!("{principal}@{realm}")
    };
    keys.tickets.push(TicketKey {
        principal: principal.to_lowercase(),
        realm: Some(realm.to_owned()).filter(|realm| !realm.is_empty()),
        kvno,
        etype,
        key,
        name: name.into(),
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(etype: u8, key: &[u8]) -> Vec<u8> {
        let counted = |bytes: &[u8]| [&[0, u8::try_from(bytes.len()).unwrap()], bytes].concat();
        let body = [
            &[0, 2][..],
            &counted(b"LAB"),
            &counted(b"host"),
            &counted(b"dc"),
            &[0, 0, 0, 1, 0, 0, 0, 0, 3, 0, etype],
            &counted(key),
        ]
        .concat();
        [&[0, 0, 0, u8::try_from(body.len()).unwrap()], &body[..]].concat()
    }

    #[test]
    fn entries_are_read_over_holes_and_unknown_types() {
        let hole = [0xff, 0xff, 0xff, 0xfe, 9, 9];
        let file = [&[5, 2][..], &hole, &entry(3, &[1; 8]), &entry(17, &[2; 16])].concat();
        let mut keys = Keys::default();
        assert_eq!(add(&mut keys, &file), Ok(1));
        let key = &keys.tickets[0];
        assert_eq!((&*key.name, key.kvno, key.etype), ("host/dc@LAB", Some(3), 17));
    }

    #[test]
    fn damage_is_told_with_its_place_and_never_panics() {
        let file = [&[5, 2][..], &entry(17, &[2; 15])].concat();
        let error = add(&mut Keys::default(), &file).unwrap_err();
        assert_eq!(
            error.to_string(),
            "has a key whose length is not its encryption type's (offset 34)"
        );
        for end in 0..file.len() {
            let _ = add(&mut Keys::default(), &file[..end]);
        }
        assert!(
            add(&mut Keys::default(), b"\x05\x01")
                .unwrap_err()
                .cause
                .contains("version 1")
        );
    }
}
