"""Runs impacket's own client code with knobs its command lines do not have.

    client.py [knobs] script NAME [ARGS...]     an unmodified impacket example (dcomexec.py)
    client.py [knobs] session NAME [OPTIONS]    a short sequence of impacket library calls

Nothing of the protocol is written here: the knobs only change defaults inside impacket.
"""

import argparse
import runpy
import struct
import sys
from pathlib import Path

from impacket import ntlm
from impacket.dcerpc.v5 import dcomrt, rpcrt, transport
from impacket.dcerpc.v5.dtypes import NULL
from impacket.uuid import uuidtup_to_bin

NDR64 = ("71710533-beba-4937-8319-b5dbef9ccc36", "1.0")
CLIENT = "192.0.2.20"
ISTORAGE = "0000000b-0000-0000-c000-000000000046"
BIND_TIME_FEATURES = ("6cb71c2c-9812-4540-0300-000000000000", "1.0")


def set_levels(activation, objects):
    """Authentication levels of the connections to port 135 and to the object."""
    original = dcomrt.DCOMConnection.__init__

    def patched(self, *args, **kwargs):
        kwargs.setdefault("authLevel", activation)
        original(self, *args, **kwargs)

    if activation:
        dcomrt.DCOMConnection.__init__ = patched
    if objects:
        dcomrt.CLASS_INSTANCE.get_auth_level = lambda self: objects


def set_fragment(size):
    """The largest stub fragment of a request."""

    def patched(self):
        self._max_user_frag = size

    rpcrt.DCERPC.set_default_max_fragment_size = patched


def offer_contexts_as_windows_does():
    """Four contexts a bind: an unrelated interface, NDR64, bind-time features, the one in use."""
    bind, get_data = rpcrt.DCERPC_v5.bind, rpcrt.MSRPCBind.getData

    def with_spare_contexts(self, interface, alter=0, bogus_binds=3, **kwargs):
        return bind(self, interface, alter, bogus_binds, **kwargs)

    def with_spares_named(self):
        items = self.getCtxItems()
        if len(items) == 4:
            real = items[-1]["AbstractSyntax"]
            items[0]["AbstractSyntax"] = dcomrt.IID_IRemUnknown2
            for item, syntax in zip(items[1:3], (NDR64, BIND_TIME_FEATURES), strict=True):
                item["AbstractSyntax"] = real
                item["TransferSyntax"] = uuidtup_to_bin(syntax)
        return get_data(self)

    rpcrt.DCERPC_v5.bind = with_spare_contexts
    rpcrt.MSRPCBind.getData = with_spares_named


def use_ndr64():
    """NDR64 for activation; impacket cannot do all of IDispatch in it."""
    bind = rpcrt.DCERPC_v5.bind

    def patched(self, interface, *args, **kwargs):
        if interface == dcomrt.IID_IRemoteSCMActivator:
            kwargs["transfer_syntax"] = NDR64
        return bind(self, interface, *args, **kwargs)

    rpcrt.DCERPC_v5.bind = patched


def ask_for_session(number):
    """Another session on the target, by SpecialPropertiesData (MS-DCOM 2.2.22.2.2)."""

    def properties():
        special = dcomrt.SpecialPropertiesData()
        special["dwSessionId"], special["fRemoteThisSessionId"] = number, 1
        special["Reserved"] = bytes(32)
        return special

    add_property(dcomrt.CLSID_SpecialSystemProperties, properties)


def ask_for_file(name):
    """A file to load the object from, by InstanceInfoData (MS-DCOM 2.2.22.2.3)."""

    def properties():
        instance = instance_info("ifdROT", "ifdStg")
        instance["fileName"] = name + "\0"
        return instance

    add_property(dcomrt.CLSID_InstanceInfo, properties)


def offer_storage():
    """A storage of the client's to load the object from, by the same structure."""

    def properties():
        instance, ref = instance_info("fileName", "ifdROT"), storage()
        instance["ifdStg"]["ulCntData"] = len(ref)
        instance["ifdStg"]["abData"] = [bytes([octet]) for octet in ref]
        return instance

    add_property(dcomrt.CLSID_InstanceInfo, properties)


def instance_info(*absent):
    """To be opened for reading and writing (STGM_READWRITE), without these fields."""
    instance = dcomrt.InstanceInfoData()
    for name in absent:
        instance[name] = NULL
    instance["mode"] = 2
    return instance


