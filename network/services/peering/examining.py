"""Looking at a peer for a person: what stands in its row, whether it answers, and which ways lead there.

Nothing is written, not even that it was looked at. What the row says is read at once; the looks that call somebody
touch no database, so that many may run beside each other.
"""

import os
from collections.abc import Iterable, Iterator
from functools import partial

from django.conf import settings
from django.utils import timezone

from accounts.levels import Level
from accounts.models import User
from librarian.common.errors import ArchiveError
from librarian.common.findings import Finding, Look, doubts, fails, settled, works
from network.calling import Account
from network.models import Peer, SendQueueItem
from network.providers.choice import PROVIDERS
from network.services.peering.connections import try_connection
from network.services.peering.hosts import look_from_here, look_from_store
from stores.models import Store

CALL_SECONDS = 10.0


def looks_at(peer: Peer, *, quick: bool = False) -> Iterator[Look]:
    """All looks at a peer; the quick ones call nobody but itself, by its address."""
    group = f"peer {peer.name}"
    account = _opened(peer)
    found = [*_row(peer), *_ways(peer), *_directories(peer)]
    yield settled(group, found if isinstance(account, Account) else [*found, account])
    if isinstance(account, Account):
        yield Look(group, partial(_call, account), "answer", CALL_SECONDS + 5)
    if quick:
        return
    config = settings.LIBRARIAN_SSH_CONFIG
    for host in peer.ssh_hosts:
        yield Look(group, partial(look_from_here, host, config), f"{host} from this host", 45)
    for store in Store.objects.filter(kind=Store.Kind.SSH, enabled=True).here():
        for host in peer.ssh_hosts:
            run = partial(look_from_store, store.name, dict(store.configuration), host)
            yield Look(group, run, f"{host} from the storage node of {store.name}", 60)


# --- What stands in its row -------------------------------------------------------------------------------------------


def _opened(peer: Peer) -> Account | Finding:
    try:
        return peer.account()
    except ArchiveError as problem:
        return fails("our account there", problem.reason, problem.suggested_remedy)


def _row(peer: Peer) -> Iterator[Finding]:
    if not peer.transfers_enabled:
        yield doubts("transfers", "switched off by a person", "Switch them on on the Network page if they are wanted.")
    yield _circuit(peer)
    yield _their_account(peer)


def _circuit(peer: Peer) -> Finding:
    if not peer.failures_in_a_row:
        return works("circuit", "no call failed since the last good one")
    said = f"{peer.failures_in_a_row} calls in a row failed. {peer.last_error}".rstrip(".")
    remedy = "It is called again by itself; the first good answer ends this."
    if peer.rests_until is not None and peer.rests_until > timezone.now():
        return fails("circuit", f"{said}. It rests until {peer.rests_until:%Y-%m-%d %H:%M:%S} UTC", remedy)
    return doubts("circuit", said, remedy)


def _their_account(peer: Peer) -> Finding:
    """How it signs in here, to send files or to say how ours arrived."""
    account = User.objects.filter(username=peer.name).first()
    remedy = "Pair again (`manage.py pair invite`), or mend the account of its name in the staff admin."
    if account is None:
        return doubts("their account here", f"there is none called {peer.name}: it cannot call us back", remedy)
    if not account.is_active:
        return fails("their account here", "it is closed, so whatever it tells us is refused", remedy)
    if account.level < Level.CALLBACK:
        return fails(
            "their account here", f"its level {Level(account.level).name} does not let it call us back", remedy
        )
    return works("their account here", f"level {Level(account.level).name}")


# --- Providers --------------------------------------------------------------------------------------------------------


def _ways(peer: Peer) -> Iterator[Finding]:
    """Each provider in the peer's order: why it cannot be used, by what the peer offered last."""
    batch = SendQueueItem.objects.filter(peer_name=peer.name).order_by("-id").first()
    offers = [offer for offer in (batch.offers.values() if batch else ()) if isinstance(offer, dict)]
    usable = False
    for name in dict.fromkeys(peer.provider_order or PROVIDERS):
        subject = f"provider {name}"
        if name not in PROVIDERS:
            yield doubts(subject, "it is not known here", "Take it out of the order on the peer's page.")
            continue
        finding = _rest(peer, name) or _way(peer, name, offers)
        usable |= finding.works and not finding.doubtful
        yield finding
    if offers and not usable:
        reason = "none of them can bring files there now"
        yield fails("providers", reason, "Mend one of those above: http needs the address alone.")


def _way(peer: Peer, name: str, offers: Iterable[dict[str, object]]) -> Finding:
    provider, subject = PROVIDERS[name], f"provider {name}"
    reason = "the peer has offered it for no batch yet"
    for offer in offers:
        if provider.offered_as(offer):
            why = provider.why_not(peer, offer)
            if why is None:
                return works(subject, "offered, and can be used")
            return doubts(subject, why, "Another provider is used meanwhile, if there is one.")
        reason = "the peer does not offer it"
    return works(subject, reason)


def _rest(peer: Peer, name: str) -> Finding | None:
    rest = peer.provider_rests.get(name)
    if not rest or rest.get("until", "") <= timezone.now().isoformat():
        return None
    reason = f"it rests until {rest['until'][:19]} UTC, since: {str(rest.get('reason', '')).rstrip('.')}"
    return fails(f"provider {name}", reason, "Mend what the reason names; it is tried again by itself.")


def _directories(peer: Peer) -> Iterator[Finding]:
    """Shared directories, into which the provider `local` copies."""
    for path in peer.shared_directories:
        if not os.path.isdir(path):
            remedy = "Mount it here, or take it off the peer's page."
            yield fails("shared directory", f"{path} is no directory of this host", remedy)
        elif not os.access(path, os.W_OK | os.X_OK):
            yield fails("shared directory", f"{path} may not be written", "Let the server's user into its group.")
        else:
            yield works("shared directory", path)


# --- Calling it -------------------------------------------------------------------------------------------------------


def _call(account: Account) -> Iterator[Finding]:
    try:
        found = try_connection(account, timeout_seconds=CALL_SECONDS)
    except ArchiveError as problem:
        yield fails("answer", problem.reason, problem.suggested_remedy)
        return
    yield works("answer", f"it answers and knows our account, in {found.latency_seconds * 1000:.0f} ms")
    for note in found.notes:
        yield doubts("answer", note, "See the peer's page.")
