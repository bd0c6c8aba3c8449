"""When a file that did not get there is tried again."""

from datetime import datetime, timedelta
from enum import Enum

from django.conf import settings
from django.utils import timezone

LONGEST_SECONDS = 3600.0
INBOX_FROM_ATTEMPT = 5


class Retry(Enum):
    """What kind of failure it was.

    PASSING: the peer, a line or a store is away; tried again for ever, slower and slower.
    AGAIN: the bytes did not survive the way; tried again LIBRARIAN_TRANSFER_ATTEMPTS times in all.
    NEVER: it would fail again; not before a person wants it.
    """

    PASSING = "passing"
    AGAIN = "again"
    NEVER = "never"


def pause(attempt: int) -> timedelta:
    """How long to wait after so many attempts (from 1): LIBRARIAN_RETRY_SECONDS, doubled each time, an hour at most."""
    seconds = settings.LIBRARIAN_RETRY_SECONDS * 2 ** min(max(0, attempt - 1), 16)
    return timedelta(seconds=min(LONGEST_SECONDS, seconds))


def next_try_at(attempt: int, retry: Retry) -> datetime | None:
    """When a transfer that failed at its `attempt` is tried again; None: when a person wants it."""
    if is_given_up(attempt, retry):
        return None
    return timezone.now() + pause(attempt)


def is_given_up(attempt: int, retry: Retry) -> bool:
    """True if nobody tries again by himself."""
    return retry is Retry.NEVER or (retry is Retry.AGAIN and attempt >= settings.LIBRARIAN_TRANSFER_ATTEMPTS)
