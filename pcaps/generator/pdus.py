"""Finds the RPC calls in packets, and the frames that carry their last bytes.

Written apart from the server and from any dissector, so that what expect.toml says about frames
rests on the bytes alone.
"""

import struct
from dataclasses import dataclass

from packets import SYN, TCP, UDP

REQUEST, RESPONSE, FAULT = 0, 2, 3
LAST = 0x02
PROXY_PORT = 80
"""Answers come over another connection, whose client has the port after this one's."""
SERVER_PORTS = {135, 593, PROXY_PORT, 49670}
PRIVACY = 6
DATAGRAM_LAST, DATAGRAM_FRAGMENT = 0x02, 0x04


@dataclass
class Stream:
    """One direction of a connection: bytes, and for each the frame that brought it first."""

    start: int
    data: bytearray
    frames: list[int]
    """0 where the byte was never seen."""

    def add(self, offset, payload, frame):
        """Place a segment; what is there already stays."""
        missing = offset + len(payload) - len(self.data)
        if missing > 0:
            self.data += bytes(missing)
            self.frames += [0] * missing
        for index, byte in enumerate(payload, offset):
            if not self.frames[index]:
                self.data[index], self.frames[index] = byte, frame

    @property
    def bytes_missing(self):
        """Bytes between the first and the last that were never seen."""
        return self.frames.count(0)


@dataclass
class Call:
    """A complete request, and the frame of its answer, 0 when there is none."""

    client_port: int
    call_id: int
    opnum: int
    frame: int
    reply_frame: int = 0


def streams(packets):
    """(source, target) to the stream in that direction."""
    found = {}
    for frame, packet in enumerate(packets, 1):
        if packet.protocol != TCP:
            continue
        key = (packet.source, packet.target)
        first = packet.seq + (1 if packet.flags & SYN else 0)
        stream = found.setdefault(key, Stream(first, bytearray(), []))
        if packet.payload:
            stream.add((packet.seq - stream.start) & 0xFFFFFFFF, packet.payload, frame)
    return found


def _looks_like_pdu(data, at):
    return data[at : at + 2] == b"\5\0" and data[at + 4 : at + 8] == b"\x10\0\0\0"


def pdus(stream):
    """(PDU, frame of its last byte) of a stream; after a gap, from the next header on."""
    at = 0
    while at + 16 <= len(stream.data):
        size = struct.unpack_from("<H", stream.data, at + 8)[0]
        whole = _looks_like_pdu(stream.data, at) and size >= 16 and at + size <= len(stream.data)
        if whole and 0 not in stream.frames[at : at + size]:
            yield bytes(stream.data[at : at + size]), stream.frames[at + size - 1]
            at += size
        else:
            at += 1


def calls(packets):
    """All complete calls, in the order of their requests."""
    found, all_streams = [], streams(packets)
    for (source, target), stream in all_streams.items():
        if target[1] not in SERVER_PORTS:
            continue
        made = [
            Call(source[1], *struct.unpack_from("<I6xH", pdu, 12), frame)
            for pdu, frame in pdus(stream)
            if pdu[2] == REQUEST and pdu[3] & LAST
        ]
        heard = (source[0], source[1] + 1) if target[1] == PROXY_PORT else source
        _add_replies(made, all_streams.get((target, heard)))
        found += made
    found += datagram_calls(packets)
    return sorted(found, key=lambda call: call.frame)


def datagram_calls(packets):
    """All complete calls over UDP."""
    found, parts = {}, {}
    for frame, packet in enumerate(packets, 1):
        pdu = packet.payload
        if packet.protocol != UDP or pdu[0] != 4 or pdu[1] not in (REQUEST, RESPONSE, FAULT):
            continue
        asked = pdu[1] == REQUEST
        client = (packet.source if asked else packet.target)[1]
        sequence, opnum = struct.unpack_from("<IH", pdu, 64)
        seen = parts.setdefault((pdu[40:56], sequence, asked), {})
        number = struct.unpack_from("<H", pdu, 76)[0] if pdu[2] & DATAGRAM_FRAGMENT else 0
        last = bool(pdu[2] & DATAGRAM_LAST) or not pdu[2] & DATAGRAM_FRAGMENT
        if number in seen:
            continue
        seen[number] = last
        if any(seen.values()) and len(seen) == max(seen) + 1:
            if asked:
                found[pdu[40:56], sequence] = Call(client, sequence, opnum, frame)
            else:
                found[pdu[40:56], sequence].reply_frame = frame
    return list(found.values())


def _add_replies(made, stream):
    for pdu, frame in pdus(stream) if stream else ():
        if pdu[2] not in (RESPONSE, FAULT) or not pdu[3] & LAST:
            continue
        call_id = struct.unpack_from("<I", pdu, 12)[0]
        for call in made:
            if call.call_id == call_id and not call.reply_frame and frame > call.frame:
                call.reply_frame = frame
                break


def bytes_missing(packets):
    """Bytes of the connections that are not in the capture, over all directions."""
    seen = streams(packets)
    return sum(stream.bytes_missing for stream in seen.values()) + _unseen(packets, seen)


def _unseen(packets, seen):
    """Bytes that only the acknowledgements tell of: those of a side that never says anything."""
    acknowledged = {}
    for packet in packets:
        if packet.protocol == TCP and packet.ack and (packet.target, packet.source) not in seen:
            acknowledged.setdefault((packet.target, packet.source), []).append(packet.ack)
    return sum((max(acks) - min(acks)) & 0xFFFFFFFF for acks in acknowledged.values())


def port_used_after(packets, frame, port):
    """Whether TCP packets for the port are seen after the frame."""
    return any(p.target[1] == port and p.protocol == TCP for p in packets[frame:])
