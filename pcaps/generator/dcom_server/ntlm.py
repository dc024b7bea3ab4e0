"""Server side of NTLMSSP (MS-NLMP): NTLMv2, and NTLMv1 with extended session security.

One acceptor is one security context: the challenge, the check of the AUTHENTICATE message, then
signing and sealing per direction. Every client signature is verified, so a capture made against it
holds genuine NTLMSSP protection.
"""

import hashlib
import hmac
import os
import struct
import time

from Cryptodome.Cipher import ARC4
from impacket import ntlm

SUPPORTED = (
    ntlm.NTLMSSP_NEGOTIATE_56
    | ntlm.NTLMSSP_NEGOTIATE_KEY_EXCH
    | ntlm.NTLMSSP_NEGOTIATE_128
    | ntlm.NTLMSSP_NEGOTIATE_VERSION
    | ntlm.NTLMSSP_NEGOTIATE_EXTENDED_SESSIONSECURITY
    | ntlm.NTLMSSP_NEGOTIATE_ALWAYS_SIGN
    | ntlm.NTLMSSP_NEGOTIATE_NTLM
    | ntlm.NTLMSSP_NEGOTIATE_SEAL
    | ntlm.NTLMSSP_NEGOTIATE_SIGN
    | ntlm.NTLMSSP_REQUEST_TARGET
    | ntlm.NTLMSSP_NEGOTIATE_UNICODE
)
MIC_PRESENT = 2
FILETIME_OF_UNIX_EPOCH = 116444736000000000


class AuthError(Exception):
    """The client does not prove a known password, or its token is malformed."""


def hmac_md5(key, data):
    """HMAC-MD5, the only keyed hash NTLMv2 has."""
    return hmac.new(key, data, hashlib.md5).digest()


class Direction:
    """Keys, RC4 stream and sequence number of one direction."""

    def __init__(self, flags, key, mode):
        self.sign_key = ntlm.SIGNKEY(flags, key, mode)
        self.seal_key = ntlm.SEALKEY(flags, key, mode)
        self.key_exchange = bool(flags & ntlm.NTLMSSP_NEGOTIATE_KEY_EXCH)
        self.sequence = 0
        self.restart_rc4()

    def restart_rc4(self):
        """Put the RC4 stream back to its start; the sequence number stays."""
        self.rc4 = ARC4.new(self.seal_key).encrypt

    def mac(self, message):
        """The signature of the next message."""
        digest = hmac_md5(self.sign_key, struct.pack("<I", self.sequence) + message)[:8]
        if self.key_exchange:
            digest = self.rc4(digest)
        signature = struct.pack("<I", 1) + digest + struct.pack("<I", self.sequence)
        self.sequence += 1
        return signature


