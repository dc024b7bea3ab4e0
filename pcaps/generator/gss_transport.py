"""Puts impacket's DCOM layer on DCE/RPC sealed by Kerberos, with MIT's GSS-API.

PDUs are written here; tickets, tokens and sealing are MIT's.
"""

import os
import socket
import struct
import subprocess
from pathlib import Path

from impacket.dcerpc.v5 import rpcrt, transport
from impacket.dcerpc.v5.rpcrt import DCERPCException
from impacket.krb5.ccache import CCache
from impacket.uuid import uuidtup_to_bin

import gss
from kdc import ACCOUNTS, REALM, SERVICE

KERBEROS, PRIVACY = 16, 6
FIRST_AND_LAST, SIGNS_HEADERS, OBJECT = 3, 4, 0x80
REQUEST, FAULT, BIND, BIND_ACK, ALTER, ALTER_RESP, AUTH3 = 0, 3, 11, 12, 14, 15, 16
NDR = uuidtup_to_bin(("8a885d04-1ceb-11c9-9fe8-08002b104860", "2.0"))
LONGEST = 5840
USER, SERVER_USER = "alice", "bob"


class GssDce(rpcrt.DCERPC):
    """impacket's DCERPC interface over a connection of its own."""

    user_to_user = False

    def __init__(self, rpctransport, parent=None):
        super().__init__(rpctransport)
        self.sock = parent.sock if parent else None
        self.context = parent.context if parent else None
        self.ids = parent.ids if parent else {"call": 0, "context": 0}
        self.context_id, self.answer = 0, b""

    def set_auth_level(self, level):
        """All is sealed."""

    def get_auth_type(self):
        """What impacket asks for when it copies the settings of a connection."""
        return rpcrt.RPC_C_AUTHN_WINNT

    def get_credentials(self):
        """The credentials of the transport."""
        return self._transport.get_credentials()

    def connect(self):
        """Open the connection."""
        place = self._transport.getRemoteHost(), self._transport.get_dport()
        self.sock = socket.create_connection(place)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def disconnect(self):
        """Close the connection."""
        self.sock.close()

    def bind(self, iface, *_, **__):
        """Bind to the interface and log in."""
        if self.user_to_user:
            self._send(BIND, self._offer(iface), gss.tgt_request(SERVER_USER, REALM))
            self._receive(BIND_ACK)
            self._ask_for_user_to_user()
        self.context = gss.initiator(f"{SERVER_USER}@{REALM}" if self.user_to_user else SERVICE)
        token = self.context.step()
        if self.user_to_user:
            token = gss.said_to_be_user_to_user(token)
        first, answer = (ALTER, ALTER_RESP) if self.user_to_user else (BIND, BIND_ACK)
        self._send(first, self._offer(iface), token)
        token = self.context.step(self._receive(answer)[1])
        self._send(AUTH3, bytes(4), token)

    @staticmethod
    def _ask_for_user_to_user():
        """A ticket for the server's user, sealed by its own ticket's session key."""
        folder = Path(os.environ["LAB_FOLDER"])
        own, servers = folder / "client.ccache", folder / "bob.ccache"
        subprocess.run(["kvno", "-q", "--u2u", f"FILE:{servers}", SERVER_USER], check=True)
        # MIT's initiator passes over tickets of this kind: it has no part for user-to-user.
        credentials = CCache.loadFile(str(own))
        for credential in credentials.credentials:
            credential["is_skey"] = 0
        credentials.saveFile(str(own))

    def alter_ctx(self, iface, bogus_binds=0):
        """Another interface on the same connection, in the same security context."""
        other = GssDce(self._transport, self)
        self.ids["context"] += 1
        other.context_id = self.ids["context"]
        other._send(ALTER, other._offer(iface))
        other._receive(ALTER_RESP)
        return other

    def _offer(self, iface):
        context = struct.pack("<HBB", self.context_id, 1, 0) + iface.ljust(20, b"\0") + NDR
        return struct.pack("<HHIBBH", LONGEST, LONGEST, 0, 1, 0, 0) + context

    def _send(self, kind, body, token=b""):
        if kind in (BIND, ALTER):
            self.ids["call"] += 1
        flags = FIRST_AND_LAST | (SIGNS_HEADERS if kind in (BIND, ALTER) else 0)
        trailer = self._trailer(0) if token else b""
        size = 16 + len(body) + len(trailer) + len(token)
        head = struct.pack("<BBBBIHHI", 5, 0, kind, flags, 0x10, size, len(token), self.ids["call"])
        self.sock.sendall(head + body + trailer + token)

    @staticmethod
    def _trailer(padding):
        return struct.pack("<BBBBI", KERBEROS, PRIVACY, padding, 0, 1)

    def call(self, function, body, uuid=None):
        """Make the call."""
        stub = body.getData() if hasattr(body, "getData") else body
        self.ids["call"] += 1
        padding = -len(stub) % 16
        trailer, body = self._trailer(padding), stub + bytes(padding)
        size = gss.token_size(self.context, len(body))
        target = uuid or b""
        flags = FIRST_AND_LAST | (OBJECT if uuid else 0)
        head = struct.pack(
            "<BBBBIHHIIHH", 5, 0, REQUEST, flags, 0x10,
            24 + len(target) + len(body) + 8 + size, size, self.ids["call"],
            len(stub), self.context_id, function,
        ) + target  # fmt: skip
        body, token = gss.seal(self.context, head, body, trailer)
        self.sock.sendall(head + body + trailer + token)

    def recv(self):
        """The answer of the last call."""
        stub, flags = b"", 0
        while not flags & 2:
            pdu, token = self._receive()
            flags = pdu[3]
            if pdu[2] == FAULT:
                raise DCERPCException(error_code=struct.unpack_from("<I", pdu, 24)[0])
            end = len(pdu) - len(token) - 8
            head, body, trailer = pdu[:24], pdu[24:end], pdu[end : end + 8]
            body = gss.unseal(self.context, head, body, trailer, token)
            stub += body[: len(body) - trailer[2]]
        return stub

    def _receive(self, wanted=None):
        """A PDU and its token."""
        pdu = self._read(16)
        size, token_size = struct.unpack_from("<HH", pdu, 8)
        pdu += self._read(size - 16)
        if wanted is not None and pdu[2] != wanted:
            raise DCERPCException(f"PDU of type {pdu[2]} where {wanted} should be")
        return pdu, pdu[len(pdu) - token_size :] if token_size else b""

    def _read(self, size):
        data = b""
        while len(data) < size:
            piece = self.sock.recv(size - len(data))
            if not piece:
                raise DCERPCException("the server closed the connection")
            data += piece
        return data


def install(way):
    """Make every connection of impacket one of these, and log in to the domain."""
    GssDce.user_to_user = way == "user-to-user"
    transport.TCPTransport.get_dce_rpc = lambda self: GssDce(self)
    argv, quiet = ["kinit", f"{USER}@{REALM}"], subprocess.DEVNULL
    subprocess.run(argv, input=ACCOUNTS[USER], text=True, check=True, stdout=quiet)
