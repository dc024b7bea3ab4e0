"""The folder in which commands of the documentation run: sample captures, and inputs under the names that pages use for them.
A page that uses another name adds it here, or writes the file itself (`<!-- file: NAME -->` before a block)."""

import gzip
import json
import os
import shutil
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PCAPS = REPOSITORY / "pcaps"

# Captures by the names of the pages.
CAPTURES = {
    "capture.pcap": "mmc20-connect.pcap",
    "capture.pcapng": "shellwindows-two-interfaces.pcapng",
    "captures/monday.pcap": "mmc20-signed.pcap",
    "captures/tuesday.pcap": "wmi-process.pcap",
    "captures/wednesday.pcap": "mmc20-access-denied.pcap",
}
# Host logs. Their form is told by content, so JSON under EVTX's name does.
HOST_LOGS = {
    "Sysmon.evtx": "tests/hunt/atomic-mmc20.ndjson",
    "Security.evtx": "tests/hunt/atomic-shellwindows.ndjson",
    "evidence/Sysmon.evtx": "tests/hunt/atomic-mmc20.ndjson",
    "evidence/dcomcnfg.xml": "tests/hunt/atomic-dcomcnfg.xml",
}
# What Sysmon on the server of mmc20-connect.pcap would have written of its command.
PROCESS_START = {
    "EventID": 1,
    "SourceName": "Microsoft-Windows-Sysmon",
    "Channel": "Microsoft-Windows-Sysmon/Operational",
    "Hostname": "DCOMSRV01.lab.example",
    "UtcTime": "2026-11-22 09:45:55.100",
    "ProcessId": "4242",
    "Image": r"C:\Windows\System32\cmd.exe",
    "CommandLine": r"C:\Windows\System32\cmd.exe /Q /c whoami",
    "ParentProcessId": "4141",
    "ParentImage": r"C:\Windows\System32\mmc.exe",
    "ParentCommandLine": r"C:\Windows\System32\mmc.exe -Embedding",
    "User": r"LAB\alice",
}
KEYS = """\
[[ntlm]]
domain = "LAB"
user = "alice"
password = 'Rig-Test-1!'
"""
ADDRESSES = """\
DCOMSRV01 = "192.0.2.10"
"""
SETTINGS = """\
[[allow]]
comment = "a sample"
source = "192.0.2.99"
class = "MMC20.Application"
"""
# A dump, of an account that no capture has.
NTDS = "svc-backup:1105:aad3b435b51404eeaad3b435b51404ee:0123456789abcdef0123456789abcdef:::\n"


def write(folder, name, text):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def prepare(folder):
    """Fills an empty folder."""
    shutil.copytree(PCAPS, folder / "pcaps", ignore=shutil.ignore_patterns("generator"))
    for name in ("docs", "packaging", "sensor"):
        os.symlink(REPOSITORY / name, folder / name)
    for files, place in ((CAPTURES, PCAPS), (HOST_LOGS, REPOSITORY)):
        for name, source in files.items():
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(place / source, target)
    write(folder, "host-logs/sysmon.ndjson", json.dumps(PROCESS_START) + "\n")
    with gzip.open(folder / "export.ndjson.gz", "wb") as out:
        out.write((REPOSITORY / "tests/hunt/atomic-mmc20.ndjson").read_bytes())
    write(folder, "addresses.toml", ADDRESSES)
    write(folder, "tuning.toml", SETTINGS)
    write(folder, "keys.toml", KEYS).chmod(0o600)
    write(folder, "hook.url", "https://hooks.example/dcom\n").chmod(0o600)
    write(folder, "ntds.txt", NTDS).chmod(0o600)
    shutil.copy(PCAPS / "mmc20-user-to-user.keytab", folder / "host.keytab")
    (folder / "host.keytab").chmod(0o600)
