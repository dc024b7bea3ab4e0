//! Calls put together by hand, for tests of what is read in them.

use std::net::IpAddr;
use std::sync::Arc;

use dcom_parsers::guid::{Guid, Iid, Ipid};
use dcom_parsers::input::ByteOrder;
use dcom_parsers::ndr::Encoding;
use dcom_parsers::rpce::SyntaxId;

use super::Read;
use super::calls::{self, Calls};
use super::exporters::{Exporters, Lineage, Pair, Told};
use crate::anomaly::Anomaly;
use crate::capture::At;
use crate::catalog::Catalog;
use crate::decode::{Endpoint, VlanTags};
use crate::event::{Dcom, Shared};
use crate::flow::{Connection, Protocol, Sides};
use crate::limits::Limits;
use crate::rpc::{Exchange, Message, Named, Reply, Stub};

/// The object that is called.
pub(super) const OBJECT: Ipid = Ipid(Guid::com(0xaaaa));

pub(super) fn connection() -> Connection {
    let end = |last, port| Endpoint {
        address: IpAddr::from([192, 0, 2, last]),
        port,
    };
    let ends = Sides {
        client: end(20, 50_000),
        server: end(10, 49_670),
    };
    Connection::new(ends, (VlanTags::default(), None), At::default(), true, Protocol::Rpc, 0)
}

fn message(stub: Stub) -> Message {
    Message {
        stub,
        order: ByteOrder::Little,
        ..Message::default()
    }
}

/// A call in NDR20 and its answer, if there is one.
pub(super) fn exchange(interface: Option<Guid>, opnum: u16, stub: Stub, answer: Option<Vec<u8>>) -> Exchange {
    Exchange {
        call_id: 1,
        activity: None,
        opnum: Some(opnum),
        context_id: 0,
        is_offered: false,
        interface: interface.map_or(Named::Unseen, |uuid| Named::Interface(SyntaxId { uuid, version: 0 })),
        encoding: interface.map(|_| Encoding::Ndr20),
        object: None,
        request: Some(message(stub)),
        reply: answer.map_or(Reply::Unanswered, |answer| {
            Reply::Response(message(Stub::Whole(answer)))
        }),
        auth: None,
        claims: Arc::default(),
        shape: Arc::default(),
        secondary_address: None,
        named_pipe: None,
        bytes_missing: 0,
    }
}

/// What is known of a server's objects.
pub(super) struct Rig {
    pub(super) catalog: Catalog,
    pub(super) exporters: Exporters,
    pub(super) odd: Vec<Anomaly>,
}

impl Rig {
    pub(super) fn new() -> Self {
        Self {
            catalog: Catalog::built_in(),
            exporters: Exporters::new(&Limits::default()),
            odd: Vec::new(),
        }
    }

    pub(super) fn pair() -> Pair {
        Pair::from(&connection())
    }

    /// The object was reached so.
    pub(super) fn reached(mut self, class: &str, path: &str) -> Self {
        let lineage = Lineage {
            clsid: self.catalog.find(class).first().map(|class| class.clsid),
            class: Some(class.to_owned()),
            path: path.to_owned(),
            ..Lineage::unseen()
        };
        let told = Told {
            lineage: Some(Arc::new(lineage)),
            ..Told::interface(OBJECT, Iid(Guid::com(0)), 1)
        };
        self.exporters.learn(Self::pair(), told);
        self
    }

    /// The object is called.
    pub(super) fn call(&mut self, interface: Guid, opnum: u16, stub: Stub, answer: Option<Vec<u8>>) -> Shared<Dcom> {
        self.call_on(OBJECT, interface, opnum, stub, answer)
    }

    /// Another object is called.
    pub(super) fn call_on(
        &mut self,
        object: Ipid,
        interface: Guid,
        opnum: u16,
        stub: Stub,
        answer: Option<Vec<u8>>,
    ) -> Shared<Dcom> {
        let mut exchange = exchange(Some(interface), opnum, stub, answer);
        exchange.object = Some(object.0);
        exchange.forget_unread(super::is_read);
        self.read(&exchange).expect("it is a call").dcom
    }

    pub(super) fn read(&mut self, exchange: &Exchange) -> Option<Read> {
        let Self {
            catalog,
            exporters,
            odd,
        } = self;
        calls::read(&connection(), exchange, exporters, catalog, Calls::All, odd)
    }
}

/// Stubs, little-endian, in NDR20.
#[derive(Clone, Debug, Default)]
pub(super) struct Bytes(pub(super) Vec<u8>);

impl Bytes {
    /// Begins with an ORPCTHIS.
    pub(super) fn request() -> Self {
        Self(vec![5, 0, 7, 0]).words(&[0, 0]).guid(Guid::com(0xc)).words(&[0])
    }

    /// Begins with an ORPCTHAT.
    pub(super) fn reply() -> Self {
        Self::default().words(&[0, 0])
    }

    pub(super) fn with(mut self, bytes: impl AsRef<[u8]>) -> Self {
        self.0.extend(bytes.as_ref());
        self
    }

    pub(super) fn words(self, words: &[u32]) -> Self {
        words.iter().fold(self, |bytes, word| bytes.with(word.to_le_bytes()))
    }

    pub(super) fn guid(self, guid: Guid) -> Self {
        self.with(guid.data1.to_le_bytes())
            .with(guid.data2.to_le_bytes())
            .with(guid.data3.to_le_bytes())
            .with(guid.data4)
    }

    pub(super) fn align(mut self, to: usize) -> Self {
        self.0.resize(self.0.len().next_multiple_of(to), 0);
        self
    }

    /// [MS-OAUT] 2.2.23.2 BSTR.
    pub(super) fn bstr(self, text: &str) -> Self {
        let units: Vec<u8> = text.encode_utf16().flat_map(u16::to_le_bytes).collect();
        let length = u32::try_from(units.len()).expect("texts are short");
        let head = [0x7265_7355, length / 2, length, length / 2];
        self.align(4).words(&head).with(units).align(4)
    }

    /// [MS-OAUT] 2.2.29 VARIANT of a text, behind its pointer.
    pub(super) fn variant(self, text: &str) -> Self {
        self.align(4).words(&[0x7265_7355]).variant_referent(text)
    }

    /// The same without a pointer.
    pub(super) fn variant_referent(self, text: &str) -> Self {
        let value = Self::default().words(&[8, 0, 8]).bstr(text).0;
        let size = u32::try_from(value.len().div_ceil(8) + 1).expect("texts are short");
        self.align(8).words(&[size, 0]).with(value)
    }
}

impl From<Bytes> for Stub {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(bytes.0)
    }
}
