"""Events to run the queries on, and their form in each product.

An event is a flat Windows event as Sysmon, Security, System or PowerShell wrote it. Beside it stand `expect` (names and
severities that it must raise, the most telling first), `then` (confidence of COM_InboundThenChild) and `tuned` (an entry of
the allow-lists, once enabled, keeps it back).
"""

import datetime
import gzip
import itertools
import json
import re
from xml.sax.saxutils import escape

from report import HERE

SYSTEM32 = "C:\\Windows\\System32\\"


def load(name):
    """One file of events/."""
    return [json.loads(line) for line in (HERE / "events" / f"{name}.ndjson").read_text().splitlines()]


def together(sets):
    """Events of several sets as one, numbered, so that each query runs once: no process is in two of them."""
    events = []
    for label, members in sets.items():
        for event in members:
            event = dict(event) | {"index": len(events), "set": label}
            for key in ("ProcessGuid", "ParentProcessGuid"):
                if event.get(key):
                    event[key] = f"{label} {event[key]}"
            events.append(event)
    return events


def names():
    return sorted(path.stem for path in (HERE / "events").glob("*.ndjson"))


def process(index, parent, child, expect, parent_command=None, command=None):
    """A process start as Sysmon tells it, for events that are made by combination."""
    at = datetime.datetime(2026, 11, 22, 8) + datetime.timedelta(seconds=index)
    pid = 100_000 + index
    return {
        "expect": expect, "UtcTime": at.strftime("%Y-%m-%d %H:%M:%S.000"), "Computer": "WS1.lab.example",
        "Provider_Name": "Microsoft-Windows-Sysmon", "EventID": 1, "ProcessGuid": f"{{{pid}}}", "ProcessId": pid,
        "Image": SYSTEM32 + child, "CommandLine": command or child, "User": "LAB\\alice", "ParentProcessGuid": f"{{{index}}}",
        "ParentProcessId": index, "ParentImage": SYSTEM32 + parent, "ParentCommandLine": parent_command or parent,
    }


def combinations():
    """Every parent with every child that the detections list, so that no language lacks one."""
    shells = ["cmd", "powershell", "pwsh", "wscript", "cscript", "mshta", "rundll32", "regsvr32", "certutil"]
    tools = ["bitsadmin", "msbuild", "installutil", "regasm", "regsvcs", "wmic", "schtasks", "sc", "net", "net1", "reg",
             "forfiles", "pcalua"]
    documents = ["mmc", "excel", "winword", "outlook", "powerpnt", "visio"]
    background = ["SpeechRuntime", "SpeechRuntimeBroker", "BdeUISrv", "BaaUpdate", "dllhost", "prevhost", "unsecapp", "mobsync"]
    programs = ["iexplore", "HelpPane", "msaccess", "mspub", "winproj", "onenote"]
    embedded_only = ["mshta", "devenv", "wordpad", "wmplayer", "setup_wm", "ShapeCollector"]
    started = ["mmc", "iexplore", "mshta", "HelpPane", "BdeUISrv", "SpeechRuntime", "SpeechRuntimeBroker", "devenv", "wordpad",
               "ShapeCollector", "setup_wm", "wmplayer"]
    office = ["excel", "winword", "outlook", "powerpnt", "visio", "msaccess", "mspub", "winproj", "onenote"]
    launcher = "svchost.exe -k DcomLaunch -p"
    classes = re.findall(r"^ +- '([^']+)'$", (HERE / "../../docs/siem/sigma/rules/dcom_script_block.yml").read_text(), re.M)[2:]
    rows = []
    for parent, child in itertools.product(documents, shells):
        mmc20 = parent == "mmc" and child in ("cmd", "powershell")
        rows.append((parent, child, ["MMC20_DCOM:high" if mmc20 else "COM_SuspiciousChild:high"], None, None))
    for parent, child in itertools.product(background, shells):
        rows.append((parent, child, ["COM_ServerChild:high"], None, None))
    for parent, child in itertools.product(programs, shells):
        rows.append((parent, child, ["COM_ServerChild:medium"], None, None))
    for parent, child in itertools.product(programs + embedded_only, shells):
        rows.append((parent, child, ["COM_ServerChild:high"], f"{parent}.exe -Embedding", None))
    for parent, child in itertools.product(embedded_only, shells):
        rows.append((parent, child, [], None, None))
    for child in shells + tools:
        rows.append(("svchost", child, ["DcomLaunch_Child:medium"], launcher, None))
        rows.append(("svchost", child, [], "svchost.exe -k netsvcs -p", None))
    for child in shells:
        raised = [] if child == "rundll32" else ["COM_ServerChild:medium"]
        rows.append(("explorer", child, raised, None, f"{child}.exe -x"))
        rows.append(("explorer", child, [], None, f"{child}.exe"))
    for child in started:
        rows.append(("svchost", child, ["COM_EmbeddingStart:low"], launcher, f"{child}.exe -Embedding"))
    for child in office:
        rows.append(("svchost", child, ["COM_EmbeddingStart:informational"], launcher, f"{child}.exe /automation -Embedding"))
    for name, call in itertools.product(classes, ["GetTypeFromCLSID", "gettypefromprogid"]):
        rows.append(("cmd", "powershell", ["DCOM_Script:high"], None, f"powershell [Type]::{call}('{name.swapcase()}')"))
    return [
        process(index, f"{parent}.exe", f"{child}.exe", expect, parent_command, command)
        for index, (parent, child, expect, parent_command, command) in enumerate(rows)
    ]


