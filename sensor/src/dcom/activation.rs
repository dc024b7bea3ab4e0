//! Activations: who asked for which class, and what came of it.

use std::sync::Arc;

use dcom_parsers::dcom::{
    ActivationReply, ActivationRequest, InterfaceResult, Objref, RemoteActivationReply, RemoteActivationRequest,
    ScmReplyInfo,
};
use dcom_parsers::guid::{Causality, Clsid, Guid, Iid};
use dcom_parsers::names::known;
use dcom_parsers::ndr::{Encoding, Reader};

use super::Read;
use super::endpoints::Learned;
use super::exchange::{
    FAILURE, addresses, doubt_encoding, learn, level_name, parse, parse_or_tell, record, response, set_bindings,
    set_refused, set_result,
};
use super::exporters::{Exporters, Lineage, Pair, Told};
use crate::anomaly::Anomaly;
use crate::catalog::Catalog;
use crate::event::Dcom;
use crate::event::dcom::{ActivationRecord, Evidence, Flags, Kind, LearnedFrom, NamedGuid, Outcome, Proof};
use crate::flow::Connection;
use crate::rpc::{Exchange, Message, Named};

/// What a reference begins with: [MS-DCOM] 2.2.18 OBJREF.
const OBJREF_SIGNATURE: &[u8] = b"MEOW";
/// Of the references in an answer that is too long to be kept, so many are learnt.
const MOST_REFERENCES: usize = 64;

/// One of the three operations that activate.
#[allow(clippy::enum_variant_names, reason = "the specification's names")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    RemoteActivation,
    RemoteGetClassObject,
    RemoteCreateInstance,
}

/// What a request asks for.
struct Asked {
    clsid: Clsid,
    iids: Vec<Iid>,
    causality: Causality,
    session_id: Option<u32>,
    console_session: bool,
    server_name: Option<String>,
    class_context: Option<u32>,
    file_name: Option<String>,
    storage: bool,
    /// The whole of it, of the two operations that ask by properties.
    request: Option<Box<ActivationRequest>>,
}

/// What came back.
struct Answered {
    hresult: u32,
    scm: Option<ScmReplyInfo>,
    interfaces: Vec<InterfaceResult>,
}

impl Operation {
    const ALL: [Self; 3] = [
        Self::RemoteActivation,
        Self::RemoteGetClassObject,
        Self::RemoteCreateInstance,
    ];

    fn interface(self) -> Guid {
        match self {
            Self::RemoteActivation => known::IACTIVATION,
            Self::RemoteGetClassObject | Self::RemoteCreateInstance => known::IREMOTE_SCM_ACTIVATOR,
        }
    }

    fn opnum(self) -> u16 {
        match self {
            Self::RemoteActivation => 0,
            Self::RemoteGetClassObject => 3,
            Self::RemoteCreateInstance => 4,
        }
    }

    fn parse_request(self, reader: &mut Reader<'_>) -> dcom_parsers::error::Result<Asked> {
        let properties = |request: ActivationRequest| {
            let instance = request.properties.instance.as_ref();
            Asked {
                clsid: request.instantiation.clsid,
                iids: request.instantiation.iids.clone(),
                causality: request.orpc_this.causality,
                session_id: request.session_id,
                console_session: request.console_session,
                server_name: request.server_name.clone(),
                class_context: Some(request.instantiation.class_context),
                file_name: instance.and_then(|instance| instance.file_name.clone()),
                storage: instance.is_some_and(|instance| instance.storage.is_some()),
                request: Some(Box::new(request)),
            }
        };
        match self {
            Self::RemoteGetClassObject => ActivationRequest::parse_get_class_object(reader).map(properties),
            Self::RemoteCreateInstance => ActivationRequest::parse_create_instance(reader).map(properties),
            Self::RemoteActivation => RemoteActivationRequest::parse(reader).map(|request| Asked {
                clsid: request.clsid,
                class_context: None,
                storage: request.storage.is_some(),
                file_name: request.object_name,
                iids: request.iids,
                causality: request.orpc_this.causality,
                session_id: None,
                console_session: false,
                server_name: None,
                request: None,
            }),
        }
    }

    /// Reads the request of who knows which interface.
    fn recognise_request(self, reader: &mut Reader<'_>) -> dcom_parsers::error::Result<Asked> {
        let asked = self.parse_request(reader)?;
        // The older one has no signature: it has to fit to its end.
        if self == Self::RemoteActivation && (asked.iids.is_empty() || reader.rest().len() >= 4) {
            return Err(reader.input().invalid("pIIDs", 0_u32));
        }
        Ok(asked)
    }

