//! stub
#![allow(missing_docs)]
use crate::guid::Guid;
pub const NDR20: Guid = Guid::new(0x8a88_5d04, 0x1ceb, 0x11c9, [0x9f, 0xe8, 8, 0, 0x2b, 0x10, 0x48, 0x60]);
pub const NDR64: Guid = Guid::new(
    0x7171_0533,
    0xbeba,
    0x4937,
    [0x83, 0x19, 0xb5, 0xdb, 0xef, 0x9c, 0xcc, 0x36],
);
pub const ACTIVATION_PROPERTIES_IN: Guid = Guid::com(0x338);
pub const ACTIVATION_PROPERTIES_OUT: Guid = Guid::com(0x339);
pub const INSTANTIATION_INFO: Guid = Guid::com(0x1ab);
pub const SPECIAL_SYSTEM_PROPERTIES: Guid = Guid::com(0x1b9);
pub const SECURITY_INFO: Guid = Guid::com(0x1a6);
pub const SCM_REPLY_INFO: Guid = Guid::com(0x1b6);
pub const PROPS_OUT_INFO: Guid = Guid::com(0x339);
pub const IDISPATCH: Guid = Guid::com(0x20400);
pub const ICLASS_FACTORY: Guid = Guid::com(1);
pub const IREMOTE_SCM_ACTIVATOR: Guid = Guid::com(0x1a0);
pub const IOBJECT_EXPORTER: Guid = Guid::new(0x99fc_fec4, 0x5260, 0x101b, [0xbb, 0xcb, 0, 0xaa, 0, 0x21, 0x34, 0x7a]);
pub const IACTIVATION: Guid = Guid::new(
    0x4d9f_4ab8,
    0x7d1c,
    0x11cf,
    [0x86, 0x1e, 0, 0x20, 0xaf, 0x6e, 0x7c, 0x57],
);
pub const EPMAPPER: Guid = Guid::new(0xe1af_8308, 0x5d1f, 0x11c9, [0x91, 0xa4, 8, 0, 0x2b, 0x14, 0xa0, 0xfa]);
pub fn interface(_uuid: Guid) -> Option<&'static str> {
    None
}
pub fn operation(_uuid: Guid, _opnum: u16) -> Option<&'static str> {
    None
}
pub fn status(_code: u32) -> Option<&'static str> {
    None
}
pub fn fault(_code: u32) -> Option<&'static str> {
    None
}
