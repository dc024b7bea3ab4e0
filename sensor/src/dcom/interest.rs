//! Which stubs somebody will read.

use dcom_parsers::guid::Guid;
use dcom_parsers::names::known;

use super::calls;
use crate::rpc::Named;

/// Is the stub of this operation, or of its answer, read by this stage? Those of others need not be kept.
pub(crate) fn is_read(interface: Named, opnum: u16, object: Option<Guid>) -> bool {
    match interface {
        Named::Interface(interface) => match interface.uuid {
            known::IREMOTE_SCM_ACTIVATOR => matches!(opnum, 3 | 4),
            known::IACTIVATION => opnum == 0,
            known::EPMAPPER => matches!(opnum, 2 | 3),
            uuid => calls::is_read(uuid, opnum, object),
        },
        // Without a bind it may be any of these, or a call on an object: the content will tell.
        Named::Unseen => opnum <= 5 || object.is_some(),
        Named::Refused => false,
    }
}