# What other people's recordings must raise: counts by name, of process starts, System and PowerShell events.
CORPUS = {
    "host-only/LM_impacket_docmexec_mmc_sysmon_01.evtx":
        # An EQL sequence ends with the first of the three children.
        {"MMC20_DCOM:high": 3, "COM_EmbeddingStart:low": 1, "COM_InboundThenChild": 3, "COM_InboundThenChild in EQL": 1},
    "host-only/LM_dcom_shwnd_shbrwnd_mmc20_failed_traces_system_10016.evtx": {"DCOM_Denied:medium": 2},
    "host-only/LM_PowershellRemoting_sysmon_1_wsmprovhost.evtx": {},
    # This log has no parent names: only a query that goes by process ids could tell.
    "host-only/LM_WMI_4624_4688_TargetHost.evtx": {},
    # Sysmon and Security both tell of a start.
    "shellwindows-empire/host.ndjson.gz": {"COM_ServerChild:medium": 2, "COM_InboundThenChild": 1},
    "excel-registerxll-covenant/host.ndjson.gz": {"COM_EmbeddingStart:informational": 2},
    "excel-blocked-by-firewall/host.ndjson.gz": {"DCOM_Unreachable:medium": 1},
}


def corpus(path):
    """The events of a recording, for the sources that the detections read."""
    if path.suffix == ".evtx":
        import evtx  # noqa: PLC0415, only here: its wheel is not there for every machine
        events = [from_evtx(json.loads(record["data"])["Event"]) for record in evtx.PyEvtxParser(str(path)).records_json()]
    else:
        with gzip.open(path, "rt") as lines:
            events = [from_nxlog(json.loads(line)) for line in lines]
    return [event for event in events if kind(event)]


def from_evtx(record):
    system = record["System"]
    number_of = system["EventID"]
    event = {key: str(value) for key, value in (record.get("EventData") or {}).items()}
    event |= {
        "EventID": number_of["#text"] if isinstance(number_of, dict) else number_of,
        "Provider_Name": system["Provider"]["#attributes"]["Name"], "Computer": system["Computer"],
    }
    if "UtcTime" not in event:
        event["UtcTime"] = system["TimeCreated"]["#attributes"]["SystemTime"].replace("T", " ")[:23]
    if isinstance(event.get("Initiated"), str):
        event["Initiated"] = event["Initiated"].lower()
    return event


