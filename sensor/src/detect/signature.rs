//! The list of signatures. Ids are stable for ever: a rule that is retired takes its id with it.

/// What tells one alert from another.
#[derive(Debug, PartialEq, Eq)]
pub struct Signature {
    /// Its number.
    pub id: u32,
    /// Its revision.
    pub rev: u32,
    /// What was detected, in a few words.
    pub text: &'static str,
    /// Its name in Zeek's `notice.log`.
    pub note: &'static str,
    /// The class of detections that it belongs to.
    pub category: &'static str,
    /// The ATT&CK tactic, by number and name.
    pub tactic: (&'static str, &'static str),
    /// The ATT&CK techniques, by number and name.
    pub techniques: &'static [(&'static str, &'static str)],
}

pub(crate) const LATERAL_MOVEMENT: (&str, &str) = ("TA0008", "Lateral_Movement");
const DISCOVERY: (&str, &str) = ("TA0007", "Discovery");
pub(crate) const EXECUTION: (&str, &str) = ("TA0002", "Execution");
const PERSISTENCE: (&str, &str) = ("TA0003", "Persistence");
const CREDENTIAL_ACCESS: (&str, &str) = ("TA0006", "Credential_Access");

pub(crate) const DCOM: &[(&str, &str)] = &[("T1021.003", "Distributed_Component_Object_Model")];

