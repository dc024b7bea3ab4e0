//! Who and what an event is about, wherever it stands in our own records: for formats of others, which ask all events alike.

use std::iter;
use std::net::IpAddr;

use sha1::{Digest, Sha1};

use super::dcom::Outcome;
use super::host::Verdict;
use super::record::Port;
use super::{Alert, Body, Dcom, Event, HostAlert};
use crate::attack::{Tactic, technique};
use crate::path::file_name;

/// One end of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct End<'e> {
    pub(super) address: Option<IpAddr>,
    pub(super) port: Option<Port>,
    pub(super) name: Option<&'e str>,
}

/// A process on a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Process<'e> {
    pub(super) pid: Option<u32>,
    pub(super) image: Option<&'e str>,
    pub(super) command_line: Option<&'e str>,
}

/// An account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct User<'e> {
    pub(super) name: Option<&'e str>,
    pub(super) domain: Option<&'e str>,
    pub(super) sid: Option<&'e str>,
}

/// Who and what an event is about.
#[derive(Debug, Default)]
pub(super) struct Parties<'e> {
    pub(super) source: End<'e>,
    pub(super) target: End<'e>,
    /// Who called.
    pub(super) user: User<'e>,
    /// By a host's log: as whom the process runs.
    pub(super) runs_as: User<'e>,
    /// By a host's log: the computer on which the process runs.
    pub(super) host: Option<&'e str>,
    /// What was run; of what the wire alone tells, the command line that was asked for.
    pub(super) process: Process<'e>,
    pub(super) parent: Process<'e>,
    pub(super) outcome: Option<Outcome>,
    /// Every address, name and account in it, each once.
    pub(super) addresses: Vec<IpAddr>,
    pub(super) hosts: Vec<&'e str>,
    pub(super) users: Vec<&'e str>,
}

impl<'e> Parties<'e> {
    pub(super) fn of(event: &'e Event) -> Self {
        let mut parties = Self::default();
        let [source, target] = event.addresses_alone();
        let meta = &event.meta;
        parties.source.address = meta.client.map(|end| end.address).or(source);
        parties.source.port = meta.client.map(|end| Port(end.port));
        parties.target.address = meta.server.map(|end| end.address).or(target);
        parties.target.port = meta.server.map(|end| Port(end.port));
        let ends = [parties.source.address, parties.target.address];
        for address in ends.into_iter().flatten() {
            add(&mut parties.addresses, address);
        }
        match &event.body {
            Body::Dcom(dcom) => parties.wire(dcom),
            Body::Alert(alert) => parties.alert(alert),
            Body::Dcerpc(_) | Body::Anomaly(_) | Body::Flow(_) | Body::Login(_) | Body::Stats(_) => {}
        }
        for name in [parties.source.name, parties.target.name, parties.host]
            .into_iter()
            .flatten()
        {
            add(&mut parties.hosts, name);
        }
        parties
    }

    fn alert(&mut self, alert: &'e Alert) {
        if let Some(dcom) = &alert.dcom {
            self.wire(dcom);
        }
        if let Some(host) = &alert.host_event {
            self.host(host);
        }
    }

    fn wire(&mut self, dcom: &'e Dcom) {
        let (client, server) = (&dcom.client, &dcom.server);
        self.user = User {
            name: told(client.user.as_deref()),
            domain: told(client.domain.as_deref()),
            sid: None,
        };
        if let Some(caller) = told(dcom.caller_by_host()) {
            let (domain, name) = caller
                .split_once('\\')
                .map_or((None, caller), |(it, name)| (Some(it), name));
            // An account that the log knows by its SID alone.
            let sid = caller.starts_with("S-1-").then_some(caller);
            self.user = User {
                name: told(Some(name)).filter(|_| sid.is_none()),
                domain,
                sid,
            };
        }
        self.source.name = told(client.workstation.as_deref());
        self.target.name = told(server.dns.as_deref()).or(told(server.netbios.as_deref()));
        self.outcome = dcom.outcome;
        self.process.command_line = told(dcom.command_line.as_deref());
        let names = [self.source.name, self.target.name, told(server.netbios.as_deref())];
        names.into_iter().flatten().for_each(|name| add(&mut self.hosts, name));
        for user in [self.user.name, told(server.runs_as.as_deref())].into_iter().flatten() {
            add(&mut self.users, user);
        }
        if let Some(address) = dcom.endpoint.as_ref().and_then(|endpoint| endpoint.ip) {
            add(&mut self.addresses, address);
        }
        // What a host's log shows was run, where it shows it.
        let Some(host) = dcom.host.as_deref().filter(|host| host.verdict == Verdict::Confirmed) else {
            return;
        };
        self.host = told(host.name.as_deref());
        if let Some(process) = &host.process {
            self.process = Process {
                pid: process.pid,
                image: told(process.image.as_deref()),
                command_line: told(process.command_line.as_deref()).or(self.process.command_line),
            };
            if let Some(user) = told(process.user.as_deref()) {
                add(&mut self.users, user);
            }
        }
        if let Some(parent) = &host.parent {
            self.parent = Process {
                pid: parent.pid,
                image: told(parent.image.as_deref()),
                command_line: told(parent.command_line.as_deref()),
            };
        }
    }

