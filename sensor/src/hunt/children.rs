//! Processes that were started: by whom, and what their command lines say.

use std::sync::Arc;

use dcom_parsers::guid::{Clsid, Guid};

use super::Hunt;
use super::finding::{FAR, Finding, Role, SAME, named, pattern};
use super::memory::short;
use super::names::{
    CONFIG_TOOL, MMC, SERVICE_HOST, SHELL, Server, WMI_HOST, is_abused, is_automated, is_loader, is_quiet, is_shell,
    starts_a_server,
};
use super::script::{Activates, ClassNames, Where, servers};
use crate::catalog::{Catalog, Confidence};
use crate::dcom::decoded_powershell;
use crate::detect::host_signature as signature;
use crate::event::host_alert::ParentRecord;
use crate::host_log::command_line::Bare;
use crate::host_log::event::{Account, HostEvent, Process, ProcessCreate, Script, same_host};
use crate::severity::Severity;

/// What comes of a process that was started.
pub(super) struct Judged {
    /// A finding, or what may become one.
    pub(super) finding: Option<Finding>,
    /// Was it COM's service that started it, as a server?
    pub(super) by_com: bool,
}

/// The process that started it, as well as it is known.
struct Parent {
    name: String,
    process: Process,
    /// Where its image is known from, if not from the record.
    image_from: Option<String>,
    /// Is it COM's own service, and how is that known?
    service: Option<(Confidence, Option<&'static str>)>,
    /// Was it started as a COM server? None when nobody can tell.
    server: Option<bool>,
}

impl Hunt {
    /// What a process that was started says.
    pub(super) fn judge(&self, event: &HostEvent, create: &ProcessCreate) -> Judged {
        let parent = self.parent(event, create);
        let mut finding = Finding::of(event, &create.account, &create.process, &parent.process);
        finding.event.integrity.clone_from(&create.integrity);
        if let Some(from) = &parent.image_from {
            finding
                .concluded
                .push(format!("the record has no image of the parent; it is from {from}"));
            finding.event.parent = Some(ParentRecord {
                image_from: Some(from.clone()),
                ..ParentRecord::default()
            });
        }
        self.by_name(&parent, &mut finding);
        let by_com = self.by_service(&parent, create, &mut finding);
        self.of_server(event, &parent, &mut finding);
        if let Some(line) = &create.process.command_line {
            self.by_command_line(line, &mut finding);
        }
        let matters = !finding.patterns.is_empty() || finding.role != Role::Other;
        Judged {
            finding: matters.then_some(finding),
            by_com,
        }
    }

    fn parent(&self, event: &HostEvent, create: &ProcessCreate) -> Parent {
        let mut process = create.parent.clone();
        // What the reader concluded, it says so.
        let mut image_from = process.pid_from.take().map(|from| from.to_string());
        let name = process.name();
        let started = self.processes.get(&event.host, &process, |started| {
            let known = started.process.name();
            same_host(&started.host, &event.host)
                && event.time.since(started.at) >= -SAME
                && (name.is_none() || known.is_none() || name == known)
        });
        if let Some(started) = started {
            if process.image.is_none() {
                let place = &started.place;
                image_from = Some(format!(
                    "the start of that process id in {} {}, record {}",
                    started.source, place.input, place.record
                ));
                process.image.clone_from(&started.process.image);
            }
            let line = &started.process.command_line;
            process.command_line = process.command_line.take().or_else(|| line.clone());
            process.guid = process.guid.or(started.process.guid);
        }
        let name = process.name().unwrap_or_default();
        let line = process.command_line.as_deref();
        let server = match (line.map(starts_a_server), started.map(|started| started.by_com)) {
            (Some(true), _) | (_, Some(true)) => Some(true),
            (Some(false), _) => Some(false),
            (None, _) => None,
        };
        let told = line.map(|line| line.to_lowercase().contains("dcomlaunch"));
        let learned = || {
            let pid = process.pid?;
            self.launchers.get(&(short(&event.host), pid)).copied()
        };
        let service = match told {
            Some(true) if name == SERVICE_HOST => Some((Confidence::Medium, None)),
            Some(_) => None,
            None if name != SERVICE_HOST => None,
            None => learned().map(|how| (Confidence::Low, Some(how))),
        };
        Parent {
            name,
            process,
            image_from,
            service,
            server,
        }
    }

