"""What a sensor must find in each capture, joined from what the server saw and from the bytes."""

from dataclasses import dataclass, field

import pdus
from dcom_server import Config
from dcom_server.world import ABSENT, CLASSES, LAB_INVENTORY, WBEM_LOGIN
from scenarios import Scenario

# The classes that the sensor's catalogue lists as an attacker's.
ABUSED = {*CLASSES, *ABSENT} - {LAB_INVENTORY, WBEM_LOGIN}
RESOLUTIONS = {"ResolveOxid", "ResolveOxid2"}
OPERATIONS = {3: "RemoteGetClassObject", 4: "RemoteCreateInstance"}


@dataclass
class Activation:
    """One activation as it can be seen on the wire."""

    clsid: str
    operation: str
    outcome: str
    frame: int
    reply_frame: int
    hresult: int | None = None
    fault: int | None = None
    port: int | None = None
    followed: bool = False

    @property
    def alert(self):
        """The signature of the alert it must raise, or None."""
        if self.clsid not in ABUSED:
            return None
        return "remote-activation" + ("" if self.outcome == "succeeded" else "-attempt")

    def told(self):
        """A sentence for the README."""
        name = (CLASSES | ABSENT).get(self.clsid)
        text = (
            f"{self.operation} of {name} (`{self.clsid}`)" if name else f"sealed {self.operation}"
        )
        text += f" in frame {self.frame}"
        if self.reply_frame:
            text += f", reply in frame {self.reply_frame}"
        text += f": {self.outcome}"
        if self.hresult is not None:
            text += f", HRESULT `{self.hresult:#010x}`"
        if self.fault is not None:
            text += f", fault `{self.fault:#010x}`"
        if self.port:
            text += f"; port {self.port} learned, {'' if self.followed else 'not '}followed"
        return text


@dataclass
class Expectation:
    """Everything that must be found in one capture."""

    activations: list[Activation] = field(default_factory=list)
    oxid_resolutions: int = 0
    server_alives: int = 0
    endpoint_mappings: int = 0
    mapped_ports: list[int] = field(default_factory=list)
    endpoint_lookups: int = 0
    bytes_missing: int = 0

    @property
    def alerts(self):
        """Signatures of the alerts, in the order of their activations."""
        return [activation.alert for activation in self.activations if activation.alert]

    def told(self):
        """A cell for the README."""
        parts = [activation.told() for activation in self.activations]
        parts += [f"port {port} learned from ept_map, followed" for port in self.mapped_ports]
        counts = {
            "OXID resolutions": self.oxid_resolutions,
            "ServerAlive": self.server_alives,
            "ept_map": self.endpoint_mappings,
            "ept_lookup": self.endpoint_lookups,
            "bytes missing": self.bytes_missing,
        }
        parts += [f"{count} {name}" for name, count in counts.items() if count]
        parts.append("alerts: " + (", ".join(self.alerts) or "none"))
        return "; ".join(parts)


def expectation(packets, server_calls, scenario: Scenario):
    """What must be found in these packets of a run of the scenario."""
    readable = [call for call in server_calls if call.level < pdus.PRIVACY and call.fault is None]

    def count(*methods):
        return sum(call.method in methods for call in readable)

    return Expectation(
        _activations(packets, server_calls, scenario),
        count(*RESOLUTIONS),
        count("ServerAlive", "ServerAlive2"),
        count("ept_map"),
        [call.mapped_port for call in readable if call.mapped_port],
        count("ept_lookup"),
        pdus.bytes_missing(packets),
    )


def _activations(packets, server_calls, scenario):
    """The server's activation calls, found again by their place on their connection."""
    on_wire = pdus.calls(packets)
    found = []
    for call in server_calls:
        if call.interface != "IRemoteSCMActivator" or call.opnum not in OPERATIONS:
            continue
        before = [other for other in server_calls if other.client_port == call.client_port]
        seen = [other for other in on_wire if other.client_port == call.client_port]
        place = seen[before.index(call)]
        if (place.call_id, place.opnum) != (call.call_id, call.opnum):
            raise ValueError(f"{scenario.slug}: call {call.call_id} is not where it should be")
        found.append(_activation(call, place, packets, scenario))
    return found


def _activation(call, place, packets, scenario):
    made = Activation(
        call.clsid or scenario.clsid,
        OPERATIONS[call.opnum],
        "failed" if call.fault or call.result else "succeeded",
        place.frame,
        place.reply_frame,
        hresult=call.result,
        fault=call.fault,
    )
    if not place.reply_frame:
        made.outcome, made.hresult, made.fault = "unanswered", None, None
    elif call.level == pdus.PRIVACY:
        made.clsid, made.hresult = "sealed", None
        made.outcome = "failed" if call.fault else "unreadable"
    elif made.outcome == "succeeded":
        made.port = Config.object_port
        made.followed = pdus.port_used_after(packets, place.reply_frame, made.port)
    return made
