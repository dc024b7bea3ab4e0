"""The captures made live: which client does what, against which behaviour of the server."""

import os
import re
import shlex
import sys
import sysconfig
from dataclasses import dataclass, field
from pathlib import Path

from dcom_server.world import MMC20

HERE = Path(__file__).resolve().parent
SCRIPTS = Path(sys.executable).parent
SYSTEM_PYTHON = "/usr/bin/python3"
SERVER = "192.0.2.10"
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


def session(name, *knobs, command="", login=True):
    """One of sessions.py."""
    who = ["--user", USER, "--password", PASSWORD, "--domain", DOMAIN] if login else []
    what = ["--command", command] if command else []
    argv = [sys.executable, str(HERE / "client.py"), *knobs, "session", name]
    return [*argv, "--target", SERVER, *who, *what]


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


LIVE = [*READABLE, *SEALED, *FAILING, *HARMLESS, *PIPES]


def environment(scenario):
    """The environment of the client process."""
    return os.environ | {"PYTHONDONTWRITEBYTECODE": "1"} | scenario.env
