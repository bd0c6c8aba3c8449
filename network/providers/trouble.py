"""What can be wrong with the copy that is sent, or with the place it goes to, as outcomes that all providers share."""

import errno
import os
import stat

from network.providers.base import Outcome, Parcel, failed
from stores.backends.places import shown

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)


def look_at_source(parcel: Parcel) -> Outcome | None:
    """Why the copy cannot be sent as a file of this machine; None when it can as far as a look tells."""
    location = parcel.source.location
    if location is None:
        return not_on_this_machine(parcel)
    try:
        seen = os.stat(location, follow_symlinks=False)
        if parcel.is_directory:
            return None if stat.S_ISDIR(seen.st_mode) else different(parcel, "it is no directory")
        if not stat.S_ISREG(seen.st_mode):
            return different(parcel, "it is no regular file")
        os.close(os.open(location, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC))
    except OSError as error:
        return source_error(parcel, error)
    return wrong_size(parcel, seen.st_size)


def not_on_this_machine(parcel: Parcel) -> Outcome:
    """Neither this machine nor one that it may send from has the copy as a file."""
    return failed(
        parcel,
        code="copy_not_on_this_machine",
        reason=f"{parcel.file_name} lies on a store that this machine does not mount.",
        remedy="Use the provider http for this peer, or run the job where the store is mounted.",
    )


def wrong_size(parcel: Parcel, found: int, expected: int | None = None) -> Outcome | None:
    """The outcome of a copy that has another size than its file; None when it is right."""
    expected = parcel.size_bytes if expected is None else expected
    if found < expected:
        return short(parcel, f"it has {found} bytes instead of {expected}")
    return None if found == expected else different(parcel, f"it has {found} bytes instead of {expected}")


def short(parcel: Parcel, why: str) -> Outcome:
    """Bytes are missing at the end of the copy, or of one of its members."""
    return failed(
        parcel,
        code="copy_short",
        reason=f"The copy of {parcel.file_name} that was to be sent is not whole: {why}.",
        remedy="Keep it for a repair; another copy is sent if there is one.",
    )


def different(parcel: Parcel, why: str) -> Outcome:
    """Something else lies where the copy should."""
    return failed(
        parcel,
        code="copy_different",
        reason=f"The copy of {parcel.file_name} that was to be sent is not this file: {why}.",
        remedy="Keep it for a repair; another copy is sent if there is one.",
    )


def source_error(parcel: Parcel, error: OSError) -> Outcome:
    """What an error met on the copy that is sent means."""
    if error.errno in _GONE:
        return failed(
            parcel,
            code="copy_missing",
            reason=f"The copy of {parcel.file_name} that was to be sent is not there.",
            remedy="Check that its store is mounted; another copy is sent if there is one.",
        )
    return failed(
        parcel,
        code="copy_unreadable",
        reason=f"The copy of {parcel.file_name} that was to be sent cannot be read: {error.strerror}.",
        remedy="Check its permissions and its disk; another copy is sent if there is one.",
    )


def destination_error(parcel: Parcel, error: OSError) -> Outcome:
    """What an error met at the staging location means."""
    if error.errno in _FULL:
        return destination_full(parcel)
    if error.errno in _FORBIDDEN:
        return destination_forbidden(parcel, error.strerror)
    if error.errno in _GONE:
        return destination_gone(parcel)
    if error.errno == errno.EEXIST:
        return destination_occupied(parcel)
    return failed(
        parcel,
        code="destination_failing",
        reason=f"Writing to {shown(parcel.destination_path)} failed: {error.strerror}.",
        remedy="Look after the disk of the staging area, or the mount of it on this machine.",
        passing=True,
    )


def destination_full(parcel: Parcel) -> Outcome:
    """No room where the peer said there was."""
    return failed(
        parcel,
        code="destination_full",
        reason=f"The disk of {shown(parcel.destination_path)} is full.",
        remedy="Free space on the peer's staging area; sending goes on where it ended.",
        passing=True,
    )


def destination_forbidden(parcel: Parcel, why: str | None) -> Outcome:
    """We may not write there."""
    return failed(
        parcel,
        code="destination_forbidden",
        reason=f"{shown(parcel.destination_path)} may not be written: {why or 'permission denied'}.",
        remedy="Let the account that writes there into the group of the peer's staging area, and make that one "
        "group-writable (the peer's store has a switch for it).",
    )


def destination_gone(parcel: Parcel) -> Outcome:
    """The staging directory is not there any more."""
    return failed(
        parcel,
        code="destination_gone",
        reason=f"The staging directory of {shown(parcel.destination_path)} is not there.",
        remedy="The peer makes a new one at the next attempt; check that both sites see the same directory.",
    )


def destination_occupied(parcel: Parcel) -> Outcome:
    """Something lies there that we did not leave; it was not touched."""
    return failed(
        parcel,
        code="destination_occupied",
        reason=f"Something else lies at {shown(parcel.destination_path)}.",
        remedy="It was not touched; the peer gives another place at the next attempt.",
    )


def destination_refused(parcel: Parcel, why: str) -> Outcome:
    """The peer named a place to which nothing is written."""
    return failed(
        parcel,
        code="destination_refused",
        reason=f"Nothing is written to {shown(parcel.destination_path)}, which the peer named: {why}.",
        remedy="Check the peer's shared directories on its page here, and its staging area over there.",
    )


def path_problem(path: str) -> str:
    """What is wrong with a staging location as such; empty when it may be used."""
    parts = path.split("/")
    if not path.startswith("/"):
        return "it is not absolute"
    if "\0" in path or any(part in ("", ".", "..") for part in parts[1:]):
        return "it has empty components, '.' or '..'"
    return ""
