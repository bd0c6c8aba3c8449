"""Our account at Globus: the app of the settings, its secret, and a client that is logged in with it.

The secret (of a confidential app) or the refresh token (of a native one) lies in a file and is nowhere else: it is read
when a login is made, and never part of a reason or a log line. Access tokens are kept in memory alone.
"""

import hashlib
import os
import stat
from typing import Any
from urllib.parse import urlsplit

import globus_sdk
from django.conf import settings
from globus_sdk.authorizers import GlobusAuthorizer
from globus_sdk.config import EnvConfig
from globus_sdk.transport import RequestsTransport, RetryConfig

from librarian.common.errors import Misconfigured
from network.providers.globus_trouble import asking

MOST_SECRET_BYTES = 4096
CALL_SECONDS = 30.0
LOOPBACK = ("127.0.0.1", "::1", "localhost")
HOW_TO_KEEP_IT = "Keep the secret alone in a file of the user that runs the jobs, with mode 0600."

_authorizers: dict[tuple[str, ...], GlobusAuthorizer] = {}  # by what they were made from


def configuration_problem() -> str | None:
    """What stands in the way of using Globus in the settings; None when they are complete. Calls nobody."""
    if (problem := app_problem()) is not None:
        return problem
    try:
        _read_secret()
    except Misconfigured as error:
        return error.reason
    return None


def app_problem() -> str | None:
    """The same of all but the secret."""
    if not settings.LIBRARIAN_GLOBUS_CLIENT_ID:
        return "Globus is not set up here: LIBRARIAN_GLOBUS_CLIENT_ID is empty."
    for name in ("LIBRARIAN_GLOBUS_AUTH_URL", "LIBRARIAN_GLOBUS_TRANSFER_URL"):
        if (problem := _address_problem(getattr(settings, name))) is not None:
            return f"{name} {problem}."
    if settings.LIBRARIAN_GLOBUS_ROOT and not os.path.isabs(settings.LIBRARIAN_GLOBUS_ROOT):
        return "LIBRARIAN_GLOBUS_ROOT is not the whole path of a directory."
    environment = settings.LIBRARIAN_GLOBUS_ENVIRONMENT
    if environment and EnvConfig.get_by_name(environment) is None:
        return f"LIBRARIAN_GLOBUS_ENVIRONMENT: Globus has no environment called {environment[:40]!r}."
    return None


def transfer_client() -> globus_sdk.TransferClient:
    """A client of the Transfer service that is logged in. Raises GlobusProblem, Misconfigured."""
    key = _made_from()
    with asking("log in at Globus"):
        if key not in _authorizers:
            _authorizers[key] = _log_in()
        return globus_sdk.TransferClient(
            authorizer=_authorizers[key],
            environment=settings.LIBRARIAN_GLOBUS_ENVIRONMENT or None,
            base_url=settings.LIBRARIAN_GLOBUS_TRANSFER_URL or None,
            transport=RequestsTransport(http_timeout=CALL_SECONDS),
            retry_config=_patience(),
        )


def native_client() -> globus_sdk.NativeAppAuthClient:
    """The native app of the settings, not logged in."""
    return globus_sdk.NativeAppAuthClient(settings.LIBRARIAN_GLOBUS_CLIENT_ID, **_login_service())


def _log_in() -> GlobusAuthorizer:
    secret = _read_secret()
    if settings.LIBRARIAN_GLOBUS_NATIVE_APP:
        return globus_sdk.RefreshTokenAuthorizer(secret, native_client())
    client = settings.LIBRARIAN_GLOBUS_CLIENT_ID
    app = globus_sdk.ConfidentialAppAuthClient(client, secret, **_login_service())
    return globus_sdk.ClientCredentialsAuthorizer(app, globus_sdk.TransferClient.scopes.all)


def _login_service() -> dict[str, Any]:
    return {
        "environment": settings.LIBRARIAN_GLOBUS_ENVIRONMENT or None,
        "base_url": settings.LIBRARIAN_GLOBUS_AUTH_URL or None,
        "transport": RequestsTransport(http_timeout=CALL_SECONDS),
        "retry_config": _patience(),
    }


def _patience() -> RetryConfig:
    """Once again within a call, and soon: the batch waits outside it, and its claim holds for minutes alone."""
    return RetryConfig(max_retries=1, max_sleep=5)


def _made_from() -> tuple[str, ...]:
    return (
        settings.LIBRARIAN_GLOBUS_CLIENT_ID,
        str(settings.LIBRARIAN_GLOBUS_NATIVE_APP),
        settings.LIBRARIAN_GLOBUS_ENVIRONMENT,
        settings.LIBRARIAN_GLOBUS_AUTH_URL,
        hashlib.sha256(_read_secret().encode()).hexdigest(),
    )


def _address_problem(url: str) -> str | None:
    """A secret goes there: in clear to this machine alone."""
    if not url:
        return None
    parts = urlsplit(url)
    if parts.scheme == "https" and parts.hostname:
        return None
    if parts.scheme == "http" and parts.hostname in LOOPBACK:
        return None
    return "must begin with https://, since our secret goes there"


def _read_secret() -> str:
    """The text of the secret file. Raises Misconfigured, which names the file and never what it holds."""
    path = settings.LIBRARIAN_GLOBUS_SECRET_FILE
    if not path:
        raise Misconfigured("LIBRARIAN_GLOBUS_SECRET_FILE is empty.", remedy=HOW_TO_KEEP_IT)
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            seen = os.fstat(stream.fileno())
            if not stat.S_ISREG(seen.st_mode):
                raise Misconfigured(f"The Globus secret file {path} is no regular file.", remedy=HOW_TO_KEEP_IT)
            if seen.st_mode & stat.S_IRWXO:
                reason = f"The Globus secret file {path} is open to everybody on this machine, so it is not used."
                raise Misconfigured(reason, remedy=HOW_TO_KEEP_IT)
            text = stream.read(MOST_SECRET_BYTES + 1)
    except OSError as error:
        reason = f"The Globus secret file {path} cannot be read: {error.strerror}."
        raise Misconfigured(reason, remedy=HOW_TO_KEEP_IT) from error
    try:
        secret = text.decode("ascii").strip()
    except UnicodeDecodeError:
        secret = ""
    if not secret or len(text) > MOST_SECRET_BYTES or not secret.isprintable() or " " in secret:
        raise Misconfigured(f"The Globus secret file {path} holds no secret.", remedy=HOW_TO_KEEP_IT)
    return secret
