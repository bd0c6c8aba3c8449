"""Watching a folder on an instrument and delivering what appears in it, exactly once, through whatever happens."""

from hera_librarian.watching.journal import Journal, State
from hera_librarian.watching.status import read_status
from hera_librarian.watching.watcher import Watcher

__all__ = ["Journal", "State", "Watcher", "read_status"]
