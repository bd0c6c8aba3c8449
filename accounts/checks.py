"""What must be right in the settings of this floor. `manage.py check` shows it."""

from typing import Any

from django.conf import settings
from django.core.checks import Error, register

from accounts.addresses import SOCKET, trusted_proxies


@register()
def check_trusted_proxies(app_configs: Any = None, **kwargs: Any) -> list[Error]:
    """An error for a proxy that is neither an address nor a network; requests would fail on it later."""
    try:
        trusted_proxies(tuple(settings.LIBRARIAN_TRUSTED_PROXIES))
    except ValueError as problem:
        return [
            Error(
                f"LIBRARIAN_TRUSTED_PROXIES has an entry that is no address: {problem}.",
                hint=f"List addresses (127.0.0.1), networks (10.0.0.0/8) or '{SOCKET}' for a Unix socket.",
                id="accounts.E001",
            )
        ]
    return []
