"""Reads of copies between our stores, and of offloads, shaped for pages and endpoints."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db.models import Q, QuerySet

from files.copy_labels import copy_badge, copy_standing, group_words, offload_badge, offload_words
from files.models import CopyState, File, Instance, Offload, OffloadState, StoreCopy
from files.search import InvalidSearch, compile_search
from files.services.offloading import OffloadProgress, left_on, progress_of
from librarian.common.badges import Badge, Standing
from librarian.common.listing import remembered
from stores.models import Store
from stores.queries import named, store_names

NOT_OVER = (CopyState.WANTED, CopyState.COPYING, CopyState.FAILED)


def copies_for_list() -> QuerySet[StoreCopy]:
    """Copies with what a row about them shows."""
    return StoreCopy.objects.select_related("file", "store", "source__store")


def wanted_on(store: Store) -> Q:
    """Condition for copies that a store took, or that it may still take.

    No database of ours finds a number in a JSON list by an index; of the lists that stand in rows there are few.
    """
    lists = StoreCopy.objects.filter(state__in=NOT_OVER).order_by().values_list("targets", flat=True).distinct()
    condition = Q(store=store)
    for targets in lists:
        if store.pk in targets:
            condition |= Q(targets=targets, store__isnull=True, state__in=NOT_OVER)
    return condition


@dataclass(frozen=True)
class CopyRow:
    """A copy with the names of the stores that may take it."""

    copy: StoreCopy
    targets: list[str]

    @property
    def badge(self) -> Badge:
        return copy_badge(self.copy)

    @property
    def standing(self) -> Standing:
        return copy_standing(self.copy)

    @property
    def wanted_by(self) -> str:
        return group_words(self.copy.group)

    @property
    def offload_pk(self) -> int | None:
        kind, _, number = self.copy.group.partition(":")
        return int(number) if kind == "offload" and number.isdecimal() else None

    @property
    def may_retry(self) -> bool:
        return self.copy.state == CopyState.FAILED

    @property
    def may_cancel(self) -> bool:
        return CopyState.CANCELLED in StoreCopy.MOVES[self.copy.state]

    @property
    def moved_width(self) -> str | None:
        """How much is there, as `x%` of a bar; None while nothing moves."""
        if self.copy.state != CopyState.COPYING or not self.copy.size_bytes:
            return None
        return f"{100 * min(1.0, self.copy.copied_bytes / self.copy.size_bytes):.1f}%"


def copy_rows(copies: Iterable[StoreCopy]) -> list[CopyRow]:
    """Copies with their targets by name: one query for the names, however many they are."""
    copies = list(copies)
    names = store_names() if copies else {}
    return [CopyRow(copy, named(copy.targets, names)) for copy in copies]


# --- Offloads ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class OffloadRow:
    """An offload with the names of its targets and how far it is."""

    offload: Offload
    targets: list[str]
    progress: OffloadProgress

    @property
    def badge(self) -> Badge:
        return offload_badge(self.offload)

    @property
    def words(self) -> str:
        return offload_words(self.offload)

    @property
    def is_live(self) -> bool:
        return self.offload.state in (OffloadState.RUNNING, OffloadState.PAUSED)

    @property
    def acts(self) -> list[tuple[str, str]]:
        """What a person may do with it now: act and word on the button."""
        every = {
            OffloadState.RUNNING: [("pause", "Pause"), ("stop", "Stop")],
            OffloadState.PAUSED: [("resume", "Go on"), ("stop", "Stop")],
        }
        return every.get(OffloadState(self.offload.state), [])

    @property
    def safe_share(self) -> float:
        total = self.progress.files_total
        return self.progress.files_safe / total if total else 1.0

    @property
    def safe_width(self) -> str:
        return f"{100 * self.safe_share:.1f}%"


def offloads_for_list() -> QuerySet[Offload]:
    """Offloads with their stores."""
    return Offload.objects.select_related("store")


def offload_rows(offloads: Iterable[Offload]) -> list[OffloadRow]:
    """Offloads with their progress, which costs some queries for each and is a little old where it is dear."""
    names = store_names()
    return [OffloadRow(offload, named(offload.targets, names), _progress(offload)) for offload in offloads]


def _progress(offload: Offload) -> OffloadProgress:
    return remembered(f"files.offload.{offload.pk}.{offload.state}", lambda: progress_of(offload))


def latest_offload_of(store: Store) -> OffloadRow | None:
    """The newest offload of a store, None if there was none."""
    newest = offloads_for_list().filter(store=store).order_by("-pk")[:1]
    return next(iter(offload_rows(newest)), None)


def left_of(offload: Offload) -> QuerySet[Instance]:
    """Copies on the store that an offload has still to make safe, in the order of their ids."""
    rows = left_on(offload.store).select_related("file").order_by("pk")
    if not offload.search:
        return rows
    try:
        return rows.filter(file__in=File.objects.filter(compile_search(offload.search)))
    except InvalidSearch:  # a clause that a later version dropped: the offload itself says so
        return rows.none()


@dataclass(frozen=True, slots=True)
class LeftFile:
    """A file that has no other copy yet, and why."""

    instance: Instance
    row: CopyRow | None
    is_looked_at: bool = False

    @property
    def sentence(self) -> str:
        if self.row is None and self.is_looked_at:
            return "It waits for its turn, or its other copy lies on a store that is away or being emptied itself."
        if self.row is None:
            return "It has not been looked at yet."
        return self.row.copy.reason or self.row.standing.sentence


def why_left(offload: Offload, instances: Sequence[Instance]) -> list[LeftFile]:
    """Files that are left with the newest copy that the offload wanted of each."""
    files = [instance.file_id for instance in instances]
    rows = copies_for_list().filter(group=offload.group, file__in=files).order_by("pk")
    newest = {row.copy.file_id: row for row in copy_rows(rows)}
    looked_at = offload.looked_at is not None
    return [LeftFile(instance, newest.get(instance.file_id), looked_at) for instance in instances]
