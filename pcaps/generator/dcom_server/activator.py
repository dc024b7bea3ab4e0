"""IRemoteSCMActivator (MS-DCOM 3.1.2.5.2.3): RemoteGetClassObject and RemoteCreateInstance."""

from impacket.dcerpc.v5 import dcomrt
from impacket.dcerpc.v5.dtypes import NULL

from dcom_server.pack import (
    E_ACCESSDENIED,
    FAULT_NDR,
    REGDB_E_CLASSNOTREG,
    Fault,
    guid,
    octets,
    pad_to,
)
from dcom_server.world import CLASSES

MARSHAL_CONTEXT_DIFFERENT_MACHINE = 2


def activate(server, call):
    """Both operations: they differ in the structures around the activation properties only."""
    if call.opnum == 4:
        request, response = dcomrt.RemoteCreateInstance, dcomrt.RemoteCreateInstanceResponse()
    else:
        request, response = dcomrt.RemoteGetClassObject, dcomrt.RemoteGetClassObjectResponse()
    clsid, iids = _instance_wanted(call.parse(request)["pActProperties"])
    call.clsid = guid(clsid)
    call.result = _verdict(server.config, call)
    response["ORPCthat"]["extensions"] = NULL
    if call.result:
        response["ppActProperties"] = NULL
    else:
        objects = [server.new_object(CLASSES[call.clsid], iid) for iid in iids]
        data = _properties_out(server, objects)
        response["ppActProperties"]["ulCntData"] = len(data)
        response["ppActProperties"]["abData"] = octets(data)
    response["ErrorCode"] = call.result
    return call.encode(response)


def _verdict(config, call):
    if call.clsid in config.activation_errors:
        return config.activation_errors[call.clsid]
    if call.clsid not in CLASSES:
        return REGDB_E_CLASSNOTREG
    return E_ACCESSDENIED if call.level < config.min_level else 0


def _instance_wanted(interface_pointer):
    """CLSID and IIDs out of the InstantiationInfo property."""
    marshalled = dcomrt.OBJREF_CUSTOM(b"".join(interface_pointer["abData"]))["pObjectData"]
    blob = dcomrt.ACTIVATION_BLOB(marshalled)
    header, at = blob["CustomHeader"], 0
    for clsid, size in zip(header["pclsid"], header["pSizes"], strict=True):
        data = blob["Property"][at : at + size["Data"]]
        at += size["Data"]
        if clsid["Data"] == dcomrt.CLSID_InstantiationInfo:
            info = dcomrt.InstantiationInfoData()
            used = info.fromString(data)
            info.fromStringReferents(data[used:])
            return info["classId"], [iid["Data"] for iid in info["pIID"]]
    raise Fault(FAULT_NDR)


def _element(structure, value):
    element = structure()
    element["Data"] = value
    return element


def _props_out(server, objects):
    props = dcomrt.PropsOutInfo()
    props["cIfs"] = len(objects)
    for obj in objects:
        ref = server.objref(obj)
        pointer = dcomrt.PMInterfacePointer()
        pointer["ulCntData"], pointer["abData"] = len(ref), octets(ref)
        props["piid"].append(_element(dcomrt.IID, obj.iid))
        props["phresults"].append(_element(dcomrt.HRESULT, 0))
        props["ppIntfData"].append(pointer)
    return props


def _scm_reply(server):
    scm = dcomrt.ScmReplyInfoData()
    scm["pdwReserved"] = 0
    reply = scm["remoteReply"]
    reply["Oxid"] = server.oxid
    server.fill_object_bindings(reply["pdsaOxidBindings"])
    reply["ipidRemUnknown"] = server.rem_unknown
    reply["authnHint"] = server.config.authn_hint
    return scm


def _properties_out(server, objects):
    blob = dcomrt.ACTIVATION_BLOB()
    header = blob["CustomHeader"]
    header["destCtx"] = MARSHAL_CONTEXT_DIFFERENT_MACHINE
    header["pdwReserved"] = NULL
    properties = b""
    for clsid, part in (
        (dcomrt.CLSID_PropsOutInfo, _props_out(server, objects)),
        (dcomrt.CLSID_ScmReplyInfo, _scm_reply(server)),
    ):
        data = pad_to(part.getData() + part.getDataReferents(), 8)
        header["pclsid"].append(_element(dcomrt.CLSID, clsid))
        header["pSizes"].append(_element(dcomrt.DWORD, len(data)))
        properties += data
    blob["Property"] = properties
    ref = dcomrt.OBJREF_CUSTOM()
    ref["iid"] = dcomrt.IID_IActivationPropertiesOut[:16]
    ref["clsid"] = dcomrt.CLSID_ActivationPropertiesOut
    ref["pObjectData"] = blob.getData()
    ref["cbExtension"] = 0
    ref["ObjectReferenceSize"] = len(ref["pObjectData"]) + 8
    return ref.getData()


HANDLERS = {3: ("RemoteGetClassObject", activate), 4: ("RemoteCreateInstance", activate)}
