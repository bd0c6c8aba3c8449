"""Downloading many files at once: several threads, an answer for each file, and the list of digests in the end."""

import errno
import os
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING

from hera_librarian.exceptions import LibrarianError, LibrarianHTTPError
from hera_librarian.finding.flat import fetch_flat
from hera_librarian.finding.folder import Folder, disk_full
from hera_librarian.finding.outcomes import DownloadResult, failed
from hera_librarian.finding.progress import Progress, Reporter, Tally
from hera_librarian.finding.results import FileResult, file_named
from hera_librarian.finding.sums import Sums
from hera_librarian.finding.trees import TreeDownload

if TYPE_CHECKING:
    from hera_librarian.client import LibrarianClient

_FULL = {errno.ENOSPC, errno.EDQUOT}
_WAITING_PER_THREAD = 2  # so that a search of a million files is read only as far as it is used


def download_files(
    client: "LibrarianClient",
    files: Iterable[FileResult | str],
    folder: str | os.PathLike[str],
    *,
    parallel: int = 4,
    progress: Progress | None = None,
    overwrite: bool = False,
    keep_directories: bool = False,
) -> Iterator[DownloadResult]:
    """Fetch files into a folder, yielding the result of each as it ends. Nothing is fetched before the first is wanted.

    A flat file comes as `<base name>.part`, which is gone on with after a cut, also by another process; a directory
    product is unpacked beside its place. Only what has the digest of the catalogue is given its name. Bytes that are
    there already are read and counted as here; other bytes are not touched. In the end `SHA256SUMS` lists all of it.

    Parameters
    ----------
    files : iterable
        Results of a search, the search itself, or names. What comes twice is fetched once.
    folder : path
        Made if it does not exist.
    parallel : int
        How many files at a time.
    progress : callable, optional
        Is told bytes as they are done, one call at a time; a negative number takes back what was of no use.
    overwrite : bool
        Replace what lies there under the same name with other bytes.
    keep_directories : bool
        Keep the directories of names that have some, instead of their last component only.

    Raises
    ------
    OSError
        The folder cannot be made. What goes wrong with one file is in its result.
    LibrarianError, LibrarianHTTPError
        `files` is a search that cannot be read on (what it gave before is fetched first), or the list of digests
        cannot be written.
    """
    os.makedirs(folder, exist_ok=True)
    place = Folder(folder, overwrite=overwrite, keep_directories=keep_directories)
    return _Batch(client, place, progress).run(files, max(1, parallel))


class _Batch:
    """Downloads that share a folder, a progress and a server."""

    def __init__(self, client: "LibrarianClient", folder: Folder, progress: Progress | None) -> None:
        self._client = client
        self._folder = folder
        self._reporter = Reporter(progress)
        self._sums = Sums(folder.path)
        self._unauthorized: LibrarianHTTPError | None = None

    def run(self, files: Iterable[FileResult | str], parallel: int) -> Iterator[DownloadResult]:
        """Results in the order in which they come in."""
        waiting: set[Future[DownloadResult]] = set()
        cannot_go_on: LibrarianError | LibrarianHTTPError | None = None
        pool = ThreadPoolExecutor(parallel, thread_name_prefix="download")
        try:
            try:
                for file in _once_each(files):
                    waiting.add(pool.submit(self._one, file))
                    if len(waiting) >= _WAITING_PER_THREAD * parallel:
                        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                        yield from (each.result() for each in done)
            except (LibrarianError, LibrarianHTTPError) as problem:  # of a search that cannot be read on
                cannot_go_on = problem
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                yield from (each.result() for each in done)
            if cannot_go_on is not None:
                raise cannot_go_on
        finally:
            self._reporter.stop()
            pool.shutdown(cancel_futures=True)
            self._write_sums()

    def _one(self, asked: FileResult | str) -> DownloadResult:
        name = asked if isinstance(asked, str) else asked.name
        tally = Tally(self._reporter)
        file: FileResult | None = None
        try:
            if self._unauthorized is not None:  # asking on with credentials that do not hold gets the address locked
                raise self._unauthorized
            file = file_named(self._client, name) if isinstance(asked, str) else asked
            return self._fetch(file, tally)
        except (LibrarianError, LibrarianHTTPError) as problem:
            if isinstance(problem, LibrarianHTTPError) and problem.status_code == 401:
                self._unauthorized = problem
            result = failed(name, problem, file.size_bytes if file else 0)
        except OSError as problem:
            result = failed(name, self._disk_error(problem), file.size_bytes if file else 0)
        tally.take_back()
        return result

    def _fetch(self, file: FileResult, tally: Tally) -> DownloadResult:
        place = self._folder.place_of(file.name)
        if file.is_directory:
            tree = TreeDownload(self._client, file, place, self._folder, tally)
            outcome = tree.fetch()
            members = [(f"{place}/{entry.path}", entry.sha256) for entry in tree.entries if entry.sha256]
            fetched = tree.bytes_fetched
        else:
            content = file.content()
            outcome = fetch_flat(content, place, self._folder, tally, file.other_stores)
            members = [(str(place), file.digest)]
            fetched = content.bytes_fetched
        for path, sha256 in members:
            self._sums.add(os.path.relpath(path, self._folder.path), sha256)
        return DownloadResult(file.name, place, outcome, file.size_bytes, file.digest, fetched)

    def _write_sums(self) -> None:
        try:
            self._sums.write()
        except OSError as problem:
            raise self._disk_error(problem) from problem

    def _disk_error(self, problem: OSError) -> LibrarianError:
        if problem.errno in _FULL:
            return disk_full(self._folder.path)
        return LibrarianError(
            f"It cannot be written to {problem.filename or self._folder.path}: {problem.strerror or problem}.",
            remedy="Check permissions and the disk, or use another folder.",
            code="cannot_write",
        )


def _once_each(files: Iterable[FileResult | str]) -> Iterator[FileResult | str]:
    seen: set[str] = set()
    for file in files:
        name = file if isinstance(file, str) else file.name
        if name not in seen:
            seen.add(name)
            yield file
