"""Taking in a disk that travelled, by its manifest.

`manifest` reads it, `disk` finds its files where the disk is mounted and copies them, `journal` remembers what was
handed over. A server of our kind is given batches (`ours`), any other one file after the other (`foreign`); `carrier`
chooses.
"""

from hera_librarian.carrying.carrier import Carrier
from hera_librarian.carrying.journal import Journal
from hera_librarian.carrying.manifest import Manifest, open_manifest
from hera_librarian.carrying.ours import Hand
from hera_librarian.carrying.results import ALREADY_HERE, COMING, FAILED, NEW, EntryResult

__all__ = [
    "ALREADY_HERE",
    "COMING",
    "FAILED",
    "NEW",
    "Carrier",
    "EntryResult",
    "Hand",
    "Journal",
    "Manifest",
    "open_manifest",
]
