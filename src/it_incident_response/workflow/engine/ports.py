"""Which loopback port the embedded server takes."""

import socket
import zlib
from pathlib import Path

from it_incident_response.workflow.engine.server_process import LOOPBACK

_FIRST = 20_000
_COUNT = 10_000
_TRIES = 100


def is_free(port: int) -> bool:
    """Tell whether a server could listen there now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
        except OSError:
            return False
        return True


def free_port(folder: Path, attempt: int = 0) -> int:
    """Return a free port, the same one for a folder as long as nobody else takes it.

    Below the ports that systems give to outgoing connections (from 32768 on Linux), so that none
    of these takes it while the server restarts. `attempt` moves on to others.
    """
    start = zlib.crc32(str(folder.absolute()).encode()) + attempt * 101
    for step in range(_TRIES):
        port = _FIRST + (start + step) % _COUNT
        if is_free(port):
            return port
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        last: int = probe.getsockname()[1]
    return last
