"""What a call to a peer tells about the peer: seen, failing, resting; written into its row as it becomes known.

    closed (called as needed) -> resting (RESTS_AFTER failures in a row; jobs leave it alone) -> closed (a good answer)

A rest begins with FIRST_REST_SECONDS and doubles with each further failure up to LONGEST_REST_SECONDS. Urgent calls are
made all the same, and the first good answer ends every rest. Counts are changed by the database, so that calls made at
the same moment are all counted. Whatever is done to a peer goes by its name: one that was removed and added again is
the same peer.
"""

from datetime import timedelta

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from librarian.common.errors import ArchiveError
from librarian.common.inbox import clear_matching, report_error
from librarian.common.models import Category, Severity
from librarian.common.texts import storable
from network.models import Peer

RESTS_AFTER = 3
FIRST_REST_SECONDS, LONGEST_REST_SECONDS = 10.0, 600.0
REPORTED_AFTER = 5
NOTED_EVERY_SECONDS = 1.0
FAILING = "peer_failing"
CALLER = "network"


def reachable(peer: Peer) -> bool:
    """True unless the peer rests after failures in a row. Asks the row, not the network."""
    return not Peer.objects.filter(name=peer.name, rests_until__gt=timezone.now()).exists()


def note_seen(peer: Peer, latency_seconds: float) -> None:
    """A good answer: every rest is over, and what was reported of it is mended."""
    mended = Peer.objects.filter(Q(failures_in_a_row__gt=0) | Q(rests_until__isnull=False), name=peer.name)
    if mended.update(failures_in_a_row=0, rests_until=None):
        clear_matching(code=FAILING, caller=CALLER, target=peer.name, cleared_by="a good answer")
    now = timezone.now()
    late = Q(last_seen_at__isnull=True) | Q(last_seen_at__lt=now - timedelta(seconds=NOTED_EVERY_SECONDS))
    # a burst of calls writes one row once a second, not once a call
    rows = Peer.objects.filter(late | Q(last_error_at__gte=F("last_seen_at")), name=peer.name)
    rows.update(last_seen_at=now, latency_seconds=latency_seconds)


def note_trouble(peer: Peer, problem: ArchiveError) -> None:
    """What went wrong, for people; the peer does not rest for it."""
    Peer.objects.filter(name=peer.name).update(last_error=storable(problem.reason), last_error_at=timezone.now())


def note_failure(peer: Peer, problem: ArchiveError) -> None:
    """A call that failed: counted, and from RESTS_AFTER in a row on followed by a rest."""
    note_trouble(peer, problem)
    with transaction.atomic():
        rows = Peer.objects.filter(name=peer.name)
        if not rows.update(failures_in_a_row=F("failures_in_a_row") + 1):
            return
        failures = rows.values_list("failures_in_a_row", flat=True).get()
        now = timezone.now()
        if failures >= RESTS_AFTER:
            # those who called at the same moment and failed too do not make the rest longer
            awake = rows.filter(Q(rests_until__isnull=True) | Q(rests_until__lte=now))
            awake.update(rests_until=now + timedelta(seconds=rest_seconds(failures)))
        if failures >= REPORTED_AFTER:
            _report(peer.name, problem, failures)


def rest_seconds(failures: int) -> float:
    """How long a peer rests after so many failures in a row: 10 s after three, doubling up to 10 minutes."""
    return min(LONGEST_REST_SECONDS, FIRST_REST_SECONDS * 2.0 ** min(failures - RESTS_AFTER, 30))


def _report(name: str, problem: ArchiveError, failures: int) -> None:
    report_error(
        severity=Severity.ERROR,
        category=Category.LIBRARIAN_NETWORK_AVAILABILITY,
        code=FAILING,
        message=f"{failures} calls in a row to Librarian {name} failed. {problem.reason}",
        remedy=problem.suggested_remedy,
        caller=CALLER,
        target=name,
    )
