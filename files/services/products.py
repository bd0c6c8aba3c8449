"""Which paths on this machine are one product each: flat files, and directories that are never walked into."""

import fnmatch
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass

from django.conf import settings

from stores.backends.base import Content, Progress, StoreBackend
from stores.backends.local import digest_local
from stores.backends.places import CORNER

MIRIAD_ITEMS = {"header", "vartable", "visdata"}  # what makes a directory a MIRIAD dataset


@dataclass(frozen=True, slots=True)
class Product:
    """A path to take in, and the relative name it is handed over as. `problem` says why it cannot be taken."""

    path: str
    handed_as: str
    kind: str = "flat"
    problem: str = ""

    def size_bytes(self) -> int:
        """Its size now, by directory entries: what to reserve for it."""
        return product_size_bytes(self)

    def digest(self, algorithms: Sequence[str]) -> Content | None:
        """What one reading of it finds; None where that is only known once it is written."""
        return digest_local(self.path, algorithms)

    def bring(
        self, backend: StoreBackend, token: str, algorithms: Sequence[str], progress: Progress | None = None
    ) -> Content:
        """Write it as the item of a delivery, hashed on the way."""
        return backend.copy_in(token, self.path, algorithms, progress)


def find_products(
    paths: Iterable[str],
    *,
    pattern: str = "*",
    products: Sequence[str] | None = None,
    never_into: Collection[str] = (),
) -> Iterator[Product]:
    """Products below `paths`, in the order of their names, one directory listing in memory at a time.

    A path that is itself a product is handed over by its own name; what lies in a walked directory by its path
    relative to it. `pattern` is a shell pattern for the last component; `products` adds to
    LIBRARIAN_DIRECTORY_PRODUCTS; entries named in `never_into`, like our own corner of a store, are passed over.
    """
    globs = [*settings.LIBRARIAN_DIRECTORY_PRODUCTS, *(products or ())]
    passed_over = {CORNER, *never_into}
    for text in paths:
        path = os.path.abspath(text)
        if not os.path.lexists(path):
            yield Product(path, os.path.basename(path), problem="it does not exist")
        elif os.path.isdir(path) and not is_directory_product(path, globs):
            yield from _walk(path, "", pattern, globs, passed_over)
        else:
            yield _judge(os.path.realpath(path), os.path.basename(path))


def is_directory_product(path: str, globs: Sequence[str]) -> bool:
    """True if a directory is one product: it matches a pattern, or holds the items of a MIRIAD dataset."""
    name = os.path.basename(path)
    if any(fnmatch.fnmatchcase(name, glob) for glob in globs):
        return True
    return all(os.path.isfile(os.path.join(path, item)) for item in MIRIAD_ITEMS)


def _walk(
    top: str, relative: str, pattern: str, globs: Sequence[str], passed_over: Collection[str]
) -> Iterator[Product]:
    here = os.path.join(top, relative)
    try:
        names = sorted(os.listdir(here))
    except OSError as problem:
        yield Product(here, relative or os.path.basename(top), problem=f"it cannot be listed ({problem.strerror})")
        return
    for name in names:
        path, handed_as = os.path.join(here, name), os.path.join(relative, name)
        if name in passed_over:
            continue
        if os.path.isdir(path) and not os.path.islink(path) and not is_directory_product(path, globs):
            yield from _walk(top, handed_as, pattern, globs, passed_over)
        elif fnmatch.fnmatchcase(name, pattern):
            yield _judge(path, handed_as)


def _judge(path: str, handed_as: str) -> Product:
    try:
        mode = os.lstat(path).st_mode
    except OSError as problem:  # gone since it was listed, or the disk fails
        return Product(path, handed_as, problem=f"it cannot be looked at ({problem.strerror})")
    if stat.S_ISREG(mode):
        return Product(path, handed_as)
    if stat.S_ISDIR(mode):
        return Product(path, handed_as, kind="directory")
    if stat.S_ISLNK(mode):
        return Product(path, handed_as, problem="it is a link; name what it points to")
    return Product(path, handed_as, problem="it is neither a file nor a directory")


def product_size_bytes(product: Product) -> int:
    """Size of a product now, by its directory entries: what to reserve for it."""
    if product.kind == "flat":
        return os.stat(product.path).st_size
    total = 0
    for folder, _, names in os.walk(product.path):
        for name in names:
            try:
                total += os.stat(os.path.join(folder, name)).st_size
            except FileNotFoundError:
                continue  # a dangling link, which the copy refuses with its reason
    return total
