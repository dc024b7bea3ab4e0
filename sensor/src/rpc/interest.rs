//! Which stubs somebody will read.

use dcom_parsers::names::known;

use super::Named;

/// Is the stub of this operation, or of its answer, read by a later stage?
pub(super) fn is_read(interface: Named, opnum: u16) -> bool {
    match interface {
        Named::Interface(interface) => match interface.uuid {
            known::IREMOTE_SCM_ACTIVATOR => matches!(opnum, 3 | 4),
            known::IACTIVATION => opnum == 0,
            known::IOBJECT_EXPORTER => matches!(opnum, 0 | 4 | 5),
            known::EPMAPPER => matches!(opnum, 2 | 3),
            _ => false,
        },
        // Without a bind it may be any of these: the content will tell.
        Named::Unseen => opnum <= 5,
        Named::Refused => false,
    }
}
