//! Object calls: what was done with an object once it was there, and which further objects that led to.

mod dispatch;
mod management;
mod powershell;
mod references;
mod services;

use std::sync::Arc;

use dcom_parsers::dcom::{Objref, OrpcThat, SetId, StdObjref};
use dcom_parsers::guid::{Guid, Iid, Ipid, Oid};
use dcom_parsers::names::{self, known};
use dcom_parsers::ndr::{Encoding, Reader};
use dcom_parsers::oaut::{InterfacePointer, InvokeRequest};

use super::exchange::{parse, parse_or_tell, record, response, set_result, set_status, unreadable};
use super::exporters::{Exporters, Known, Lineage, Pair, Told, ToldBy};
use crate::anomaly::Anomaly;
use crate::catalog::Catalog;
use crate::event::Dcom;
use crate::event::dcom::{Evidence, Kind, Outcome, Proof};
use crate::flow::Connection;
use crate::rpc::{Exchange, Message, Named, Stub};
pub(crate) use powershell::decoded as decoded_powershell;

/// Which object calls are recorded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Calls {
    /// Those that say what was done: `IDispatch`, WMI, tasks, services.
    #[default]
    Interest,
    /// All of them, bookkeeping included.
    All,
}

/// What sort of call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    /// `IDispatch`, or the first operations of an interface derived from it.
    Dispatch,
    /// Counting and passing on of references, type information.
    References,
    /// WMI, the task scheduler, the service manager.
    Management,
    /// Pings, remote management.
    Services,
    /// Another call on an object.
    Other,
}

