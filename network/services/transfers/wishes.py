"""Files that a person wants at a peer, beside what the standing orders say."""

from collections.abc import Iterable

from django.db import IntegrityError, transaction

from files.models import File, Instance, RemoteInstance
from librarian.common.bulk import bulk_insert
from network.models import OutgoingTransfer, Peer
from network.services.transfers.outgoing import next_attempts

BATCH = 500


def ask_for_transfers(file_ids: Iterable[int], *, peer: Peer, by: str, priority: int = 0) -> int:
    """Want files sent to a peer; returns how many transfers were made.

    What is there already, is on its way, or has no copy here that could be read is left out.
    """
    keys = list(dict.fromkeys(file_ids))
    return sum(_ask(keys[start : start + BATCH], peer, by, priority) for start in range(0, len(keys), BATCH))


def _ask(keys: list[int], peer: Peer, by: str, priority: int) -> int:
    try:
        with transaction.atomic():
            return _make(keys, peer, by, priority)
    except IntegrityError:  # an order chose one of them at this moment
        with transaction.atomic():
            return _make(keys, peer, by, priority)


def _make(keys: list[int], peer: Peer, by: str, priority: int) -> int:
    there = RemoteInstance.objects.filter(peer_name=peer.name, file__in=keys).values("file")
    readable = Instance.objects.readable().filter(file__in=keys).values("file")
    files = list(File.objects.filter(pk__in=readable).exclude(pk__in=there))
    latest = {
        transfer.file_id: transfer
        for transfer in OutgoingTransfer.objects.latest().filter(peer_name=peer.name, file__in=files)
    }
    wanted = [file for file in files if file.pk not in latest or not latest[file.pk].is_live]
    before = [latest[file.pk] for file in wanted if file.pk in latest]
    completed = [old.pk for old in before if old.finished_at and old.state == "completed"]
    OutgoingTransfer.objects.filter(pk__in=completed).update(is_latest=False)  # its copy is not there any more
    given_up = [old for old in before if old.pk not in completed]
    new = next_attempts(given_up, asked_by=by) if given_up else []
    again = {row.file_id for row in new}
    new += [
        OutgoingTransfer(file=file, peer_name=peer.name, size_bytes=file.size_bytes, asked_by=by)
        for file in wanted
        if file.pk not in again
    ]
    for row in new:
        row.priority = priority
    bulk_insert(new)
    return len(new)
