//! Object calls: what was done with an object once it was there, and which further objects that led to.

mod dispatch;
mod early;
mod management;
mod powershell;
mod references;
mod services;

use std::sync::Arc;

use dcom_parsers::dcom::{Objref, OrpcThat, RemQueryInterfaceRequest, RemReferencesRequest, SetId, StdObjref};
use dcom_parsers::guid::{Guid, Iid, Ipid, Oid};
use dcom_parsers::names::{self, known};
use dcom_parsers::ndr::{Encoding, Reader};
use dcom_parsers::oaut::{GetIdsOfNamesRequest, InterfacePointer, InvokeRequest};

use super::exchange::{parse, parse_or_tell, record, response, set_result, set_status, unreadable};
use super::exporters::{Exporters, Known, Lineage, Pair, Told, ToldBy};
use crate::anomaly::Anomaly;
use crate::catalog::Catalog;
use crate::event::dcom::{Evidence, Kind, Outcome, Proof};
use crate::event::{Dcom, Shared};
use crate::flow::Connection;
use crate::rpc::{Exchange, Message, Named, Stub};
pub(crate) use dispatch::members_of_unseen;
pub(crate) use powershell::decoded as decoded_powershell;

/// [MS-OAUT] 3.1.4 `IDispatch`: opnums.
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

