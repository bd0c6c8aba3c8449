"""What people do to peers: add, edit, switch. Every act is audited, without the authenticator."""

import re
from typing import Any

from django.conf import settings
from django.db import IntegrityError, transaction

from accounts.levels import Level
from accounts.models import User
from hera_librarian.addresses import split_url
from hera_librarian.authenticator import authorization_header
from hera_librarian.exceptions import LibrarianError
from librarian.common.audit import record_act
from librarian.common.errors import ArchiveError, Conflict, InvalidRequest
from librarian.common.sealing import seal
from network.calling import Account
from network.errors import PeerExists
from network.models import PEER_NAME, Peer
from network.services.peering.connections import Connection, note_answer, record_try, try_connection
from network.services.peering.naming import fix_site_name

LONGEST_URL = Peer._meta.get_field("url").max_length
LONGEST_AUTHENTICATOR = 4096


def add_peer(
    *,
    actor: User | None,
    name: str,
    url: str,
    port: int,
    authenticator: str,
    check: bool = True,
    transfers_enabled: bool = True,
    address: str = "",
) -> tuple[Peer, Connection | None]:
    """Add a peer, after trying it out unless told otherwise; with the first one our own name is fixed.

    Parameters
    ----------
    actor : User or None
        Who adds it; None at the command line.
    name : str
        Its LIBRARIAN_NAME.
    url, port : str, int
        Where it answers; a port inside the address must be the same.
    authenticator : str
        Our account there, `user:password`, or a token.
    check : bool
        Try the connection first; nothing is added when that fails.
    address : str
        Where the request came from, for the audit trail.

    Returns
    -------
    tuple
        The peer, and what the try found (None when there was none).

    Raises
    ------
    InvalidRequest, PeerExists, PeerProblem, Misconfigured
    """
    account = check_account(name=name, url=url, port=port, authenticator=authenticator)
    _refuse_taken(account.peer_name)
    found = _try(account, actor=actor, address=address) if check else None
    peer = Peer(
        name=account.peer_name,
        url=account.url,
        port=account.port,
        sealed_authenticator=seal(account.authenticator),
        transfers_enabled=transfers_enabled,
    )
    with transaction.atomic():
        fix_site_name()
        _insert(peer)
        # whoever signs in here by this name is that site from now on, and no person
        User.objects.filter(username=peer.name).exclude(level=Level.ADMIN).update(kind=User.Kind.LIBRARIAN)
        facts = {**_facts(account), "transfers_enabled": transfers_enabled, "checked": check}
        record_act(actor=actor, action="add_peer", subject=f"peer {peer.name}", facts=facts, address=address)
        if found is not None:
            note_answer(peer, found)
    return peer, found


def edit_peer(
    *,
    peer: Peer,
    actor: User | None,
    url: str,
    port: int,
    authenticator: str | None = None,
    check: bool = True,
    address: str = "",
) -> Connection | None:
    """Change where a peer answers, or our account there (None keeps it). Raises what `add_peer` raises.

    A new address needs the authenticator once more: else whoever may edit could have the one that is kept, and that
    nobody is shown, sent to a machine of their own.
    """
    account = check_account(
        name=peer.name,
        url=url,
        port=port,
        authenticator=authenticator if authenticator else peer.account().authenticator,
    )
    moved = (account.url, account.port) != (peer.url, peer.port)
    if not moved and not authenticator:
        return None
    if not authenticator:
        raise InvalidRequest(
            f"Librarian {peer.name} gets another address, and the authenticator was left out.",
            remedy="Enter the authenticator again: a kept one is never sent to a new address.",
        )
    found = _try(account, actor=actor, address=address) if check else None
    changes = {
        "url": account.url,
        "port": account.port,
        "sealed_authenticator": seal(account.authenticator),
        "failures_in_a_row": 0,  # what failed was another address, or other credentials
        "rests_until": None,
        "provider_rests": {},
    }
    with transaction.atomic():
        if not Peer.objects.filter(pk=peer.pk).update(**changes):
            raise Conflict(f"Librarian {peer.name} was removed meanwhile.", remedy="Add it anew.")
        facts = {"before": {"url": peer.url, "port": peer.port}, "after": _facts(account), "checked": check}
        record_act(actor=actor, action="edit_peer", subject=f"peer {peer.name}", facts=facts, address=address)
        if found is not None:
            note_answer(peer, found)
    for field, value in changes.items():
        setattr(peer, field, value)
    return found


