"""When a file that did not get there is tried again, as everything is, and from when on people are told."""

from librarian.common.retries import Retry, is_given_up, pause

__all__ = ["INBOX_FROM_ATTEMPT", "Retry", "is_given_up", "pause"]

INBOX_FROM_ATTEMPT = 5