/// What sort of call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sort {
    /// `IDispatch`, or the first operations of an interface derived from it.
    Dispatch,
    /// A method of a dual interface that runs something, by its own number, with these parameters.
    Early(&'static [early::Parameter]),
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
    dcom: &'a mut Dcom,
    /// Will anybody see the record? What nobody will is not put into words.
    shown: bool,
    exchange: &'a Exchange,
    encoding: Option<Encoding>,
    /// The object that is called, when a reply has handed it out.
    object: Option<&'a Known>,
    /// All objects that were handed out.
    exporters: &'a Exporters,
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

/// How it is known which interface is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    /// Its context is bound to it.
    Context,
    /// A reply handed out the object, in this frame.
    Object(u64),
    /// The stub proves it.
    Stub,
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
    for effect in understood.effects {
        match effect {
            Effect::Name(ipid, dispid, name, by) => exporters.name(pair, ipid, dispid, &name, by),
            Effect::Parameter(ipid, member, dispid, name) => exporters.parameter(pair, ipid, member, dispid, &name),
            Effect::Ask(ipid, name) => exporters.asked(pair, ipid, &name),
            Effect::AddRef(ipid, count) => exporters.add_references(pair, ipid, count),
            Effect::Release(ipid, count) => exporters.release(pair, ipid, count),
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
                    None if self.opnum == INVOKE && looks_like_dispatch(self.exchange) => {
                        self.read_as(known::IDISPATCH, By::Stub)
                    }
                    None => None,
                };
            }
        };
        let Some((interface, by)) = self.other_than(context) else {
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

    /// Some clients bind once, and call all objects in that context: the interface that is called where it is another one
    /// than the context's.
    fn other_than(&self, context: Guid) -> Option<(Guid, By)> {
        let ipid = self.exchange.object.map(Ipid)?;
        if let Some(known) = self.object.filter(|known| known.certain) {
            let iid = known.iid.0;
            // One may derive from the other. Nobody calls the methods of IUnknown.
            let operation = |interface| names::operation(interface, self.opnum);
            let same = iid == context
                || match operation(iid) {
                    Some(name) => operation(context) == Some(name),
                    None => sort(context, self.opnum, Some(ipid)) == Some(Sort::Dispatch),
                };
            return (!same && iid != known::IUNKNOWN).then_some((iid, By::Object(known.frame)));
        }
        let sort = sort(context, self.opnum, Some(ipid));
        if !matches!(sort, Some(Sort::Dispatch | Sort::References | Sort::Management)) {
            return None;
        }
        let is_rem_unknown = matches!(context, known::IREM_UNKNOWN | known::IREM_UNKNOWN2);
        if !is_rem_unknown && looks_like_rem_unknown(self.exchange) {
            return Some((known::IREM_UNKNOWN, By::Stub));
        }
        let is_dispatch = sort != Some(Sort::Dispatch) && looks_like_dispatch(self.exchange);
        is_dispatch.then_some((known::IDISPATCH, By::Stub))
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
            catalog,
            references: Vec::new(),
            effects: Vec::new(),
            member: None,
            odd: &mut odd,
        };
        let interesting = match sort {
            Sort::Dispatch => dispatch::read(&mut read, opnum),
            Sort::Early(parameters) => {
                early::read(&mut read, parameters);
                // A user's own entry may say more than those for methods of that name.
                if read.dcom.effect.is_none() {
                    operation(&mut read, interface, opnum);
                }
                true
            }
            Sort::References => references::read(&mut read, interface, opnum),
            Sort::Management => management::read(&mut read, interface, opnum),
            Sort::Services => services::read(&mut read, interface, opnum),
            Sort::Other => operation(&mut read, interface, opnum),
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
    let Some(activation) = &mut dcom.activation else { return };
    if !object.is_held_by(pair.client) {
        activation.proof = Proof::Weak;
        dcom.because.push("the object was handed to another client".into());
    } else if activation.proof == Proof::Weak {
        dcom.because.push("tied to the activation by its exporter alone".into());
    }
}

/// What the answer hands out, and what the call itself tells.
fn learned(read: &Read<'_>, pair: Pair, exporters: &Exporters, by: By) -> Vec<Told> {
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
    let mut told = Vec::new();
    for &(std, iid, descent) in &read.references {
        told.push(Told {
            lineage: lineage(descent, std.oxid),
            describes: read.dcom.ipid.filter(|_| descent == Descent::Aside),
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
    if let (true, Some(ipid), Some(interface), Named::Interface(_)) =
        (is_new, read.dcom.ipid, interface, read.exchange.interface)
    {
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
        Sort::Early(_) | Sort::Management | Sort::Services => true,
        Sort::Other => catalog.operation(interface, opnum).is_some(),
    }
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
        _ => ipid.map(|_| early::parameters(interface, opnum).map_or(Sort::Other, Sort::Early)),
    }
}

/// Does the interface derive from `IDispatch`, as far as names are known?
fn is_dual(interface: Guid) -> bool {
    names::operation(interface, 6) == Some("Invoke")
}

/// Of an interface whose operation of this number nobody knows: may it be one that derives from `IDispatch`?
fn may_be_dispatch(interface: Guid, opnum: u16, ipid: Option<Ipid>) -> bool {
    ipid.is_some() && matches!(opnum, GET_IDS_OF_NAMES | INVOKE) && names::operation(interface, opnum).is_none()
}

/// Of an interface that is known, and has no such operation: an object may be called in a context of another's.
fn may_be_of_another(interface: Guid, opnum: u16, ipid: Option<Ipid>) -> bool {
    ipid.is_some() && names::interface(interface).is_some() && names::operation(interface, opnum).is_none()
}

/// Without an interface that says so: is this an `Invoke` to the last argument, or a `GetIDsOfNames` to the last byte?
fn looks_like_dispatch(exchange: &Exchange) -> bool {
    let Some(message) = exchange.request.as_ref() else {
        return false;
    };
    let whole = |reader: &mut Reader<'_>| match exchange.opnum {
        Some(INVOKE) => {
            let request = InvokeRequest::parse(reader)?;
            Ok(request.iid.0.is_null() && request.broken.is_none())
        }
        Some(GET_IDS_OF_NAMES) => {
            let request = GetIdsOfNamesRequest::parse(reader)?;
            Ok(request.iid.0.is_null() && !request.names.is_empty() && reader.rest().is_empty())
        }
        _ => Ok(false),
    };
    exchange.object.is_some() && matches!(parse(message, exchange.encoding, whole), Some(Ok((true, _))))
}

/// The same: is this one of the first operations of `IRemUnknown`, to the last byte, about some interface?
fn looks_like_rem_unknown(exchange: &Exchange) -> bool {
    let Some(message) = exchange.request.as_ref() else {
        return false;
    };
    let whole = |reader: &mut Reader<'_>| {
        let is_some = match exchange.opnum {
            Some(references::REM_QUERY_INTERFACE) => !RemQueryInterfaceRequest::parse(reader)?.iids.is_empty(),
            Some(references::REM_ADD_REF | references::REM_RELEASE) => {
                !RemReferencesRequest::parse(reader)?.references.is_empty()
            }
            _ => false,
        };
        Ok(is_some && reader.rest().is_empty())
    };
    matches!(parse(message, exchange.encoding, whole), Some(Ok((true, _))))
}

/// Is the stub of this operation, or of its answer, read here?
pub(super) fn is_read(interface: Guid, opnum: u16, object: Option<Guid>) -> bool {
    let ipid = object.map(Ipid);
    may_be_dispatch(interface, opnum, ipid)
        || may_be_of_another(interface, opnum, ipid)
        || !matches!(sort(interface, opnum, ipid), None | Some(Sort::Other))
}

/// The request could not be read because it is sealed.
fn is_sealed(exchange: &Exchange) -> bool {
    matches!(exchange.request, Some(Message { stub: Stub::Sealed, .. }))
}

#[cfg(test)]
mod tests {
    use super::super::rig::{Bytes, Rig};
    use super::*;

    /// An interface that no table knows.
    const UNKNOWN: Guid = Guid::com(0x0002_08d5);

    /// `GetIDsOfNames` of one name.
    fn question(name: &str) -> Bytes {
        let units: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        let count = u32::try_from(units.len() / 2).unwrap();
        let name = Bytes::request().guid(Guid::NULL).words(&[1, 0x2_0000, count, 0, count]);
        name.with(units).align(4).words(&[1, 0x409])
    }

    /// `Invoke` of a method with one text.
    fn invocation(dispid: u32, text: &str) -> Bytes {
        let head = Bytes::request().words(&[dispid]).guid(Guid::NULL).words(&[0x409, 1]);
        let argument = head.words(&[0x2_0000, 0, 1, 0, 1, 0x7265_7355]).variant_referent(text);
        argument.align(4).words(&[0, 0, 0])
    }

    #[test]
    fn a_dual_interface_that_nobody_knows_is_idispatch_where_the_stub_is() {
        let mut rig = Rig::new().reached("Excel.Application", "Excel.Application");
        let numbers = Bytes::reply().words(&[1, 30, 0]).0;
        let asked = rig.call(UNKNOWN, 5, question("RegisterXLL").into(), Some(numbers));
        assert_eq!(
            (asked.operation.as_ref(), &asked.arguments[..]),
            ("GetIDsOfNames", &["RegisterXLL".to_owned()][..])
        );
        let called = rig.call(UNKNOWN, 6, invocation(30, "c:\\x.xll").into(), None);
        assert_eq!(
            (called.operation.as_ref(), called.method.as_deref()),
            ("Invoke", Some("RegisterXLL"))
        );
        assert_eq!(called.command_line.as_deref(), Some("c:\\x.xll"));
        assert_eq!(called.interface.as_ref().unwrap().uuid, UNKNOWN, "as the bind says");
        assert!(called.because.iter().any(|because| because.contains("IDispatch")));
    }

    #[test]
    fn another_operation_of_that_number_stays_what_it_is() {
        let mut longer = question("RegisterXLL");
        longer.0.push(0);
        let mut shorter = invocation(30, "c:\\x.xll");
        shorter.0.pop();
        let mut for_an_interface = invocation(30, "c:\\x.xll");
        for_an_interface.0[36] = 1;
        for (opnum, stub) in [
            (5, longer),
            (5, Bytes::request().bstr("text")),
            (6, shorter),
            (6, for_an_interface),
            (6, Bytes::default()),
        ] {
            let mut rig = Rig::new();
            let dcom = rig.call(UNKNOWN, opnum, stub.into(), None);
            assert_eq!(dcom.operation, format!("unknown-{opnum}"));
            assert_eq!((dcom.evidence, &rig.odd[..]), (Evidence::Header, &[][..]));
        }
        // IHxHelpPaneServer.Execute: its number has a name.
        let named = Guid::parse("8cec592c-07a1-11d9-b15e-000d56bfe6ee").unwrap();
        let dcom = Rig::new().call(named, 6, invocation(30, "x").into(), None);
        assert_eq!(dcom.operation, "Execute");
    }

    const OTHER: Guid = Guid::com(0x77);
    /// `IWbemLevel1Login` is known, and has no operation of many a number.
    const LOGIN: Guid = dcom_parsers::wmi::IWBEM_LEVEL1_LOGIN;

    /// A reply handed out the object with this interface.
    fn handed_out(interface: Guid) -> Rig {
        let mut rig = Rig::new().reached("MMC20.Application", "MMC20.Application.Document.ActiveView");
        let told = Told::interface(super::super::rig::OBJECT, Iid(interface), 7);
        rig.exporters.learn(Rig::pair(), told);
        rig
    }

    #[test]
    fn an_object_is_called_by_its_ipid_whatever_its_context_was_bound_to() {
        for context in [known::IREM_UNKNOWN2, known::IUNKNOWN, LOGIN, known::ICLASS_FACTORY] {
            let mut rig = handed_out(known::IDISPATCH);
            let numbers = Bytes::reply().words(&[1, 54, 0]).0;
            let asked = rig.call(context, 5, question("ExecuteShellCommand").into(), Some(numbers));
            assert_eq!(asked.operation, "GetIDsOfNames");
            let called = rig.call(context, 6, invocation(54, "cmd.exe").into(), None);
            assert_eq!(called.interface.as_ref().unwrap().uuid, known::IDISPATCH);
            assert_eq!(called.method.as_deref(), Some("ExecuteShellCommand"));
            assert_eq!(called.evidence, Evidence::Arguments);
            let because = &called.because[0];
            assert!(
                because.starts_with("interface told by its IPID, from frame 7; the context"),
                "{because}"
            );
            assert!(rig.odd.is_empty(), "{:?}", rig.odd);
        }
    }

    #[test]
    fn a_context_stands_where_the_call_is_none_of_the_objects_interface() {
        // The object is known by an interface that has no such operation, as one of which another derives.
        let mut rig = handed_out(known::IREM_UNKNOWN);
        let dcom = rig.call(known::IREM_UNKNOWN2, 6, Stub::Sealed, None);
        assert_eq!((dcom.operation.as_ref(), dcom.because.len()), ("RemQueryInterface2", 0));
        let mut rig = handed_out(known::IDISPATCH);
        let dual = Guid::parse("6efc2da2-b38c-457e-9abb-ed2d189b8c38").unwrap();
        let dcom = rig.call(dual, 33, Stub::Sealed, None);
        assert_eq!(
            (dcom.operation.as_ref(), dcom.because.len()),
            ("ExecuteShellCommand", 0)
        );
        let mut rig = handed_out(OTHER);
        let dcom = rig.call(known::IDISPATCH, 6, invocation(54, "cmd.exe").into(), None);
        assert_eq!((dcom.operation.as_ref(), dcom.because.len()), ("Invoke", 0));
        assert!(rig.odd.is_empty(), "{:?}", rig.odd);
    }

    #[test]
    fn what_a_context_told_alone_does_not_outweigh_another_context() {
        let mut rig = Rig::new();
        let first = rig.call(known::IENUM_VARIANT, 4, Bytes::request().words(&[1]).into(), None);
        assert_eq!(first.interface.as_ref().unwrap().uuid, known::IENUM_VARIANT);
        let second = rig.call(known::IDISPATCH, 6, invocation(54, "cmd.exe").into(), None);
        assert_eq!((second.operation.as_ref(), second.because.len()), ("Invoke", 0));
    }

    #[test]
    fn of_an_object_that_nobody_saw_handed_out_the_stub_tells_the_interface() {
        let mut rig = Rig::new();
        let asked = rig.call(known::IREM_UNKNOWN2, 5, question("Document").into(), None);
        assert_eq!(asked.operation, "GetIDsOfNames");
        assert!(asked.because[0].contains("the content of the stub; the context was bound to IRemUnknown2"));
        let called = rig.call(known::IREM_UNKNOWN2, 6, invocation(54, "cmd.exe").into(), None);
        assert!(
            called.because[0].starts_with("interface told by its IPID"),
            "{:?}",
            called.because
        );
        let ipid = Guid::com(0xb);
        let query = Bytes::request()
            .guid(ipid)
            .words(&[1])
            .with([1, 0, 0, 0])
            .words(&[1])
            .guid(OTHER);
        let release = Bytes::request()
            .with([1, 0, 0, 0])
            .words(&[1])
            .guid(ipid)
            .words(&[5, 0]);
        for (opnum, stub, operation) in [(3, query, "RemQueryInterface"), (5, release, "RemRelease")] {
            let mut rig = Rig::new();
            let dcom = rig.call(LOGIN, opnum, stub.clone().into(), None);
            assert_eq!((dcom.operation.as_ref(), &rig.odd[..]), (operation, &[][..]));
            let mut rig = Rig::new();
            rig.call(known::IREM_UNKNOWN, opnum, stub.words(&[0]).into(), None);
            assert!(rig.odd.is_empty(), "its own context: what follows is none of ours");
        }
    }

    #[test]
    fn a_method_of_an_object_that_nobody_saw_come_is_graded_by_what_it_may_be() {
        let called = |mut rig: Rig, name: &str, text: &str| {
            let numbers = Bytes::reply().words(&[1, 30, 0]).0;
            rig.call(known::IDISPATCH, 5, question(name).into(), Some(numbers));
            rig.call(known::IDISPATCH, 6, invocation(30, text).into(), None)
        };
        let run = called(Rig::new(), "Run", "http://192.0.2.66/m.dotm!go");
        assert_eq!(
            (run.effect, run.evidence),
            (Some(crate::catalog::Effect::Execution), Evidence::Inferred)
        );
        assert_eq!(run.command_line.as_deref(), Some("http://192.0.2.66/m.dotm!go"));
        assert!(run.because[0].contains("Excel.Application or"), "{:?}", run.because);
        let sure = called(Rig::new(), "RegisterXLL", "c:\\x.xll");
        assert_eq!(sure.evidence, Evidence::Arguments);
        assert_eq!(called(Rig::new(), "Run", "").effect, None);
        assert_eq!(
            called(Rig::new().reached("Lab.Inventory", "Lab.Inventory"), "Run", "x").effect,
            None
        );
        let part = Rig::new().reached("Lab.Inventory", "?.Document.ActivePage");
        assert_eq!(called(part, "Run", "C:\\update.exe").effect, None);
    }
}
