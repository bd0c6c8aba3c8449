"""Truths that neither a constraint nor a trigger can hold. Each check yields a sentence for every offending row.

`docs/invariants.md` lists each truth with its guard; `manage.py check_invariants` and a daily job run them all.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from django.db.models import Count, F, Q, Sum

from files.models import EventHead, File, FileEvent, Instance, Presence, Upload, UploadState
from files.models.file import FileKind

MAX_ROWS = 100


@dataclass(frozen=True, slots=True)
class Invariant:
    """One truth: its name, the sentence that states it, and the check that finds what breaks it."""

    name: str
    truth: str
    check: Callable[[], Iterator[str]]


def _files_without_history() -> Iterator[str]:
    for name in File.objects.filter(head__isnull=True).values_list("name", flat=True)[:MAX_ROWS]:
        yield f"{name} has no history."


def _heads_that_count_wrong() -> Iterator[str]:
    counted = EventHead.objects.annotate(lines=Count("file__events")).exclude(lines=F("count"))
    for head in counted.select_related("file")[:MAX_ROWS]:
        yield f"{head.file.name}: its head counts {head.count} lines, it has {head.lines}."


def _directories_whose_members_do_not_add_up() -> Iterator[str]:
    summed = File.objects.filter(kind=FileKind.DIRECTORY).annotate(total=Sum("members__size_bytes", default=0))
    for file in summed.exclude(total=F("size_bytes"))[:MAX_ROWS]:
        yield f"{file.name} has {file.size_bytes} bytes, its members {file.total}."


def _flat_files_with_members() -> Iterator[str]:
    for file in File.objects.filter(kind=FileKind.FLAT, members__isnull=False).distinct()[:MAX_ROWS]:
        yield f"{file.name} is flat and has members."


def _instances_without_arrival() -> Iterator[str]:
    arrived = FileEvent.objects.filter(type="instance_created").values("file")
    lost = Instance.objects.filter(presence=Presence.PRESENT).exclude(file__in=arrived)
    for instance in lost.select_related("file", "store")[:MAX_ROWS]:
        yield f"{instance.file.name} has an instance on {instance.store.name} that its history does not tell of."


def _committed_uploads_without_instance() -> Iterator[str]:
    committed = Upload.objects.filter(state=UploadState.COMMITTED).annotate(
        copies=Count("file__instances", filter=Q(file__instances__store=F("store")))
    )
    for upload in committed.filter(copies=0).exclude(file__isnull=True)[:MAX_ROWS]:
        yield f"Upload {upload.pk} is committed, its file has never had a copy on its store."


INVARIANTS = (
    Invariant("file_has_history", "Every file has a history.", _files_without_history),
    Invariant("head_counts_lines", "A head counts exactly the lines of its history.", _heads_that_count_wrong),
    Invariant(
        "members_add_up",
        "The sizes of a directory's members add up to its size.",
        _directories_whose_members_do_not_add_up,
    ),
    Invariant("flat_has_no_members", "A flat file has no members.", _flat_files_with_members),
    Invariant("arrival_is_told", "The history of a file tells of each copy here.", _instances_without_arrival),
    Invariant(
        "commit_has_copy",
        "A committed upload left a copy on its store.",
        _committed_uploads_without_instance,
    ),
)


def check_invariants() -> dict[str, list[str]]:
    """Run every check; maps the name of each truth to the sentences of what breaks it (at most 100)."""
    return {invariant.name: list(invariant.check()) for invariant in INVARIANTS}
