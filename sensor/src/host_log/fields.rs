//! What a record says, by name, whatever form it came in: every reader fills this, and `interpret.rs` makes events of it.

use std::borrow::Cow;

use super::names::Node;

/// A value as it stands in a record.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value<'a> {
    Text(Cow<'a, str>),
    Number(i64),
    /// Beyond what an `i64` holds, and fractions: times in seconds since 1970.
    Fraction(f64),
    Flag(bool),
}

impl Value<'_> {
    fn into_owned<'b>(self) -> Value<'b> {
        match self {
            Self::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Self::Number(number) => Value::Number(number),
            Self::Fraction(number) => Value::Fraction(number),
            Self::Flag(flag) => Value::Flag(flag),
        }
    }
}

macro_rules! fields {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
        /// The names that mean something here. Those of event data are spelled as Windows and Sysmon spell them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub(super) enum Field { $($(#[$doc])* $name),* }

        impl Field {
            pub(super) const ALL: &[(Self, &str)] = &[$((Self::$name, $text)),*];
        }
    };
}

/// The times of a record.
pub(super) const TIMES: [Field; 8] = [
    Field::SystemTime,
    Field::LocalTime,
    Field::RegionTime,
    Field::AtTimestamp,
    Field::Received,
    Field::Indexed,
    Field::Timestamp,
    Field::TimeGenerated,
];

