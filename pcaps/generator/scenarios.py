"""The captures made live: which client does what, against which behaviour of the server."""

import base64
import os
import re
import shlex
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

from dcom_server.world import MMC20
from kdc import KRBTGT, SERVICE

HERE = Path(__file__).resolve().parent
SCRIPTS = Path(sys.executable).parent
SYSTEM_PYTHON = "/usr/bin/python3"
SERVER, CLIENT = "192.0.2.10", "192.0.2.20"
# As `generate` gives them to the loopback.
MACHINES = [SERVER, *(f"192.0.2.{number}" for number in range(101, 112))]
CLIENT_OXID = 0x0C11E27
PIPE_PORT = 49671
DOMAIN, USER, PASSWORD = "LAB", "alice", "Rig-Test-1!"
CONNECT, SIGNED = 2, 5
IMPACKET = "impacket 0.13.1"
SAMBA = "Samba 4.17 transport under impacket's DCOM layer"


@dataclass
class Scenario:
    """One live capture."""

    slug: str
    shows: str
    argv: list[str]
    server: dict = field(default_factory=dict)
    """Fields of dcom_server.Config."""
    command: str = ""
    """The command line the client must ask for."""
    succeeds: bool = True
    """Whether the client ends without an error."""
    clsid: str = ""
    """The class of an activation that the server refuses before it can read it."""
    client: str = IMPACKET
    env: dict[str, str] = field(default_factory=dict)
    others: dict[str, dict] = field(default_factory=dict)
    """Addresses of more emulated servers, each with fields of dcom_server.Config."""
    pipe: str = ""
    """A named pipe that impacket's file server offers beside the emulated server."""
    enctype: str = ""
    """The one encryption type of a key distribution centre, where there is one."""
    keys: tuple[str, ...] = ()
    """Accounts of it whose keys go to a keytab beside the capture."""
    smbd: dict[str, str] | None = None
    """Settings of Samba's file server, where that is the server."""

    @property
    def how(self):
        """The command as it is told in the README."""
        words = [Path(word).name if re.match("/[^/]", word) else word for word in self.argv]
        shown = [word for word in words if not word.startswith("python")]
        return shlex.join(shown)


def level(activation, objects=None):
    """Knobs for the authentication levels of both connections."""
    return ["--level", str(activation), "--object-level", str(objects or activation)]


def dcomexec(obj, *knobs, password=PASSWORD):
    """impacket's dcomexec.py, with knobs."""
    target = f"{DOMAIN}/{USER}:{password}@{SERVER}"
    tail = ["dcomexec.py", "-nooutput", "-object", obj, target, "whoami"]
    return [sys.executable, str(HERE / "client.py"), *knobs, "script", *tail]


def wmiexec(*knobs):
    """impacket's wmiexec.py, with knobs, its output not fetched."""
    target = f"{DOMAIN}/{USER}:{PASSWORD}@{SERVER}"
    tail = ["wmiexec.py", "-nooutput", target, "whoami"]
    return [sys.executable, str(HERE / "client.py"), *knobs, "script", *tail]


def machine(address):
    """Names of one more emulated server."""
    number = address.rsplit(".", 1)[1]
    return {
        "netbios_name": f"DCOMSRV{number}",
        "dns_name": f"dcomsrv{number}.lab.example",
        "authn_hint": SIGNED,
    }


def session(name, *knobs, command="", login=True, target=SERVER):
    """One of sessions.py."""
    who = ["--user", USER, "--password", PASSWORD, "--domain", DOMAIN] if login else []
    what = ["--command", command] if command else []
    argv = [sys.executable, str(HERE / "client.py"), *knobs, "session", name]
    return [*argv, "--target", target, *who, *what]


SHELL = "cmd.exe /Q /c whoami"
PLAIN = "cmd.exe /c whoami"


