"""The portal's door: every page needs a login, unless it says otherwise itself."""

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse
from django.shortcuts import resolve_url
from django_htmx.http import HttpResponseClientRedirect

from accounts.authentication import note_use
from accounts.levels import Level
from accounts.pages import answer_problem
from librarian.common.errors import ArchiveError, LevelTooLow
from librarian.common.pages import wants_fragment

# These ask who is calling in their own way; health and static files answer everybody.
OWN_DOORS = ("/api/", "/admin/", "/health/", "/static/")
READING = ("GET", "HEAD", "OPTIONS")


class PortalLogin:
    """Asks for a login at READONLY, or at what `page_level` says, before a page's view runs.

    With LIBRARIAN_PUBLIC_PORTAL strangers may read pages that say nothing about their level, and change nothing.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(
        self, request: HttpRequest, view: Callable[..., HttpResponse], args: Any, kwargs: Any
    ) -> HttpResponse | None:
        if request.path_info.startswith(OWN_DOORS) or not getattr(view, "login_required", True):
            return None
        if settings.LIBRARIAN_PUBLIC_PORTAL and not hasattr(view, "page_level") and request.method in READING:
            return None
        level = getattr(view, "page_level", Level.READONLY)
        if not request.user.is_authenticated:
            return ask_to_log_in(request)
        if not request.user.may(level):
            held = Level(request.user.level).name
            return answer_problem(
                request, LevelTooLow(f"This page needs level {level.name}; {request.user.username} has {held}.")
            )
        note_use(request.user)
        return None

    def process_exception(self, request: HttpRequest, problem: Exception) -> HttpResponse | None:
        """Show people an error that a page's view raised; the API answers its own."""
        if isinstance(problem, ArchiveError) and not request.path_info.startswith(OWN_DOORS):
            return answer_problem(request, problem)
        return None


def ask_to_log_in(request: HttpRequest) -> HttpResponse:
    """Send the reader to the login page, and from there back to a page of ours that only reads."""
    back = request.get_full_path() if request.method in READING else resolve_url(settings.LOGIN_REDIRECT_URL)
    answer = redirect_to_login(back, resolve_url(settings.LOGIN_URL))
    return HttpResponseClientRedirect(answer.url) if wants_fragment(request) else answer
