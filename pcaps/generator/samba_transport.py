"""Puts impacket's DCOM layer on Samba's DCE/RPC transport.

Binds, SPNEGO, signatures and fragments are then all made by Samba's C code. It needs Debian's
python3-samba, so it runs under the system's Python.
"""

from impacket.dcerpc.v5 import rpcrt, transport
from impacket.uuid import bin_to_string, bin_to_uuidtup
from samba import credentials, param
from samba.dcerpc import base, mgmt

LEVELS = {2: "connect", 4: "packet", 5: "sign", 6: "seal"}
WORKSTATION = "CLIENT01"


class SambaDce(rpcrt.DCERPC):
    """impacket's DCERPC interface over a Samba connection."""

    def __init__(self, rpctransport, level=6, basis=None):
        super().__init__(rpctransport)
        self.level, self.basis, self.connection, self.answer = level, basis, None, b""

    def set_auth_level(self, level):
        """Remember the level for the bind."""
        self.level = level

    def get_auth_type(self):
        """What impacket asks for when it copies the settings of a connection."""
        return rpcrt.RPC_C_AUTHN_WINNT

    def get_credentials(self):
        """The credentials of the transport."""
        return self._transport.get_credentials()

    def connect(self):
        """Samba connects at bind."""

    def disconnect(self):
        """Drop the connection."""
        self.connection = None

    def bind(self, iface, *_, **__):
        """Bind to the interface, in the security context of `basis` when there is one."""
        parameters = param.LoadParm()
        parameters.load_default()
        host, port = self._transport.getRemoteHost(), self._transport.get_dport()
        binding = f"ncacn_ip_tcp:{host}[{port},{LEVELS[self.level]},spnego]"
        login = self._login(parameters)
        if self.basis is None:
            # Samba starts an authenticated bind only for an interface it was compiled with: mgmt
            # is on every port. The interface wanted then comes by alter_context.
            self.basis = mgmt.mgmt(binding, parameters, login)
        uuid, version = bin_to_uuidtup(iface.ljust(20, b"\0"))
        wanted = (uuid.lower(), int(version.split(".")[0]))
        self.connection = base.ClientConnection(binding, wanted, basis_connection=self.basis)

    def _login(self, parameters):
        user, password, domain = self._transport.get_credentials()[:3]
        login = credentials.Credentials()
        login.guess(parameters)
        login.set_kerberos_state(credentials.DONT_USE_KERBEROS)
        login.set_username(user)
        login.set_password(password)
        login.set_domain(domain)
        login.set_workstation(WORKSTATION)  # else the name of the machine gets into the capture
        return login

    def alter_ctx(self, iface, bogus_binds=0):
        """Another interface on the same connection."""
        other = SambaDce(self._transport, self.level, self.basis)
        other.bind(iface)
        return other

    def call(self, function, body, uuid=None):
        """Make the call; Samba waits for the answer."""
        data = body.getData() if hasattr(body, "getData") else body
        target = (bin_to_string(uuid).lower(),) if uuid else ()
        self.answer = self.connection.request(function, data, *target)

    def recv(self):
        """The answer of the last call."""
        return self.answer


def install():
    """Make every connection of impacket a Samba connection."""
    transport.TCPTransport.get_dce_rpc = lambda self: SambaDce(self)
