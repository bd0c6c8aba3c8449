"""What every page shows of the site itself."""

from typing import Any

from django.conf import settings
from django.http import HttpRequest


def site(request: HttpRequest) -> dict[str, Any]:
    """Name and displayed name of the site, for the frame of every page, and whether strangers may read."""
    return {
        "site_name": settings.LIBRARIAN_NAME,
        "site_displayed_name": settings.LIBRARIAN_DISPLAYED_NAME,
        "is_public_portal": settings.LIBRARIAN_PUBLIC_PORTAL,
    }