/// A call as it is read, and the references that its answer hands out.
struct Read<'a> {
    dcom: Box<Dcom>,
    exchange: &'a Exchange,
    encoding: Option<Encoding>,
    /// The object that is called, when a reply has handed it out.
    object: Option<&'a Known>,
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
    /// The client asked for the number of a member, and the answer was not seen.
    Ask(Ipid, String),
    /// The client holds more references.
    AddRef(Ipid, u32),
    /// The client holds fewer references.
    Release(Ipid, u32),
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
        let message = self.exchange.request.as_ref()?;
        let value = self.message(message, read)?;
        self.dcom.evidence = Evidence::Arguments;
        Some(value)
    }

    /// Reads the response's stub, if it is there.
    fn response<T>(&mut self, read: impl Fn(&mut Reader<'a>) -> dcom_parsers::error::Result<T>) -> Option<T> {
        let message = response(self.exchange)?;
        self.message(message, read)
    }

    fn message<T>(
        &mut self,
        message: &'a Message,
        read: impl Fn(&mut Reader<'a>) -> dcom_parsers::error::Result<T>,
    ) -> Option<T> {
        let (value, encoding) = parse_or_tell(message, self.encoding, self.odd, read)?;
        self.encoding = Some(encoding);
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
            self.dcom.ipids.push(std.ipid);
            // Objects handed out live with one exporter, as a rule; it need not be the one of the object that was called.
            self.dcom.oxid.get_or_insert(std.oxid);
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
        set_result(&mut self.dcom, hresult);
    }

    /// A call that failed may carry, beside its result, what the object says of it.
    fn error_info(&mut self) {
        if self.dcom.ipid.is_none() || self.dcom.outcome != Some(Outcome::Failed) {
            return;
        }
        let info = self.response(OrpcThat::parse).and_then(|that| that.error_info());
        if let Some(description) = info.as_ref().and_then(|info| info.description.as_deref()) {
            let source = info.as_ref().and_then(|info| info.source.as_deref());
            self.dcom.result = Some(source.into_iter().chain([description]).collect::<Vec<_>>().join(": "));
        }
    }
}

/// Reads an exchange as a call, if it is one, and learns the references that it hands out. Says whether it is a call of
/// interest.
pub(super) fn read(
    connection: &Connection,
    exchange: &Exchange,
    exporters: &mut Exporters,
    catalog: &Catalog,
    odd: &mut Vec<Anomaly>,
) -> Option<(Box<Dcom>, Calls)> {
    let opnum = exchange.opnum?;
    let pair = Pair::from(connection);
    let ipid = exchange.object.map(Ipid);
    let (interface, because) = match exchange.interface {
        Named::Interface(interface) => (interface.uuid, None),
        Named::Refused => return None,
        Named::Unseen => match ipid.and_then(|ipid| exporters.find(pair, ipid)) {
            Some(known) => (
                known.iid.0,
                Some(format!("interface told by its IPID, from frame {}", known.frame)),
            ),
            None if looks_like_invoke(exchange) => (known::IDISPATCH, None),
            None => return None,
        },
    };
    let sort = sort(interface, opnum, ipid)?;
    let mut dcom = record(connection, exchange, interface, opnum);
    dcom.kind = Kind::Call;
    dcom.ipid = ipid;
    if let (Some(because), Some(last)) = (because, dcom.because.last_mut()) {
        *last = because.into();
    }
    let object = ipid.and_then(|ipid| exporters.find(pair, ipid));
    set_lineage(&mut dcom, object, pair);
    let mut read = Read {
        dcom,
        exchange,
        encoding: exchange.encoding,
        object,
        catalog,
        references: Vec::new(),
        effects: Vec::new(),
        member: None,
        odd,
    };
    let interesting = match sort {
        Sort::Dispatch => dispatch::read(&mut read, opnum),
        Sort::References => references::read(&mut read, interface, opnum),
        Sort::Management => management::read(&mut read, interface, opnum),
        Sort::Services => services::read(&mut read, interface, opnum),
        Sort::Other => operation(&mut read, interface, opnum),
    };
    read.error_info();
    let learned = learned(&read, pair, exporters);
    let Read { dcom, effects, .. } = read;
    if let Some(ipid) = ipid {
        exporters.used(pair, ipid);
    }
    for told in learned {
        exporters.learn(pair, told);
    }
    for effect in effects {
        match effect {
            Effect::Name(ipid, dispid, name, by) => exporters.name(pair, ipid, dispid, &name, by),
            Effect::Ask(ipid, name) => exporters.asked(pair, ipid, &name),
            Effect::AddRef(ipid, count) => exporters.add_references(pair, ipid, count),
            Effect::Release(ipid, count) => exporters.release(pair, ipid, count),
            Effect::Ping(set, added, deleted) => exporters.ping(pair.server, set, &added, &deleted),
        }
    }
    Some((dcom, if interesting { Calls::Interest } else { Calls::All }))
}

/// An operation of an interface of its own. True when it is known to run something.
fn operation(call: &mut Read<'_>, interface: Guid, opnum: u16) -> bool {
    let Some(operation) = call.catalog.operation(interface, opnum) else {
        return false;
    };
    call.dcom.method = Some(operation.name.clone().into());
    call.dcom.effect = Some(operation.effect);
    true
}

/// Where the object comes from.
fn set_lineage(dcom: &mut Dcom, object: Option<&Known>, pair: Pair) {
    let Some((object, lineage)) = object.and_then(|object| Some((object, object.lineage.as_ref()?))) else {
        return;
    };
    dcom.clsid = lineage.clsid;
    dcom.class.clone_from(&lineage.class);
    dcom.object_path = Some(lineage.path.clone());
    dcom.activation.clone_from(&lineage.activation);
    let Some(activation) = &mut dcom.activation else { return };
    if !object.is_held_by(pair.client) {
        activation.proof = Proof::Weak;
        dcom.because.push("the object was handed to another client".into());
    } else if activation.proof == Proof::Weak {
        dcom.because.push("tied to the activation by its exporter alone".into());
    }
}

/// What the answer hands out, and what the call itself tells.
fn learned(read: &Read<'_>, pair: Pair, exporters: &Exporters) -> Vec<Told> {
    let frame = response(read.exchange).map_or(0, |message| message.at.frame);
    let own = read.object.and_then(|object| object.lineage.as_ref());
    let interface = read.dcom.interface.as_ref().map(|interface| interface.uuid);
    let is_made = matches!(interface, Some(known::ICLASS_FACTORY | known::ICLASS_FACTORY2));
    let lineage = |descent, oxid| {
        let seen = match descent {
            Descent::Same => own.cloned(),
            Descent::Of(other) => exporters.find(pair, other).and_then(|other| other.lineage.clone()),
            // What an object gives that came from nobody knows where is still that member of it.
            Descent::Member => read.member.as_ref().map(|member| {
                let unseen = Lineage::unseen;
                own.map_or_else(|| unseen().member(member), |own| own.member(member))
                    .into()
            }),
            Descent::Aside => {
                let member = format!("{}()", read.dcom.operation);
                return own.map(|own| own.member(&member).into());
            }
        };
        if seen.as_ref().is_some_and(|lineage| lineage.activation.is_some()) {
            return seen;
        }
        match (exporters.by_exporter(pair, oxid, is_made), seen) {
            // Of a member of something else that lives there, the class is not told.
            (Some(activated), Some(seen)) => Some(Arc::new(Lineage {
                activation: activated.activation.clone(),
                ..Arc::unwrap_or_clone(seen)
            })),
            (activated, seen) => activated.or(seen),
        }
    };
    let handed_out = read.references.iter().map(|&(std, iid, descent)| Told {
        lineage: lineage(descent, std.oxid),
        describes: read.dcom.ipid.filter(|_| descent == Descent::Aside),
        reference: Some(std),
        ..Told::interface(std.ipid, iid, frame)
    });
    // Handed out where nobody could read it, as by a sealed activation: the call itself tells what it is.
    let called = match (read.object, read.dcom.ipid, read.exchange.interface) {
        (None, Some(ipid), Named::Interface(interface)) => {
            let frame = read.exchange.request.as_ref().map_or(frame, |message| message.at.frame);
            Some(Told::interface(ipid, Iid(interface.uuid), frame))
        }
        _ => None,
    };
    handed_out.chain(called).collect()
}

fn sort(interface: Guid, opnum: u16, ipid: Option<Ipid>) -> Option<Sort> {
    match interface {
        known::IDISPATCH => Some(Sort::Dispatch),
        known::IREM_UNKNOWN
        | known::IREM_UNKNOWN2
        | known::ICLASS_FACTORY
        | known::ICLASS_FACTORY2
        | known::ITYPE_INFO
        | known::IENUM_VARIANT
        | known::IPROVIDE_CLASS_INFO => Some(Sort::References),
        known::IOBJECT_EXPORTER | known::MGMT => Some(Sort::Services),
        _ if management::is_read(interface) => Some(Sort::Management),
        // A dual interface starts with the four operations of IDispatch.
        _ if ipid.is_some() && (3..=6).contains(&opnum) && is_dual(interface) => Some(Sort::Dispatch),
        _ => ipid.map(|_| Sort::Other),
    }
}

/// Does the interface derive from `IDispatch`, as far as names are known?
fn is_dual(interface: Guid) -> bool {
    names::operation(interface, 6) == Some("Invoke")
}

/// Without a bind and with an object nobody has introduced: is this an `Invoke` to the last argument?
fn looks_like_invoke(exchange: &Exchange) -> bool {
    let Some(message) = exchange.request.as_ref() else {
        return false;
    };
    let whole = |reader: &mut Reader<'_>| {
        let request = InvokeRequest::parse(reader)?;
        Ok(request.iid.0.is_null() && request.broken.is_none())
    };
    exchange.opnum == Some(6) && exchange.object.is_some() && matches!(parse(message, None, whole), Some(Ok((true, _))))
}

/// Is the stub of this operation, or of its answer, read here?
pub(super) fn is_read(interface: Guid, opnum: u16, object: Option<Guid>) -> bool {
    !matches!(sort(interface, opnum, object.map(Ipid)), None | Some(Sort::Other))
}

/// The request could not be read because it is sealed.
fn is_sealed(exchange: &Exchange) -> bool {
    matches!(exchange.request, Some(Message { stub: Stub::Sealed, .. }))
}
