"""Says what one connection to port 135 says again in RPC over HTTP, versions 1 and 2.

Stdlib only. The PDUs stay as they are; heads, RTS PDUs and TCP connections around them are made
here. Other connections stay as they are.
"""

import struct
import uuid

from packets import SYN, Packet, spread

PORT, HTTP_PORT, PROXY_PORT = 135, 593, 80
BANNER = b"ncacn_http/1.0"
ACK, PUSH, FIN = 0x10, 0x08, 0x01
RTS, WHOLE = 20, 3
RECEIVE_WINDOW, FLOW_CONTROL, TIMEOUT, COOKIE, LIFETIME, KEEPALIVE, VERSION = range(7)
GROUP, DESTINATION = 12, 13
OTHER_COMMAND = 2
OUT_PROXY = 3
WINDOW, ENDLESS = 65536, 1 << 30
ACCEPTED = (
    f"HTTP/1.1 200 Success\r\nContent-Type: application/rpc\r\nContent-Length: {ENDLESS}\r\n\r\n"
).encode()
URL = "/rpc/rpcproxy.dll?DCOMSRV01:593"
NAMED = ("connection", "in", "out", "group")


class Tcp:
    """A TCP connection that nothing befalls."""

    def __init__(self, client, server):
        self.ends = {True: client, False: server}
        self.next = {True: 1000 + client[1], False: 2000 + client[1]}
        self.packets = []

    def _packet(self, time_us, up, flags, payload=b""):
        ack = 0 if flags == SYN else self.next[not up]
        self.packets.append(
            Packet(
                time_us,
                self.ends[up],
                self.ends[not up],
                0,
                self.next[up],
                ack,
                flags,
                64240,
                b"",
                payload,
            )
        )
        self.next[up] += len(payload) + bool(flags & (SYN | FIN))

    def open(self, time_us):
        """The handshake."""
        self._packet(time_us, True, SYN)
        self._packet(time_us, False, SYN | ACK)
        self._packet(time_us, True, ACK)

    def send(self, time_us, up, payload):
        """Bytes from the client (`up`) or from the server, and that they have arrived."""
        self._packet(time_us, up, PUSH | ACK, payload)
        self._packet(time_us, not up, ACK)

    def close(self, time_us):
        """Both ends close."""
        self._packet(time_us, True, FIN | ACK)
        self._packet(time_us, False, FIN | ACK)
        self._packet(time_us, True, ACK)


def _retold(packets, tell):
    """Every connection to port 135 is told by `tell`; the others stay."""
    out, told = [], {}
    for packet in packets:
        if PORT not in (packet.source[1], packet.target[1]):
            out.append(packet)
            continue
        up = packet.target[1] == PORT
        client, server = (packet.source, packet.target) if up else (packet.target, packet.source)
        turns = told.setdefault((client, server), [])
        turns.append((packet.time_us, up, packet.payload))
    for (client, server), turns in told.items():
        out += tell(client, server[0], turns)
    return spread(sorted(out, key=lambda packet: packet.time_us))


def http_version_1(packets):
    """To port 593, whose server says who it is; behind that stand the same PDUs."""
    return _retold(packets, _version_1)


def _version_1(client, address, turns):
    tcp = Tcp(client, (address, HTTP_PORT))
    tcp.open(turns[0][0])
    tcp.send(turns[0][0], False, BANNER)
    for time_us, up, payload in turns:
        if payload:
            tcp.send(time_us, up, payload)
    tcp.close(turns[-1][0])
    return tcp.packets


def http_version_2(packets):
    """Through a proxy: requests over one connection, answers over another, joined by a cookie."""
    return _retold(packets, _version_2)


def _rts(flags, *commands):
    body = struct.pack("<HH", flags, len(commands)) + b"".join(commands)
    head = struct.pack("<BBBB4sHHI", 5, 0, RTS, WHOLE, b"\x10\0\0\0", 16 + len(body), 0, 0)
    return head + body


def _number(kind, value):
    return struct.pack("<II", kind, value)


def _cookie(kind, value):
    return struct.pack("<I", kind) + value


def _cookies(client):
    """Those of the connection, of its two channels and of their group: never the same twice."""
    names = (f"{name}.{client[1]}.example" for name in NAMED)
    return [uuid.uuid5(uuid.NAMESPACE_DNS, name).bytes_le for name in names]


def _head(method, length):
    lines = (
        f"{method} {URL} HTTP/1.1",
        "Accept: application/rpc",
        "User-Agent: MSRPC",
        "Host: proxy.lab.example",
        f"Content-Length: {length}",
        "Pragma: no-cache",
    )
    return "\r\n".join((*lines, "", "")).encode()


def _version_2(client, address, turns):
    """[MS-RPCH] 2.2.4: CONN/A1, CONN/B1, CONN/A3, CONN/C2, and flow control."""
    proxy, start = (address, PROXY_PORT), turns[0][0]
    requests, answers = Tcp(client, proxy), Tcp((client[0], client[1] + 1), proxy)
    version, (connection, in_channel, out_channel, group) = _number(VERSION, 1), _cookies(client)
    a1 = _rts(
        0,
        version,
        _cookie(COOKIE, connection),
        _cookie(COOKIE, out_channel),
        _number(RECEIVE_WINDOW, WINDOW),
    )
    b1 = _rts(
        0,
        version,
        _cookie(COOKIE, connection),
        _cookie(COOKIE, in_channel),
        _number(LIFETIME, ENDLESS),
        _number(KEEPALIVE, 300_000),
        _cookie(GROUP, group),
    )
    answers.open(start)
    answers.send(start, True, _head("RPC_OUT_DATA", len(a1)))
    answers.send(start, True, a1)
    requests.open(start + 1)
    requests.send(start + 1, True, _head("RPC_IN_DATA", ENDLESS))
    requests.send(start + 1, True, b1)
    answers.send(start + 2, False, ACCEPTED)
    answers.send(start + 2, False, _rts(0, _number(TIMEOUT, 120_000)))
    c2 = _rts(0, version, _number(RECEIVE_WINDOW, WINDOW), _number(TIMEOUT, 120_000))
    answers.send(start + 2, False, c2)
    received = 0
    for time_us, up, payload in turns:
        if payload:
            (requests if up else answers).send(time_us + 3, up, payload)
            received += 0 if up else len(payload)
    seen = struct.pack("<III", FLOW_CONTROL, received, WINDOW) + out_channel
    flow_control = _rts(OTHER_COMMAND, _number(DESTINATION, OUT_PROXY), seen)
    requests.send(turns[-1][0] + 3, True, flow_control)
    requests.close(turns[-1][0] + 3)
    answers.close(turns[-1][0] + 4)
    return requests.packets + answers.packets
