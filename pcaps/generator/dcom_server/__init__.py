"""An emulated Windows DCOM server that executes nothing.

It answers activation, OXID, endpoint-mapper and IDispatch calls well enough for real clients to
finish, checks every NTLM signature they send, and notes the command lines they ask for.
"""

from dcom_server.server import Server
from dcom_server.world import Config

__all__ = ["Config", "Server"]
