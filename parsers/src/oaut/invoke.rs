//! The call itself: a member by number, arguments as variants, one result.

use super::MAX_VALUES;
use super::bstr::Bstr;
use super::dispatch::{Dispid, InvokeFlags};
use super::variant::{Variant, variants};
use crate::dcom::{OrpcThat, OrpcThis};
use crate::error::{ParseError, Result};
use crate::guid::Iid;
use crate::ndr::Reader;

/// HRESULTs with which `puArgErr` means something: `DISP_E_PARAMNOTFOUND` and `DISP_E_TYPEMISMATCH`.
const ARGUMENT_ERRORS: [u32; 2] = [0x8002_0004, 0x8002_0005];

/// `DISP_E_EXCEPTION`: the HRESULT with which `pExcepInfo` means something.
const EXCEPTION: u32 = 0x8002_0009;

/// The request of [MS-OAUT] 3.1.4.4 `IDispatch::Invoke` (Opnum 6).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InvokeRequest<'a> {
    /// Who calls.
    pub orpc_this: OrpcThis,
    /// `dispIdMember`.
    pub member: Dispid,
    /// Null.
    pub iid: Iid,
    /// The language of the arguments.
    pub lcid: u32,
    /// Is a method called, or a property read or assigned?
    pub flags: InvokeFlags,
    /// In the order a programmer writes them, which is not the wire's: those with a name come last. Those that are passed
    /// by reference stand in their places.
    pub arguments: Vec<Argument<'a>>,
    /// What ended the reading early, if something did. Arguments not reached are [`Variant::Unread`].
    pub broken: Option<ParseError>,
}

/// One argument of a call: an element of `rgvarg` in [MS-OAUT] 2.2.33 DISPPARAMS.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Argument<'a> {
    /// The parameter it is for, when the caller names it; [`Dispid::PROPERTY_PUT`] is the value assigned.
    pub name: Option<Dispid>,
    /// Its value.
    pub value: Variant<'a>,
}

impl<'a> InvokeRequest<'a> {
    /// Reads the request stub. From the first argument on, what cannot be read is told in `broken`: the call is
    /// known by then.
    ///
    /// ```text
    /// | ORPCTHIS | dispIdMember 4 | riid 16 | lcid 4 | dwFlags 4 | DISPPARAMS | cVarRef 4 | rgVarRefIdx | rgVarRef |
    /// ```
    pub fn parse(reader: &mut Reader<'a>) -> Result<Self> {
        let orpc_this = OrpcThis::parse(reader)?;
        reader.enter("Invoke request");
        let mut request = Self {
            orpc_this,
            member: Dispid::parse(reader)?,
            iid: Iid(reader.guid()?),
            lcid: reader.u32()?,
            flags: InvokeFlags::from_bits_retain(reader.u32()?),
            arguments: Vec::new(),
            broken: None,
        };
        let mut wire = WireArguments::default();
        request.broken = wire.read(reader).err();
        request.arguments = wire.in_source_order();
        Ok(request)
    }
}

/// [MS-OAUT] 2.2.33 DISPPARAMS and the parameters that complete it, as they are sent.
#[derive(Default)]
struct WireArguments<'a> {
    values: Vec<Variant<'a>>,
    names: Vec<Dispid>,
    reference_indices: Vec<u32>,
    references: Vec<Variant<'a>>,
}

impl<'a> WireArguments<'a> {
    fn read(&mut self, reader: &mut Reader<'a>) -> Result<()> {
        reader.enter("DISPPARAMS");
        reader.align_pointer()?;
        let has_values = reader.pointer()?;
        let has_names = reader.pointer()?;
        reader.u32()?; // cArgs
        reader.u32()?; // cNamedArgs
        if has_values {
            variants(reader, "rgvarg", &mut self.values)?;
        }
        reader.enter("DISPPARAMS");
        if has_names {
            let count = reader.count("rgdispidNamedArgs", 4, MAX_VALUES)?;
            self.names = (0..count).map(|_| Dispid::parse(reader)).collect::<Result<_>>()?;
        }
        reader.enter("Invoke request");
        reader.u32()?; // cVarRef
        let count = reader.count("rgVarRefIdx", 4, MAX_VALUES)?;
        self.reference_indices = (0..count).map(|_| reader.u32()).collect::<Result<_>>()?;
        variants(reader, "rgVarRef", &mut self.references)
    }

