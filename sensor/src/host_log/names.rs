//! Where each exporter writes what: the paths of names that lead to a [`F`].

use std::sync::LazyLock;

use super::fields::Field as F;
use crate::hash::HashMap;

/// A place in a record's tree of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Node(u16);

/// The record itself: flat names, and those of ECS.
pub(super) const ROOT: Node = Node(0);
/// Event data: names as the event's template has them.
pub(super) const DATA: Node = Node(1);
/// The part of an event that is the same for all.
pub(super) const SYSTEM: Node = Node(2);
/// Event data as Wazuh writes it: the first letter small, what a text escapes escaped once more (wazuh/wazuh #4509).
pub(super) const WAZUH: Node = Node(3);
/// Event data by the short names that Hayabusa gives it, the same for events of every kind.
pub(super) const HAYABUSA: Node = Node(4);
const FIRST_FREE: u16 = 5;

/// What a name means where it stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Step {
    /// A plain value there is this.
    pub(super) own: Option<F>,
    /// An object there is read on as this.
    pub(super) enter: Option<Node>,
    /// An array there holds event data, in order, or as pairs of name and text.
    pub(super) list: bool,
}

impl Step {
    /// What a text is read as that stands there for an object, as in a column of a table: event data, or the part that is the
    /// same for all.
    pub(super) fn part(self) -> Option<Node> {
        self.enter
            .filter(|node| self.own.is_none() && matches!(*node, DATA | SYSTEM | HAYABUSA))
    }
}

/// Names of event data, beside those that `Field` spells.
const DATA_NAMES: &[(&str, F)] = &[
    // 5156 has it so.
    ("ProcessID", F::ProcessId),
];

/// Hayabusa's short names, by the fields that each kind of event is asked for after its own.
const HAYABUSA_NAMES: &[(&str, F)] = &[
    ("Cmdline", F::CommandLine),
    ("CmdLine", F::CommandLine),
    ("Cmd", F::CommandLine),
    ("Proc", F::EcsImage),
    ("PID", F::EcsPid),
    ("PGUID", F::EcsGuid),
    ("ParentCmdline", F::EcsParentCommandLine),
    ("ParentCmd", F::EcsParentCommandLine),
    ("ParentPID", F::EcsParentPid),
    ("ParentPGUID", F::EcsParentGuid),
    ("User", F::User),
    ("LID", F::LogonId),
    ("Hashes", F::Hashes),
    ("Initiated", F::Initiated),
    ("Proto", F::Protocol),
    ("Protocol", F::Protocol),
    ("SrcIP", F::EcsSourceIp),
    ("SrcPort", F::EcsSourcePort),
    ("SrcHost", F::EcsSourceName),
    ("TgtIP", F::EcsDestinationIp),
    ("TgtPort", F::EcsDestinationPort),
    ("TgtHost", F::EcsDestinationName),
    ("Path", F::EcsFilePath),
    // Of a library that was loaded; the process is `Proc`.
    ("Image", F::EcsFilePath),
    ("Signed", F::Signed),
    ("EventType", F::EventType),
    ("TgtObj", F::EcsRegistryPath),
    ("RegKey", F::EcsRegistryPath),
    ("OldName", F::EcsRegistryPath),
    ("NewName", F::NewName),
    ("Details", F::Details),
    ("Type", F::LogonType),
    ("TgtUser", F::TargetUserName),
    ("SrcUser", F::SubjectUserName),
    ("SrcComp", F::WorkstationName),
    ("AuthPkg", F::AuthenticationPackageName),
    ("ScriptBlock", F::EcsScriptText),
];