# Activations whose arguments can be read.
READABLE = [
    Scenario(
        "mmc20-connect",
        "MMC20 activation and ExecuteShellCommand at level connect: all in clear, no verifiers",
        dcomexec("MMC20", *level(CONNECT)),
        {"authn_hint": CONNECT},
        SHELL,
    ),
    Scenario(
        "mmc20-signed",
        "The same at pkt_integrity: signed, still readable",
        dcomexec("MMC20", *level(SIGNED)),
        {"authn_hint": SIGNED},
        SHELL,
    ),
    Scenario(
        "mmc20-class-object",
        "Activation by RemoteGetClassObject",
        session("class_object", *level(CONNECT)),
        {"authn_hint": CONNECT},
    ),
    Scenario(
        "mmc20-ndr64",
        "RemoteCreateInstance in NDR64; no object call after it",
        session("activate_mmc20", "--ndr64", *level(CONNECT)),
    ),
    Scenario(
        "mmc20-tiny-fragments",
        "Every request in signed fragments of 100 stub bytes, the activation too",
        dcomexec("MMC20", "--fragment", "100", *level(SIGNED)),
        {"authn_hint": SIGNED},
        SHELL,
    ),
    Scenario(
        "mmc20-windows-contexts",
        "Four contexts a bind, as Windows offers them; RemQueryInterface, RemAddRef, RemRelease",
        session("mmc20", "--windows-contexts", *level(CONNECT), command=PLAIN),
        {"authn_hint": CONNECT},
        PLAIN,
    ),
    Scenario(
        "mmc20-spnego-signed",
        "Samba's SPNEGO (authentication type 9), alter_context to each DCOM interface, signed",
        [SYSTEM_PYTHON, *session("mmc20", "--samba", *level(SIGNED), command=PLAIN)[1:]],
        {"authn_hint": SIGNED},
        PLAIN,
        client=SAMBA,
        env={"PYTHONPATH": sysconfig.get_path("purelib")},
    ),
    Scenario(
        "shellwindows-connect",
        "ShellWindows activation and ShellExecute at level connect",
        dcomexec("ShellWindows", *level(CONNECT)),
        {"authn_hint": CONNECT},
        SHELL,
    ),
    Scenario(
        "excel-dde-signed",
        "Excel activation and DDEInitiate, signed",
        session("excel_dde", *level(SIGNED), command=PLAIN),
        {"authn_hint": SIGNED},
        PLAIN,
    ),
    Scenario(
        "two-activations",
        "MMC20, then ShellWindows over one activation connection",
        session("two_activations", *level(CONNECT)),
        {"authn_hint": CONNECT},
    ),
]

# Activations that cannot be read without the key.
SEALED = [
    Scenario(
        "mmc20-sealed",
        "MMC20 at pkt_privacy on both connections: dcomexec as it is shipped",
        dcomexec("MMC20"),
        {"authn_hint": 6},
        SHELL,
    ),
    Scenario(
        "mmc20-sealed-activation",
        "Sealed activation, signed object calls: dcomexec as it is shipped, server hint 2",
        dcomexec("MMC20"),
        {"authn_hint": CONNECT},
        SHELL,
    ),
    Scenario(
        "mmc20-ntlm1-sealed",
        "The same by an NTLMv1 response, with extended session security",
        dcomexec("MMC20", "--ntlm-v1"),
        {"authn_hint": 6},
        SHELL,
    ),
    Scenario(
        "mmc20-40-bit-sealed",
        "The same, sealed by keys of 40 bits",
        dcomexec("MMC20", "--key-bits", "40"),
        {"authn_hint": 6},
        SHELL,
    ),
    Scenario(
        "mmc20-56-bit-sealed",
        "The same, NTLMv1 and keys of 56 bits",
        dcomexec("MMC20", "--ntlm-v1", "--key-bits", "56"),
        {"authn_hint": 6},
        SHELL,
    ),
]

# The same under Kerberos, with the exchanges before it.
MIT = "MIT Kerberos 1.20 under impacket's DCOM layer"
KERBEROS = [
    Scenario(
        "mmc20-kerberos-aes128-sha2",
        "Kerberos, aes128-cts-hmac-sha256-128: kinit, the service's ticket, MMC20 at pkt_privacy",
        session("mmc20", "--kerberos", "service", command=PLAIN),
        {"authn_hint": 6},
        PLAIN,
        client=MIT,
        enctype="aes128-cts-hmac-sha256-128",
        keys=(SERVICE,),
    ),
    Scenario(
        "mmc20-kerberos-aes256-sha2",
        "The same with aes256-cts-hmac-sha384-192",
        session("mmc20", "--kerberos", "service", command=PLAIN),
        {"authn_hint": 6},
        PLAIN,
        client=MIT,
        enctype="aes256-cts-hmac-sha384-192",
        keys=("alice",),
    ),
    Scenario(
        "mmc20-kerberos-rc4",
        "The same with rc4-hmac",
        session("mmc20", "--kerberos", "service", command=PLAIN),
        {"authn_hint": 6},
        PLAIN,
        client=MIT,
        enctype="arcfour-hmac",
        keys=(KRBTGT,),
    ),
    Scenario(
        "mmc20-user-to-user",
        "Kerberos user-to-user, aes256-cts-hmac-sha1-96: a server run by bob shows its own ticket",
        session("mmc20", "--kerberos", "user-to-user", command=PLAIN),
        {"authn_hint": 6},
        PLAIN,
        client=MIT,
        enctype="aes256-cts-hmac-sha1-96",
        keys=("bob",),
    ),
]