def from_nxlog(record):
    event = {key: value for key, value in record.items() if isinstance(value, str)}
    event |= {"EventID": record.get("EventID"), "Provider_Name": record.get("SourceName"), "Computer": record.get("Hostname")}
    event.setdefault("UtcTime", record.get("@timestamp", "").replace("T", " ")[:23])
    return event


def kind(event):
    """What sort of event it is, or none that is read."""
    return {
        ("Microsoft-Windows-Sysmon", 1): "process", ("Microsoft-Windows-Sysmon", 3): "connection",
        ("Microsoft-Windows-Security-Auditing", 4688): "process",
        ("Microsoft-Windows-PowerShell", 4104): "script", ("Microsoft-Windows-DistributedCOM", event["EventID"]): "system",
    }.get((event["Provider_Name"], event["EventID"]))


def time_of(event):
    return datetime.datetime.strptime(event["UtcTime"], "%Y-%m-%d %H:%M:%S.%f")


def file_name(path):
    return path.rsplit("\\", 1)[-1] if path else None


def process_id(text):
    return int(str(text), 0) if text else None


def common(event):
    """The fields of a process start by one name each, out of Sysmon or Security."""
    sysmon = event["EventID"] == 1
    image = event.get("Image" if sysmon else "NewProcessName")
    parent = event.get("ParentImage" if sysmon else "ParentProcessName")
    return {
        "image": image, "name": file_name(image), "command_line": event.get("CommandLine") or "",
        "parent_image": parent, "parent_name": file_name(parent), "parent_command_line": event.get("ParentCommandLine") or "",
        "pid": process_id(event.get("ProcessId" if sysmon else "NewProcessId")),
        "parent_pid": process_id(event.get("ParentProcessId" if sysmon else "ProcessId")),
        "guid": event.get("ProcessGuid"), "parent_guid": event.get("ParentProcessGuid"),
        "user": event.get("User" if sysmon else "SubjectUserName") or "",
    }


def sigma(event):
    """As Sigma's taxonomy names the fields, with the log source's category or service."""
    fields = dict(event)
    if kind(event) == "process":
        told = common(event)
        fields |= {"Image": told["image"], "ParentImage": told["parent_image"], "User": told["user"]}
    source = {"process": "process_creation", "connection": "network_connection", "script": "ps_script", "system": "system"}
    return source[kind(event)], {key: value for key, value in fields.items() if value is not None}


def elastic(event):
    """As Winlogbeat writes it: the Elastic Common Schema."""
    document = {
        "timestamp": int((time_of(event) - datetime.datetime(2000, 1, 1)) / datetime.timedelta(microseconds=1)) * 10,
        "kind": "generic", "index": event["index"], "host": {"name": event["Computer"]},
        "event": {"code": str(event["EventID"]), "provider": event["Provider_Name"]},
        "dcom_join": {"host": event["Computer"].split(".")[0].lower()},
    }
    if kind(event) == "process":
        told = common(event)
        document["kind"] = "process"
        document["event"] |= {"type": "start", "category": "process"}
        document["user"] = {"name": told["user"].rsplit("\\", 1)[-1]}
        document["process"] = {
            "name": told["name"], "executable": told["image"], "command_line": told["command_line"], "pid": told["pid"],
            "entity_id": told["guid"],
            "parent": {"name": told["parent_name"], "executable": told["parent_image"], "pid": told["parent_pid"],
                       "command_line": told["parent_command_line"], "entity_id": told["parent_guid"]},
        }
    elif kind(event) == "connection":
        document["kind"] = "network"
        document["network"] = {"direction": "ingress" if event["Initiated"] == "false" else "egress"}
        document["process"] = {"name": file_name(event["Image"]), "entity_id": event.get("ProcessGuid")}
    elif kind(event) == "script":
        document["powershell"] = {"file": {"script_block_text": event.get("ScriptBlockText")}}
    else:
        document["winlog"] = {"event_data": {key: value for key, value in event.items() if key.startswith("param")}}
    return document


