"""Guessing passwords locks the pair of account name and address for a while; django-axes counts.

Only the pair: behind a tunnel or proxy many peers share one address, and a stranger must not be able to lock a name
everywhere. Tokens and credentials still remembered never pass through here.
"""

from datetime import datetime, timedelta

from axes.handlers.proxy import AxesProxyHandler
from axes.models import AccessAttempt
from django.conf import settings
from django.db import transaction
from django.db.models import DateTimeField, ExpressionWrapper, Max, OuterRef, QuerySet, Subquery, Sum, Value
from django.http import HttpRequest
from django.utils.timezone import now

from accounts.addresses import client_address
from accounts.models import User
from librarian.common.audit import record_act
from librarian.common.errors import LockedOut

NAME_CHARACTERS = User._meta.get_field("username").max_length


def counted_name(request: HttpRequest, credentials: dict[str, str] | None) -> str:
    """Name under which axes counts a failure: cut to the length of an account name, without NUL characters.

    Both databases would otherwise fail on what a stranger types into the login form.
    """
    typed = (credentials or {}).get("username") or ""
    return typed.replace("\0", "")[:NAME_CHARACTERS]


def bare_request(request: HttpRequest) -> HttpRequest:
    """What axes may see of a call to the machine API: the address, no body, no headers.

    Axes keeps form fields and counts per user agent. On the machine API the body may be an upload that must not be
    read here, and the user agent is the caller's to vary.
    """
    bare = HttpRequest()
    bare.method = request.method
    bare.path = bare.path_info = request.path_info
    bare.META = {"REMOTE_ADDR": client_address(request) or "", "PATH_INFO": request.path_info[:255]}
    return bare


def locked_out(username: str, address: str | None) -> LockedOut:
    """The refusal for a locked pair, with the seconds until it may try again."""
    newest = _recent_failures().filter(username=username, ip_address=address).aggregate(at=Max("attempt_time"))["at"]
    seconds = settings.AXES_COOLOFF_TIME.total_seconds()
    if newest is not None:
        seconds = max(1.0, (newest + settings.AXES_COOLOFF_TIME - now()).total_seconds())
    return LockedOut(
        f"Too many wrong passwords for {username!r} from {address or 'this connection'}; "
        f"both together are locked for {_in_words(seconds)}.",
        retry_after_seconds=max(1, round(seconds)),
    )


def forgive(request: HttpRequest, username: str) -> None:
    """Forget the failures of a pair that has just shown the right password."""
    attempts = AccessAttempt.objects.filter(username=username, ip_address=client_address(request))
    if attempts.exists():  # most calls have nothing to forget, and then nothing is written
        attempts.delete()


def count_wrong_secret(request: HttpRequest, what: str) -> None:
    """Count a wrong secret that belongs to no account against the caller's address; raise LockedOut from the limit on.

    `what` stands where else the name of an account does; with a blank in it, it can be none. Right secrets never come
    here, so a lock does not stop them.
    """
    bare = bare_request(request)
    if not AxesProxyHandler.is_allowed(bare, {"username": what}):
        raise locked_out(what, client_address(request))
    AxesProxyHandler.user_login_failed("accounts.lockout", {"username": what}, bare)


def locked_pairs() -> QuerySet[AccessAttempt, dict[str, object]]:
    """Locked pairs as `username`, `ip_address`, `failures`, `newest` (time of the last one counted)."""
    return (
        _recent_failures()
        .values("username", "ip_address")
        .annotate(failures=Sum("failures_since_start"), newest=Max("attempt_time"))
        .filter(failures__gte=settings.AXES_FAILURE_LIMIT)
        .order_by("username", "ip_address")
    )


def with_lock_state(users: QuerySet[User]) -> QuerySet[User]:
    """Annotate users with `locked_until`: when the last address that is locked out of the account is free again."""
    newest = locked_pairs().filter(username=OuterRef("username")).order_by("-newest").values("newest")[:1]
    ends_at = ExpressionWrapper(Subquery(newest) + Value(settings.AXES_COOLOFF_TIME), DateTimeField())
    return users.annotate(locked_until=ends_at)


def clear_lock(*, actor: User | None, username: str, address: str | None = None, from_address: str = "") -> int:
    """Unlock a name, from one `address` or from all of them. Returns how many counters were removed."""
    with transaction.atomic():
        removed = AxesProxyHandler.reset_attempts(username=username, ip_address=address)
        record_act(
            actor=actor,
            action="clear_lock",
            subject=username,
            facts={"locked_address": address or "all", "counters": removed},
            address=from_address,
        )
    return removed


def lock_ends_at(newest_failure: datetime) -> datetime:
    """When a pair whose last counted failure is `newest_failure` is free again at the latest."""
    return newest_failure + settings.AXES_COOLOFF_TIME


def _recent_failures() -> QuerySet[AccessAttempt]:
    return AccessAttempt.objects.filter(attempt_time__gte=now() - settings.AXES_COOLOFF_TIME)


def _in_words(seconds: float) -> str:
    whole = timedelta(seconds=max(1, round(seconds)))
    minutes, rest = divmod(int(whole.total_seconds()), 60)
    return " ".join([f"{minutes} min"] * bool(minutes) + [f"{rest} s"] * bool(rest))