# Activations that fail.
FAILING = [
    Scenario(
        "mmc20-access-denied",
        "Activation answered with 0x80070005, signed",
        dcomexec("MMC20", *level(SIGNED)),
        {"activation_errors": {MMC20: 0x80070005}},
        succeeds=False,
    ),
    Scenario(
        "mmc20-class-not-registered",
        "Activation answered with 0x80040154",
        dcomexec("MMC20", *level(CONNECT)),
        {"activation_errors": {MMC20: 0x80040154}},
        succeeds=False,
    ),
    Scenario(
        "mmc20-wrong-password",
        "NTLM login refused: the signed activation ends in fault 0x00000005",
        dcomexec("MMC20", *level(SIGNED), password="not-the-password"),
        succeeds=False,
        clsid=MMC20,
    ),
    Scenario(
        "mmc20-unauthenticated",
        "Activation without any authentication, answered with 0x80070005",
        session("activate_mmc20", *level(1)),
        {"min_level": CONNECT},
        succeeds=False,
    ),
]

# What must not raise an alert, with the OXID resolution that follows an activation.
HARMLESS = [
    Scenario(
        "wmi-login-signed",
        "WMI login: activation of WbemLevel1Login, NTLMLogin, RemRelease",
        session("wmi_login", *level(SIGNED)),
        {"authn_hint": SIGNED},
    ),
    Scenario(
        "benign-class-signed",
        "Activation of a class nobody abuses, with GetIDsOfNames and Invoke",
        session("benign", *level(SIGNED)),
        {"authn_hint": SIGNED},
    ),
    Scenario(
        "oxid-resolve-ping",
        "MMC20 activation, then ResolveOxid, ResolveOxid2, pings, and an OXID nobody has",
        session("oxid_resolve", *level(SIGNED)),
        {"authn_hint": SIGNED},
    ),
    Scenario(
        "oxid-server-alive",
        "ServerAlive and ServerAlive2 without authentication",
        session("server_alive", login=False),
    ),
    Scenario(
        "ept-lookup",
        "The whole endpoint map asked for by ept_lookup",
        [sys.executable, str(SCRIPTS / "rpcdump.py"), SERVER],
    ),
    Scenario(
        "ept-map",
        "ept_map of svcctl, and a bind to the port it names",
        session("ept_map", login=False),
    ),
    Scenario(
        "ept-lookup-samba",
        "ept_map for a named pipe nobody has, then ept_lookup one tower at a time",
        [
            "rpcclient",
            "--use-kerberos=off",
            "-U",
            "%",
            f"ncacn_ip_tcp:{SERVER}[135]",
            "-c",
            "epmmap;epmlookup",
        ],
        client="Samba 4.17 rpcclient",
    ),
]


def rpcclient(binding, commands, *options):
    """Samba's rpcclient, without a login."""
    plain = ["--use-kerberos=off", "-U", "%"]
    return ["rpcclient", *plain, *options, binding, "-c", commands]


NT1 = ["--option=client ipc min protocol=NT1", "--option=client ipc max protocol=NT1"]
SAMBA_PIPES = "Samba 4.17 rpcclient, smbd"

# DCE/RPC in named pipes.
PIPES = [
    Scenario(
        "smb2-pipes",
        "Named pipes over SMB3, not encrypted: samr, then lsarpc, on one connection",
        rpcclient(f"ncacn_np:{SERVER}[samr]", "enumdomains;lsaquery;lookupnames nobody"),
        client=SAMBA_PIPES,
        smbd={},
    ),
    Scenario(
        "smb1-pipe",
        "A named pipe over SMB1: srvsvc",
        rpcclient(f"ncacn_np:{SERVER}[srvsvc]", "srvinfo;netshareenum 1", *NT1),
        client=SAMBA_PIPES,
        smbd={"server min protocol": "NT1"},
    ),
    Scenario(
        "smb2-write-read",
        "A named pipe over SMB2 by writes and reads: samr",
        [sys.executable, str(SCRIPTS / "samrdump.py"), "-no-pass", SERVER],
        client=f"{IMPACKET}, smbd",
        smbd={},
    ),
]


