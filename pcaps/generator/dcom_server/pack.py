"""Numbers of the protocol and the packing helpers that every part of the server uses."""

import struct

from impacket.uuid import bin_to_string, uuidtup_to_bin

REQUEST, RESPONSE, FAULT, BIND, BIND_ACK, BIND_NAK, ALTER, ALTER_RESP, AUTH3 = (
    0, 2, 3, 11, 12, 13, 14, 15, 16,
)  # fmt: skip
FIRST, LAST, HDR_SIGN, DID_NOT_EXECUTE, OBJECT_UUID = 0x01, 0x02, 0x04, 0x20, 0x80
NDR32 = uuidtup_to_bin(("8a885d04-1ceb-11c9-9fe8-08002b104860", "2.0"))
NDR64 = uuidtup_to_bin(("71710533-beba-4937-8319-b5dbef9ccc36", "1.0"))
PKT, PKT_PRIVACY = 4, 6

FAULT_ACCESS_DENIED = 0x00000005
FAULT_SEC_PKG = 0x00000721
FAULT_NDR = 0x000006F7
FAULT_OP_RNG = 0x1C010002
FAULT_UNK_IF = 0x1C010003
E_NOINTERFACE = 0x80004002
E_ACCESSDENIED = 0x80070005
REGDB_E_CLASSNOTREG = 0x80040154
RPC_E_INVALID_OBJECT = 0x80010114
DISP_E_MEMBERNOTFOUND = 0x80020003
DISP_E_UNKNOWNNAME = 0x80020006
OR_INVALID_OXID = 0x776
EPT_S_NOT_REGISTERED = 0x16C9A0D6


class Fault(Exception):
    """The call ends with an RPC fault PDU of this status."""

    def __init__(self, status):
        super().__init__(f"fault {status:#010x}")
        self.status = status


def u16(value):
    """A little-endian 16-bit number."""
    return struct.pack("<H", value)


def u32(value):
    """A little-endian 32-bit number."""
    return struct.pack("<I", value)


def u64(value):
    """A little-endian 64-bit number."""
    return struct.pack("<Q", value)


ORPCTHAT = u32(0) + u32(0)


def pad_to(data, alignment):
    """`data` with zeros up to the next multiple of `alignment`."""
    return data + b"\0" * (-len(data) % alignment)


def guid(raw):
    """The text form of a GUID, lower case."""
    return bin_to_string(raw[:16]).lower()


def utf16z(text):
    """UTF-16LE with a terminating zero."""
    return text.encode("utf-16le") + b"\0\0"


def octets(data):
    """`data` as the list of single bytes that impacket's byte arrays take."""
    return list(struct.unpack(f"{len(data)}c", data))
