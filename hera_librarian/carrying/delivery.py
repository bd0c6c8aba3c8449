"""One file of a disk on its way over HTTP, into the upload that the site began when it took the offer."""

from pathlib import Path

from hera_librarian.carrying.disk import NotAsPacked
from hera_librarian.checksums import DEFAULT_ALGORITHM
from hera_librarian.exceptions import LibrarianError
from hera_librarian.models.admin import ManifestEntry
from hera_librarian.transport import Transport
from hera_librarian.uploading.memory import Forgetful
from hera_librarian.uploading.pace import Pace
from hera_librarian.uploading.patience import Patience
from hera_librarian.uploading.results import Progress
from hera_librarian.uploading.sources import FileSource, Source
from hera_librarian.uploading.tar_streams import TreeSource
from hera_librarian.uploading.tus import Delivery


class UploadGone(LibrarianError):
    """The site has no such upload any more."""

    def __init__(self, location: str) -> None:
        remedy = "Repeat the command: the file is offered anew."
        super().__init__(f"The site does not know the upload {location} any more.", remedy=remedy, code="upload_gone")


class CarriedDelivery(Delivery):
    """Brings the bytes of an upload that is there already; the site takes it in by itself once it is told."""

    def _create(self) -> None:
        raise UploadGone(self._held.location)

    def _finish(self) -> None:
        self._source.check()
        self._answer = {}


def source_of(path: Path, name: str) -> Source:
    """The stream in which a product travels over HTTP. Raises LocalProblem."""
    return TreeSource(str(path), name.rpartition("/")[2]) if path.is_dir() else FileSource(str(path))


def send(
    transport: Transport,
    path: Path,
    entry: ManifestEntry,
    location: str,
    *,
    progress: Progress | None = None,
    pace: Pace | None = None,
) -> None:
    """Send what the site does not have yet. Raises NotAsPacked, LibrarianError and what `Delivery` raises."""
    held = Forgetful()
    held.location = location
    source = source_of(path, entry.name)
    CarriedDelivery(transport, source, {}, held=held, patience=Patience(), pace=pace, progress=progress).run()
    is_read = source.hashed_bytes == source.length_bytes
    if is_read and entry.checksum.startswith(DEFAULT_ALGORITHM) and source.checksum() != entry.checksum:
        raise NotAsPacked(f"The bytes of {path} are not those of the manifest.")
