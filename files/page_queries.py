"""Reads of files shaped for the portal's pages."""

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count, QuerySet

from files.copies import copy_state
from files.labels import CONDITIONS, COPY_STATES, PRESENCES, away_sentence, state_sentence
from files.models import File, FileEvent, Instance, Presence, RemoteInstance
from librarian.common.badges import Badge
from librarian.common.pages import export_time


@dataclass(frozen=True, slots=True)
class FoundFile:
    """One row of a list of files."""

    file: File
    badge: Badge


def with_states(files: Iterable[File]) -> list[FoundFile]:
    """Files with the state of their copies: two queries for a page of them, whatever the size of the catalogue."""
    files = list(files)
    keys = [file.pk for file in files]
    local = _counts(Instance.objects.present().filter(file__in=keys))
    remote = _counts(RemoteInstance.objects.filter(file__in=keys))
    return [
        FoundFile(
            file,
            COPY_STATES[copy_state(local_count=local.get(file.pk, 0), remote_count=remote.get(file.pk, 0))],
        )
        for file in files
    ]


def _counts(rows: QuerySet) -> dict[int, int]:
    return dict(rows.order_by().values_list("file").annotate(number=Count("pk")))


EXPORT_COLUMNS: dict[str, Callable[[File], Any]] = {
    "name": lambda file: file.name,
    "kind": lambda file: file.kind,
    "size_bytes": lambda file: file.size_bytes,
    "checksum": lambda file: file.checksum,
    "digest": lambda file: file.digest,
    "obsid": lambda file: file.obsid,
    "uploader": lambda file: file.uploader,
    "source": lambda file: file.source,
    "registered_at": lambda file: export_time(file.registered_at),
    "first_registered_at": lambda file: export_time(file.first_registered_at),
}


@dataclass(frozen=True, slots=True)
class CopyHere:
    """A copy on one of our stores, with its states in words."""

    instance: Instance

    @property
    def presence(self) -> Badge:
        return PRESENCES[self.instance.presence]

    @property
    def condition(self) -> Badge:
        return CONDITIONS[self.instance.condition]


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """Where a file is: its state, the sentence that says it, every copy."""

    badge: Badge
    sentence: str
    away: str
    copies: list[CopyHere]
    remote: list[RemoteInstance]
    present_count: int
    is_downloadable: bool


def whereabouts(file: File) -> Whereabouts:
    """Where the copies of a file from `files_in_detail` are."""
    instances, remote = list(file.instances.all()), list(file.remote_instances.all())
    present = [instance for instance in instances if instance.is_present]
    state = copy_state(local_count=len(present), remote_count=len(remote))
    readable = {instance.pk for instance in present if instance.store.enabled and instance.store.available}
    return Whereabouts(
        COPY_STATES[state],
        state_sentence(
            state, local=[instance.store.name for instance in present], remote=[row.peer_name for row in remote]
        ),
        away_sentence(
            travelling=[instance.store.name for instance in present if instance.store.travelling],
            handed_over=[row.store.name for row in instances if row.presence == Presence.HANDED_OVER],
        ),
        [CopyHere(instance) for instance in instances],
        remote,
        len(present),
        bool(readable),
    )


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """One event as the page tells it. `facts` are pairs of words; the digest chains it to the line before."""

    number: int
    what: str
    at: datetime
    actor: str
    facts: list[tuple[str, Any]]
    digest: str


def history_line(event: FileEvent) -> HistoryLine:
    """An event read from its stored text; a text that is no JSON any more is shown as it stands."""
    try:
        facts = json.loads(event.text)["facts"]
        pairs = [(name.replace("_", " "), value) for name, value in facts.items()]
    except (ValueError, KeyError, TypeError, AttributeError):
        pairs = [("text", event.text)]
    return HistoryLine(event.number, event.type.replace("_", " "), event.at, event.actor, pairs, event.digest)
