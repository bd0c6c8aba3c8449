"""Ending transfers by what the peer says that it holds: completed, failed for good, or failed for now."""

from dataclasses import dataclass

from files.models import File
from network.models import OutgoingTransfer
from network.services.sending.held import Word
from network.services.transfers import Retry, complete_outgoing, fail_outgoing


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a transfer is failed, and when the file is tried again."""

    code: str
    reason: str
    remedy: str = ""
    retry: Retry = Retry.PASSING


def judge(transfer: OutgoingTransfer, word: Word, *, otherwise: Failure) -> int | Failure:
    """The peer's store id that holds our bytes, or why the transfer fails; `otherwise` if it has no such file."""
    if word.is_held:
        return word.store_ids[0]
    if not word.is_known:
        return otherwise
    if word.is_same is False:
        return other_bytes(transfer.file, transfer.peer_name, word.found)
    return Failure(
        code="no_copy_at_peer",
        reason=f"{transfer.peer_name} knows {transfer.file.name}"
        + (" and has no copy of it." if word.is_same else f", as {word.found}, which cannot be compared now."),
        remedy="Ask the people of that site whether they lost it, or make a copy of it readable here.",
    )


def settle(transfer: OutgoingTransfer, verdict: int | Failure) -> str:
    """Write a verdict down: `completed`, `failed`, or `moved` if somebody else had moved the transfer."""
    if isinstance(verdict, int):
        return "completed" if complete_outgoing(transfer, peer_store_id=verdict) else "moved"
    return "failed" if fail(transfer, verdict) else "moved"


def fail(transfer: OutgoingTransfer, failure: Failure) -> bool:
    """Fail a transfer for a reason; False if it had been moved already."""
    return fail_outgoing(transfer, code=failure.code, reason=failure.reason, remedy=failure.remedy, retry=failure.retry)


def other_bytes(file: File, peer_name: str, found: str) -> Failure:
    """The peer has other bytes under the same name. Both are named, since a person must find out which are right."""
    return Failure(
        code="other_bytes_at_peer",
        reason=f"{peer_name} holds other bytes under the name {file.name}: {found or 'of another digest'} there, "
        f"{file.checksum} here.",
        remedy="Find out which of the two is right. A name is for ever: the other one needs a new name.",
        retry=Retry.NEVER,
    )
