//! Which tool a client is, by how it writes: watches each connection for the facts that the catalogue knows, and puts
//! together what the activation's connection and the object's show.

use std::net::IpAddr;
use std::sync::Arc;

use dcom_parsers::dcom::{ActivationRequest, RemQueryInterfaceRequest};
use dcom_parsers::guid::Guid;
use dcom_parsers::names::known;
use dcom_parsers::oaut::{GetIdsOfNamesRequest, InvokeRequest, Variant};

use super::Read;
use super::exchange::parse;
use super::generations::Generations;
use crate::catalog::{Field, Seen, Sightings, Tools};
use crate::decode::Transport;
use crate::event::dcom::{Kind, ToolRecord};
use crate::event::{Dcom, Shared};
use crate::flow::{Connection, Protocol};
use crate::limits::Limits;
use crate::rpc::{Exchange, Message, Shape};
use crate::time::Timestamp;

/// Names of members that are kept for one connection, and bytes of the longest.
const MAX_NAMES: usize = 16;
const MAX_NAME: usize = 64;
/// Calls on one connection whose arguments' types are looked at.
const MAX_CALLS: u32 = 64;
/// Bytes of an activation that are searched for what fills it.
const MAX_SEARCHED: usize = 4096;

/// What is known of the clients' manners.
#[derive(Debug)]
pub(super) struct Watch {
    connections: Generations<u64, Watched>,
    /// Between two machines, the connection that activated last, and when.
    activations: Generations<(IpAddr, IpAddr), (u64, Timestamp)>,
    /// How often something new was seen on any connection.
    news: u64,
}

/// One connection.
#[derive(Debug, Default)]
struct Watched {
    sightings: Sightings,
    /// When something new was seen last, as [`Watch::news`] counts.
    news: u64,
    /// What was told last, and of what.
    told: Option<(Basis, Option<Shared<ToolRecord>>)>,
    /// What was looked at last: the same again shows nothing new.
    shape: Option<Arc<Shape>>,
    /// Members asked for by name.
    names: Vec<String>,
    names_lcid: Option<u32>,
    asked_names: bool,
    asked_type_info: bool,
    calls: u32,
}

/// What it depends on which tool is told: the same of the same. Of each connection, what was seen until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Basis {
    own: u64,
    other: Option<(u64, u64)>,
    /// Does the call descend from the other connection's activation?
    descends: bool,
}

impl Watch {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            connections: Generations::new(limits.tool_connections, limits.tool_memory),
            activations: Generations::new(limits.tool_connections, limits.tool_memory),
            news: 0,
        }
    }

    /// Tools are told by other facts from now on.
    pub(super) fn forget_told(&mut self) {
        for watched in self.connections.values_mut() {
            watched.told = None;
        }
    }

    /// How many connections were forgotten to make room.
    pub(super) fn forgotten(&self) -> u64 {
        self.connections.forgotten
    }

    /// The capture is over.
    pub(super) fn clear(&mut self) {
        self.connections.clear();
        self.activations.clear();
    }

    /// Takes in an exchange on `interface`, and says in its record, if it has one that is shown, which tool its client is.
    pub(super) fn push(
        &mut self,
        tools: &Tools,
        connection: &Connection,
        exchange: &Exchange,
        interface: Option<Guid>,
        read: Option<&mut Read>,
    ) {
        let told_of = matches!(
            interface,
            Some(known::IREM_UNKNOWN | known::IREM_UNKNOWN2 | known::IDISPATCH)
        );
        // In pipes the choices are SMB's, and over UDP there are none.
        let direct = connection.transport == Transport::Tcp && connection.protocol == Protocol::Rpc;
        let Some(request) = exchange
            .request
            .as_ref()
            .filter(|_| direct && (told_of || read.is_some()))
        else {
            return;
        };
        let flow = connection.flow_id;
        let now = request.at.steady();
        let watched = self.connections.touch(flow, now);
        let mut looking = Looking {
            tools,
            exchange,
            request,
            watched,
            news: &mut self.news,
        };
        looking.shape();
        looking.call(interface, read.as_deref().map(|read| &*read.dcom));
        let Some(read) = read.filter(|read| read.shown) else {
            return;
        };
        let dcom = &mut *read.dcom;
        let between = (connection.client.address, connection.server.address);
        if dcom.kind == Kind::Activation {
            looking.activation(dcom, read.asked.as_deref());
            *self.activations.touch(between, now) = (flow, now);
        }
        dcom.tool = self.tell(tools, connection, dcom);
    }

    /// What the connection shows, together with the activation's.
    fn tell(&mut self, tools: &Tools, connection: &Connection, dcom: &Dcom) -> Option<Shared<ToolRecord>> {
        let flow = connection.flow_id;
        let other = if let Some(activation) = &dcom.activation {
            Some(activation.flow_id)
        } else {
            // Which activation it descends from cannot be seen: the last one between these two machines before the
            // connection was opened, if the connection shows something of that tool by itself.
            let between = (connection.client.address, connection.server.address);
            let last = self.activations.get(&between);
            let before = last.filter(|(_, at)| *at <= connection.opened.steady());
            before.map(|(flow, _)| *flow)
        };
        let other = other.filter(|&other| other != flow);
        let other = other.and_then(|flow| Some((flow, self.connections.get(&flow)?)));
        let own = self.connections.get(&flow)?;
        let basis = Basis {
            own: own.news,
            other: other.map(|(flow, other)| (flow, other.news)),
            descends: dcom.activation.is_some(),
        };
        if let Some((known, told)) = &own.told
            && *known == basis
        {
            return told.clone();
        }
        let together = other
            .and_then(|(_, other)| tools.tell(&own.sightings.with(&other.sightings)))
            .filter(|told| basis.descends || tools.shows(told, &own.sightings));
        let told = together.or_else(|| tools.tell(&own.sightings)).map(|told| {
            Shared::new(ToolRecord {
                name: told.name,
                family: told.family,
                confidence: told.confidence.name().into(),
                because: told.because,
            })
        });
        if let Some(own) = self.connections.get_mut(&flow) {
            own.told = Some((basis, told.clone()));
        }
        told
    }
}

