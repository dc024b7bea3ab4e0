"""IWbemLevel1Login (MS-WMI 3.1.4.1): the login that every remote WMI session begins with."""

from impacket.dcerpc.v5.dcom import wmi
from impacket.dcerpc.v5.dtypes import NULL

from dcom_server.pack import octets


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


HANDLERS = {6: ("NTLMLogin", ntlm_login)}
