"""Reads of standing orders shaped for pages: what each has still to do, and what a search would send."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from django.db.models import Exists, OuterRef, Q, QuerySet

from files.models import File, Instance
from files.search import InvalidSearch, compile_search
from librarian.common.listing import COUNT_CEILING, count_cheaply, remembered
from network.models import OrderWay, Peer, StandingOrder
from network.queries import Lag, lag_of, missing_at
from stores.queries import named, store_names


@dataclass(frozen=True, slots=True)
class OrderView:
    """A standing order with what it has still to do; `problem` when its search is not understood."""

    order: StandingOrder
    has_peer: bool
    targets: list[str]
    missing: Lag | None
    problem: str


def order_views(orders: Iterable[StandingOrder]) -> list[OrderView]:
    """Orders with the number of files that they want somewhere and that are not there."""
    orders = list(orders)
    peers = set(Peer.objects.values_list("name", flat=True))
    names = store_names() if any(order.targets for order in orders) else {}
    return [_order_view(order, order.peer_name in peers, named(order.targets, names)) for order in orders]


def _order_view(order: StandingOrder, has_peer: bool, targets: list[str]) -> OrderView:
    try:
        compile_search(order.search)
    except InvalidSearch as problem:
        return OrderView(order, has_peer, targets, None, f"{problem.reason} {problem.suggested_remedy}")
    return OrderView(order, has_peer, targets, _missing(order), order.problem)


def _missing(order: StandingOrder) -> Lag:
    if order.way != OrderWay.COPY:
        return lag_of([order], order.peer_name)

    def compute() -> Lag:
        oldest = missing_on(order.targets, compile_search(order.search)).order_by("registered_at", "pk")
        times = list(oldest.values_list("registered_at", flat=True)[: COUNT_CEILING + 1])
        return Lag(min(len(times), COUNT_CEILING), len(times) > COUNT_CEILING, times[0] if times else None)

    return remembered(f"network.order.{hash((order.search, tuple(order.targets)))}", compute)


def missing_on(targets: Sequence[int], condition: Q) -> QuerySet[File]:
    """Files that meet a condition, can be read here, and have no copy on any of these stores."""
    readable = Exists(Instance.objects.readable().filter(file=OuterRef("pk")))
    there = Exists(Instance.objects.present().filter(file=OuterRef("pk"), store__in=list(targets)))
    return File.objects.filter(condition).filter(readable, ~there)


@dataclass(frozen=True, slots=True)
class Matches:
    """Files that a search finds now, and how many of them are not where the order wants them."""

    count: int
    is_more: bool
    missing: Lag | None
    where: str


def matches_of(search: str, peer_name: str = "", *, way: str = OrderWay.PUSH, targets: Sequence[int] = ()) -> Matches:
    """What a standing order with this search would send. Raises InvalidSearch."""
    condition = compile_search(search)
    number, is_more = count_cheaply(File.objects.filter(condition))
    if way == OrderWay.COPY and targets:
        where, rows = f"on {' or '.join(named(targets, store_names()))}", missing_on(targets, condition)
    elif way != OrderWay.COPY and peer_name:
        where, rows = f"at {peer_name}", missing_at(peer_name, condition)
    else:
        return Matches(number, is_more, None, "")
    return Matches(number, is_more, Lag(*count_cheaply(rows), None), where)
