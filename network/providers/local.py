"""Copying into staging areas of the peer that this machine mounts too.

A peer may name any path, so nothing is written but below the directories that a person allowed for it, and no link is
followed below them. Bytes gather under a temporary name beside the destination, where the next attempt finds them, and
get their name once they are all there. Making them durable is the receiver's duty, who reads them again anyway.
"""

import errno
import fcntl
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from django.conf import settings

from librarian.common.errors import ArchiveError
from network.models import Peer
from network.providers import trouble
from network.providers.base import Offer, Outcome, Parcel, Provider, Sending, failed, sent, stopped
from network.providers.streams import SourceChanged, exactly
from stores.backends import durable

FILE_MODE = 0o664
DIRECTORY_MODE = 0o775
CHUNK_BYTES = 8 * 2**20
# Not between these two, or (EIO) better told apart by reading here: which of the two disks is it?
_ELSEWISE = (errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EBADF, errno.ETXTBSY, errno.EIO)
_SOURCE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class LocalProvider(Provider):
    """Copies on file systems that both sites mount."""

    name = "local"

    def offered_as(self, offer: Offer) -> bool:
        hosts = offer.get("hostnames")
        return isinstance(hosts, list) and all(isinstance(host, str) for host in hosts)

    def why_not(self, peer: Peer, offer: Offer) -> str | None:
        if settings.LIBRARIAN_HOST_NAME not in offer["hostnames"]:
            return f"this host, {settings.LIBRARIAN_HOST_NAME}, is none of those that mount its staging area."
        if not peer.shared_directories:
            return (
                f"no shared directories are allowed for {peer.name}; an administrator enters on its page those of its "
                "staging areas that are mounted here."
            )
        return None

    def send(self, peer: Peer, offer: Offer, parcels: Sequence[Parcel], sending: Sending) -> Iterator[Outcome]:
        for parcel in parcels:
            yield _Copy(parcel, sending).run(peer.shared_directories)


class _Stop(Exception):
    """The provider shall end."""


class _Settled(Exception):
    """The outcome is known."""

    def __init__(self, outcome: Outcome) -> None:
        super().__init__(outcome.reason)
        self.outcome = outcome


