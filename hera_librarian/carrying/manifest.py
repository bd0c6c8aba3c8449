"""Reading a manifest piece by piece: one of a million files is never in memory as a whole."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

from pydantic import ValidationError

from hera_librarian.exceptions import LibrarianError
from hera_librarian.models.admin import ManifestEntry

PIECE = 1 << 20
MOST_AT_ONCE = 1 << 26  # characters of one value; more is no manifest


class InvalidManifest(LibrarianError):
    """The file is not what `get-store-manifest` writes."""

    def __init__(self, path: Path, what: str) -> None:
        remedy = "Write it anew with get-store-manifest."
        super().__init__(f"{path} is not a manifest: {what}.", remedy=remedy, code="invalid_manifest")


@dataclass(frozen=True)
class Manifest:
    """What a manifest says before its files, and in sum. `features` are extensions of the site that wrote it."""

    path: Path
    seal: str
    librarian_name: str
    store_name: str
    features: tuple[str, ...] = ()
    file_count: int = 0
    size_bytes: int = 0

    def entries(self) -> Iterator[ManifestEntry]:
        """Its files, in order."""
        for kind, value in _parts(self.path):
            if kind == "entry":
                yield _entry(self.path, value)


def open_manifest(path: Path) -> Manifest:
    """Read a manifest once: its head, its sums and its seal. Raises InvalidManifest, OSError."""
    head: dict[str, Any] = {}
    count = size_bytes = 0
    for kind, value in _parts(path):
        if kind == "head":
            head |= value
            continue
        entry = _entry(path, value)
        count += 1
        size_bytes += entry.size
    for key in ("librarian_name", "store_name"):
        if not isinstance(head.get(key), str):
            raise InvalidManifest(path, f"{key} is wrong or missing")
    for key, found in (("file_count", count), ("size_bytes", size_bytes)):
        if head.get(key) not in (None, found):
            raise InvalidManifest(path, f"its {key} is {head[key]}, but it lists {found}")
    features = head.get("librarian_features")
    return Manifest(
        path=path,
        seal=_seal(path),
        librarian_name=head["librarian_name"],
        store_name=head["store_name"],
        features=tuple(each for each in features if isinstance(each, str)) if isinstance(features, list) else (),
        file_count=count,
        size_bytes=size_bytes,
    )


def _entry(path: Path, value: Any) -> ManifestEntry:
    try:
        return ManifestEntry.model_validate(value)
    except ValidationError as problem:
        place = ".".join(str(part) for part in problem.errors(include_url=False)[0]["loc"]) or "an entry"
        raise InvalidManifest(path, f"{place} is wrong or missing") from None


def _seal(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parts(path: Path) -> Iterator[tuple[str, Any]]:
    """`head` with one field of the object, or `entry` with one of `store_files`."""
    try:
        with path.open(encoding="utf-8") as file:
            yield from _Reader(path, file).parts()
    except UnicodeDecodeError:
        raise InvalidManifest(path, "it is no text") from None


class _Reader:
    """JSON values one after the other from a growing piece of text."""

    def __init__(self, path: Path, file: TextIO) -> None:
        self._path, self._file = path, file
        self._text, self._at = "", 0
        self._decode = json.JSONDecoder().raw_decode

    def parts(self) -> Iterator[tuple[str, Any]]:
        self._expect("{")
        is_listed = False
        while True:
            key = self._value()
            self._expect(":")
            if key == "store_files":
                is_listed = True
                for value in self._items():
                    yield "entry", value
            else:
                yield "head", {key: self._value()}
            if self._next() != ",":
                break
        if not is_listed:
            raise self._wrong("store_files is wrong or missing")

    def _items(self) -> Iterator[Any]:
        self._expect("[")
        if self._peek() == "]":
            self._at += 1
            return
        while True:
            yield self._value()
            if self._next() != ",":
                return

    def _value(self) -> Any:
        self._peek()
        while True:
            try:
                value, end = self._decode(self._text, self._at)
            except ValueError:
                if not self._more():
                    raise self._wrong("the whole is wrong or missing") from None
                continue
            if end == len(self._text) and self._more():
                continue  # a number may go on
            self._at = end
            return value

    def _peek(self) -> str:
        """The next character that is no blank."""
        while True:
            while self._at < len(self._text) and self._text[self._at] in " \t\r\n":
                self._at += 1
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                raise self._wrong("it was cut off")

    def _next(self) -> str:
        character = self._peek()
        self._at += 1
        return character

    def _expect(self, wanted: str) -> None:
        if self._next() != wanted:
            raise self._wrong("the whole is wrong or missing")

    def _more(self) -> bool:
        piece = self._file.read(PIECE)
        self._text, self._at = self._text[self._at :] + piece, 0
        if len(self._text) > MOST_AT_ONCE:
            raise self._wrong("one of its values is too long")
        return bool(piece)

    def _wrong(self, what: str) -> InvalidManifest:
        return InvalidManifest(self._path, what)
