//! Object calls: what was done with an object once it was there, and which further objects that led to.

mod dispatch;
mod early;
mod management;
mod powershell;
mod references;
mod services;
mod sort;

use std::sync::Arc;

use dcom_parsers::dcom::{Objref, OrpcThat, RemInterfaceRef, SetId, StdObjref};
use dcom_parsers::guid::{Guid, Iid, Ipid, Oid};
use dcom_parsers::names::{self, known};
use dcom_parsers::ndr::{Encoding, Reader};
use dcom_parsers::oaut::InterfacePointer;

use super::exchange::{doubt_encoding, parse_sound, record, response, set_result, set_status, unreadable};
use super::exporters::{Exporters, Known, Lineage, Pair, Tie, Told, ToldBy, UNSEEN};
use crate::anomaly::Anomaly;
use crate::catalog::{Catalog, Category, Operation};
use crate::event::dcom::{Evidence, Kind, Outcome, Proof};
use crate::event::{Dcom, Shared};
use crate::flow::Connection;
use crate::rpc::{Exchange, Message, Named, Stub};
pub(crate) use dispatch::members_of_unseen;
pub(crate) use powershell::decoded as decoded_powershell;
pub(super) use sort::is_read;
use sort::{
    By, Sort, looks_like_dispatch, looks_like_rem_unknown, may_be_dispatch, may_be_object_call, other_than, sort,
};

/// [MS-OAUT] 3.1.4 Message Processing Events and Sequencing Rules: opnums of `IDispatch`.
const GET_IDS_OF_NAMES: u16 = 5;
const INVOKE: u16 = 6;

/// Which object calls are recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Calls {
    /// Those that say what was done: `IDispatch`, WMI, tasks, services.
    #[default]
    Interest,
    /// All of them, bookkeeping included.
    All,
}

/// A call as it is read, and the references that its answer hands out.
struct Read<'a> {
    dcom: &'a mut Dcom,
    /// Will anybody see the record? What nobody will is not put into words.
    shown: bool,
    exchange: &'a Exchange,
    encoding: Option<Encoding>,
    /// The object that is called, when a reply has handed it out.
    object: Option<&'a Known>,
    /// All objects that were handed out.
    exporters: &'a Exporters,
    /// Who calls whom.
    pair: Pair,
    catalog: &'a Catalog,
    references: Vec<(StdObjref, Iid, Descent)>,
    /// What the call does to what is remembered of objects.
    effects: Vec<Effect>,
    /// How the object that the called member gives is reached from the called one.
    member: Option<String>,
    odd: &'a mut Vec<Anomaly>,
}

/// What a call does to what is remembered of objects.
#[derive(Clone, Debug, PartialEq)]
enum Effect {
    /// A member of an object has this number and name.
    Name(Ipid, i64, String, ToldBy),
    /// A parameter of a member of an object has this number and name.
    Parameter(Ipid, i64, i64, String),
    /// The client asked for the number of a member, and the answer was not seen.
    Ask(Ipid, String),
    /// The client holds more references.
    AddRef(RemInterfaceRef),
    /// The client holds fewer references.
    Release(RemInterfaceRef),
    /// A set of objects is kept alive, with these added and those taken out.
    Ping(SetId, Vec<Oid>, Vec<Oid>),
}

/// Where an object that an answer hands out comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Descent {
    /// It is the object that is called, or was made by it.
    Same,
    /// It is the object with this IPID, by another interface.
    Of(Ipid),
    /// It is what the called member gave.
    Member,
    /// It says something about the object, and is no part of it.
    Aside,
}

