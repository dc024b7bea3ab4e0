"""Makes variants of live captures that show what networks and captures do to the same traffic.

Stdlib only. Each variant reshapes the packets of one live capture, or writes them in another form.
Only `with_ipv6`, `in_one_context` and `called_after_release` touch what the packets say;
`connectionless`, `early_bound` and `mid_stream_in_ndr64` say the same in other PDUs,
`http_version_1` and `http_version_2` the same PDUs in other connections, and `two_sessions` in
other messages.
"""

import ipaddress
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

from connectionless import connectionless
from early_bound import early_bound
from ndr64 import mid_stream_in_ndr64
from over_http import http_version_1, http_version_2
from over_smb import two_sessions
from packets import ETHERNET, RAW_IP, SYN, UDP, Packet, checksum, pcap, plain, spread

EPM_PORT, OBJECT_PORT = 135, 49670
FIN = 0x01
RESPONSE, BIND, BIND_ACK = 2, 11, 12
BIND_PDUS = (11, BIND_ACK, 14, 15)
PIECE = 48
OVERLAP = 8
LOST = (200, 320)
REQUEST, MIDDLE = b"\x00", b"\x80"
LATE_US = 200_000_000
SET_BACK_US = 300_000_000
RELEASED_US = 90_000_000
ONE_REFERENCE, ALL_REFERENCES = struct.pack("<II", 1, 0), struct.pack("<II", 255, 0)
ADDRESSES = {"192.0.2.10": "fd00::1:10", "192.0.2.20": "fd00::1:20"}
SERVICE_TAG = bytes.fromhex("88a80064")
CUSTOMER_TAG = bytes.fromhex("81000014")
NANOSECONDS = 9
GRE = 47
TUNNEL = "198.51.100.1", "198.51.100.2"
FRAGMENT = 256
I_DISPATCH = bytes.fromhex("0004020000000000c000000000000046")
I_REM_UNKNOWN_2 = bytes.fromhex("4301000000000000c000000000000046")


@dataclass
class Variant:
    """One derived capture."""

    slug: str
    base: str
    shows: str
    reshape: Callable[[list[Packet]], list[Packet]]
    encode: Callable[[list[Packet]], bytes] = plain
    suffix: str = ".pcap"

    @property
    def how(self):
        """The step as it is told in the README."""
        step = self.encode if self.reshape is unchanged else self.reshape
        return f"derive.py, {step.__name__} of {self.base}"


def unchanged(packets):
    """The packets as they are."""
    return packets


def mid_stream(packets):
    """Starts each connection behind its bind_ack and leaves every later alter_context out."""
    started, kept = set(), []
    for packet in packets:
        connection = frozenset((packet.source, packet.target))
        if _pdu_type(packet) == BIND_ACK:
            started.add(connection)
        elif connection in started and _pdu_type(packet) not in BIND_PDUS:
            kept.append(packet)
    return kept


def _pdu_type(packet):
    return packet.payload[2] if packet.payload[:2] == b"\5\0" else None


def of_the_client(packets):
    """What the side says that opened the first connection, as a feed of one direction has it."""
    client, _ = packets[0].source
    return [packet for packet in packets if packet.source[0] == client]


def of_the_client_without_binds(packets):
    """The same, where the first data of each connection was lost."""
    kept, begun = [], set()
    for packet in of_the_client(packets):
        first = packet.payload and packet.source not in begun
        begun |= {packet.source} if packet.payload else set()
        kept += [] if first else [packet]
    return kept


def without_answer(packets):
    """Ends before the first response."""
    answer = next(i for i, packet in enumerate(packets) if _pdu_type(packet) == RESPONSE)
    return packets[:answer]


def without_any_answer(packets):
    """The first SYN to the activator, and how Windows sends it again when nobody answers."""
    first = next(packet for packet in packets if packet.target[1] == EPM_PORT)
    waits = (0, 1_000_000, 3_000_000, 7_000_000, 15_000_000)
    return spread([replace(first, time_us=first.time_us + wait) for wait in waits])


