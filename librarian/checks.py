"""What must be right in the settings before a site may run: `manage.py check` shows it, the web server refuses."""

import re
from typing import Any

from django.conf import settings
from django.core.checks import Error, register
from django.core.exceptions import ImproperlyConfigured

from accounts.checks import check_trusted_proxies
from files.checks import check_naming_mode
from network.checks import check_encryption_keys, check_site_name

SITE_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")
LOCAL_HOSTS = {"localhost", "127.0.0.1", "[::1]", "::1", ".localhost"}


@register()
def check_settings(app_configs: Any = None, **kwargs: Any) -> list[Error]:
    """Return one error for each setting that would make the site unsafe or ambiguous."""
    return [*_check_name(), *_check_file_names(), *_check_public_site()]


def _check_name() -> list[Error]:
    if SITE_NAME.fullmatch(settings.LIBRARIAN_NAME):
        return []
    return [
        Error(
            "LIBRARIAN_NAME is empty or has characters other than A-Z, a-z, 0-9, '_', '.', '-' (64 at most).",
            hint="Set LIBRARIAN_NAME in the environment or in .env; peers know this site by it, so choose it once.",
            id="librarian.E001",
        )
    ]


def _check_file_names() -> list[Error]:
    if settings.LIBRARIAN_FILE_NAMES in ("flat", "path"):
        return []
    return [Error("LIBRARIAN_FILE_NAMES must be 'flat' or 'path'.", id="librarian.E002")]


def _check_public_site() -> list[Error]:
    """A host name other than this machine's loopback names means that strangers can reach the site."""
    if not set(settings.ALLOWED_HOSTS) - LOCAL_HOSTS:
        return []
    found = []
    if settings.DEBUG:
        found.append(
            Error(
                "LIBRARIAN_DEBUG is on while LIBRARIAN_ALLOWED_HOSTS names a public host.",
                hint="Set LIBRARIAN_DEBUG=off.",
                id="librarian.E010",
            )
        )
    if len(settings.SECRET_KEY) < 40 or len(set(settings.SECRET_KEY)) < 10:
        found.append(
            Error(
                "LIBRARIAN_SECRET_KEY is too short or too regular for a site that strangers can reach.",
                hint="Unset it to have one generated, or give 50 random characters or more.",
                id="librarian.E011",
            )
        )
    if "*" in settings.ALLOWED_HOSTS:
        found.append(
            Error(
                "LIBRARIAN_ALLOWED_HOSTS is '*', which accepts requests under any name.",
                hint="List the names that people type.",
                id="librarian.E012",
            )
        )
    if not settings.LIBRARIAN_HTTPS:
        found.append(
            Error(
                "LIBRARIAN_HTTPS is off: passwords and cookies would cross the network in clear.",
                hint="Put nginx with TLS in front (deploy/) and set LIBRARIAN_HTTPS=on.",
                id="librarian.E013",
            )
        )
    return found


def refuse_bad_settings() -> None:
    """Raise ImproperlyConfigured naming every failed check of the settings, here and on the floors below."""
    errors = [*check_settings(), *check_trusted_proxies(), *check_encryption_keys()]
    errors += [*check_naming_mode(databases=["default"]), *check_site_name(databases=["default"])]
    if errors:
        raise ImproperlyConfigured("\n".join(f"{error.id}: {error.msg} {error.hint or ''}" for error in errors))
