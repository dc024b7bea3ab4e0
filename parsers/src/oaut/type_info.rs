//! What shells and browsers of type libraries ask an object about itself.

use std::fmt;

use super::bstr::Bstr;
use super::dispatch::Dispid;
use super::type_desc::{ElemDesc, TypeDesc};
use super::var_type::VarType;
use super::{MAX_VALUES, referents};
use crate::dcom::{OrpcThat, OrpcThis};
use crate::error::Result;
use crate::guid::Guid;
use crate::named::named;
use crate::ndr::Reader;

macro_rules! numbers {
    ($($(#[$type_doc:meta])* $type:ident { $($(#[$doc:meta])* $name:ident = $value:literal $text:literal;)* })*) => {$(
        $(#[$type_doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $type(pub u32);

        named! { $type { $($(#[$doc])* $name = $value $text;)* } }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{:#x}", self.0),
                }
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }
    )*};
}

numbers! {
    /// [MS-OAUT] 2.2.17 TYPEKIND Type Kind Constants.
    TypeKind {
        /// An enumeration.
        ENUM = 0 "TKIND_ENUM";
        /// A structure.
        RECORD = 1 "TKIND_RECORD";
        /// Functions of a DLL.
        MODULE = 2 "TKIND_MODULE";
        /// An interface.
        INTERFACE = 3 "TKIND_INTERFACE";
        /// An interface that is called by number.
        DISPATCH = 4 "TKIND_DISPATCH";
        /// A class.
        COCLASS = 5 "TKIND_COCLASS";
        /// Another name of a type.
        ALIAS = 6 "TKIND_ALIAS";
        /// A union.
        UNION = 7 "TKIND_UNION";
    }
    /// [MS-OAUT] 2.2.14 INVOKEKIND Function Invocation Constants.
    InvokeKind {
        /// A method.
        FUNC = 1 "INVOKE_FUNC";
        /// Reads a property.
        PROPERTY_GET = 2 "INVOKE_PROPERTYGET";
        /// Assigns a value to a property.
        PROPERTY_PUT = 4 "INVOKE_PROPERTYPUT";
        /// Assigns a reference to a property.
        PROPERTY_PUT_REF = 8 "INVOKE_PROPERTYPUTREF";
    }
}

/// The reply of [MS-OAUT] 3.7.4.1 `ITypeInfo::GetTypeAttr` (Opnum 3); the request is bare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetTypeAttrReply {
    /// The type.
    pub attributes: Option<TypeAttr>,
    /// What became of the call.
    pub hresult: u32,
}

impl GetTypeAttrReply {
    /// Reads the reply stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        OrpcThat::parse(reader)?;
        let attributes = if reader.pointer()? {
            Some(TypeAttr::parse(reader)?)
        } else {
            None
        };
        reader.enter("GetTypeAttr reply");
        reader.u32()?; // pReserved
        Ok(Self {
            attributes,
            hresult: reader.u32()?,
        })
    }
}

/// [MS-OAUT] 2.2.44 TYPEATTR, of which we keep what names a class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TypeAttr {
    /// The CLSID of a class, the IID of an interface.
    pub guid: Guid,
    /// Which of them it is.
    pub kind: TypeKind,
    /// Methods it has.
    pub functions: u16,
    /// Data members it has.
    pub variables: u16,
    /// Interfaces it implements or inherits.
    pub interfaces: u16,
    /// `wTypeFlags`.
    pub flags: u16,
    /// `wMajorVerNum` and `wMinorVerNum`.
    pub version: (u16, u16),
}

impl TypeAttr {
    fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("TYPEATTR");
        reader.align_pointer()?;
        let guid = reader.guid()?;
        for _ in 0..4 {
            reader.u32()?; // lcid, dwReserved1, dwReserved2, dwReserved3
        }
        let has_string = reader.pointer()?;
        reader.u32()?; // cbSizeInstance
        let kind = TypeKind(reader.u32()?);
        let functions = reader.u16()?;
        let variables = reader.u16()?;
        let interfaces = reader.u16()?;
        reader.u16()?; // cbSizeVft
        reader.u16()?; // cbAlignment
        let flags = reader.u16()?;
        let version = (reader.u16()?, reader.u16()?);
        let alias = TypeDesc::parse(reader)?;
        reader.u32()?;
        reader.u16()?;
        reader.align_ndr64(8)?;
        if has_string {
            reader.wide_string()?; // lpstrReserved4
        }
        alias.skip_referents(reader)?;
        Ok(Self {
            guid,
            kind,
            functions,
            variables,
            interfaces,
            flags,
            version,
        })
    }
}

/// The request of [MS-OAUT] 3.7.4.3 `ITypeInfo::GetFuncDesc` (Opnum 5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GetFuncDescRequest {
    /// Who asks.
    pub orpc_this: OrpcThis,
    /// Which method, counted from 0.
    pub index: u32,
}

impl GetFuncDescRequest {
    /// Reads the request stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        let orpc_this = OrpcThis::parse(reader)?;
        reader.enter("GetFuncDesc request");
        Ok(Self {
            orpc_this,
            index: reader.u32()?,
        })
    }
}

/// The reply of [MS-OAUT] 3.7.4.3 `ITypeInfo::GetFuncDesc` (Opnum 5).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GetFuncDescReply {
    /// The method.
    pub function: Option<FuncDesc>,
    /// What became of the call.
    pub hresult: u32,
}

impl GetFuncDescReply {
    /// Reads the reply stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        OrpcThat::parse(reader)?;
        let function = if reader.pointer()? {
            Some(FuncDesc::parse(reader)?)
        } else {
            None
        };
        reader.enter("GetFuncDesc reply");
        reader.u32()?; // pReserved
        Ok(Self {
            function,
            hresult: reader.u32()?,
        })
    }
}

