"""Kerberos by MIT's GSS-API, in the form that DCE asks for, and what user-to-user puts around it.

Both ends use this: the client under impacket's DCOM layer, and the emulated server. The tickets,
the handshake, sealing and its check are all MIT's; only the first two tokens of user-to-user are
written here, which MIT's library has no part for. Debian's python3-gssapi serves any Python of the
same minor version.
"""

import sys

from dcom_server.spnego import der

sys.path.append("/usr/lib/python3/dist-packages")

import gssapi  # noqa: E402
import gssapi.exceptions  # noqa: E402
from gssapi import raw  # noqa: E402
from gssapi.raw import IOV, IOVBufferType  # noqa: E402
from gssapi.raw import RequirementFlag as Flag  # noqa: E402

GSSError = gssapi.exceptions.GSSError

KERBEROS = gssapi.OID.from_int_seq("1.2.840.113554.1.2.2")
USER_TO_USER = bytes.fromhex("2a864886f71201020203")
DCE = (
    Flag.mutual_authentication
    | Flag.integrity
    | Flag.confidentiality
    | Flag.dce_style
    | Flag.replay_detection
    | Flag.out_of_sequence_detection
)
# AP-OPTIONS: mutual-required, and use-session-key with it.
MUTUAL = bytes.fromhex("03050020000000")
BOTH = bytes.fromhex("03050060000000")


def initiator(principal):
    """The client's end of a security context with this service or user."""
    name = gssapi.Name(principal, gssapi.NameType.kerberos_principal)
    credentials = gssapi.Credentials(usage="initiate", mechs=[KERBEROS])
    return gssapi.SecurityContext(
        name=name, creds=credentials, mech=KERBEROS, flags=DCE, usage="initiate"
    )


def acceptor():
    """The server's end, for any key of its keytab."""
    credentials = gssapi.Credentials(usage="accept", mechs=[KERBEROS])
    return gssapi.SecurityContext(creds=credentials, usage="accept")


def token_size(context, length):
    """How long the token of a sealed body of this length is."""
    iov = IOV(IOVBufferType.header, (IOVBufferType.data, bytes(length)), std_layout=False)
    raw.wrap_iov_length(context, iov, confidential=True)
    return len(iov[0].value)


def seal(context, head, body, tail):
    """The sealed body and its token; `head` and `tail` are signed with it."""
    parts = ((IOVBufferType.sign_only, head), (IOVBufferType.data, body))
    iov = IOV(IOVBufferType.header, *parts, (IOVBufferType.sign_only, tail), std_layout=False)
    raw.wrap_iov(context, iov, confidential=True)
    return bytes(iov[2].value), bytes(iov[0].value)


def unseal(context, head, body, tail, token):
    """The body, if the token is right; gssapi raises an error if not."""
    parts = (
        (IOVBufferType.header, token),
        (IOVBufferType.sign_only, head),
        (IOVBufferType.data, body),
        (IOVBufferType.sign_only, tail),
    )
    iov = IOV(*((kind, False, value) for kind, value in parts), std_layout=False)
    raw.unwrap_iov(context, iov)
    return bytes(iov[2].value)


def _framed(token_id, body):
    return der(0x60, der(6, USER_TO_USER), token_id, body)


def tgt_request(user, realm):
    """KERB-TGT-REQUEST (draft-swift-win2k-krb-user2user): asks for the ticket of this user."""
    names = der(0x30, der(0x1B, user.encode()))
    principal = der(0x30, der(0xA0, der(2, b"\1")), der(0xA1, names))
    fields = (
        der(0xA0, der(2, b"\5")),
        der(0xA1, der(2, b"\x10")),
        der(0xA2, principal),
        der(0xA3, der(0x1B, realm.encode())),
    )
    return _framed(b"\4\0", der(0x30, *fields))


def tgt_reply(ticket):
    """KERB-TGT-REPLY: the ticket-granting ticket of the server's user."""
    fields = (der(0xA0, der(2, b"\5")), der(0xA1, der(2, b"\x11")), der(0xA2, ticket))
    return _framed(b"\4\1", der(0x30, *fields))


def is_tgt_request(token):
    """Is it the first token of user-to-user?"""
    return token[:1] == b"\x60" and USER_TO_USER in token[:20]


def said_to_be_user_to_user(token):
    """The AP-REQ with `use-session-key` in its options, which are in clear and not signed."""
    return token.replace(MUTUAL, BOTH, 1)


def as_mit_takes_it(token):
    """The same without: MIT's acceptor finds the session key of its ticket in its keytab."""
    return token.replace(BOTH, MUTUAL, 1)
