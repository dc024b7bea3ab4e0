//! What was done with DCOM: one activation, OXID resolution, endpoint mapping or object call.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use dcom_parsers::guid::{Causality, Clsid, Guid, Ipid, Oxid};
use dcom_parsers::names::{self, known};

use super::Shared;
use super::host::{HostRecord, Role, Verdict};
use super::login::ByLogin;
use super::record::{Field, Port, Value, names, record};
use crate::catalog::Effect;
use crate::time::Timestamp;

names! {
    /// What sort of exchange it was.
    #[derive(Default)]
    pub enum Kind {
        /// An object was asked for, by class.
        Activation => "activation",
        /// The bindings of an exporter were asked for.
        OxidResolution => "oxid_resolution",
        /// The endpoint mapper was asked for a port.
        EndpointMapping => "endpoint_mapping",
        /// A method of an object was called.
        #[default]
        Call => "call",
        /// Live: a host's log says something of an alert that was told before.
        HostConfirmation => "host_confirmation",
    }

    /// How it ended.
    pub enum Outcome {
        /// The reply says so.
        Succeeded => "succeeded",
        /// The reply says so, or is a fault.
        Failed => "failed",
        /// No reply was seen.
        Unanswered => "unanswered",
    }

    /// What the record rests on, the strongest first.
    #[derive(Default)]
    pub enum Evidence {
        /// What was done was read.
        Arguments => "arguments",
        /// The CLSID was read; what was done with it was not.
        Class => "class",
        /// Concluded from shape; `because` says from what.
        Inferred => "inferred",
        /// Interface and opnum only: not of which class the object is.
        #[default]
        Header => "header",
    }

    /// What ties an object to an activation.
    #[derive(Default)]
    pub enum Proof {
        /// Each reference on the way was seen to be handed out, to this address.
        #[default]
        Strong => "strong",
        /// It lives in the exporter that the activation named, or was handed to another address; others may, too.
        Weak => "weak",
    }

    /// What told the sensor of a dynamic port.
    pub enum LearnedFrom {
        /// The OXID bindings in an activation's reply.
        OxidBinding => "oxid_binding",
        /// The reply to `ResolveOxid` or `ResolveOxid2`.
        ResolveOxid => "resolve_oxid",
        /// The reply to `ept_map`.
        EptMap => "ept_map",
        /// The calls by which the class of a sealed activation was concluded: they went there.
        Calls => "calls",
    }
}

/// [MS-ERREF] 2.1 HRESULT, printed as `0x80070005`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Hresult(pub u32);

impl fmt::Display for Hresult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "0x{:08x}", self.0)
    }
}

impl Field for Hresult {
    const ZEEK_TYPE: &'static str = "string";

    fn value(&self) -> Value<'_> {
        Value::Hexadecimal(self.0.into(), 8)
    }
}

/// Bits that are shown as a number: `0x10`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u32);

impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.0)
    }
}

impl Field for Flags {
    const ZEEK_TYPE: &'static str = "string";

    fn value(&self) -> Value<'_> {
        Value::Hexadecimal(self.0.into(), 1)
    }
}

