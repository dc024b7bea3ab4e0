"""One TCP connection of the server: PDUs, presentation contexts, security contexts, fragments."""

import struct
import threading
import traceback
from dataclasses import dataclass, field

from dcom_server import pack
from dcom_server.ntlm import AuthError, NtlmAcceptor
from dcom_server.pack import Fault, guid
from dcom_server.spnego import SpnegoAcceptor
from dcom_server.world import IFACES, ON_EPM_PORT, ON_OBJECT_PORT

BIND_TIME_FEATURES = bytes.fromhex("2c1cb76c12984045")
SPNEGO, WINNT, KERBEROS = 9, 10, 16
ACCEPT, REJECT, NEGOTIATE_ACK = 0, 2, 3
NO_SYNTAX = b"\0" * 20


@dataclass
class Call:
    """One complete request, and what became of it."""

    client_port: int
    call_id: int
    interface: str
    opnum: int
    level: int
    ndr64: bool = False
    object: str | None = None
    stub: bytes = b""
    method: str | None = None
    result: int | None = None
    fault: int | None = None
    clsid: str | None = None
    command: str | None = None
    mapped_port: int | None = None

    def parse(self, structure):
        """The stub read as one of impacket's request structures."""
        try:
            return structure(self.stub, isNDR64=self.ndr64)
        except Exception as error:  # impacket raises all sorts on a short stub
            raise Fault(pack.FAULT_NDR) from error

    def encode(self, response):
        """One of impacket's response structures in the call's transfer syntax."""
        if self.ndr64:
            response.changeTransferSyntax(pack.NDR64)
        return response.getData()


@dataclass
class Pdu:
    """A received PDU, cut at its verifier."""

    raw: bytes
    kind: int = field(init=False)
    flags: int = field(init=False)
    call_id: int = field(init=False)
    end: int = field(init=False)
    trailer: bytes = b""
    token: bytes = b""

    def __post_init__(self):
        self.kind, self.flags = self.raw[2], self.raw[3]
        auth_length, self.call_id = struct.unpack_from("<HI", self.raw, 10)
        self.end = len(self.raw)
        if auth_length:
            self.end -= auth_length + 8
            self.trailer = self.raw[self.end : self.end + 8]
            self.token = self.raw[self.end + 8 :]


class SecurityContext:
    """One security context of a connection; there is one per auth_context_id."""

    def __init__(self, config, kind, level, context_id):
        self.kind, self.level, self.context_id = kind, level, context_id
        self.acceptor = self._acceptor(config)
        self.failed = None

    def _acceptor(self, config):
        if self.kind == KERBEROS:
            from dcom_server.kerberos import KerberosAcceptor  # needs more than the others

            return KerberosAcceptor()
        return SpnegoAcceptor(config) if self.kind == SPNEGO else NtlmAcceptor(config)

    @property
    def ready(self):
        """Whether the login is over and was accepted."""
        return self.acceptor.done and self.failed is None

    def trailer(self, padding):
        """The sec_trailer that goes before a verifier."""
        return struct.pack("<BBBBI", self.kind, self.level, padding, 0, self.context_id)