def device_rows(events):
    """As Defender and the Azure Monitor agent write them: rows by table."""
    rows = {"DeviceProcessEvents": [], "DeviceNetworkEvents": [], "Event": []}
    for event in events:
        at, host = time_of(event), event["Computer"]
        device = {"Timestamp": at, "DeviceId": host, "DeviceName": host, "ReportId": event["index"]}
        # Defender has each process's start time beside its id; a GUID is as good an identity here.
        if kind(event) == "process":
            told = common(event)
            rows["DeviceProcessEvents"].append(device | {
                "ActionType": "ProcessCreated", "FileName": told["name"], "ProcessId": told["pid"],
                "ProcessCommandLine": told["command_line"], "AccountName": told["user"].rsplit("\\", 1)[-1],
                "InitiatingProcessFileName": told["parent_name"], "InitiatingProcessId": told["parent_pid"],
                "InitiatingProcessCommandLine": told["parent_command_line"],
                "ProcessCreationTime": started(told["guid"]), "InitiatingProcessCreationTime": started(told["parent_guid"]),
            })
        elif kind(event) == "connection":
            accepted = event["Initiated"] == "false"
            rows["DeviceNetworkEvents"].append(device | {
                "ActionType": "InboundConnectionAccepted" if accepted else "ConnectionSuccess",
                "RemoteIP": event["SourceIp" if accepted else "DestinationIp"],
                "RemotePort": int(event["SourcePort" if accepted else "DestinationPort"]),
                "LocalIP": event["DestinationIp" if accepted else "SourceIp"],
                "LocalPort": int(event["DestinationPort" if accepted else "SourcePort"]),
                "InitiatingProcessFileName": file_name(event["Image"]),
                # Some shippers lose Sysmon's process id: the GUID then identifies the process.
                "InitiatingProcessId": process_id(event.get("ProcessId")) or owner(events, event),
                "InitiatingProcessCreationTime": started(event.get("ProcessGuid")),
            })
        else:
            data = {key: value for key, value in event.items() if key.startswith(("param", "ScriptBlock"))}
            xml = "".join(f'<Data Name="{key}">{escape(value)}</Data>' for key, value in data.items())
            rows["Event"].append({
                # The queries tell of no record number: the name says which event it was.
                "TimeGenerated": at, "Computer": f"{host}#{event['index']}",
                "Source": event["Provider_Name"], "EventID": event["EventID"],
                "EventLog": "System" if kind(event) == "system" else "Microsoft-Windows-PowerShell/Operational",
                "EventData": f'<DataItem type="System.XmlData"><EventData>{xml}</EventData></DataItem>',
            })
    return rows


def started(guid):
    """A start time that is one process's own: made out of its GUID."""
    if not guid:
        return None
    return datetime.datetime(2026, 1, 1) + datetime.timedelta(seconds=int.from_bytes(guid.encode(), "big") % 10_000_019)


def owner(events, connection):
    guid = connection.get("ProcessGuid")
    children = (common(event) for event in events if kind(event) == "process")
    return next((told["parent_pid"] for told in children if guid and told["parent_guid"] == guid), None)


def piped(event):
    """As the Windows add-ons of Splunk and Sumo Logic extract the fields."""
    at = time_of(event).replace(tzinfo=datetime.timezone.utc).timestamp()
    channel = {"system": "System", "script": "Microsoft-Windows-PowerShell/Operational"}.get(kind(event)) or (
        "Microsoft-Windows-Sysmon/Operational" if "Sysmon" in event["Provider_Name"] else "Security")
    return dict(event) | {
        "EventCode": str(event["EventID"]), "_time": at, "_messageTime": at * 1000, "_messageId": event["index"],
        "index": "windows", "number": event["index"],
        "source": f"XmlWinEventLog:{channel}",
        "_sourceCategory": "prod/windows/sysmon" if "Sysmon" in channel else "prod/wineventlog",
    }
