"""TCP and UDP packets as values: read from a capture, written in several encapsulations.

Stdlib only. What is read is TCP as tcpdump writes it on the loopback. Addresses may be of either
family; checksums and lengths are computed when a packet is written, because the loopback leaves
checksums to hardware it does not have.
"""

import ipaddress
import struct
from dataclasses import dataclass, replace
from pathlib import Path

MAC_PREFIX = bytes.fromhex("0200000000")
ETHERNET, RAW_IP = 1, 101
SYN = 0x02
DONT_FRAGMENT = 0x4000
TCP, UDP = 6, 17


@dataclass(frozen=True)
class Packet:
    """One TCP segment, or one UDP datagram, and when it was seen."""

    time_us: int
    source: tuple[str, int]
    target: tuple[str, int]
    ident: int
    seq: int
    ack: int
    flags: int
    window: int
    options: bytes
    payload: bytes
    protocol: int = TCP

    def part(self, start, stop, **changes):
        """The packet cut down to a range of its payload."""
        seq = (self.seq + start) & 0xFFFFFFFF
        return replace(self, seq=seq, payload=self.payload[start:stop], **changes)

    def tcp(self):
        """TCP header and payload with a right checksum."""
        offset = (20 + len(self.options)) << 2 << 8
        head = struct.pack(
            ">HHIIHHHH", self.source[1], self.target[1], self.seq, self.ack,
            offset | self.flags, self.window, 0, 0,
        )  # fmt: skip
        segment = head + self.options + self.payload
        pseudo = _address(self.source) + _address(self.target) + struct.pack(">II", len(segment), 6)
        return segment[:16] + checksum(pseudo + segment) + segment[18:]

    def udp(self):
        """UDP header and payload with a right checksum."""
        size = 8 + len(self.payload)
        head = struct.pack(">HHH", self.source[1], self.target[1], size)
        pseudo = _address(self.source) + _address(self.target) + struct.pack(">II", size, UDP)
        total = checksum(pseudo + head + b"\0\0" + self.payload)
        return head + (b"\xff\xff" if total == b"\0\0" else total) + self.payload

    def ip(self):
        """The packet from its IP header on."""
        segment = self.udp() if self.protocol == UDP else self.tcp()
        source, target = _address(self.source), _address(self.target)
        if len(source) == 16:
            return (
                struct.pack(">IHBB", 6 << 28, len(segment), self.protocol, 64)
                + source
                + target
                + segment
            )
        size = 20 + len(segment)
        head = struct.pack(
            ">BBHHHBBH", 0x45, 0, size, self.ident, DONT_FRAGMENT, 64, self.protocol, 0
        )
        return head[:10] + checksum(head + source + target) + source + target + segment

    def ethernet(self, tags=b""):
        """The packet from its Ethernet header on; `tags` are whole VLAN tags."""
        kind = 0x86DD if ":" in self.source[0] else 0x0800
        return _mac(self.target) + _mac(self.source) + tags + struct.pack(">H", kind) + self.ip()


def _address(endpoint):
    return ipaddress.ip_address(endpoint[0]).packed


def _mac(endpoint):
    return MAC_PREFIX + _address(endpoint)[-1:]


def checksum(data):
    """The Internet checksum (RFC 1071)."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f">{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return struct.pack(">H", ~total & 0xFFFF)


def read_loopback(path):
    """The packets of an Ethernet pcap of IPv4 as tcpdump writes it on the loopback."""
    data, at, packets = Path(path).read_bytes(), 24, []
    while at < len(data):
        seconds, micros, size = struct.unpack_from("<III", data, at)
        frame = data[at + 16 : at + 16 + size]
        packets.append(_parse(seconds * 1_000_000 + micros, frame[14:]))
        at += 16 + size
    return packets


def _parse(time_us, ip):
    total, ident = struct.unpack_from(">HH", ip, 2)
    tcp_at = (ip[0] & 15) * 4
    sport, dport, seq, ack, flags, window = struct.unpack_from(">HHIIHH", ip, tcp_at)
    data_at = tcp_at + (flags >> 12) * 4
    source, target = (str(ipaddress.ip_address(ip[at : at + 4])) for at in (12, 16))
    return Packet(
        time_us,
        (source, sport),
        (target, dport),
        ident,
        seq,
        ack,
        flags & 0xFF,
        window,
        ip[tcp_at + 20 : data_at],
        ip[data_at:total],
    )


def spread(packets):
    """Times that never stand still."""
    now, out = 0, []
    for number, packet in enumerate(packets):
        now = max(now + 1, packet.time_us)
        out.append(replace(packet, time_us=now, ident=(0x4000 + number) & 0xFFFF))
    return out


def pcap(frames, link_type=ETHERNET, order="<"):
    """A pcap file of (time in microseconds, frame)."""
    out = struct.pack(order + "IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, link_type)
    for time_us, frame in frames:
        seconds, micros = divmod(time_us, 1_000_000)
        out += struct.pack(order + "IIII", seconds, micros, len(frame), len(frame)) + frame
    return out


def plain(packets):
    """The usual file: pcap, little-endian, Ethernet, microseconds."""
    return pcap((packet.time_us, packet.ethernet()) for packet in packets)