/// Everything else, as the path of names from the record on. A `*` is event data.
const PATHS: &[(&str, F)] = &[
    // The event as Windows writes it, as XML or as JSON made of that; Velociraptor, evtx_dump, Get-WinEvent.
    ("System.EventID", F::EventId),
    ("System.EventID.Value", F::EventId),
    ("System.EventID.#text", F::EventId),
    ("System.Provider", F::Provider),
    ("System.Provider.Name", F::Provider),
    ("System.Provider.@Name", F::Provider),
    ("System.Provider.#attributes.Name", F::Provider),
    ("System.Channel", F::Channel),
    ("System.Computer", F::Computer),
    ("System.EventRecordID", F::Record),
    ("System.TimeCreated.SystemTime", F::SystemTime),
    ("System.TimeCreated.@SystemTime", F::SystemTime),
    ("System.TimeCreated.#attributes.SystemTime", F::SystemTime),
    ("System.Security.UserID", F::UserSid),
    ("System.Security.@UserID", F::UserSid),
    ("System.Security.#attributes.UserID", F::UserSid),
    // Attributes beside their elements: evtx_dump where it is asked for that, Chainsaw.
    ("System.Provider_attributes.Name", F::Provider),
    ("System.TimeCreated_attributes.SystemTime", F::SystemTime),
    ("System.Security_attributes.UserID", F::UserSid),
    // Wazuh.
    ("data.win.system.eventID", F::EventId),
    ("data.win.system.providerName", F::Provider),
    ("data.win.system.channel", F::Channel),
    ("data.win.system.computer", F::Computer),
    ("data.win.system.eventRecordID", F::Record),
    ("data.win.system.systemTime", F::SystemTime),
    // Winlogbeat.
    ("winlog.event_id", F::EventId),
    ("winlog.provider_name", F::Provider),
    ("winlog.channel", F::Channel),
    ("winlog.computer_name", F::Computer),
    ("winlog.record_id", F::Record),
    ("winlog.user.identifier", F::UserSid),
    ("winlog.api", F::WinlogApi),
    ("event.original", F::Raw),
    ("message", F::Message),
    ("RenderingInfo.Message", F::Message),
    ("RenderedDescription", F::Message),
    ("host.hostname", F::EcsHost),
    ("dll.path", F::EcsFilePath),
    ("registry.data.strings", F::EcsRegistryData),
    // What Splunk's add-on for Windows takes out of an event's text.
    ("New_Process_ID", F::NewProcessId),
    ("New_Process_Name", F::NewProcessName),
    ("Creator_Process_ID", F::EcsParentPid),
    ("Creator_Process_Name", F::ParentProcessName),
    ("Process_Command_Line", F::ProcessCommandLine),
    ("Logon_Type", F::LogonType),
    ("Workstation_Name", F::WorkstationName),
    ("Source_Network_Address", F::IpAddress),
    // NXLog, Fluent Bit, EvtxECmd, Splunk, Sumo Logic: one row.
    ("EventCode", F::EventId),
    ("EventId", F::EventId),
    ("event_id", F::EventId),
    ("SourceName", F::Provider),
    ("ProviderName", F::Provider),
    ("provider_name", F::Provider),
    ("Provider.Name", F::Provider),
    ("EventChannel", F::Channel),
    ("log_name", F::Channel),
    ("EventLog", F::Channel),
    ("LogName", F::Channel),
    ("Hostname", F::Computer),
    ("ComputerName", F::Computer),
    ("MachineName", F::Computer),
    ("computer_name", F::Computer),
    ("_sourceHost", F::Collector),
    ("RecordNumber", F::Record),
    ("RecordId", F::Record),
    ("EventRecordId", F::Record),
    ("record_number", F::Record),
    ("TimeCreated", F::LocalTime),
    ("TimeCreated.SystemTime", F::SystemTime),
    ("_messagetime", F::Indexed),
    ("_messageTime", F::Indexed),
    ("_receipttime", F::Received),
    ("UserId", F::UserSid),
    ("Sid", F::UserSid),
    ("Payload", F::Raw),
    ("EventXML", F::Raw),
    ("xml", F::Raw),
    // Plaso.
    ("xml_string", F::Raw),
    ("log", F::Raw),
    ("$table", F::Table),
    // Defender's streaming API.
    ("category", F::Table),
    // A device's timeline in Defender's portal, which has blanks in the other names.
    ("Event Time", F::Timestamp),
    ("Computer Name", F::DeviceName),
    ("Sha1", F::Sha1),
    ("Sha256", F::Sha256),
    ("_source_name", F::Provider),
    // Event Viewer's own tables, beside English in German and in Japanese.
    ("Datum und Uhrzeit", F::RegionTime),
    ("Quelle", F::EventSource),
    ("Ereignis-ID", F::EventId),
    ("日付と時刻", F::RegionTime),
    ("ソース", F::EventSource),
    ("イベント ID", F::EventId),
    // Elastic Defend.
    ("event.dataset", F::EcsDataset),
    ("process.Ext.authentication_id", F::LogonId),
    ("process.Ext.token.integrity_level_name", F::IntegrityLevel),
    ("process.hash.md5", F::Md5),
    ("process.hash.sha1", F::Sha1),
    ("process.hash.sha256", F::Sha256),
];