macro_rules! signatures {
    ($(#[doc = $about:literal])+ $list:ident; $($name:ident = $id:literal, rev $rev:literal, $note:literal, $tactic:ident, $techniques:expr, $category:literal, $text:literal;)+) => {
        $(
            #[doc = $text]
            pub(crate) static $name: Signature = Signature {
                id: $id,
                rev: $rev,
                text: $text,
                note: $note,
                category: $category,
                tactic: $tactic,
                techniques: $techniques,
            };
        )+
        $(#[doc = $about])+
        pub static $list: &[&Signature] = &[$(&$name),+];
    };
}

pub(crate) use signatures;

signatures! {
    /// All signatures of detections on the wire, by number.
    SIGNATURES;
    REMOTE_ACTIVATION = 1_021_301, rev 2, "DCOM::Remote_Activation", LATERAL_MOVEMENT, DCOM, "Lateral Movement",
        "DCOM remote activation of a class used for lateral movement";
    REMOTE_ACTIVATION_ATTEMPT = 1_021_302, rev 2, "DCOM::Remote_Activation_Attempt", LATERAL_MOVEMENT, DCOM, "Lateral Movement",
        "DCOM remote activation attempt on a class used for lateral movement";
    EXECUTION_CALL = 1_021_303, rev 1, "DCOM::Execution", LATERAL_MOVEMENT, DCOM, "Lateral Movement",
        "Execution through a DCOM object";
    EXECUTION_ATTEMPT = 1_021_304, rev 1, "DCOM::Execution_Attempt", LATERAL_MOVEMENT, DCOM, "Lateral Movement",
        "Execution attempt through a DCOM object";
    ACTIVATION_REFUSED = 1_021_305, rev 2, "DCOM::Activation_Refused", LATERAL_MOVEMENT, DCOM, "Lateral Movement",
        "DCOM remote activation refused or unanswered, class not seen";
    UNANSWERED_CONNECTION = 1_021_306, rev 1, "DCOM::Unanswered_Connection", LATERAL_MOVEMENT, DCOM, "Lateral Movement",
        "Connection to the DCOM activator's port unanswered";
    SEALED_ACTIVATION = 1_021_307, rev 1, "DCOM::Sealed_Activation", LATERAL_MOVEMENT, DCOM, "Lateral Movement",
        "Sealed DCOM remote activation with the shape of a class used for lateral movement";
    COERCION = 1_021_308, rev 1, "DCOM::Coercion", CREDENTIAL_ACCESS, &[("T1187", "Forced_Authentication")], "Credential Access",
        "Authentication coerced through a DCOM object";
    NO_CALL = 1_021_310, rev 1, "DCOM::Activation_Without_Call", LATERAL_MOVEMENT,
        &[("T1021.003", "Distributed_Component_Object_Model"), ("T1574.001", "DLL")], "Lateral Movement",
        "DCOM remote activation with no call after it";
    CROSS_SESSION = 1_021_311, rev 1, "DCOM::Cross_Session_Activation", LATERAL_MOVEMENT, DCOM, "Lateral Movement",
        "DCOM remote activation in a session of the caller's choice";
    STORAGE_ACTIVATION = 1_021_312, rev 1, "DCOM::Storage_Activation", LATERAL_MOVEMENT, DCOM, "Lateral Movement",
        "DCOM remote activation from a file or storage of the caller's";
    TRAPPED_OBJECT = 1_021_313, rev 1, "DCOM::Trapped_Object", LATERAL_MOVEMENT, DCOM, "Lateral Movement",
        "Object made out of type information over the network";
    REVERSE_CONNECTION = 1_021_314, rev 1, "DCOM::Reverse_Connection", LATERAL_MOVEMENT, DCOM, "Lateral Movement",
        "DCOM connection from the target back to the activator";
    BESIDE_FILES = 1_021_315, rev 1, "DCOM::Beside_Share_Or_Registry", LATERAL_MOVEMENT,
        &[("T1021.003", "Distributed_Component_Object_Model"), ("T1021.002", "SMB/Windows_Admin_Shares")], "Lateral Movement",
        "DCOM remote activation beside remote registry or administrative shares";
    MANY_TARGETS = 1_021_320, rev 1, "DCOM::Many_Targets", LATERAL_MOVEMENT, DCOM, "Lateral Movement",
        "One source activates DCOM classes on many targets";
    MANY_CLASSES = 1_021_321, rev 1, "DCOM::Many_Classes", LATERAL_MOVEMENT, DCOM, "Lateral Movement",
        "One source activates many DCOM classes on one target";
    RESOLVER_SWEEP = 1_021_330, rev 1, "DCOM::Resolver_Sweep", DISCOVERY, &[("T1046", "Network_Service_Discovery")], "Discovery",
        "OXID resolvers of many targets asked for their names";
    MAPPER_DUMP = 1_021_331, rev 1, "DCOM::Mapper_Dump", DISCOVERY, &[("T1046", "Network_Service_Discovery")], "Discovery",
        "Endpoint mapper asked for all it knows";
    WEAK_LEVEL = 1_021_340, rev 1, "DCOM::Weak_Activation", LATERAL_MOVEMENT, DCOM, "Policy",
        "DCOM remote activation below packet integrity";
    ANONYMOUS = 1_021_341, rev 1, "DCOM::Anonymous_Activation", LATERAL_MOVEMENT, DCOM, "Policy",
        "Anonymous DCOM remote activation";
    WMI_PROCESS = 1_021_350, rev 1, "DCOM::WMI_Process_Creation", EXECUTION,
        &[("T1047", "Windows_Management_Instrumentation")], "Execution",
        "Process created through WMI over DCOM";
    WMI_SUBSCRIPTION = 1_021_351, rev 1, "DCOM::WMI_Event_Subscription", PERSISTENCE,
        &[("T1546.003", "Windows_Management_Instrumentation_Event_Subscription")], "Persistence",
        "Permanent WMI event subscription over DCOM";
    WMI_SERVICE = 1_021_352, rev 1, "DCOM::WMI_Service_Creation", PERSISTENCE,
        &[("T1543.003", "Windows_Service"), ("T1047", "Windows_Management_Instrumentation")], "Persistence",
        "Service created or given another program through WMI over DCOM";
    FIRST_ACTIVATION = 1_021_360, rev 1, "DCOM::First_Activation", LATERAL_MOVEMENT, DCOM, "Lateral Movement",
        "First time this source activates this class on this target";
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::detect::HOST_SIGNATURES;

    #[test]
    fn numbers_and_names_are_unique_and_in_order() {
        let all: Vec<&Signature> = SIGNATURES.iter().chain(HOST_SIGNATURES).copied().collect();
        let ids: BTreeSet<_> = all.iter().map(|signature| signature.id).collect();
        assert_eq!(ids.len(), all.len());
        assert!(
            [SIGNATURES, HOST_SIGNATURES]
                .iter()
                .all(|list| list.is_sorted_by(|a, b| a.id < b.id))
        );
        let notes: BTreeSet<_> = all.iter().map(|signature| signature.note).collect();
        assert_eq!(notes.len(), all.len());
        assert!(notes.iter().all(|note| note.starts_with("DCOM::")));
    }
}
