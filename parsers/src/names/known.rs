//! Identifiers that the code itself goes by ([MS-DCOM] 1.9 Standards Assignments, unless said otherwise).

use crate::guid::Guid;

/// The activator on port 135: `IRemoteSCMActivator`.
pub const IREMOTE_SCM_ACTIVATOR: Guid = Guid::com(0x0000_01a0);
/// The activator of old clients: `IActivation`.
pub const IACTIVATION: Guid = Guid::new(
    0x4d9f_4ab8,
    0x7d1c,
    0x11cf,
    [0x86, 0x1e, 0x00, 0x20, 0xaf, 0x6e, 0x7c, 0x57],
);
/// The OXID resolver on port 135: `IObjectExporter`.
pub const IOBJECT_EXPORTER: Guid = Guid::new(
    0x99fc_fec4,
    0x5260,
    0x101b,
    [0xbb, 0xcb, 0x00, 0xaa, 0x00, 0x21, 0x34, 0x7a],
);
/// The endpoint mapper (C706 appendix O Endpoint Mapper Interface Definition).
pub const EPMAPPER: Guid = Guid::new(
    0xe1af_8308,
    0x5d1f,
    0x11c9,
    [0x91, 0xa4, 0x08, 0x00, 0x2b, 0x14, 0xa0, 0xfa],
);
/// Remote management, offered by every RPC server (C706 appendix Q Remote Management Interface).
pub const MGMT: Guid = Guid::new(
    0xafa8_bd80,
    0x7d8a,
    0x11c9,
    [0xbe, 0xf4, 0x08, 0x00, 0x2b, 0x10, 0x29, 0x89],
);

/// What every interface is: `IUnknown`.
pub const IUNKNOWN: Guid = Guid::com(0x0000_0000);
/// References and further interfaces of an exporter's objects: `IRemUnknown`.
pub const IREM_UNKNOWN: Guid = Guid::com(0x0000_0131);
/// `IRemUnknown` with `RemQueryInterface2`: `IRemUnknown2`.
pub const IREM_UNKNOWN2: Guid = Guid::com(0x0000_0143);
/// What `RemoteGetClassObject` usually asks for: `IClassFactory`.
pub const ICLASS_FACTORY: Guid = Guid::com(0x0000_0001);
/// `IClassFactory` for licensed classes: `IClassFactory2` (Windows SDK, ocidl.idl).
pub const ICLASS_FACTORY2: Guid = Guid::new(
    0xb196_b28f,
    0xbab4,
    0x101a,
    [0xb6, 0x9c, 0x00, 0xaa, 0x00, 0x34, 0x1d, 0x07],
);
/// Late-bound calls: `IDispatch` ([MS-OAUT] 1.9 Standards Assignments).
pub const IDISPATCH: Guid = Guid::com(0x0002_0400);
/// What members a class has, by name and DISPID: `ITypeInfo` ([MS-OAUT] 1.9 Standards Assignments).
pub const ITYPE_INFO: Guid = Guid::com(0x0002_0401);
/// `ITypeInfo` with further operations behind its own: `ITypeInfo2` ([MS-OAUT] 3.9 `ITypeInfo2` Server Details).
pub const ITYPE_INFO2: Guid = Guid::com(0x0002_0412);
/// The type information of all classes of a library: `ITypeLib` ([MS-OAUT] 1.9 Standards Assignments).
pub const ITYPE_LIB: Guid = Guid::com(0x0002_0402);

/// [MS-OAUT] 3.3 `IEnumVARIANT` Server Details: walks a collection.
pub const IENUM_VARIANT: Guid = Guid::com(0x0002_0404);
/// `IProvideClassInfo`: names the class of an object.
pub const IPROVIDE_CLASS_INFO: Guid = Guid::new(
    0xb196_b283,
    0xbab4,
    0x101a,
    [0xb6, 0x9c, 0x00, 0xaa, 0x00, 0x34, 0x1d, 0x07],
);
/// Transfer syntax NDR, version 2.0 (C706 chapter 14 Transfer Syntax NDR).
pub const NDR20: Guid = Guid::new(
    0x8a88_5d04,
    0x1ceb,
    0x11c9,
    [0x9f, 0xe8, 0x08, 0x00, 0x2b, 0x10, 0x48, 0x60],
);
/// Transfer syntax NDR64, version 1.0 ([MS-RPCE] 2.2.5 64-Bit Network Data Representation).
pub const NDR64: Guid = Guid::new(
    0x7171_0533,
    0xbeba,
    0x4937,
    [0x83, 0x19, 0xb5, 0xdb, 0xef, 0x9c, 0xcc, 0x36],
);

