"""Pairing two sites by an invitation: one makes a code, the other accepts it, and both know each other.

    inviting site                        accepting site
    invite() -> code  ... carried by people ...  accept(code)
                      <- POST v3/pairing/        the secret, a proof, its name, its address, our account there
    welcome(): account and peer
                      -> its account here        account and peer
                      <- POST v3/pairing/check/  signed in with the new account
    calls the other   -> how that went

The accepting site changes nothing before the inviting one has agreed, and each side writes all of its rows at once. A
reply that was lost is mended by accepting the same code again: fresh credentials then go both ways. The secret travels
as a bearer token, in the header that no log keeps.
"""

import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from django.db import transaction
from pydantic import BaseModel, Field

from accounts.levels import Level
from accounts.models import User
from accounts.rules import check_grant
from librarian.common.audit import record_act
from librarian.common.errors import ArchiveError
from network.calling import Account, call
from network.errors import NotALibrarian, OtherLibrarian, PeerAnswered, PeerProblem, PeerRefusesUs
from network.models import Peer
from network.services.peering.calls import call_peer, read_answer
from network.services.peering.connections import address_notes, check_peer
from network.services.peering.inviting import invite
from network.services.peering.pairing_code import (
    Direction,
    new_secret,
    own_address,
    own_name,
    proof_of,
    read_code,
    read_direction,
)
from network.services.peering.peer_accounts import know_peer, open_account, refuse_account
from network.services.peering.peers import check_account

__all__ = ["Direction", "Paired", "accept", "invite"]

PATH, CHECK_PATH = "v3/pairing/", "v3/pairing/check/"
TIMEOUT_SECONDS, CHECK_TIMEOUT_SECONDS = 30.0, 25.0


class Welcome(BaseModel):
    """What the inviting site answers: its name, and our account there."""

    name: str
    authenticator: str = Field(min_length=3, max_length=1024, repr=False)


class CheckAnswer(BaseModel):
    """How the other site fared when it called us."""

    ok: bool
    latency_seconds: float | None = None
    reason: str = Field(default="", max_length=2000)
    suggested_remedy: str = Field(default="", max_length=2000)
    notes: list[str] = Field(default=[], max_length=20)


@dataclass(frozen=True, slots=True)
class Ping:
    """What one side found when it called the other; `problem` is None if all is well."""

    latency_seconds: float | None = None
    problem: ArchiveError | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Paired:
    """What came of accepting: the peer, our call to it, its call to us, and what a person should know besides."""

    peer: Peer
    there: Ping
    back: Ping
    notes: tuple[str, ...] = ()

    @property
    def is_working(self) -> bool:
        """True if each side reaches the other."""
        return self.there.problem is None and self.back.problem is None


def accept(
    *,
    actor: User | None,
    code: str,
    url: str = "",
    direction: Direction | str = "",
    replace: bool = False,
    address: str = "",
) -> Paired:
    """Pair this site with the one that made a code, and have each call the other. Safe to repeat.

    Parameters
    ----------
    actor : User or None
        Who accepts; None at the command line.
    code : str
        As the other site shows it.
    url : str
        Where the other site reaches this one; LIBRARIAN_PUBLIC_URL when left out.
    direction : Direction
        Whether we send files, receive them, or both; what the code says when left out.
    replace : bool
        The site is known here already, under another address or without one: give it this one and fresh credentials.

    Raises
    ------
    InvalidRequest, LevelTooLow, Refused
        It cannot be accepted here; nobody was called.
    PeerProblem
        The other site cannot be reached, or says no; nothing was changed here.
    """
    check_grant(actor, Level.ADMIN)
    invitation = read_code(code)
    direction = read_direction(direction or invitation.direction.of_the_other)
    own_url, own_port = own_address(url)
    there = check_account(name=invitation.name, url=invitation.url, port=invitation.port, authenticator="nobody:yet")
    is_known = Peer.objects.filter(name=there.peer_name, url=there.url, port=there.port).exists()
    refuse_account(
        there.peer_name,
        may_replace=replace or is_known,
        remedy="If it is the same site, accept again and say that it is to be replaced.",
    )
    password = new_secret()
    welcomed = _ask(
        there,
        invitation.secret,
        {
            "name": own_name(),
            "url": own_url,
            "port": own_port,
            "authenticator": f"{there.peer_name}:{password}",
            "proof": proof_of(invitation.secret),
        },
    )
    with transaction.atomic():
        open_account(actor=actor, name=there.peer_name, password=password, level=direction.level, address=address)
        peer = know_peer(
            actor=actor,
            name=there.peer_name,
            url=there.url,
            port=there.port,
            authenticator=welcomed.authenticator,
            address=address,
        )
        facts = {"url": there.url, "port": there.port, "direction": direction.value}
        record_act(actor=actor, action="accept_invitation", subject=f"peer {peer.name}", facts=facts, address=address)
    notes = tuple(f"This site's address: {note}" for note in address_notes(own_url))
    return Paired(peer, _call_there(peer, actor, address), _have_us_called(peer), notes)


def _ask(there: Account, secret: str, message: dict[str, Any]) -> Welcome:
    """Show the secret to the inviting site. Raises what it answers; nothing is written on this side."""
    asker = Account(there.peer_name, there.url, there.port, secret)
    answer = call(
        asker,
        PATH,
        ends_at=time.monotonic() + TIMEOUT_SECONDS,
        wait_seconds=TIMEOUT_SECONDS,
        message=message,
    )
    try:
        welcome = read_answer(asker, answer, Welcome)
    except PeerRefusesUs:
        raise _unable(there) from None
    except PeerAnswered as problem:
        if problem.http_status in (HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED) and not problem.said_code:
            raise _unable(there) from None
        raise
    if welcome.name != there.peer_name:
        raise OtherLibrarian(f"The Librarian at {there.url}, port {there.port}, is not called {there.peer_name}.")
    return welcome


def _unable(there: Account) -> NotALibrarian:
    return NotALibrarian(
        f"What answers at {there.url}, port {there.port}, takes no invitations.",
        remedy="Add it by hand: an account for each site at the other one, and each as a peer of the other.",
    )


def _call_there(peer: Peer, actor: User | None, address: str) -> Ping:
    try:
        found = check_peer(peer=peer, actor=actor, address=address)
    except ArchiveError as problem:
        return Ping(problem=problem)
    return Ping(found.latency_seconds, notes=found.notes)


def _have_us_called(peer: Peer) -> Ping:
    try:
        told = call_peer(peer, CHECK_PATH, {}, CheckAnswer, timeout_seconds=CHECK_TIMEOUT_SECONDS, is_urgent=True)
    except ArchiveError as problem:
        return Ping(problem=problem)
    if told.ok:
        return Ping(told.latency_seconds, notes=tuple(told.notes))
    return Ping(problem=PeerProblem(told.reason or "It does not say why.", remedy=told.suggested_remedy or None))