def storage():
    """An OBJREF of an IStorage that the client would export."""
    ref = dcomrt.OBJREF_STANDARD()
    ref["iid"] = uuidtup_to_bin((ISTORAGE, "0.0"))[:16]
    std = ref["std"]
    std["flags"], std["cPublicRefs"] = 0, 5
    std["oxid"], std["oid"], std["ipid"] = 0x0123456789ABCDEF, 1, bytes(range(16))
    strings = struct.pack("<H", 7) + f"{CLIENT}[49999]\0".encode("utf-16le") + bytes(2)
    security = struct.pack("<HHHH", 10, 0xFFFF, 0, 0)
    words = len(strings + security) // 2, len(strings) // 2
    ref["saResAddr"] = struct.pack("<HH", *words) + strings + security
    return ref.getData()


def add_property(clsid, properties):
    """One more activation property, behind impacket's own."""
    original = dcomrt.ACTIVATION_BLOB.getData

    def patched(self, *args):
        part, header = properties(), self["CustomHeader"]
        data = part.getData() + part.getDataReferents()
        data += bytes(-len(data) % 8)
        for name, structure, value in (
            ("pclsid", dcomrt.CLSID, clsid),
            ("pSizes", dcomrt.DWORD, len(data)),
        ):
            element = structure()
            element["Data"] = value
            header[name].append(element)
        self["Property"] += data
        return original(self, *args)

    dcomrt.ACTIVATION_BLOB.getData = patched


def answer_by_ntlm_v1():
    """NTLMv1; the server agrees to extended session security, which impacket always offers."""
    transport.DCERPCTransport.doesSupportNTLMv2 = lambda self: False


def offer_keys_of(bits):
    """Keys to seal by that are no longer than this."""
    original = ntlm.getNTLMSSPType1

    def patched(*args, **kwargs):
        negotiate = original(*args, **kwargs)
        negotiate["flags"] &= ~ntlm.NTLMSSP_NEGOTIATE_128
        if bits < 56:
            negotiate["flags"] &= ~ntlm.NTLMSSP_NEGOTIATE_56
        return negotiate

    ntlm.getNTLMSSPType1 = patched


def change_login(options):
    """The part of the knobs that is about who logs in how."""
    if options.ntlm_v1:
        answer_by_ntlm_v1()
    if options.key_bits:
        offer_keys_of(options.key_bits)
    if options.kerberos:
        import gss_transport

        gss_transport.install(options.kerberos)


def apply_knobs(options):
    """Change impacket as the command line asks."""
    set_levels(options.level, options.object_level)
    change_login(options)
    if options.fragment:
        set_fragment(options.fragment)
    if options.samba:
        import samba_transport

        samba_transport.install()
    if options.windows_contexts:
        offer_contexts_as_windows_does()
    if options.ndr64:
        use_ndr64()
    if options.session_id is not None:
        ask_for_session(options.session_id)
    if options.file:
        ask_for_file(options.file)
    if options.storage:
        offer_storage()


def main():
    """Parse the command line and run the client."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--level", type=int)
    parser.add_argument("--object-level", type=int)
    parser.add_argument("--fragment", type=int)
    parser.add_argument("--samba", action="store_true", help="Samba's transport below impacket")
    parser.add_argument("--kerberos", choices=("service", "user-to-user"))
    parser.add_argument("--windows-contexts", action="store_true")
    parser.add_argument("--ndr64", action="store_true")
    parser.add_argument("--session-id", type=int, help="activate in this session")
    parser.add_argument("--file", help="have the object loaded from this file")
    parser.add_argument("--storage", action="store_true", help="have it loaded from a storage")
    parser.add_argument("--ntlm-v1", action="store_true")
    parser.add_argument("--key-bits", type=int, choices=(40, 56), help="the most to seal by")
    parser.add_argument("mode", choices=("script", "session"))
    parser.add_argument("name")
    parser.add_argument("rest", nargs=argparse.REMAINDER)
    options = parser.parse_args()
    apply_knobs(options)
    if options.mode == "script":
        script = str(Path(sys.executable).parent / options.name)
        sys.argv = [script, *options.rest]
        runpy.run_path(script, run_name="__main__")
    else:
        import sessions

        sessions.run(options.name, options.rest)


if __name__ == "__main__":
    main()