/// One exchange, looked at.
struct Looking<'a> {
    tools: &'a Tools,
    exchange: &'a Exchange,
    request: &'a Message,
    watched: &'a mut Watched,
    news: &'a mut u64,
}

impl Looking<'_> {
    fn see_at(&mut self, frame: u64, field: Field, seen: Seen<'_>) {
        if self.tools.see(field, seen, frame, &mut self.watched.sightings) {
            *self.news += 1;
            self.watched.news = *self.news;
        }
    }

    /// Is it worth while to put together what stands in a field?
    fn looks_for(&self, field: Field) -> bool {
        self.tools.looks_for(field, &self.watched.sightings)
    }

    fn see(&mut self, field: Field, seen: Seen<'_>) {
        self.see_at(self.request.at.frame, field, seen);
    }

    /// Bind, verifiers and login.
    fn shape(&mut self) {
        let shape = &self.exchange.shape;
        // Kept beside the connection's own, so that a change there makes another.
        if self
            .watched
            .shape
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, shape))
        {
            return;
        }
        self.watched.shape = Some(Arc::clone(shape));
        if let Some(bind) = shape.bind {
            if let Some(fragment) = bind.value.fragment {
                self.see_at(bind.frame, Field::BindFragment, Seen::Number(fragment.into()));
            }
            self.see_at(bind.frame, Field::BindNdr64, Seen::Flag(bind.value.ndr64));
            self.see_at(bind.frame, Field::BindFeatures, Seen::Flag(bind.value.features));
        }
        if let Some(id) = shape.auth_context_id {
            self.see_at(id.frame, Field::AuthContextId, Seen::Number(id.value.into()));
        }
        if let Some(padding) = shape.auth3_padding {
            let text = format!("{:08x}", u32::from_be_bytes(padding.value));
            self.see_at(padding.frame, Field::Auth3Padding, Seen::Text(&text));
        }
        if let Some(padding) = shape.request_padding {
            let text = format!("{:02x}", padding.value);
            self.see_at(padding.frame, Field::RequestPadding, Seen::Text(&text));
        }
        if let Some(negotiate) = shape.negotiate {
            self.see_at(
                negotiate.frame,
                Field::NtlmFlags,
                Seen::Number(negotiate.value.flags.into()),
            );
            if let Some(version) = negotiate.value.version {
                self.see_at(negotiate.frame, Field::NtlmVersion, Seen::Text(&version.to_string()));
            }
        }
        if let Some(response) = &shape.response {
            let (frame, value) = (response.frame, &response.value);
            if let Some(target) = &value.target_name {
                self.see_at(frame, Field::NtlmTarget, Seen::Text(target));
            }
            self.see_at(frame, Field::NtlmWorkstation, Seen::Flag(value.workstation));
            self.see_at(frame, Field::NtlmMic, Seen::Flag(value.mic));
            self.see_at(frame, Field::NtlmLmResponse, Seen::Flag(value.lm_response));
        }
    }

    /// An activation, as far as it can be read.
    fn activation(&mut self, dcom: &Dcom, asked: Option<&ActivationRequest>) {
        self.see(Field::ActivationOperation, Seen::Text(&dcom.operation));
        let length = match &*dcom.operation {
            "RemoteGetClassObject" => Field::GetClassObjectStub,
            "RemoteCreateInstance" => Field::CreateInstanceStub,
            _ => return,
        };
        self.see(length, Seen::Number(self.request.stub_length));
        let Some(asked) = asked else { return };
        if self.looks_for(Field::ActivationProperties) {
            let properties = asked.properties.header.properties.iter();
            let properties: Vec<_> = properties.map(|(id, _)| format!("{:x}", id.data1)).collect();
            self.see(Field::ActivationProperties, Seen::List(&properties));
        }
        let context = asked.properties.context.as_ref();
        if let Some(context) = context {
            self.see(Field::ActivationContext, Seen::Flag(context.client_context.is_some()));
        }
        self.see(
            Field::ClassContext,
            Seen::Number(asked.instantiation.class_context.into()),
        );
        if let Some(name) = &asked.server_name {
            self.see(Field::ServerName, Seen::Text(name));
        }
        self.see(Field::OrpcFlags, Seen::Number(asked.orpc_this.flags.into()));
        if self.looks_for(Field::Causality) {
            self.see(Field::Causality, Seen::Text(&asked.orpc_this.causality.to_string()));
        }
        if let Some((stub, _)) = self.request.readable() {
            self.see(
                Field::ActivationBytes,
                Seen::Bytes(&stub[..stub.len().min(MAX_SEARCHED)]),
            );
        }
    }

    /// A call: what an object is asked for, and how its members are called.
    fn call(&mut self, interface: Option<Guid>, dcom: Option<&Dcom>) {
        let opnum = self.exchange.opnum;
        match interface {
            Some(known::IREM_UNKNOWN | known::IREM_UNKNOWN2) if opnum == Some(3) => self.query(),
            Some(known::IDISPATCH) if opnum == Some(4) => self.watched.asked_type_info = true,
            _ => {}
        }
        let dispatch = interface == Some(known::IDISPATCH);
        match (opnum, dcom) {
            (Some(5), Some(dcom)) if dispatch || dcom.operation == "GetIDsOfNames" => self.names(),
            (Some(6), Some(dcom)) if dispatch || dcom.operation == "Invoke" => self.invoke(dcom),
            (_, Some(dcom)) => self.other(dcom),
            _ => {}
        }
    }

    fn query(&mut self) {
        if !self.looks_for(Field::InterfaceQuery) {
            return;
        }
        let asked = parse(self.request, self.exchange.encoding, RemQueryInterfaceRequest::parse);
        if let Some(Ok((asked, _))) = asked {
            for iid in asked.iids.iter().take(MAX_NAMES) {
                self.see(Field::InterfaceQuery, Seen::Text(&iid.to_string()));
            }
        }
    }

    fn names(&mut self) {
        self.watched.asked_names = true;
        let asked = parse(self.request, self.exchange.encoding, GetIdsOfNamesRequest::parse);
        let Some(Ok((asked, _))) = asked else { return };
        self.watched.names_lcid.get_or_insert(asked.lcid);
        if self.watched.names.len() < MAX_NAMES
            && let Some(name) = asked.names.into_iter().next().filter(|name| name.len() <= MAX_NAME)
        {
            self.watched.names.push(name);
            let names = std::mem::take(&mut self.watched.names);
            self.see(Field::Names, Seen::List(&names));
            self.watched.names = names;
        }
    }

    fn invoke(&mut self, dcom: &Dcom) {
        let numbers = match (self.watched.asked_names, self.watched.asked_type_info) {
            (true, false) => Some("names"),
            (false, true) => Some("type_information"),
            _ => None,
        };
        if let Some(numbers) = numbers {
            self.see(Field::InvokeNumbers, Seen::Text(numbers));
        }
        // The request could not be read.
        if dcom.dispid.is_none() {
            return;
        }
        if let Some(method) = dcom.method.as_ref().filter(|_| self.looks_for(Field::Call)) {
            let call = format!("{method}({})", dcom.arguments.join(", "));
            self.see(Field::Call, Seen::Text(&call));
        }
        self.other(dcom);
        self.watched.calls += 1;
        let lcids = self.watched.names_lcid.is_some() && self.looks_for(Field::Lcids);
        if self.watched.calls > MAX_CALLS || !(lcids || self.looks_for(Field::CallTypes)) {
            return;
        }
        let asked = parse(self.request, self.exchange.encoding, InvokeRequest::parse);
        let Some(Ok((asked, _))) = asked else { return };
        if let Some(names) = self.watched.names_lcid {
            let lcids = [names, asked.lcid].map(|lcid| format!("{lcid:#x}"));
            self.see(Field::Lcids, Seen::List(&lcids));
        }
        if let Some(method) = &dcom.method {
            let types: Vec<_> = asked
                .arguments
                .iter()
                .map(|argument| type_of(&argument.value))
                .collect();
            self.see(Field::CallTypes, Seen::Text(&format!("{method}({})", types.join(", "))));
        }
    }

    fn other(&mut self, dcom: &Dcom) {
        if let Some(command_line) = &dcom.command_line {
            self.see(Field::CommandLine, Seen::Text(command_line));
        }
        if dcom.operation == "NTLMLogin"
            && let Some(namespace) = dcom.arguments.iter().find_map(|it| it.strip_prefix("namespace="))
        {
            self.see(Field::WmiNamespace, Seen::Text(namespace));
        }
    }
}

/// The type of an argument, of those that callers choose between.
fn type_of(value: &Variant<'_>) -> &'static str {
    match value {
        Variant::Empty => "VT_EMPTY",
        Variant::Null => "VT_NULL",
        Variant::I4(_) => "VT_I4",
        Variant::Bstr(_) => "VT_BSTR",
        Variant::Bool(_) => "VT_BOOL",
        Variant::Error(_) => "VT_ERROR",
        _ => "other",
    }
}