class _Copy:
    """One parcel being copied."""

    def __init__(self, parcel: Parcel, sending: Sending) -> None:
        self._parcel = parcel
        self._sending = sending
        self._chunk_bytes = CHUNK_BYTES if sending.pace is None else sending.pace.block_bytes
        self._copied = 0

    def run(self, allowed: Iterable[str]) -> Outcome:
        if not self._sending.goes_on():
            return stopped(self._parcel)
        try:
            with self._open_parent(allowed) as parent:
                return self._copy(parent, os.path.basename(self._parcel.destination_path))
        except _Settled as settled:
            return settled.outcome
        except _Stop:
            return stopped(self._parcel)
        except SourceChanged as problem:
            return trouble.short(self._parcel, str(problem))
        except ArchiveError as problem:
            return failed(self._parcel, problem)
        except OSError as error:
            return trouble.destination_error(self._parcel, error)

    # --- The place ----------------------------------------------------------------------------------------------------

    @contextmanager
    def _open_parent(self, allowed: Iterable[str]) -> Iterator[int]:
        """The directory that the destination lies in, made if it is missing; its way there has no link in it."""
        path = self._parcel.destination_path
        if problem := trouble.path_problem(path):
            raise _Settled(trouble.destination_refused(self._parcel, problem))
        parent = os.path.realpath(os.path.dirname(path))
        for directory in map(os.path.realpath, allowed):
            if parent == directory or parent.startswith(f"{directory}/"):
                break
        else:
            raise _Settled(
                trouble.destination_refused(self._parcel, "it lies in none of the directories that are allowed for it")
            )
        with durable.closing(durable.open_root(directory)) as root:
            fd = _descend(root, [part for part in parent[len(directory) :].split("/") if part])
        with durable.closing(fd):
            yield fd

    def _copy(self, parent: int, name: str) -> Outcome:
        if self._is_there(parent, name):
            return self._done()
        part = f".{hashlib.sha256(os.fsencode(name)).hexdigest()[:16]}.part"
        if self._parcel.is_directory:
            self._copy_tree(parent, part)
        else:
            self._copy_flat(parent, part)
        self._place(parent, part, name)
        return self._done()

    def _done(self) -> Outcome:
        self._sending.progress(self._parcel.transfer_id, self._parcel.size_bytes)
        return sent(self._parcel)

    def _is_there(self, parent: int, name: str) -> bool:
        """True if a former attempt got to its end. Refuses what else may lie there."""
        seen = durable.look(name, at=parent)
        if seen is None:
            return False
        if seen.st_uid == os.geteuid() and self._is_whole(parent, name, seen):
            return True
        raise _Settled(trouble.destination_occupied(self._parcel))

    def _is_whole(self, parent: int, name: str, seen: os.stat_result) -> bool:
        if not self._parcel.is_directory:
            return stat.S_ISREG(seen.st_mode) and seen.st_size == self._parcel.size_bytes
        if not stat.S_ISDIR(seen.st_mode):
            return False
        with durable.closing(durable.open_directory(name, at=parent)) as top:
            return all(_has_member(top, member.path, member.size_bytes) for member in self._parcel.entries)

    def _place(self, parent: int, part: str, name: str) -> None:
        """Give what is whole its name, never in place of something else."""
        try:
            if durable.rename_exclusively(part, name, at=parent, to=parent):
                return
            if self._parcel.is_directory:
                os.rename(part, name, src_dir_fd=parent, dst_dir_fd=parent)  # onto nothing, or an empty directory
                return
            os.link(part, name, src_dir_fd=parent, dst_dir_fd=parent, follow_symlinks=False)
            os.unlink(part, dir_fd=parent)
        except (FileExistsError, NotADirectoryError):
            raise _Settled(trouble.destination_occupied(self._parcel)) from None

    # --- Bytes --------------------------------------------------------------------------------------------------------

    def _copy_flat(self, parent: int, part: str) -> None:
        with _open_part(part, parent, self._parcel.size_bytes) as target:
            self._lock(target)
            self._fill(target, "", self._parcel.size_bytes)

    def _copy_tree(self, parent: int, part: str) -> None:
        with durable.closing(_own_directory(part, parent)) as top:
            self._lock(top)
            for member in self._parcel.entries:
                *folders, name = member.path.split("/")
                if member.kind == "empty_directory":
                    os.close(_descend(top, [*folders, name]))
                    continue
                with (
                    durable.closing(_descend(top, folders)) as folder,
                    _open_part(name, folder, member.size_bytes) as target,
                ):
                    self._fill(target, member.path, member.size_bytes)

    def _lock(self, fd: int) -> None:
        """Two at once would undo each other's work: a job that is believed dead may still be copying."""
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _Settled(
                failed(
                    self._parcel,
                    code="destination_busy",
                    reason=f"Another process still copies {self._parcel.file_name} there.",
                    remedy="It ends by itself; the file is tried again later.",
                    passing=True,
                )
            ) from None
        except OSError:
            pass  # a file system without locks

    def _fill(self, target: int, member: str, size_bytes: int) -> None:
        """Bring a part, whatever a former attempt left of it, to its full size."""
        offset = os.fstat(target).st_size
        self._count(offset)
        source = self._open_source(member)
        if source is None:
            self._write_blocks(target, member, offset, size_bytes)
        else:
            with durable.closing(source):
                self._check_size(os.fstat(source).st_size, member, size_bytes)
                self._copy_range(source, target, member, offset, size_bytes)
        os.fchmod(target, FILE_MODE)

    def _open_source(self, member: str) -> int | None:
        """The bytes as a file of this machine; None where only their store can give them."""
        location = self._parcel.source.location
        if location is None:
            return None
        try:
            fd = self._open_member(location, member) if member else os.open(location, _SOURCE)
        except OSError:
            return None  # a link inside the product; or something that the store says better
        if stat.S_ISREG(os.fstat(fd).st_mode):
            return fd
        os.close(fd)
        raise _Settled(trouble.different(self._parcel, f"{member or 'it'} is no regular file"))

    def _open_member(self, location: str, member: str) -> int:
        *folders, name = member.split("/")
        with (
            durable.closing(durable.open_directory(location)) as top,
            durable.closing(durable.descend(top, folders)) as at,
        ):
            return os.open(name, _SOURCE, dir_fd=at)

    def _check_size(self, found: int, member: str, size_bytes: int) -> None:
        outcome = trouble.wrong_size(self._parcel, found, size_bytes)
        if outcome is not None:
            raise _Settled(outcome)

    def _copy_range(self, source: int, target: int, member: str, offset: int, size_bytes: int) -> None:
        """Inside the kernel, which shares the blocks where the file system can; else through here."""
        while offset < size_bytes:
            wanted = self._next(size_bytes - offset)
            try:
                count = os.copy_file_range(source, target, wanted, offset, offset)
            except OSError as error:
                if error.errno not in _ELSEWISE:
                    raise
                self._write_blocks(target, member, offset, size_bytes)
                return
            if not count:
                raise SourceChanged(f"{member or 'it'} ends {size_bytes - offset} bytes early")
            offset += count
            self._count(count)

    def _write_blocks(self, target: int, member: str, offset: int, size_bytes: int) -> None:
        source = self._parcel.source
        os.lseek(target, offset, os.SEEK_SET)
        if offset == size_bytes:
            return
        for block in exactly(source.backend, source.place, member, offset=offset, length=size_bytes - offset):
            for start in range(0, len(block), self._chunk_bytes):
                self._next(len(block) - start)
            durable.write_all(target, block)
            self._count(len(block))

    def _next(self, left: int) -> int:
        """How many bytes may go now. Raises _Stop."""
        if not self._sending.goes_on():
            raise _Stop
        count = min(left, self._chunk_bytes)
        if self._sending.pace is not None:
            self._sending.pace.wait(count)
        return count

    def _count(self, count: int) -> None:
        self._copied += count
        self._sending.progress(self._parcel.transfer_id, self._copied)


