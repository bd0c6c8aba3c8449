"""What an archive of many files says of itself: `manifest.json` with every file asked for, delivered or not and why,
and `SHA256SUMS` as `sha256sum -c` reads it.

Both are gathered while the files are sent, in temporary files, so that memory does not grow with the archive.
"""

import hashlib
import json
from collections.abc import Iterator
from tempfile import SpooledTemporaryFile
from types import TracebackType
from typing import Any, Self

from django.conf import settings
from django.utils import timezone

from files.models import File
from librarian.common.errors import ArchiveError
from librarian.common.pages import export_time

_IN_MEMORY_BYTES = 2**17
_BLOCK_BYTES = 2**18
_SHOWN_PROBLEMS = 20


class ArchiveLists:
    """The two lists of one archive. A context manager: the temporary files go with it."""

    def __init__(self) -> None:
        self.delivered_count = self.left_out_count = 0
        self.first_problems: list[tuple[str, ArchiveError]] = []
        self._manifest, self._sums = _Spool(), _Spool()
        began = {"site": settings.LIBRARIAN_NAME, "made_at": export_time(timezone.now())}
        self._manifest.write(json.dumps(began)[:-1] + ',\n"files": [')

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._manifest.close()
        self._sums.close()

    def deliver(self, file: File) -> None:
        """Note a file that is sent. Entries of a directory product are summed up one by one, as they are sent."""
        self._list({**_told(file), "delivered": True})
        self.delivered_count += 1
        if not file.is_directory:
            self.sum_up(file.digest, file.name)

    def leave_out(self, name: str, problem: ArchiveError, file: File | None = None) -> None:
        """Note a file that cannot be sent, or a name that is no file."""
        told = {"name": name, **(_told(file) if file else {}), "delivered": False, **problem.as_answer()}
        self._list(told)
        self.left_out_count += 1
        if len(self.first_problems) < _SHOWN_PROBLEMS:
            self.first_problems.append((name, problem))

    def sum_up(self, sha256: str, path: str) -> None:
        """Note the SHA-256 of what lies at `path` in the archive. Names have no line breaks, so none is escaped."""
        self._sums.write(f"{sha256}  {'./-' if path == '-' else path}\n")  # a bare - would be standard input

    def finish_manifest(self, name: str) -> tuple[int, Iterator[bytes]]:
        """Size and blocks of the manifest, which stands in the archive as `name`; the sums then hold it too."""
        counts = {"delivered_count": self.delivered_count, "left_out_count": self.left_out_count}
        self._manifest.write("\n],\n" + json.dumps(counts)[1:] + "\n")
        self.sum_up(self._manifest.sha256.hexdigest(), name)
        return self._manifest.finish()

    def finish_sums(self, name: str) -> tuple[int, Iterator[bytes]]:
        """Size and blocks of the sums."""
        return self._sums.finish()

    def _list(self, told: dict[str, Any]) -> None:
        comma = "," if self.delivered_count or self.left_out_count else ""
        self._manifest.write(f"{comma}\n{json.dumps(told, ensure_ascii=False)}")


class _Spool:
    """Text on its way into the archive, with its size and SHA-256."""

    def __init__(self) -> None:
        self._file = SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115 (closed by ArchiveLists)
        self.sha256 = hashlib.sha256()
        self._size_bytes = 0

    def write(self, text: str) -> None:
        data = text.encode()
        self._file.write(data)
        self.sha256.update(data)
        self._size_bytes += len(data)

    def finish(self) -> tuple[int, Iterator[bytes]]:
        self._file.seek(0)
        return self._size_bytes, iter(lambda: self._file.read(_BLOCK_BYTES), b"")

    def close(self) -> None:
        self._file.close()


def _told(file: File) -> dict[str, Any]:
    return {
        "name": file.name,
        "kind": file.kind,
        "size_bytes": file.size_bytes,
        "digest": file.digest,
        "checksum": file.checksum,
        "obsid": file.obsid,
    }
