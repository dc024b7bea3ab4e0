//! The list of signatures. Ids are stable for ever: a rule that is retired takes its id with it.

use crate::attack::{
    ADMIN_SHARES, DCOM, FORCED_AUTHENTICATION, NETWORK_SERVICES, PLANTED_LIBRARY, Technique, WINDOWS_SERVICE, WMI,
    WMI_EVENTS,
};

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
    /// The ATT&CK techniques, the one that tells it from others first.
    pub techniques: &'static [&'static Technique],
}

macro_rules! signatures {
    ($(#[doc = $about:literal])+ $list:ident; $($name:ident = $id:literal, rev $rev:literal, $note:literal, [$($technique:ident),+], $category:literal, $text:literal;)+) => {
        $(
            #[doc = $text]
            pub(crate) static $name: Signature = Signature {
                id: $id,
                rev: $rev,
                text: $text,
                note: $note,
                category: $category,
                techniques: &[$(&$technique),+],
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
    REMOTE_ACTIVATION = 1_021_301, rev 2, "DCOM::Remote_Activation", [DCOM], "Lateral Movement",
        "DCOM remote activation of a class used for lateral movement";
    REMOTE_ACTIVATION_ATTEMPT = 1_021_302, rev 2, "DCOM::Remote_Activation_Attempt", [DCOM], "Lateral Movement",
        "DCOM remote activation attempt on a class used for lateral movement";
    EXECUTION_CALL = 1_021_303, rev 1, "DCOM::Execution", [DCOM], "Lateral Movement",
        "Execution through a DCOM object";
    EXECUTION_ATTEMPT = 1_021_304, rev 1, "DCOM::Execution_Attempt", [DCOM], "Lateral Movement",
        "Execution attempt through a DCOM object";
    ACTIVATION_REFUSED = 1_021_305, rev 2, "DCOM::Activation_Refused", [DCOM], "Lateral Movement",
        "DCOM remote activation refused or unanswered, class not seen";
    UNANSWERED_CONNECTION = 1_021_306, rev 1, "DCOM::Unanswered_Connection", [DCOM], "Lateral Movement",
        "Connection to the DCOM activator's port unanswered";
    SEALED_ACTIVATION = 1_021_307, rev 1, "DCOM::Sealed_Activation", [DCOM], "Lateral Movement",
        "Sealed DCOM remote activation with the shape of a class used for lateral movement";
    COERCION = 1_021_308, rev 1, "DCOM::Coercion", [FORCED_AUTHENTICATION], "Credential Access",
        "Authentication coerced through a DCOM object";
    NO_CALL = 1_021_310, rev 1, "DCOM::Activation_Without_Call", [DCOM, PLANTED_LIBRARY], "Lateral Movement",
        "DCOM remote activation with no call after it";
    CROSS_SESSION = 1_021_311, rev 1, "DCOM::Cross_Session_Activation", [DCOM], "Lateral Movement",
        "DCOM remote activation in a session of the caller's choice";
    STORAGE_ACTIVATION = 1_021_312, rev 1, "DCOM::Storage_Activation", [DCOM], "Lateral Movement",
        "DCOM remote activation from a file or storage of the caller's";
    TRAPPED_OBJECT = 1_021_313, rev 1, "DCOM::Trapped_Object", [DCOM], "Lateral Movement",
        "Object made out of type information over the network";
    REVERSE_CONNECTION = 1_021_314, rev 1, "DCOM::Reverse_Connection", [DCOM], "Lateral Movement",
        "DCOM connection from the target back to the activator";
    BESIDE_FILES = 1_021_315, rev 1, "DCOM::Beside_Share_Or_Registry", [DCOM, ADMIN_SHARES], "Lateral Movement",
        "DCOM remote activation beside remote registry or administrative shares";
    MANY_TARGETS = 1_021_320, rev 1, "DCOM::Many_Targets", [DCOM], "Lateral Movement",
        "One source activates DCOM classes on many targets";
    MANY_CLASSES = 1_021_321, rev 1, "DCOM::Many_Classes", [DCOM], "Lateral Movement",
        "One source activates many DCOM classes on one target";
    RESOLVER_SWEEP = 1_021_330, rev 1, "DCOM::Resolver_Sweep", [NETWORK_SERVICES], "Discovery",
        "OXID resolvers of many targets asked for their names";
    MAPPER_DUMP = 1_021_331, rev 1, "DCOM::Mapper_Dump", [NETWORK_SERVICES], "Discovery",
        "Endpoint mapper asked for all it knows";
    WEAK_LEVEL = 1_021_340, rev 1, "DCOM::Weak_Activation", [DCOM], "Policy",
        "DCOM remote activation below packet integrity";
    ANONYMOUS = 1_021_341, rev 1, "DCOM::Anonymous_Activation", [DCOM], "Policy",
        "Anonymous DCOM remote activation";
    WMI_PROCESS = 1_021_350, rev 1, "DCOM::WMI_Process_Creation", [WMI], "Execution",
        "Process created through WMI over DCOM";
    WMI_SUBSCRIPTION = 1_021_351, rev 1, "DCOM::WMI_Event_Subscription", [WMI_EVENTS], "Persistence",
        "Permanent WMI event subscription over DCOM";
    WMI_SERVICE = 1_021_352, rev 1, "DCOM::WMI_Service_Creation", [WINDOWS_SERVICE, WMI], "Persistence",
        "Service created or given another program through WMI over DCOM";
    FIRST_ACTIVATION = 1_021_360, rev 1, "DCOM::First_Activation", [DCOM], "Lateral Movement",
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
