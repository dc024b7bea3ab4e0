//! Keys that the user has, and what they open: PDUs sealed or signed by NTLM or Kerberos.
//!
//! | file | what |
//! |---|---|
//! | `file.rs`, `keytab.rs`, `secretsdump.rs` | where keys come from. The only ones that read files |
//! | `sessions.rs` | the security contexts of one connection |
//! | `ntlm.rs` | [MS-NLMP]: from challenge and response to the keys of each direction, and one PDU after another |
//! | `kerberos.rs` | RFC 4120: from the ticket to the keys of a session |
//! | `kdc.rs`, `tickets.rs` | RFC 4120: who was given which ticket, and its session key where a key opens it |
//! | `gss.rs` | RFC 4121, RFC 4757: one PDU after another, in the form that DCE asks for |
//! | `etype.rs` | RFC 3961, 3962, 4757, 8009: the encryption types |
//!
//! INVARIANT: nothing is told as opened that its own signature does not vouch for. A wrong key opens nothing.
//!
//! INVARIANT: a secret is in a `Secret`, in memory that is overwritten when it is let go, or in a cipher that does the
//! same. Nothing that holds one shows it.

mod etype;
mod file;
mod gss;
mod kdc;
mod kerberos;
mod keytab;
mod ntlm;
mod secretsdump;
mod sessions;
mod tickets;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use secrecy::SecretSlice;

pub use file::KeysError;
pub(crate) use file::keep_out_of_core_dumps;
pub(crate) use kdc::{Kdc, PORT as KDC_PORT};
pub(crate) use kerberos::Credit;
pub(crate) use sessions::{Learnt, Loss, MAX_SESSIONS, Protected, Sessions, Verdict, Who};
pub(crate) use tickets::SharedTickets;
pub use tickets::TicketCounters;

/// What a key is called in logs: whose it is.
pub type KeyName = Arc<str>;

/// Are the stubs that keys open kept as they are, beside what is read of them?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// All of them.
    Stubs,
    /// Those that somebody reads.
    Records,
}

/// Bytes that must not be seen.
type Secret = SecretSlice<u8>;

/// An account, by its NT hash.
struct Account {
    /// None: of any domain.
    domain: Option<String>,
    /// Is that what logins call it? A dump has what is behind the @ of the user's name, a keytab the realm.
    is_sure: bool,
    nt_hash: Secret,
    name: KeyName,
}

/// A key that tickets are sealed in.
struct TicketKey {
    /// Without the realm, in lower case.
    principal: String,
    /// None: of any.
    realm: Option<String>,
    /// None: not known.
    kvno: Option<u32>,
    etype: i32,
    key: Secret,
    name: KeyName,
}

/// All keys that were given.
#[derive(Default)]
pub struct Keys {
    /// By name, in lower case.
    accounts: BTreeMap<String, Vec<Account>>,
    tickets: Vec<TicketKey>,
    /// The files that they were read from.
    read_from: Vec<PathBuf>,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "Keys({} accounts, {} ticket keys)",
            self.accounts.len(),
            self.tickets.len()
        )
    }
}

impl Keys {
    /// The files that they were read from.
    pub(crate) fn files(&self) -> &[PathBuf] {
        &self.read_from
    }

    /// Gives what the key is called. `is_sure`: logins say that domain.
    fn add_account(&mut self, domain: Option<&str>, is_sure: bool, user: &str, nt_hash: Secret) -> KeyName {
        let name: KeyName = match domain {
            Some(domain) => format!("{domain}\\{user}").into(),
            None => user.into(),
        };
        self.accounts.entry(user.to_lowercase()).or_default().push(Account {
            domain: domain.map(str::to_owned),
            is_sure,
            nt_hash,
            name: name.clone(),
        });
        name
    }

    /// An account's NT hash, which is its key for RC4 under Kerberos too.
    fn add_nt_hash(&mut self, domain: Option<&str>, user: &str, nt_hash: &[u8]) {
        let name = self.add_account(domain, true, user, nt_hash.to_vec().into());
        self.tickets.push(TicketKey {
            principal: user.to_lowercase(),
            realm: domain.map(str::to_owned),
            kvno: None,
            etype: etype::RC4,
            key: nt_hash.to_vec().into(),
            name,
        });
    }

    /// Accounts of this name that a login may be of, by the domain that it says, and whether it is sure that it is: those first.
    fn accounts(&self, user: &str, domain: &str) -> Vec<(&Account, bool)> {
        // A login may say alice@lab.example, with or without a domain beside it.
        let (account, suffix) = user.split_once('@').unwrap_or((user, ""));
        let said = if domain.is_empty() { suffix } else { domain };
        let fits = |of: &Account| match &of.domain {
            Some(of) => said.is_empty() || is_same_domain(of, said),
            None => true,
        };
        // What is behind the @ may be the name of anything.
        let may_be = |of: &Account| domain.is_empty() || !of.is_sure;
        let by_account = self.accounts.get(&account.to_lowercase());
        let by_user = self.accounts.get(&user.to_lowercase()).filter(|_| account != user);
        let all = by_user.into_iter().chain(by_account).flatten();
        let mut accounts: Vec<_> = all
            .map(|of| (of, fits(of)))
            .filter(|&(of, fits)| fits || may_be(of))
            .collect();
        accounts.sort_by_key(|&(_, fits)| !fits);
        accounts
    }
}

/// Are these names of one domain? lab.example is LAB too; which of the two a login says is the client's choice.
fn is_same_domain(one: &str, other: &str) -> bool {
    let first = |name: &str| name.split('.').next().unwrap_or_default().to_lowercase();
    first(one) == first(other)
}

/// Keys in use, and what becomes of that which they open.
#[derive(Clone)]
pub(crate) struct Used {
    pub(crate) keys: Arc<Keys>,
    pub(crate) keep: Keep,
}

/// What was counted of sealed and signed PDUs, and of the logins behind them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyCounters {
    /// Sealed PDUs.
    pub sealed: u64,
    /// Those that were opened.
    pub opened: u64,
    /// Signed PDUs whose stub is in clear.
    pub signed: u64,
    /// Those whose signature is right.
    pub verified: u64,
    /// Those whose signature is wrong, by the right key.
    pub bad: u64,
    /// Logins by a key that is known.
    pub logins: u64,
    /// Logins by an account whose key is known, which do not answer to it.
    pub mismatches: u64,
    /// Logins by tickets on which not all keys were tried, as too many would have been.
    pub untried: u64,
    /// Directions of a security context in which sealed PDUs can no longer be opened, because what was lost is not known.
    pub streams_lost: u64,
}