def in_small_segments(packets):
    """Cuts payloads into pieces: swapped in pairs, repeated, overlapping, and sent late again.

    The last piece of a payload stays last, so that the frame that completes a PDU is the frame
    that carries its last byte.
    """
    out, late = [], None
    for index, packet in enumerate(packets):
        pieces = _swap_pairs(_pieces(packet))
        if late is not None and packet.payload:
            pieces.insert(0, late)
            late = None
        elif len(pieces) > 1 and index % 3 == 0:
            late = pieces[0]
        out += pieces
    return spread(out)


def _pieces(packet):
    starts = range(0, max(len(packet.payload), 1), PIECE)
    pieces = []
    for number, start in enumerate(starts):
        early = OVERLAP if number % 7 == 3 else 0
        pieces.append(packet.part(start - early, start + PIECE))
        if number % 5 == 2:
            pieces.append(pieces[-1])
    return pieces


def _swap_pairs(pieces):
    swapped = list(pieces)
    for first in range(0, len(pieces) - 2, 2):
        swapped[first], swapped[first + 1] = swapped[first + 1], swapped[first]
    return swapped


def with_gap(packets):
    """Loses the middle of the request that carries the command line; the server has seen it."""
    out, command = [], "ExecuteShellCommand".encode("utf-16le")
    named = next(i for i, packet in enumerate(packets) if command in packet.payload)
    target = packets[named].target
    asked = next(p for p in packets[named + 1 :] if p.target == target and len(p.payload) > LOST[1])
    for packet in packets:
        if packet is asked:
            out += [packet.part(0, LOST[0]), packet.part(LOST[1], len(packet.payload))]
        else:
            out.append(packet)
    return spread(out)


def without_fragment(packets):
    """Loses a whole fragment in the middle of the request that carries the command line."""
    out, lost = [], False
    for packet in packets:
        payload = packet.payload
        if not lost and payload[2:3] == REQUEST and payload[3:4] == MIDDLE:
            packet = packet.part(int.from_bytes(payload[8:10], "little"), len(payload))
            lost = True
        out.append(packet)
    return out


def with_late_answer(packets):
    """The answer to the call that loads the library comes when nobody waits for it any more."""
    library = "report.xll".encode("utf-16le")
    asked = next(i for i, packet in enumerate(packets) if library in packet.payload)
    return packets[: asked + 1] + [
        replace(packet, time_us=packet.time_us + LATE_US) for packet in packets[asked + 1 :]
    ]


def called_after_release(packets):
    """ExecuteShellCommand is called a while after its object was released, all references of it."""
    command = "ExecuteShellCommand".encode("utf-16le")
    named = next(i for i, packet in enumerate(packets) if command in packet.payload)
    ends = {packets[named].source, packets[named].target}
    said = [
        packet
        for packet in packets[named + 1 :]
        if {packet.source, packet.target} == ends and packet.payload
    ]
    _, asked, answer, *_, release, last = said
    later = packets.index(last) + 1
    out = [_released(packet) for packet in packets[:later] if packet not in (asked, answer)]
    # Their time stamps are no older than those before them.
    out += [replace(asked, options=release.options), replace(answer, options=last.options)]
    out += packets[later:]
    moved = later - 2
    out = out[:moved] + [
        replace(packet, time_us=max(packet.time_us, last.time_us) + RELEASED_US)
        for packet in out[moved:]
    ]
    return spread(_renumbered(out, ends))


def _released(packet):
    """The packet; a RemRelease gives back whatever its client holds (MS-DCOM 2.2.23)."""
    payload, asks = packet.payload, packet.target[1] == OBJECT_PORT
    if asks and payload[2:3] == REQUEST and payload[-8:] == ONE_REFERENCE:
        payload = payload[:-8] + ALL_REFERENCES
    return replace(packet, payload=payload)


def _renumbered(packets, ends):
    """The packets of one connection in a new order, as if they had been sent so."""
    position, out = {}, []
    for packet in packets:
        if {packet.source, packet.target} == ends:
            seq = position.get(packet.source, packet.seq)
            ack = position.get(packet.target, packet.ack)
            packet = replace(packet, seq=seq, ack=ack)
            taken = len(packet.payload) + bool(packet.flags & (SYN | FIN))
            position[packet.source] = (seq + taken) & 0xFFFFFFFF
        out.append(packet)
    return out


