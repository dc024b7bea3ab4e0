"""NTLMSSP inside SPNEGO (authentication type 9), with mechListMIC in both directions."""

from dcom_server.ntlm import AuthError, NtlmAcceptor

NTLMSSP_OID = bytes.fromhex("2b06010401823702020a")
GSS_TOKEN, INIT, RESPONSE, OID, OCTETS, SEQUENCE, ENUMERATED = (
    0x60, 0xA0, 0xA1, 0x06, 0x04, 0x30, 0x0A,
)  # fmt: skip
COMPLETED, INCOMPLETE = 0, 1


def der(tag, *parts):
    """One DER element."""
    body = b"".join(parts)
    size = len(body)
    if size < 0x80:
        return bytes([tag, size]) + body
    octets = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(octets)]) + octets + body


def read_der(data, at=0):
    """Tag, body and offset behind the DER element at `at`."""
    tag, size, at = data[at], data[at + 1], at + 2
    if size & 0x80:
        width = size & 0x7F
        size, at = int.from_bytes(data[at : at + width], "big"), at + width
    if at + size > len(data):
        raise AuthError("DER length out of bounds")
    return tag, data[at : at + size], at + size


def children(body):
    """Tag to body of the elements inside a sequence."""
    at, found = 0, {}
    while at < len(body):
        tag, value, at = read_der(body, at)
        found[tag] = value
    return found


class SpnegoAcceptor(NtlmAcceptor):
    """One security context negotiated by SPNEGO."""

    def __init__(self, config):
        super().__init__(config)
        self.mech_types = b""

    def step(self, token):
        """Take a client token; give the NegTokenResp to answer with."""
        tag, body, _ = read_der(token)
        if tag == GSS_TOKEN:
            _, _, behind_oid = read_der(body)
            tag, body, _ = read_der(body, behind_oid)
        fields = children(read_der(body)[1])
        return self._first(fields) if tag == INIT else self._last(fields)

    def _first(self, fields):
        self.mech_types = fields[0xA0]
        _, first_mechanism, _ = read_der(read_der(self.mech_types)[1])
        if first_mechanism != NTLMSSP_OID or 0xA2 not in fields:
            raise AuthError("only NTLMSSP as first mechanism is offered")
        challenge = super().step(read_der(fields[0xA2])[1])
        return self._response(
            INCOMPLETE,
            der(0xA1, der(OID, NTLMSSP_OID)),
            der(0xA2, der(OCTETS, challenge)),
        )

    def _last(self, fields):
        super().step(read_der(fields[0xA2])[1])
        if 0xA3 not in fields:
            return self._response(COMPLETED)
        if self.client.mac(self.mech_types) != read_der(fields[0xA3])[1]:
            raise AuthError("bad mechListMIC")
        mic = der(0xA3, der(OCTETS, self.server.mac(self.mech_types)))
        # MS-SPNG 3.3.5.1: the RC4 streams go back to their start, the sequence numbers do not.
        self.client.restart_rc4()
        self.server.restart_rc4()
        return self._response(COMPLETED, mic)

    @staticmethod
    def _response(state, *parts):
        return der(RESPONSE, der(SEQUENCE, der(0xA0, der(ENUMERATED, bytes([state]))), *parts))
