"""Very many small products of one size with names of their own: what the benchmarks of ingest and search are fed with.

Each is a real NPZ archive (an uncompressed ZIP with one array of bytes), built by hand because numpy's writer would
take longer than the disk.
"""

import hashlib
import io
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

FIRST_JD = 2459122
NAMES_PER_JD = 100_000  # as many as five digits of a fraction can tell apart
MEMBER = b"diag.npy"
LOCAL_HEADER = struct.Struct("<4s5H3L2H")
CENTRAL_HEADER = struct.Struct("<4s6H3L5H2L")
END_OF_ARCHIVE = struct.Struct("<4s4H2LH")
ZIP_DATE = (1 << 5) | 1  # 1 January 1980, the earliest that ZIP knows: the same bytes whenever they are written
MIN_SIZE_BYTES = LOCAL_HEADER.size + CENTRAL_HEADER.size + 2 * len(MEMBER) + END_OF_ARCHIVE.size + 128
MAX_SIZE_BYTES = 1 << 30


def write_small_files(directory: Path, count: int, size_bytes: int, *, seed: int = 0, first_jd: int = FIRST_JD) -> int:
    """Write many small files and return how many; the options are those of `stream_small_files`."""
    return sum(1 for _ in stream_small_files(directory, count, size_bytes, seed=seed, first_jd=first_jd))


def stream_small_files(
    directory: Path, count: int, size_bytes: int, *, seed: int = 0, first_jd: int = FIRST_JD
) -> Iterator[Path]:
    """Write many small files one by one while the result is iterated over.

    Parameters
    ----------
    directory : Path
        Where the directories of the JDs are made; created when missing.
    count : int
        How many files; `zen.2459122.00000.diag.npz` and on, 100,000 per JD.
    size_bytes : int
        Size of each file.
    seed : int
        Seed of the contents; no two files of a run hold the same bytes.
    first_jd : int
        JD in the first names.

    Yields
    ------
    Path
        Each file when it is complete.

    Raises
    ------
    FileExistsError
        A file of that name is there; it is left alone.
    ValueError
        The size or the count makes no sense.
    """
    if not MIN_SIZE_BYTES <= size_bytes <= MAX_SIZE_BYTES:
        raise ValueError(f"size_bytes must be between {MIN_SIZE_BYTES} and {MAX_SIZE_BYTES}, not {size_bytes}")
    if count < 0:
        raise ValueError(f"count must not be negative, and is {count}")
    return _stream(directory, count, size_bytes, seed, first_jd)


def _stream(directory: Path, count: int, size_bytes: int, seed: int, first_jd: int) -> Iterator[Path]:
    prefix = _npy_header(size_bytes - MIN_SIZE_BYTES)
    for index in range(count):
        jd, fraction = divmod(index, NAMES_PER_JD)
        day = directory / str(first_jd + jd)
        if fraction == 0:
            day.mkdir(parents=True, exist_ok=True)
        path = day / f"zen.{first_jd + jd}.{fraction:05d}.diag.npz"
        noise = hashlib.shake_128(f"{seed}/{path.name}".encode("ascii")).digest(size_bytes - MIN_SIZE_BYTES)
        with path.open("xb") as file:
            file.write(_zip_of_one(prefix + noise))
        yield path


def _npy_header(length: int) -> bytes:
    """What stands before an array of this many bytes in NPY format, 128 bytes long."""
    buffer = io.BytesIO()
    fields = {"descr": "|u1", "fortran_order": False, "shape": (length,)}
    np.lib.format.write_array_header_1_0(buffer, fields)
    return buffer.getvalue()


def _zip_of_one(data: bytes) -> bytes:
    """A ZIP archive with one stored member (PKWARE APPNOTE 6.3.3, sections 4.3.7, 4.3.12 and 4.3.16)."""
    checksum, size, name = zlib.crc32(data), len(data), len(MEMBER)
    shared = (20, 0, 0, 0, ZIP_DATE, checksum, size, size, name, 0)
    local = LOCAL_HEADER.pack(b"PK\x03\x04", *shared) + MEMBER
    central = CENTRAL_HEADER.pack(b"PK\x01\x02", 20, *shared, 0, 0, 0, 0, 0) + MEMBER
    end = END_OF_ARCHIVE.pack(b"PK\x05\x06", 0, 0, 1, 1, len(central), len(local) + size, 0)
    return b"".join((local, data, central, end))
