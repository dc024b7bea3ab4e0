"""A run of the sensor on one of two interfaces that are connected, in a network namespace of its own: an attack, and a moment
later what its target logs of it."""

import datetime
import json
import os
import shutil
import subprocess
import time

SYSMON = {
    "EventID": 1, "SourceName": "Microsoft-Windows-Sysmon", "Channel": "Microsoft-Windows-Sysmon/Operational",
    "Hostname": "dcomsrv01.lab.example", "ProcessId": "4242", "Image": "C:\\Windows\\System32\\cmd.exe",
    "ParentProcessId": "4141", "ParentImage": "C:\\Windows\\System32\\mmc.exe",
    "ParentCommandLine": "C:\\Windows\\System32\\mmc.exe -Embedding", "User": "LAB\\alice",
}


def run(sensor, root, folder, formats):
    """The logs of it by name; none where the machine does not let us."""
    if os.geteuid() != 0 or not shutil.which("ip"):
        return None
    space, logs, host = f"dcom-readers-{os.getpid()}", folder / "live", folder / "host.ndjson"
    host.write_text("")
    steps = [f"netns add {space}", f"-n {space} link add near type veth peer name far",
             f"-n {space} link set near mtu 9000 up", f"-n {space} link set far mtu 9000 up"]
    try:
        for step in steps:
            if subprocess.run(["ip", *step.split()], capture_output=True, check=False).returncode:
                return None
        inside = ["ip", "netns", "exec", space]
        with subprocess.Popen([*inside, sensor, "live", "--json", "-i", "far", "-o", str(logs), "--logs", formats, "--host-logs",
                               str(host), "--host-window", "60"], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as child:
            try:
                line = child.stderr.readline()
                while line and "listening on far" not in line:
                    line = child.stderr.readline()
                assert line, "the sensor ended before it listened"
                subprocess.run([*inside, "python3", str(root / "benches/send.py"), "near", str(root / "pcaps/mmc20-connect.pcap"),
                                "--rate", "500"], capture_output=True, check=True)
                alert = until(logs, lambda event: event.get("alert", {}).get("signature_id") == 1021303)
                at = datetime.datetime.strptime(alert["timestamp"], "%Y-%m-%dT%H:%M:%S.%f%z")
                event = SYSMON | {"UtcTime": at.strftime("%Y-%m-%d %H:%M:%S.%f")[:-3],
                                  "CommandLine": "C:\\Windows\\System32\\" + alert["dcom"]["command_line"]}
                host.write_text(json.dumps(event) + "\n")
                until(logs, lambda event: event.get("dcom", {}).get("kind") == "host_confirmation"
                      and event["dcom"]["host"]["alert"]["signature_id"] == 1021303)
            finally:
                # What `ip` started is the sensor itself.
                child.terminate()
                child.communicate(timeout=30)
        return {path.name: path for path in sorted(logs.iterdir())}
    finally:
        subprocess.run(["ip", "netns", "del", space], capture_output=True, check=False)


def until(logs, wanted):
    """The first event that is wanted, within ten seconds."""
    for _ in range(200):
        time.sleep(0.05)
        path = logs / "eve.json"
        whole = [line for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")] if path.exists() else []
        found = next((event for event in map(json.loads, whole) if wanted(event)), None)
        if found:
            return found
    raise AssertionError("it was not told in time")
