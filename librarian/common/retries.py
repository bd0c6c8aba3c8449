"""When work that failed is tried again: files on their way to a peer, and copies on their way to a store of ours."""

from datetime import timedelta
from enum import Enum

from django.conf import settings

LONGEST_SECONDS = 3600.0


class Retry(Enum):
    """What kind of failure it was.

    PASSING: the peer, a line or a store is away; tried again for ever, slower and slower.
    AGAIN: the bytes did not survive the way; tried until LIBRARIAN_TRANSFER_ATTEMPTS attempts ended so.
    NEVER: it would fail again; not before a person wants it.
    """

    PASSING = "passing"
    AGAIN = "again"
    NEVER = "never"


def pause(attempt: int) -> timedelta:
    """How long to wait after so many attempts (from 1): LIBRARIAN_RETRY_SECONDS, doubled each time, an hour at most."""
    seconds = settings.LIBRARIAN_RETRY_SECONDS * 2 ** min(max(0, attempt - 1), 16)
    return timedelta(seconds=min(LONGEST_SECONDS, seconds))


def is_given_up(spoilt_attempts: int, retry: Retry) -> bool:
    """True if nobody tries again by himself, after so many attempts that were spoilt and not only late."""
    return retry is Retry.NEVER or (retry is Retry.AGAIN and spoilt_attempts >= settings.LIBRARIAN_TRANSFER_ATTEMPTS)
