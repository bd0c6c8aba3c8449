"""Trying out whether a peer can be reached, is a Librarian, knows us, and is the one that we take it for.

The wire's `ping/` answers whoever asks, so credentials are proven by `ping/logged`. The name that `ping/` tells is the
site's own on a Librarian like this one and a name for people on others; which of the two, only a site with version 3 of
the machine API can say. No transaction is open while a peer is called.
"""

import time
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

from django.conf import settings

from accounts.models import User
from librarian.common.audit import record_act
from librarian.common.errors import ArchiveError
from network.calling import Account, Answer, call
from network.errors import NotALibrarian, OtherLibrarian, PeerProblem, PeerRefusesUs, PeerUnreachable
from network.models import Peer
from network.services.peering.circuit import note_failure, note_seen, note_trouble

TIMEOUT_SECONDS = 10.0  # for all calls of one try
MOST_AT_ONCE = 32
NOTED = ("last_seen_at", "latency_seconds", "last_error", "last_error_at", "failures_in_a_row", "rests_until")
SOME_WAIT_SECONDS = 2.0  # for names that take long to look up, which no clock of ours covers


@dataclass(frozen=True, slots=True)
class Connection:
    """What a successful try found. `notes` are sentences for a person: what works, yet looks wrong."""

    latency_seconds: float
    notes: tuple[str, ...] = ()


def try_connection(account: Account, *, timeout_seconds: float = TIMEOUT_SECONDS) -> Connection:
    """Call a peer as we would to work with it. Touches no row; raises a PeerProblem that says what is wrong."""
    ends_at = time.monotonic() + timeout_seconds
    begun = time.monotonic()
    found = _greeting(account, call(account, "v2/ping/", ends_at=ends_at))
    latency = time.monotonic() - begun
    _greeting(account, call(account, "v2/ping/logged", ends_at=ends_at))
    notes = _look_alike(account)
    if found["name"] != account.peer_name:
        notes += _compare_names(account, ends_at)
    return Connection(latency, tuple(notes))


def ask_name(account: Account, *, ends_at: float) -> str:
    """The name that a site gives itself when it is greeted; who asks is not checked. Raises PeerProblem."""
    return _greeting(account, call(account, "v2/ping/", ends_at=ends_at))["name"]


def check_peer(*, peer: Peer, actor: User | None, address: str = "") -> Connection:
    """Try a peer because a person asked: recorded in its row and in the audit trail. Raises PeerProblem or others."""
    try:
        found = _try(peer)
    except ArchiveError as problem:
        record_try(
            peer_name=peer.name, url=peer.url, port=peer.port, outcome=problem.code, actor=actor, address=address
        )
        raise
    record_try(peer_name=peer.name, url=peer.url, port=peer.port, outcome="answers", actor=actor, address=address)
    return found


