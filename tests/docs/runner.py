"""Runs commands of a page: in a folder of its own, with the program on PATH, and in namespaces of their own, so that they see
no network but a lone cable, and write no logs of this machine."""

import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

LIMIT = 120
COLUMNS, ROWS = 80, 50
# Programs that a page may use and a machine may lack. What is not listed here has to be there.
OPTIONAL = ("jq", "tshark", "editcap", "zstd", "redis-cli", "redis-server", "rsyslogd", "logger", "curl", "make", "systemd-analyze")
# An interface for each name that pages use, with its other end; host logs where pages expect them.
NETWORK = """
set -e
ip link set lo up
for name in eth1 eth2; do
    ip link add "$name" type veth peer name "far-$name"
    for end in "$name" "far-$name"; do
        echo 1 >"/proc/sys/net/ipv6/conf/$end/disable_ipv6" || true
        ip link set "$end" mtu 9000 up
    done
done
mount -t tmpfs docs /var/log
mkdir -p /var/log/win
cp host-logs/* /var/log/win/
"""
UNSHARE = ["unshare", "--net", "--mount", "--propagation", "private"]


class Space:
    """The folder and the namespaces of one page."""

    def __init__(self, program, folder, work):
        self.folder, self.work = folder, work
        self.holder = None
        commands = folder / "bin"
        commands.mkdir()
        script(
            commands / "dcom-sensor",
            f"""
            case "${{1:-}}" in
            live | doctor)
                exec '{sys.executable}' -B '{Path(__file__).with_name("live.py")}' '{program}' \\
                    '{work}/pcaps/mmc20-connect.pcap' "$@"
                ;;
            esac
            exec '{program}' "$@"
            """,
        )
        if os.geteuid() == 0:
            # The same rights, and this PATH.
            script(commands / "sudo", 'exec "$@"')
        self.environment = {
            "PATH": f"{commands}:{os.environ['PATH']}",
            "HOME": str(work),
            "LANG": "C.UTF-8",
            "TERM": "xterm",
            "NO_COLOR": "1",
            "TZ": "UTC",
        }

    def __enter__(self):
        """A process that keeps the namespaces for as long as the page is read."""
        if os.geteuid() == 0 and shutil.which("unshare") and shutil.which("nsenter") and shutil.which("ip"):
            self.holder = subprocess.Popen(
                [*UNSHARE, "sh", "-c", f"{NETWORK}\necho ready; exec cat"],
                cwd=self.work, env=self.environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            )
            if self.holder.stdout.readline() != "ready\n":
                self.__exit__()
        return self

    def __exit__(self, *_):
        if self.holder:
            self.holder.stdin.close()
            self.holder.wait()
            self.holder = None

    def missing(self, text):
        """What is not there for a command."""
        for name in OPTIONAL:
            if re.search(rf"(?<![\w./-]){name} ", text) and not shutil.which(name):
                return f"there is no {name}"
        if self.holder is None and re.search(r"\bdcom-sensor (live|doctor -i)\b|/var/log|/etc/", text):
            return "it needs root and a network namespace of its own"
        return None

    def run(self, text, columns=COLUMNS):
        """Exit status, and what was printed: to a terminal, then to standard error; without colours."""
        status, printed = self.run_in_colour(text, columns)
        return status, re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed)

    def run_in_colour(self, text, columns=COLUMNS):
        command = ["bash", "-euo", "pipefail", "-c", text]
        if self.holder:
            command = ["nsenter", "--net", "--mount", f"--target={self.holder.pid}", f"--wd={self.work}", *command]
        ours, theirs = pty.openpty()
        os.set_blocking(ours, True)
        subprocess.run(["stty", "cols", str(columns), "rows", str(ROWS), "-onlcr"], stdin=theirs, check=True)
        errors = (self.folder / "stderr").open("w+b")
        child = subprocess.Popen(
            ["timeout", "--kill-after=5", str(LIMIT), *command],
            cwd=self.work, env=self.environment, stdin=subprocess.DEVNULL, stdout=theirs, stderr=errors,
        )
        os.close(theirs)
        printed = b""
        while True:
            try:
                piece = os.read(ours, 65536)
            except OSError:
                break  # The last who could write has gone.
            if not piece:
                break
            printed += piece
        os.close(ours)
        status = child.wait()
        errors.seek(0)
        with errors:
            printed += errors.read()
        return status, printed.decode(errors="replace")


def script(path, text):
    lines = [line.strip() for line in text.strip().split("\n")]
    path.write_text("#!/bin/sh\n" + "\n".join(lines) + "\n")
    path.chmod(0o755)
