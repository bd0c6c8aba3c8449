"""Reading a product that lies in no store, on this machine or in a stream, in one pass and without copying it."""

import errno
import os
import stat
from collections.abc import Iterable
from typing import IO

from hera_librarian.checksums import MultiHasher
from stores.backends import durable, staging, trees
from stores.backends.base import BLOCK_BYTES, Content, Progress, UnsafeProduct
from stores.backends.pipe import Digested
from stores.backends.places import shown
from stores.backends.reading import explain_source, read_file


def digest_local(path: str, algorithms: Iterable[str], progress: Progress | None = None) -> Content:
    """What the file or tree at `path` holds. Raises UnsafeProduct, ChangedWhileRead, MissingBytes."""
    wanted = list(algorithms)
    try:
        opened = durable.open_for_reading(path)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise UnsafeProduct(f"{shown(path)} is a device, socket or pipe.") from error
        raise explain_source(error, path) from error
    with durable.closing(opened) as fd:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            return trees.TreeReader(wanted, explain=explain_source, location=path, progress=progress).read(fd)
        found = read_file(fd, path, staging.with_sha256(wanted), explain=explain_source, progress=progress)
        return staging.flat_content(found, wanted)


def digest_stream(source: IO[bytes], algorithms: Iterable[str]) -> Content:
    """What a stream holds, read to its end as a flat product."""
    wanted = list(algorithms)
    hasher = MultiHasher(staging.with_sha256(wanted))
    while block := source.read(BLOCK_BYTES):
        hasher.update(block)
    digests = {algorithm: hasher.hexdigest(algorithm) for algorithm in staging.with_sha256(wanted)}
    return staging.flat_content(Digested(hasher.size_bytes, digests), wanted)
