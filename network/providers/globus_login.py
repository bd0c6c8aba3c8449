"""Logging in a native app: a person says yes at Globus, and the refresh token goes into the secret file.

The token is never shown. A confidential app needs none of this: its secret is typed into the file.
"""

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

import globus_sdk
from django.conf import settings
from globus_sdk.scopes import GCSCollectionScopes, Scope

from librarian.common.errors import Misconfigured
from network.providers.globus_account import app_problem, native_client
from network.providers.globus_trouble import asking


class NativeLogin:
    """One login, from the address that a person opens to the token. Raises Misconfigured when it cannot begin.

    Parameters
    ----------
    collections : sequence of str
        Ids of mapped collections, for whose data a consent of their own is asked.
    """

    def __init__(self, collections: Sequence[str] = ()) -> None:
        problem = app_problem()
        if problem is None and not settings.LIBRARIAN_GLOBUS_NATIVE_APP:
            problem = "LIBRARIAN_GLOBUS_NATIVE_APP is off: a confidential app logs in with its secret alone."
        if problem is None and not settings.LIBRARIAN_GLOBUS_SECRET_FILE:
            problem = "LIBRARIAN_GLOBUS_SECRET_FILE is empty: it names the file that the token is put into."
        if problem is not None:
            raise Misconfigured(problem, remedy="See docs/network.md, Set up Globus.")
        self._client = native_client()
        self._client.oauth2_start_flow(_scope(collections), refresh_tokens=True)
        self.address = self._client.oauth2_get_authorize_url()

    def finish(self, code: str) -> Path:
        """Keep the refresh token that the code stands for; the file. Raises GlobusProblem, OSError."""
        with asking("log in at Globus"):
            given = self._client.oauth2_exchange_code_for_tokens(code.strip())
            token = given.by_resource_server[globus_sdk.TransferClient.resource_server]["refresh_token"]
        path = Path(settings.LIBRARIAN_GLOBUS_SECRET_FILE)
        _put(path, token)
        return path


def _scope(collections: Sequence[str]) -> Scope:
    scope = globus_sdk.TransferClient.scopes.all
    for collection in collections:
        scope = scope.with_dependency(GCSCollectionScopes(collection).data_access.with_optional(True))
    return scope


def _put(path: Path, token: str) -> None:
    """Replace the file, readable for its owner alone from the first byte on."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(6)}")
    with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as stream:
        stream.write(f"{token}\n")
    os.replace(aside, path)
