"""The disk's own papers, at its root: its manifest, a page for people, SHA256SUMS, and a program that checks it all.

By them the arrival of a disk can be checked without any server. Only a posix store gets them, from a host that mounts
it; they are no archived files, which the store's backend knows by their names. The page is written last.
"""

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from django.conf import settings

from files.models import FileKind, FileMember, Instance
from hera_librarian.models.admin import ManifestEntry
from librarian.common.errors import ArchiveError, Conflict, Refused
from network.models import Shipment
from network.services.shipping.manifest import batches_of, manifest_path
from stores.backends.places import INDEX_PAPER, MANIFEST_PAPER, PAPERS, SUMS_PAPER, VERIFIER_PAPER
from stores.models import Store

VERIFIER = Path(__file__).with_name("verify.py")
BLOCK_BYTES = 2**20
NAMES_SHOWN = 2_000


class PapersProblem(Refused):
    """The papers were not written on the disk; the trip goes on without."""

    code = "disk_papers_not_written"
    remedy = "Copy the manifest onto the disk by hand, or pack it on a host that mounts it."


class PlaceOfPaper(Conflict):
    code = "paper_place_occupied"
    remedy = "Files at the root of a travelling store may not have these names; copy it to another store."


def check_room_for_papers(store: Store) -> None:
    """Raise PlaceOfPaper if a file of the archive lies where a paper has to go."""
    taken = Instance.objects.filter(store=store, path__in=PAPERS).values_list("path", flat=True).first()
    if taken is not None:
        raise PlaceOfPaper(f"Store {store.name} holds a file of the archive at {taken}, where a paper of its own goes.")


def write_papers(shipment: Shipment) -> None:
    """Write the papers of a sealed trip, each whole or not at all. Raises PapersProblem, NoManifest."""
    store = shipment.store
    if store.kind != Store.Kind.POSIX:
        raise PapersProblem(f"Papers are not written on store {store.name}, which is no directory of this machine.")
    if not store.is_reached_from(settings.LIBRARIAN_HOST_NAME):
        raise PapersProblem(f"Store {store.name} is not mounted on {settings.LIBRARIAN_HOST_NAME}.")
    if not store.travelling:
        raise PapersProblem(f"Store {store.name} is not marked as travelling: no papers are written on it.")
    try:
        if has_papers(shipment):
            return
        with store.backend.holding():
            write = store.backend.write_paper
            write(VERIFIER_PAPER, [VERIFIER.read_bytes()])
            write(SUMS_PAPER, _sums(shipment))
            write(MANIFEST_PAPER, _blocks(manifest_path(shipment)))
            write(INDEX_PAPER, _page(shipment))
    except (ArchiveError, OSError) as problem:
        said = problem.reason if isinstance(problem, ArchiveError) else str(problem)
        raise PapersProblem(f"The papers were not written on the disk. {said}") from problem


def has_papers(shipment: Shipment) -> bool:
    """True if the disk's page, which is written last, is that of this manifest. Raises StoreUnavailable."""
    page = shipment.store.backend.read_paper(INDEX_PAPER, limit_bytes=4096)
    return page is not None and shipment.seal.encode() in page


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            yield block


# --- SHA256SUMS -------------------------------------------------------------------------------------------------------


def _sums(shipment: Shipment) -> Iterator[bytes]:
    """As `sha256sum` writes and reads it: a line for each file, and for each member of a directory product."""
    yield sum_line(shipment.seal, MANIFEST_PAPER)
    for entries in batches_of(shipment):
        for entry in entries:
            yield b"".join(_lines_of(entry))


def _lines_of(entry: ManifestEntry) -> Iterator[bytes]:
    if entry.kind == FileKind.FLAT:
        yield sum_line(entry.digest, entry.place)
        return
    members = FileMember.objects.filter(file__name=entry.name, kind=FileMember.Kind.FILE).order_by("pk")
    for path, digest in members.values_list("path", "sha256").iterator():
        yield sum_line(digest, f"{entry.place}/{path}")


def sum_line(digest: str, path: str) -> bytes:
    """One line of SHA256SUMS. A path with a backslash or a line end is written escaped, and the line says so."""
    escaped = path.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    mark = "\\" if escaped != path else ""
    return f"{mark}{digest}  {escaped}\n".encode()


# --- The page ---------------------------------------------------------------------------------------------------------

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<!-- seal {seal} -->
<style>body{{font:16px/1.5 sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}}
code,pre,td{{font-family:monospace}}pre{{background:#eee;color:#111;padding:.5rem;overflow-x:auto}}
td,th{{text-align:left;padding:0 1rem 0 0}}</style></head><body>
<h1>{title}</h1>
<p>This disk carries {count} files ({size} bytes) of the Librarian <b>{site}</b>{destination}. It was packed on {packed}
UTC. It belongs to the archive: please change nothing on it.</p>
<h2>Seal</h2>
<p>The SHA-256 of <code>{manifest}</code> is the seal of this disk. Compare it with what the sender told you on another
way.</p><pre>{seal}</pre>
<h2>Has everything arrived unharmed?</h2>
<p>With Python 3.8 or newer, and no network, in the directory of this page:</p>
<pre>python3 {verifier} --seal {seal}</pre>
<p>or, without Python (it does not see what is missing from the list):</p><pre>sha256sum --quiet --check {sums}</pre>
<h2>Taking the files in</h2>
<p>On a machine with the command <code>librarian</code> and an account at the receiving site:</p>
<pre>librarian ingest-manifest CONNECTION --manifest {manifest} --store-root .</pre>
<p>It may be interrupted and repeated. The sender is told by itself when the files are safe.</p>
<h2>Files</h2>
<table><tr><th>bytes</th><th>name</th><th>where</th></tr>
"""


def _page(shipment: Shipment) -> Iterator[bytes]:
    site, store = settings.LIBRARIAN_NAME, shipment.store.name
    fields = {
        "title": f"Disk {store} of {site}, shipment {shipment.pk}",
        "seal": shipment.seal,
        "count": str(shipment.file_count),
        "size": str(shipment.size_bytes),
        "site": site,
        "destination": f" for {shipment.peer_name}" if shipment.peer_name else "",
        "packed": f"{shipment.created_at:%Y-%m-%d %H:%M}",
        "manifest": MANIFEST_PAPER,
        "verifier": VERIFIER_PAPER,
        "sums": SUMS_PAPER,
    }
    yield _PAGE.format(**{key: escape(value) for key, value in fields.items()}).encode()
    shown = 0
    for entries in batches_of(shipment):
        yield "".join(_row(entry) for entry in entries[: NAMES_SHOWN - shown]).encode()
        shown += len(entries)
        if shown >= NAMES_SHOWN:
            break
    rest = shipment.file_count - NAMES_SHOWN
    more = f"<p>… and {rest} more, which {SUMS_PAPER} and {MANIFEST_PAPER} list.</p>" if rest > 0 else ""
    yield f"</table>{more}</body></html>\n".encode()


def _row(entry: ManifestEntry) -> str:
    cells: Sequence[str] = (str(entry.size), entry.name, entry.place)
    return f"<tr>{''.join(f'<td>{escape(cell)}</td>' for cell in cells)}</tr>\n"