fields! {
    // What every event has: not event data, though some exports write all of it into one row.
    EventId = "EventID",
    Provider = "Provider",
    /// The event's number, of PowerShell's `Get-WinEvent`; elsewhere it may be anything.
    PlainId = "Id",
    /// That of the event or, where a thread stands beside it, of who logged it. Event data has it by the same name, which comes later.
    PlainProcessId = "ProcessId",
    /// Who logged the event: event data has no such name.
    WriterThread = "ThreadId",
    /// The provider's name, of Sentinel's table `Event`; elsewhere it may be anything.
    EventSource = "Source",
    /// Splunk's, which has the channel in it.
    SplunkSource = "source",
    Channel = "Channel",
    /// The computer the event is of.
    Computer = "Computer",
    /// A host's name that may be the collector's.
    Collector = "host",
    Record = "EventRecordID",
    /// UTC by definition.
    SystemTime = "SystemTime",
    /// Local or not, with a zone or without.
    LocalTime = "EventTime",
    /// Local, without a zone, written as the region of who exported it writes: Event Viewer's.
    RegionTime = "Date and Time",
    /// When it was collected, or, from Winlogbeat, when it happened.
    AtTimestamp = "@timestamp",
    /// When it was collected.
    Received = "EventReceivedTime",
    /// When the exporting system believes it happened, with a zone or since 1970.
    Indexed = "_time",
    /// The account in whose name it was logged.
    UserSid = "UserID",
    /// What Windows would show, or a raw event.
    Message = "Message",
    /// The event itself, as XML or JSON.
    Raw = "_raw",
    /// Only Winlogbeat's records have these.
    WinlogApi = "winlog.api",
    /// Only `EvtxECmd`'s.
    ChunkNumber = "ChunkNumber",
    /// Only Hayabusa's.
    RuleTitle = "RuleTitle",
    /// Which table of Defender a row is of.
    Table = "Type",

    UtcTime = "UtcTime",
    ProcessGuid = "ProcessGuid",
    ProcessId = "ProcessId",
    Image = "Image",
    CommandLine = "CommandLine",
    User = "User",
    LogonId = "LogonId",
    IntegrityLevel = "IntegrityLevel",
    Hashes = "Hashes",
    ParentProcessGuid = "ParentProcessGuid",
    ParentProcessId = "ParentProcessId",
    ParentImage = "ParentImage",
    ParentCommandLine = "ParentCommandLine",

    NewProcessId = "NewProcessId",
    NewProcessName = "NewProcessName",
    ParentProcessName = "ParentProcessName",
    SubjectUserSid = "SubjectUserSid",
    SubjectUserName = "SubjectUserName",
    SubjectDomainName = "SubjectDomainName",
    SubjectLogonId = "SubjectLogonId",
    TargetUserSid = "TargetUserSid",
    TargetUserName = "TargetUserName",
    TargetDomainName = "TargetDomainName",
    TargetLogonId = "TargetLogonId",
    MandatoryLabel = "MandatoryLabel",
    ProcessName = "ProcessName",
    Status = "Status",
    SubStatus = "SubStatus",
    LogonType = "LogonType",
    WorkstationName = "WorkstationName",
    IpAddress = "IpAddress",
    IpPort = "IpPort",
    AuthenticationPackageName = "AuthenticationPackageName",
    TargetServerName = "TargetServerName",

    Protocol = "Protocol",
    Initiated = "Initiated",
    SourceIp = "SourceIp",
    SourceHostname = "SourceHostname",
    SourcePort = "SourcePort",
    DestinationIp = "DestinationIp",
    DestinationHostname = "DestinationHostname",
    DestinationPort = "DestinationPort",
    Application = "Application",
    Direction = "Direction",
    SourceAddress = "SourceAddress",
    DestAddress = "DestAddress",
    DestPort = "DestPort",

    TargetFilename = "TargetFilename",
    ImageLoaded = "ImageLoaded",
    Signed = "Signed",
    EventType = "EventType",
    TargetObject = "TargetObject",
    Details = "Details",
    NewName = "NewName",

    ScriptBlockText = "ScriptBlockText",
    ScriptBlockId = "ScriptBlockId",
    MessageNumber = "MessageNumber",
    MessageTotal = "MessageTotal",
    Path = "Path",

    Param1 = "param1",
    Param2 = "param2",
    Param3 = "param3",
    Param4 = "param4",
    Param5 = "param5",
    Param6 = "param6",
    Param7 = "param7",
    Param8 = "param8",
    Param9 = "param9",
    Param10 = "param10",
    Param11 = "param11",

    // Defender's tables.
    Timestamp = "Timestamp",
    TimeGenerated = "TimeGenerated",
    DeviceName = "DeviceName",
    ActionType = "ActionType",
    FileName = "FileName",
    FolderPath = "FolderPath",
    ProcessCommandLine = "ProcessCommandLine",
    ProcessIntegrityLevel = "ProcessIntegrityLevel",
    AccountName = "AccountName",
    AccountDomain = "AccountDomain",
    AccountSid = "AccountSid",
    Md5 = "MD5",
    Sha1 = "SHA1",
    Sha256 = "SHA256",
    InitiatingProcessId = "InitiatingProcessId",
    InitiatingProcessFileName = "InitiatingProcessFileName",
    InitiatingProcessFolderPath = "InitiatingProcessFolderPath",
    InitiatingProcessCommandLine = "InitiatingProcessCommandLine",
    InitiatingProcessAccountName = "InitiatingProcessAccountName",
    InitiatingProcessAccountDomain = "InitiatingProcessAccountDomain",
    InitiatingProcessAccountSid = "InitiatingProcessAccountSid",
    LocalIp = "LocalIP",
    LocalPort = "LocalPort",
    RemoteIp = "RemoteIP",
    RemotePort = "RemotePort",
    RemoteUrl = "RemoteUrl",

    // Elastic's common schema, where its modules moved event data there.
    EcsModule = "event.module",
    EcsDataset = "data_stream.dataset",
    EcsCategory = "event.category",
    EcsAction = "event.action",
    EcsEventCode = "event.code",
    EcsProvider = "event.provider",
    EcsHost = "host.name",
    EcsPid = "process.pid",
    EcsImage = "process.executable",
    EcsCommandLine = "process.command_line",
    EcsGuid = "process.entity_id",
    EcsProcessName = "process.name",
    EcsParentPid = "process.parent.pid",
    EcsParentImage = "process.parent.executable",
    EcsParentCommandLine = "process.parent.command_line",
    EcsParentGuid = "process.parent.entity_id",
    EcsSourceIp = "source.ip",
    EcsSourcePort = "source.port",
    EcsSourceName = "source.domain",
    EcsDestinationIp = "destination.ip",
    EcsDestinationPort = "destination.port",
    EcsDestinationName = "destination.domain",
    EcsTransport = "network.transport",
    EcsDirection = "network.direction",
    EcsUserName = "user.name",
    EcsUserDomain = "user.domain",
    EcsUserId = "user.id",
    EcsFilePath = "file.path",
    EcsRegistryPath = "registry.path",
    EcsRegistryData = "registry.data.strings",
    EcsScriptText = "powershell.file.script_block_text",
    EcsScriptId = "powershell.file.script_block_id",
    EcsSequence = "powershell.sequence",
    EcsTotal = "powershell.total",
}

