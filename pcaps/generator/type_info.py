"""ITypeInfo::CreateInstance (MS-OAUT 3.7.4.11), which impacket lacks."""

from impacket.dcerpc.v5.dcom.oaut import error_status_t
from impacket.dcerpc.v5.dcomrt import DCOMANSWER, DCOMCALL, IID, PMInterfacePointer
from impacket.uuid import uuidtup_to_bin

IID_ITypeInfo2 = uuidtup_to_bin(("00020412-0000-0000-C000-000000000046", "0.0"))


class CreateInstance(DCOMCALL):
    """The request."""

    opnum = 16
    structure = (("riid", IID),)


class CreateInstanceResponse(DCOMANSWER):
    """The answer."""

    structure = (("ppvObj", PMInterfacePointer), ("ErrorCode", error_status_t))