    /// What the names of the two say by themselves.
    fn by_name(&self, parent: &Parent, finding: &mut Finding) {
        let child = finding.child_name();
        let found = match (parent.name.as_str(), child.as_str()) {
            (_, CONFIG_TOOL) | (CONFIG_TOOL, MMC) => &signature::CONFIG_TOOL,
            (MMC, child) if is_shell(child) => &signature::MMC20,
            (parent, child) if is_automated(parent) && is_loader(child) => &signature::SUSPICIOUS_CHILD,
            (WMI_HOST, child) if child != WMI_HOST && !is_quiet(child) => {
                finding.add(pattern(&signature::WMI_CHILD, Severity::Medium, Confidence::Medium));
                return;
            }
            _ => return,
        };
        finding.add(pattern(found, Severity::High, Confidence::Medium));
        if is_automated(&parent.name) {
            match parent.server {
                Some(true) => finding.because(format!("{} was started as a COM server", parent.name)),
                Some(false) => finding.because(format!("{} was not started as a COM server", parent.name)),
                None => {}
            }
            finding.event.clsid = self.only_class(&parent.name).filter(|_| parent.server == Some(true));
        }
    }

    /// The class that lives in such a process, if it is one alone.
    fn only_class(&self, image: &str) -> Option<Clsid> {
        let classes = &self.servers.get(image)?.classes;
        classes.first().copied().filter(|_| classes.len() == 1)
    }

    /// COM's service started it: as a server, or something that is none.
    fn by_service(&self, parent: &Parent, create: &ProcessCreate, finding: &mut Finding) -> bool {
        let Some((sure, how)) = parent.service else {
            return false;
        };
        let child = finding.child_name();
        let line = create.process.command_line.as_deref().unwrap_or_default();
        let as_server = starts_a_server(line);
        match self.servers.get(&child) {
            Some(server) if as_server => self.server_started(server, &child, line, finding),
            _ if is_loader(&child) => {
                finding.add(pattern(&signature::DCOM_LAUNCH_CHILD, Severity::Medium, sure));
            }
            _ => {}
        }
        if let Some(how) = how
            && (!finding.patterns.is_empty() || finding.role == Role::Server)
        {
            finding.concluded.push(format!("the service is DcomLaunch: {how}"));
        }
        as_server
    }

    /// A program of the catalogue was started to hold objects.
    fn server_started(&self, server: &Server, child: &str, line: &str, finding: &mut Finding) {
        let named = braced(line).filter(|&clsid| {
            let class = self.catalog.class(clsid);
            class.is_some_and(is_abused)
        });
        if server.shared && named.is_none() {
            return;
        }
        finding.role = Role::Server;
        finding.event.clsid = named.or_else(|| self.only_class(child));
        // What only helps to load a planted file is started on every desktop, too.
        if !server.executes {
            return;
        }
        let named = named.and_then(|clsid| self.catalog.class(clsid));
        let severity = match named.map_or(server.worst, |class| class.severity) {
            _ if is_loader(child) && !server.shared => Severity::Medium,
            Severity::Critical => Severity::Low,
            _ => Severity::Informational,
        };
        finding.add(pattern(&signature::EMBEDDING_START, severity, Confidence::Low));
    }

    /// A program that may be a COM server started it.
    fn of_server(&self, event: &HostEvent, parent: &Parent, finding: &mut Finding) {
        let child = finding.child_name();
        let Some(server) = self.servers.get(&parent.name) else {
            return;
        };
        if parent.name == child || is_quiet(&child) {
            return;
        }
        let desktop = parent.name == SHELL;
        finding.role = if desktop { Role::OfDesktop } else { Role::Child };
        let fits = |inbound: &super::memory::Inbound| {
            let after = event.time.since(inbound.at);
            same_host(&inbound.host, &event.host) && inbound.name == parent.name && (0..=FAR).contains(&after)
        };
        let inbound = self.inbound.get(&event.host, &parent.process, fits);
        finding.inbound = inbound.map(|inbound| (**inbound).clone());
        let loader = is_loader(&child);
        if desktop {
            let line = finding.process.command_line.as_deref();
            if line.is_some_and(writes_to_a_share) {
                finding.because("its output goes to an administrative share of this computer, as dcomexec's does");
                finding.add(pattern(&signature::SERVER_CHILD, Severity::High, Confidence::Medium));
            }
            return;
        }
        if !finding.patterns.is_empty() {
            return;
        }
        let expected = server.expected.contains(&child) || loader;
        let told = match parent.server {
            Some(true) => expected || (server.executes && !server.shared),
            _ => expected && !server.used_otherwise,
        };
        if told {
            let severity = if loader { Severity::High } else { Severity::Medium };
            finding.add(pattern(&signature::SERVER_CHILD, severity, Confidence::Medium));
            finding.event.clsid = self.only_class(&parent.name);
            if parent.server == Some(true) {
                finding.because(format!("{} was started as a COM server", parent.name));
            }
        }
    }