    fn in_source_order(self) -> Vec<Argument<'a>> {
        let names = self.names.into_iter().map(Some).chain(std::iter::repeat(None));
        let mut arguments: Vec<_> = self
            .values
            .into_iter()
            .zip(names)
            .map(|(value, name)| Argument { name, value })
            .collect();
        for (index, value) in self.reference_indices.into_iter().zip(self.references) {
            let place = usize::try_from(index).ok().and_then(|index| arguments.get_mut(index));
            match place {
                Some(argument) => argument.value = value,
                // A server refuses this. It is shown as the first argument rather than not at all.
                None => arguments.push(Argument { name: None, value }),
            }
        }
        arguments.reverse();
        arguments
    }
}

/// The reply of [MS-OAUT] 3.1.4.4 `IDispatch::Invoke` (Opnum 6).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct InvokeReply<'a> {
    /// `pVarResult`.
    pub result: Variant<'a>,
    /// `pExcepInfo`, when the HRESULT says that there was an exception.
    pub exception: Option<ExcepInfo<'a>>,
    /// `pArgErr`, when the HRESULT blames an argument: counted as on the wire, from the last one.
    pub argument_error: Option<u32>,
    /// `rgVarRef`: the arguments passed by reference, with what the call made of them, as they stand on the wire.
    pub references: Vec<Variant<'a>>,
    /// What became of the call.
    pub hresult: u32,
}

impl<'a> InvokeReply<'a> {
    /// Reads the reply stub.
    pub fn parse(reader: &mut Reader<'a>) -> Result<Self> {
        OrpcThat::parse(reader)?;
        reader.enter("Invoke reply");
        let result = Variant::parse(reader)?;
        let exception = ExcepInfo::parse(reader)?;
        reader.enter("Invoke reply");
        let argument_error = reader.u32()?;
        let mut references = Vec::new();
        variants(reader, "rgVarRef", &mut references)?;
        reader.enter("Invoke reply");
        let hresult = reader.u32()?;
        Ok(Self {
            result,
            exception: Some(exception).filter(|it| hresult == EXCEPTION && (it.code != 0 || it.scode != 0)),
            argument_error: Some(argument_error).filter(|_| ARGUMENT_ERRORS.contains(&hresult)),
            references,
            hresult,
        })
    }
}

/// [MS-OAUT] 2.2.34 EXCEPINFO: what a method says of its failure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExcepInfo<'a> {
    /// `wCode`, the program's own number; 0 when there is an `scode`.
    pub code: u16,
    /// Who failed, often a program's name.
    pub source: Bstr<'a>,
    /// Why.
    pub description: Bstr<'a>,
    /// Where to read about it, often a path on the server.
    pub help_file: Bstr<'a>,
    /// Where in there.
    pub help_context: u32,
    /// The HRESULT; 0 when there is a `wCode`.
    pub scode: u32,
}