/// Interface of the OBJREF that holds an activation request.
pub const IID_ACTIVATION_PROPERTIES_IN: Guid = Guid::com(0x0000_01a2);
/// Interface of the OBJREF that holds an activation reply.
pub const IID_ACTIVATION_PROPERTIES_OUT: Guid = Guid::com(0x0000_01a3);
/// Unmarshaler of the activation request.
pub const CLSID_ACTIVATION_PROPERTIES_IN: Guid = Guid::com(0x0000_0338);
/// Unmarshaler of the activation reply, and its property `PropsOutInfo`.
pub const CLSID_ACTIVATION_PROPERTIES_OUT: Guid = Guid::com(0x0000_0339);
/// Property `PropsOutInfo` of an activation reply: the interfaces got, one HRESULT each. The same value as
/// [`CLSID_ACTIVATION_PROPERTIES_OUT`].
pub const CLSID_PROPS_OUT_INFO: Guid = CLSID_ACTIVATION_PROPERTIES_OUT;
/// Unmarshaler of a context.
pub const CLSID_CONTEXT_MARSHALER: Guid = Guid::com(0x0000_033b);

/// Property `LocationInfoData`.
pub const CLSID_SERVER_LOCATION_INFO: Guid = Guid::com(0x0000_01a4);
/// Property `ActivationContextInfoData`.
pub const CLSID_ACTIVATION_CONTEXT_INFO: Guid = Guid::com(0x0000_01a5);
/// Property `SecurityInfoData`: the server's name as the caller typed it.
pub const CLSID_SECURITY_INFO: Guid = Guid::com(0x0000_01a6);
/// Property `ScmRequestInfoData`.
pub const CLSID_SCM_REQUEST_INFO: Guid = Guid::com(0x0000_01aa);
/// Property `InstantiationInfoData`: the class and the interfaces asked for.
pub const CLSID_INSTANTIATION_INFO: Guid = Guid::com(0x0000_01ab);
/// Property `InstanceInfoData`: activation from a file or a storage.
pub const CLSID_INSTANCE_INFO: Guid = Guid::com(0x0000_01ad);
/// Property `ScmReplyInfoData`: OXID, bindings and IPID of the new exporter.
pub const CLSID_SCM_REPLY_INFO: Guid = Guid::com(0x0000_01b6);
/// Property `SpecialPropertiesData`: the session asked for.
pub const CLSID_SPECIAL_SYSTEM_PROPERTIES: Guid = Guid::com(0x0000_01b9);

/// Extension of ORPCTHIS and ORPCTHAT: error information.
pub const CLSID_ERROR_EXTENSION: Guid = Guid::com(0x0000_031c);
/// Unmarshaler of error information.
pub const CLSID_ERROR_OBJECT: Guid = Guid::com(0x0000_031b);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::names;

    #[test]
    fn identifiers_and_tables_agree() {
        for (uuid, name) in [
            (IREMOTE_SCM_ACTIVATOR, "IRemoteSCMActivator"),
            (IACTIVATION, "IActivation"),
            (IOBJECT_EXPORTER, "IObjectExporter"),
            (EPMAPPER, "epmapper"),
            (MGMT, "mgmt"),
            (IUNKNOWN, "IUnknown"),
            (IREM_UNKNOWN, "IRemUnknown"),
            (IREM_UNKNOWN2, "IRemUnknown2"),
            (ICLASS_FACTORY, "IClassFactory"),
            (ICLASS_FACTORY2, "IClassFactory2"),
            (IDISPATCH, "IDispatch"),
            (ITYPE_INFO, "ITypeInfo"),
            (ITYPE_INFO2, "ITypeInfo2"),
            (ITYPE_LIB, "ITypeLib"),
        ] {
            assert_eq!(names::interface(uuid), Some(name));
        }
    }

    #[test]
    fn transfer_syntaxes_are_as_written_in_the_specifications() {
        assert_eq!(NDR20.to_string(), "8a885d04-1ceb-11c9-9fe8-08002b104860");
        assert_eq!(NDR64.to_string(), "71710533-beba-4937-8319-b5dbef9ccc36");
        assert_eq!(
            CLSID_SPECIAL_SYSTEM_PROPERTIES.to_string(),
            "000001b9-0000-0000-c000-000000000046"
        );
    }
}