    fn by_command_line(&self, line: &Arc<str>, finding: &mut Finding) {
        if let Some(activates) = activated(line, &self.classes, &self.catalog) {
            finding.because(format!(
                "its command line activates {}",
                said(&activates, &self.catalog)
            ));
            activation(activates, finding, &self.catalog);
        }
        if names_dcom(line) {
            finding.add(pattern(
                &signature::COMMAND_LINE_REF,
                Severity::High,
                Confidence::Medium,
            ));
        }
        let by_text = [signature::SCRIPT.id, signature::COMMAND_LINE_REF.id];
        if finding
            .patterns
            .iter()
            .any(|found| by_text.contains(&found.signature.id))
        {
            finding.text = Some(Bare::of(line));
        }
    }
}

/// A script that PowerShell logged.
pub(super) fn script(event: &HostEvent, script: &Script, names: &ClassNames, catalog: &Catalog) -> Option<Finding> {
    let activates = names.read(&script.text, catalog)?;
    let mut finding = Finding::of(event, &Account::default(), &script.process, &Process::default());
    let by = named(&script.process);
    let by = if by.is_empty() { "PowerShell".to_owned() } else { by };
    let file = script.path.as_deref().filter(|path| !path.is_empty());
    let file = file.map(|path| format!(" ({path})")).unwrap_or_default();
    finding.sentence = Some(format!(
        "{by} ran a script{file} that activates {}",
        said(&activates, catalog)
    ));
    finding.text = Some(Bare::of(&activates.excerpt));
    finding.event.script = Some(activates.excerpt.clone());
    activation(activates, &mut finding, catalog);
    Some(finding)
}

/// What a command line activates, or the script in it that is encoded.
pub(super) fn activated(line: &str, names: &ClassNames, catalog: &Catalog) -> Option<Activates> {
    let encoded = || names.read(&decoded_powershell(line)?, catalog);
    names.read(line, catalog).or_else(encoded)
}

/// Does a command line name DCOM, and something to execute?
pub(super) fn names_dcom(line: &str) -> bool {
    let line = line.to_lowercase();
    line.contains("dcom") && line.contains("-exec")
}

fn activation(activates: Activates, finding: &mut Finding, catalog: &Catalog) {
    let (severity, confidence) = match (activates.abused, &activates.target) {
        (true, Where::There(_) | Where::Unknown) => (Severity::High, Confidence::Medium),
        (true, Where::Here) => (Severity::Medium, Confidence::Low),
        (false, _) => (Severity::Low, Confidence::Low),
    };
    finding.add(pattern(&signature::SCRIPT, severity, confidence));
    finding.event.clsid = finding.event.clsid.or(activates.classes.first().copied());
    if let Where::There(target) = &activates.target
        && !target.starts_with('$')
    {
        finding.event.target = Some(target.as_str().into());
        finding.event.target_ip = target.parse().ok();
    }
    finding.activates = Some((activates.target, servers(&activates.classes, catalog)));
}

/// What is activated, by which function, and where.
fn said(activates: &Activates, catalog: &Catalog) -> String {
    let names = activates.classes.iter().filter_map(|&clsid| catalog.class(clsid));
    let names: Vec<&str> = names.map(|class| class.name.as_str()).collect();
    let target = match &activates.target {
        Where::There(target) => format!(" on {target}"),
        Where::Here | Where::Unknown => String::new(),
    };
    format!("{}{target} by {}", names.join(", "), activates.by)
}

/// Does the output go to an administrative share of this very computer? `dcomexec` fetches it from there.
fn writes_to_a_share(line: &str) -> bool {
    let line = line.to_lowercase();
    let behind = line
        .split_once(r"\\127.0.0.1\")
        .or_else(|| line.split_once(r"\\localhost\"));
    line.contains('>')
        && behind.is_some_and(|(_, share)| share.split('\\').next().is_some_and(|name| name.ends_with('$')))
}

/// A CLSID in braces.
fn braced(line: &str) -> Option<Clsid> {
    let (_, behind) = line.split_once('{')?;
    let (inside, _) = behind.split_once('}')?;
    Guid::parse(inside).map(Clsid)
}
