"""The one family of errors that people and programs see: code, reason, remedy, HTTP status.

API, portal and command line each turn it into their own form in one place. docs/errors.md lists every code.
"""

from http import HTTPStatus
from typing import Any


class ArchiveError(Exception):
    """Something the caller can be told about.

    Parameters
    ----------
    reason : str
        One sentence that says what is wrong, with the names and numbers of this case.
    remedy : str, optional
        What the caller can do; the class's own when left out.
    extra : Any
        Further fields of the machine-readable answer (ids, digests).
    """

    code = "archive_error"
    status = HTTPStatus.BAD_REQUEST
    remedy = "Check the request against the documentation and send it again."
    passing = False  # True: the same request may succeed later without anybody changing it

    def __init__(self, reason: str, *, remedy: str | None = None, **extra: Any) -> None:
        super().__init__(reason)
        self.reason = reason
        self.suggested_remedy = remedy or type(self).remedy
        self.extra = extra

    def as_answer(self) -> dict[str, Any]:
        """Body of the JSON answer. Never a `detail` key: clients of the wire protocol parse that as JSON text."""
        return {"code": self.code, "reason": self.reason, "suggested_remedy": self.suggested_remedy, **self.extra}


class InvalidRequest(ArchiveError):
    code = "invalid_request"


class InvalidName(ArchiveError):
    code = "invalid_name"
    remedy = "Use a relative name of at most 256 characters without '..', empty components or control characters."


class InvalidChecksum(ArchiveError):
    code = "invalid_checksum"
    remedy = "Send '<algorithm>:::<hex digest>' with md5, sha1, sha256, sha512 or xxh3."


class NotFound(ArchiveError):
    code = "not_found"
    status = HTTPStatus.NOT_FOUND
    remedy = "Check the name or id; list what exists first."


class Conflict(ArchiveError):
    code = "conflict"
    status = HTTPStatus.CONFLICT


class NameTaken(Conflict):
    code = "name_taken"
    remedy = "A name is for ever and its bytes never change: give the new version a new name."


class LostRace(Conflict):
    """Somebody else moved the row first; nothing was changed."""

    code = "lost_race"
    remedy = "Somebody else was first. Look at the present state and repeat the request if it is still needed."
    passing = True


class ContentMismatch(ArchiveError):
    code = "content_mismatch"
    status = HTTPStatus.NOT_ACCEPTABLE
    remedy = "The bytes that arrived are not those declared. Deliver them again; nothing was kept."


class TooLarge(ArchiveError):
    code = "too_large"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE


class NoStore(ArchiveError):
    """No store takes the bytes at present."""

    code = "no_store_available"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    remedy = "Free space, add a store or switch one on, then repeat; the Stores page says what each store lacks."
    passing = True


class StoreUnavailable(ArchiveError):
    """A store cannot be used at present. Says nothing about the instances on it."""

    code = "store_unavailable"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    remedy = "Mount the store or repair its permissions; the Stores page shows what was measured."
    passing = True


class StoreFull(StoreUnavailable):
    code = "store_full"
    status = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    remedy = "Free space on the store, raise its fullness limit or add another store."


class Unavailable(ArchiveError):
    """No good copy can be handed out at present."""

    code = "no_readable_copy"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    remedy = "Every copy here is away or failed its checks; the file's page says where other copies are."
    passing = True


class AuthenticationRequired(ArchiveError):
    code = "authentication_required"
    status = HTTPStatus.UNAUTHORIZED
    remedy = "Send HTTP Basic credentials or 'Authorization: Bearer <token>'."


class LevelTooLow(ArchiveError):
    code = "level_too_low"
    status = HTTPStatus.FORBIDDEN
    remedy = "Ask an administrator of this site for an account or token with the level named in the reason."


class LockedOut(ArchiveError):
    code = "locked_out"
    status = HTTPStatus.TOO_MANY_REQUESTS
    remedy = "Try again after that time (Retry-After, in seconds), or ask an administrator to clear the lock."
    passing = True


class Busy(ArchiveError):
    code = "busy"
    status = HTTPStatus.SERVICE_UNAVAILABLE
    remedy = "Try again after the seconds that Retry-After names."
    passing = True


class Refused(ArchiveError):
    """A rule of the archive forbids it, whoever asks."""

    code = "refused"
    status = HTTPStatus.CONFLICT


class Misconfigured(ArchiveError):
    code = "misconfigured"
    status = HTTPStatus.INTERNAL_SERVER_ERROR
    remedy = "An operator has to mend the configuration; `manage.py check` says what is wrong."


def _family(base: type[ArchiveError]) -> list[type[ArchiveError]]:
    return [base, *(descendant for child in base.__subclasses__() for descendant in _family(child))]


def rebuild_error(code: str, reason: str) -> ArchiveError:
    """The error that a row remembers by its code and reason, as it was raised; ArchiveError for an unknown code."""
    known = {kind.code: kind for kind in reversed(_family(ArchiveError))}
    return known.get(code, ArchiveError)(reason)
