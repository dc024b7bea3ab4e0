"""The listeners, the objects that live behind them, and the table of what can be called."""

import os
import socket
import struct
import threading
from dataclasses import dataclass

from impacket.dcerpc.v5 import dcomrt

from dcom_server import (
    activator,
    automation,
    endpoint_mapper,
    object_exporter,
    registry,
    rem_unknown,
    wmi,
)
from dcom_server.connection import Connection
from dcom_server.pack import (
    FAULT_OP_RNG,
    FAULT_UNK_IF,
    RPC_E_INVALID_OBJECT,
    Fault,
    guid,
    u16,
    utf16z,
)

HANDLERS = {
    "epmapper": endpoint_mapper.HANDLERS,
    "IObjectExporter": object_exporter.HANDLERS,
    "IRemoteSCMActivator": activator.HANDLERS,
    "IRemUnknown": rem_unknown.HANDLERS,
    "IRemUnknown2": rem_unknown.HANDLERS,
    "IDispatch": automation.HANDLERS,
    "ITypeInfo": automation.TYPE_INFO_HANDLERS,
    "IWbemLevel1Login": wmi.HANDLERS,
    "IWbemServices": wmi.SERVICES_HANDLERS,
    "winreg": registry.HANDLERS,
}
TOWER_TCP = 7
LOOPBACK = "127.0.0.1"
AUTHN_SERVICES = (0x0A, 0x10, 0x09)
ANY_AUTHZ = 0xFFFF


@dataclass
class ComObject:
    """One interface of one object."""

    type: str
    iid: bytes
    ipid: bytes
    oid: int
    refs: int = 5


class Server:
    """Listens while it is a context manager; `calls` and `errors` tell afterwards what happened."""

    def __init__(self, config):
        self.config = config
        self.calls = []
        self.errors = []
        self.oxid = config.oxid or struct.unpack("<Q", os.urandom(8))[0]
        self._process_id = struct.unpack("<H", os.urandom(2))[0] & 0x1FFC
        self._last_oid = struct.unpack("<Q", os.urandom(8))[0] >> 1
        self._last_group = 0x1D00
        self._objects = {}
        self._listeners = []
        self.rem_unknown = self._new_ipid()

    def __enter__(self):
        places = [(self.config.address, self.config.epm_port)]
        places.append((self.config.address, self.config.object_port))
        if self.config.pipe_port:
            places.append((LOOPBACK, self.config.pipe_port))
        for address, port in places:
            listener = socket.create_server((address, port))
            self._listeners.append(listener)
            threading.Thread(target=self._accept, args=(listener, port), daemon=True).start()
        return self

    def __exit__(self, *_):
        for listener in self._listeners:
            listener.shutdown(socket.SHUT_RDWR)  # wakes the thread in accept(); close() would not
            listener.close()

    def _accept(self, listener, port):
        while True:
            try:
                sock, (_, client_port) = listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            Connection(self, sock, client_port, port).start()

    def dispatch(self, call):
        """Run the call; gives the response stub."""
        table = HANDLERS.get(call.interface)
        if table is None:
            raise Fault(FAULT_UNK_IF)
        if call.opnum not in table:
            raise Fault(FAULT_OP_RNG)
        call.method, handler = table[call.opnum]
        return handler(self, call)

    def new_association_group(self):
        """A group id nobody has."""
        self._last_group += 0x11
        return self._last_group

    def _new_ipid(self):
        # Windows packs the process id and apartment into the IPID; the rest is random.
        return os.urandom(4) + struct.pack("<HH", self._process_id, 0) + os.urandom(8)

    def new_object(self, type_name, iid):
        """An object of a type of world.TYPES, with one interface."""
        self._last_oid += 1
        made = ComObject(type_name, iid[:16], self._new_ipid(), self._last_oid)
        self._objects[guid(made.ipid)] = made
        return made

    def lookup(self, ipid):
        """The object of an IPID given as text, or None."""
        return self._objects.get(ipid)

    def target_of(self, call):
        """The object a call is made on."""
        found = self.lookup(call.object)
        if found is None:
            raise Fault(RPC_E_INVALID_OBJECT)
        return found

    def _dual_string(self, suffix):
        """Words of a DUALSTRINGARRAY (MS-DCOM 2.2.19.3), their count, the security offset."""
        names = (self.config.netbios_name, self.config.address)
        strings = b"".join(u16(TOWER_TCP) + utf16z(name + suffix) for name in names) + u16(0)
        security = b"".join(u16(s) + u16(ANY_AUTHZ) + utf16z("") for s in AUTHN_SERVICES) + u16(0)
        words = strings + security
        return words, len(words) // 2, len(strings) // 2

    def _fill(self, field, suffix):
        words, count, security_offset = self._dual_string(suffix)
        field["wNumEntries"], field["wSecurityOffset"] = count, security_offset
        field["aStringArray"] = list(struct.unpack(f"<{count}H", words))

    def fill_resolver_bindings(self, field):
        """Bindings of the machine: names and addresses without a port."""
        self._fill(field, "")

    def fill_object_bindings(self, field):
        """Bindings of the exporter: names and addresses with the object port."""
        self._fill(field, f"[{self.config.object_port}]")

    def objref(self, obj):
        """A standard OBJREF (MS-DCOM 2.2.18.4) of an object."""
        words, count, security_offset = self._dual_string("")
        ref = dcomrt.OBJREF_STANDARD()
        ref["iid"] = obj.iid
        std = ref["std"]
        std["flags"], std["cPublicRefs"], std["oxid"] = 0, obj.refs, self.oxid
        std["oid"], std["ipid"] = obj.oid, obj.ipid
        ref["saResAddr"] = u16(count) + u16(security_offset) + words
        return ref.getData()