def check_peers(peers: Iterable[Peer], *, timeout_seconds: float = TIMEOUT_SECONDS) -> dict[int, ArchiveError | None]:
    """Try many peers at once; per key what is wrong, or None. One that does not answer costs the others nothing."""
    peers = list(peers)
    pool = ThreadPoolExecutor(max_workers=max(1, min(MOST_AT_ONCE, len(peers))), thread_name_prefix="ask-peer")
    ask = partial(try_connection, timeout_seconds=timeout_seconds)
    pending = {peer.pk: pool.submit(ask, account) for peer in peers if (account := _opened(peer)) is not None}
    wait(pending.values(), timeout=timeout_seconds * -(-len(peers) // MOST_AT_ONCE) + SOME_WAIT_SECONDS)
    pool.shutdown(wait=False, cancel_futures=True)
    return {peer.pk: _settle(peer, pending.get(peer.pk)) for peer in peers}


def record_try(*, peer_name: str, url: str, port: int, outcome: str, actor: User | None, address: str) -> None:
    """Tell the audit trail that a person made this server call an address."""
    facts = {"url": url, "port": port, "outcome": outcome}
    record_act(actor=actor, action="try_peer", subject=f"peer {peer_name}", facts=facts, address=address)


def note_answer(peer: Peer, found: Connection) -> None:
    """Remember a good answer. What went wrong last stays readable, with its time."""
    note_seen(peer, found.latency_seconds)
    _refresh(peer)


def note_problem(peer: Peer, problem: ArchiveError) -> None:
    """Remember why a call failed; a peer that failed several times in a row rests."""
    if isinstance(problem, PeerProblem):
        note_failure(peer, problem)
    else:
        note_trouble(peer, problem)  # ours: nobody was called
    _refresh(peer)


# --- What the answers mean --------------------------------------------------------------------------------------------


def _greeting(account: Account, answer: Answer) -> dict[str, Any]:
    """The message of a ping. Raises what its status or content says."""
    site = f"Librarian {account.peer_name}"
    if answer.status in (401, 403):
        raise PeerRefusesUs(f"{site} does not accept our credentials.")
    if answer.status >= 500 or answer.status == 429:
        raise PeerProblem(f"{site} answers with status {answer.status}.")
    if 300 <= answer.status < 400:
        raise NotALibrarian(
            f"The address of {site} leads elsewhere (status {answer.status}), where nothing is sent.",
            remedy="Give the address that answers by itself; often it begins with https:// where this one has http://.",
        )
    content = answer.content
    is_greeting = isinstance(content, dict) and all(
        isinstance(content.get(key), str) for key in ("name", "description")
    )
    if answer.status != 200 or not is_greeting:
        raise NotALibrarian(f"What answers at the address of {site} is no Librarian (status {answer.status}).")
    return content


def _compare_names(account: Account, ends_at: float) -> list[str]:
    """Ask a peer whose greeting has another name than ours for it. Raises OtherLibrarian if that is its own name."""
    answer = call(account, "v3/", ends_at=ends_at, method="GET")
    content = answer.content if answer.status == 200 and isinstance(answer.content, dict) else {}
    if not isinstance(content.get("features"), list) or not isinstance(content.get("name"), str):
        return ["It shows another name than the one it is registered under, which may be its name for people."]
    if content["name"] != account.peer_name:
        raise OtherLibrarian(f"The Librarian at {account.url}, port {account.port}, is not called {account.peer_name}.")
    return []


def _look_alike(account: Account) -> list[str]:
    """What is allowed, and mostly a mistake."""
    notes = []
    if account.username and account.username != settings.LIBRARIAN_NAME:
        notes.append(
            f"Our account there is called {account.username}, and this site {settings.LIBRARIAN_NAME}: "
            "the other site matches what we report by the name of the account."
        )
    return notes + address_notes(account.url)


def address_notes(url: str) -> list[str]:
    """What is allowed of an address, and mostly a mistake."""
    if url.startswith("http://") and not _is_this_machine(url):
        return ["The credentials cross the network in clear; use https, or a tunnel."]
    return []


def _is_this_machine(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


# --- Rows -------------------------------------------------------------------------------------------------------------


def _try(peer: Peer) -> Connection:
    try:
        found = try_connection(peer.account())
    except ArchiveError as problem:
        note_problem(peer, problem)
        raise
    note_answer(peer, found)
    return found


def _opened(peer: Peer) -> Account | None:
    """Our account there, or None when it cannot be read: `_settle` says so."""
    try:
        return peer.account()
    except ArchiveError:
        return None


def _settle(peer: Peer, future: Future[Connection] | None) -> ArchiveError | None:
    """What came of a try, recorded."""
    try:
        if future is None:
            peer.account()
        elif not future.done() or future.cancelled():
            raise PeerUnreachable(f"Librarian {peer.name} cannot be reached: it did not answer in time.")
        else:
            note_answer(peer, future.result())
    except ArchiveError as problem:
        note_problem(peer, problem)
        return problem
    return None


def _refresh(peer: Peer) -> None:
    """Show in `peer` what was noted; it may be gone by now."""
    noted = Peer.objects.filter(pk=peer.pk).values(*NOTED).first() or {}
    for field, value in noted.items():
        setattr(peer, field, value)
