"""A key distribution centre for one run: MIT's krb5kdc, with accounts and their passwords.

The keys are the same in every run, as they are made of passwords and names alone, so that one
keytab opens all captures. Only the keys of the KDC itself are random.
"""

import os
import struct
import subprocess
import tempfile
import time
from pathlib import Path

ADDRESS, REALM = "192.0.2.53", "LAB.EXAMPLE"
SERVICE = f"host/dcomsrv01.lab.example@{REALM}"
ACCOUNTS = {
    "alice": "Rig-Test-1!",
    "bob": "Second_Lab-Pass2",
    "host/dcomsrv01.lab.example": "Third.Host-Pass3",
}
SECONDS_TO_START = 10

KRB5_CONF = """\
[libdefaults]
 default_realm = {realm}
 dns_lookup_kdc = false
 dns_lookup_realm = false
 dns_canonicalize_hostname = false
 rdns = false
 permitted_enctypes = {enctype}
 allow_rc4 = true
 udp_preference_limit = 1
[realms]
 {realm} = {{
  kdc = {address}
 }}
"""
KDC_CONF = """\
[kdcdefaults]
 kdc_listen = ""
 kdc_tcp_listen = {address}:88
[realms]
 {realm} = {{
  database_name = {folder}/principal
  key_stash_file = {folder}/stash
  master_key_type = {enctype}
  supported_enctypes = {enctype}:normal
 }}
[logging]
 kdc = FILE:{folder}/kdc.log
"""


# The account behind a domain's ticket-granting service, as Windows and Samba name it.
KRBTGT = "krbtgt"


def keytab_of(name, enctype, key):
    """A keytab file of one key: "The Keytab Binary File Format", version 2."""

    def counted(data):
        return struct.pack(">H", len(data)) + data

    entry = struct.pack(">H", 1) + counted(REALM.encode()) + counted(name.encode())
    entry += struct.pack(">IIBH", 1, 0, 1, enctype) + counted(key)
    return b"\5\2" + struct.pack(">I", len(entry)) + entry


def only_key(keytab):
    """The encryption type and the key of a keytab of one, as MIT writes it."""
    # What stands behind the key is the longer version number.
    for length in (16, 32):
        enctype, counted = struct.unpack_from(">HH", keytab, len(keytab) - 4 - length - 4)
        if counted == length:
            return enctype, keytab[-4 - length : -4]
    raise ValueError("no keytab of one key")


class Kdc:
    """Runs while it is a context manager; sets the environment of MIT's libraries meanwhile."""

    def __init__(self, enctype):
        self.enctype = enctype
        self._folder = tempfile.TemporaryDirectory()
        self.folder = Path(self._folder.name)
        self._process = None

    @property
    def environment(self):
        """What tells programs of this KDC."""
        return {
            "KRB5_CONFIG": str(self.folder / "krb5.conf"),
            "KRB5_KDC_PROFILE": str(self.folder / "kdc.conf"),
            "KRB5_KTNAME": str(self.folder / "server.keytab"),
            "KRB5CCNAME": f"FILE:{self.folder}/client.ccache",
            "KRB5RCACHENAME": "none:",
            "LAB_FOLDER": str(self.folder),
        }

    def __enter__(self):
        known = {
            "realm": REALM,
            "address": ADDRESS,
            "enctype": self.enctype,
            "folder": self.folder,
        }
        (self.folder / "krb5.conf").write_text(KRB5_CONF.format(**known), encoding="ascii")
        (self.folder / "kdc.conf").write_text(KDC_CONF.format(**known), encoding="ascii")
        os.environ.update(self.environment)
        self._run("kdb5_util", "create", "-s", "-P", "master")
        for name, password in ACCOUNTS.items():
            self._run("kadmin.local", "addprinc", "-pw", password, f"{name}@{REALM}")
        self._write_keytab(self.folder / "server.keytab", [SERVICE])
        self._process = subprocess.Popen(["krb5kdc", "-n"], stderr=subprocess.DEVNULL)
        log, deadline = self.folder / "kdc.log", time.monotonic() + SECONDS_TO_START
        while not log.exists() or "commencing operation" not in log.read_text(encoding="utf-8"):
            if time.monotonic() > deadline:
                raise TimeoutError("krb5kdc does not start")
            time.sleep(0.05)
        return self

    def __exit__(self, *_):
        self._process.terminate()
        self._process.wait()
        for name in self.environment:
            del os.environ[name]
        self._folder.cleanup()

    def keytab(self, names):
        """A keytab of these accounts' keys, or of that of the KDC itself."""
        path = self.folder / "told.keytab"
        if names == (KRBTGT,):
            self._write_keytab(path, [f"{KRBTGT}/{REALM}"])
            return keytab_of(KRBTGT, *only_key(path.read_bytes()))
        self._write_keytab(path, names)
        return path.read_bytes()

    def _write_keytab(self, path, names):
        for name in names:
            self._run("kadmin.local", "ktadd", "-norandkey", "-k", str(path), name)

    @staticmethod
    def _run(*argv):
        subprocess.run(argv, check=True, capture_output=True, text=True)
