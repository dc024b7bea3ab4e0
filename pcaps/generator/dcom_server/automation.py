"""IDispatch and ITypeInfo (MS-OAUT 3.1.4, 3.7.4): names, and Invoke that starts nothing."""

import struct

from impacket.dcerpc.v5.dcom import oaut

from dcom_server.pack import DISP_E_MEMBERNOTFOUND, DISP_E_UNKNOWNNAME, ORPCTHAT, pad_to, u32
from dcom_server.world import TYPES, Member

NO_DISPID = 0xFFFFFFFF
PLACES = range(64)


def get_type_info_count(server, call):
    """GetTypeInfoCount: there is no type information."""
    server.target_of(call)
    call.result = 0
    return ORPCTHAT + u32(0) + u32(0)


def get_type_info(server, call):
    """GetTypeInfo: a reference to type information, whatever the object."""
    server.target_of(call)
    made = server.new_object("StdFont", oaut.IID_ITypeInfo)
    call.result = 0
    return _reference(server.objref(made))


def create_instance(server, call):
    """ITypeInfo::CreateInstance: an object of the class that the type information describes."""
    made = server.new_object(server.target_of(call).type, oaut.IID_IDispatch)
    call.result = 0
    return _reference(server.objref(made))


def _reference(ref):
    """The answer of a method with one interface pointer."""
    out = ORPCTHAT + u32(0x20000) + u32(len(ref)) + u32(len(ref)) + ref
    return pad_to(out, 4) + u32(0)


def get_ids_of_names(server, call):
    """GetIDsOfNames, as case-blind as the real one: a member, then parameters of it."""
    members = {name.lower(): member for name, member in TYPES[server.target_of(call).type].items()}
    names = call.parse(oaut.IDispatch_GetIDsOfNames)["rgszNames"]
    first, *others = (name["Data"].rstrip("\0").lower() for name in names)
    member = members.get(first)
    places = [name.lower() for name in member.parameters] if member else []
    ids = [member.dispid if member else NO_DISPID]
    ids += [places.index(name) if name in places else NO_DISPID for name in others]
    call.result = DISP_E_UNKNOWNNAME if NO_DISPID in ids else 0
    return ORPCTHAT + u32(len(ids)) + b"".join(map(u32, ids)) + u32(call.result)


def invoke(server, call):
    """Invoke: notes the command line a method would start, and hands back child objects."""
    target = server.target_of(call)
    request = call.parse(oaut.IDispatch_Invoke)
    wanted = request["dispIdMember"] & 0xFFFFFFFF
    member = next((m for m in TYPES[target.type].values() if m.dispid == wanted), None)
    call.result = DISP_E_MEMBERNOTFOUND if member is None else 0
    texts = _texts(request["pDispParams"])
    if member is not None and member.runs:
        call.command = _command_line(member, texts)
        call.result = server.config.invoke_error
    child, made = b"", None
    if member is not None:
        made = texts[0] if member.creates else member.returns
    if made:
        child = server.objref(server.new_object(made, oaut.IID_IDispatch))
    return _response(call.result, child)


def _texts(params):
    """The arguments in the order of the call: rgvarg travels in reverse, those with a name first."""
    values = [_text(variant) for variant in params["rgvarg"]] if params["cArgs"] else []
    count = params["cNamedArgs"]
    numbers = params["rgdispidNamedArgs"] if count else []
    by_place = dict(enumerate(values[count:][::-1])) | dict(zip(numbers, values, strict=False))
    last = max((place for place in by_place if place < len(PLACES)), default=-1)
    return [by_place.get(place, "") for place in PLACES[: last + 1]]


def _command_line(member: Member, texts):
    roles = dict(zip(member.runs, texts, strict=False))
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
    4: ("GetTypeInfo", get_type_info),
    5: ("GetIDsOfNames", get_ids_of_names),
    6: ("Invoke", invoke),
}
TYPE_INFO_HANDLERS = {16: ("CreateInstance", create_instance)}
