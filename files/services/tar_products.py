"""Sorting the entries of a tar stream into products: one directory product, or many products of a batch.

The whole stream is looked through before anything of it is taken, so a bad entry at its end costs nothing.
"""

import fnmatch
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import IO

from django.conf import settings

from files.services.products import Product
from files.services.tar_reading import BadTar, Open, TarEntry, padded, read_tar
from librarian.common.errors import TooLarge
from stores.backends.base import Content, Progress, StoreBackend, TreeEntry
from stores.backends.local import digest_stream
from stores.backends.places import shown

MAX_PRODUCTS = 100_000


@dataclass(frozen=True, slots=True)
class Tar:
    """A tar stream that has arrived, open for reading; its readers take turns."""

    file: IO[bytes]
    length_bytes: int

    def open(self) -> AbstractContextManager[IO[bytes]]:
        return nullcontext(self.file)

    def entries(self, start_at: int = 0, end_at: int | None = None) -> Iterator[TarEntry]:
        return read_tar(self.file, length_bytes=self.length_bytes, start_at=start_at, end_at=end_at)


@dataclass(frozen=True, slots=True)
class TarProduct(Product):
    """A product of a batch: the entries of the stream from `start_at` to `end_at`."""

    tar: Tar | None = field(default=None, compare=False)
    size: int = 0
    start_at: int = 0
    end_at: int = 0

    def size_bytes(self) -> int:
        return self.size

    def digest(self, algorithms: Sequence[str]) -> Content | None:
        if self.kind != "flat":
            return None
        with self._entry().open(self.tar.open) as source:
            return digest_stream(source, algorithms)

    def bring(
        self, backend: StoreBackend, token: str, algorithms: Sequence[str], progress: Progress | None = None
    ) -> Content:
        if self.kind != "flat":
            entries = self.tar.entries(self.start_at, self.end_at)
            return backend.write_tree(
                token,
                below(entries, self.path, self.tar.open),
                algorithms,
                progress,
                limit_bytes=2 * (self.end_at - self.start_at),
            )
        with self._entry().open(self.tar.open) as source:
            return backend.write_item(token, source, algorithms, progress)

    def _entry(self) -> TarEntry:
        return TarEntry(self.path, "file", self.size, self.start_at, self.end_at - padded(self.size), self.end_at)


def directory_entries(tar: Tar, base_name: str) -> Iterator[TreeEntry]:
    """Entries of the one directory product that the stream holds, by their paths inside it.

    They may stand below one directory of the product's own name, as `tar cf - NAME` writes them, or without it.
    Raises BadTar; nothing has been given then.
    """
    has_top, count = True, 0
    for entry in tar.entries():
        if entry.path:
            count += 1
            has_top = has_top and (entry.path == base_name or entry.path.startswith(f"{base_name}/"))
            has_top = has_top and not (entry.path == base_name and entry.kind != "directory")
    if not count:
        raise BadTar("The tar holds nothing.", remedy="Send the members of the directory.")
    return below(tar.entries(), base_name if has_top else "", tar.open)


def below(entries: Iterator[TarEntry], top: str, open_tar: Open) -> Iterator[TreeEntry]:
    """Entries below the directory `top` (empty: all), by their paths inside it."""
    prefix = f"{top}/" if top else ""
    for entry in entries:
        path = entry.path.removeprefix(prefix)
        if entry.path not in ("", top):
            target = entry.target
            if entry.kind == "same":
                if not target.startswith(prefix):
                    raise BadTar(f"The entry {shown(entry.path)} is a hard link out of its product.")
                target = target.removeprefix(prefix)
            yield entry.as_tree_entry(path, open_tar, target=target)


# --- Batches ----------------------------------------------------------------------------------------------------------


def batch_products(tar: Tar) -> list[TarProduct]:
    """The products of a batch in the order of the stream.

    Raises BadTar when the stream or a name in it cannot be taken, or a directory product does not stand together;
    TooLarge for more than MAX_PRODUCTS. What is wrong with one product only goes into its `problem`.
    """
    sorter = _Sorter(tar)
    for entry in tar.entries():
        sorter.add(entry)
    products = sorter.finish()
    if not products:
        raise BadTar("The tar holds no product.")
    return products


class _Sorter:
    def __init__(self, tar: Tar) -> None:
        self._tar = tar
        self._globs = settings.LIBRARIAN_DIRECTORY_PRODUCTS
        self._flagged: set[str] = set()
        self._paths: set[str] = set()
        self._products: list[TarProduct] = []
        self._top = ""  # of the directory product whose entries come now
        self._start_at = self._end_at = self._size = 0

    def add(self, entry: TarEntry) -> None:
        if entry.is_product and entry.kind == "directory":
            self._flagged.add(entry.path)
        top = self._product_of(entry)
        if top and top == self._top:
            self._end_at = entry.end_at
            self._size += entry.size_bytes
            return
        self._close()
        if top:
            self._note(top)
            self._top, self._start_at, self._end_at, self._size = top, entry.header_at, entry.end_at, entry.size_bytes
        elif entry.kind != "directory":
            self._add_flat(entry)

    def _product_of(self, entry: TarEntry) -> str:
        """The outermost directory product that an entry is or lies in; empty for none."""
        parts = entry.path.split("/")
        if entry.kind != "directory":
            parts = parts[:-1]
        for depth, part in enumerate(parts, start=1):
            path = "/".join(parts[:depth])
            if path in self._flagged or any(fnmatch.fnmatchcase(part, glob) for glob in self._globs):
                return path
        return ""

    def _add_flat(self, entry: TarEntry) -> None:
        self._note(entry.path)
        problem = "" if entry.kind == "file" else "it is a link; send what it leads to"
        self._append(
            TarProduct(
                path=entry.path,
                handed_as=entry.path,
                problem=problem,
                tar=self._tar,
                size=entry.size_bytes,
                start_at=entry.header_at,
                end_at=entry.data_at + padded(entry.size_bytes),
            )
        )

    def _note(self, path: str) -> None:
        if path in self._paths:
            raise BadTar(
                f"{shown(path)} comes twice in the stream, or its members do not stand together.",
                remedy="Send each product once, and the members of a directory one after the other.",
            )
        self._paths.add(path)

    def _close(self) -> None:
        if self._top:
            self._append(
                TarProduct(
                    path=self._top,
                    handed_as=self._top,
                    kind="directory",
                    tar=self._tar,
                    size=self._size,
                    start_at=self._start_at,
                    end_at=self._end_at,
                )
            )
            self._top = ""

    def _append(self, product: TarProduct) -> None:
        if len(self._products) >= MAX_PRODUCTS:
            raise TooLarge(
                f"The stream holds more than {MAX_PRODUCTS} products.", remedy="Send them as several batches."
            )
        self._products.append(product)

    def finish(self) -> list[TarProduct]:
        self._close()
        return self._products
