"""Is the night safe? One answer out of stores, jobs, errors, deliveries, peers and disks, with why it is in doubt."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from django.urls import reverse
from django.utils import timezone

from files.models import CopyState, CorruptInstance, Offload, OffloadState, StoreCopy, Upload
from librarian.common.badges import Badge
from librarian.common.errors import StoreUnavailable
from librarian.common.models import JobRun, Severity
from librarian.common.templatetags.units import duration
from librarian.common.timetable import overdue_since
from librarian.operations.queries import open_error_counts
from network.disk_queries import overdue_shipments
from network.queries import count_given_up, peers_behind, peers_in_trouble
from stores.models import Store
from stores.queries import is_full

Weight = Literal["act", "watch"]
COMMIT_SLOW_AFTER = timedelta(hours=1)
BEHIND_AFTER = timedelta(hours=6)

BADGES = {"act": Badge("act now", "bad"), "watch": Badge("watch", "warn")}


@dataclass(frozen=True, slots=True)
class Reason:
    """One doubt: how heavy, what is the matter, what mends it, where to look."""

    weight: Weight
    sentence: str
    remedy: str
    url: str

    @property
    def badge(self) -> Badge:
        return BADGES[self.weight]


@dataclass(frozen=True, slots=True)
class Verdict:
    """`safe` without reasons, `watch` with light ones, `act` with a heavy one. Heavy reasons come first."""

    reasons: list[Reason]

    @property
    def state(self) -> Literal["safe", "watch", "act"]:
        return self.reasons[0].weight if self.reasons else "safe"

    @property
    def sentence(self) -> str:
        if self.state == "safe":
            return "The night is safe."
        heavy = sum(reason.weight == "act" for reason in self.reasons)
        if heavy:
            return f"The night is not safe: {_things(heavy)} {'needs' if heavy == 1 else 'need'} somebody."
        return f"The night is safe, with {_things(len(self.reasons))} to watch."


def judge(stores: list[Store], now: datetime | None = None) -> Verdict:
    """The verdict over a site with these stores (all of them)."""
    now = now or timezone.now()
    reasons = [
        *_about_stores(stores),
        *_about_bytes(),
        *_about_errors(),
        *_about_jobs(now),
        *_about_deliveries(now),
        *_about_network(now),
        *_about_moves(now),
    ]
    return Verdict(sorted(reasons, key=lambda reason: reason.weight != "act"))


def _about_stores(stores: list[Store]) -> Iterator[Reason]:
    taking = [store for store in stores if store.ingestable and store.enabled and store.available]
    roomy = [store for store in taking if not is_full(store)]
    if not taking:
        yield Reason(
            "act",
            "No store takes new files: whatever arrives now is refused.",
            "Mount, switch on or add a store.",
            reverse("stores"),
        )
    elif not roomy:
        yield Reason(
            "act",
            "Every store that takes files is at its fullness limit.",
            "Add a store, or raise a limit.",
            reverse("stores"),
        )
    for store in stores:
        if store.enabled and not store.available:
            why = store.availability_reason or "it has not been measured yet."
            remedy = "Readers get other copies meanwhile. " + StoreUnavailable.remedy
            yield Reason("act", f"The store {store.name} is away: {why}", remedy, reverse("store", args=[store.name]))
        elif store in taking and is_full(store) and roomy:
            remedy = "New files go to the other stores."
            yield Reason("watch", f"The store {store.name} is full.", remedy, reverse("store", args=[store.name]))


def _about_bytes() -> Iterator[Reason]:
    bad = CorruptInstance.objects.filter(resolved_at__isnull=True).count()
    if bad:
        yield Reason(
            "act",
            f"{_count(bad, 'copy', 'copies')} on our stores {'is' if bad == 1 else 'are'} known to be bad.",
            "The bytes are kept and set apart; they are replaced from a good copy before anything is removed.",
            f"{reverse('files')}?presence=set_aside",
        )


def _about_errors() -> Iterator[Reason]:
    found = open_error_counts()
    heavy = found[Severity.CRITICAL] + found[Severity.ERROR]
    if heavy:
        remedy = "Each says what mends it."
        yield Reason("act", f"{_count(heavy, 'error is', 'errors are')} open.", remedy, reverse("errors"))
    if found[Severity.WARNING]:
        many = found[Severity.WARNING]
        remedy = "Nothing is lost; look when there is time."
        url = f"{reverse('errors')}?severity=warning"
        yield Reason("watch", f"{_count(many, 'warning is', 'warnings are')} open.", remedy, url)


def _about_jobs(now: datetime) -> Iterator[Reason]:
    if not JobRun.objects.exists():
        yield Reason(
            "act",
            "No job has ever run: nothing is measured, swept or finished.",
            "Start the job clusters: `make run` does it with the web server, `make worker` alone.",
            reverse("jobs"),
        )
        return
    late = overdue_since(now)
    if late:
        name, since = min(late.items(), key=lambda item: item[1])
        others = f" and {_count(len(late) - 1, 'other job', 'other jobs')}" if len(late) > 1 else ""
        yield Reason(
            "act",
            f"The job {name}{others} did not run; it was due {duration(now - since)} ago.",
            "See whether the job clusters run.",
            reverse("jobs"),
        )


def _about_deliveries(now: datetime) -> Iterator[Reason]:
    slow = Upload.objects.live().filter(commit_asked_at__lt=now - COMMIT_SLOW_AFTER).count()
    if slow:
        yield Reason(
            "watch",
            f"{_count(slow, 'delivery waits', 'deliveries wait')} for the commit for more than an hour.",
            "The job finish_commits finishes or undoes them; its latest run says why it could not.",
            reverse("job-runs", args=["finish_commits"]),
        )


def _about_network(now: datetime) -> Iterator[Reason]:
    for peer in peers_in_trouble():
        yield Reason(
            "watch",
            f"The site {peer.name} does not answer.",
            "Files for it wait and none is lost; its page says what our calls met.",
            reverse("network-peer", args=[peer.name]),
        )
    for name, lag in peers_behind(now - BEHIND_AFTER):
        yield Reason(
            "watch",
            f"The site {name} is {lag.words} {'file' if lag.count == 1 else 'files'} behind; the oldest has waited for "
            f"{duration(now - lag.oldest_at)}.",
            "Its page says what keeps them.",
            reverse("network-peer", args=[name]),
        )
    given_up = count_given_up()
    if given_up:
        yield Reason(
            "watch",
            f"{_count(given_up, 'file', 'files')} did not get to another site, and nobody tries again.",
            "Each says what mends it; retry it then.",
            f"{reverse('transfers')}?direction=out&state=failed&given_up=true",
        )


def _about_moves(now: datetime) -> Iterator[Reason]:
    """Copies that failed, stores that cannot be emptied, disks of which nothing is heard."""
    failed = StoreCopy.objects.filter(state=CopyState.FAILED).count()
    if failed:
        yield Reason(
            "watch",
            f"{_count(failed, 'copy', 'copies')} to a store of ours failed, and nobody tries again.",
            "Each says what mends it; retry it then.",
            f"{reverse('copies')}?state=failed",
        )
    for offload in Offload.objects.filter(state=OffloadState.RUNNING).exclude(problem="").select_related("store"):
        what = "drained" if offload.drains else "emptied"
        yield Reason(
            "watch",
            f"The store {offload.store.name} is being {what}, and it does not get on: {offload.problem}",
            "Its page lists what is left.",
            reverse("offload", args=[offload.pk]),
        )
    for shipment in overdue_shipments():
        to = f" for {shipment.peer_name}" if shipment.peer_name else ""
        yield Reason(
            "watch",
            f"Nothing was heard of the disk {shipment.store.name}{to} for {duration(now - shipment.changed_at)}.",
            "Ask where it is; its passport says who had it last, and what to do if it is lost.",
            reverse("disk", args=[shipment.pk]),
        )


def _things(number: int) -> str:
    return _count(number, "thing", "things")


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
