"""ITypeInfo::CreateInstance (MS-OAUT 3.7.4.11), which impacket lacks."""

from impacket.dcerpc.v5.dcom.oaut import error_status_t
from impacket.dcerpc.v5.dcomrt import DCOMANSWER, DCOMCALL, IID, PMInterfacePointer


class CreateInstance(DCOMCALL):
    """The request."""

    opnum = 16
    structure = (("riid", IID),)


class CreateInstanceResponse(DCOMANSWER):
    """The answer."""

    structure = (("ppvObj", PMInterfacePointer), ("ErrorCode", error_status_t))
