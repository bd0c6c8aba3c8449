"""Reads of peers and of what goes between us and them, shaped for pages and endpoints.

None of them grows with the number of transfers: counts stop at a ceiling or go over live rows only, and what has to
look at the whole catalogue is remembered for a while.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db.models import Count, Exists, Min, OuterRef, Q, QuerySet, Sum
from django.utils import timezone

from files.models import File, Instance, RemoteInstance
from files.search import InvalidSearch, compile_search
from librarian.common.badges import Badge
from librarian.common.errors import ArchiveError
from librarian.common.listing import COUNT_CEILING, remembered
from network.labels import PEERS as STATES
from network.labels import is_resting
from network.models import (
    GIVEN_UP,
    LIVE,
    IncomingTransfer,
    OrderWay,
    OutgoingTransfer,
    Peer,
    QueueState,
    SendQueueItem,
    StandingOrder,
    TransferState,
)
from network.services import check_peers

FAILED_LATELY = timedelta(days=1)
IN_TROUBLE = ("failing", "resting")


def state_of(peer: Peer) -> str:
    """Which of STATES our latest calls found."""
    if is_resting(peer):
        return "resting"
    return {None: "unknown", True: "answers", False: "failing"}[peer.answers]


def peers_asked(*, ask: bool) -> list[tuple[Peer, bool | None, ArchiveError | None]]:
    """Every peer by name, whether it answers (None when nobody asked), and why not."""
    peers = list(Peer.objects.order_by("name"))
    if not ask:
        return [(peer, None, None) for peer in peers]
    found = check_peers(peers)
    return [(peer, found[peer.pk] is None, found[peer.pk]) for peer in peers]


# --- Lag --------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lag:
    """Files that orders want at a peer and that are not known to be there: how many, since when the oldest is here."""

    count: int
    is_more: bool
    oldest_at: datetime | None

    @property
    def words(self) -> str:
        return f"more than {self.count:,}" if self.is_more else f"{self.count:,}"


def missing_at(peer_name: str, condition: Q) -> QuerySet[File]:
    """Files that meet a condition, can be read here, and are not known to be at the peer."""
    readable = Exists(Instance.objects.readable().filter(file=OuterRef("pk")))
    there = Exists(RemoteInstance.objects.filter(file=OuterRef("pk"), peer_name=peer_name))
    return File.objects.filter(condition).filter(readable, ~there)


def lag_of(orders: Iterable[StandingOrder], peer_name: str) -> Lag:
    """How far a peer is behind the orders that send to it; a little old when it is dear to know."""
    searches = sorted({order.search for order in orders})
    if not searches:
        return Lag(0, is_more=False, oldest_at=None)

    def compute() -> Lag:
        condition = Q(pk__in=[])
        for search in searches:
            condition |= _compiled(search)
        oldest = missing_at(peer_name, condition).order_by("registered_at", "pk")[: COUNT_CEILING + 1]
        found = oldest.aggregate(number=Count("pk"), oldest_at=Min("registered_at"))
        return Lag(min(found["number"], COUNT_CEILING), found["number"] > COUNT_CEILING, found["oldest_at"])

    return remembered(f"network.lag.{peer_name}.{hash(tuple(searches))}", compute)


def _compiled(search: str) -> Q:
    """The condition of an order; nothing for one that is not understood, which its own row says."""
    try:
        return compile_search(search)
    except InvalidSearch:
        return Q(pk__in=[])


# --- Peers ------------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class Traffic:
    """Transfers of one direction that are under way, and those that need somebody."""

    waiting: int = 0
    moving: int = 0
    checking: int = 0
    again: int = 0  # failed, and tried again by themselves
    failed: int = 0  # for good, or of the last day where they come from elsewhere

    @property
    def live(self) -> int:
        return self.waiting + self.moving + self.checking


@dataclass(slots=True)
class PeerView:
    """A peer with everything that its row on the Network page says."""

    peer: Peer
    last_heard_at: datetime | None
    to: Traffic = field(default_factory=Traffic)
    come: Traffic = field(default_factory=Traffic)
    rate_bytes_per_second: float | None = None
    orders: list[StandingOrder] = field(default_factory=list)
    lag: Lag = field(default_factory=lambda: Lag(0, is_more=False, oldest_at=None))

    @property
    def badge(self) -> Badge:
        return STATES[state_of(self.peer)]

    @property
    def is_ours(self) -> bool:
        """True if it has said that it understands our extensions of the protocol."""
        return bool(self.peer.features)

    @property
    def resting(self) -> list[tuple[str, datetime, str]]:
        """Providers that are left out for a while: name, until when, why."""
        return resting_providers(self.peer)

    @property
    def resting_until(self) -> datetime | None:
        return self.peer.rests_until if is_resting(self.peer) else None

    @property
    def is_in_trouble(self) -> bool:
        return state_of(self.peer) in IN_TROUBLE


def resting_providers(peer: Peer) -> list[tuple[str, datetime, str]]:
    """Providers that could not start and are left out now: name, until when, why."""
    now = timezone.now()
    rests = [
        (name, datetime.fromisoformat(rest["until"]), str(rest.get("reason", "")))
        for name, rest in sorted(peer.provider_rests.items())
    ]
    return [rest for rest in rests if rest[1] > now]


def peer_views(peers: QuerySet[Peer] | None = None) -> list[PeerView]:
    """Peers by name with their traffic, orders and lag: a handful of queries, and one for the lag of each."""
    rows = (Peer.objects.all() if peers is None else peers).with_last_heard().order_by("name")
    views = {peer.name: PeerView(peer, peer.last_heard_at) for peer in rows}
    for name, traffic in outgoing_traffic(views).items():
        views[name].to = traffic
    for name, traffic in incoming_traffic(views).items():
        views[name].come = traffic
    for name, rate in _rates(views).items():
        views[name].rate_bytes_per_second = rate
    for order in StandingOrder.objects.filter(peer_name__in=views):
        views[order.peer_name].orders.append(order)
    for name, view in views.items():
        pushing = [order for order in view.orders if order.enabled and order.way == OrderWay.PUSH]
        view.lag = lag_of(pushing, name)
    return list(views.values())


def outgoing_traffic(names: Iterable[str]) -> dict[str, Traffic]:
    """What is under way to each peer of these names, and what was given up."""
    found = {name: Traffic() for name in names}
    live = OutgoingTransfer.objects.live().filter(peer_name__in=found).order_by()
    _count_live(found, live.values_list("peer_name", "state").annotate(Count("pk")))
    failed = failed_outgoing().filter(peer_name__in=found).order_by()
    kinds = failed.values_list("peer_name").annotate(all=Count("pk"), again=Count("next_try_at"))
    for name, every, again in kinds:
        found[name].again, found[name].failed = again, every - again
    return found


def incoming_traffic(names: Iterable[str]) -> dict[str, Traffic]:
    """What is under way from each account of these names, and what failed within the last day."""
    found = {name: Traffic() for name in names}
    rows = IncomingTransfer.objects.filter(account_name__in=found).order_by()
    _count_live(found, rows.filter(state__in=LIVE).values_list("account_name", "state").annotate(Count("pk")))
    lately = rows.filter(state=TransferState.FAILED, finished_at__gte=timezone.now() - FAILED_LATELY)
    for name, number in lately.values_list("account_name").annotate(Count("pk")):
        found[name].failed = number
    return found


def _count_live(found: dict[str, Traffic], rows: Iterable[tuple[str, str, int]]) -> None:
    fields = {
        TransferState.INITIATED: "waiting",
        TransferState.ONGOING: "moving",
        TransferState.STAGED: "checking",
    }
    for name, state, number in rows:
        setattr(found[name], fields[TransferState(state)], number)


def _rates(names: Iterable[str]) -> dict[str, float]:
    """Bytes per second that go to each peer now."""
    sending = SendQueueItem.objects.filter(state=QueueState.SENDING, peer_name__in=list(names)).order_by()
    sums = sending.values_list("peer_name").annotate(rate=Sum("rate_bytes_per_second"))
    return {name: rate for name, rate in sums if rate is not None}


def names_without_peer() -> Counter[str]:
    """Names that are no peer of ours and that transfers or orders go by, with the number of those that wait for it."""
    known = list(Peer.objects.values_list("name", flat=True))
    found: Counter[str] = Counter()
    for rows, name in (
        (OutgoingTransfer.objects.filter(state__in=LIVE), "peer_name"),
        (IncomingTransfer.objects.filter(state__in=LIVE), "account_name"),
        (StandingOrder.objects.active().exclude(peer_name=""), "peer_name"),
    ):
        others = rows.exclude(**{f"{name}__in": known}).order_by()
        found.update(dict(others.values_list(name).annotate(Count("pk"))))
    return found


def peers_in_trouble() -> list[Peer]:
    """Peers that files may be sent to and that do not answer."""
    return [peer for peer in Peer.objects.sending().order_by("name") if state_of(peer) in IN_TROUBLE]


def peers_behind(since: datetime) -> list[tuple[str, Lag]]:
    """Names of peers for which a file of an order has waited since before a time, and how far behind each is."""
    orders: dict[str, list[StandingOrder]] = {}
    for order in StandingOrder.objects.active().pushing().order_by("peer_name"):
        orders.setdefault(order.peer_name, []).append(order)
    lags = [(name, lag_of(rows, name)) for name, rows in orders.items()]
    return [(name, lag) for name, lag in lags if lag.oldest_at is not None and lag.oldest_at < since]


def count_given_up() -> int:
    """Files that did not get to a peer and that nobody sends again by himself; those cancelled were not wanted."""
    return failed_outgoing().filter(next_try_at__isnull=True).count()


def failed_outgoing() -> QuerySet[OutgoingTransfer]:
    """Latest attempts that failed, less those of files that are there all the same, as a late word told."""
    there = Exists(RemoteInstance.objects.filter(file=OuterRef("file"), peer_name=OuterRef("peer_name")))
    # both conditions on the state, since an index holds the rows that were given up
    failed = OutgoingTransfer.objects.latest().filter(state=TransferState.FAILED, state__in=GIVEN_UP)
    return failed.filter(~there)


# --- Transfers --------------------------------------------------------------------------------------------------------


def outgoing_for_list() -> QuerySet[OutgoingTransfer]:
    """Transfers to peers with what a row about them shows."""
    return OutgoingTransfer.objects.select_related("file", "queue_item", "order")


def incoming_for_list() -> QuerySet[IncomingTransfer]:
    """Transfers from other sites with what a row about them shows."""
    return IncomingTransfer.objects.select_related("file", "upload")
