"""Says the call that executes something again in NDR64, on a connection older than the capture.

Stdlib only. [MS-RPCE] 2.2.5.3 NDR64 Transfer Syntax: pointers and counts have eight bytes, a
structure is aligned to its longest member and filled up to a multiple of that.
"""

import struct

from early_bound import ARGUMENTS, OBJECT, REQUEST, RESPONSE, execution, pdu, with_payloads

INVOKE = 6
FIRST_AND_LAST, WITH_OBJECT = 3, 0x80
ORPC_THIS = slice(40, 68)
MEMBER = slice(72, 100)
"""Number, null IID, language and flags."""
POINTER = struct.pack("<Q", 0x72657355)
BSTR = 8


def mid_stream_in_ndr64(packets):
    """The last `Invoke` and its answer, nothing before them."""
    _, _, call, result = execution(packets)
    ends = {packets[call].source, packets[call].target}
    made = {call: _call(packets[call].payload), result: _result(packets[result].payload)}
    said = with_payloads(packets, ends, made)[call : result + 1]
    return [packet for packet in said if {packet.source, packet.target} == ends]


def _call(like):
    values = b""
    for text in reversed(ARGUMENTS):
        values += _aligned(values, 8) + _variant(text)
    stub = like[ORPC_THIS] + bytes(12) + like[MEMBER] + bytes(4)
    stub += POINTER + struct.pack("<QII", 0, len(ARGUMENTS), 0)
    stub += struct.pack("<Q", len(ARGUMENTS)) + POINTER * len(ARGUMENTS) + values
    # No argument is passed by reference.
    stub += _aligned(stub, 4) + struct.pack("<I", 0)
    stub += _aligned(stub, 8) + struct.pack("<QQ", 0, 0)
    head = struct.pack("<I", len(stub)) + like[20:22] + struct.pack("<H", INVOKE) + like[OBJECT]
    return pdu(REQUEST, FIRST_AND_LAST | WITH_OBJECT, like, head + stub)


def _variant(text):
    units = text.encode("utf-16le")
    value = POINTER + struct.pack("<QII", len(text), len(units), len(text)) + units
    size = (24 + len(value) + 7) // 8
    return struct.pack("<IIH6xI4x", size, 0, BSTR, BSTR) + value


def _result(like):
    empty = struct.pack("<IIH6xI4x", 3, 0, 0, 0)
    # Flags and extensions, the result, no exception, no argument to blame, none by reference, S_OK.
    stub = bytes(16) + POINTER + empty + bytes(72) + struct.pack("<I4xQI", 0, 0, 0)
    return pdu(RESPONSE, FIRST_AND_LAST, like, struct.pack("<I", len(stub)) + like[20:24] + stub)


def _aligned(before, to):
    return bytes(-len(before) % to)
