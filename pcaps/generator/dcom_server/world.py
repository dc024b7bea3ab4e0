"""What exists on the emulated machine: its names, interfaces, COM classes and their members."""

from dataclasses import dataclass, field

SVCCTL = "367abb81-9844-35f1-ad32-98f038001003"
WINREG = "338cd001-2244-31f1-aaaa-900038001003"
IFACES = {
    "e1af8308-5d1f-11c9-91a4-08002b14a0fa": "epmapper",
    "afa8bd80-7d8a-11c9-bef4-08002b102989": "mgmt",
    "99fcfec4-5260-101b-bbcb-00aa0021347a": "IObjectExporter",
    "000001a0-0000-0000-c000-000000000046": "IRemoteSCMActivator",
    "00000131-0000-0000-c000-000000000046": "IRemUnknown",
    "00000143-0000-0000-c000-000000000046": "IRemUnknown2",
    "00020400-0000-0000-c000-000000000046": "IDispatch",
    "00020401-0000-0000-c000-000000000046": "ITypeInfo",
    # ITypeInfo2, of which the operations of ITypeInfo are the first.
    "00020412-0000-0000-c000-000000000046": "ITypeInfo",
    "00000001-0000-0000-c000-000000000046": "IClassFactory",
    "f309ad18-d86a-11d0-a075-00c04fb68820": "IWbemLevel1Login",
    "9556dc99-828c-11cf-a37e-00aa003240c7": "IWbemServices",
    SVCCTL: "svcctl",
    WINREG: "winreg",
}
ON_EPM_PORT = {"epmapper", "mgmt", "IObjectExporter", "IRemoteSCMActivator"}
ON_OBJECT_PORT = set(IFACES.values()) - ON_EPM_PORT | {"mgmt"}


@dataclass(frozen=True)
class Member:
    """A member of a COM type.

    `returns` names the type of the object handed back; `runs` gives the roles of the arguments of
    a method that would start a program on a real machine; `creates` tells that the method hands
    back an object of the type that its first argument names.
    """

    dispid: int
    returns: str | None = None
    runs: tuple[str, ...] = ()
    creates: bool = False
    parameters: tuple[str, ...] = ()
    """Their names, where clients ask for them; the number of each is its place."""


# ExecuteShellCommand and the Shell members carry the DISPIDs seen in public captures; the others
# are plausible only. Clients ask for them by name.
TYPES: dict[str, dict[str, Member]] = {
    "MMC20.Application": {
        "Quit": Member(0x60020001),
        "Document": Member(4, "MMC20.Document"),
    },
    "MMC20.Document": {
        "ActiveView": Member(6, "MMC20.View"),
        "SnapIns": Member(5, "MMC20.SnapIns"),
    },
    # Add has the number that ExecuteShellCommand has on a View.
    "MMC20.SnapIns": {"Add": Member(0x36)},
    "MMC20.View": {
        "ExecuteShellCommand": Member(
            0x36,
            runs=("command", "directory", "parameters", "window_state"),
            parameters=("Command", "Directory", "Parameters", "WindowState"),
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
        "RegisterXLL": Member(30, runs=("command",)),
        "ExecuteExcel4Macro": Member(350, runs=("command",)),
        "ActivateMicrosoftApp": Member(1095),
    },
    "ShellBrowserWindow": {"Document": Member(203, "ShellFolderView"), "Quit": Member(300)},
    "Outlook.Application": {"CreateObject": Member(277, creates=True), "Quit": Member(275)},
    "WScript.Shell": {"Run": Member(1000, runs=("command",))},
    "MsftFileSystemImage": {"WorkingDirectory": Member(270)},
    "WordPad Document": {"Title": Member(1)},
    "htafile": {},
    "StdFont": {"Name": Member(0)},
    "Lab.Inventory": {"Name": Member(1), "Count": Member(2), "Item": Member(3)},
    "WbemLevel1Login": {},
    "WbemServices": {},
}
MMC20 = "49b2791a-b1ae-4c90-9b8e-e860ba07f889"
SHELL_WINDOWS = "9ba05972-f6a8-11cf-a442-00a0c90a8f39"
EXCEL = "00024500-0000-0000-c000-000000000046"
WBEM_LOGIN = "8bc3f05e-d86b-11d0-a075-00c04fb68820"
LAB_INVENTORY = "5a1ab000-1234-4321-abcd-0123456789ab"
SHELL_BROWSER_WINDOW = "c08afd90-f2a1-11d1-8455-00a0c91f3880"
OUTLOOK = "0006f03a-0000-0000-c000-000000000046"
FILE_SYSTEM_IMAGE = "2c941fc5-975b-59be-a960-9a2a262853a5"
WORDPAD = "73fddc80-aea9-101a-98a7-00aa00374959"
HTAFILE = "3050f4d8-98b5-11cf-bb82-00aa00bdce0b"
STDFONT = "0be35203-8f91-11ce-9de3-00aa004bb851"
CLASSES = {
    MMC20: "MMC20.Application",
    SHELL_WINDOWS: "ShellWindows",
    EXCEL: "Excel.Application",
    WBEM_LOGIN: "WbemLevel1Login",
    LAB_INVENTORY: "Lab.Inventory",
    SHELL_BROWSER_WINDOW: "ShellBrowserWindow",
    OUTLOOK: "Outlook.Application",
    FILE_SYSTEM_IMAGE: "MsftFileSystemImage",
    WORDPAD: "WordPad Document",
    HTAFILE: "htafile",
    STDFONT: "StdFont",
}
# Classes that clients ask for and that do not exist here.
ABSENT = {
    "000209ff-0000-0000-c000-000000000046": "Word.Application",
    "91493441-5a91-11cf-8700-00aa0060263b": "PowerPoint.Application",
    "00021a20-0000-0000-c000-000000000046": "Visio.Application",
    "73a4c9c1-d68d-11d0-98bf-00a0c90dc8d9": "Access.Application",
    "36d27c48-a1e8-11d3-ba55-00c04f72f325": "MSProject.Application",
    "0002df01-0000-0000-c000-000000000046": "InternetExplorer.Application",
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
    invoke_error: int = 0
    """The HRESULT of methods that would start a program."""
    oxid: int | None = None
    """The exporter's OXID, where a client has to know it."""
    pipe_port: int | None = None
    """A port on the loopback address behind a file server's named pipes."""