record! {
    /// One activation, OXID resolution, endpoint mapping or object call.
    #[derive(Default)]
    pub struct Dcom in "dcom" {
        /// What sort of exchange it was: `activation`, `oxid_resolution`, `endpoint_mapping` or `call`; live also
        /// `host_confirmation`, which says what host logs say of an alert that was told before.
        kind: Kind => eve, zeek;
        /// The operation's name, e.g. `RemoteGetClassObject`.
        operation: Cow<'static, str> => eve, zeek;
        /// The operation's number in its interface; unset when only the answer was seen.
        opnum: Option<u16> => eve, zeek;
        /// The interface that was called.
        interface: Option<Interface> => group;
        /// The named pipe in which it was called; where no `bind_ack` was seen, as the pipe was opened.
        named_pipe: Option<Arc<str>> => eve;
        /// The object that was called, as its exporter names it.
        ipid: Option<Ipid> => eve, zeek;
        /// How the object was reached, as code would write it, e.g. `MMC20.Application.Document.ActiveView`.
        object_path: Option<String> => eve, zeek;
        /// The method of the object: by name where it is known, else `[dispid 0x…]`.
        method: Option<Cow<'static, str>> => eve, zeek;
        /// The method's number, where it is called by number (`IDispatch`).
        dispid: Option<i64> => eve, zeek;
        /// What was passed, in source order.
        arguments: Vec<String> => eve, zeek;
        /// The program and its parameters as the target would run them.
        command_line: Option<String> => eve, zeek;
        /// The script in the command line, where that hands one to PowerShell encoded.
        decoded_command: Option<String> => eve, zeek;
        /// What the method does to the target, when it is one that the catalogue lists.
        effect: Option<Effect> => apart;
        /// What came back; of a call that failed, what the object says of it.
        result: Option<String> => eve, zeek;
        /// The class asked for, lower case with dashes.
        clsid: Option<Clsid> => eve, zeek;
        /// The class's name in the catalogue, e.g. `MMC20.Application`.
        class: Option<String> => eve, zeek;
        /// The interfaces asked for.
        iids: Vec<NamedGuid> => eve, zeek;
        /// The server as the client named it (`COSERVERINFO`).
        target_name: Option<String> => eve, zeek;
        /// `CLSCTX_*` flags of the activation, e.g. `0x10` for a remote server.
        class_context: Option<Flags> => eve, zeek;
        /// The file that the new object is to open.
        file_name: Option<String> => eve, zeek;
        /// Is the new object to load itself from a storage of the client's?
        storage: Option<bool> => eve, zeek;
        /// The result as a number, e.g. `0x80070005`.
        hresult: Option<Hresult> => eve, zeek;
        /// The result's name, e.g. `E_ACCESSDENIED`.
        hresult_name: Option<Cow<'static, str>> => eve, zeek;
        /// The RPC fault's status, when the answer was a fault.
        fault: Option<String> => eve, zeek;
        /// How it ended: `succeeded`, `failed` or `unanswered`.
        outcome: Option<Outcome> => eve, zeek;
        /// The exporter (in practice the process) that holds the object.
        oxid: Option<Oxid> => eve, zeek;
        /// The interfaces that came back, as the exporter names them.
        ipids: Vec<Ipid> => eve, zeek;
        /// The exporter's `IRemUnknown`.
        ipid_rem_unknown: Option<Ipid> => eve, zeek;
        /// The authentication level the exporter asks for.
        authn_hint: Option<Cow<'static, str>> => eve, zeek;
        /// Where the exporter listens, as told in the reply, e.g. `172.16.66.36[60283]`.
        bindings: Vec<String> => eve, zeek;
        /// How the exporter can authenticate, and as whom.
        security_bindings: Vec<SecurityBinding> => eve;
        /// What the endpoint mapper answered, entry by entry.
        towers: Vec<TowerRecord> => eve;
        /// The dynamic port that was learned from this exchange.
        endpoint: Option<EndpointRecord> => group;
        /// The activation that the object descends from.
        activation: Option<ActivationRecord> => group;
        /// How the caller authenticated.
        auth: ByLogin<Auth> => group;
        /// Who called.
        client: ByLogin<ClientIdentity> => group;
        /// Who was called.
        server: ByLogin<ServerIdentity> => group;
        /// What the record rests on: `arguments`, `class`, `inferred` or `header`.
        evidence: Evidence => eve, zeek;
        /// What an inference was made from.
        because: Vec<Cow<'static, str>> => eve, zeek;
        /// Was the bind seen that named the interface?
        bind_seen: Option<bool> => eve, zeek;
        /// Bytes lost on this connection so far.
        bytes_missing: u64 => eve, zeek;
        /// Live: this was told before (same `flow_id` and `timestamp`), and a connection to `endpoint` has come since.
        update: Option<bool> => eve;
        /// Ties the calls of one logical thread together.
        causality: Option<Causality> => eve, zeek;
        /// The session on the server in which the object was asked for.
        session_id: Option<u32> => eve, zeek;
        /// Was the object asked for in the session at the server's console, whatever `session_id` says?
        console_session: Option<bool> => eve;
        /// Length of the request's stub, which could not be read because it was sealed.
        sealed_stub_length: Option<u32> => eve, zeek;
        /// Length of the reply's stub, when that was sealed.
        sealed_reply_length: Option<u32> => eve, zeek;
        /// Was a stub sealed, and opened by one of the user's keys?
        decrypted: Option<bool> => eve;
        /// The name of that key: whose it is.
        key: Option<Arc<str>> => eve;
        /// The tool that the client is, when its manner of writing gives it away.
        tool: Option<Shared<ToolRecord>> => group;
        /// What host logs say, where there are any.
        host: Option<Shared<HostRecord>> => group;
    }
}

