//! The analyst's memory: what the RPC exchanges mean in DCOM's terms, and which dynamic ports they lead to.
//!
//! A record that names a dynamic port waits a little for a connection to it, so that it can say whether one came.

mod activation;
mod calls;
mod endpoints;
mod exchange;
mod exporters;
mod generations;
mod interest;
mod logins;
mod mapper;
mod over;
mod resolver;
#[cfg(test)]
mod rig;
mod rpc_log;
mod tools;

use std::sync::Arc;

use dcom_parsers::dcom::ActivationRequest;
use dcom_parsers::guid::{Guid, Ipid};
use dcom_parsers::ndr::Encoding;
use dcom_parsers::rpce::{ContextElement, ContextResult};

pub use calls::Calls;
pub(crate) use calls::{decoded_powershell, members_of_unseen};
pub use endpoints::EndpointCounters;
pub(crate) use interest::is_read;
pub use over::OpenFlows;

use crate::anomaly::Anomaly;
use crate::capture::At;
use crate::catalog::Catalog;
use crate::decode::{Endpoint, Transport};
use crate::event::anomaly::AnomalyKind;
use crate::event::dcom::{ClientIdentity, Kind};
use crate::event::login::ByLogin;
use crate::event::meta::{Protocol, TunnelRecord};
use crate::event::record::{Interval, Port};
use crate::event::{self, Body, Dcerpc, Dcom, Event, Meta, Shared};
use crate::flow::{Connection, Opener, Silence};
use crate::limits::Limits;
use crate::rpc::{Exchange, FileOpened, Named, Reply, RpcBody, RpcEvent};
use crate::time::Timestamp;
use endpoints::{Endpoints, Learned};
use exporters::{Exporters, Pair};
use logins::Logins;
use tools::Watch;

/// What was counted here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DcomCounters {
    /// Activations asked for.
    pub activations: u64,
    /// Of these, those whose class was sealed.
    pub sealed_activations: u64,
    /// OXID resolutions.
    pub oxid_resolutions: u64,
    /// Endpoint mappings.
    pub endpoint_mappings: u64,
    /// Object calls recorded.
    pub calls: u64,
}

/// All state that crosses connections and hosts.
pub struct Analyst {
    catalog: Arc<Catalog>,
    calls: Calls,
    endpoints: Endpoints<Record>,
    /// Records that were told, and wait on for the connection; none where all wait until then.
    told: Option<Endpoints<Record>>,
    exporters: Exporters,
    logins: Logins,
    watch: Watch,
    counters: DcomCounters,
    /// Names of the inputs, when there are several: frame numbers start anew in each.
    inputs: Vec<Arc<str>>,
    /// Are they interfaces?
    live: bool,
}

/// A record, with the RPC exchange that it was read from.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// When, where, between whom.
    pub meta: Meta,
    /// What it means.
    pub dcom: Shared<Dcom>,
    /// What was exchanged.
    pub dcerpc: Shared<Dcerpc>,
    /// Is it written to the logs, or there for detections, and told in the RPC log alone?
    pub recorded: bool,
    /// How the stubs are encoded, where the bind told.
    pub encoding: Option<Encoding>,
}

/// A bind or `alter_context` and its answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Binding {
    /// When, where, between whom.
    pub meta: Meta,
    /// What was exchanged.
    pub dcerpc: Shared<Dcerpc>,
    /// The interfaces that were offered, each with the result that the server gave it (C706 12.6.3.1: 0 is acceptance).
    pub interfaces: Vec<(Guid, Option<u16>)>,
    /// Why the whole was refused, if it was.
    pub refused: Option<String>,
    /// Who logged in.
    pub client: ByLogin<ClientIdentity>,
}

/// A connection to the endpoint mapper's port that nobody answered.
#[derive(Clone, Debug, PartialEq)]
pub struct Unanswered {
    /// When, where, between whom.
    pub meta: Meta,
    /// How it was not answered.
    pub silence: Silence,
}

/// A file that was opened on an administrative share.
#[derive(Clone, Debug, PartialEq)]
pub struct File {
    /// When, where, between whom.
    pub meta: Meta,
    /// Which, and what for.
    pub opened: FileOpened,
}

