"""What peers said to hold, confirmed: a copy that is there no more is forgotten, and the orders send it again.

Only a peer's own word changes anything. One that is silent, or that cannot be compared with, leaves all as it is.
"""

import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from django.db import transaction
from django.db.models import Count, Q
from django.utils import timezone

from files.models import RemoteInstance
from hera_librarian.features import HOLDINGS
from librarian.common.inbox import clear_matching, report_error
from librarian.common.models import Category, Severity
from network.errors import PeerProblem
from network.models import Peer
from network.services.sending.held import Word, ask_what_is_held
from network.services.sending.settling import other_bytes
from network.services.transfers import drop_remote_instance, note_remote_instance
from network.services.turns import peers_to_serve, turn_with

log = logging.getLogger(__name__)

BATCH = 1_000
MOST_BY_NAME = 2_000  # asked one by one in one run, of a peer that cannot be asked for many
OTHER_BYTES = "other_bytes_at_peer"
CALLER = "job:confirm_remote_instances"


class Finding(Enum):
    """What the peer's word means for the copies that are noted of one file."""

    CONFIRMED = "confirmed"
    ELSEWHERE = "elsewhere"
    LOST = "lost"
    DIFFERENT = "different"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Compared:
    """The noted copies of one file at one peer, its word on that file, and what follows."""

    rows: Sequence[RemoteInstance]
    word: Word
    finding: Finding


def confirm_remote_instances(*, peer: str = "", limit: int = 50_000) -> dict[str, int]:
    """Ask peers, or one, whether they still hold what they said; the longest unconfirmed first.

    Parameters
    ----------
    limit : int
        Of copies asked about per peer and run.
    """
    total: Counter[str] = Counter()
    names = set(RemoteInstance.objects.order_by().values_list("peer_name", flat=True).distinct())
    for each in peers_to_serve(peer, names, switched_on=False):
        with turn_with(each.name, job="confirm_remote_instances") as is_mine:
            if is_mine:
                total += confirm(each, limit=limit)
    return {finding.value: total[finding.value] for finding in Finding}


def confirm(peer: Peer, *, limit: int) -> "Counter[str]":
    """Ask one peer and write down what it says, until it does not answer."""
    done: Counter[str] = Counter()
    if HOLDINGS not in peer.features:
        limit = min(limit, MOST_BY_NAME)
    try:
        for compared in compare(peer, limit=limit):
            act(compared)
            done[compared.finding.value] += 1
    except PeerProblem as problem:  # its row says so; what it holds stays noted
        log.info("%s was not asked about all of its copies: %s", peer.name, problem.reason)
    return done


def compare(peer: Peer, *, limit: int) -> Iterator[Compared]:
    """The peer's word on the copies that are noted of it. Raises PeerProblem; changes nothing."""
    started = timezone.now()
    last: tuple[datetime, int] | None = None
    while limit > 0 and (batch := _page(peer, started, last, min(BATCH, limit))):
        last = (batch[-1].confirmed_at, batch[-1].pk)
        limit -= len(batch)
        by_file: dict[int, list[RemoteInstance]] = {}
        for row in batch:
            by_file.setdefault(row.file_id, []).append(row)
        for word in ask_what_is_held(peer, [rows[0].file for rows in by_file.values()]):
            rows = by_file[word.file.pk]
            yield Compared(rows, word, _finding(rows, word))


def _page(peer: Peer, started: datetime, last: tuple[datetime, int] | None, size: int) -> list[RemoteInstance]:
    rows = RemoteInstance.objects.filter(peer_name=peer.name, confirmed_at__lt=started).select_related("file")
    if last is not None:
        at, key = last
        rows = rows.filter(Q(confirmed_at__gt=at) | Q(pk__gt=key), confirmed_at__gte=at)
    return list(rows.order_by("confirmed_at", "pk")[:size])


def _finding(rows: Sequence[RemoteInstance], word: Word) -> Finding:
    if not word.is_known or (word.is_same and not word.store_ids):
        return Finding.LOST
    if word.is_same is None:
        return Finding.UNCLEAR
    if word.is_same is False:
        return Finding.DIFFERENT
    known = {row.peer_store_id for row in rows}
    return Finding.CONFIRMED if known <= set(word.store_ids) else Finding.ELSEWHERE


def act(compared: Compared) -> None:
    """Write one comparison down."""
    rows, word = compared.rows, compared.word
    if compared.finding is Finding.UNCLEAR:
        return
    if compared.finding is Finding.DIFFERENT:
        _report_other_bytes(rows[0], word)
    elif compared.finding in (Finding.CONFIRMED, Finding.ELSEWHERE):
        clear_matching(code=OTHER_BYTES, caller=CALLER, target=_target(rows[0]), cleared_by="the peer's word")
    with transaction.atomic():
        is_there = compared.finding in (Finding.CONFIRMED, Finding.ELSEWHERE)
        there = [row for row in rows if is_there and row.peer_store_id in word.store_ids]
        RemoteInstance.objects.filter(pk__in=[row.pk for row in there]).update(confirmed_at=timezone.now())
        if compared.finding is Finding.ELSEWHERE and not there:
            note_remote_instance(rows[0].file, peer_name=rows[0].peer_name, peer_store_id=word.store_ids[0])
        for row in rows:
            if row not in there:
                drop_remote_instance(row, why=_why_dropped(compared))


def _why_dropped(compared: Compared) -> str:
    return {
        Finding.ELSEWHERE: "it says that the copy lies on another of its stores",
        Finding.LOST: "it says that it holds no copy any more",
        Finding.DIFFERENT: "it says that other bytes have this name there",
    }[compared.finding]


def _report_other_bytes(row: RemoteInstance, word: Word) -> None:
    failure = other_bytes(row.file, row.peer_name, word.found)
    report_error(
        severity=Severity.ERROR,
        category=Category.DATA_INTEGRITY,
        code=OTHER_BYTES,
        message=f"{failure.reason} It had said before that it holds this file.",
        remedy=failure.remedy,
        caller=CALLER,
        target=_target(row),
    )


def _target(row: RemoteInstance) -> str:
    return f"{row.peer_name} {row.file_id}"


def drop_duplicate_remote_instances(*, limit: int = 10_000) -> dict[str, int]:
    """Of copies of one file that are noted under several stores of one peer, keep the one that it confirmed last."""
    several = (
        RemoteInstance.objects.order_by()
        .values("file", "peer_name")
        .annotate(copies=Count("pk"))
        .filter(copies__gt=1)
        .values_list("file", "peer_name")
    )
    dropped = 0
    for file_id, peer_name in list(several[:limit]):
        rows = RemoteInstance.objects.filter(file=file_id, peer_name=peer_name).select_related("file")
        for row in rows.order_by("-confirmed_at", "-pk")[1:]:
            dropped += drop_remote_instance(row, why="the same copy was noted under another store", by="librarian")
    return {"dropped": dropped}
