"""winreg (MS-RRP 3.1.5): a root key that can be opened and closed."""

from dcom_server.pack import u32

KEY = u32(0) + bytes(range(1, 17))


def open_local_machine(_server, call):
    """OpenLocalMachine."""
    call.result = 0
    return KEY + u32(0)


def close_key(_server, call):
    """BaseRegCloseKey."""
    call.result = 0
    return bytes(20) + u32(0)


HANDLERS = {
    2: ("OpenLocalMachine", open_local_machine),
    5: ("BaseRegCloseKey", close_key),
}