const COUNT: usize = Field::ALL.len();
/// No place: a record has fewer values than that.
const NONE: u8 = u8::MAX;

/// The values of one record.
#[derive(Clone, Debug)]
pub(super) struct Fields<'a> {
    place: [u8; COUNT],
    values: Vec<Value<'a>>,
    /// Event data without names, in the order of the template.
    pub(super) inserts: Vec<Cow<'a, str>>,
    /// Parts of the record that stand in it as JSON or XML, and what they are read as.
    pub(super) parts: Vec<(Node, Cow<'a, str>)>,
}

impl Default for Fields<'_> {
    fn default() -> Self {
        Self {
            place: [NONE; COUNT],
            values: Vec::with_capacity(32),
            inserts: Vec::new(),
            parts: Vec::new(),
        }
    }
}

impl<'a> Fields<'a> {
    /// As the record says it; a name that comes twice keeps what it said first, unless `over`: event data stands above
    /// what collectors add.
    pub(super) fn put(&mut self, field: Field, value: Value<'a>, over: bool) {
        let place = &mut self.place[field as usize];
        if *place == NONE {
            // There are fewer fields than a `u8` counts.
            *place = u8::try_from(self.values.len()).unwrap_or(NONE);
            self.values.push(value);
        } else if over {
            self.values[usize::from(*place)] = value;
        }
    }

    /// Takes a text out.
    pub(super) fn take(&mut self, field: Field) -> Option<Cow<'a, str>> {
        let place = std::mem::replace(&mut self.place[field as usize], NONE);
        match self.values.get_mut(usize::from(place))? {
            Value::Text(text) => Some(std::mem::take(text)),
            _ => None,
        }
    }

    /// Takes in what a part of the record says; `over` as for one value.
    pub(super) fn join(&mut self, part: Fields<'_>, over: bool) {
        let mut values: Vec<_> = part.values.into_iter().map(Some).collect();
        for (field, _) in Field::ALL {
            let value = values.get_mut(usize::from(part.place[*field as usize]));
            if let Some(value) = value.and_then(Option::take) {
                self.put(*field, value.into_owned(), over);
            }
        }
        let inserts = part.inserts.into_iter();
        self.inserts
            .extend(inserts.map(|insert| Cow::Owned(insert.into_owned())));
    }

    pub(super) fn get(&self, field: Field) -> Option<&Value<'a>> {
        self.values.get(usize::from(self.place[field as usize]))
    }

    pub(super) fn has(&self, field: Field) -> bool {
        self.place[field as usize] != NONE
    }

    /// Text that says something: `-` and nothing at all do not.
    pub(super) fn text(&self, field: Field) -> Option<&str> {
        match self.get(field)? {
            Value::Text(text) => said(text),
            _ => None,
        }
    }

    /// The first of these that says something.
    pub(super) fn first(&self, fields: &[Field]) -> Option<&str> {
        fields.iter().find_map(|field| self.text(*field))
    }

    /// A number, decimal or `0x…`, also where it is written as text.
    pub(super) fn number(&self, field: Field) -> Option<u64> {
        match self.get(field)? {
            Value::Number(number) => u64::try_from(*number).ok(),
            Value::Text(text) => number(text),
            Value::Fraction(_) | Value::Flag(_) => None,
        }
    }

    pub(super) fn small<T: TryFrom<u64>>(&self, field: Field) -> Option<T> {
        self.number(field).and_then(|number| T::try_from(number).ok())
    }

    pub(super) fn flag(&self, field: Field) -> Option<bool> {
        match self.get(field)? {
            Value::Flag(flag) => Some(*flag),
            Value::Text(text) if text.eq_ignore_ascii_case("true") => Some(true),
            Value::Text(text) if text.eq_ignore_ascii_case("false") => Some(false),
            _ => None,
        }
    }
}

/// What a text says, if it says something.
pub(super) fn said(text: &str) -> Option<&str> {
    (!matches!(text.trim_ascii(), "" | "-")).then_some(text)
}

/// Decimal, or hexadecimal after `0x`.
pub(super) fn number(text: &str) -> Option<u64> {
    let text = text.trim();
    match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}
