"""IObjectExporter (MS-DCOM 3.1.2.5.1): OXID resolution and pings."""

from impacket.dcerpc.v5 import dcomrt
from impacket.dcerpc.v5.dtypes import NULL

from dcom_server.pack import OR_INVALID_OXID, u16, u32, u64

NEW_PING_SET = 0x5E71D0001


def resolve_oxid(server, call):
    """ResolveOxid and ResolveOxid2."""
    second = call.opnum == 4
    request = call.parse(dcomrt.ResolveOxid2 if second else dcomrt.ResolveOxid)
    response = dcomrt.ResolveOxid2Response() if second else dcomrt.ResolveOxidResponse()
    if request["pOxid"] == server.oxid:
        server.fill_object_bindings(response["ppdsaOxidBindings"])
        call.result = 0
    else:
        response["ppdsaOxidBindings"] = NULL
        call.result = OR_INVALID_OXID
    response["ErrorCode"] = call.result
    response["pipidRemUnknown"] = server.rem_unknown
    response["pAuthnHint"] = server.config.authn_hint
    return call.encode(response)


def simple_ping(_server, call):
    """SimplePing."""
    call.parse(dcomrt.SimplePing)
    call.result = 0
    return u32(0)


def complex_ping(_server, call):
    """ComplexPing: makes a ping set when the client has none."""
    request = call.parse(dcomrt.ComplexPing)
    call.result = 0
    return u64(request["pSetId"] or NEW_PING_SET) + u16(0) + u16(0) + u32(0)


def server_alive(_server, call):
    """ServerAlive."""
    call.result = 0
    return u32(0)


def server_alive2(server, call):
    """ServerAlive2: the machine's bindings, to anybody who asks."""
    response = dcomrt.ServerAlive2Response()
    server.fill_resolver_bindings(response["ppdsaOrBindings"])
    response["pReserved"] = NULL
    response["ErrorCode"] = call.result = 0
    return call.encode(response)


HANDLERS = {
    0: ("ResolveOxid", resolve_oxid),
    1: ("SimplePing", simple_ping),
    2: ("ComplexPing", complex_ping),
    3: ("ServerAlive", server_alive),
    4: ("ResolveOxid2", resolve_oxid),
    5: ("ServerAlive2", server_alive2),
}
