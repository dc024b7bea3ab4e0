//! What signatures name of MITRE ATT&CK: techniques, each with the tactic that it serves here.

/// A tactic.
#[derive(Debug, PartialEq, Eq)]
pub struct Tactic {
    /// Its number.
    pub id: &'static str,
    /// Its name, without spaces.
    pub name: &'static str,
}

/// A technique or sub-technique.
#[derive(Debug, PartialEq, Eq)]
pub struct Technique {
    /// Its number.
    pub id: &'static str,
    /// Its name, without spaces.
    pub name: &'static str,
    /// Of a sub-technique, the name of the technique that it is one of.
    pub parent: Option<&'static str>,
    /// One of those under which ATT&CK has it.
    pub tactic: &'static Tactic,
}

macro_rules! tactics {
    ($($name:ident = $id:literal, $text:literal;)+) => {
        $(static $name: Tactic = Tactic { id: $id, name: $text };)+
    };
}

macro_rules! techniques {
    ($($name:ident = $id:literal, $tactic:ident, $text:literal, $parent:expr;)+) => {
        $(pub(crate) static $name: Technique = Technique {
            id: $id,
            name: $text,
            parent: $parent,
            tactic: &$tactic,
        };)+
        static TECHNIQUES: &[&Technique] = &[$(&$name),+];
    };
}

tactics! {
    EXECUTION = "TA0002", "Execution";
    PERSISTENCE = "TA0003", "Persistence";
    CREDENTIAL_ACCESS = "TA0006", "Credential_Access";
    DISCOVERY = "TA0007", "Discovery";
    LATERAL_MOVEMENT = "TA0008", "Lateral_Movement";
}

techniques! {
    ADMIN_SHARES = "T1021.002", LATERAL_MOVEMENT, "SMB/Windows_Admin_Shares", Some("Remote Services");
    DCOM = "T1021.003", LATERAL_MOVEMENT, "Distributed_Component_Object_Model", Some("Remote Services");
    NETWORK_SERVICES = "T1046", DISCOVERY, "Network_Service_Discovery", None;
    WMI = "T1047", EXECUTION, "Windows_Management_Instrumentation", None;
    FORCED_AUTHENTICATION = "T1187", CREDENTIAL_ACCESS, "Forced_Authentication", None;
    WINDOWS_SERVICE = "T1543.003", PERSISTENCE, "Windows_Service", Some("Create or Modify System Process");
    WMI_EVENTS = "T1546.003", PERSISTENCE, "Windows_Management_Instrumentation_Event_Subscription", Some("Event Triggered Execution");
    PLANTED_LIBRARY = "T1574.001", PERSISTENCE, "DLL", Some("Hijack Execution Flow");
}

/// The technique of this number, where a signature names it.
pub(crate) fn technique(id: &str) -> Option<&'static Technique> {
    TECHNIQUES.iter().copied().find(|technique| technique.id == id)
}
