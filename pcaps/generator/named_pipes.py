"""impacket's own file server, in front of the named pipes of the emulated server."""

import threading

from impacket.ntlm import compute_lmhash, compute_nthash
from impacket.smbserver import SimpleSMBServer

from dcom_server.server import LOOPBACK


class NamedPipes:
    """Port 445 of an address while it is a context manager: one login, one pipe."""

    def __init__(self, address, user, password, pipe, port):
        self._server = SimpleSMBServer(address, 445)
        self._server.setSMB2Support(True)
        hashes = compute_lmhash(password).hex(), compute_nthash(password).hex()
        self._server.addCredential(user, 0, *hashes)
        self._server.registerNamedPipe(pipe, (LOOPBACK, port))

    def __enter__(self):
        threading.Thread(target=self._server.getServer().serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.getServer().shutdown()
        self._server.stop()
