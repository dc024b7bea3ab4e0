"""Samba's file server with its pipes, in a folder of its own: what clients of named pipes talk to."""

import os
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

SMBD = "/usr/sbin/smbd"
START_SECONDS = 10
FOLDERS = ("private", "lock", "state", "cache", "pid", "ncalrpc", "share")


class SambaServer:
    """smbd on one address, for anyone without a login."""

    def __init__(self, address, options):
        self._address = address
        self._options = options
        self._folder = tempfile.TemporaryDirectory()
        self.calls, self.errors = [], []

    def __enter__(self):
        folder = Path(self._folder.name)
        folder.chmod(0o755)
        for name in FOLDERS:
            (folder / name).mkdir(mode=0o755)
        (folder / "share" / "notes.txt").write_text("nothing to see here\n" * 1000)
        settings = {
            "netbios name": "SMBSRV01",
            "workgroup": "LAB",
            "interfaces": self._address,
            "bind interfaces only": "yes",
            "map to guest": "bad user",
            "log file": folder / "log",
            "private dir": folder / "private",
            "lock directory": folder / "lock",
            "state directory": folder / "state",
            "cache directory": folder / "cache",
            "pid directory": folder / "pid",
            "ncalrpc dir": folder / "ncalrpc",
            "load printers": "no",
            "disable spoolss": "yes",
            **self._options,
        }
        lines = ["[global]", *(f"{name} = {value}" for name, value in settings.items())]
        lines += ["[share]", f"path = {folder / 'share'}", "guest ok = yes"]
        config = folder / "smb.conf"
        config.write_text("\n".join(lines) + "\n")
        argv = [SMBD, "--foreground", "--no-process-group", f"--configfile={config}"]
        self._process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, start_new_session=True)
        self._wait()
        return self

    def _wait(self):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            try:
                socket.create_connection((self._address, 445), 1).close()
                return
            except OSError:
                time.sleep(0.1)
        raise TimeoutError("smbd does not listen")

    def __exit__(self, *_):
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        # What serves the pipes is a daemon of its own; it ends its workers.
        daemon = Path(self._folder.name) / "pid" / "samba-dcerpcd.pid"
        if daemon.exists():
            os.kill(int(daemon.read_text()), signal.SIGTERM)
        self._folder.cleanup()
