"""Calling a peer as a part of work: one request, its answer as a message, and what the call tells about the peer.

Who works with a peer calls it here; trying one out, before or after it is added, is `connections`. Address and
credentials are read from the row at each call, so that what a person corrects counts at once, also for a job that runs.
No transaction may be open meanwhile.
"""

import time
from typing import Any, TypeVar

from django.utils import timezone
from pydantic import BaseModel, ValidationError

from librarian.common.errors import ArchiveError
from network.calling import Account, Answer, call
from network.errors import (
    NotALibrarian,
    PeerAnswered,
    PeerProblem,
    PeerRefusesUs,
    PeerRemoved,
    PeerResting,
)
from network.models import Peer
from network.services.peering.circuit import note_failure, note_seen, note_trouble, reachable
from network.services.peering.unwrapping import unwrap

__all__ = ["call_peer", "reachable", "read_answer"]

TIMEOUT_SECONDS = 30.0
MOST_BYTES = 16 * 2**20
MOST_FAULTS = 1_000

Message = TypeVar("Message", bound=BaseModel)


def call_peer(
    peer: Peer,
    path: str,
    message: BaseModel | dict[str, Any] | None,
    answer: type[Message] | None = None,
    *,
    method: str = "POST",
    timeout_seconds: float = TIMEOUT_SECONDS,
    most_bytes: int = MOST_BYTES,
    is_urgent: bool = False,
) -> Any:
    """Ask a peer for something and return its answer.

    Parameters
    ----------
    peer : Peer
        Whom; its row is read anew.
    path : str
        Below `/api/`, such as `v2/clone/batch_stage`.
    message : BaseModel, dict or None
        What is asked; GET sends nothing.
    answer : type of BaseModel, optional
        The message that comes back; without it the JSON value as it came, `{}` for none.
    timeout_seconds : float
        For the whole call.
    most_bytes : int
        Of the answer.
    is_urgent : bool
        Call it even while it rests after failures in a row.

    Raises
    ------
    PeerAnswered
        It says no; `http_status`, `content` and `said_code` tell how.
    PeerRefusesUs, PeerUnreachable, NotALibrarian, PeerProblem
        It does not accept our credentials; it cannot be reached; it answers with something else; it fails.
    PeerResting, PeerRemoved
        Nobody was called.
    """
    account = _open(peer, is_urgent)
    data = message.model_dump(mode="json") if isinstance(message, BaseModel) else message
    begun = time.monotonic()
    try:
        found = call(
            account,
            path,
            ends_at=begun + timeout_seconds,
            method=method,
            message=data,
            most_bytes=most_bytes,
            wait_seconds=timeout_seconds,
        )
        result = read_answer(account, found, answer)
    except PeerAnswered as problem:
        if problem.http_status >= 500 or problem.http_status == 429:
            note_failure(peer, problem)
        else:
            note_seen(peer, time.monotonic() - begun)  # a no is an answer
        raise
    except PeerRefusesUs as problem:
        note_trouble(peer, problem)
        raise
    except PeerProblem as problem:
        note_failure(peer, problem)
        raise
    note_seen(peer, time.monotonic() - begun)
    return result


def _open(peer: Peer, is_urgent: bool) -> Account:
    """Our account at the peer as the row has it now. Raises PeerRemoved, PeerResting, PeerProblem."""
    row = Peer.objects.filter(name=peer.name).first()
    if row is None:
        raise PeerRemoved(f"There is no Librarian {peer.name} any more.")
    if not is_urgent and row.rests_until is not None and row.rests_until > timezone.now():
        raise PeerResting(
            f"Librarian {row.name} failed {row.failures_in_a_row} times in a row; it is not called before "
            f"{row.rests_until:%Y-%m-%d %H:%M:%S} UTC. {row.last_error}"
        )
    try:
        return row.account()
    except ArchiveError as unreadable:
        problem = PeerProblem(unreadable.reason, remedy=unreadable.suggested_remedy)
        note_trouble(peer, problem)
        raise problem from unreadable


def read_answer(account: Account, found: Answer, answer: type[Message] | None) -> Any:
    """The message of an answer. Raises what its status says, or NotALibrarian if it is not that message."""
    if not 200 <= found.status < 300:
        raise _failure(account, found)
    if found.content is None and not found.is_empty:
        raise NotALibrarian(f"What answers as {_named(account)} does not speak JSON.")
    if answer is None:
        return {} if found.is_empty else found.content
    try:
        return answer.model_validate(found.content)
    except ValidationError as problem:
        raise NotALibrarian(
            f"The answer of {_named(account)} is not what the protocol says: {_where(problem)}.",
            remedy="Ask the people of that site which version of the Librarian they run.",
        ) from problem


def _failure(account: Account, found: Answer) -> PeerProblem:
    site = _named(account)
    if found.status in (401, 403):
        return PeerRefusesUs(f"{site} does not accept our credentials for this.")
    if 300 <= found.status < 400:
        return NotALibrarian(
            f"The address of {site} leads elsewhere (status {found.status}), where nothing is sent.",
            remedy="Give the address that answers by itself; often it begins with https:// where this one has http://.",
        )
    if found.content is None and found.status in (404, 405):
        return NotALibrarian(f"What answers at the address of {site} is no Librarian (status {found.status}).")
    content = unwrap(found.content)
    said = content.get("reason") or "it does not say why"
    reason = f"{site} answers with status {found.status}: {said}"
    remedy = content.get("suggested_remedy") or None
    return PeerAnswered(reason, http_status=found.status, content=content, remedy=remedy)


def _where(problem: ValidationError) -> str:
    """The first thing that is wrong, by its place: what the other side sent is not repeated."""
    if (wrong := problem.error_count()) > MOST_FAULTS:  # putting all of them into words takes memory
        return f"in {wrong} places"
    first = problem.errors(include_url=False, include_input=False, include_context=False)[0]
    place = ".".join(str(part) for part in first["loc"]) or "all of it"
    return f"{place[:100]} ({first['type']})"


def _named(account: Account) -> str:
    return f"Librarian {account.peer_name}"