/// Objects that stand around a record, or around its parts: what is in them is read as if they were not there.
const WRAPPERS: &[(&str, Node)] = &[
    ("Event", ROOT),
    ("_source", ROOT),
    // Elasticsearch's answer to who asks for fields.
    ("fields", ROOT),
    ("result", ROOT),
    ("map", ROOT),
    ("properties", ROOT),
    ("System", SYSTEM),
    ("EventData", DATA),
    ("UserData", DATA),
    ("event_data", DATA),
    ("winlog.event_data", DATA),
    ("winlog.user_data", DATA),
    ("RenderedEventData", DATA),
    ("data.win.eventdata", WAZUH),
    // Chainsaw.
    ("document.data", ROOT),
    ("Details", HAYABUSA),
    ("ExtraFieldInfo", DATA),
    ("AllFieldInfo", DATA),
];

struct Tree {
    /// By node.
    steps: Vec<HashMap<&'static str, Step>>,
    next: u16,
}

impl Tree {
    fn step(&mut self, node: Node, name: &'static str) -> &mut Step {
        let index = usize::from(node.0);
        if index >= self.steps.len() {
            self.steps.resize_with(index + 1, HashMap::default);
        }
        self.steps[index].entry(name).or_default()
    }

    /// The last step of a path.
    fn path(&mut self, path: &'static str) -> &mut Step {
        // `@timestamp` and its like have no dots, and `winlog.event_data` leads where it is told to.
        let mut node = ROOT;
        let mut rest = path;
        while let Some((name, after)) = rest.split_once('.') {
            let fresh = Node(self.next);
            let enter = *self.step(node, name).enter.get_or_insert(fresh);
            self.next += u16::from(enter == fresh);
            (node, rest) = (enter, after);
        }
        self.step(node, rest)
    }
}

static TREE: LazyLock<Tree> = LazyLock::new(|| {
    let mut tree = Tree {
        steps: Vec::new(),
        next: FIRST_FREE,
    };
    for (path, node) in WRAPPERS {
        tree.path(path).enter = Some(*node);
    }
    for (path, field) in PATHS {
        tree.path(path).own.get_or_insert(*field);
    }
    for (field, name) in F::ALL {
        tree.path(name).own.get_or_insert(*field);
        tree.step(DATA, name).own = Some(*field);
    }
    for (name, field) in DATA_NAMES {
        tree.step(DATA, name).own = Some(*field);
    }
    for (name, field) in HAYABUSA_NAMES {
        tree.step(HAYABUSA, name).own = Some(*field);
    }
    for name in ["StringInserts", "EventData"] {
        tree.step(ROOT, name).list = true;
        tree.step(DATA, name).list = true;
    }
    // In the record itself it is the event's binary data, which Fluent Bit's `in_winlog` and Sentinel write beside the other.
    tree.step(DATA, "Data").list = true;
    // `Get-WinEvent`.
    tree.step(ROOT, "Properties").list = true;
    tree
});

/// What this name means here.
pub(super) fn step(node: Node, name: &str) -> Option<Step> {
    if node == WAZUH {
        let step = |name: &str| step(DATA, name).filter(|step| step.own.is_some());
        let first = name.get(..1)?.to_ascii_uppercase();
        return step(name).or_else(|| step(&(first + &name[1..])));
    }
    TREE.steps.get(usize::from(node.0))?.get(name).copied()
}

/// Names joined with dots that lead somewhere are not longer.
const DOTS: usize = 8;

/// The same for names that others joined with dots: `winlog.event_data.Image`.
pub(super) fn dotted(mut node: Node, mut name: &str) -> Option<Step> {
    for _ in 0..DOTS {
        if let Some(step) = step(node, name) {
            return Some(step);
        }
        let (first, rest) = name.split_once('.')?;
        node = step(node, first)?.enter?;
        name = rest;
    }
    None
}