    fn host(&mut self, event: &'e HostAlert) {
        self.host = told(Some(&event.host));
        self.runs_as = User {
            name: told(event.user.as_deref()),
            domain: told(event.domain.as_deref()),
            sid: told(event.sid.as_deref()),
        };
        if let Some(caller) = &event.caller {
            self.user = User {
                name: told(caller.user.as_deref()),
                domain: told(caller.domain.as_deref()),
                sid: told(caller.sid.as_deref()),
            };
        }
        for user in [self.user.name, self.runs_as.name].into_iter().flatten() {
            add(&mut self.users, user);
        }
        // A target may be told as an address, which stands among those.
        self.target.name = told(event.target.as_deref()).filter(|name| name.parse::<IpAddr>().is_err());
        if let Some(process) = &event.process {
            self.process = Process {
                pid: process.pid,
                image: told(process.image.as_deref()),
                command_line: told(process.command_line.as_deref()),
            };
        }
        if let Some(parent) = &event.parent {
            self.parent = Process {
                pid: parent.pid,
                image: told(parent.image.as_deref()),
                command_line: told(parent.command_line.as_deref()),
            };
        }
    }
}

impl<'e> Process<'e> {
    /// The image's name without its folders.
    pub(super) fn name(&self) -> Option<&'e str> {
        self.image.map(file_name).filter(|name| !name.is_empty())
    }
}

/// An ATT&CK technique or sub-technique that a signature names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Technique {
    pub(super) id: String,
    pub(super) name: Option<String>,
    /// Number and name of the sub-technique.
    pub(super) sub: Option<(String, Option<String>)>,
    /// The tactic that it serves.
    pub(super) tactic: Option<&'static Tactic>,
}

/// What an alert says of ATT&CK, technique by technique.
pub(super) fn techniques(alert: &Alert) -> impl Iterator<Item = Technique> {
    let metadata = &alert.metadata;
    let names = metadata.mitre_technique_name.iter().map(|name| Some(spaced(name)));
    let techniques = metadata.mitre_technique_id.iter().zip(names.chain(iter::repeat(None)));
    techniques.map(|(id, name)| {
        let known = technique(id);
        let tactic = known.map(|known| known.tactic);
        match id.split_once('.') {
            Some((number, _)) => Technique {
                id: number.to_owned(),
                name: known.and_then(|known| known.parent).map(str::to_owned),
                sub: Some((id.to_string(), name)),
                tactic,
            },
            None => Technique {
                id: id.to_string(),
                name,
                sub: None,
                tactic,
            },
        }
    })
}

/// A name as ATT&CK spells it, out of one without spaces.
pub(super) fn spaced(name: &str) -> String {
    name.replace('_', " ")
}

/// What is empty is not told.
fn told(text: Option<&str>) -> Option<&str> {
    text.filter(|text| !text.is_empty())
}

fn add<T: PartialEq>(list: &mut Vec<T>, one: T) {
    if !list.contains(&one) {
        list.push(one);
    }
}

