"""IWbemLevel1Login and IWbemServices (MS-WMI 3.1.4.1, 3.1.4.3): a login and what follows.

What it says of classes and results are stubs kept beside the parsers' tests.
"""

from pathlib import Path

from impacket.dcerpc.v5.dcom import wmi
from impacket.dcerpc.v5.dtypes import NULL

from dcom_server.pack import ORPCTHAT, octets, u32

STUBS = Path(__file__).resolve().parents[3] / "parsers/corpus/wmi"


def ntlm_login(server, call):
    """NTLMLogin: hands out an IWbemServices that can only be released."""
    server.target_of(call)
    call.parse(wmi.IWbemLevel1Login_NTLMLogin)
    ref = server.objref(server.new_object("WbemServices", wmi.IID_IWbemServices))
    response = wmi.IWbemLevel1Login_NTLMLoginResponse()
    response["ORPCthat"]["extensions"] = NULL
    response["ppNamespace"]["ulCntData"] = len(ref)
    response["ppNamespace"]["abData"] = octets(ref)
    response["ErrorCode"] = call.result = 0
    return call.encode(response)


def _kept(name):
    """A handler that answers with a stub kept beside the parsers' tests."""

    def answer(server, call):
        server.target_of(call)
        call.result = 0
        return (STUBS / name).read_bytes()

    return answer


def put_instance(server, call):
    """PutInstance: stored, without a call result."""
    server.target_of(call)
    call.result = 0
    return ORPCTHAT + u32(0) + u32(0)


HANDLERS = {6: ("NTLMLogin", ntlm_login)}
SERVICES_HANDLERS = {
    6: ("GetObject", _kept("get-object-win32-process-reply.bin")),
    14: ("PutInstance", put_instance),
    24: ("ExecMethod", _kept("exec-method-create-reply.bin")),
}
