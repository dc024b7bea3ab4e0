//! One event of a host, whatever log, tool and form it came in. Readers fill in what the record says and nothing else;
//! what they conclude says so.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::IpAddr;
use std::sync::Arc;

use dcom_parsers::guid::{Clsid, Guid};

use crate::time::Timestamp;

/// One thing that a host logged.
#[derive(Clone, Debug, PartialEq)]
pub struct HostEvent {
    /// When it happened, in UTC as well as can be known: what the event itself says where it says it (Sysmon's
    /// `UtcTime`), else when it was logged.
    pub time: Timestamp,
    /// What that time rests on.
    pub clock: Clock,
    /// When it was written to the log, where the record says that beside its own time: Sysmon's `UtcTime` of a connection
    /// (3) is off by a minute or two after some boots, and the log's is not.
    pub logged: Option<Timestamp>,
    /// The computer, as the log spells it. Compare with [`same_host`].
    pub host: Arc<str>,
    /// What wrote it.
    pub source: Source,
    /// Where it stands.
    pub place: Place,
    /// What happened.
    pub body: HostBody,
}

/// What the time of an event rests on, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Clock {
    /// A time that is UTC by definition (EVTX `SystemTime`, Sysmon `UtcTime`, Defender's `Timestamp`), to the digit it has.
    Utc,
    /// A local time whose zone the record tells.
    Zoned,
    /// A local time without a zone, or with a false `Z`: brought to UTC by what other times of the same log tell
    /// (minutes east of UTC).
    Inferred(i16),
    /// A local time of which no zone is known, taken for UTC; or one that may be meant otherwise, as with the day first.
    Assumed,
    /// Only when it was collected, or was over, which is later, by seconds or minutes.
    Collected,
}

/// What wrote an event: a channel's provider with its event number, or a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Source {
    /// Microsoft-Windows-Sysmon.
    Sysmon(u16),
    /// Microsoft-Windows-Security-Auditing.
    Security(u16),
    /// Microsoft-Windows-DistributedCOM, in the System channel.
    System(u16),
    /// Microsoft-Windows-PowerShell.
    PowerShell(u16),
    /// Microsoft Defender's `DeviceProcessEvents`.
    DeviceProcessEvents,
    /// Microsoft Defender's `DeviceNetworkEvents`.
    DeviceNetworkEvents,
    /// Elastic Defend's `endpoint.events.process`.
    EndpointProcess,
    /// Elastic Defend's `endpoint.events.network`.
    EndpointNetwork,
    /// Elastic Defend's `endpoint.events.file`.
    EndpointFile,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sysmon(id) => write!(f, "Sysmon {id}"),
            Self::Security(id) => write!(f, "Security {id}"),
            Self::System(id) => write!(f, "System {id}"),
            Self::PowerShell(id) => write!(f, "PowerShell {id}"),
            Self::DeviceProcessEvents => f.write_str("DeviceProcessEvents"),
            Self::DeviceNetworkEvents => f.write_str("DeviceNetworkEvents"),
            Self::EndpointProcess => f.write_str("endpoint.events.process"),
            Self::EndpointNetwork => f.write_str("endpoint.events.network"),
            Self::EndpointFile => f.write_str("endpoint.events.file"),
        }
    }
}

/// Where an event stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// The input, as it was named.
    pub input: Arc<str>,
    /// The number of the record in it, from 1: the line, the array's element, the EVTX record's own number.
    pub record: u64,
}

/// What happened on a host.
#[derive(Clone, Debug, PartialEq)]
pub enum HostBody {
    /// Sysmon 1, Security 4688, `DeviceProcessEvents`, `endpoint.events.process`.
    ProcessCreate(Box<ProcessCreate>),
    /// Sysmon 5, Security 4689, `endpoint.events.process`.
    ProcessEnd(Box<ProcessEnd>),
    /// Sysmon 3, Security 5156, `DeviceNetworkEvents`, `endpoint.events.network`.
    NetworkConnect(Box<NetworkConnect>),
    /// Sysmon 11, `endpoint.events.file`.
    FileCreate(Box<FileCreate>),
    /// Sysmon 7.
    ImageLoad(Box<ImageLoad>),
    /// Sysmon 12, 13, 14.
    Registry(Box<Registry>),
    /// Security 4624, 4625, 4648.
    Logon(Box<Logon>),
    /// System 10016, 10028, 10036 to 10038.
    DcomError(Box<DcomError>),
    /// PowerShell 4104.
    Script(Box<Script>),
}