    fn parse_reply(self, reader: &mut Reader<'_>) -> dcom_parsers::error::Result<Answered> {
        match self {
            Self::RemoteGetClassObject | Self::RemoteCreateInstance => {
                let ActivationReply {
                    hresult,
                    scm,
                    interfaces,
                } = ActivationReply::parse(reader)?;
                Ok(Answered {
                    hresult,
                    scm,
                    interfaces,
                })
            }
            Self::RemoteActivation => {
                let RemoteActivationReply {
                    hresult,
                    scm,
                    interfaces,
                    status,
                } = RemoteActivationReply::parse(reader)?;
                // The activation's own result says more than the call's, unless only the call failed.
                Ok(Answered {
                    hresult: if hresult == 0 { status } else { hresult },
                    scm,
                    interfaces,
                })
            }
        }
    }
}

/// Reads an exchange as an activation, if it is one.
pub(super) fn read(
    connection: &Connection,
    exchange: &Exchange,
    catalog: &Catalog,
    exporters: &mut Exporters,
    odd: &mut Vec<Anomaly>,
) -> Option<Read> {
    let Some(opnum) = exchange.opnum else {
        return answer_alone(connection, exchange, exporters);
    };
    let is_called = |interface| {
        Operation::ALL
            .into_iter()
            .find(|it| it.interface() == interface && it.opnum() == opnum)
    };
    let request = exchange.request.as_ref();
    let (operation, asked) = match exchange.interface {
        Named::Interface(interface) => {
            let operation = is_called(interface.uuid)?;
            let asked = request.and_then(|message| {
                parse_or_tell(message, exchange.encoding, odd, |reader| {
                    operation.parse_request(reader)
                })
            });
            (operation, asked)
        }
        // No bind was seen: the stub itself tells, by the signature and the properties that it must hold.
        Named::Unseen => {
            let operation = is_called(known::IREMOTE_SCM_ACTIVATOR).or_else(|| is_called(known::IACTIVATION))?;
            let asked = parse(request?, None, |reader| operation.recognise_request(reader))?.ok()?;
            (operation, Some(asked))
        }
        Named::Refused => return None,
    };
    let encoding = asked.as_ref().map_or(exchange.encoding, |(_, encoding)| *encoding);
    let mut shared = record(connection, exchange, operation.interface(), operation.opnum());
    let dcom = &mut *shared;
    dcom.kind = Kind::Activation;
    let asked = asked.and_then(|(asked, _)| set_request(dcom, asked, catalog));
    if encoding.is_none() && dcom.clsid.is_some() {
        doubt_encoding(dcom);
    }
    let learned = set_reply(dcom, connection, exchange, operation, encoding, exporters, odd);
    Some(Read {
        asked,
        ..Read::recorded(shared, learned)
    })
}

/// An answer whose request was not seen, as where only one direction is. No bind names its interface then; it is an
/// activation's if it holds the properties of one, with an OXID and where to find it.
fn answer_alone(connection: &Connection, exchange: &Exchange, exporters: &mut Exporters) -> Option<Read> {
    let (reply, encoding) = parse(response(exchange)?, None, ActivationReply::parse)?.ok()?;
    reply.scm.as_ref()?;
    // Which of the two operations it answers does not show.
    let operation = Operation::RemoteCreateInstance;
    let mut shared = record(connection, exchange, operation.interface(), operation.opnum());
    let dcom = &mut *shared;
    dcom.kind = Kind::Activation;
    (dcom.operation, dcom.opnum) = ("unknown".into(), None);
    dcom.evidence = Evidence::Inferred;
    dcom.because
        .push("the answer holds an activation's properties; its request was not seen".into());
    let mut odd = Vec::new();
    let learned = set_reply(dcom, connection, exchange, operation, encoding, exporters, &mut odd);
    Some(Read::recorded(shared, learned))
}