def _descend(root: int, parts: Sequence[str]) -> int:
    """Open a directory below another without following links, making what is missing."""
    fd = os.dup(root)
    for part in parts:
        with durable.closing(fd):
            fd = _own_directory(part, fd)
    return fd


def _own_directory(name: str, at: int) -> int:
    """Open a directory, made if it is missing, with the mode of ours whatever the umask."""
    try:
        os.mkdir(name, DIRECTORY_MODE, dir_fd=at)
    except FileExistsError:
        return durable.open_directory(name, at=at)
    fd = durable.open_directory(name, at=at)
    os.fchmod(fd, DIRECTORY_MODE)
    return fd


@contextmanager
def _open_part(name: str, at: int, size_bytes: int) -> Iterator[int]:
    """A file that is ours alone: what a former attempt left if it can be gone on with, else a new one."""
    flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    seen = durable.look(name, at=at)
    if seen is not None and not _can_go_on(seen, size_bytes):
        if seen.st_uid != os.geteuid() or not stat.S_ISREG(seen.st_mode):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)
        os.unlink(name, dir_fd=at)
        seen = None
    fd = os.open(name, flags if seen else flags | os.O_CREAT | os.O_EXCL, FILE_MODE, dir_fd=at)
    with durable.closing(fd):
        if not _can_go_on(os.fstat(fd), size_bytes):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), name)  # exchanged meanwhile
        yield fd


def _can_go_on(seen: os.stat_result, size_bytes: int) -> bool:
    is_ours = stat.S_ISREG(seen.st_mode) and seen.st_nlink == 1 and seen.st_uid == os.geteuid()
    return is_ours and seen.st_size <= size_bytes


def _has_member(top: int, path: str, size_bytes: int) -> bool:
    *folders, name = path.split("/")
    try:
        with durable.closing(durable.descend(top, folders)) as folder:
            seen = durable.look(name, at=folder)
    except OSError:
        return False
    return seen is not None and (stat.S_ISDIR(seen.st_mode) or seen.st_size == size_bytes)