/// A process, by what the record says of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: Option<u32>,
    /// Where the id is from, if not from this record: `Security 4688 of the same image and second`.
    pub pid_from: Option<Arc<str>>,
    /// Sysmon's `ProcessGuid`, which is never used again.
    pub guid: Option<Guid>,
    /// The path of its image, as the record spells it (also `\device\harddiskvolume2\…`).
    pub image: Option<Arc<str>>,
    /// Its command line.
    pub command_line: Option<Arc<str>>,
}

impl Process {
    /// The file name of its image, in lower case: `mmc.exe`.
    pub fn name(&self) -> Option<String> {
        self.image.as_deref().map(image_name)
    }

    /// What its texts take.
    pub(crate) fn size(&self) -> usize {
        size([&self.pid_from, &self.image, &self.command_line])
    }
}

impl HostEvent {
    /// About how many bytes it takes, with the texts that it shares with others, and with what keeping it in a table takes.
    pub(crate) fn size(&self) -> usize {
        let of = Process::size;
        let body = match &self.body {
            HostBody::ProcessCreate(it) => {
                let texts = size([&it.integrity, &it.hashes]);
                of(&it.process) + of(&it.parent) + it.account.size() + texts
            }
            HostBody::ProcessEnd(it) => of(&it.process),
            HostBody::NetworkConnect(it) => {
                let names = size([&it.source_name, &it.destination_name]);
                of(&it.process) + it.account.size() + names
            }
            HostBody::FileCreate(it) => of(&it.process) + size([&it.path]),
            HostBody::ImageLoad(it) => of(&it.process) + size([&it.path]),
            HostBody::Registry(it) => {
                let texts = size([&it.operation, &it.object, &it.details]);
                of(&it.process) + texts
            }
            HostBody::Logon(it) => {
                let texts = size([&it.workstation, &it.package, &it.target_server]);
                of(&it.process) + it.account.size() + texts
            }
            HostBody::DcomError(it) => {
                let texts = size([&it.target, &it.permission]);
                of(&it.process) + it.account.size() + texts
            }
            HostBody::Script(it) => of(&it.process) + it.text.len() + size([&it.path]),
        };
        EVENT + self.host.len() + body
    }
}

/// What an event takes without its texts: itself, its body and its place in a table.
const EVENT: usize = 640;

/// What texts take beside the places where they stand.
fn size<const N: usize>(texts: [&Option<Arc<str>>; N]) -> usize {
    texts.into_iter().flatten().map(|text| text.len() + 16).sum()
}

/// Stands for a text in an index: whoever finds an event by it looks whether it is the one.
pub(crate) fn text_hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// The file name at the end of a Windows path, in lower case.
pub fn image_name(path: &str) -> String {
    let name = path.rsplit(['\\', '/']).next().unwrap_or(path);
    name.trim_matches('"').to_lowercase()
}

/// Are these names of one computer? Case does not matter, nor does the domain where one of them has none.
pub fn same_host(one: &str, other: &str) -> bool {
    let parts = |name: &str| -> (String, Option<String>) {
        let name = name.trim_end_matches('.').to_lowercase();
        match name.split_once('.') {
            Some((host, domain)) => (host.to_owned(), Some(domain.to_owned())),
            None => (name, None),
        }
    };
    let ((host, domain), (other_host, other_domain)) = (parts(one), parts(other));
    host == other_host && (domain.is_none() || other_domain.is_none() || domain == other_domain)
}

/// An account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub user: Option<Arc<str>>,
    /// Its domain, or the computer's name for a local one.
    pub domain: Option<Arc<str>>,
    /// Its SID.
    pub sid: Option<Arc<str>>,
    /// The logon session (`LogonId`), which ties processes to a 4624.
    pub logon_id: Option<u64>,
}

impl Account {
    /// What its texts take.
    pub(crate) fn size(&self) -> usize {
        size([&self.user, &self.domain, &self.sid])
    }
}

/// A process was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessCreate {
    /// The new one.
    pub process: Process,
    /// The one that started it; of an old 4688 its id alone.
    pub parent: Process,
    /// As whom it runs.
    pub account: Account,
    /// `Low`, `Medium`, `High`, `System`.
    pub integrity: Option<Arc<str>>,
    /// Its hashes, as Sysmon writes them (`SHA256=…,…`).
    pub hashes: Option<Arc<str>>,
}

/// A process ended.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessEnd {
    /// Which.
    pub process: Process,
}

/// Who began a connection, as seen from the host that logged it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// This host did.
    Outbound,
    /// The other one did.
    Inbound,
}