impl<'a> ExcepInfo<'a> {
    fn parse(reader: &mut Reader<'a>) -> Result<Self> {
        reader.enter("EXCEPINFO");
        reader.align_pointer()?;
        let code = reader.u16()?;
        reader.u16()?;
        let strings = [reader.pointer()?, reader.pointer()?, reader.pointer()?];
        let help_context = reader.u32()?;
        reader.uint3264()?; // pvReserved
        reader.uint3264()?; // pfnDeferredFillIn
        let scode = reader.u32()?;
        reader.align_ndr64(8)?;
        let mut string = |there| {
            if there {
                Bstr::parse_blob(reader)
            } else {
                Ok(Bstr::default())
            }
        };
        let [source, description, help_file] = strings;
        Ok(Self {
            code,
            source: string(source)?,
            description: string(description)?,
            help_file: string(help_file)?,
            help_context,
            scode,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::guid::Guid;
    use crate::input::ByteOrder;
    use crate::ndr::Encoding;
    use crate::oaut::round_trips::{every_way, utf16};
    use crate::testing::{Writer, lasting};

    macro_rules! stub {
        ($name:literal) => {
            include_bytes!(concat!("../../corpus/oaut/", $name, ".bin"))
        };
    }

    fn reader(bytes: &[u8]) -> Reader<'_> {
        Reader::new(bytes, ByteOrder::Little, Encoding::Ndr20, "test")
    }

    fn request(bytes: &[u8]) -> InvokeRequest<'_> {
        let mut reader = reader(bytes);
        let request = InvokeRequest::parse(&mut reader).unwrap();
        assert_eq!((request.broken.as_ref(), reader.rest()), (None, &[][..]));
        request
    }

    fn texts(request: &InvokeRequest<'_>) -> Vec<String> {
        request.arguments.iter().map(|it| it.value.to_text()).collect()
    }

    #[test]
    fn a_real_command_comes_in_the_order_it_is_written() {
        let request = request(stub!("invoke-execute-shell-command-request"));
        assert_eq!(
            (request.member, request.flags, request.lcid),
            (Dispid(54), InvokeFlags::METHOD, 1033)
        );
        assert_eq!(
            texts(&request),
            ["cmd.exe", "C:\\windows\\system32", "/Q /c whoami", "7"]
        );
        let reply = InvokeReply::parse(&mut reader(stub!("invoke-execute-shell-command-reply"))).unwrap();
        assert_eq!(reply, InvokeReply::default());
    }

    #[test]
    fn real_text_beyond_ascii_and_empty_strings_are_read() {
        let request = request(stub!("invoke-shell-execute-unicode-request"));
        assert_eq!(request.member, Dispid(1_610_809_345));
        let [program, arguments, directory, verb, show] = texts(&request).try_into().unwrap();
        assert_eq!((program.as_str(), verb.as_str(), show.as_str()), ("cmd.exe", "", "0"));
        assert_eq!(directory, "C:\\windows\\system32");
        assert!(arguments.starts_with("/Q /c echo Grüße, Δοκιμή, "), "{arguments}");
    }

    #[test]
    fn a_real_property_gives_the_object_it_leads_to() {
        let request = request(stub!("invoke-get-document-request"));
        assert_eq!(
            (request.flags, request.arguments),
            (InvokeFlags::PROPERTY_GET, Vec::new())
        );
        let mut stub = reader(stub!("invoke-get-document-reply"));
        let reply = InvokeReply::parse(&mut stub).unwrap();
        let objref = reply.result.interface().unwrap().objref().unwrap();
        let ipid = objref.std().unwrap().ipid.to_string();
        assert_eq!(ipid, "2888eccd-01f8-0000-382f-78a3a6aa8160");
        assert_eq!(reply.result.to_text(), format!("IDispatch {ipid}"));
        assert_eq!((reply.hresult, stub.rest().len()), (0, 0));
    }

    #[test]
    fn a_real_failure_keeps_its_hresult() {
        let request = request(stub!("invoke-no-such-member-request"));
        assert_eq!(request.member, Dispid(12345));
        let reply = InvokeReply::parse(&mut reader(stub!("invoke-no-such-member-reply"))).unwrap();
        assert_eq!((reply.hresult, reply.exception), (0x8002_0003, None));
    }

    #[test]
    fn a_real_long_command_is_whole() {
        let request = request(stub!("invoke-long-command-request"));
        let command = request.arguments[2].value.to_text();
        assert!(command.starts_with("/Q /c echo segment-0000-of-a-long-harmless-"));
        assert_eq!(
            command.encode_utf16().count() * 2,
            request.arguments[2].value.bstr().unwrap().bytes().len()
        );
    }

    #[test]
    fn a_stub_cut_anywhere_still_tells_the_call() {
        let bytes = stub!("invoke-execute-shell-command-request");
        for length in 0..bytes.len() {
            let read = InvokeRequest::parse(&mut reader(&bytes[..length]));
            assert_eq!(read.is_ok(), length >= 60, "{length}");
            if let Ok(request) = read {
                assert!(request.broken.is_some() && request.member == Dispid(54), "{length}");
            }
        }
        let cut = InvokeRequest::parse(&mut reader(&bytes[..240])).unwrap();
        assert_eq!(texts(&cut), ["?", "?", "/Q /c whoami", "7"]);
        let bytes = stub!("invoke-get-document-reply");
        for length in 0..bytes.len() {
            assert!(InvokeReply::parse(&mut reader(&bytes[..length])).is_err(), "{length}");
        }
    }

    fn encoded(
        order: ByteOrder,
        encoding: Encoding,
        values: &[Variant<'static>],
        names: &[Dispid],
        references: &[(u32, Variant<'static>)],
    ) -> Writer {
        let mut writer = Writer::new(order, encoding);
        writer
            .orpc_this(Guid::com(1))
            .ndr_u32(0x6002_0002)
            .guid(Guid::NULL)
            .ndr_u32(1033)
            .ndr_u32(4)
            .align_pointer();
        writer
            .pointer()
            .pointer()
            .long_count(values.len())
            .long_count(names.len());
        let (indices, references): (Vec<u32>, Vec<_>) = references.iter().cloned().unzip();
        writer
            .variants(values)
            .array(names)
            .long_count(indices.len())
            .array(&indices)
            .variants(&references);
        writer
    }

    #[test]
    fn names_and_references_find_their_arguments_every_way() {
        let text = lasting(utf16("by ref"));
        let by_ref = Variant::ByRef(Box::new(Variant::Bstr(Bstr::new(text))));
        let values = [
            Variant::I4(30),
            Variant::Empty,
            Variant::Error(0x8002_0004),
            Variant::I4(10),
        ];
        every_way(|order, encoding| {
            let writer = encoded(
                order,
                encoding,
                &values,
                &[Dispid::PROPERTY_PUT],
                &[(1, by_ref.clone()), (9, Variant::I4(99))],
            );
            let mut reader = writer.reader();
            let request = InvokeRequest::parse(&mut reader).unwrap();
            assert_eq!(
                (request.broken.as_ref(), reader.rest().len()),
                (None, 0),
                "{order:?} {encoding:?}"
            );
            assert_eq!(request.member, Dispid(0x6002_0002));
            assert_eq!(texts(&request), ["99", "10", "", "by ref", "30"]);
            let names: Vec<_> = request.arguments.iter().map(|it| it.name).collect();
            assert_eq!(names, [None, None, None, None, Some(Dispid::PROPERTY_PUT)]);
        });
    }

    proptest! {
        #[test]
        fn any_change_to_a_stub_is_survived(
            changes in prop::collection::vec((0_usize..8000, any::<u8>()), 1..8),
            wide in any::<bool>(),
            big in any::<bool>(),
        ) {
            let encoding = if wide { Encoding::Ndr64 } else { Encoding::Ndr20 };
            let order = if big { ByteOrder::Big } else { ByteOrder::Little };
            let text = Bstr::new(lasting(utf16("text")));
            let array = Variant::Array(Some(Box::new(crate::oaut::SafeArray {
                elements: crate::oaut::Elements::Values(vec![Variant::I4(1), Variant::Bstr(text)]),
                bounds: vec![crate::oaut::SafeArrayBound { count: 2, lower: 0 }],
                ..crate::oaut::SafeArray::default()
            })));
            let mut bytes = encoded(order, encoding, &[array, Variant::Bstr(text)], &[Dispid(1)], &[]).bytes();
            for (at, value) in changes {
                let length = bytes.len();
                bytes[at % length] = value;
            }
            let mut reader = Reader::new(&bytes, order, encoding, "test");
            if let Ok(request) = InvokeRequest::parse(&mut reader) {
                let length: usize = texts(&request).iter().map(String::len).sum();
                prop_assert!(length <= bytes.len() * 8);
            }
            let mut reader = Reader::new(&bytes, order, encoding, "test");
            let _ = InvokeReply::parse(&mut reader);
        }
    }
}
