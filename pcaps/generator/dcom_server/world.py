"""What exists on the emulated machine: its names, interfaces, COM classes and their members."""

from dataclasses import dataclass, field

SVCCTL = "367abb81-9844-35f1-ad32-98f038001003"
IFACES = {
    "e1af8308-5d1f-11c9-91a4-08002b14a0fa": "epmapper",
    "afa8bd80-7d8a-11c9-bef4-08002b102989": "mgmt",
    "99fcfec4-5260-101b-bbcb-00aa0021347a": "IObjectExporter",
    "000001a0-0000-0000-c000-000000000046": "IRemoteSCMActivator",
    "00000131-0000-0000-c000-000000000046": "IRemUnknown",
    "00000143-0000-0000-c000-000000000046": "IRemUnknown2",
    "00020400-0000-0000-c000-000000000046": "IDispatch",
    "00000001-0000-0000-c000-000000000046": "IClassFactory",
    "f309ad18-d86a-11d0-a075-00c04fb68820": "IWbemLevel1Login",
    "9556dc99-828c-11cf-a37e-00aa003240c7": "IWbemServices",
    SVCCTL: "svcctl",
}
ON_EPM_PORT = {"epmapper", "mgmt", "IObjectExporter", "IRemoteSCMActivator"}
ON_OBJECT_PORT = set(IFACES.values()) - ON_EPM_PORT | {"mgmt"}


@dataclass(frozen=True)
class Member:
    """A member of a COM type.

    `returns` names the type of the object handed back; `runs` gives the roles of the arguments of
    a method that would start a program on a real machine.
    """

    dispid: int
    returns: str | None = None
    runs: tuple[str, ...] = ()


# ExecuteShellCommand and the Shell members carry the DISPIDs seen in public captures; the others
# are plausible only. Clients ask for them by name.
TYPES: dict[str, dict[str, Member]] = {
    "MMC20.Application": {
        "Quit": Member(0x60020001),
        "Document": Member(4, "MMC20.Document"),
    },
    "MMC20.Document": {"ActiveView": Member(6, "MMC20.View")},
    "MMC20.View": {
        "ExecuteShellCommand": Member(
            0x36, runs=("command", "directory", "parameters", "window_state")
        ),
    },
    "ShellWindows": {"Item": Member(0, "InternetExplorer")},
    "InternetExplorer": {"Document": Member(203, "ShellFolderView"), "Quit": Member(300)},
    "ShellFolderView": {"Application": Member(0x60020000, "Shell.Application")},
    "Shell.Application": {
        "ShellExecute": Member(
            0x60030001, runs=("command", "parameters", "directory", "verb", "window_state")
        ),
    },
    "Excel.Application": {
        "Quit": Member(302),
        "DDEInitiate": Member(333, runs=("command", "parameters")),
    },
    "Lab.Inventory": {"Name": Member(1), "Count": Member(2), "Item": Member(3)},
    "WbemLevel1Login": {},
    "WbemServices": {},
}
MMC20 = "49b2791a-b1ae-4c90-9b8e-e860ba07f889"
SHELL_WINDOWS = "9ba05972-f6a8-11cf-a442-00a0c90a8f39"
EXCEL = "00024500-0000-0000-c000-000000000046"
WBEM_LOGIN = "8bc3f05e-d86b-11d0-a075-00c04fb68820"
LAB_INVENTORY = "5a1ab000-1234-4321-abcd-0123456789ab"
CLASSES = {
    MMC20: "MMC20.Application",
    SHELL_WINDOWS: "ShellWindows",
    EXCEL: "Excel.Application",
    WBEM_LOGIN: "WbemLevel1Login",
    LAB_INVENTORY: "Lab.Inventory",
}


@dataclass
class Config:
    """How one run of the server behaves."""

    address: str
    users: dict[str, str]
    """Upper-case user name to password."""
    epm_port: int = 135
    object_port: int = 49670
    domain: str = "LAB"
    dns_domain: str = "lab.example"
    netbios_name: str = "DCOMSRV01"
    dns_name: str = "dcomsrv01.lab.example"
    authn_hint: int = 6
    """The level an activation reply recommends for the object port."""
    activation_errors: dict[str, int] = field(default_factory=dict)
    """CLSID to the HRESULT its activation answers."""
    min_level: int = 0
    """Activation below this authentication level is denied."""
    max_frag: int = 5840
