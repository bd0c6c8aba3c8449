"""What peers, transfers, copies at peers and standing orders can be searched by. Shared by machine API and portal."""

from django.db.models import Exists, OuterRef, Q, QuerySet

from files.filters import FiledNameFilter, LikeFilter
from files.lookups import check_like, escape_like, shell_to_like
from files.models import RemoteInstance
from librarian.common.filters import ArchiveFilterSet, OneOfFilter, TextFilter, TimeFilter, YesNoFilter
from network.models import (
    GIVEN_UP,
    LIVE,
    IncomingTransfer,
    OrderWay,
    OutgoingTransfer,
    Peer,
    StandingOrder,
    TransferState,
)
from network.rows import DIRECTIONS

_TIME = "(ISO 8601 or Julian Date, UTC)."
STATES = [(state.value, state.value) for state in TransferState]


def containing(text: str) -> str:
    """The like pattern of names with this text in them."""
    return f"%{escape_like(text)}%"


class PeerFilterSet(ArchiveFilterSet):
    """Peers by name and switch."""

    name = TextFilter("name", max_length=64, help_text="The peer of this name.")
    transfers_enabled = YesNoFilter("transfers_enabled", help_text="Whether files may be sent to it.")

    class Meta:
        model = Peer
        fields: list[str] = []


class _TransferFilterSet(ArchiveFilterSet):
    """What transfers of both directions have in common."""

    state = OneOfFilter(field_name="state", choices=STATES, help_text="Where the transfer stands.")
    live = YesNoFilter(method="that_live", help_text="Whether it has not ended yet.")
    code = TextFilter("code", max_length=64, help_text="Stable name of why it failed, as in docs/errors.md.")
    created_after = TimeFilter("created_at", "gte", help_text=f"Begun at or after this time {_TIME}")
    created_before = TimeFilter("created_at", "lt", help_text=f"Begun before this time {_TIME}")
    changed_before = TimeFilter("changed_at", "lt", help_text=f"In its state since before this time {_TIME}")

    def that_live(self, queryset: QuerySet, name: str, value: bool) -> QuerySet:
        return queryset.filter(state__in=LIVE) if value else queryset.exclude(state__in=LIVE)


class OutgoingFilterSet(_TransferFilterSet):
    """Transfers to peers."""

    peer = TextFilter("peer_name", max_length=64, help_text="To the peer of this name.")
    name = FiledNameFilter("file__name", help_text="Of the file of this name, normalised as on filing.")
    name_contains = LikeFilter(
        "file__name", dialect=containing, expects="text", help_text="Of files with this text in their names."
    )
    name_matches = LikeFilter(
        "file__name",
        dialect=check_like,
        expects="a LIKE pattern",
        help_text="Of files whose names match this LIKE pattern in whole; case counts.",
    )
    name_glob = LikeFilter(
        "file__name",
        dialect=shell_to_like,
        expects="a shell pattern with * and ?",
        help_text="Of files whose names match this shell pattern in whole; case counts.",
    )
    given_up = YesNoFilter(
        method="that_given_up", help_text="Whether its file is not there, and not sent again before a person wants it."
    )
    latest = YesNoFilter("is_latest", help_text="Whether it is the newest attempt for its file and peer.")

    class Meta:
        model = OutgoingTransfer
        fields: list[str] = []

    def that_given_up(self, queryset: QuerySet, name: str, value: bool) -> QuerySet:
        there = Exists(RemoteInstance.objects.filter(file=OuterRef("file"), peer_name=OuterRef("peer_name")))
        condition = Q(is_latest=True, state__in=GIVEN_UP, next_try_at__isnull=True) & ~there
        return queryset.filter(condition if value else ~condition)


class IncomingFilterSet(_TransferFilterSet):
    """Transfers from other sites."""

    peer = TextFilter(method="of_site", max_length=64, help_text="From the account or peer of this name.")
    name = FiledNameFilter("name", help_text="Of the file of this name, normalised as on filing.")
    name_contains = LikeFilter(
        "name", dialect=containing, expects="text", help_text="Of files with this text in their names."
    )
    name_matches = LikeFilter(
        "name",
        dialect=check_like,
        expects="a LIKE pattern",
        help_text="Of files whose names match this LIKE pattern in whole; case counts.",
    )
    name_glob = LikeFilter(
        "name",
        dialect=shell_to_like,
        expects="a shell pattern with * and ?",
        help_text="Of files whose names match this shell pattern in whole; case counts.",
    )
    given_up = YesNoFilter(method="that_given_up", help_text="Whether it failed or was cancelled.")

    class Meta:
        model = IncomingTransfer
        fields: list[str] = []

    def of_site(self, queryset: QuerySet, name: str, value: str) -> QuerySet:
        return queryset.filter(Q(account_name=value) | Q(peer_name=value))

    def that_given_up(self, queryset: QuerySet, name: str, value: bool) -> QuerySet:
        return queryset.filter(state__in=GIVEN_UP) if value else queryset.exclude(state__in=GIVEN_UP)


class _OfDirection(ArchiveFilterSet):
    """The portal's choice of the direction; the page itself picks the lists that it shows."""

    direction = OneOfFilter(method="any_direction", choices=DIRECTIONS, help_text="To other sites, or from them.")

    def any_direction(self, queryset: QuerySet, name: str, value: str) -> QuerySet:
        return queryset


class OutgoingPageFilterSet(OutgoingFilterSet, _OfDirection):
    """Transfers to peers, for the page of both directions."""

    class Meta(OutgoingFilterSet.Meta):
        pass


class IncomingPageFilterSet(IncomingFilterSet, _OfDirection):
    """Transfers from other sites, for the page of both directions."""

    class Meta(IncomingFilterSet.Meta):
        pass


class RemoteInstanceFilterSet(ArchiveFilterSet):
    """Copies at peers by file, peer and time of confirmation."""

    file = FiledNameFilter("file__name", help_text="Of the file of this name, normalised as on filing.")
    peer = TextFilter("peer_name", max_length=64, help_text="At the peer of this name.")
    confirmed_after = TimeFilter("confirmed_at", "gte", help_text=f"Confirmed at or after this time {_TIME}")
    confirmed_before = TimeFilter("confirmed_at", "lt", help_text=f"Last confirmed before this time {_TIME}")

    class Meta:
        model = RemoteInstance
        fields: list[str] = []


class StandingOrderFilterSet(ArchiveFilterSet):
    """Standing orders by name, way, destination and switch."""

    name = TextFilter("name", max_length=64, help_text="The order of this name.")
    way = OneOfFilter(field_name="way", choices=OrderWay.choices, help_text="How it brings files there.")
    peer = TextFilter("peer_name", max_length=64, help_text="To the peer of this name.")
    enabled = YesNoFilter("enabled", help_text="Switched on by a person.")

    class Meta:
        model = StandingOrder
        fields: list[str] = []
