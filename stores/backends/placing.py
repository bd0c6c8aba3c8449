"""Giving a staged item its place, never overwriting, and knowing it again after a crash.

A flat file is linked: it has both names until staging is dropped, so its inode tells. A directory is renamed: a note
beside it, durable before the rename, keeps its inode number. Where a file system has no links, files go the same way;
where it cannot rename without overwriting, the place is first claimed by an empty file or directory.
"""

import errno
import json
import os
import stat

from stores.backends import durable
from stores.backends.base import PlaceOccupied
from stores.backends.reading import Settling, is_ours

ITEM = "item"
NOTE = "placing.json"
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)


def place(token: int, parent: int, name: str, shown: str, settling: Settling) -> None:
    """Move the item of the staging directory `token` to `name` in `parent`.

    Raises PlaceOccupied, naming `shown`, when other bytes are there, and FileNotFoundError when there is no item and
    the place is not it either.
    """
    item = durable.look(ITEM, at=token)
    if item is None:
        _finish_earlier(token, parent, name, settling)
    elif stat.S_ISDIR(item.st_mode) or not _link(token, parent, name, shown, item):
        _rename(token, parent, name, shown, item, settling)


def is_placed(token: int, parent: int, name: str) -> bool:
    """True if `name` in `parent` is the item of the staging directory `token`."""
    there = durable.look(name, at=parent)
    if there is None:
        return False
    item = durable.look(ITEM, at=token)
    if item is not None:
        return (item.st_dev, item.st_ino) == (there.st_dev, there.st_ino)
    return _noted(token).get("inode") == there.st_ino


def _finish_earlier(token: int, parent: int, name: str, settling: Settling) -> None:
    if not is_placed(token, parent, name):
        raise FileNotFoundError(errno.ENOENT, "no staged item", ITEM)
    _settle_top(parent, name, settling)


def _link(token: int, parent: int, name: str, shown: str, item: os.stat_result) -> bool:
    """Link a flat item; False where the file system has no links."""
    try:
        os.link(ITEM, name, src_dir_fd=token, dst_dir_fd=parent, follow_symlinks=False)
    except FileExistsError:
        there = durable.look(name, at=parent)
        if there is None or (there.st_dev, there.st_ino) != (item.st_dev, item.st_ino):
            if _is_claim(_noted(token), there):
                return False  # claimed for us on a file system without links, before a crash
            raise _occupied(shown) from None
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        return False
    return True


def _rename(token: int, parent: int, name: str, shown: str, item: os.stat_result, settling: Settling) -> None:
    note = {"inode": item.st_ino}
    earlier = _noted(token)
    if earlier.get("inode") == item.st_ino and "claim" in earlier:
        note["claim"] = earlier["claim"]
    _note(token, note)
    try:
        renamed = durable.rename_exclusively(ITEM, name, at=token, to=parent)
    except FileExistsError:
        there = durable.look(name, at=parent)
        if not _is_claim(note, there):
            raise _occupied(shown) from None
        renamed = False
    if not renamed:
        _rename_onto_claim(token, parent, name, shown, item, note)
    _settle_top(parent, name, settling)


def _rename_onto_claim(
    token: int, parent: int, name: str, shown: str, item: os.stat_result, note: dict[str, int]
) -> None:
    """Take the name with an empty entry of the item's kind, which nobody else can take, and rename onto it."""
    if not _is_claim(note, durable.look(name, at=parent)):
        try:
            if stat.S_ISDIR(item.st_mode):
                os.mkdir(name, 0o755, dir_fd=parent)
            else:
                os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o644, dir_fd=parent))
        except FileExistsError:
            raise _occupied(shown) from None
        claimed = os.stat(name, dir_fd=parent, follow_symlinks=False)
        _note(token, {**note, "claim": claimed.st_ino})
    os.rename(ITEM, name, src_dir_fd=token, dst_dir_fd=parent)


def _settle_top(parent: int, name: str, settling: Settling) -> None:
    """A directory is settled after its move: the rename of a read-only one is refused to all but root."""
    seen = os.stat(name, dir_fd=parent, follow_symlinks=False)
    if stat.S_ISDIR(seen.st_mode):
        with durable.closing(durable.open_directory(name, at=parent)) as fd:
            settling.apply(fd, directory=True)


def _is_claim(note: dict[str, int], there: os.stat_result | None) -> bool:
    """True if what lies at a place is the empty entry by which we claimed it. (Only an empty directory is replaced.)"""
    if there is None or note.get("claim") != there.st_ino:
        return False
    return stat.S_ISDIR(there.st_mode) or (stat.S_ISREG(there.st_mode) and there.st_size == 0)


def _noted(token: int) -> dict[str, int]:
    """The note, if we wrote it: a client that may write to its staging directory could have left another."""
    try:
        with durable.closing(durable.open_for_reading(NOTE, at=token)) as fd:
            if not is_ours(os.fstat(fd)):
                return {}
            found = json.loads(os.read(fd, 4096))
    except (FileNotFoundError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _note(token: int, note: dict[str, int]) -> None:
    durable.replace_file(NOTE, json.dumps(note).encode(), at=token)


def _occupied(shown: str) -> PlaceOccupied:
    return PlaceOccupied(
        f"Something else lies at {shown}.", remedy="Choose another place; what lies there was not touched."
    )
