"""Runs one client against the server while tcpdump watches the loopback."""

import contextlib
import subprocess
import tempfile
import time
from pathlib import Path

from dcom_server import Config, Server
from kdc import Kdc
from named_pipes import NamedPipes
from packets import read_loopback
from samba_server import SambaServer
from scenarios import PASSWORD, SERVER, USER, environment

CLIENT_SECONDS = 40
SETTLE_SECONDS = 0.3


class Failed(Exception):
    """A scenario did not go as it is written down."""


def run(scenario):
    """The packets of the run, the calls the server saw, and the keytab that opens them, if any."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.pcap"
        servers, done, keytab = _record(scenario, path)
        packets = read_loopback(path)
    calls = [call for server in servers for call in server.calls]
    commands = [call.command for call in calls if call.command]
    # dcomexec.py ends with status 0 whatever happened, and prints the error.
    ended_well = done.returncode == 0 and "rror" not in done.stdout
    problems = [error for server in servers for error in server.errors]
    if ended_well != scenario.succeeds:
        problems.append(f"client ended with {done.returncode}: {done.stdout}{done.stderr}")
    if commands != ([scenario.command] if scenario.command else []):
        problems.append(f"the server was asked to run {commands}")
    if problems:
        raise Failed(f"{scenario.slug}: " + "\n".join(problems))
    return packets, calls, keytab


def _record(scenario, path):
    keytab = b""
    with contextlib.ExitStack() as running:
        if scenario.enctype:
            keytab = running.enter_context(Kdc(scenario.enctype)).keytab(scenario.keys)
        servers = [running.enter_context(server) for server in _servers(scenario)]
        if scenario.pipe:
            port = scenario.server["pipe_port"]
            running.enter_context(NamedPipes(SERVER, USER, PASSWORD, scenario.pipe, port))
        tcpdump = _tcpdump(path)
        try:
            done = subprocess.run(
                scenario.argv,
                capture_output=True,
                text=True,
                timeout=CLIENT_SECONDS,
                stdin=subprocess.DEVNULL,
                env=environment(scenario),
                check=False,
            )
            time.sleep(SETTLE_SECONDS)
        finally:
            tcpdump.terminate()
            tcpdump.wait()
    return servers, done, keytab


def _servers(scenario):
    if scenario.smbd is not None:
        return [SambaServer(SERVER, scenario.smbd)]
    users = {USER.upper(): PASSWORD}
    machines = {SERVER: scenario.server, **scenario.others}
    return [Server(Config(address, users, **more)) for address, more in machines.items()]


def _tcpdump(path):
    argv = ["tcpdump", "-i", "lo", "-s", "0", "-U", "--immediate-mode", "-Z", "root", "-w", path]
    argv.append("tcp and not net 127.0.0.0/8")
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True)
    while "listening on" not in process.stderr.readline():
        if process.poll() is not None:
            raise Failed("tcpdump does not start")
    return process