/// An exchange as it was understood.
struct Read {
    dcom: Shared<Dcom>,
    /// What it tells of dynamic ports.
    learned: Option<Learned>,
    recorded: bool,
    /// Will anybody see it? What nobody will is not put into words.
    shown: bool,
    /// Of an activation: what was asked for.
    asked: Option<Box<ActivationRequest>>,
}

impl Read {
    /// What is written to the logs.
    fn recorded(dcom: Shared<Dcom>, learned: Option<Learned>) -> Self {
        Self {
            dcom,
            learned,
            recorded: true,
            shown: true,
            asked: None,
        }
    }
}

/// What this stage says.
#[allow(
    clippy::large_enum_variant,
    reason = "nearly all are events or records, which are moved on at once"
)]
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// A finished record: detections are made from these.
    Record(Record),
    /// Interfaces were offered: detections look at those that were refused.
    Bound(Box<Binding>),
    /// A connection stayed without an answer.
    Unanswered(Box<Unanswered>),
    /// A file was opened beside.
    File(Box<File>),
    /// Anything else that is logged.
    Event(Event),
}

/// Who is told.
pub trait Listener {
    /// Something is said.
    fn hear(&mut self, told: Told);
}

impl Analyst {
    /// Knows the classes of `catalog`, and of no connection yet.
    pub fn new(catalog: Arc<Catalog>, limits: &Limits, calls: Calls) -> Self {
        Self {
            catalog,
            calls,
            endpoints: Endpoints::new(limits, limits.told_within),
            told: (limits.told_within < limits.follow).then(|| Endpoints::new(limits, limits.follow)),
            exporters: Exporters::new(limits),
            logins: Logins::new(),
            watch: Watch::new(limits),
            counters: DcomCounters::default(),
            inputs: Vec::new(),
            live: false,
        }
    }

    /// Frames will be told apart by these names of inputs.
    pub fn name_inputs(&mut self, names: Vec<Arc<str>>) {
        self.inputs = names;
    }

    /// Frames come off these interfaces, and their numbers mean nothing to anybody.
    pub fn name_interfaces(&mut self, names: Vec<Arc<str>>) {
        self.inputs = names;
        self.live = true;
    }

    /// Knows other classes from now on.
    pub(crate) fn replace_catalog(&mut self, catalog: Arc<Catalog>) {
        self.catalog = catalog;
        self.watch.forget_told();
    }

    /// Says in an event where its frame stood.
    pub(crate) fn place(&self, at: At, meta: &mut Meta) {
        let input = self.inputs.get(at.input as usize).cloned();
        if self.live {
            meta.in_iface = input;
        } else {
            meta.frame = Some(at.frame);
            meta.pcap_filename = input;
        }
    }

    /// What was counted so far.
    pub fn counters(&self) -> &DcomCounters {
        &self.counters
    }

    /// Interfaces forgotten because there were too many.
    pub fn interfaces_forgotten(&self) -> u64 {
        self.exporters.forgotten()
    }

    /// Connections whose manner of writing was forgotten because there were too many.
    pub fn manners_forgotten(&self) -> u64 {
        self.watch.forgotten()
    }

    /// How many dynamic ports were named, and reached: while the record waited, or after it was told.
    pub fn endpoint_counters(&self) -> EndpointCounters {
        let late = self.told.as_ref().map_or(0, |told| told.counters().realized);
        let counters = *self.endpoints.counters();
        EndpointCounters {
            realized: counters.realized + late,
            ..counters
        }
    }

    /// A TCP connection was answered, or carries data: perhaps one that a record waits for.
    pub fn heard(&mut self, ends: [Endpoint; 2], opener: Opener, out: &mut dyn Listener) {
        self.follow(ends[0], ends[1], out);
        if opener == Opener::Unknown {
            self.follow(ends[1], ends[0], out);
        }
    }

    /// A connection to the endpoint mapper's port stayed without an answer.
    pub fn unanswered(&self, connection: &Arc<Connection>, silence: Silence, out: &mut dyn Listener) {
        let meta = self.meta(connection, connection.opened, None);
        out.hear(Told::Unanswered(Box::new(Unanswered { meta, silence })));
    }