class NtlmAcceptor:
    """One NTLMSSP security context of the server."""

    def __init__(self, config):
        self.config = config
        self.done = False
        self.client = self.server = None
        self.server_challenge = os.urandom(8)
        self._negotiate = self._challenge = b""

    def step(self, token):
        """Take a client token; give the answer, empty when the exchange is over."""
        kind = struct.unpack_from("<I", token, 8)[0] if token[:8] == b"NTLMSSP\0" else None
        if kind == 1:
            return self._answer_negotiate(token)
        if kind == 3:
            self._check_authenticate(token)
            return b""
        raise AuthError("not the NTLMSSP message expected")

    def _target_info(self):
        config = self.config
        filetime = struct.pack("<Q", int(time.time() * 10**7) + FILETIME_OF_UNIX_EPOCH)
        pairs = [
            (ntlm.NTLMSSP_AV_DOMAINNAME, config.domain.encode("utf-16le")),
            (ntlm.NTLMSSP_AV_HOSTNAME, config.netbios_name.encode("utf-16le")),
            (ntlm.NTLMSSP_AV_DNS_DOMAINNAME, config.dns_domain.encode("utf-16le")),
            (ntlm.NTLMSSP_AV_DNS_HOSTNAME, config.dns_name.encode("utf-16le")),
            (ntlm.NTLMSSP_AV_DNS_TREENAME, config.dns_domain.encode("utf-16le")),
            (ntlm.NTLMSSP_AV_TIME, filetime),
            (ntlm.NTLMSSP_AV_EOL, b""),
        ]
        return b"".join(struct.pack("<HH", kind, len(raw)) + raw for kind, raw in pairs)

    def _answer_negotiate(self, token):
        self._negotiate = token
        flags = (
            struct.unpack_from("<I", token, 12)[0] & SUPPORTED
            | ntlm.NTLMSSP_NEGOTIATE_TARGET_INFO
            | ntlm.NTLMSSP_TARGET_TYPE_DOMAIN
            | ntlm.NTLMSSP_NEGOTIATE_UNICODE
        )
        target, info = self.config.domain.encode("utf-16le"), self._target_info()
        version = b"\0" * 8
        if flags & ntlm.NTLMSSP_NEGOTIATE_VERSION:
            version = struct.pack("<BBH3xB", 10, 0, 17763, 15)
        at = 56
        self._challenge = (
            b"NTLMSSP\0"
            + struct.pack("<IHHII", 2, len(target), len(target), at, flags)
            + self.server_challenge
            + b"\0" * 8
            + struct.pack("<HHI", len(info), len(info), at + len(target))
            + version
            + target
            + info
        )
        return self._challenge

    def _check_authenticate(self, token):
        def field(at):
            size, _, offset = struct.unpack_from("<HHI", token, at)
            if offset + size > len(token):
                raise AuthError("field out of bounds")
            return token[offset : offset + size]

        nt_response, session_key = field(20), field(52)
        domain, user = field(28).decode("utf-16le"), field(36).decode("utf-16le")
        flags = struct.unpack_from("<I", token, 60)[0]
        if not flags & ntlm.NTLMSSP_NEGOTIATE_EXTENDED_SESSIONSECURITY:
            raise AuthError("client gave up extended session security")
        password = self.config.users.get(user.upper())
        if password is None:
            raise AuthError(f"unknown user {user!r}")
        if len(nt_response) == 24:
            exported = self._check_v1(password, field(12), nt_response)
        else:
            exported = self._check_v2(user, password, domain, nt_response)
        if exported is None:
            raise AuthError(f"wrong password for {domain}\\{user}")
        if flags & ntlm.NTLMSSP_NEGOTIATE_KEY_EXCH:
            exported = ARC4.new(exported).decrypt(session_key)
        if len(nt_response) > 24:
            self._check_mic(token, nt_response[16:], exported)
        self.client = Direction(flags, exported, "Client")
        self.server = Direction(flags, exported, "Server")
        self.done = True

    def _check_v1(self, password, lm_response, nt_response):
        """The key exchange key, or None: MS-NLMP 3.3.1 with extended session security, 3.4.5.1."""
        challenges = self.server_challenge + lm_response[:8]
        key = ntlm.NTOWFv1(password)
        wanted = ntlm.ntlmssp_DES_encrypt(key, hashlib.md5(challenges).digest()[:8])
        if not hmac.compare_digest(wanted, nt_response):
            return None
        return hmac_md5(ntlm.generateSessionKeyV1(password, b"", key), challenges)

    def _check_v2(self, user, password, domain, nt_response):
        """The key exchange key, or None: MS-NLMP 3.3.2."""
        proof, blob = nt_response[:16], nt_response[16:]
        key = ntlm.NTOWFv2(user, password, domain)
        if not hmac.compare_digest(hmac_md5(key, self.server_challenge + blob), proof):
            return None
        return hmac_md5(key, proof)

    def _check_mic(self, token, blob, exported):
        av_flags = ntlm.AV_PAIRS(blob[28:])[ntlm.NTLMSSP_AV_FLAGS]
        if not av_flags or not struct.unpack("<I", av_flags[1])[0] & MIC_PRESENT:
            return
        cleared = token[:72] + b"\0" * 16 + token[88:]
        if hmac_md5(exported, self._negotiate + self._challenge + cleared) != token[72:88]:
            raise AuthError("bad MIC")

    def token_size(self, _length):
        """How long a signature is."""
        return 16

    # In the four below, `head` and `tail` are the parts that are signed but never sealed.

    def unseal(self, head, body, tail, signature):
        """Open and verify the body of a request."""
        plain = self.client.rc4(body)
        self.verify(head, plain, tail, signature)
        return plain

    def verify(self, head, body, tail, signature):
        """Check the signature of a request."""
        if self.client.mac(head + body + tail) != signature:
            raise AuthError("bad request signature")

    def seal(self, head, body, tail):
        """The sealed body of a response and its signature."""
        sealed = self.server.rc4(body)
        return sealed, self.server.mac(head + body + tail)

    def sign(self, head, body, tail):
        """The signature of a response."""
        return self.server.mac(head + body + tail)
