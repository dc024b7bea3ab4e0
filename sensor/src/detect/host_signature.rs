//! The signatures of what `dcom-sensor hunt` finds in host logs. Their names are those that rules for such logs have.

use super::signature::{Signature, signatures};
use crate::attack::{DCOM, WMI};

signatures! {
    /// All signatures of detections in host logs, by number. Each has a section in docs/HUNT.md.
    HOST_SIGNATURES;
    SUSPICIOUS_CHILD = 1_021_401, rev 1, "DCOM::COM_SuspiciousChild", [DCOM], "Lateral Movement",
        "Shell, script host or loader started by MMC or an Office application";
    MMC20 = 1_021_402, rev 1, "DCOM::MMC20_DCOM", [DCOM], "Lateral Movement",
        "Shell started by mmc.exe";
    CONFIG_TOOL = 1_021_403, rev 1, "DCOM::DCOM_ConfigTool", [DCOM], "Lateral Movement",
        "DCOM configuration tool started";
    COMMAND_LINE_REF = 1_021_404, rev 1, "DCOM::DCOM_CommandLineRef", [DCOM], "Lateral Movement",
        "Command line that names DCOM and something to execute";
    SERVER_CHILD = 1_021_405, rev 1, "DCOM::COM_ServerChild", [DCOM], "Lateral Movement",
        "Process started by a COM server that attackers use";
    DCOM_LAUNCH_CHILD = 1_021_406, rev 1, "DCOM::DcomLaunch_Child", [DCOM], "Lateral Movement",
        "Shell, script host or loader started by the service that launches COM servers";
    EMBEDDING_START = 1_021_407, rev 1, "DCOM::COM_EmbeddingStart", [DCOM], "Lateral Movement",
        "COM server that attackers use was activated";
    WMI_CHILD = 1_021_408, rev 1, "DCOM::WMI_Child", [WMI], "Execution",
        "Process started by the WMI provider host";
    DENIED = 1_021_409, rev 1, "DCOM::DCOM_Denied", [DCOM], "Lateral Movement",
        "COM denied a launch or activation to another computer";
    UNREACHABLE = 1_021_410, rev 1, "DCOM::DCOM_Unreachable", [DCOM], "Lateral Movement",
        "COM could not reach the computer on which a class was to be activated";
    WEAK_LEVEL_LOGGED = 1_021_411, rev 1, "DCOM::DCOM_WeakLevel", [DCOM], "Policy",
        "COM reports an activation below packet integrity";
    SCRIPT = 1_021_412, rev 1, "DCOM::DCOM_Script", [DCOM], "Lateral Movement",
        "Script or command line that activates a class of the catalogue";
    INBOUND_THEN_CHILD = 1_021_413, rev 1, "DCOM::COM_InboundThenChild", [DCOM], "Lateral Movement",
        "Connection to a COM server, then a process that it started";
}

impl Signature {
    /// Its name without the prefix that Zeek's notices have: `MMC20_DCOM`.
    pub fn pattern(&self) -> &'static str {
        self.note.strip_prefix("DCOM::").unwrap_or(self.note)
    }
}
