"""One file as a search gives it, its copies and members, and the ways to its bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hera_librarian.exceptions import LibrarianError
from hera_librarian.finding.content import Content
from hera_librarian.finding.pages import MOST_PER_PAGE, file_address, read_json, rows
from hera_librarian.finding.places import path_here, stores_to_try
from hera_librarian.finding.remote_file import RemoteFile
from hera_librarian.finding.shown import as_html, size_text
from hera_librarian.times import parse_utc

if TYPE_CHECKING:
    from hera_librarian.client import LibrarianClient


@dataclass(frozen=True, slots=True)
class Member:
    """One entry of a directory product: `kind` is `file` or `empty_directory`; `sha256` is empty for the latter."""

    kind: str
    path: str
    size_bytes: int
    sha256: str

    @property
    def is_file(self) -> bool:
        """True for what has bytes."""
        return bool(self.sha256)


@dataclass(frozen=True, slots=True)
class InstanceResult:
    """A copy on one of the site's stores. `location` is its address for programs that share the store's disk."""

    store: str
    path: str
    location: str
    presence: str
    condition: str
    condition_at: datetime | None


@dataclass(frozen=True, slots=True)
class FileResult:
    """A file of the catalogue as it was when the server was asked. Times are aware and in UTC, sizes in bytes."""

    _client: "LibrarianClient" = field(repr=False, compare=False)
    name: str
    kind: str
    size_bytes: int
    checksum: str
    digest: str
    uploader: str
    source: str
    obsid: int | None
    registered_at: datetime
    first_registered_at: datetime
    copies: str
    local_count: int
    remote_count: int

    @classmethod
    def from_row(cls, client: "LibrarianClient", row: dict[str, Any]) -> "FileResult":
        """The file that the API describes. Raises LibrarianError when that is no description of one."""
        with _described("file"):
            values = {name: row[name] for name in cls.__slots__ if name != "_client"}
            times = {name: parse_utc(row[name]) for name in ("registered_at", "first_registered_at")}
        return cls(client, **{**values, **times})

    def __repr__(self) -> str:
        return f"<FileResult {self.name} ({size_text(self.size_bytes)})>"

    def _repr_html_(self) -> str:
        return as_html(self)

    @property
    def is_directory(self) -> bool:
        """True for a directory product, False for a flat file."""
        return self.kind == "directory"

    @property
    def base_name(self) -> str:
        """Last component of the name."""
        return self.name.rpartition("/")[2]

    def members(self) -> Iterator[Member]:
        """Entries of a directory product in the order of its tree digest, page by page; none for a flat file."""
        address = file_address(self.name, "members")
        for row in rows(self._client, address, {"limit": MOST_PER_PAGE}):
            with _described("member"):
                member = Member(row["kind"], row["path"], row["size_bytes"], row["sha256"])
            yield member

    def instances(self) -> list[InstanceResult]:
        """Every copy at the site, asked for now."""
        found = read_json(self._client, file_address(self.name)).get("instances", [])
        return [_instance(row) for row in found]

    def other_stores(self) -> list[str]:
        """Stores to ask by name once a copy has proved bad; empty when there is but one copy."""
        return stores_to_try(self.instances())

    def path(self) -> Path | None:
        """Where a copy lies on a disk that this machine shares; None if there is none.

        A copy counts when something of its kind and size lies at its place here. Read it, never write to it.
        """
        return path_here(self.instances(), is_directory=self.is_directory, size_bytes=self.size_bytes)

    def open(self, member: str | None = None) -> RemoteFile:
        """The bytes as a file that is read over HTTP, only where they are looked at.

        Parameters
        ----------
        member : str, optional
            Which entry of a directory product; its path as in `members()`.

        Raises LibrarianError for a directory product without `member`, and for a member that there is not.
        """
        return RemoteFile(self.content(member), name=f"{self.name}/{member}" if member else self.name)

    def content(self, member: str | None = None) -> Content:
        """The bytes as blocks from any offset; see `open`."""
        if member is not None:
            entry = self._member(member)
            return Content(self._client, self.name, entry.size_bytes, entry.sha256, member=entry.path)
        if self.is_directory:
            raise LibrarianError(
                f"{self.name} is a directory product, which has no bytes of its own.",
                remedy="Open one of its members(), such as open(member='header'), or download it.",
                code="is_directory",
            )
        return Content(self._client, self.name, self.size_bytes, self.digest)

    def download(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Fetch the file into `folder`, verified, and return its path; see `download_files`. Raises LibrarianError."""
        from hera_librarian.finding.downloads import download_files

        [result] = download_files(self._client, [self], folder, parallel=1, overwrite=overwrite)
        if result.path is None:
            raise LibrarianError(result.reason, remedy=result.remedy, code=result.code)
        return result.path

    def _member(self, path: str) -> Member:
        found = next((entry for entry in self.members() if entry.path == path and entry.is_file), None)
        if found is None:
            raise LibrarianError(
                f"{self.name} has no member {path!r} with bytes.", remedy="List its members().", code="not_found"
            )
        return found


def file_named(client: "LibrarianClient", name: str) -> FileResult:
    """The file of this name, which the server normalises as on filing. Raises LibrarianHTTPError if there is none."""
    return FileResult.from_row(client, read_json(client, file_address(name)))


def _instance(row: dict[str, Any]) -> InstanceResult:
    with _described("copy"):
        at = parse_utc(row["condition_at"]) if row["condition_at"] else None
        return InstanceResult(row["store"], row["path"], row["location"], row["presence"], row["condition"], at)


@contextmanager
def _described(what: str) -> Iterator[None]:
    """Turn what goes wrong with a description into a LibrarianError."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as problem:
        raise LibrarianError(
            f"The server's description of a {what} cannot be read ({problem!r}).",
            remedy="Check that the address is that of a Librarian, and whether a newer client is to be had.",
            code="strange_answer",
        ) from problem