fn set_request(dcom: &mut Dcom, mut asked: Asked, catalog: &Catalog) -> Option<Box<ActivationRequest>> {
    dcom.evidence = Evidence::Class;
    let more = asked.request.as_ref().map(|request| &request.properties.more);
    let others = || more.into_iter().flatten().filter(|other| other.clsid != asked.clsid);
    if others().next().is_some() {
        dcom.evidence = Evidence::Inferred;
        let all = std::iter::once(asked.clsid).chain(others().map(|other| other.clsid));
        let all: Vec<_> = all.map(|clsid| clsid.to_string()).collect();
        dcom.because
            .push(format!("the request names several classes: {}", all.join(", ")).into());
    }
    // The worst of them, as it may be the one.
    let severity = |clsid| catalog.class(clsid).map(|class| class.severity);
    let worst = others().max_by_key(|other| severity(other.clsid));
    if let Some(worst) = worst.filter(|worst| severity(worst.clsid) > severity(asked.clsid)) {
        let (clsid, iids, class_context) = (worst.clsid, worst.iids.clone(), worst.class_context);
        (asked.clsid, asked.iids, asked.class_context) = (clsid, iids, Some(class_context));
    }
    dcom.clsid = Some(asked.clsid);
    dcom.class = catalog.class(asked.clsid).map(|class| class.name.clone());
    dcom.iids = asked.iids.into_iter().map(|iid| NamedGuid::of(iid.0)).collect();
    dcom.target_name = asked.server_name;
    dcom.session_id = asked.session_id;
    dcom.console_session = asked.console_session.then_some(true);
    dcom.class_context = asked.class_context.map(Flags);
    dcom.file_name = asked.file_name;
    dcom.storage = asked.storage.then_some(true);
    dcom.causality = Some(asked.causality);
    asked.request
}

fn set_reply(
    dcom: &mut Dcom,
    connection: &Connection,
    exchange: &Exchange,
    operation: Operation,
    encoding: Option<Encoding>,
    exporters: &mut Exporters,
    odd: &mut Vec<Anomaly>,
) -> Option<Learned> {
    let message = response(exchange)?;
    let whole = parse_or_tell(message, encoding, odd, |reader| operation.parse_reply(reader));
    let answered = if let Some((answered, _)) = whole {
        set_result(dcom, answered.hresult);
        answered
    } else {
        long_reply(dcom, message)?
    };
    let (pair, frame) = (Pair::from(connection), message.at.frame);
    let lineage = lineage(dcom, connection, exchange);
    let mut refused = Vec::new();
    for (index, interface) in answered.interfaces.iter().enumerate() {
        // The old activation's answer leaves the IIDs to the request.
        let asked = dcom.iids.get(index).map_or(interface.iid, |iid| Iid(iid.uuid));
        let iid = if interface.iid.0.is_null() {
            asked
        } else {
            interface.iid
        };
        if interface.hresult & FAILURE != 0 {
            refused.push((iid.0, interface.hresult));
        }
        let Some(objref) = interface.objref else { continue };
        let told = Told {
            lineage: lineage.clone(),
            reference: Some(objref),
            ..Told::interface(objref.ipid, iid, frame)
        };
        exporters.learn(pair, told);
        dcom.ipids.push(objref.ipid);
    }
    // The call may succeed and give nothing: that of each interface is what the client gets then.
    if let (Some(&(_, hresult)), true, Some(Outcome::Succeeded)) =
        (refused.first(), dcom.ipids.is_empty(), dcom.outcome)
    {
        set_result(dcom, hresult);
    }
    set_refused(dcom, &refused);
    let Some(scm) = answered.scm else {
        let first = answered.interfaces.iter().find_map(|interface| interface.objref);
        dcom.oxid = first.map(|objref| objref.oxid);
        if let (Some(lineage), Some(objref)) = (&lineage, first) {
            exporters.activated(pair, objref.oxid, lineage);
        }
        return None;
    };
    dcom.oxid = Some(scm.oxid);
    dcom.ipid_rem_unknown = Some(scm.ipid_rem_unknown);
    if let Some(lineage) = &lineage {
        exporters.activated(pair, scm.oxid, lineage);
    }
    // Shared by all objects of the process: it descends from none of them.
    let rem_unknown = Iid(known::IREM_UNKNOWN2);
    exporters.learn(pair, Told::interface(scm.ipid_rem_unknown, rem_unknown, frame));
    exporters.has_addresses(pair.server, addresses(&scm.bindings));
    dcom.authn_hint = Some(level_name(scm.authn_hint));
    set_bindings(dcom, &scm.bindings);
    learn(dcom, connection, &scm.bindings, exporters, LearnedFrom::OxidBinding)
}

