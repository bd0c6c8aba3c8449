"""gunicorn's configuration in code, for what its options cannot say (`gunicorn --config librarian/web_server.py`).

A client that falls silent in the middle of a request (half a header, a cable cut while a body was on its way) or stops
taking an answer would hold one of our few threads for ever: gunicorn reads and writes without a limit in time. The
kernel has one, which every connection inherits from the socket that listens.
"""

import socket
import struct
from typing import Any

SILENT_SECONDS = 20  # in the middle of a request
STALLED_SECONDS = 120  # in the middle of an answer: a browser may have paused a download


def when_ready(server: Any) -> None:
    """Give up a connection on which nothing has moved for so long; slow ones are let be."""
    for listener in server.LISTENERS:
        for option, seconds in ((socket.SO_RCVTIMEO, SILENT_SECONDS), (socket.SO_SNDTIMEO, STALLED_SECONDS)):
            listener.sock.setsockopt(socket.SOL_SOCKET, option, struct.pack("@ll", seconds, 0))
