"""Kerberos (authentication type 16) with MIT's GSS-API, and user-to-user in front of it."""

import os
import subprocess
from pathlib import Path

from impacket.krb5.ccache import CCache

import gss
from dcom_server.ntlm import AuthError
from kdc import ACCOUNTS, REALM, keytab_of

USER = "bob"


class KerberosAcceptor:
    """One Kerberos security context of the server."""

    def __init__(self):
        self.done = False
        self._context = None

    def step(self, token):
        """Take a client token; give the answer, empty when the exchange is over."""
        if gss.is_tgt_request(token):
            return gss.tgt_reply(self._own_ticket())
        try:
            self._context = self._context or gss.acceptor()
            answer = self._context.step(gss.as_mit_takes_it(token))
        except gss.GSSError as error:
            raise AuthError(str(error)) from error
        self.done = self._context.complete
        return answer or b""

    @staticmethod
    def _own_ticket():
        """The ticket of the user who runs the server; its session key goes to the keytab."""
        folder = Path(os.environ["LAB_FOLDER"])
        ccache = folder / "bob.ccache"
        if not ccache.exists():
            argv = ["kinit", "-c", f"FILE:{ccache}", f"{USER}@{REALM}"]
            subprocess.run(argv, input=ACCOUNTS[USER], text=True, check=True, capture_output=True)
        granting = CCache.loadFile(str(ccache)).getCredential(f"krbtgt/{REALM}@{REALM}")
        key = granting["key"]
        keytab = keytab_of(USER, key["keytype"], key["keyvalue"])
        (folder / "server.keytab").write_bytes(keytab)
        return granting.ticket["data"]

    def token_size(self, length):
        """How long the token of a sealed body of this length is."""
        return gss.token_size(self._context, length)

    def unseal(self, head, body, tail, token):
        """Open and verify the body of a request."""
        try:
            return gss.unseal(self._context, head, body, tail, token)
        except gss.GSSError as error:
            raise AuthError(str(error)) from error

    def seal(self, head, body, tail):
        """The sealed body of a response and its token."""
        return gss.seal(self._context, head, body, tail)
