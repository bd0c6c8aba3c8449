"""The bytes of MIRIAD: small items in `header`, the stream of uv variables, the mask of flags.

Format: MIRIAD Programmer's Guide, "UV data" and "Data sets"; the details are those of MIRIAD's library from 2002 on
(64-bit counters). Everything is big-endian. What the variables mean is in `miriad`.

- A uv dataset is a stream of changes of variables, cut into records. `visdata` holds entries of two kinds and an end
  mark, each beginning at a multiple of 8 bytes with the variable's index and the kind in 4 bytes: a new length in
  bytes, or new values, aligned to their own size. A variable keeps its values until they change.
- `vartable` is text, one line per variable, type and name; its line number is the index.
- Items of up to 64 bytes lie together in `header`, each behind 16 bytes of name and size, padded to 16.
- A mask packs 31 flags into an integer, first flag lowest; 1 means good.
"""

import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

DTYPES = {"a": "S1", "i": ">i4", "r": ">f4", "d": ">f8"}  # text, integer, real, double
LENGTH, VALUES, END_OF_RECORD = 0, 1, 2
MAX_VARIABLES = 255  # the index is one byte
FLAGS_PER_INTEGER = 31
TEXT_ITEM, INTEGER_ITEM, LONG_ITEM = (struct.pack(">i", kind) for kind in (1, 2, 8))


class VariableStream:
    """Writer of `visdata`; keeps what `vartable` needs.

    Parameters
    ----------
    file : BinaryIO
        The open `visdata`.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._indices: dict[str, int] = {}
        self._types: dict[str, str] = {}
        self._current: dict[str, bytes] = {}
        self.size_bytes = 0

    def put(self, name: str, kind: str, values: object) -> None:
        """Set a variable from here on; nothing is written when it has these values already.

        Parameters
        ----------
        name : str
            At most 8 characters.
        kind : str
            `a` text, `i` 32-bit integer, `r` 32-bit real, `d` 64-bit real.
        values : object
            One value or an array of them; text for `a`.
        """
        if isinstance(values, str):
            data, value_bytes = values.encode("ascii"), 1
        else:
            array = np.asarray(values, dtype=DTYPES[kind])
            data, value_bytes = array.tobytes(), array.itemsize
        index = self._index(name, kind)
        before = self._current.get(name)
        if data == before:
            return
        if before is None or len(before) != len(data):
            self._write(struct.pack(">BxBxi", index, LENGTH, len(data)))
        gap = bytes(max(0, value_bytes - 4))  # values begin at a multiple of their own size
        entry = struct.pack(">BxBx", index, VALUES) + gap + data
        self._write(entry + bytes(-len(entry) % 8))
        self._current[name] = data

    def end_record(self) -> None:
        """Mark that everything put so far belongs to one visibility spectrum."""
        self._write(struct.pack(">xxBxxxxx", END_OF_RECORD))

    def vartable(self) -> str:
        """Text of the item `vartable`."""
        return "".join(f"{self._types[name]} {name}\n" for name in self._indices)

    def _index(self, name: str, kind: str) -> int:
        if name not in self._indices:
            if len(name) > 8 or len(self._indices) >= MAX_VARIABLES:
                raise ValueError(f"MIRIAD cannot hold a variable called {name!r} beside {len(self._indices)} others")
            self._indices[name] = len(self._indices)
            self._types[name] = kind
        return self._indices[name]

    def _write(self, data: bytes) -> None:
        self._file.write(data)
        self.size_bytes += len(data)


def pack_mask(good: np.ndarray) -> bytes:
    """Whole content of a mask item.

    Parameters
    ----------
    good : np.ndarray
        Booleans in the order of the records, channels within, shape (flags,).
    """
    padded = np.zeros(-(-good.size // FLAGS_PER_INTEGER) * FLAGS_PER_INTEGER, dtype=np.int64)
    padded[: good.size] = good.ravel()
    words = padded.reshape(-1, FLAGS_PER_INTEGER) @ (1 << np.arange(FLAGS_PER_INTEGER, dtype=np.int64))
    return INTEGER_ITEM + words.astype(">i4").tobytes()


def pack_header(items: dict[str, str | int]) -> bytes:
    """Whole content of `header`: small items of text or 64-bit integers.

    Parameters
    ----------
    items : dict of str to str or int
        Name of at most 8 characters and value.
    """
    packed = bytearray()
    for name, value in items.items():
        # A number follows its type at a multiple of its own size, hence the four bytes between them.
        data = TEXT_ITEM + value.encode("ascii") if isinstance(value, str) else LONG_ITEM + struct.pack(">xxxxq", value)
        packed += struct.pack(">15sB", name.encode("ascii"), len(data)) + data + bytes(-len(data) % 16)
    return bytes(packed)


def write_item(directory: Path, name: str, data: bytes) -> None:
    """Write one item that is a file of its own."""
    (directory / name).write_bytes(data)
