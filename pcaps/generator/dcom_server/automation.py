"""IDispatch (MS-OAUT 3.1.4): names to DISPIDs, and Invoke that starts nothing."""

import struct

from impacket.dcerpc.v5.dcom import oaut

from dcom_server.pack import DISP_E_MEMBERNOTFOUND, DISP_E_UNKNOWNNAME, ORPCTHAT, pad_to, u32
from dcom_server.world import TYPES, Member

NO_DISPID = 0xFFFFFFFF


def get_type_info_count(server, call):
    """GetTypeInfoCount: there is no type information."""
    server.target_of(call)
    call.result = 0
    return ORPCTHAT + u32(0) + u32(0)


def get_ids_of_names(server, call):
    """GetIDsOfNames, as case-blind as the real one."""
    members = TYPES[server.target_of(call).type]
    known = {name.lower(): member.dispid for name, member in members.items()}
    names = call.parse(oaut.IDispatch_GetIDsOfNames)["rgszNames"]
    ids = [known.get(name["Data"].rstrip("\0").lower(), NO_DISPID) for name in names]
    call.result = DISP_E_UNKNOWNNAME if NO_DISPID in ids else 0
    return ORPCTHAT + u32(len(ids)) + b"".join(map(u32, ids)) + u32(call.result)


def invoke(server, call):
    """Invoke: notes the command line a method would start, and hands back child objects."""
    target = server.target_of(call)
    request = call.parse(oaut.IDispatch_Invoke)
    wanted = request["dispIdMember"] & 0xFFFFFFFF
    member = next((m for m in TYPES[target.type].values() if m.dispid == wanted), None)
    call.result = DISP_E_MEMBERNOTFOUND if member is None else 0
    if member is not None and member.runs:
        call.command = _command_line(member, request["pDispParams"])
    child = b""
    if member is not None and member.returns:
        child = server.objref(server.new_object(member.returns, oaut.IID_IDispatch))
    return _response(call.result, child)


def _command_line(member: Member, params):
    # rgvarg travels in reverse order of the call
    values = [_text(variant) for variant in params["rgvarg"]][::-1] if params["cArgs"] else []
    roles = dict(zip(member.runs, values, strict=False))
    return " ".join(filter(None, (roles.get("command"), roles.get("parameters"))))


def _text(variant):
    if variant["vt"] != oaut.VARENUM.VT_BSTR:
        return ""
    words = variant["_varUnion"]["bstrVal"].fields["asData"]["Data"]
    return struct.pack(f"<{len(words)}H", *words).decode("utf-16le", "surrogatepass").rstrip("\0")


def _response(hresult, child):
    """By hand: impacket's response lacks rgVarRef, which the real thing has on the wire."""
    vt, value = 0, b""
    if child:
        vt = oaut.VARENUM.VT_DISPATCH
        value = u32(0x20004) + u32(len(child)) + u32(len(child)) + child
    # wireVARIANT: clSize (of everything, in 8-byte units), reserved, vt, 3 reserved, tag, value
    units = (20 + len(value) + 7) // 8
    variant = struct.pack("<IIHHHHI", units, 0, vt, 0, 0, 0, vt) + value
    exception_info = b"\0" * 32
    arg_error = var_ref_conformance = u32(0)
    out = pad_to(ORPCTHAT + u32(0x20000), 8) + variant
    return pad_to(out, 4) + exception_info + arg_error + var_ref_conformance + u32(hresult)


HANDLERS = {
    3: ("GetTypeInfoCount", get_type_info_count),
    5: ("GetIDsOfNames", get_ids_of_names),
    6: ("Invoke", invoke),
}
