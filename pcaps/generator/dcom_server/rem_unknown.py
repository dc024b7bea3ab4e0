"""IRemUnknown (MS-DCOM 3.1.1.5.6): RemQueryInterface, RemAddRef, RemRelease."""

import struct

from impacket.dcerpc.v5 import dcomrt

from dcom_server.pack import E_NOINTERFACE, ORPCTHAT, guid, u32
from dcom_server.world import IFACES


def rem_query_interface(server, call):
    """RemQueryInterface, packed by hand: impacket leaves out the conformance of the results."""
    request = call.parse(dcomrt.RemQueryInterface)
    source = server.lookup(guid(request["ripid"]))
    results, call.result = b"", E_NOINTERFACE
    for iid in request["iids"]:
        if source is None or guid(iid["Data"]) not in IFACES:
            results += u32(E_NOINTERFACE) + u32(0) + b"\0" * 40
            continue
        obj = server.new_object(source.type, iid["Data"])
        std = struct.pack("<IIQQ", 0, obj.refs, server.oxid, obj.oid) + obj.ipid
        results += u32(0) + u32(0) + std
        call.result = 0
    return ORPCTHAT + u32(0x20000) + u32(len(request["iids"])) + results + u32(call.result)


def rem_add_ref(_server, call):
    """RemAddRef: every reference is granted."""
    count = len(call.parse(dcomrt.RemAddRef)["InterfaceRefs"])
    call.result = 0
    return ORPCTHAT + u32(count) + u32(0) * count + u32(0)


def rem_release(_server, call):
    """RemRelease."""
    call.parse(dcomrt.RemRelease)
    call.result = 0
    return ORPCTHAT + u32(0)


HANDLERS = {
    3: ("RemQueryInterface", rem_query_interface),
    4: ("RemAddRef", rem_add_ref),
    5: ("RemRelease", rem_release),
}
