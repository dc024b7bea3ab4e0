//! Image names: those that published queries ask for, and those that the catalogue knows.

use std::collections::{BTreeMap, BTreeSet};

use dcom_parsers::guid::Clsid;

use crate::catalog::{Catalog, Category, Class};
use crate::severity::Severity;

/// The management console.
pub(super) const MMC: &str = "mmc.exe";
/// The tool that shows and changes DCOM's settings; a console does the work.
pub(super) const CONFIG_TOOL: &str = "dcomcnfg.exe";
/// What services run in, the one that starts COM servers among them.
pub(super) const SERVICE_HOST: &str = "svchost.exe";
/// What WMI's providers run in.
pub(super) const WMI_HOST: &str = "wmiprvse.exe";
/// The shell of the desktop: whatever a user starts is its child.
pub(super) const SHELL: &str = "explorer.exe";

/// Is a child of this worth a look if it is one of [`is_loader`]? The parents that the published queries name.
pub(super) fn is_automated(parent: &str) -> bool {
    const NAMES: [&str; 6] = [
        MMC,
        "excel.exe",
        "winword.exe",
        "outlook.exe",
        "powerpnt.exe",
        "visio.exe",
    ];
    NAMES.contains(&parent)
}

/// A shell, a script host, or a program that loads what it is told to. The children that the published queries name.
pub(super) fn is_loader(child: &str) -> bool {
    const NAMES: [&str; 7] = [
        "wscript.exe",
        "cscript.exe",
        "mshta.exe",
        "rundll32.exe",
        "regsvr32.exe",
        "certutil.exe",
        "pwsh.exe",
    ];
    is_shell(child) || NAMES.contains(&child)
}

/// What `MMC20_DCOM` asks for as a child.
pub(super) fn is_shell(child: &str) -> bool {
    ["cmd.exe", "powershell.exe"].contains(&child)
}

/// A program that scripts run in: its connections are those of the script.
pub(super) fn runs_scripts(name: &str) -> bool {
    [
        "powershell.exe",
        "pwsh.exe",
        "powershell_ise.exe",
        "wscript.exe",
        "cscript.exe",
    ]
    .contains(&name)
}

/// Windows itself starts these beside any program: they say nothing of it.
pub(super) fn is_quiet(child: &str) -> bool {
    ["conhost.exe", "werfault.exe", "wermgr.exe", "splwow64.exe", "dw20.exe"].contains(&child)
}

/// Programs that people, installers and Windows start too, with children of all kinds: those mean something only where
/// the program is known to have been started as a COM server.
fn is_used_otherwise(host: &str) -> bool {
    const NAMES: [&str; 12] = [
        "iexplore.exe",
        "devenv.exe",
        "mshta.exe",
        "wordpad.exe",
        "wmplayer.exe",
        "msiexec.exe",
        "rundll32.exe",
        "winproj.exe",
        "msaccess.exe",
        "mspub.exe",
        "onenote.exe",
        "dllhost.exe",
    ];
    NAMES.contains(&host) || is_automated(host)
}

/// Many classes live in processes of this name, most of them harmless: that one was started says nothing.
fn is_shared(host: &str) -> bool {
    ["dllhost.exe", "rundll32.exe", "msiexec.exe", SHELL].contains(&host)
}

/// What the catalogue knows of a program that holds objects.
#[derive(Debug)]
pub(super) struct Server {
    /// The classes, by CLSID.
    pub(super) classes: BTreeSet<Clsid>,
    /// How bad the worst of them is.
    pub(super) worst: Severity,
    /// Do members of one of them run code?
    pub(super) executes: bool,
    /// Children that are seen after abuse.
    pub(super) expected: BTreeSet<String>,
    /// Do people and installers start it too?
    pub(super) used_otherwise: bool,
    /// Is it a process of many classes?
    pub(super) shared: bool,
}

/// The programs by image name in lower case.
#[derive(Debug)]
pub(super) struct Servers(BTreeMap<String, Server>);

impl Servers {
    /// Those of the catalogue's classes that attackers use; not the service host, in which everything runs.
    pub(super) fn of(catalog: &Catalog) -> Self {
        let mut servers: BTreeMap<String, Server> = BTreeMap::new();
        for class in catalog.iter().filter(|class| is_abused(class)) {
            for image in class.host_processes.iter().map(|image| image.to_lowercase()) {
                if image == SERVICE_HOST {
                    continue;
                }
                let server = servers.entry(image.clone()).or_insert_with(|| Server {
                    classes: BTreeSet::new(),
                    worst: Severity::Informational,
                    executes: false,
                    expected: BTreeSet::new(),
                    used_otherwise: is_used_otherwise(&image),
                    shared: is_shared(&image),
                });
                server.classes.insert(class.clsid);
                server.worst = server.worst.max(class.severity);
                server.executes |= class.category == Category::Execution;
                server
                    .expected
                    .extend(class.expected_children.iter().map(|name| name.to_lowercase()));
            }
        }
        Self(servers)
    }

    pub(super) fn get(&self, image: &str) -> Option<&Server> {
        self.0.get(image)
    }

    /// Is it worth remembering that such a process was started?
    pub(super) fn is_parent(&self, image: &str) -> bool {
        self.0.contains_key(image) || is_automated(image) || [WMI_HOST, CONFIG_TOOL].contains(&image)
    }
}

/// Is it a class that attackers use, as far as the catalogue knows?
pub(super) fn is_abused(class: &Class) -> bool {
    !matches!(class.category, Category::Administration | Category::Context)
}

/// Does the command line say that COM started the process?
pub(super) fn starts_a_server(command_line: &str) -> bool {
    let line = command_line.trim_end().to_lowercase();
    line.ends_with("-embedding")
        || line.ends_with("/embedding")
        || line.contains("/automation -embedding")
        || line.contains("/processid:{")
        || line.contains("shcreatelocalserverrundll")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalogue_names_the_programs() {
        let servers = Servers::of(&Catalog::built_in());
        let mmc = servers.get(MMC).unwrap();
        assert!(mmc.executes && mmc.used_otherwise && !mmc.shared);
        assert_eq!((mmc.classes.len(), mmc.worst), (1, Severity::Critical));
        assert!(mmc.expected.contains("cmd.exe"));
        assert!(!servers.get("speechruntime.exe").unwrap().used_otherwise);
        assert!(servers.get("bdeuisrv.exe").unwrap().expected.contains("baaupdate.exe"));
        assert!(servers.get(SERVICE_HOST).is_none());
        assert!(servers.is_parent(WMI_HOST) && !servers.is_parent("notepad.exe"));
    }

    #[test]
    fn a_server_s_command_line_is_known() {
        for (line, is_one) in [
            (r"C:\Windows\system32\mmc.exe -Embedding", true),
            (r#""C:\Office16\EXCEL.EXE" /automation -Embedding"#, true),
            (
                r"C:\Windows\system32\DllHost.exe /Processid:{338B40F9-9D68-4B53-A793-6B9AA0C5F63B}",
                true,
            ),
            (r"C:\Windows\System32\MsiExec.exe -Embedding 5F1A0C2B7E", false),
            (r#"mmc.exe "C:\Windows\system32\compmgmt.msc""#, false),
            ("", false),
        ] {
            assert_eq!(starts_a_server(line), is_one, "{line}");
        }
    }
}