/// [MS-OAUT] 2.2.42 FUNCDESC, of which we keep what a later call can be told by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FuncDesc {
    /// The number it is called by.
    pub member: Dispid,
    /// How it is called.
    pub kind: InvokeKind,
    /// What it takes.
    pub parameters: Vec<VarType>,
    /// What it returns.
    pub result: VarType,
}

impl FuncDesc {
    fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        reader.enter("FUNCDESC");
        reader.align_pointer()?;
        let member = Dispid::parse(reader)?;
        let has_codes = reader.pointer()?;
        let has_parameters = reader.pointer()?;
        reader.u32()?; // funckind
        let kind = InvokeKind(reader.u32()?);
        reader.u32()?; // callconv
        for _ in 0..4 {
            reader.u16()?; // cParams, cParamsOpt, oVft, cReserved2
        }
        let result = ElemDesc::parse(reader)?;
        reader.u16()?; // wFuncFlags
        reader.align_ndr64(8)?;
        if has_codes {
            let count = reader.count("lReserved1", 4, MAX_VALUES)?;
            for _ in 0..count {
                reader.u32()?;
            }
        }
        let mut parameters = Vec::new();
        if has_parameters {
            let count = reader.count("lprgelemdescParam", 12, MAX_VALUES)?;
            parameters = (0..count).map(|_| ElemDesc::parse(reader)).collect::<Result<_>>()?;
        }
        for parameter in &parameters {
            parameter.skip_referents(reader)?;
        }
        result.skip_referents(reader)?;
        Ok(Self {
            member,
            kind,
            parameters: parameters.iter().map(|it| it.type_desc.var_type).collect(),
            result: result.type_desc.var_type,
        })
    }
}

/// The request of [MS-OAUT] 3.7.4.5 `ITypeInfo::GetNames` (Opnum 7).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GetNamesRequest {
    /// Who asks.
    pub orpc_this: OrpcThis,
    /// The member asked about.
    pub member: Dispid,
    /// The most names the client takes.
    pub max_names: u32,
}

impl GetNamesRequest {
    /// Reads the request stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        let orpc_this = OrpcThis::parse(reader)?;
        reader.enter("GetNames request");
        Ok(Self {
            orpc_this,
            member: Dispid::parse(reader)?,
            max_names: reader.u32()?,
        })
    }
}

/// The reply of [MS-OAUT] 3.7.4.5 `ITypeInfo::GetNames` (Opnum 7).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GetNamesReply<'a> {
    /// The member's name, and behind it those of its parameters.
    pub names: Vec<Bstr<'a>>,
    /// What became of the call.
    pub hresult: u32,
}

impl<'a> GetNamesReply<'a> {
    /// Reads the reply stub.
    pub fn parse(reader: &mut Reader<'a>) -> Result<Self> {
        OrpcThat::parse(reader)?;
        reader.enter("GetNames reply");
        super::varying(reader)?;
        let count = reader.count("rgBstrNames", 4, MAX_VALUES)?;
        let mut names = Vec::new();
        referents(reader, count, &mut names, Bstr::parse_blob)?;
        reader.enter("GetNames reply");
        reader.u32()?; // pcNames
        Ok(Self {
            names: names.into_iter().map(Option::unwrap_or_default).collect(),
            hresult: reader.u32()?,
        })
    }
}

/// The request of [MS-OAUT] 3.7.4.8 `ITypeInfo::GetDocumentation` (Opnum 12).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GetDocumentationRequest {
    /// Who asks.
    pub orpc_this: OrpcThis,
    /// The member asked about; [`Dispid::UNKNOWN`] for the type itself.
    pub member: Dispid,
    /// `refPtrFlags`: which of the four answers are wanted.
    pub wanted: u32,
}

impl GetDocumentationRequest {
    /// Reads the request stub.
    pub fn parse(reader: &mut Reader<'_>) -> Result<Self> {
        let orpc_this = OrpcThis::parse(reader)?;
        reader.enter("GetDocumentation request");
        Ok(Self {
            orpc_this,
            member: Dispid::parse(reader)?,
            wanted: reader.u32()?,
        })
    }
}

/// The reply of [MS-OAUT] 3.7.4.8 `ITypeInfo::GetDocumentation` (Opnum 12).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GetDocumentationReply<'a> {
    /// The name of the member, or of the type.
    pub name: Bstr<'a>,
    /// What it is for.
    pub description: Bstr<'a>,
    /// Where in the help file to read about it.
    pub help_context: u32,
    /// The help file.
    pub help_file: Bstr<'a>,
    /// What became of the call.
    pub hresult: u32,
}

impl<'a> GetDocumentationReply<'a> {
    /// Reads the reply stub.
    pub fn parse(reader: &mut Reader<'a>) -> Result<Self> {
        OrpcThat::parse(reader)?;
        reader.enter("GetDocumentation reply");
        let name = Bstr::parse(reader)?;
        let description = Bstr::parse(reader)?;
        let help_context = reader.u32()?;
        let help_file = Bstr::parse(reader)?;
        Ok(Self {
            name,
            description,
            help_context,
            help_file,
            hresult: reader.u32()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::ByteOrder;
    use crate::ndr::Encoding;
    use crate::testing::Writer;

    #[test]
    fn a_chain_of_pointers_ends() {
        let mut writer = Writer::new(ByteOrder::Little, Encoding::Ndr20);
        for _ in 0..64 {
            writer.type_desc(VarType::PTR);
        }
        let mut reader = writer.reader();
        let desc = TypeDesc::parse(&mut reader).unwrap();
        assert!(desc.skip_referents(&mut reader).is_err());
    }
}