OBJECTS = {"authn_hint": SIGNED}
ENCODED = (
    "powershell.exe -NoProfile -EncodedCommand "
    + base64.b64encode("Get-Process | Out-Null".encode("utf-16le")).decode()
)
XLL = "C:\\Users\\Public\\report.xll"
MACRO = 'EXEC("cmd.exe /c whoami")'

# What runs something through an object, beside MMC20, ShellWindows and DDE.
EXECUTIONS = [
    Scenario(
        "mmc20-powershell",
        "PowerShell with an encoded command, signed",
        session("mmc20", *level(SIGNED), command=ENCODED),
        OBJECTS,
        ENCODED,
    ),
    Scenario(
        "mmc20-execution-failed",
        "ExecuteShellCommand answered with E_ACCESSDENIED, signed",
        session("mmc20", *level(SIGNED), command=PLAIN),
        OBJECTS | {"invoke_error": 0x80070005},
        PLAIN,
        succeeds=False,
    ),
    Scenario(
        "shellbrowserwindow-signed",
        "ShellBrowserWindow activation and ShellExecute, signed",
        dcomexec("ShellBrowserWindow", *level(SIGNED)),
        OBJECTS,
        SHELL,
    ),
    Scenario(
        "mmc20-snap-in",
        "A snap-in added to an MMC20 console by numbers alone, signed; on this object the number of "
        "ExecuteShellCommand is another member's",
        session("mmc20_snap_in", *level(SIGNED)),
        OBJECTS,
    ),
    Scenario(
        "mmc20-named-arguments",
        "ExecuteShellCommand with arguments by name, in an order of their own, one left out; signed",
        session("mmc20_named", *level(SIGNED), command=PLAIN),
        OBJECTS,
        PLAIN,
    ),
    Scenario(
        "excel-known-number",
        "RegisterXLL of an Excel whose number was asked for of another Excel, signed",
        session("excel_again", *level(SIGNED), command=XLL),
        OBJECTS,
        XLL,
    ),
    Scenario(
        "excel-by-number",
        "Excel activation and RegisterXLL by its number, which nobody asked for, signed",
        session("excel_by_number", *level(SIGNED), command=XLL),
        OBJECTS,
        XLL,
    ),
    Scenario(
        "excel-registerxll",
        "Excel activation and RegisterXLL, signed",
        session("excel_xll", *level(SIGNED), command=XLL),
        OBJECTS,
        XLL,
    ),
    Scenario(
        "excel-macro4",
        "Excel activation and ExecuteExcel4Macro, signed",
        session("excel_macro4", *level(SIGNED), command=MACRO),
        OBJECTS,
        MACRO,
    ),
    Scenario(
        "excel-activatemicrosoftapp",
        "Excel activation and ActivateMicrosoftApp(5), signed",
        session("excel_foxpro", *level(SIGNED)),
        OBJECTS,
    ),
    Scenario(
        "outlook-createobject-run",
        'Outlook activation, CreateObject("WScript.Shell"), Run; signed',
        session("outlook_run", *level(SIGNED), command=PLAIN),
        OBJECTS,
        PLAIN,
    ),
    Scenario(
        "wmi-process",
        "Win32_Process.Create through WMI, signed",
        wmiexec(*level(SIGNED)),
        OBJECTS,
    ),
    Scenario(
        "wmi-subscription",
        "An event filter and a CommandLineEventConsumer stored through WMI, signed; the stubs of "
        "PutInstance are those of `parsers/corpus/wmi`",
        session("wmi_subscription", *level(SIGNED)),
        OBJECTS,
    ),
    Scenario(
        "wmi-service",
        "Win32_Service.Create through WMI, signed; the stub is that of `parsers/corpus/wmi` for a process, with other names",
        session("wmi_service", *level(SIGNED)),
        OBJECTS,
    ),
]

