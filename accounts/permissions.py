"""How much a caller may do. A level includes all lower ones; a token never lends more than it carries itself."""

from functools import cache
from typing import Any

from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from accounts.authentication import WRONG_CREDENTIALS
from accounts.levels import Level
from accounts.models import ApiToken, User
from accounts.services import effective_level
from librarian.common.errors import AuthenticationRequired, LevelTooLow


def level_of(request: Request) -> Level:
    """Level at which this request acts: the account's, capped by the token it came with. NONE for strangers."""
    if isinstance(request.auth, ApiToken):
        return effective_level(request.auth)
    user = request.user
    return Level(user.level) if isinstance(user, User) and user.is_active else Level.NONE


class LevelPermission(BasePermission):
    """Base of what `level_required` makes; refuses in the form of version 3."""

    level = Level.ADMIN

    def has_permission(self, request: Request, view: Any) -> bool:
        if level_of(request) >= self.level:
            return True
        raise self.refusal(request)

    def refusal(self, request: Request) -> Exception:
        if not isinstance(request.user, User):
            return AuthenticationRequired(f"This needs an account or token with level {self.level.name}.")
        return LevelTooLow(f"This needs level {self.level.name}; {_holder(request)}.")


class WireLevelPermission(LevelPermission):
    """Base of what `wire_level_required` makes: the wire knows no 403, too low a level reads as a wrong password."""

    def refusal(self, request: Request) -> Exception:
        if not isinstance(request.user, User):
            return AuthenticationRequired(
                "Not authenticated", remedy=f"Send HTTP Basic credentials or a token with level {self.level.name}."
            )
        return AuthenticationRequired(
            WRONG_CREDENTIALS,
            remedy=f"The credentials are right, but this needs level {self.level.name}; "
            f"{_holder(request)}. {LevelTooLow.remedy}",
        )


@cache
def level_required(level: Level) -> type[LevelPermission]:
    """A permission class of the REST framework that lets callers of `level` and above pass."""
    return type(f"{level.name.title()}Level", (LevelPermission,), {"level": Level(level)})


@cache
def wire_level_required(level: Level) -> type[WireLevelPermission]:
    """The same for the wire protocol, where refusals are 401."""
    return type(f"Wire{level.name.title()}Level", (WireLevelPermission,), {"level": Level(level)})


def require_level_still(request: Request, level: Level) -> None:
    """Look again, after something that took long, whether the caller may: accounts and tokens change meanwhile.

    Raises AuthenticationRequired when account or token no longer open anything, LevelTooLow when they open less.
    """
    user = User.objects.filter(pk=request.user.pk, is_active=True).first()
    token = request.auth if isinstance(request.auth, ApiToken) else None
    if token is not None:
        token = ApiToken.objects.select_related("user").filter(pk=token.pk).first()
    if user is None or (isinstance(request.auth, ApiToken) and (token is None or not token.is_usable)):
        raise AuthenticationRequired(
            "The account or token that began this was revoked, has expired or was switched off.",
            remedy="Go on with valid credentials of the same account; what arrived is kept.",
        )
    held = effective_level(token) if token is not None else Level(user.level)
    if held < level:
        raise LevelTooLow(f"This needs level {level.name}; {user.username} has {held.name} by now.")


class ReadOnlyLevel(level_required(Level.READONLY)):
    """Who may read. The account of another Librarian speaks the wire protocol and brings bytes; it does not look around
    here, for what a site knows of third sites is not that one's business (nobody pulls, and there is no centre)."""

    def has_permission(self, request: Request, view: Any) -> bool:
        if isinstance(request.user, User) and request.user.kind == User.Kind.LIBRARIAN:
            raise LevelTooLow(
                f"{request.user.username} is the account of another Librarian, which reads by the wire protocol.",
                remedy="Use an account of a person or an instrument.",
            )
        return super().has_permission(request, view)


class ReadByAllWrittenByAdmins:
    """Mixed into views of resources that everybody reads and administrators change."""

    request: Request

    def get_permissions(self) -> list[BasePermission]:
        if self.request is None or self.request.method in ("GET", "HEAD"):
            return [ReadOnlyLevel()]
        return [level_required(Level.ADMIN)()]


def _holder(request: Request) -> str:
    what = "this token of" if isinstance(request.auth, ApiToken) else "the account"
    return f"{what} {request.user.username} has {level_of(request).name}"