impl Dcom {
    /// The class in words: by its name, else by its CLSID.
    pub fn class_name(&self) -> Option<Cow<'_, str>> {
        let name = self.class.as_deref().map(Cow::Borrowed);
        name.or_else(|| self.clsid.map(|clsid| Cow::Owned(clsid.to_string())))
    }

    /// Who called by a host's log, where the wire does not tell: by the network logon over a connection of the pair, or, of an
    /// attempt, by the complaint of the client's own log.
    pub fn caller_by_host(&self) -> Option<&str> {
        let host = self.host.as_deref().filter(|_| self.client.user.is_none())?;
        match host.role {
            Role::Server => host.logon.as_ref()?.user.as_deref(),
            Role::Client if host.verdict == Verdict::Confirmed => host.process.as_ref()?.user.as_deref(),
            Role::Client => None,
        }
    }

    /// Is it a call on an object or a service, not one that asks where things are?
    pub fn is_object_call(&self) -> bool {
        let resolver = |interface: &Interface| interface.uuid == known::IOBJECT_EXPORTER;
        self.kind == Kind::Call && !self.interface.as_ref().is_some_and(resolver)
    }
}

record! {
    /// An interface and its name.
    #[derive(Default)]
    pub struct Interface in "dcom.interface" {
        /// The interface's identifier.
        uuid: Guid => eve, zeek "interface_uuid";
        /// The interface's name, when known.
        name: Option<Cow<'static, str>> => eve, zeek "interface";
    }
}

record! {
    /// An identifier in a list, with its name when known.
    #[derive(Default)]
    pub struct NamedGuid {
        /// The identifier.
        uuid: Guid => eve;
        /// Its name, when known.
        name: Option<Cow<'static, str>> => eve;
    }
}

impl NamedGuid {
    /// The identifier of an interface.
    pub fn of(uuid: Guid) -> Self {
        Self {
            uuid,
            name: names::interface(uuid).map(Cow::Borrowed),
        }
    }
}

record! {
    /// One way in which an exporter can authenticate ([MS-DCOM] 2.2.19.4 SECURITYBINDING).
    #[derive(Default)]
    pub struct SecurityBinding {
        /// The authentication service.
        authn_service: Cow<'static, str> => eve;
        /// The account the server runs as.
        principal: Option<String> => eve;
    }
}

record! {
    /// One entry of the endpoint mapper (C706 appendix L, protocol tower).
    #[derive(Default)]
    pub struct TowerRecord {
        /// The interface that is served.
        uuid: Option<Guid> => eve;
        /// Its version, e.g. `1.0`.
        version: Option<String> => eve;
        /// The name or identifier of the transfer syntax.
        transfer_syntax: Option<Cow<'static, str>> => eve;
        /// E.g. `ncacn_ip_tcp`.
        protocol_sequence: Option<Cow<'static, str>> => eve;
        /// The network address.
        address: Option<String> => eve;
        /// The port, or the pipe's name.
        endpoint: Option<String> => eve;
        /// What the server says of itself.
        annotation: Option<String> => eve;
    }
}