impl<'a> Read<'a> {
    /// Reads the request's stub, if it is there. That it is there and cannot be read is an anomaly.
    fn request<T>(&mut self, read: impl Fn(&mut Reader<'a>) -> dcom_parsers::error::Result<T>) -> Option<T> {
        self.sound_request(read, |_| true)
    }

    /// The same, of one that may be read in part.
    fn sound_request<T>(
        &mut self,
        read: impl Fn(&mut Reader<'a>) -> dcom_parsers::error::Result<T>,
        is_sound: impl Fn(&T) -> bool,
    ) -> Option<T> {
        let message = self.exchange.request.as_ref()?;
        let value = self.message(message, read, is_sound)?;
        self.dcom.evidence = Evidence::Arguments;
        if self.encoding.is_none() {
            doubt_encoding(self.dcom);
        }
        Some(value)
    }

    /// Reads the response's stub, if it is there.
    fn response<T>(&mut self, read: impl Fn(&mut Reader<'a>) -> dcom_parsers::error::Result<T>) -> Option<T> {
        let message = response(self.exchange)?;
        self.message(message, read, |_| true)
    }

    fn message<T>(
        &mut self,
        message: &'a Message,
        read: impl Fn(&mut Reader<'a>) -> dcom_parsers::error::Result<T>,
        is_sound: impl Fn(&T) -> bool,
    ) -> Option<T> {
        let outcome = parse_sound(message, self.encoding, read, is_sound)?;
        let told = outcome.map_err(|error| self.odd.push(unreadable(message, &error)));
        let (value, encoding) = told.ok()?;
        self.encoding = encoding;
        Some(value)
    }

    /// The answer hands out a reference to an interface.
    fn hand_out(&mut self, pointer: Option<InterfacePointer<'_>>, descent: Descent) {
        if let Some(objref) = pointer.and_then(|pointer| pointer.objref().ok()) {
            self.refer(&objref, descent);
        }
    }

    fn refer(&mut self, objref: &Objref<'_>, descent: Descent) {
        if let Some(std) = objref.std() {
            self.references.push((*std, objref.iid, descent));
            self.shows(std.ipid);
            // Objects handed out live with one exporter, as a rule; it need not be the one of the object that was called.
            self.dcom.oxid.get_or_insert(std.oxid);
        }
    }

    /// A reference that the answer hands out.
    fn shows(&mut self, ipid: Ipid) {
        if self.shown {
            self.dcom.ipids.push(ipid);
        }
    }

    /// The answer names a member: of the called object, or of the one that the called type information is about.
    fn name(&mut self, dispid: i64, name: String, by: ToldBy) {
        let about = self.object.and_then(|object| object.describes);
        let object = match by {
            ToldBy::TypeInfo => about,
            ToldBy::GetIdsOfNames | ToldBy::Question => self.dcom.ipid,
        };
        if let Some(object) = object {
            self.effects.push(Effect::Name(object, dispid, name, by));
        }
    }

    fn result(&mut self, hresult: u32) {
        set_result(self.dcom, hresult);
    }

    /// The call is about another object than the one that is called: it belongs where that one comes from.
    fn is_about(&mut self, ipid: Ipid) {
        if self.dcom.activation.is_none() {
            let object = self.exporters.find(self.pair, ipid);
            set_lineage(self.dcom, object, self.pair, self.shown);
        }
    }

    /// A call that failed may carry, beside its result, what the object says of it.
    fn error_info(&mut self) {
        if !self.shown || self.dcom.ipid.is_none() || self.dcom.outcome != Some(Outcome::Failed) {
            return;
        }
        let info = self.response(OrpcThat::parse).and_then(|that| that.error_info());
        if let Some(description) = info.as_ref().and_then(|info| info.description.as_deref()) {
            let source = info.as_ref().and_then(|info| info.source.as_deref());
            self.dcom.result = Some(source.into_iter().chain([description]).collect::<Vec<_>>().join(": "));
        }
    }
}

/// A call as one interface understands it.
struct Understood {
    dcom: Shared<Dcom>,
    shown: bool,
    interesting: bool,
    learned: Vec<Told>,
    effects: Vec<Effect>,
    odd: Vec<Anomaly>,
    /// The interface has such an operation, and nothing in the stubs speaks against it.
    fits: bool,
}

/// A call that is yet to be understood.
struct Question<'a> {
    connection: &'a Connection,
    exchange: &'a Exchange,
    exporters: &'a Exporters,
    catalog: &'a Catalog,
    recorded: Calls,
    pair: Pair,
    opnum: u16,
    /// The object that is called, when a reply has handed it out.
    object: Option<&'a Known>,
}

/// Reads an exchange as a call, if it is one, and learns the references that it hands out.
pub(super) fn read(
    connection: &Connection,
    exchange: &Exchange,
    exporters: &mut Exporters,
    catalog: &Catalog,
    recorded: Calls,
    odd: &mut Vec<Anomaly>,
) -> Option<super::Read> {
    let opnum = exchange.opnum?;
    let pair = Pair::from(connection);
    let ipid = exchange.object.map(Ipid);
    let question = Question {
        connection,
        exchange,
        exporters,
        catalog,
        recorded,
        pair,
        opnum,
        object: ipid.and_then(|ipid| exporters.find(pair, ipid)),
    };
    let understood = question.understand()?;
    odd.extend(understood.odd);
    if let Some(ipid) = ipid {
        exporters.used(pair, ipid);
    }
    for told in understood.learned {
        exporters.learn(pair, told);
    }
    let refused = understood.dcom.outcome == Some(Outcome::Failed);
    for effect in understood.effects {
        match effect {
            // What the server refused to do was not done.
            Effect::AddRef(_) | Effect::Release(_) | Effect::Ping(..) if refused => {}
            Effect::Name(ipid, dispid, name, by) => {
                let matters = !catalog.methods(&name).is_empty();
                exporters.name(pair, ipid, dispid, &name, by, matters);
            }
            Effect::Parameter(ipid, member, dispid, name) => exporters.parameter(pair, ipid, member, dispid, &name),
            Effect::Ask(ipid, name) => exporters.asked(pair, ipid, &name),
            Effect::AddRef(references) => exporters.add_references(pair, &references),
            Effect::Release(references) => exporters.release(pair, &references),
            Effect::Ping(set, added, deleted) => exporters.ping(pair.server, set, &added, &deleted),
        }
    }
    Some(super::Read {
        dcom: understood.dcom,
        learned: None,
        recorded: understood.interesting || recorded == Calls::All,
        shown: understood.shown,
        asked: None,
    })
}

impl Question<'_> {
    fn understand(&self) -> Option<Understood> {
        let context = match self.exchange.interface {
            Named::Interface(context) => context.uuid,
            Named::Refused => return None,
            Named::Unseen => {
                return match self.object {
                    Some(known) => self.read_as(known.iid.0, By::Object(known.frame)),
                    None if looks_like_dispatch(self.exchange) => self.read_as(known::IDISPATCH, By::Stub),
                    None if looks_like_rem_unknown(self.exchange) => self.read_as(known::IREM_UNKNOWN, By::Stub),
                    None => None,
                };
            }
        };
        let Some((interface, by)) = other_than(context, self.exchange, self.opnum, self.object) else {
            return self.read_as(context, By::Context);
        };
        // An IPID stands for one interface of one object ([MS-DCOM] 2.2.9), and COM servers go by it: what the context was
        // bound to stands only where the call is none of
        // that interface.
        let by_object = self.read_as(interface, by)?;
        if by_object.fits {
            return Some(by_object);
        }
        match self.read_as(context, By::Context) {
            Some(by_context) if by_context.fits => Some(by_context),
            _ => Some(by_object),
        }
    }

    fn read_as(&self, interface: Guid, by: By) -> Option<Understood> {
        let Self {
            exchange,
            catalog,
            opnum,
            ..
        } = *self;
        let ipid = exchange.object.map(Ipid);
        let sort = match sort(interface, opnum, ipid)? {
            Sort::Other
                if may_be_dispatch(interface, opnum, ipid)
                    && catalog.operation(interface, opnum).is_none()
                    && looks_like_dispatch(exchange) =>
            {
                Sort::Dispatch
            }
            Sort::Other if self.object.is_none() && !may_be_object_call(exchange, opnum) => return None,
            sort => sort,
        };
        let shown = self.recorded == Calls::All || is_shown(sort, interface, opnum, catalog);
        let mut shared = record(self.connection, exchange, interface, opnum);
        let dcom = &mut *shared;
        dcom.kind = Kind::Call;
        dcom.ipid = ipid;
        set_told(dcom, exchange, by);
        if sort == Sort::Dispatch && names::operation(interface, opnum).is_none() {
            dcom.operation = names::operation(known::IDISPATCH, opnum).unwrap_or_default().into();
            dcom.because
                .push("an interface derived from IDispatch, told by the content of the stub".into());
        }
        set_lineage(dcom, self.object, self.pair, shown);
        let mut odd = Vec::new();
        let mut read = Read {
            dcom,
            shown,
            exchange,
            encoding: exchange.encoding,
            object: self.object,
            exporters: self.exporters,
            pair: self.pair,
            catalog,
            references: Vec::new(),
            effects: Vec::new(),
            member: None,
            odd: &mut odd,
        };
        let interesting = match sort {
            Sort::Dispatch => dispatch::read(&mut read, opnum),
            Sort::References => references::read(&mut read, interface, opnum),
            Sort::Management => management::read(&mut read, interface, opnum),
            Sort::Services => services::read(&mut read, interface, opnum),
            Sort::Other => {
                references::unread(&mut read);
                operation(&mut read, interface, opnum)
            }
        };
        read.error_info();
        let learned = learned(&read, self.pair, self.exporters, by);
        let effects = read.effects;
        let has_operation =
            names::operation(interface, opnum).is_some() || catalog.operation(interface, opnum).is_some();
        Some(Understood {
            fits: odd.is_empty() && (has_operation || (sort == Sort::Dispatch && opnum <= INVOKE)),
            dcom: shared,
            shown,
            interesting,
            learned,
            effects,
            odd,
        })
    }
}

/// What a reader has to know where it was not the context that told the interface.
fn set_told(dcom: &mut Dcom, exchange: &Exchange, by: By) {
    let told = match by {
        By::Context => return,
        By::Object(frame) => format!("interface told by its IPID, from frame {frame}"),
        By::Stub => "interface told by the content of the stub".to_owned(),
    };
    match exchange.interface {
        Named::Interface(context) => {
            let context = context.uuid;
            let name = names::interface(context).map_or_else(|| context.to_string(), str::to_owned);
            let because = format!("{told}; the context was bound to {name}");
            dcom.because.push(because.into());
        }
        _ => {
            if let Some(last) = dcom.because.last_mut() {
                *last = told.into();
            }
        }
    }
}

/// An operation that the catalogue lists by its number. True when it is: it runs something, or has another effect.
fn operation(call: &mut Read<'_>, interface: Guid, opnum: u16) -> bool {
    let catalog = call.catalog;
    let Some(operation) = catalog.operation(interface, opnum) else {
        return false;
    };
    call.dcom.method = Some(operation.name.clone().into());
    conclude_origin(call, operation);
    if operation.dual {
        early::read(call, operation);
        return true;
    }
    // What little is published of them may be wrong: of arguments that make no sense the number says enough.
    let broken = !operation.arguments.is_empty() && early::arguments(call, &operation.arguments).is_some();
    let told = call.dcom.arguments.len();
    if broken && told == 0 {
        call.dcom.evidence = Evidence::Header;
    } else if broken {
        call.dcom.evidence = Evidence::Inferred;
        let because = format!(
            "operation {opnum} is {}; {told} of its arguments could be read",
            operation.name
        );
        call.dcom.because.push(because.into());
    }
    if operation.is_called(&call.dcom.arguments) {
        call.dcom.effect = Some(operation.effect);
        call.dcom.command_line = operation.command_line(&call.dcom.arguments);
        call.dcom.decoded_command = call.dcom.command_line.as_deref().and_then(powershell::decoded);
    }
    early::result(call);
    true
}

/// Of an object of which nothing else told where it comes from, an interface that objects of one class alone have does.
fn conclude_origin(call: &mut Read<'_>, operation: &Operation) {
    let dcom = &mut *call.dcom;
    let is_unseen = dcom.object_path.as_deref().is_none_or(|path| path.starts_with(UNSEEN));
    let Some(path) = operation.path.as_deref() else { return };
    if !is_unseen || dcom.class.is_some() || dcom.clsid.is_some() {
        return;
    }
    dcom.object_path = Some(path.to_owned());
    // What cannot be activated from afar was not.
    let class = call.catalog.beginning(path);
    if let Some(class) = class.filter(|class| class.category != Category::Probe) {
        let because = format!("class concluded from the object's interface: {path}");
        dcom.because.push(because.into());
        dcom.class = Some(class.name.clone());
    }
}

/// Where the object comes from.
fn set_lineage(dcom: &mut Dcom, object: Option<&Known>, pair: Pair, shown: bool) {
    let Some((object, lineage)) = object.and_then(|object| Some((object, object.lineage.as_ref()?))) else {
        return;
    };
    dcom.clsid = lineage.clsid;
    dcom.activation.clone_from(&lineage.activation);
    if shown {
        dcom.class.clone_from(&lineage.class);
        dcom.object_path = Some(lineage.path.clone());
    }
    // That of what was called is known, and what was called of it is not.
    if dcom.clsid.is_some() && dcom.evidence == Evidence::Header {
        dcom.evidence = Evidence::Class;
    }
    let Some(activation) = &mut dcom.activation else { return };
    let because = if !object.is_held_by(pair.client) {
        activation.proof = Proof::Weak;
        "the object was handed to another address than the one that calls it"
    } else if object.has_outlived() {
        "its last reference was released before, as far as was seen; tied to the activation by its IPID"
    } else {
        match lineage.tie {
            None => return,
            Some(Tie::Exporter) => "tied to the activation by its exporter alone",
            Some(Tie::OtherClient) => {
                "what led to the object was handed to another address than the one that called it"
            }
            Some(Tie::OtherServer) => {
                "the object, or what led to it, was handed out at another address, which the server did not name as its own"
            }
            Some(Tie::Released) => {
                "the last reference to what led to the object was released before, as far as was seen"
            }
        }
    };
    dcom.because.push(because.into());
}

/// What the answer hands out, and what the call itself tells.
fn learned(read: &Read<'_>, pair: Pair, exporters: &Exporters, by: By) -> Vec<Told> {
    let frame = response(read.exchange).map_or(0, |message| message.at.frame);
    let own = read.object.and_then(|object| object.lineage_for(pair.client));
    let interface = read.dcom.interface.as_ref().map(|interface| interface.uuid);
    let is_made = matches!(interface, Some(known::ICLASS_FACTORY | known::ICLASS_FACTORY2));
    let lineage = |descent, oxid| {
        let seen = match descent {
            Descent::Same => own.clone(),
            Descent::Of(other) => exporters.lineage_of(pair, other),
            // What an object gives that came from nobody knows where is still that member of it.
            Descent::Member => read.member.as_ref().map(|member| {
                let unseen = Lineage::unseen;
                own.as_ref()
                    .map_or_else(|| unseen().member(member), |own| own.member(member))
                    .into()
            }),
            Descent::Aside => {
                let member = format!("{}()", read.dcom.operation);
                return own.as_ref().map(|own| own.member(&member).into());
            }
        };
        if seen.as_ref().is_some_and(|lineage| lineage.activation.is_some()) {
            return seen;
        }
        match (exporters.by_exporter(pair, oxid, is_made), seen) {
            // Of a member of something else that lives there, the class is not told.
            (Some(activated), Some(seen)) => Some(Arc::new(Lineage {
                activation: activated.activation.clone(),
                tie: activated.tie,
                beside: activated.beside,
                ..Arc::unwrap_or_clone(seen)
            })),
            (activated, seen) => activated.or(seen),
        }
    };
    let mut told = Vec::new();
    for &(std, iid, descent) in &read.references {
        told.push(Told {
            lineage: lineage(descent, std.oxid),
            describes: match descent {
                Descent::Aside => read.dcom.ipid,
                Descent::Of(other) => exporters.find(pair, other).and_then(|other| other.describes),
                Descent::Same | Descent::Member => None,
            },
            reference: Some(std),
            ..Told::interface(std.ipid, iid, frame)
        });
    }
    // Handed out where nobody could read it, as by a sealed activation: the call itself tells what it is, by the context that
    // it is made in, or for certain by its stub.
    let is_new = match by {
        By::Context => read.object.is_none(),
        By::Stub => read.object.is_none_or(|object| !object.certain),
        By::Object(_) => false,
    };
    if let (true, Some(ipid), Some(interface)) = (is_new, read.dcom.ipid, interface) {
        let frame = read.exchange.request.as_ref().map_or(frame, |message| message.at.frame);
        told.push(Told {
            certain: by == By::Stub,
            ..Told::interface(ipid, Iid(interface), frame)
        });
    }
    told
}

/// Will anybody see such a call? Those that are recorded, and those that an alert rests on. Detections look at all, but at
/// others in passing: for what was called, when and between whom.
fn is_shown(sort: Sort, interface: Guid, opnum: u16, catalog: &Catalog) -> bool {
    match sort {
        Sort::Dispatch => dispatch::is_of_interest(opnum),
        Sort::References => references::is_of_interest(interface, opnum),
        Sort::Management | Sort::Services => true,
        Sort::Other => catalog.operation(interface, opnum).is_some(),
    }
}

/// The request could not be read because it is sealed.
fn is_sealed(exchange: &Exchange) -> bool {
    matches!(exchange.request, Some(Message { stub: Stub::Sealed, .. }))
}
