"""Who is calling the machine API: HTTP Basic, a bearer token, or (version 3 only) the portal's session.

A call with a remembered password or a token costs one indexed query. A refusal never says which of name and password
was wrong, and takes the same time either way.
"""

import base64
import binascii
import hashlib
from datetime import timedelta

from django.conf import settings
from django.contrib.auth import authenticate
from django.contrib.auth.models import AnonymousUser
from django.db.models import Q
from django.utils.timezone import now
from rest_framework.authentication import BaseAuthentication, SessionAuthentication
from rest_framework.request import Request

from accounts.credentials import PROVEN, digest_of, turn_to_hash
from accounts.lockout import NAME_CHARACTERS, bare_request, client_address, forgive, locked_out
from accounts.models import ApiToken, User
from librarian.common.errors import AuthenticationRequired

WRONG_CREDENTIALS = "Incorrect username or password"  # the wire's words, which clients of the reference know
USE_NOTED_EVERY = timedelta(minutes=1)
_LONGEST_HEADER = 8192


class BasicAuthentication(BaseAuthentication):
    """`Authorization: Basic`, UTF-8, checked against the account's password."""

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        credential = credential_of(request, "basic")
        if credential is None:
            return None
        username, password = read_basic(credential)
        user = check_password(request, username, password)
        note_use(user)
        return user, None

    def authenticate_header(self, request: Request) -> str:
        return "Basic"


class BearerAuthentication(BaseAuthentication):
    """`Authorization: Bearer <token>`. Views find the token in `request.auth`; it may cap the level of its owner."""

    def authenticate(self, request: Request) -> tuple[User, ApiToken] | None:
        credential = credential_of(request, "bearer")
        if credential is None:
            return None
        token = ApiToken.objects.select_related("user").filter(digest=token_digest(credential)).first()
        if token is None or not token.is_usable or not token.user.is_active:
            raise AuthenticationRequired(
                "This token is unknown, expired or revoked, or its account is not active.",
                remedy="Issue a new token on the portal's account page, or ask an administrator for one.",
            )
        note_use(token.user, token)
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        return "Basic"


class PortalSessionAuthentication(SessionAuthentication):
    """The portal's login, with the CSRF token demanded of whatever changes something. Never on the wire."""

    def authenticate(self, request: Request) -> tuple[User, None] | None:
        found = super().authenticate(request)
        if found is not None:
            note_use(found[0])
        return found

    def enforce_csrf(self, request: Request) -> None:
        """Look for the token in forms and headers alone: the framework's own request would parse a body of any type."""
        super().enforce_csrf(request._request)

    def authenticate_header(self, request: Request) -> str:
        return "Basic"


class PingAuthentication(BaseAuthentication):
    """For the wire's `ping/`: credentials must be there and readable, right or wrong; nothing is looked up."""

    def authenticate(self, request: Request) -> tuple[AnonymousUser, None]:
        basic = credential_of(request, "basic")
        if basic is not None:
            read_basic(basic)
        elif not credential_of(request, "bearer"):
            raise AuthenticationRequired("Not authenticated")
        return AnonymousUser(), None

    def authenticate_header(self, request: Request) -> str:
        return "Basic"


def credential_of(request: Request, scheme: str) -> str | None:
    """What follows `scheme` in the Authorization header; None when the header is absent or has another scheme."""
    header = request.META.get("HTTP_AUTHORIZATION", "")
    found, _, credential = header.strip().partition(" ")
    if found.lower() != scheme:
        return None
    credential = credential.strip()
    if not credential or " " in credential or len(credential) > _LONGEST_HEADER:
        raise _malformed(f"'{found}' must be followed by one credential without blanks")
    return credential


def read_basic(credential: str) -> tuple[str, str]:
    """Name and password of a Basic credential. Raises AuthenticationRequired saying what is wrong with it."""
    try:
        text = base64.b64decode(credential, validate=True).decode("utf-8")
    except UnicodeDecodeError:
        raise _malformed("name and password are not UTF-8") from None
    except (binascii.Error, ValueError):
        raise _malformed("the credential is not base64") from None
    username, colon, password = text.partition(":")
    if not colon:
        raise _malformed("there is no colon between name and password")
    return username, password


def check_password(request: Request, username: str, password: str) -> User:
    """Return the active user whose password this is. Raises AuthenticationRequired, LockedOut or Busy.

    A credential proven within LIBRARIAN_CREDENTIAL_CACHE_SECONDS is believed without hashing and whatever the lock
    says: a stranger who locks the pair must not stop the pipeline that shares its address.
    """
    if len(username) > NAME_CHARACTERS or "\0" in username:  # no account can have this name, so no time gives one away
        raise AuthenticationRequired(WRONG_CREDENTIALS)
    if (user := _remembered(username, password)) is not None:
        return user
    with turn_to_hash():
        # Calls that came together waited for the first one's answer.
        return _remembered(username, password) or _prove(request, username, password)


def token_digest(token: str) -> str:
    """What is stored of a token. A plain hash is enough: a token has 256 random bits, nobody guesses it."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def note_use(user: User, token: ApiToken | None = None) -> None:
    """Record that an account, and its token, was used; at most one write a minute for each."""
    moment = now()
    for row in (user, token):
        if row is None or (row.last_used_at is not None and row.last_used_at > moment - USE_NOTED_EVERY):
            continue
        stale = Q(last_used_at__isnull=True) | Q(last_used_at__lte=moment - USE_NOTED_EVERY)
        # __class__ and not type(): the portal's user is a lazy stand-in.
        row.__class__.objects.filter(stale, pk=row.pk).update(last_used_at=moment)
        row.last_used_at = moment


def _remembered(username: str, password: str) -> User | None:
    user = User.objects.filter(username=username).first()
    if user is not None and PROVEN.knows(digest_of(user, password)):  # the digest covers the active flag
        return user
    return None


def _prove(request: Request, username: str, password: str) -> User:
    """Hash once, for known and unknown names alike, and count a failure against the pair."""
    bare = bare_request(request)
    user = authenticate(bare, username=username, password=password)
    if user is None:
        if getattr(bare, "axes_locked_out", False):
            raise locked_out(username, client_address(request))
        raise AuthenticationRequired(WRONG_CREDENTIALS)
    forgive(request, username)
    PROVEN.remember(digest_of(user, password), seconds=settings.LIBRARIAN_CREDENTIAL_CACHE_SECONDS)
    return user


def _malformed(what: str) -> AuthenticationRequired:
    return AuthenticationRequired(
        f"The Authorization header cannot be read: {what}.",
        remedy="Send 'Basic ' and the base64 of '<name>:<password>' in UTF-8, or 'Bearer ' and a token.",
    )
