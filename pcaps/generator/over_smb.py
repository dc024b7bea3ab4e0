"""Says what goes through a named pipe in SMB2 again as busier clients have it.

Stdlib only. The PDUs stay as they are; the messages around them are put together anew.
"""

import struct
from dataclasses import dataclass

from over_http import Tcp
from packets import spread

PORT = 445
SESSION_SETUP, TREE_CONNECT, CREATE, READ, WRITE = 1, 3, 5, 8, 9
RELATED, PENDING = 4, 0x103
HEADER, PATH = 64, 72
ALL_ONES = 0xFFFFFFFFFFFFFFFF
DISK, OTHER_SHARE = 1, "C$"


@dataclass
class Message:
    """One command, as much of its header as is touched here, and whose it is."""

    up: bool
    data: bytearray
    twin: bool = False

    def field(self, layout, offset):
        """A field of the header."""
        return struct.unpack_from("<" + layout, self.data, offset)[0]

    def put(self, layout, offset, value):
        """Write a field of the header."""
        struct.pack_into("<" + layout, self.data, offset, value)

    @property
    def command(self):
        """What is asked for, or answered."""
        return self.field("H", 12)

    @property
    def request(self):
        """By what a request and its answer know each other."""
        return self.twin, self.field("Q", 24)


def two_sessions(packets):
    """Another session on the connection, which has C$ under the number that IPC$ has in the first.

    Open, bind and read are one message of related requests.
    """
    up = [packet.target[1] == PORT for packet in packets]
    turns = [
        (packet.time_us, [Message(is_up, bytearray(packet.payload[4:]))])
        for packet, is_up in zip(packets, up, strict=True)
        if packet.payload
    ]
    turns = [turn for turn in turns if not _is_pending(turn[1][0])]
    turns = _compounded(_with_other_session(turns))
    _number(message for _, messages in turns for message in messages)
    tcp = Tcp(packets[0].source, packets[0].target)
    tcp.open(packets[0].time_us)
    for time_us, messages in turns:
        tcp.send(time_us, messages[0].up, _block(messages))
    tcp.close(packets[-1].time_us)
    return spread(tcp.packets)


def _is_smb2(message):
    return message.data[:4] == b"\xfeSMB"


def _is_pending(message):
    return _is_smb2(message) and message.field("I", 8) == PENDING


def _with_other_session(turns):
    """What the first session does up to its share is done by another one behind that."""
    begun = [turn for turn in turns if _is_smb2(turn[1][0])]
    begun = [turn for turn in begun if turn[1][0].command in (SESSION_SETUP, TREE_CONNECT)]
    time_us, last = begun[-1]
    behind = turns.index(begun[-1]) + 1
    session = last[0].field("Q", 40)
    twins = [(time_us, [_twin(message, session)]) for _, (message,) in begun]
    return turns[:behind] + twins + turns[behind:]


def _twin(message, session):
    data = bytearray(message.data)
    twin = Message(message.up, data, twin=True)
    if twin.field("Q", 40):
        twin.put("Q", 40, session ^ 0xFF)
    if twin.command == TREE_CONNECT and twin.up:
        host = data[PATH:].decode("utf-16le").rpartition("\\")[0]
        path = f"{host}\\{OTHER_SHARE}".encode("utf-16le")
        twin.put("H", PATH - 2, len(path))
        data[PATH:] = path
    elif twin.command == TREE_CONNECT:
        data[HEADER + 2] = DISK
    return twin


def _compounded(turns):
    """The first requests to open, write and read are sent at once, and so are their answers."""
    first = {}
    for turn in turns:
        message = turn[1][0]
        if _is_smb2(message) and message.command in (CREATE, WRITE, READ):
            first.setdefault((message.up, message.command), turn)
    requests = [first[True, command] for command in (CREATE, WRITE, READ)]
    answers = [first[False, command] for command in (CREATE, WRITE, READ)]
    out = []
    for turn in turns:
        if turn is requests[0]:
            messages = [message for _, (message,) in requests]
            for message in messages[1:]:
                message.put("I", 36, ALL_ONES & 0xFFFFFFFF)
                message.put("Q", 40, ALL_ONES)
                message.data[HEADER + 16 : HEADER + 32] = b"\xff" * 16
            out.append((turn[0], messages))
        elif turn is answers[-1]:
            out.append((turn[0], [message for _, (message,) in answers]))
        elif not any(turn is other for other in requests + answers):
            out.append(turn)
    return out


def _number(messages):
    """Every request has the number behind those of the one before it."""
    numbers, following = {}, 0
    for message in messages:
        if not _is_smb2(message):
            following = max(following, 1)
            continue
        if message.up:
            numbers[message.request] = following
            following += max(message.field("H", 6), 1)
        message.put("Q", 24, numbers.get(message.request, message.field("Q", 24)))


def _block(messages):
    out = b""
    for number, message in enumerate(messages):
        data = bytearray(message.data)
        if number:
            struct.pack_into("<I", data, 16, message.field("I", 16) | RELATED)
        if number + 1 < len(messages):
            data += bytes(-len(data) % 8)
            struct.pack_into("<I", data, 20, len(data))
        out += data
    return struct.pack(">I", len(out)) + out