/// An answer that is too long to be kept and read: one that refuses has no references to objects in it, and is short. Of an
/// activation that was asked for thousands of interfaces the first ones tell as much as all.
fn long_reply(dcom: &mut Dcom, message: &Message) -> Option<Answered> {
    message.cut()?;
    let (stub, _) = message.readable()?;
    let objrefs = memchr::memmem::find_iter(stub, OBJREF_SIGNATURE)
        .filter_map(|at| Objref::parse_reference(stub.get(at..)?).ok())
        .filter_map(|objref| {
            Some(InterfaceResult {
                iid: objref.iid,
                hresult: 0,
                objref: Some(*objref.std()?),
            })
        });
    let interfaces: Vec<_> = objrefs.take(MOST_REFERENCES).collect();
    if interfaces.is_empty() {
        return None;
    }
    dcom.outcome = Some(Outcome::Succeeded);
    dcom.evidence = Evidence::Inferred;
    let length = message.stub_length;
    dcom.because
        .push(format!("the answer is {length} bytes long and holds references to objects").into());
    Some(Answered {
        hresult: 0,
        scm: None,
        interfaces,
    })
}

/// What descends from this activation; known when its class is.
fn lineage(dcom: &Dcom, connection: &Connection, exchange: &Exchange) -> Option<Arc<Lineage>> {
    let clsid = dcom.clsid?;
    let at = exchange.request.as_ref()?.at;
    Some(Arc::new(Lineage {
        clsid: Some(clsid),
        class: dcom.class.clone(),
        path: dcom.class_name()?.into_owned(),
        activation: Some(ActivationRecord {
            flow_id: connection.flow_id,
            frame: at.frame,
            timestamp: at.time,
            proof: Proof::Strong,
        }),
        tie: None,
        beside: None,
    }))
}

#[cfg(test)]
mod tests {
    use dcom_parsers::dcom::InstantiationInfo;

    use super::super::rig::{Bytes, connection, exchange};
    use super::*;
    use crate::limits::Limits;
    use crate::rpc::{Reply, Stub};

    const MMC20: &str = "49b2791a-b1ae-4c90-9b8e-e860ba07f889";

    #[test]
    fn of_several_classes_the_worst_is_told() {
        let harmless = Clsid(Guid::com(0x1234));
        let mmc20 = Clsid(Guid::parse(MMC20).unwrap());
        let of = |clsid| InstantiationInfo {
            clsid,
            ..InstantiationInfo::default()
        };
        for [first, second] in [[harmless, mmc20], [mmc20, harmless], [mmc20, mmc20]] {
            let mut request = ActivationRequest::default();
            request.properties.more.push(of(second));
            let asked = Asked {
                clsid: first,
                iids: Vec::new(),
                causality: Causality::default(),
                session_id: None,
                console_session: false,
                server_name: None,
                class_context: None,
                file_name: None,
                storage: false,
                request: Some(Box::new(request)),
            };
            let mut dcom = Dcom::default();
            set_request(&mut dcom, asked, &Catalog::built_in());
            assert_eq!(dcom.clsid, Some(mmc20));
            let told = (dcom.evidence, dcom.because.len());
            let expected = if first == second {
                (Evidence::Class, 0)
            } else {
                (Evidence::Inferred, 1)
            };
            assert_eq!(told, expected);
        }
    }

    #[test]
    fn an_answer_too_long_to_be_kept_is_no_refusal() {
        let request = include_bytes!("../../../parsers/corpus/activation/mmc20-create-instance-request.bin");
        let reply = include_bytes!("../../../parsers/corpus/activation/mmc20-create-instance-reply.bin");
        let activator = Some(known::IREMOTE_SCM_ACTIVATOR);
        let cut = |length: usize| {
            let mut exchange = exchange(activator, 4, Stub::Whole(request.to_vec()), Some(Vec::new()));
            if let Reply::Response(message) = &mut exchange.reply {
                message.stub = Stub::Beginning(reply[..length].to_vec());
                message.stub_length = 2_000_000;
            }
            let (mut exporters, mut odd) = (Exporters::new(&Limits::default()), Vec::new());
            let read = read(&connection(), &exchange, &Catalog::built_in(), &mut exporters, &mut odd).unwrap();
            let names: Vec<_> = odd.iter().map(|odd| odd.name).collect();
            assert_eq!(names, ["oversized_stub"]);
            let ipids = &read.dcom.ipids;
            let known = ipids
                .iter()
                .filter(|ipid| exporters.find(Pair::from(&connection()), **ipid).is_some());
            (read.dcom.outcome, read.dcom.evidence, known.count())
        };
        assert_eq!(cut(reply.len() - 4), (Some(Outcome::Succeeded), Evidence::Inferred, 1));
        assert_eq!(cut(8), (None, Evidence::Class, 0), "nothing of it shows");
    }