def set_transfers_enabled(*, peer: Peer, enabled: bool, actor: User | None, address: str = "") -> None:
    """Switch transfers to a peer on or off; harmless when it is so already."""
    with transaction.atomic():
        changed = Peer.objects.filter(pk=peer.pk).exclude(transfers_enabled=enabled).update(transfers_enabled=enabled)
        if changed:
            action = "switch_transfers_on" if enabled else "switch_transfers_off"
            record_act(actor=actor, action=action, subject=f"peer {peer.name}", address=address)
    peer.transfers_enabled = enabled


def check_account(*, name: str, url: str, port: int, authenticator: str) -> Account:
    """Our account at a peer, with its address in the one form that is kept. Raises InvalidRequest; calls nobody."""
    if not re.match(PEER_NAME, name):
        raise InvalidRequest(
            "The name of a Librarian has letters, digits and _ . - only, 64 at most.",
            remedy="Give its LIBRARIAN_NAME, as its ping tells it.",
        )
    if name == settings.LIBRARIAN_NAME:
        raise InvalidRequest(
            f"{name} is the name of this site itself.", remedy="Give the name of the other site; two cannot share one."
        )
    url, port = _check_address(url, port)
    _check_authenticator(authenticator)
    return Account(name, url, port, authenticator)


def _check_address(url: str, port: int) -> tuple[str, int]:
    if not 1 <= port <= 65535:
        raise InvalidRequest(f"{port} is no port.", remedy="Give a number from 1 to 65535; that of https is 443.")
    try:
        url, port = split_url(url, port)
    except LibrarianError as problem:
        raise InvalidRequest(problem.reason, remedy=problem.suggested_remedy) from None
    if not url.isascii() or len(url) > LONGEST_URL:
        raise InvalidRequest(
            f"The address of a Librarian has ASCII characters only, {LONGEST_URL} at most.",
            remedy="Write a host name with other characters in its xn-- form.",
        )
    return url, port


def _check_authenticator(authenticator: str) -> None:
    try:
        authorization_header(authenticator)
        is_complete = ":" not in authenticator or (authenticator[0] != ":" and authenticator[-1] != ":")
    except ValueError:
        is_complete = False
    if not is_complete or len(authenticator) > LONGEST_AUTHENTICATOR:
        raise InvalidRequest(
            "The authenticator is neither 'user:password' nor a token.",
            remedy="Give name and password of our account at the other site with a colon between, or a token of it.",
        )


def _refuse_taken(name: str) -> None:
    if Peer.objects.filter(name=name).exists():
        raise PeerExists(f"There is already a Librarian called {name}.")


def _try(account: Account, *, actor: User | None, address: str) -> Connection:
    """Try an address that is not kept yet; a failure is all that would be heard of it, so it is audited."""
    try:
        return try_connection(account)
    except ArchiveError as problem:
        record_try(
            peer_name=account.peer_name,
            url=account.url,
            port=account.port,
            outcome=problem.code,
            actor=actor,
            address=address,
        )
        raise


def _insert(peer: Peer) -> None:
    try:
        with transaction.atomic():
            peer.save(force_insert=True)
    except IntegrityError as problem:  # somebody added one of this name meanwhile
        _refuse_taken(peer.name)
        raise problem


def _facts(account: Account) -> dict[str, Any]:
    return {"url": account.url, "port": account.port, "account": account.username or "a token"}
