"""The durable steps of a delivery, in order, and the place where a test can kill the process between two of them.

A step is passed when what it names is on disk or committed. The names are a contract between the services, which
announce them, and `tests/test_faults.py`, which kills a real process at each of them and checks what is left.
"""

import os
import signal
from pathlib import Path

STEPS = (
    "intent",  # the upload's row is committed
    "staged",  # the bytes are in staging, not yet on disk for certain
    "synced",  # staging is on disk, size and digests are known and right
    "claimed",  # the name is claimed for this upload
    "placed",  # the bytes have their final place; its directory entry may not be on disk
    "places_synced",  # the directory entries are on disk
    "recorded",  # the store's commit record has the line
    "committed",  # file, instance, events and the closed upload are committed
    "cleaned",  # staging is gone
)
# Of resumable uploads, around the steps of their commit.
ARRIVAL_STEPS = (
    "arrived",  # the bytes of a piece are written, not yet on disk for certain
    "complete",  # the row says that all bytes have come (or the commit that follows at once will)
    "batch_closed",  # every product of a batch has its answer, in the row
)
# Of transfers between sites, at the sender and at the receiver.
TRANSFER_STEPS = (
    "chosen",  # sender: the transfers' rows are committed
    "offered",  # sender: the peer has answered the offer; nothing of its answer is written down
    "queued",  # sender: the peer's ids and the queue item are committed
    "told_ongoing",  # sender: the peer knows that bytes come; not written down
    "sending",  # sender: the queue item is claimed
    "sent",  # sender: the bytes of a batch are over there; not written down
    "send_noted",  # sender: that is committed
    "told_staged",  # sender: the peer knows that all bytes have come; not written down
    "completion_noted",  # sender: the peer's copies are committed; it has no answer yet
    "offer_taken",  # receiver: the rows of an offer are committed, it has no answer yet
    "staged_noted",  # receiver: the bytes are said to be here
    "taken_in",  # receiver: the uploads of transfers are committed, the transfers are not moved yet
    "completed",  # receiver: the transfers are completed, the sender does not know
    "reported",  # receiver: the sender knows; not written down
)
# Of copies between our own stores, around the steps of their commit.
COPY_STEPS = (
    "copies_claimed",  # the rows of a batch say who makes it; its uploads are not there yet
    "copies_written",  # the bytes are in the target's staging, not yet on disk for certain
    "copies_read_back",  # they are on disk, and what was read there is what it should be
)
# Of disks that travel.
DISK_STEPS = (
    "disk_loaded",  # the transfers of a batch of files are committed; their lines of the manifest may be lost
    "manifest_kept",  # the manifest is on disk, the trip is not sealed yet
    "lost_transfers_ended",  # the transfers of a lost disk are failed, its files are not wanted again yet
)


def passed(step: str) -> None:
    """Announce that a durable step is done.

    The setting LIBRARIAN_KILL_AT is for tests: the process dies at the step it names as if by kill -9, or, given
    `@path`, at the step that this file names, once. An unknown step is a mistake in the code and raises ValueError.
    """
    if step not in (*STEPS, *ARRIVAL_STEPS, *TRANSFER_STEPS, *COPY_STEPS, *DISK_STEPS):
        raise ValueError(f"{step} is not a durable step")
    wanted = os.environ.get("LIBRARIAN_KILL_AT")
    if wanted and (step == wanted or (wanted.startswith("@") and _is_named(Path(wanted[1:]), step))):
        os.kill(os.getpid(), signal.SIGKILL)


def _is_named(path: Path, step: str) -> bool:
    """True if the file names `step`; it is removed then, so that the next process lives."""
    try:
        named = path.read_text().strip() == step
        if named:
            path.unlink()
    except FileNotFoundError:
        return False
    return named
