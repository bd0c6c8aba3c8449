"""Choosing how a batch goes to a peer, and leaving out for a while what could not start.

The peer's own order counts (`provider_order`), not that in which it lists its offers. A provider that could not start
rests, longer each time in a row; why, and until when, stands in the peer's row.
"""

from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Any

from django.db import transaction
from django.utils import timezone

from librarian.common.errors import ArchiveError
from network.models import Peer
from network.providers.base import Offer, Provider
from network.providers.globus import GlobusProvider
from network.providers.http import HttpProvider
from network.providers.local import LocalProvider
from network.providers.rsync import RsyncProvider

PROVIDERS: dict[str, Provider] = {
    provider.name: provider for provider in (LocalProvider(), RsyncProvider(), GlobusProvider(), HttpProvider())
}  # the best first; globus is only there where people set it up, and then they want it rather than http
FIRST_REST_SECONDS = 300.0
LONGEST_REST_SECONDS = 6 * 3600.0
LONGEST_REASON = 1000


class NoProvider(ArchiveError):
    """No way leads to this peer now. `next_try_at`: when the first of those that rest is tried again, or None."""

    code = "no_provider"
    status = HTTPStatus.BAD_GATEWAY
    remedy = (
        "Set one of them up: local needs a shared directory, rsync an allowed SSH host, globus an allowed collection, "
        "http the address alone."
    )
    passing = True

    def __init__(self, reason: str, *, next_try_at: datetime | None) -> None:
        super().__init__(reason)
        self.next_try_at = next_try_at


def choose_provider(peer: Peer, offers: Mapping[str, Any]) -> tuple[Provider, Offer]:
    """The first provider in the peer's order that it offers, that can be used and that does not rest.

    Raises NoProvider with the reason of every provider.
    """
    reasons: list[str] = []
    times: list[datetime] = []
    for provider in _in_order(peer):
        offer, reason = _usable_offer(peer, provider, offers)
        if offer is None:
            reasons.append(f"{provider.name}: {reason}")
            continue
        rests_until = _rests_until(peer, provider.name)
        if rests_until is None:
            return provider, offer
        times.append(rests_until)
        why = str(peer.provider_rests[provider.name].get("reason", "")).rstrip(".")
        reasons.append(f"{provider.name}: it rests until {rests_until:%Y-%m-%d %H:%M} UTC, since: {why}")
    said = " ".join(f"{reason.rstrip('.')}." for reason in reasons)
    raise NoProvider(
        f"No provider can bring files to {peer.name} now. {said}".strip(), next_try_at=min(times, default=None)
    )


def provider_at_work(name: str, offers: Mapping[str, Any]) -> tuple[Provider, Offer] | None:
    """The provider for which a service has a batch under way, with its offer. Order, rests, settings do not count."""
    provider = PROVIDERS.get(name)
    for offer in offers.values():
        if provider is not None and isinstance(offer, Mapping) and provider.offered_as(offer):
            return provider, offer
    return None


def rest_provider(peer: Peer, name: str, reason: str) -> datetime:
    """Leave a provider out for a while: five minutes at first, twice as long each time in a row, six hours at most."""
    with _rests_of(peer) as rests:
        times = min(int(rests.get(name, {}).get("times", 0)), 30)
        until = timezone.now() + timedelta(seconds=min(FIRST_REST_SECONDS * 2**times, LONGEST_REST_SECONDS))
        rests[name] = {"until": until.isoformat(), "reason": reason[:LONGEST_REASON], "times": times + 1}
    return until


def wake_provider(peer: Peer, name: str) -> None:
    """Forget that a provider could not start: it did now, or a person wants it tried."""
    if name in peer.provider_rests:
        with _rests_of(peer) as rests:
            rests.pop(name, None)


class _rests_of:
    """The rests of a peer, read anew, to be changed in the body and written at its end."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._atomic = transaction.atomic()

    def __enter__(self) -> dict[str, Any]:
        self._atomic.__enter__()
        row = Peer.objects.select_for_update().filter(pk=self._peer.pk).values_list("provider_rests", flat=True)
        self._rests = dict(row.first() or {})
        return self._rests

    def __exit__(self, *error: Any) -> None:
        if error[0] is None:
            Peer.objects.filter(pk=self._peer.pk).update(provider_rests=self._rests)
            self._peer.provider_rests = self._rests
        self._atomic.__exit__(*error)


def _in_order(peer: Peer) -> Iterator[Provider]:
    """Those in the peer's order that exist here; all of them when it has none."""
    for name in dict.fromkeys(peer.provider_order or PROVIDERS):
        if name in PROVIDERS:
            yield PROVIDERS[name]


def _usable_offer(peer: Peer, provider: Provider, offers: Mapping[str, Any]) -> tuple[Offer | None, str]:
    reason = "the peer does not offer it"
    for offer in offers.values():
        if isinstance(offer, Mapping) and provider.offered_as(offer):
            why = provider.why_not(peer, offer)
            if why is None:
                return offer, ""
            reason = why
    return None, reason


def _rests_until(peer: Peer, name: str) -> datetime | None:
    """When the rest of a provider ends; None when it does not rest."""
    rest = peer.provider_rests.get(name)
    if not rest:
        return None
    until = datetime.fromisoformat(rest["until"])
    return until if until > timezone.now() else None