    fn activated(stub: Bytes) -> Option<Clsid> {
        let exchange = exchange(None, 0, stub.into(), None);
        let (mut exporters, mut odd) = (Exporters::new(&Limits::default()), Vec::new());
        let read = read(&connection(), &exchange, &Catalog::built_in(), &mut exporters, &mut odd);
        assert!(odd.is_empty(), "{odd:?}");
        read.map(|Read { dcom, .. }| {
            assert_eq!(
                (dcom.operation.as_ref(), dcom.kind),
                ("RemoteActivation", Kind::Activation)
            );
            dcom.clsid.unwrap()
        })
    }

    #[test]
    fn the_older_activation_is_known_without_a_bind_by_all_of_its_stub() {
        let class = Guid::parse(MMC20).unwrap();
        let stub = Bytes::request()
            .guid(class)
            .words(&[0, 0, 2, 0, 1, 0x2_0000, 1])
            .guid(known::IDISPATCH);
        let stub = stub.with([1, 0]).align(4).words(&[1]).with([7, 0]);
        assert_eq!(activated(stub.clone()), Some(Clsid(class)));
        assert_eq!(activated(stub.clone().words(&[0])), None, "something stands behind it");
        let mut cut = stub;
        cut.0.pop();
        assert_eq!(activated(cut), None);
        assert_eq!(
            activated(
                Bytes::request()
                    .guid(class)
                    .words(&[0, 0, 2, 0, 0, 0, 1, 1])
                    .with([7, 0])
            ),
            None
        );
        assert_eq!(activated(Bytes::default().words(&[0; 20])), None);
    }

    #[test]
    fn an_activation_that_gave_no_interface_has_failed() {
        const NO_INTERFACE: u32 = 0x8000_4002;
        let class = Guid::parse(MMC20).unwrap();
        let stub = Bytes::request().guid(class).words(&[0, 0, 2, 0, 2, 0x2_0000, 2]);
        let stub = stub.guid(known::IDISPATCH).guid(known::IUNKNOWN);
        let stub = stub.with([1, 0]).align(4).words(&[1]).with([7, 0]);
        // No exporter, no bindings; two pointers, of which the second leads to an object or not; and a result each.
        let answered = |second: Option<Bytes>| {
            let hresult = if second.is_some() { 0 } else { NO_INTERFACE };
            let head = Bytes::reply().words(&[0; 3]).guid(Guid::NULL).words(&[0; 3]);
            let given = if second.is_some() { 0x2_0004 } else { 0 };
            let pointers = head.words(&[2, 0, given]);
            let length = second
                .as_ref()
                .map_or(0, |objref| u32::try_from(objref.0.len()).unwrap());
            let pointers = match second {
                Some(objref) => pointers.words(&[length, length]).with(objref.0).align(4),
                None => pointers,
            };
            let answer = pointers.words(&[2, NO_INTERFACE, hresult, 0]);
            let exchange = exchange(Some(known::IACTIVATION), 0, stub.clone().into(), Some(answer.0));
            let (mut exporters, mut odd) = (Exporters::new(&Limits::default()), Vec::new());
            let read = read(&connection(), &exchange, &Catalog::built_in(), &mut exporters, &mut odd).unwrap();
            assert!(odd.is_empty(), "{odd:?}");
            let because = read.dcom.because.last().map(ToString::to_string);
            (read.dcom.outcome, read.dcom.ipids.len(), because.unwrap_or_default())
        };
        let dispatch = "interfaces refused: IDispatch (E_NOINTERFACE 0x80004002)";
        assert_eq!(
            answered(None),
            (
                Some(Outcome::Failed),
                0,
                format!("{dispatch}, IUnknown (E_NOINTERFACE 0x80004002)")
            )
        );
        let objref = Bytes::default().with("MEOW").words(&[1]).guid(known::IUNKNOWN);
        let objref = objref
            .words(&[0, 5, 7, 0, 9, 0])
            .guid(Guid::com(0xbb))
            .with([2, 0, 1, 0, 0, 0, 0, 0]);
        assert_eq!(
            answered(Some(objref)),
            (Some(Outcome::Succeeded), 1, dispatch.to_owned())
        );
    }
}
