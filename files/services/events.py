"""Appending to the histories of files.

The stored text of an event is canonical JSON (keys sorted, no blanks, UTF-8) of `actor`, `at`, `facts`, `file`,
`number` and `type`. Its digest is SHA-256 over the digest of the line before it (64 hexadecimal digits; 64 zeros for
the first) followed by the UTF-8 bytes of the text.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from files.models import EventHead, File, FileEvent
from librarian.common.bulk import bulk_insert
from librarian.common.errors import InvalidRequest

FIRST_DIGEST = "0" * 64
MAX_TEXT_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to append: its type, who or what did it, and facts that JSON can hold."""

    type: str
    actor: str
    facts: dict[str, Any] = field(default_factory=dict)


def canonical_json(value: Any) -> str:
    """The one text of a JSON value: keys sorted, no blanks, no NaN, non-ASCII characters as they are."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def chain_digest(previous: str, text: str) -> str:
    """Digest of an event's line: lower-case hex SHA-256 over the previous line's digest and the text."""
    return hashlib.sha256(previous.encode() + text.encode()).hexdigest()


def _line(file: File, number: int, previous: str, event: NewEvent, at: datetime) -> FileEvent:
    text = canonical_json(
        {
            "actor": event.actor,
            "at": at.isoformat(timespec="microseconds"),
            "facts": event.facts,
            "file": file.name,
            "number": number,
            "type": event.type,
        }
    )
    if len(text.encode()) > MAX_TEXT_BYTES:
        raise InvalidRequest(f"The event {event.type} of {file.name} is longer than {MAX_TEXT_BYTES} bytes.")
    return FileEvent(
        file=file,
        number=number,
        type=event.type,
        at=at,
        actor=event.actor,
        text=text,
        digest=chain_digest(previous, text),
    )


def append_event(*, file: File, type: str, actor: str, facts: dict[str, Any] | None = None) -> FileEvent:
    """Append one line to the history of `file` and return it. Part of the caller's transaction when there is one."""
    return append_events(file=file, events=[NewEvent(type, actor, facts or {})])[-1]


def append_events(*, file: File, events: Sequence[NewEvent]) -> list[FileEvent]:
    """Append lines to one history, in order; two writers of one history wait for each other on its head row."""
    with transaction.atomic():
        head = EventHead.objects.select_for_update().filter(file=file).first()
        count, digest = (head.count, head.digest) if head else (0, FIRST_DIGEST)
        at = timezone.now()
        lines = []
        for event in events:
            count += 1
            line = _line(file, count, digest, event, at)
            digest = line.digest
            lines.append(line)
        FileEvent.objects.bulk_create(lines)
        EventHead.objects.update_or_create(file=file, defaults={"count": count, "digest": digest})
    return lines


def begin_histories(histories: Iterable[tuple[File, Sequence[NewEvent]]]) -> None:
    """Write the first lines of new files' histories in bulk. The files must have none yet."""
    at = timezone.now()
    lines: list[FileEvent] = []
    heads: list[EventHead] = []
    for file, events in histories:
        digest = FIRST_DIGEST
        for number, event in enumerate(events, start=1):
            line = _line(file, number, digest, event, at)
            digest = line.digest
            lines.append(line)
        heads.append(EventHead(file=file, count=len(events), digest=digest))
    bulk_insert(lines)
    bulk_insert(heads)


def extend_histories(histories: Iterable[tuple[File, Sequence[NewEvent]]]) -> None:
    """Append lines to the histories of many files in few statements, each file once. Inside a transaction.

    Heads are locked in the order of the files' keys, so that two writers of the same files never wait for each other.
    """
    wanted = {file.pk: (file, events) for file, events in histories}
    heads = EventHead.objects.select_for_update().filter(file__in=wanted).order_by("file_id")
    found = {head.file_id: head for head in heads}
    at = timezone.now()
    lines: list[FileEvent] = []
    begun: list[EventHead] = []
    for key, (file, events) in sorted(wanted.items()):
        head = found.get(key)
        if head is None:
            head = EventHead(file=file, count=0, digest=FIRST_DIGEST)
            begun.append(head)
        for event in events:
            head.count += 1
            line = _line(file, head.count, head.digest, event, at)
            head.digest = line.digest
            lines.append(line)
    bulk_insert(lines)
    bulk_insert(begun)
    EventHead.objects.bulk_update(found.values(), ["count", "digest"], batch_size=500)
