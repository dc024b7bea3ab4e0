//! Account databases as text: the lines that secretsdump and others of its kind write.
//!
//! ```text
//! LAB\alice:1103:aad3b435b51404eeaad3b435b51404ee:1468ea2e51733edf2a6bd21af25d6174:::
//! LAB\DC$:aes256-cts-hmac-sha1-96:3fa5…
//! ```

use zeroize::Zeroizing;

use super::Keys;
use super::etype::Etype;
use super::keytab::add_key;

/// Adds the accounts of such a text; gives how many keys. Lines of other kinds are stepped over: such a text is a log.
pub(super) fn add(keys: &mut Keys, text: &[u8]) -> usize {
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    // Line by line, so that no more than one is copied for the sake of a letter that is none.
    let lines = text.split(|&byte| byte == b'\n');
    lines
        .filter(|line| match str::from_utf8(line) {
            Ok(line) => add_line(keys, line.trim()).is_some(),
            Err(_) => add_line(keys, Zeroizing::new(String::from_utf8_lossy(line).into_owned()).trim()).is_some(),
        })
        .count()
}

fn add_line(keys: &mut Keys, line: &str) -> Option<()> {
    let mut fields = line.split(':');
    let account = fields.next()?;
    let (domain, user) = match account.split_once('\\') {
        Some((domain, user)) => (Some(domain), user),
        None => (None, account),
    };
    let second = fields.next()?;
    if let Some(etype) = Etype::named(second) {
        let key = hex(fields.next()?)?;
        if Etype::of(etype)?.key_length() != key.len() {
            return None;
        }
        add_key(keys, user, domain.unwrap_or_default(), None, etype, key.to_vec().into());
        return Some(());
    }
    let is_hash = |field: &str| hex(field).is_some_and(|hash| hash.len() == 16);
    // Of the computer itself, whose secrets are the LSA's, there is no RID.
    if !is_hash(second) {
        second.parse::<u32>().ok()?;
        let _lm_hash = fields.next()?;
    }
    let nt_hash = hex(fields.next()?).filter(|hash| hash.len() == 16)?;
    // Earlier passwords are listed too, as alice_history0.
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let user = match user.rsplit_once("_history") {
        Some((user, number)) if is_number(number) => user,
        _ => user,
    };
    if user.is_empty() {
        return None;
    }
    add_key(
        keys,
        user,
        domain.unwrap_or_default(),
        None,
        23,
        nt_hash.to_vec().into(),
    );
    Some(())
}

/// Hexadecimal digits, two for each byte.
pub(super) fn hex(digits: &str) -> Option<Zeroizing<Vec<u8>>> {
    let digits = digits.as_bytes();
    let mut bytes = Zeroizing::new(Vec::with_capacity(digits.len() / 2));
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    for pair in pairs {
        let mut digit = pair.iter().map(|&digit| char::from(digit).to_digit(16));
        let byte = digit.next()?? * 16 + digit.next()??;
        bytes.push(u8::try_from(byte).ok()?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_and_their_kerberos_keys_are_found_among_other_lines() {
        let text = "[*] Dumping Domain Credentials (domain\\uid:rid:lmhash:nthash)\n\
            LAB\\web_history:1104:aad3b435b51404eeaad3b435b51404ee:11111111111111111111111111111111:::\n\
            LAB\\SRV01$:aad3b435b51404eeaad3b435b51404ee:22222222222222222222222222222222:::\n\
            LAB\\alice:1103:aad3b435b51404eeaad3b435b51404ee:1468ea2e51733edf2a6bd21af25d6174:::\r\n\
            LAB\\alice_history0:1103:aad3b435b51404eeaad3b435b51404ee:00000000000000000000000000000000:::\n\
            Guest:501:aad3b435b51404eeaad3b435b51404ee:31d6cfe0d16ae931b73c59d7e0c089c0:::\n\
            LAB\\DC$:aes128-cts-hmac-sha1-96:96f33635644c2f5625fd194095a71b5c\n\
            LAB\\DC$:des-cbc-md5:0011223344556677\n";
        let mut keys = Keys::default();
        assert_eq!(add(&mut keys, text.as_bytes()), 6);
        let sure = |keys: &Keys, user: &str, domain: &str| {
            let accounts = keys.accounts(user, domain).into_iter();
            accounts.map(|(_, is_sure)| is_sure).collect::<Vec<_>>()
        };
        assert_eq!(sure(&keys, "web_history", "LAB"), [true]);
        assert_eq!(sure(&keys, "SRV01$", "LAB"), [true]);
        assert_eq!(sure(&keys, "ALICE", "lab"), [true; 2]);
        assert_eq!(
            sure(&keys, "alice", "OTHER"),
            [false; 2],
            "what the dump says need not be the domain"
        );
        assert_eq!(sure(&keys, "alice@lab.example", ""), [true; 2]);
        assert_eq!(sure(&keys, "guest", "ANY"), [true]);
        assert!(keys.tickets.iter().any(|key| key.etype == 17 && key.principal == "dc$"));
        let marked = "\u{feff}LAB\\bob:1105:aad3b435b51404eeaad3b435b51404ee:1468ea2e51733edf2a6bd21af25d6174:::";
        assert_eq!(add(&mut keys, marked.as_bytes()), 1);
        assert_eq!(sure(&keys, "bob", "LAB"), [true]);
        // Of the user's own word a login is to say that domain, if it says any.
        keys.add_nt_hash(Some("LAB"), "carol", &[1; 16]);
        assert!(sure(&keys, "carol", "OTHER").is_empty());
        assert_eq!(sure(&keys, "carol@mail.example", ""), [false]);
        assert!(sure(&keys, "carol@mail.example", "OTHER").is_empty());
        assert_eq!(sure(&keys, "carol@lab.example", ""), [true]);
    }
}