    /// Takes in what RPC peers did.
    pub fn push(&mut self, event: &RpcEvent, out: &mut dyn Listener) {
        let RpcEvent { connection, body } = event;
        match body {
            // The dynamic ports that are waited for are TCP's.
            RpcBody::Opened | RpcBody::Closed if connection.transport == Transport::Udp => {}
            RpcBody::Opened => {
                self.endpoints
                    .opened(connection.client.address, connection.server, connection.flow_id);
                self.follow(connection.client, connection.server, out);
            }
            RpcBody::Closed => {
                self.endpoints
                    .closed(connection.client.address, connection.server, connection.flow_id);
            }
            RpcBody::Bound(bound) => {
                let at = bound.offered.or(bound.answered).unwrap_or_default();
                if let Some(refusal) = bound.refused {
                    let at = bound.answered.unwrap_or(at);
                    let detail = rpc_log::refusal(refusal);
                    let anomaly = Anomaly {
                        at,
                        name: "bind_refused",
                        detail,
                    };
                    out.hear(Told::Event(self.odd(connection, &anomaly, AnomalyKind::Applayer)));
                }
                let meta = self.meta(connection, at, bound.offered.and(bound.answered));
                let interface = |(element, result): &(ContextElement, Option<ContextResult>)| {
                    (element.abstract_syntax.uuid, result.map(|result| result.result))
                };
                out.hear(Told::Bound(Box::new(Binding {
                    meta,
                    dcerpc: Shared::new(rpc_log::bound(connection, bound)),
                    interfaces: bound.contexts.iter().map(interface).collect(),
                    refused: bound.refused.map(rpc_log::refusal),
                    client: self.logins.of(bound.auth, &bound.claims).client.clone(),
                })));
            }
            RpcBody::Exchange(exchange) => self.exchange(connection, exchange, out),
            RpcBody::Odd(anomaly) => out.hear(Told::Event(self.odd(connection, anomaly, AnomalyKind::Applayer))),
            RpcBody::Pdu(..) | RpcBody::Over(_) => {}
            RpcBody::Login(login) => {
                let meta = self.meta(connection, login.at, None);
                let body = Body::Login(Box::new(rpc_log::ntlm_row(login)));
                out.hear(Told::Event(Event { meta, body }));
            }
            RpcBody::File(opened) => out.hear(Told::File(Box::new(File {
                meta: self.meta(connection, opened.at, None),
                opened: (**opened).clone(),
            }))),
        }
    }

    /// Time has come this far: what waited long enough is let go.
    pub fn advance(&mut self, now: Timestamp, out: &mut dyn Listener) {
        while let Some((waiting, places)) = self.endpoints.overdue(now) {
            if let Some(told) = &mut self.told {
                told.wait(waiting.clone(), places, now);
            }
            out.hear(Told::Record(waiting));
        }
        if let Some(told) = &mut self.told {
            // No connection came: that is what was told.
            while told.overdue(now).is_some() {}
        }
    }

    /// The capture is over: nothing more will come.
    pub fn finish(&mut self, out: &mut dyn Listener) {
        while let Some(waiting) = self.endpoints.first() {
            out.hear(Told::Record(waiting));
        }
        if let Some(told) = &mut self.told {
            while told.first().is_some() {}
        }
        self.endpoints.forget_connections();
        self.exporters.clear();
        self.watch.clear();
    }

    fn exchange(&mut self, connection: &Arc<Connection>, exchange: &Exchange, out: &mut dyn Listener) {
        let reply = match &exchange.reply {
            Reply::Response(message) => Some(message.at),
            Reply::Fault { at, .. } => Some(*at),
            Reply::Unanswered | Reply::NotWanted => None,
        };
        let request = exchange.request.as_ref().map(|message| message.at);
        let at = request.or(reply).unwrap_or_default();
        let meta = self.meta(connection, at, request.and(reply));
        let read = self.read(connection, exchange, out);
        let who = self.logins.of(exchange.auth, &exchange.claims);
        let dcom = read.as_ref().map(|read| &*read.dcom);
        let dcerpc = Shared::new(rpc_log::exchange(connection, exchange, who, dcom));
        if let Some(Read {
            dcom,
            learned,
            recorded,
            ..
        }) = read
        {
            // Kept until it can be said whether the port was reached; the RPC log does not wait. What is not recorded does
            // not either, and brings its exchange.
            if recorded {
                out.hear(Told::Event(Event {
                    meta: meta.clone(),
                    body: Body::Dcerpc(dcerpc.clone()),
                }));
            }
            let waiting = Record {
                meta,
                dcom,
                dcerpc,
                recorded,
                encoding: exchange.encoding,
            };
            let now = reply.unwrap_or(at).steady();
            let client = connection.client;
            let mut there = learned.iter().flat_map(|learned| &learned.endpoints).copied();
            let older = there.find(|&endpoint| self.endpoints.is_open(client.address, endpoint));
            if let Some(released) = self.endpoints.expect(waiting, learned, client.address, now) {
                out.hear(Told::Record(released));
            }
            if let Some(endpoint) = older {
                self.follow(client, endpoint, out);
            }
        } else {
            out.hear(Told::Event(Event {
                meta,
                body: Body::Dcerpc(dcerpc),
            }));
        }
    }