def with_clock_set_back(packets):
    """Up to the activation, times are of a clock that is then set back by five minutes."""
    asked = next(i for i, packet in enumerate(packets) if packet.payload[:3] == b"\5\0\0")
    return [
        replace(packet, time_us=packet.time_us + SET_BACK_US) for packet in packets[:asked]
    ] + packets[asked:]


def with_ipv6(packets):
    """Other addresses, also in the string bindings inside replies, which have no verifier."""
    return [
        replace(
            packet,
            source=(ADDRESSES[packet.source[0]], packet.source[1]),
            target=(ADDRESSES[packet.target[0]], packet.target[1]),
            payload=_rebound(packet),
        )
        for packet in packets
    ]


def _rebound(packet):
    payload = packet.payload
    if packet.source[1] not in (EPM_PORT, OBJECT_PORT):
        return payload
    for old, new in ADDRESSES.items():
        payload = payload.replace(old.encode("utf-16le"), new.encode("utf-16le"))
    return payload


def qinq(packets):
    """Two VLAN tags on every frame."""
    tags = SERVICE_TAG + CUSTOMER_TAG
    return pcap((packet.time_us, packet.ethernet(tags)) for packet in packets)


def vxlan(packets):
    """Every frame in VXLAN between two hosts of an overlay, network 5001."""
    header = struct.pack(">II", 0x08 << 24, 5001 << 8)
    return _in_ipv4(packets, UDP, lambda inner: _udp(49_152, 4789, header + inner))


def erspan(packets):
    """Every frame as a switch mirrors it over IP: ERSPAN type II in GRE, session 7."""
    def wrapped(inner, number):
        gre = struct.pack(">HHI", 0x1000, 0x88BE, number)
        return gre + struct.pack(">HHI", 0x1000, 7, 0) + inner

    numbers = iter(range(len(packets)))
    return _in_ipv4(packets, GRE, lambda inner: wrapped(inner, next(numbers)))


def in_one_context(packets):
    """The first bind for the object names IRemUnknown2, and its calls go in that context."""
    out, done = [], False
    for packet in packets:
        if not done and packet.target[1] == OBJECT_PORT and _pdu_type(packet) == BIND:
            packet = replace(packet, payload=packet.payload.replace(I_DISPATCH, I_REM_UNKNOWN_2, 1))
            done = True
        out.append(packet)
    return out


def _udp(source, target, payload):
    return struct.pack(">HHHH", source, target, 8 + len(payload), 0) + payload


def _in_ipv4(packets, protocol, wrap):
    frames = []
    for number, packet in enumerate(packets):
        payload = wrap(packet.ethernet())
        head = struct.pack(">BBHHHBB", 0x45, 0, 20 + len(payload), number, 0, 64, protocol)
        ends = b"".join(ipaddress.ip_address(end).packed for end in TUNNEL)
        outer = head + checksum(head + ends) + ends + payload
        frames.append((packet.time_us, bytes(12) + b"\x08\0" + outer))
    return pcap(frames)


def twice(packets):
    """Each packet, and the same once more."""
    return [copy for packet in packets for copy in (packet, packet)]


def in_two_vlans(packets):
    """The first of each pair in VLAN 10, the second behind a router in VLAN 20: one hop less, other MACs."""
    frames = []
    for number, packet in enumerate(packets):
        frame = bytearray(packet.ethernet(bytes.fromhex("81000014" if number % 2 else "8100000a")))
        if number % 2:
            frame[:12] = bytes.fromhex("020000000501020000000502")
            frame[26] -= 1
            frame[28:30] = b"\0\0"
            frame[28:30] = checksum(bytes(frame[18:38]))
        frames.append((packet.time_us + 15 * (number % 2), bytes(frame)))
    return pcap(frames)


def with_fragments(packets):
    """Before each packet as many empty ones as it has IP fragments beside the last one sent."""
    return [
        part
        for packet in packets
        for part in [packet.part(0, 0)] * (len(_fragments(packet)) - 1) + [packet]
    ]


