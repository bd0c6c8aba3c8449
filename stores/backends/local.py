"""Reading a product that lies on this machine but in no store, in one pass and without copying it."""

import errno
import os
import stat
from collections.abc import Iterable

from stores.backends import durable, staging, trees
from stores.backends.base import Content, Progress, UnsafeProduct
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
