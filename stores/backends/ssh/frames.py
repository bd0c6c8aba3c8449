"""What goes over a link to a far host: frames, each a letter, a length and that many bytes.

Shared by both ends, so nothing here may need more than Python itself. A call is CALL, whatever belongs to it, OVER; the
far end ends it by ANSWER or ERROR, and reads on to OVER before it takes the next one. Facts travel as JSON, bytes as
they are.
"""

import json
import struct
from typing import Any

from stores.backends.base import Member

HEADER = struct.Struct("!cI")

CALL = b"C"  # {act, store, arguments}
DATA = b"D"  # bytes of a stream, either way
END = b"E"  # of one stream, with what its sender saw of it
STEP = b"T"  # of a tree that is sent: {enter}, {leave}, {file}, or an entry of a product
ROWS = b"R"  # a list of plain facts, either way
REPLY = b"Y"  # to a QUESTION
OVER = b"Z"  # nothing more comes of this call; before its end: it is called off
ANSWER = b"A"
ERROR = b"X"  # {code, reason, remedy, extra}
PROGRESS = b"P"  # numbers of bytes just read
DURABLE = b"N"  # how many bytes are on disk
QUESTION = b"Q"  # {came}: is it accepted? or {hasher}: the digest of what went by HASH
HASH = b"B"  # four bytes that name a hasher, then bytes for it: the far end lacks the algorithm
LOG = b"L"  # {level, text}
ALIVE = b"H"

GREETING = b"librarian-far "
PING = "ping"  # an act that only shows that the line works
CALLED_OFF = "called_off"  # code of the ERROR that ends a call after an early OVER
NO_PLACE = "value_error"  # code of an ERROR that is a mistake in the code, not of a caller
HASHER = struct.Struct("!I")
ROWS_BYTES = 64 * 1024
MOST_BYTES = 64 * 2**20  # of a frame from a far end in its right mind


def packed(facts: Any) -> bytes:
    """Facts as they travel; halves of surrogate pairs (names that are no UTF-8) come through as they are."""
    return json.dumps(facts, separators=(",", ":")).encode()


def unpacked(payload: bytes | bytearray) -> Any:
    """The facts of a payload."""
    return json.loads(payload) if payload else None


def member_row(member: Member) -> list[Any]:
    """A member as a row."""
    return [member.kind, member.path, member.size_bytes, member.sha256]


def member_record(member: Member) -> bytes:
    """A member as a record of the tree digest."""
    if member.kind == "empty_directory":
        return b"d %s\0" % member.path.encode()
    return b"f %d %s %s\0" % (member.size_bytes, member.sha256.encode(), member.path.encode())
