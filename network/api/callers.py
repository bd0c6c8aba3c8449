"""Who calls, as the services of transfers want to know it."""

from rest_framework.request import Request

from accounts.levels import Level
from accounts.permissions import level_of
from network.services.hearing.words import Caller


def is_admin(request: Request) -> bool:
    """True if the request acts as an administrator (a token may lend less than its owner's level)."""
    return level_of(request) >= Level.ADMIN


def caller_of(request: Request) -> Caller:
    """Who speaks about transfers."""
    return Caller(name=request.user.username, is_admin=is_admin(request))
