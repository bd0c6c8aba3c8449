"""Making peers of the connections in a file that the older system's servers and clients kept: `~/.hl_client.cfg`.

A connection's name is a nickname that somebody gave it; a peer's is the name of the site. So the site is asked for its
name first, and the nickname counts only where nobody answers to be asked.
"""

import os
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from accounts.models import User
from hera_librarian.config import CONNECTIONS_VARIABLE, PATH_VARIABLE, ClientInfo, load_settings
from hera_librarian.exceptions import LibrarianError
from librarian.common.errors import ArchiveError, InvalidRequest, NotFound
from network.calling import Account
from network.models import Peer
from network.services.peering.connections import TIMEOUT_SECONDS, ask_name
from network.services.peering.pairing_code import own_name
from network.services.peering.peers import add_peer, check_account


class Found(StrEnum):
    """What became of a connection."""

    ADDED = "added"
    WOULD_BE_ADDED = "would be added"
    EXISTS = "known already"
    FAILED = "not added"


@dataclass(frozen=True, slots=True)
class Imported:
    """One connection: the peer's name, what became of it, and why or with which reservations."""

    connection: str
    peer_name: str
    found: Found
    notes: tuple[str, ...] = ()


def import_connections(
    *,
    actor: User | None,
    path: Path | None = None,
    names: Collection[str] = (),
    check: bool = True,
    dry_run: bool = False,
) -> Iterator[Imported]:
    """Add the connections of a file as peers, one after the other; those that exist are left as they are.

    Parameters
    ----------
    path : Path, optional
        Another file than the usual one (`HL_CLIENT_CONFIG`, `~/.hl_client.cfg`).
    names : collection of str
        Only these connections.
    check : bool
        Ask each site for its name and try our account there; what does not answer is not added.
    dry_run : bool
        Say what would be done, and change nothing.

    Raises
    ------
    InvalidRequest, NotFound
        The file cannot be used, or has no such connection; nothing was done.
    """
    connections, broken = _read(path)
    if unknown := sorted(set(names) - set(connections) - set(broken)):
        raise NotFound(
            f"There is no connection called {', '.join(unknown)}.", remedy="Look into the file for its name."
        )
    return _import(connections, broken, names, actor=actor, check=check, dry_run=dry_run)


def _read(path: Path | None) -> tuple[dict[str, ClientInfo], dict[str, str]]:
    if path is not None and not path.expanduser().is_file():
        raise NotFound(f"There is no file {path}.", remedy="Give the path of the file with the connections.")
    environ = None
    if path is not None:
        environ = {**os.environ, PATH_VARIABLE: str(path.expanduser()), CONNECTIONS_VARIABLE: ""}
    try:
        found = load_settings(environ, warn=False)
    except LibrarianError as problem:
        raise InvalidRequest(problem.reason, remedy=problem.suggested_remedy) from None
    if not found.connections and not found.broken:
        raise NotFound("There are no connections to import.", remedy="Name the file that has them.")
    return found.connections, found.broken


def _import(
    connections: dict[str, ClientInfo],
    broken: dict[str, str],
    names: Collection[str],
    *,
    actor: User | None,
    check: bool,
    dry_run: bool,
) -> Iterator[Imported]:
    for name in names or [*connections, *broken]:
        if name in broken:
            yield Imported(name, "", Found.FAILED, (broken[name],))
            continue
        try:
            yield _import_one(name, connections[name], actor=actor, check=check, dry_run=dry_run)
        except ArchiveError as problem:
            yield Imported(name, "", Found.FAILED, (problem.reason, problem.suggested_remedy))


def _import_one(name: str, info: ClientInfo, *, actor: User | None, check: bool, dry_run: bool) -> Imported:
    there = Peer.objects.filter(url=info.host, port=info.port).first()
    if there is not None:
        return Imported(name, there.name, Found.EXISTS)
    if info.lacks_password or not info.authenticator:
        raise InvalidRequest("It has no password.", remedy="Enter the password, or a token, in the file.")
    account = check_account(name=name, url=info.host, port=info.port, authenticator=info.authenticator)
    if check:
        account = _under_its_own_name(account)
    if Peer.objects.filter(name=account.peer_name).exists():
        return Imported(name, account.peer_name, Found.EXISTS, ("It has another address here.",))
    if dry_run:
        return Imported(name, account.peer_name, Found.WOULD_BE_ADDED)
    peer, found = add_peer(
        actor=actor,
        name=account.peer_name,
        url=account.url,
        port=account.port,
        authenticator=account.authenticator,
        check=check,
    )
    return Imported(name, peer.name, Found.ADDED, found.notes if found else ())


def _under_its_own_name(account: Account) -> Account:
    """The account under the name that the site tells for its own, if that can be one. Raises PeerProblem."""
    told = ask_name(account, ends_at=time.monotonic() + TIMEOUT_SECONDS)
    if told == own_name():
        raise InvalidRequest("It leads to this site itself.", remedy="A site is no peer of its own; leave it out.")
    try:
        return check_account(name=told, url=account.url, port=account.port, authenticator=account.authenticator)
    except InvalidRequest:
        return account  # a name for people, of a Librarian that tells no other