    /// What an exchange means in DCOM's terms, if anything, and what it tells of dynamic ports.
    fn read(&mut self, connection: &Arc<Connection>, exchange: &Exchange, out: &mut dyn Listener) -> Option<Read> {
        let mut odd = Vec::new();
        let exporters = &mut self.exporters;
        exporters.advance(exchange.latest());
        if let Some(request) = &exchange.request {
            exporters.look_back(request.at.steady());
        }
        let pair = Pair::from(&**connection);
        let object = exchange.object.map(Ipid);
        if let (Some(ipid), Reply::Response(_)) = (object, &exchange.reply) {
            exporters.answered(pair, ipid);
        }
        // Where no bind says which interface is called, an object that was handed out is, whatever the stub looks like. Where
        // one does, the server goes by that: an object UUID that it gave no type changes nothing (C706, `rpc_object_set_type`).
        let is_object =
            exchange.interface == Named::Unseen && object.is_some_and(|ipid| exporters.find(pair, ipid).is_some());
        let asked = if is_object {
            None
        } else {
            activation::read(connection, exchange, &self.catalog, exporters, &mut odd)
                .or_else(|| resolver::read(connection, exchange, exporters, &mut odd))
                .or_else(|| mapper::read(connection, exchange, &mut odd))
        };
        let mut read =
            asked.or_else(|| calls::read(connection, exchange, exporters, &self.catalog, self.calls, &mut odd));
        for anomaly in &odd {
            out.hear(Told::Event(self.odd(connection, anomaly, AnomalyKind::Applayer)));
        }
        if let Some(read) = &mut read {
            let who = self.logins.of(exchange.auth, &exchange.claims);
            who.introduce(&mut read.dcom);
            exchange::doubt_offer(&mut read.dcom, exchange);
        }
        self.watch(connection, exchange, read.as_mut());
        let Read { dcom, recorded, .. } = read.as_ref()?;
        match dcom.kind {
            Kind::Activation => {
                self.counters.activations += 1;
                self.counters.sealed_activations += u64::from(dcom.sealed_stub_length.is_some());
            }
            Kind::OxidResolution => self.counters.oxid_resolutions += 1,
            Kind::EndpointMapping => self.counters.endpoint_mappings += 1,
            Kind::Call | Kind::HostConfirmation => self.counters.calls += u64::from(*recorded),
        }
        read
    }

    /// Looks at how the client writes, and says which tool that is where it is shown.
    fn watch(&mut self, connection: &Connection, exchange: &Exchange, read: Option<&mut Read>) {
        let named = match (&read, exchange.interface) {
            (Some(read), _) => read.dcom.interface.as_ref().map(|interface| interface.uuid),
            (None, Named::Interface(interface)) => Some(interface.uuid),
            (None, Named::Refused) => return,
            (None, Named::Unseen) => {
                let object = exchange.object.map(Ipid);
                let known = object.and_then(|ipid| self.exporters.find(Pair::from(connection), ipid));
                known.map(|known| known.iid.0)
            }
        };
        self.watch.push(self.catalog.tools(), connection, exchange, named, read);
    }

