"""Short sequences of impacket library calls, for what impacket's scripts do not do."""

import argparse
import contextlib

from impacket.dcerpc.v5 import dcomrt, epm, transport
from impacket.dcerpc.v5.dcom import oaut, wmi
from impacket.dcerpc.v5.dtypes import NULL
from impacket.uuid import string_to_bin, uuidtup_to_bin

from dcom_server.world import EXCEL, LAB_INVENTORY, MMC20, SHELL_WINDOWS, SVCCTL

LOCALE = 0x409
UNKNOWN_OXID = 0x1234


def connect(options):
    """A DCOM connection to the target."""
    return dcomrt.DCOMConnection(
        options.target, options.user, options.password, options.domain, oxidResolver=False
    )


def create(dcom, clsid):
    """An object of the class, as IDispatch."""
    return oaut.IDispatch(dcom.CoCreateInstanceEx(string_to_bin(clsid), oaut.IID_IDispatch))


def arguments(*texts):
    """DISPPARAMS of strings, in reverse order as they travel."""
    params = oaut.DISPPARAMS(None, False)
    params["rgdispidNamedArgs"] = NULL
    params["cArgs"], params["cNamedArgs"] = len(texts), 0
    if not texts:
        params["rgvarg"] = NULL
    for text in reversed(texts):
        variant = oaut.VARIANT(None, False)
        variant["clSize"], variant["vt"] = 5, oaut.VARENUM.VT_BSTR
        variant["_varUnion"]["tag"] = oaut.VARENUM.VT_BSTR
        variant["_varUnion"]["bstrVal"]["asData"] = text
        params["rgvarg"].append(variant)
    return params


def method(obj, name, *texts):
    """Call a method by name."""
    dispid = obj.GetIDsOfNames((name,))[0]
    return obj.Invoke(dispid, LOCALE, oaut.DISPATCH_METHOD, arguments(*texts), 0, [], [])


def get(parent, name):
    """The object that a property holds."""
    dispid = parent.GetIDsOfNames((name,))[0]
    answer = parent.Invoke(dispid, LOCALE, oaut.DISPATCH_PROPERTYGET, arguments(), 0, [], [])
    raw = b"".join(answer["pVarResult"]["_varUnion"]["pdispVal"]["abData"])
    instance, ipid = parent.get_cinstance(), parent.get_ipidRemUnknown()
    return oaut.IDispatch(dcomrt.INTERFACE(instance, raw, ipid, target=parent.get_target()))


def mmc20(dcom, options):
    """MMC20 with reference counting: RemAddRef, RemQueryInterface, RemRelease."""
    app = create(dcom, MMC20)
    app.RemAddRef()
    app.RemQueryInterface(1, (oaut.IID_IDispatch,))
    view = get(get(app, "Document"), "ActiveView")
    program, _, parameters = options.command.partition(" ")
    method(view, "ExecuteShellCommand", program, "C:\\windows\\system32", parameters, "7")
    method(app, "Quit")
    view.RemRelease()
    app.RemRelease()


def excel_dde(dcom, options):
    """Excel's DDEInitiate."""
    app = create(dcom, EXCEL)
    program, _, parameters = options.command.partition(" ")
    method(app, "DDEInitiate", program, parameters)
    method(app, "Quit")


def benign(dcom, _options):
    """A made-up harmless class."""
    app = create(dcom, LAB_INVENTORY)
    for name in ("Name", "Count"):
        dispid = app.GetIDsOfNames((name,))[0]
        app.Invoke(dispid, LOCALE, oaut.DISPATCH_PROPERTYGET, arguments(), 0, [], [])
    method(app, "Item", "first shelf")
    app.RemRelease()


def activate_mmc20(dcom, _options):
    """Activation of MMC20 and nothing after it."""
    create(dcom, MMC20)


def two_activations(dcom, _options):
    """Two activations over one connection to port 135."""
    for clsid in (MMC20, SHELL_WINDOWS):
        create(dcom, clsid).GetTypeInfoCount()


def class_object(dcom, _options):
    """RemoteGetClassObject instead of RemoteCreateInstance."""
    activator = dcomrt.IRemoteSCMActivator(dcom.get_dce_rpc())
    factory = activator.RemoteGetClassObject(string_to_bin(MMC20), dcomrt.IID_IClassFactory[:16])
    factory.RemRelease()


def oxid_resolve(dcom, _options):
    """Activation, then OXID resolution and pings for what came back, then an unknown OXID."""
    app = dcom.CoCreateInstanceEx(string_to_bin(MMC20), oaut.IID_IDispatch)
    exporter = dcomrt.IObjectExporter(dcom.get_dce_rpc())
    exporter.ResolveOxid(app.get_oxid(), (7,))
    exporter.ResolveOxid2(app.get_oxid(), (7,))
    set_id = exporter.ComplexPing(0, 1, [app.get_oid()], [])["pSetId"]
    exporter.SimplePing(set_id)
    with contextlib.suppress(dcomrt.DCERPCSessionError):
        exporter.ResolveOxid2(UNKNOWN_OXID, (7,))


def wmi_login(dcom, _options):
    """The login to WMI, and its release."""
    login = wmi.IWbemLevel1Login(
        dcom.CoCreateInstanceEx(wmi.CLSID_WbemLevel1Login, wmi.IID_IWbemLevel1Login)
    )
    services = login.NTLMLogin("//./root/cimv2", NULL, NULL)
    login.RemRelease()
    services.RemRelease()


def server_alive(options):
    """What OXID resolver scanners do: no authentication, each call on its own connection."""
    binding = f"ncacn_ip_tcp:{options.target}[135]"
    dce = transport.DCERPCTransportFactory(binding).get_dce_rpc()
    dce.set_auth_level(1)
    exporter = dcomrt.IObjectExporter(dce)
    exporter.ServerAlive()
    exporter.ServerAlive2()


def ept_map(options):
    """Asks the endpoint mapper where svcctl is, and binds to it there."""
    svcctl = uuidtup_to_bin((SVCCTL, "2.0"))
    where = epm.hept_map(options.target, svcctl, protocol="ncacn_ip_tcp")
    dce = transport.DCERPCTransportFactory(where).get_dce_rpc()
    dce.connect()
    dce.bind(svcctl)
    dce.disconnect()


WITHOUT_LOGIN = {session.__name__: session for session in (server_alive, ept_map)}
SESSIONS = {
    session.__name__: session
    for session in (
        mmc20,
        excel_dde,
        benign,
        activate_mmc20,
        two_activations,
        class_object,
        oxid_resolve,
        wmi_login,
    )
}


def run(name, argv):
    """Run one session of the tables above."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--target", required=True)
    parser.add_argument("--user", default="")
    parser.add_argument("--password", default="")
    parser.add_argument("--domain", default="")
    parser.add_argument("--command", default="")
    options = parser.parse_args(argv)
    if name in WITHOUT_LOGIN:
        WITHOUT_LOGIN[name](options)
        return
    dcom = connect(options)
    try:
        SESSIONS[name](dcom, options)
    finally:
        dcom.disconnect()