/// An end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HostEnd {
    /// Its address.
    pub ip: IpAddr,
    /// Its port.
    pub port: u16,
}

/// A connection was made or taken.
///
/// `source` and `destination` are the record's own. In some versions of Sysmon, and in 5156, the source is the local end, in others
/// the one that began: compare both ways round, with `direction` in mind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkConnect {
    /// Whose connection it is.
    pub process: Process,
    /// As whom that runs.
    pub account: Account,
    /// IP protocol number: 6 TCP, 17 UDP.
    pub protocol: Option<u8>,
    /// Who began.
    pub direction: Option<Direction>,
    /// What the record calls the source.
    pub source: HostEnd,
    /// Its name, if the record has one.
    pub source_name: Option<Arc<str>>,
    /// What the record calls the destination.
    pub destination: HostEnd,
    /// Its name, if the record has one.
    pub destination_name: Option<Arc<str>>,
}

/// A file was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileCreate {
    /// By which process.
    pub process: Process,
    /// Its path.
    pub path: Option<Arc<str>>,
}

/// A library was loaded.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ImageLoad {
    /// By which process.
    pub process: Process,
    /// Its path.
    pub path: Option<Arc<str>>,
    /// Is it signed?
    pub signed: Option<bool>,
}

/// The registry was changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Registry {
    /// By which process.
    pub process: Process,
    /// `SetValue`, `CreateKey`, `DeleteKey`, `DeleteValue`, `RenameKey`.
    pub operation: Option<Arc<str>>,
    /// The key or value.
    pub object: Option<Arc<str>>,
    /// What was written.
    pub details: Option<Arc<str>>,
}

/// How a logon went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LogonKind {
    /// 4624.
    #[default]
    Succeeded,
    /// 4625.
    Failed,
    /// 4648: other credentials were used, towards `target_server`.
    Explicit,
}

/// Someone logged on, or tried to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Logon {
    /// How it went.
    pub kind: LogonKind,
    /// 2 interactive, 3 network, 10 remote interactive …
    pub logon_type: Option<u32>,
    /// Who.
    pub account: Account,
    /// The name of the computer they came from.
    pub workstation: Option<Arc<str>>,
    /// Its address.
    pub address: Option<IpAddr>,
    /// Its port.
    pub port: Option<u16>,
    /// `NTLM`, `Kerberos`, `Negotiate`.
    pub package: Option<Arc<str>>,
    /// Of a failure: `0xc000006d`.
    pub status: Option<u32>,
    /// Of 4648: where the credentials were used.
    pub target_server: Option<Arc<str>>,
    /// Which process asked.
    pub process: Process,
}

/// The COM service has something to complain about.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DcomError {
    /// The class.
    pub clsid: Option<Clsid>,
    /// The application that it belongs to.
    pub appid: Option<Guid>,
    /// Who was refused, or who asked.
    pub account: Account,
    /// From where, if from another computer: 10016, 10036 and their like.
    pub address: Option<IpAddr>,
    /// Does it say that the caller is on this computer (`LocalHost (Using LRPC)`)?
    pub local: bool,
    /// 10028: the computer that could not be reached, as a name or an address.
    pub target: Option<Arc<str>>,
    /// The process that asked, where the event names it.
    pub process: Process,
    /// `Local` or `Remote`, and `Launch` or `Activation`, where the event says so: `Remote Launch`.
    pub permission: Option<Arc<str>>,
}

/// A piece of a script that `PowerShell` ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    /// Its text, of this part.
    pub text: Arc<str>,
    /// Which script, when it was written in parts.
    pub block: Option<Guid>,
    /// Which part, from 1, and of how many.
    pub part: Option<(u32, u32)>,
    /// The file it is from.
    pub path: Option<Arc<str>>,
    /// The process.
    pub process: Process,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_is_named_by_its_file() {
        assert_eq!(image_name(r"C:\Windows\System32\MMC.EXE"), "mmc.exe");
        assert_eq!(
            image_name(r"\device\harddiskvolume2\windows\explorer.exe"),
            "explorer.exe"
        );
        assert_eq!(image_name("cmd.exe"), "cmd.exe");
    }

    #[test]
    fn a_host_is_known_with_and_without_its_domain() {
        assert!(same_host("WORKSTATION6.theshire.local", "workstation6"));
        assert!(same_host("WORKSTATION6", "WORKSTATION6.THESHIRE.LOCAL."));
        assert!(!same_host("a.one.example", "a.two.example"));
        assert!(!same_host("ws6", "ws66"));
    }
}