impl Event {
    /// What an alert is known by for ever: the same on every run over the same input, and the same in the
    /// `host_confirmation` that is about it. None for what is neither.
    pub(super) fn finding_id(&self) -> Option<String> {
        let (signature, host) = match &self.body {
            Body::Alert(alert) => (alert.signature_id, alert.host_event.as_ref()),
            Body::Dcom(dcom) => (dcom.host.as_ref()?.alert.as_ref()?.signature_id, None),
            Body::Dcerpc(_) | Body::Anomaly(_) | Body::Flow(_) | Body::Login(_) | Body::Stats(_) => return None,
        };
        let mut hash = Sha1::new();
        hash.update(signature.to_be_bytes());
        hash.update(self.meta.timestamp.0.to_be_bytes());
        hash.update(self.meta.flow_id.unwrap_or_default().to_be_bytes());
        hash.update(self.meta.frame.unwrap_or_default().to_be_bytes());
        if let Some(host) = host {
            hash.update(host.record.to_be_bytes());
            // Not the file: the same record exported twice is the same finding.
            hash.update(host.host.as_bytes());
        }
        let digest: [u8; 20] = hash.finalize().into();
        let number = digest
            .iter()
            .take(16)
            .fold(0, |number, &byte| number << 8 | u128::from(byte));
        Some(format!("{number:032x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::samples;
    use crate::event::{Shared, host};

    #[test]
    fn an_image_is_named_without_its_folders() {
        let name = |image| {
            Process {
                image,
                ..Process::default()
            }
            .name()
        };
        assert_eq!(name(Some("C:\\Windows\\System32\\mmc.exe")), Some("mmc.exe"));
        assert_eq!(name(Some("/usr/bin/cmd")), Some("cmd"));
        assert_eq!((name(Some("C:\\")), name(None)), (None, None));
    }

    #[test]
    fn sub_techniques_are_told_with_their_techniques() {
        let mut alert = samples::alert();
        alert.metadata.mitre_technique_id = vec!["T1021.003".into(), "T1047".into(), "T1234.001".into()];
        alert.metadata.mitre_technique_name = vec!["A_B".into(), "C".into()];
        let text = |text: &str| Some(text.to_owned());
        let told: Vec<_> = techniques(&alert)
            .map(|known| (known.id, known.name, known.sub, known.tactic.map(|tactic| tactic.id)))
            .collect();
        assert_eq!(
            told,
            [
                (
                    "T1021".to_owned(),
                    text("Remote Services"),
                    Some(("T1021.003".to_owned(), text("A B"))),
                    Some("TA0008")
                ),
                ("T1047".to_owned(), text("C"), None, Some("TA0002")),
                ("T1234".to_owned(), None, Some(("T1234.001".to_owned(), None)), None),
            ]
        );
    }

    #[test]
    fn a_confirmation_is_known_by_the_alert_that_it_is_about() {
        let alert = samples::event(Body::Alert(Box::new(samples::alert())));
        let mut dcom = samples::dcom();
        assert_eq!(samples::event(Body::Dcom(Shared::new(dcom.clone()))).finding_id(), None);
        dcom.host = Some(Shared::new(host::HostRecord {
            alert: Some(host::AboutAlert {
                signature_id: samples::alert().signature_id,
                severity: "high",
                severity_now: "critical",
            }),
            ..host::HostRecord::default()
        }));
        let confirmation = samples::event(Body::Dcom(Shared::new(dcom)));
        assert_eq!(confirmation.finding_id(), alert.finding_id());
        let mut later = alert.clone();
        later.meta.frame = Some(9);
        assert_ne!(later.finding_id(), alert.finding_id());
        assert_eq!(alert.finding_id().unwrap().len(), 32);
    }

    #[test]
    fn who_called_is_told_apart_from_whose_process_it_is() {
        let mut alert = samples::alert();
        alert.dcom = None;
        alert.host_event = Some(HostAlert {
            user: Some("bob".into()),
            caller: Some(crate::event::host_alert::CallerRecord {
                user: Some("eve".into()),
                ..Default::default()
            }),
            ..HostAlert::default()
        });
        let event = samples::event(Body::Alert(Box::new(alert)));
        let parties = Parties::of(&event);
        assert_eq!((parties.user.name, parties.runs_as.name), (Some("eve"), Some("bob")));
        assert_eq!(parties.users, ["eve", "bob"]);
        // By the host's logon, where the wire does not tell.
        let mut dcom = samples::dcom();
        dcom.client.user = None;
        dcom.host = Some(Shared::new(host::HostRecord {
            logon: Some(host::LogonRecord {
                user: Some("LAB\\eve".to_owned()),
                ..host::LogonRecord::default()
            }),
            ..host::HostRecord::default()
        }));
        let event = samples::event(Body::Dcom(Shared::new(dcom)));
        let user = Parties::of(&event).user;
        assert_eq!((user.domain, user.name), (Some("LAB"), Some("eve")));
        // The log of the client may know it by its SID alone.
        let mut dcom = samples::dcom();
        dcom.client.user = None;
        dcom.host = Some(Shared::new(host::HostRecord {
            verdict: Verdict::Confirmed,
            role: host::Role::Client,
            process: Some(host::ProcessRecord {
                user: Some("S-1-5-21-1-2-3-1104".to_owned()),
                ..host::ProcessRecord::default()
            }),
            ..host::HostRecord::default()
        }));
        let event = samples::event(Body::Dcom(Shared::new(dcom)));
        let user = Parties::of(&event).user;
        assert_eq!((user.name, user.sid), (None, Some("S-1-5-21-1-2-3-1104")));
    }

    #[test]
    fn what_the_wire_asked_for_gives_way_to_what_a_host_shows() {
        let mut dcom = samples::dcom();
        dcom.command_line = Some("cmd.exe /c x".to_owned());
        let event = samples::event(Body::Dcom(Shared::new(dcom.clone())));
        let parties = Parties::of(&event);
        assert_eq!(parties.process.command_line, Some("cmd.exe /c x"));
        assert_eq!((parties.process.pid, parties.host), (None, None));
        assert_eq!(
            (parties.hosts.as_slice(), parties.users.as_slice()),
            (&["WS5"][..], &["alice", "LAB\\runner"][..])
        );
        assert_eq!(parties.addresses.len(), 2);
        for (verdict, pid) in [(Verdict::Confirmed, Some(42)), (Verdict::NotSeen, None)] {
            dcom.host = Some(Shared::new(host::HostRecord {
                verdict,
                name: Some("DC1".into()),
                process: Some(host::ProcessRecord {
                    pid: Some(42),
                    ..host::ProcessRecord::default()
                }),
                ..host::HostRecord::default()
            }));
            let event = samples::event(Body::Dcom(Shared::new(dcom.clone())));
            let parties = Parties::of(&event);
            assert_eq!(parties.process.pid, pid);
            assert_eq!(parties.process.command_line, Some("cmd.exe /c x"));
            assert_eq!(parties.host.is_some(), pid.is_some());
        }
    }
}