class Connection(threading.Thread):
    """Serves one client connection until it is closed."""

    def __init__(self, server, sock, client_port, port):
        super().__init__(daemon=True)
        self.server, self.config, self.sock = server, server.config, sock
        self.client_port, self.port = client_port, port
        self.contexts = {}
        """Presentation context id to (interface, transfer syntax)."""
        self.security = {}
        """Auth context id to its security context."""
        self.current = None
        """The security context of the last token."""
        self.max_xmit = self.max_recv = self.config.max_frag
        self.fragments = {}

    def run(self):
        """Read PDUs and answer them."""
        try:
            while True:
                head = self._receive(16)
                length = struct.unpack_from("<H", head, 8)[0]
                self._handle(Pdu(head + self._receive(length - 16)))
        except (EOFError, ConnectionError):
            pass
        except Exception:
            self.server.errors.append(traceback.format_exc())
        finally:
            self.sock.close()

    def _receive(self, size):
        data = b""
        while len(data) < size:
            piece = self.sock.recv(size - len(data))
            if not piece:
                raise EOFError
            data += piece
        return data

    def _send(self, kind, call_id, body, flags=pack.FIRST | pack.LAST, trailer=b"", token=b""):
        size = 16 + len(body) + len(trailer) + len(token)
        head = struct.pack("<BBBBIHHI", 5, 0, kind, flags, 0x10, size, len(token), call_id)
        self.sock.sendall(head + body + trailer + token)

    def _send_fault(self, call_id, context_id, status):
        body = struct.pack("<IHBBII", 32, context_id, 0, 0, status, 0)
        flags = pack.FIRST | pack.LAST | pack.DID_NOT_EXECUTE
        self._send(pack.FAULT, call_id, body, flags)

    def _handle(self, pdu):
        if pdu.kind in (pack.BIND, pack.ALTER):
            self._on_bind(pdu)
        elif pdu.kind == pack.AUTH3:
            self._on_token(pdu)
        elif pdu.kind == pack.REQUEST:
            self._on_request(pdu)
        # cancel and orphaned want no answer

    # -- binds ---------------------------------------------------------------------------------

    def _on_token(self, pdu):
        kind, level, _, _, context_id = struct.unpack("<BBBBI", pdu.trailer)
        security = self.security.get(context_id)
        if security is None or security.acceptor.done:
            security = SecurityContext(self.config, kind, level, context_id)
            self.security[context_id] = security
        self.current = security
        try:
            if kind not in (SPNEGO, WINNT, KERBEROS):
                raise AuthError(f"authentication type {kind} is not offered")
            return security.acceptor.step(pdu.token)
        except AuthError as error:
            security.failed = str(error)
            return b""

    def _on_bind(self, pdu):
        max_xmit, max_recv, group = struct.unpack_from("<HHI", pdu.raw, 16)
        offered = self._offered(pdu.raw[24 : pdu.end])
        results = b""
        for context_id, interface, syntaxes in offered:
            result, reason, chosen = self._choose(interface, syntaxes)
            results += struct.pack("<HH", result, reason) + chosen
            if result == ACCEPT:
                self.contexts[context_id] = (guid(interface), chosen)
        reply = self._on_token(pdu) if pdu.token else b""
        if pdu.token and self.current.failed:
            self._refuse_bind(pdu)
            return
        secondary = b""
        if pdu.kind == pack.BIND:
            self.max_xmit = min(max_recv, self.config.max_frag)
            self.max_recv = min(max_xmit, self.config.max_frag)
            secondary = str(self.port).encode() + b"\0"
            group = group or self.server.new_association_group()
        body = struct.pack("<HHIH", self.max_xmit, self.max_recv, group, len(secondary))
        body = pack.pad_to(body + secondary, 4) + struct.pack("<BBH", len(offered), 0, 0) + results
        flags = pack.FIRST | pack.LAST | (pdu.flags & pack.HDR_SIGN)
        trailer = pdu.trailer[:2] + b"\0\0" + pdu.trailer[4:] if reply else b""
        kind = pack.BIND_ACK if pdu.kind == pack.BIND else pack.ALTER_RESP
        self._send(kind, pdu.call_id, body, flags, trailer, reply)

    def _refuse_bind(self, pdu):
        if pdu.kind == pack.BIND:
            authentication_type_not_recognised = 8
            body = struct.pack("<HBBBB", authentication_type_not_recognised, 1, 5, 0, 0)
            self._send(pack.BIND_NAK, pdu.call_id, body)
        else:
            self._send_fault(pdu.call_id, 0, pack.FAULT_ACCESS_DENIED)

    @staticmethod
    def _offered(body):
        """(context id, interface, transfer syntaxes) of each context of a bind."""
        offered, at = [], 4
        for _ in range(body[0]):
            context_id, count = struct.unpack_from("<HB", body, at)
            interface, at = body[at + 4 : at + 24], at + 24
            offered.append(
                (
                    context_id,
                    interface,
                    [body[at + 20 * i : at + 20 * i + 20] for i in range(count)],
                )
            )
            at += 20 * count
        return offered

    def _choose(self, interface, syntaxes):
        """Result, reason and transfer syntax for one presentation context."""
        for syntax in syntaxes:
            if syntax[:8] == BIND_TIME_FEATURES:
                return NEGOTIATE_ACK, syntax[8] & 0x03, NO_SYNTAX
        here = ON_EPM_PORT if self.port == self.config.epm_port else ON_OBJECT_PORT
        if IFACES.get(guid(interface)) not in here:
            abstract_syntax_not_supported = 1
            return REJECT, abstract_syntax_not_supported, NO_SYNTAX
        for syntax in (pack.NDR64, pack.NDR32):
            if syntax in syntaxes:
                return ACCEPT, 0, syntax
        transfer_syntaxes_not_supported = 2
        return REJECT, transfer_syntaxes_not_supported, NO_SYNTAX

    # -- requests ------------------------------------------------------------------------------

    def _on_request(self, pdu):
        context_id, opnum = struct.unpack_from("<HH", pdu.raw, 20)
        interface, syntax = self.contexts.get(context_id, ("", b""))
        security = self.current
        call = Call(
            self.client_port,
            pdu.call_id,
            IFACES.get(interface, interface),
            opnum,
            security.level if security else 1,
            ndr64=syntax == pack.NDR64,
        )
        try:
            security, body_at, stub = self._open(pdu)
            self.fragments[pdu.call_id] = (
                stub if pdu.flags & pack.FIRST else self.fragments[pdu.call_id] + stub
            )
            if not pdu.flags & pack.LAST:
                return
            call.stub = self.fragments.pop(pdu.call_id)
            call.object = guid(pdu.raw[24:40]) if body_at == 40 else None
            response = self.server.dispatch(call)
        except Fault as fault:
            call.fault = fault.status
            self.server.calls.append(call)
            self._send_fault(pdu.call_id, context_id, fault.status)
            return
        self.server.calls.append(call)
        self._send_response(call, context_id, response, security)

    def _open(self, pdu):
        """Security context, offset of the stub and verified plain stub of a request fragment."""
        body_at = 40 if pdu.flags & pack.OBJECT_UUID else 24
        stub, security = pdu.raw[body_at : pdu.end], self.current
        if not pdu.trailer:
            if security and (not security.ready or security.level >= pack.PKT):
                raise Fault(pack.FAULT_ACCESS_DENIED)
            return security, body_at, stub
        security = self.security.get(struct.unpack_from("<I", pdu.trailer, 4)[0])
        if security is None or not security.ready:
            raise Fault(pack.FAULT_ACCESS_DENIED)
        head, acceptor = pdu.raw[:body_at], security.acceptor
        try:
            if security.level == pack.PKT_PRIVACY:
                stub = acceptor.unseal(head, stub, pdu.trailer, pdu.token)
            elif security.level >= pack.PKT:
                acceptor.verify(head, stub, pdu.trailer, pdu.token)
        except AuthError as error:
            self.server.errors.append(f"call {pdu.call_id}: {error}")
            raise Fault(pack.FAULT_SEC_PKG) from error
        return security, body_at, stub[: len(stub) - pdu.trailer[2]]

    def _send_response(self, call, context_id, stub, security):
        protected = security is not None and security.level >= pack.PKT
        room = self.max_xmit - 24
        if protected:
            room -= 8 + security.acceptor.token_size(self.max_xmit & ~15)
        room &= ~15
        for at in range(0, max(len(stub), 1), room):
            piece = stub[at : at + room]
            flags = (0 if at else pack.FIRST) | (pack.LAST if at + room >= len(stub) else 0)
            padding = -len(piece) % 16 if protected else 0
            body = piece + b"\0" * padding
            token = security.acceptor.token_size(len(body)) if protected else 0
            head = struct.pack(
                "<BBBBIHHIIHBB", 5, 0, pack.RESPONSE, flags, 0x10,
                24 + len(body) + (8 + token if protected else 0), token,
                call.call_id, len(stub) - at, context_id, 0, 0,
            )  # fmt: skip
            self.sock.sendall(head + self._protect(head, body, padding, security, protected))

    @staticmethod
    def _protect(head, body, padding, security, protected):
        if not protected:
            return body
        trailer = security.trailer(padding)
        if security.level == pack.PKT_PRIVACY:
            body, signature = security.acceptor.seal(head, body, trailer)
        else:
            signature = security.acceptor.sign(head, body, trailer)
        return body + trailer + signature