def in_ip_fragments(packets):
    """Each packet in IP fragments of at most 256 bytes, the last one first."""
    frames = []
    for index, packet in enumerate(packets):
        if index + 1 == len(packets) or packets[index + 1].ident != packet.ident:
            frames += [(packet.time_us, part) for part in _fragments(packet)]
    return pcap(frames)


def _fragments(packet):
    frame = packet.ethernet()
    link, head, payload = frame[:14], frame[14:34], frame[34:]
    parts = []
    for start in range(0, len(payload), FRAGMENT):
        part = payload[start : start + FRAGMENT]
        more = 0x2000 if start + FRAGMENT < len(payload) else 0
        fields = struct.pack(">HHH", 20 + len(part), packet.ident, more | start // 8)
        cut = head[:2] + fields + head[8:10] + b"\0\0" + head[12:]
        parts.append(link + cut[:10] + checksum(cut) + cut[12:] + part)
    return parts[::-1]


def offloaded(packets):
    """Big-endian pcap taken on the client: what it sends has IP length 0 and no checksums yet."""
    client = next(packet.source for packet in packets if packet.flags & SYN)[0]
    frames = []
    for packet in packets:
        frame = bytearray(packet.ethernet())
        if packet.source[0] == client:
            frame[16:18] = frame[24:26] = frame[50:52] = b"\0\0"
        frames.append((packet.time_us, bytes(frame)))
    return pcap(frames, order=">")


def two_interfaces(packets):
    """pcapng: port 135 on Ethernet in nanoseconds, the object port on raw IP in microseconds."""
    out = _block(0x0A0D0D0A, struct.pack("<IHHq", 0x1A2B3C4D, 1, 0, -1))
    resolution = struct.pack("<HHBxxxHH", 9, 1, NANOSECONDS, 0, 0)
    out += _block(1, struct.pack("<HHI", ETHERNET, 0, 0) + resolution)
    out += _block(1, struct.pack("<HHI", RAW_IP, 0, 0))
    for number, packet in enumerate(packets):
        if EPM_PORT in (packet.source[1], packet.target[1]):
            interface, frame, time = 0, packet.ethernet(), packet.time_us * 1000 + number % 1000
        else:
            interface, frame, time = 1, packet.ip(), packet.time_us
        head = struct.pack("<IIIII", interface, time >> 32, time & 0xFFFFFFFF, *[len(frame)] * 2)
        out += _block(6, head + frame)
    return out


def _block(kind, body):
    body += b"\0" * (-len(body) % 4)
    size = struct.pack("<I", len(body) + 12)
    return struct.pack("<I", kind) + size + body + size


VARIANTS = [
    Variant(
        "mmc20-midstream",
        "mmc20-windows-contexts",
        "No SYN, no bind, no alter_context: the capture begins in the middle",
        mid_stream,
    ),
    Variant(
        "mmc20-one-direction",
        "mmc20-signed",
        "What the client sends, without anything that the server answers",
        of_the_client,
    ),
    Variant(
        "mmc20-first-data-lost",
        "mmc20-connect",
        "What the client sends, and of that the first data of each connection lost",
        of_the_client_without_binds,
    ),
    Variant("mmc20-qinq", "mmc20-signed", "QinQ: tags 100 and 20", unchanged, qinq),
    Variant(
        "shellwindows-two-interfaces",
        "shellwindows-connect",
        "pcapng with an Ethernet interface in nanoseconds and a raw IP one in microseconds",
        unchanged,
        two_interfaces,
        ".pcapng",
    ),
    Variant(
        "mmc20-unanswered",
        "mmc20-signed",
        "The capture ends before the activation is answered",
        without_answer,
    ),
    Variant(
        "activator-silent",
        "mmc20-connect",
        "A firewall lets nothing through to port 135: SYNs and no answer",
        without_any_answer,
    ),
    Variant(
        "mmc20-ipv6",
        "mmc20-connect",
        "IPv6; the string bindings name the IPv6 address",
        with_ipv6,
    ),
    Variant(
        "mmc20-segments",
        "mmc20-connect",
        "Segments of at most 56 bytes: out of order, retransmitted, overlapping",
        in_small_segments,
    ),
    Variant(
        "mmc20-gap",
        "mmc20-connect",
        "120 bytes inside the ExecuteShellCommand request lost and acknowledged",
        with_gap,
    ),
    Variant(
        "mmc20-lost-fragment",
        "mmc20-tiny-fragments",
        "A whole fragment in the middle of the ExecuteShellCommand request lost and acknowledged",
        without_fragment,
    ),
    Variant(
        "excel-registerxll-late",
        "excel-registerxll",
        "RegisterXLL is answered after 200 seconds, when it has been told as unanswered",
        with_late_answer,
    ),
    Variant(
        "mmc20-released",
        "mmc20-windows-contexts",
        "ExecuteShellCommand is called, and answered, 90 seconds after its object was released",
        called_after_release,
    ),
    Variant(
        "trigger-clock-set-back",
        "trigger-called",
        "The clock that gives times is set back by five minutes right before the activation",
        with_clock_set_back,
    ),
    Variant(
        "mmc20-offload",
        "mmc20-signed",
        "Big-endian pcap; the client's packets have IP total length 0 and checksums 0",
        unchanged,
        offloaded,
    ),
    Variant(
        "mmc20-early-bound",
        "mmc20-connect",
        "ExecuteShellCommand called by its own number in the dual interface View, without Invoke",
        early_bound,
    ),
    Variant(
        "mmc20-ndr64-midstream",
        "mmc20-connect",
        "The end of a connection in NDR64: ExecuteShellCommand and its answer, nothing before",
        mid_stream_in_ndr64,
    ),
    Variant(
        "mmc20-one-context",
        "mmc20-connect",
        "The object's calls in a context that was bound to IRemUnknown2, as by clients that bind once",
        in_one_context,
    ),
    Variant(
        "mmc20-datagrams",
        "mmc20-connect",
        "The activation over UDP: the same stubs in connectionless PDUs, in fragments out of "
        "order and repeated; no client is known that sends this",
        connectionless,
    ),
    Variant(
        "ept-map-datagrams",
        "ept-map",
        "ept_map over UDP, and a TCP bind to the port it names; derived like the one above",
        connectionless,
    ),
    Variant(
        "oxid-resolve-datagrams",
        "oxid-resolve-ping",
        "Activation, ResolveOxid, ResolveOxid2, pings over UDP; derived like the one above",
        connectionless,
    ),
    Variant(
        "mmc20-http1",
        "mmc20-connect",
        "The activation in RPC over HTTP version 1: port 593 and its banner, the same PDUs",
        http_version_1,
    ),
    Variant(
        "mmc20-http2",
        "mmc20-connect",
        "The activation in RPC over HTTP version 2: an IN and an OUT channel through a proxy, "
        "joined by their cookie",
        http_version_2,
    ),
    Variant(
        "oxid-resolve-http2",
        "oxid-resolve-ping",
        "Activation, ResolveOxid, ResolveOxid2, pings, signed, through a proxy like the one above",
        http_version_2,
    ),
    Variant("mmc20-vxlan", "mmc20-signed", "In VXLAN, network 5001", unchanged, vxlan),
    Variant(
        "mmc20-erspan",
        "mmc20-connect",
        "As a switch mirrors it over IP: ERSPAN type II in GRE",
        unchanged,
        erspan,
    ),
    Variant(
        "mmc20-mirrored-twice",
        "mmc20-connect",
        "Both sides of a router mirrored: each packet in VLAN 10 and in VLAN 20",
        twice,
        in_two_vlans,
    ),
    Variant(
        "mmc20-ip-fragments",
        "mmc20-signed",
        "IP fragments of at most 256 bytes, the last one first",
        with_fragments,
        in_ip_fragments,
    ),
    Variant(
        "smb2-two-sessions",
        "smb2-write-read",
        "Two sessions on one connection that have the same number for a tree, IPC$ and C$; open, "
        "bind and read in one message",
        two_sessions,
    ),
]
