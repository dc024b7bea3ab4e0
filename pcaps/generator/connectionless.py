"""Says the calls to port 135 again without a connection: in PDUs of version 4, over UDP.

Stdlib only. The stubs stay as they are. What a connection says beside its calls (handshakes, binds,
logins, verifiers) has no counterpart here and is left out; other connections stay as they are.
"""

import struct
from dataclasses import replace

from packets import UDP, spread

PORT = 135
BIND, REQUEST, RESPONSE, ACK, FACK = 11, 0, 2, 7, 9
HAS_OBJECT = 0x80
LAST, FRAGMENT, NO_FACK, IDEMPOTENT = 0x02, 0x04, 0x08, 0x20
SHARE = 200
"""Bytes of stub in a fragment."""
BOOT_TIME = 0x5F126C00
HINT = 0xFFFF


def connectionless(packets):
    """Requests and responses on port 135 as datagrams; each message in fragments when it is long.

    In a long message the first fragment comes after the second and is repeated; the receiver says
    once what it has. The last fragment stays last.
    """
    out, contexts, calls = [], {}, {}
    for packet in packets:
        if PORT not in (packet.source[1], packet.target[1]):
            out.append(packet)
            continue
        pdu = packet.payload
        if not pdu:
            continue
        if struct.unpack_from("<H", pdu, 8)[0] != len(pdu):
            raise ValueError("one PDU a packet is what is read here")
        call = (packet.source, packet.target, struct.unpack_from("<I", pdu, 12)[0])
        if pdu[2] == BIND:
            contexts |= {(packet.source, id_): syntax for id_, syntax in _offered(pdu)}
        elif pdu[2] == REQUEST:
            context, opnum = struct.unpack_from("<HH", pdu, 20)
            at = 40 if pdu[3] & HAS_OBJECT else 24
            object_id = pdu[24:at].rjust(16, b"\0")
            called = contexts[packet.source, context]
            head = _Head(object_id, *called, packet.source, call[2], opnum)
            calls[call] = head
            out += _message(packet, head, REQUEST, pdu[at : _stub_end(pdu)])
        elif pdu[2] == RESPONSE:
            head = calls[call[1], call[0], call[2]]
            out += _message(packet, head, RESPONSE, pdu[24 : _stub_end(pdu)])
            back = replace(packet, source=packet.target, target=packet.source)
            out.append(_datagram(back, head, ACK, b""))
    return spread(out)


def _stub_end(pdu):
    """Where padding and verifier begin, if there is one."""
    token = struct.unpack_from("<H", pdu, 10)[0]
    return len(pdu) - token - 8 - pdu[len(pdu) - token - 6] if token else len(pdu)


def _offered(bind):
    """(context id, (interface, version)) of what a bind offers."""
    at = 28
    for _ in range(bind[24]):
        context, transfers = struct.unpack_from("<HB", bind, at)
        yield context, (bind[at + 4 : at + 20], bind[at + 20 : at + 24])
        at += 24 + 20 * transfers


class _Head:
    """What all PDUs of a call have in common."""

    def __init__(self, object_id, interface, version, client, sequence, opnum):
        self.ids = object_id + interface + struct.pack("<IHH8s", client[1], 1, 4, b"activity")
        self.version, self.sequence, self.opnum = version, sequence, opnum

    def bytes(self, kind, flags, length, number):
        """The header of one PDU."""
        boot = 0 if kind == REQUEST else BOOT_TIME
        return (
            struct.pack("<BBBB4s", 4, kind, flags, 0, b"\x10\0\0\0")
            + self.ids
            + struct.pack("<I", boot)
            + self.version
            + struct.pack("<IHHHHHBB", self.sequence, self.opnum, HINT, HINT, length, number, 0, 0)
        )


def _datagram(packet, head, kind, body, flags=0, number=0):
    payload = head.bytes(kind, flags, len(body), number) + body
    return replace(packet, payload=payload, protocol=UDP)


def _message(packet, head, kind, stub):
    quiet = NO_FACK | IDEMPOTENT
    if len(stub) <= SHARE:
        return [_datagram(packet, head, kind, stub, quiet)]
    shares = [stub[at : at + SHARE] for at in range(0, len(stub), SHARE)]
    parts = [
        _datagram(packet, head, kind, share, FRAGMENT | quiet, number)
        for number, share in enumerate(shares[:-1])
    ]
    last = _datagram(packet, head, kind, shares[-1], FRAGMENT | LAST | IDEMPOTENT, len(shares) - 1)
    back = replace(packet, source=packet.target, target=packet.source)
    window = struct.pack("<BBHIIHH", 1, 0, 32, 4096, 1432, 0, 0)
    fack = _datagram(back, head, FACK, window, number=len(shares) - 1)
    return [*parts[1:2], parts[0], parts[0], *parts[2:], last, fack]
