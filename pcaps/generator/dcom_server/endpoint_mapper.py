"""The endpoint mapper (C706 appendix O): ept_lookup and ept_map.

The answers are packed by hand: impacket cannot encode its own tower arrays.
"""

import os
import socket
import struct

from impacket.dcerpc.v5 import epm
from impacket.uuid import string_to_bin

from dcom_server.pack import EPT_S_NOT_REGISTERED, NDR32, guid, pad_to, u16, u32
from dcom_server.world import IFACES, ON_EPM_PORT, SVCCTL, Config

NO_HANDLE = b"\0" * 20
REFERENT = 0x20000
TCP = 0x07

# (interface, major version, port or pipe, annotation)
REGISTERED = [
    ("12345778-1234-abcd-ef00-0123456789ac", 1, 49664, ""),
    ("12345778-1234-abcd-ef00-0123456789ab", 0, 49664, ""),
    ("d95afe70-a6d5-4259-822e-2c84da1ddb0d", 1, 49665, "WindowsShutdown"),
    ("f6beaff7-1e19-4fbb-9f8f-b89e2018337c", 1, 49666, "Event log TCPIP"),
    ("86d35949-83c9-4044-b424-db363231fd0c", 1, 49667, ""),
    (SVCCTL, 2, Config.object_port, ""),
    ("12345678-1234-abcd-ef00-0123456789ab", 1, 49669, "Spooler base"),
    ("76f226c3-ec14-4325-8a99-6a46348418af", 1, "\\PIPE\\InitShutdown", "Lab"),
]


def _floor(left, right):
    return u16(len(left)) + left + u16(len(right)) + right


def _tower(config, interface, version, where):
    floors = [
        _floor(b"\x0d" + string_to_bin(interface) + u16(version), u16(0)),
        _floor(b"\x0d" + NDR32[:18], u16(0)),
        _floor(b"\x0b", u16(0)),
    ]
    if isinstance(where, int):
        floors.append(_floor(bytes([TCP]), struct.pack(">H", where)))
        floors.append(_floor(b"\x09", socket.inet_aton(config.address)))
    else:
        floors.append(_floor(b"\x0f", where.encode() + b"\0"))
        floors.append(_floor(b"\x11", b"\\\\" + config.netbios_name.encode() + b"\0"))
    return u16(len(floors)) + b"".join(floors)


def _with_tower(out, tower):
    return pad_to(out, 4) + u32(len(tower)) + u32(len(tower)) + tower


def ept_lookup(server, call):
    """Up to max_ents towers; the position is kept in the otherwise opaque entry handle."""
    request = call.parse(epm.ept_lookup)
    start = struct.unpack_from("<I", request["entry_handle"]["context_handle_uuid"], 0)[0]
    asked = request["max_ents"]
    part = REGISTERED[start : start + asked]
    more = start + len(part) < len(REGISTERED) or (start and part)
    handle = u32(0) + u32(start + len(part)) + os.urandom(12) if more else NO_HANDLE
    out = handle + u32(len(part)) + u32(asked) + u32(0) + u32(len(part))
    for index, (_, _, _, note) in enumerate(part):
        text = note.encode() + b"\0"
        out = pad_to(out, 4) + b"\0" * 16 + u32(REFERENT + 4 * index) + u32(0)
        out += u32(len(text)) + text
    for interface, version, where, _ in part:
        out = _with_tower(out, _tower(server.config, interface, version, where))
    call.result = 0 if part else EPT_S_NOT_REGISTERED
    return pad_to(out, 4) + u32(call.result)


def ept_map(server, call):
    """The tower of one interface over TCP; nothing is registered over anything else."""
    request = call.parse(epm.ept_map)
    tower = epm.EPMTower(b"".join(request["map_tower"]["tower_octet_string"]))
    wanted, version = guid(tower["Floors"][0]["InterfaceUUID"]), tower["Floors"][0]["MajorVersion"]
    ports = {interface: where for interface, _, where, _ in REGISTERED if isinstance(where, int)}
    ports |= {i: server.config.epm_port for i, name in IFACES.items() if name in ON_EPM_PORT}
    most = request["max_towers"]
    if wanted not in ports or tower["Floors"][3]["ProtocolData"][0] != TCP:
        call.result = EPT_S_NOT_REGISTERED
        return NO_HANDLE + u32(0) + u32(most) + u32(0) * 2 + u32(EPT_S_NOT_REGISTERED)
    call.result, call.mapped_port = 0, ports[wanted]
    out = NO_HANDLE + u32(1) + u32(most) + u32(0) + u32(1) + u32(REFERENT)
    out = _with_tower(out, _tower(server.config, wanted, version, ports[wanted]))
    return pad_to(out, 4) + u32(0)


def ept_lookup_handle_free(_server, call):
    """Give the entry handle back."""
    call.result = 0
    return NO_HANDLE + u32(0)


HANDLERS = {
    2: ("ept_lookup", ept_lookup),
    3: ("ept_map", ept_map),
    4: ("ept_lookup_handle_free", ept_lookup_handle_free),
}
