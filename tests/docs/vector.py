"""Vector's own language in a snippet of its configuration: every `remap` compiles and runs on lines of a sample's eve.json, and
every `filter` says of each yes or no. vrl-python has Vector's compiler and runtime in it."""

import json

try:
    import vrl_python
except ImportError:
    vrl_python = None


def problem(document, lines):
    """What is wrong in the transforms of a configuration, if it is one."""
    transforms = document.get("transforms") if isinstance(document, dict) else None
    if not transforms or vrl_python is None:
        return None
    # As Vector's file source hands them out.
    events = {name: [{"message": line} for line in lines] for name in document["sources"]}
    for name, transform in transforms.items():
        given = [event for source in transform["inputs"] for event in events[source]]
        if transform["type"] == "remap":
            events[name] = [run(transform["source"], event).processed_event for event in given]
            if not all(isinstance(event.get("event_type"), str) and "@timestamp" in event for event in events[name]):
                return f"{name}: an event has no `event_type` or no `@timestamp` behind it"
        elif transform["type"] == "filter":
            events[name] = [event for event in given if run(transform["condition"], event).runtime_result is True]
            if not 0 < len(events[name]) < len(given):
                return f"{name}: {len(events[name])} of {len(given)} events pass"
    return None


def run(source, event):
    # A copy: the runtime may keep what it is given.
    return vrl_python.VRLRuntime().execute(source, json.loads(json.dumps(event, default=str)))