record! {
    /// A dynamic port: one that a reply named, or that an object was called on.
    pub struct EndpointRecord in "dcom.endpoint" {
        /// Its address.
        ip: Option<IpAddr> => eve, zeek "endpoint_h";
        /// Its port.
        port: Option<Port> => eve, zeek "endpoint_p";
        /// What told of it: `oxid_binding`, `resolve_oxid` or `ept_map`; `calls`, where the class was concluded from those.
        learned_from: LearnedFrom => eve, zeek;
        /// Was a connection to it seen, from the client's address? One with several may come from another.
        followed: bool => eve, zeek;
    }
}

record! {
    /// The activation that a call descends from.
    #[derive(Default)]
    pub struct ActivationRecord in "dcom.activation" {
        /// Its connection.
        flow_id: u64 => eve;
        /// The frame of its request.
        frame: u64 => eve "pcap_cnt", zeek "activation_frame";
        /// When it was asked for.
        timestamp: Timestamp => eve, zeek "activation_ts";
        /// What ties the call to it: `strong` when each reference on the way was seen to be handed out, `weak` when the
        /// object only lives in the same process, or was handed to another address.
        proof: Proof => eve, zeek "activation_proof";
    }
}

record! {
    /// A tool, told by how it writes: see docs/TOOLS.md.
    #[derive(Default)]
    pub struct ToolRecord in "dcom.tool" {
        /// Its name; that of its family where several tools look the same.
        name: String => eve, zeek "tool";
        /// Tools like it.
        family: String => eve;
        /// How sure that is: `high`, `medium` or `low`.
        confidence: Cow<'static, str> => eve, zeek "tool_confidence";
        /// The facts that agree, each with the frame that shows it first.
        because: Vec<String> => eve;
    }
}

record! {
    /// How the caller authenticated.
    #[derive(Default)]
    pub struct Auth in "dcom.auth" {
        /// `none`, `ntlm`, `kerberos`, `spnego` or `netlogon`.
        service: Option<Cow<'static, str>> => eve, zeek "auth_service";
        /// `none`, `connect`, `call`, `pkt`, `pkt_integrity` or `pkt_privacy`.
        level: Option<Cow<'static, str>> => eve, zeek "auth_level";
        /// Which security context of the connection: a connection may have several.
        context_id: Option<u32> => eve;
        /// What SPNEGO settled on.
        mechanism: Option<Cow<'static, str>> => eve, zeek "auth_mechanism";
        /// The Kerberos realm.
        realm: Option<String> => eve, zeek "auth_realm";
        /// The service the caller thought to speak to: of the Kerberos ticket, or of the NTLM response.
        service_name: Option<String> => eve, zeek "auth_service_name";
    }
}

record! {
    /// Who called, as told in NTLMSSP or Kerberos.
    #[derive(Default)]
    pub struct ClientIdentity in "dcom.client" {
        /// The user.
        user: Option<String> => eve, zeek "client_user";
        /// The user's domain.
        domain: Option<String> => eve, zeek "client_domain";
        /// The computer the user sits at.
        workstation: Option<String> => eve, zeek "client_workstation";
        /// The login is one of nobody, by NTLM. Left out where it is not.
        anonymous: Option<bool> => eve;
    }
}

record! {
    /// Who was called, as told in NTLMSSP and in the bindings.
    #[derive(Default)]
    pub struct ServerIdentity in "dcom.server" {
        /// The server's `NetBIOS` name.
        netbios: Option<String> => eve, zeek "server_netbios";
        /// The server's DNS name.
        dns: Option<String> => eve, zeek "server_dns";
        /// The account the COM server runs as.
        runs_as: Option<String> => eve, zeek;
    }
}