# Activations that ask for something odd, go with something, or are many; and look-alikes.
ODD = [
    Scenario(
        "coercion-workingdirectory",
        "The working directory of a file system image set to a share of another machine, signed",
        session("file_system_image", *level(SIGNED), command="\\\\192.0.2.66\\share"),
        OBJECTS,
    ),
    Scenario(
        "coercion-slashes",
        "The same with slashes in place of backslashes",
        session("file_system_image", *level(SIGNED), command="//192.0.2.66/share"),
        OBJECTS,
    ),
    Scenario(
        "workingdirectory-local",
        "The same property set to a folder of the target's own",
        session("file_system_image", *level(SIGNED), command="C:\\Windows\\Temp"),
        OBJECTS,
    ),
    Scenario(
        "trigger-no-call",
        "A class that loads a planted file, activated and released, then 32 seconds without a call",
        session("trigger", *level(SIGNED)),
        OBJECTS,
    ),
    Scenario(
        "trigger-called",
        "The same class, and a property of it read",
        session("trigger_and_call", *level(SIGNED)),
        OBJECTS,
    ),
    Scenario(
        "cross-session",
        "Activation in session 2 of the target, signed",
        session("activate_wordpad", "--session-id", "2", *level(SIGNED)),
        OBJECTS,
    ),
    Scenario(
        "storage-activation",
        "Activation from a storage that the client exports, signed",
        session("activate_wordpad", "--storage", *level(SIGNED)),
        OBJECTS,
    ),
    Scenario(
        "file-activation",
        "Activation from a file on another machine, signed",
        session("activate_wordpad", "--file", "\\\\192.0.2.66\\share\\letter.rtf", *level(SIGNED)),
        OBJECTS,
    ),
    Scenario(
        "trapped-object",
        "Type information of an object asked for, and another object made out of it, signed",
        session("trapped", *level(SIGNED)),
        OBJECTS,
    ),
    Scenario(
        "trapped-object-2",
        "The same by ITypeInfo2, which the type information is asked for, signed",
        session("trapped_2", *level(SIGNED)),
        OBJECTS,
    ),
    Scenario(
        "type-information",
        "Type information of an object asked for, signed",
        session("type_information", *level(SIGNED)),
        OBJECTS,
    ),
    Scenario(
        "reverse-connection",
        "htafile activated, then ServerAlive2 and ResolveOxid2 from the target's address to "
        "the activator; the client plays both",
        session("reverse", *level(SIGNED)),
        OBJECTS,
        others={CLIENT: {"oxid": CLIENT_OXID}},
    ),
    Scenario(
        "benign-callback",
        "The same with a class nobody abuses, as objects do that tell of events",
        session("callback", *level(SIGNED)),
        OBJECTS,
        others={CLIENT: {"oxid": CLIENT_OXID}},
    ),
    Scenario(
        "mmc20-remote-registry",
        "MMC20 activation, then the registry opened over its pipe",
        session("registry", *level(SIGNED)),
        OBJECTS | {"pipe_port": PIPE_PORT},
        pipe="winreg",
        client=f"{IMPACKET}, impacket's file server",
    ),
    Scenario(
        "wmi-remote-registry",
        "WMI activation, then the registry opened over its pipe, as inventories do",
        session("inventory", *level(SIGNED)),
        OBJECTS | {"pipe_port": PIPE_PORT},
        pipe="winreg",
        client=f"{IMPACKET}, impacket's file server",
    ),
    Scenario(
        "mmc20-many-targets",
        "MMC20 on six machines, one after the other, signed",
        session("spread", *level(SIGNED), target=",".join(MACHINES[:6])),
        OBJECTS,
        others={address: machine(address) for address in MACHINES[1:6]},
    ),
    Scenario(
        "many-classes",
        "Six classes asked for on one machine, none of them registered; signed",
        session("class_scan", *level(SIGNED)),
        OBJECTS,
    ),
    Scenario(
        "resolver-sweep",
        "ServerAlive2 of twelve machines",
        session("resolver_sweep", login=False, target=",".join(MACHINES)),
        others={address: machine(address) for address in MACHINES[1:]},
    ),
    Scenario(
        "sealed-wrong-password",
        "NTLM login refused: the sealed activation ends in fault 0x00000005",
        dcomexec("MMC20", password="not-the-password"),
        succeeds=False,
        clsid=MMC20,
    ),
]


LIVE = [*READABLE, *SEALED, *KERBEROS, *FAILING, *HARMLESS, *PIPES, *EXECUTIONS, *ODD]


def environment(scenario):
    """The environment of the client process."""
    return os.environ | {"PYTHONDONTWRITEBYTECODE": "1"} | scenario.env