    fn follow(&mut self, client: Endpoint, server: Endpoint, out: &mut dyn Listener) {
        while let Some(mut waiting) = self.endpoints.follow(client.address, server) {
            if let Some(endpoint) = &mut waiting.dcom.endpoint {
                endpoint.followed = true;
                endpoint.ip = Some(server.address);
                endpoint.port = Some(Port(server.port));
            }
            out.hear(Told::Record(waiting));
        }
        let Some(told) = &mut self.told else { return };
        while let Some(Record { meta, mut dcom, .. }) = told.follow(client.address, server) {
            if let Some(endpoint) = &mut dcom.endpoint {
                endpoint.followed = true;
                endpoint.ip = Some(server.address);
                endpoint.port = Some(Port(server.port));
            }
            dcom.update = Some(true);
            let body = Body::Dcom(dcom);
            out.hear(Told::Event(Event { meta, body }));
        }
    }

    /// Something odd below RPC, on a connection that carries it or may.
    pub fn odd_stream(&self, connection: &Arc<Connection>, anomaly: &Anomaly, out: &mut dyn Listener) {
        out.hear(Told::Event(self.odd(connection, anomaly, AnomalyKind::Stream)));
    }

    fn odd(&self, connection: &Arc<Connection>, anomaly: &Anomaly, kind: AnomalyKind) -> Event {
        let in_rpc = kind == AnomalyKind::Applayer;
        let body = event::Anomaly {
            app_proto: in_rpc.then_some("dcerpc"),
            kind,
            event: anomaly.name.into(),
            layer: in_rpc.then_some("proto_parser"),
            detail: Some(anomaly.detail.clone()),
            count: None,
        };
        Event {
            meta: self.meta(connection, anomaly.at, None),
            body: Body::Anomaly(Box::new(body)),
        }
    }

    fn meta(&self, connection: &Arc<Connection>, at: At, reply: Option<At>) -> Meta {
        let vlan = &connection.vlan;
        let mut meta = Meta {
            timestamp: at.time,
            flow_id: Some(connection.flow_id),
            uid: Some(connection.uid),
            vlan: vlan.ids.get(..vlan.count.into()).unwrap_or_default().to_vec(),
            tunnel: connection.tunnel.map(TunnelRecord::from),
            client: Some(connection.client),
            server: Some(connection.server),
            proto: Some(match connection.transport {
                Transport::Tcp => Protocol::Tcp,
                Transport::Udp => Protocol::Udp,
            }),
            community_id: Some(connection.community_id),
            reply_frame: reply.filter(|_| !self.live).map(|reply| reply.frame),
            rtt: reply.map(|reply| Interval(reply.time.since(at.time))),
            ..Meta::default()
        };
        self.place(at, &mut meta);
        meta
    }
}

#[cfg(test)]
mod tests {
    use dcom_parsers::guid::Iid;
    use dcom_parsers::names::known;

    use super::rig::{Bytes, OBJECT, Rig, connection, exchange};
    use super::*;

    /// Is told nothing.
    struct Deaf;

    impl Listener for Deaf {
        fn hear(&mut self, _: Told) {}
    }

    #[test]
    fn an_activation_is_one_whatever_object_its_request_names() {
        // RemoteActivation of one interface, over one protocol.
        let class = Guid::com(0x5);
        let stub = Bytes::request().guid(class).words(&[0, 0, 2, 0, 1, 0x2_0000, 1]);
        let stub = stub
            .guid(known::IDISPATCH)
            .with([1, 0])
            .align(4)
            .words(&[1])
            .with([7, 0]);
        let read = |interface: Option<Guid>| {
            let limits = Limits::default();
            let mut analyst = Analyst::new(Arc::new(Catalog::built_in()), &limits, Calls::All);
            let told = exporters::Told::interface(OBJECT, Iid(known::IDISPATCH), 1);
            analyst.exporters.learn(Rig::pair(), told);
            let mut asked = exchange(interface, 0, stub.clone().into(), None);
            asked.object = Some(OBJECT.0);
            let read = analyst.read(&Arc::new(connection()), &asked, &mut Deaf).unwrap();
            (read.dcom.kind, read.dcom.clsid.map(|clsid| clsid.0))
        };
        assert_eq!(read(Some(known::IACTIVATION)), (Kind::Activation, Some(class)));
        assert_eq!(
            read(None),
            (Kind::Call, None),
            "nobody saw the bind: it is the object that is called"
        );
    }
}
