"""What we know of copies at peers: noted, confirmed, dropped, each with a line in the file's history."""

from collections.abc import Sequence

from django.conf import settings
from django.db import IntegrityError, transaction
from django.utils import timezone

from files.models import File, RemoteInstance
from files.services.events import NewEvent, extend_histories
from librarian.common.bulk import bulk_insert

Copy = tuple[File, int]  # a file, and the id of the store at the peer that holds it


def note_remote_instance(file: File, *, peer_name: str, peer_store_id: int) -> bool:
    """Note that a peer holds a file, or confirm it; True if that is new."""
    return bool(note_remote_instances([(file, peer_store_id)], peer_name=peer_name))


def note_remote_instances(copies: Sequence[Copy], *, peer_name: str) -> int:
    """The same for many files of one peer, all or none; returns how many are new. Harmless when repeated."""
    try:
        with transaction.atomic():
            return _note(copies, peer_name)
    except IntegrityError:  # somebody noted one of them this very moment: now it is there to be seen
        with transaction.atomic():
            return _note(copies, peer_name)


def _note(copies: Sequence[Copy], peer_name: str) -> int:
    now = timezone.now()
    wanted = {(file.pk, store_id): file for file, store_id in copies}
    there = RemoteInstance.objects.filter(peer_name=peer_name, file__in=[file for file, _ in copies])
    known = {(row.file_id, row.peer_store_id): row.pk for row in there.order_by()}
    RemoteInstance.objects.filter(pk__in=[known[key] for key in wanted if key in known]).update(confirmed_at=now)
    new = {key: file for key, file in wanted.items() if key not in known}
    sender = settings.LIBRARIAN_NAME
    bulk_insert(
        [
            RemoteInstance(
                file=file,
                peer_name=peer_name,
                peer_store_id=store_id,
                sender=sender,
                copied_at=now,
                confirmed_at=now,
            )
            for (_, store_id), file in new.items()
        ]
    )
    events: dict[int, tuple[File, list[NewEvent]]] = {}
    for (key, store_id), file in new.items():
        event = NewEvent("remote_copy_noted", peer_name, {"peer": peer_name, "peer_store_id": store_id})
        events.setdefault(key, (file, []))[1].append(event)
    extend_histories(events.values())
    return len(new)


def drop_remote_instance(remote: RemoteInstance, *, why: str, by: str = "") -> bool:
    """Forget a copy at a peer that is not there any more; False if it was forgotten already."""
    facts = {"peer": remote.peer_name, "peer_store_id": remote.peer_store_id, "why": why}
    with transaction.atomic():
        removed, _ = RemoteInstance.objects.filter(pk=remote.pk).delete()
        if removed:
            event = NewEvent("remote_copy_dropped", by or remote.peer_name, facts)
            extend_histories([(remote.file, [event])])
    return bool(removed)
