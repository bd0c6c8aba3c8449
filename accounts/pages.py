"""What a page demands of its reader, and the page a refused reader gets instead."""

from collections.abc import Callable
from typing import TypeVar

from django.http import HttpRequest, HttpResponse
from django.template.loader import select_template

from accounts.addresses import client_address
from accounts.levels import Level
from accounts.lockout import counted_name, locked_out
from librarian.common.api import error_headers
from librarian.common.errors import ArchiveError
from librarian.common.handlers import as_json, for_programs

View = TypeVar("View", bound=Callable[..., HttpResponse])


def page_level(level: Level) -> Callable[[View], View]:
    """Make a page need a login at `level`, also where LIBRARIAN_PUBLIC_PORTAL shows the other pages to everyone.

    Pages without it need READONLY. A page for everybody takes Django's `login_not_required`.
    """

    def mark(view: View) -> View:
        view.page_level = level
        return view

    return mark


def answer_problem(request: HttpRequest, error: ArchiveError) -> HttpResponse:
    """An error outside of any view: JSON for programs, for people the page of its status with reason and remedy."""
    if for_programs(request):
        return as_json(error)
    template = select_template([f"errors/{int(error.status)}.html", "accounts/refused.html"])
    context = {"status": int(error.status), **error.as_answer()}
    response = HttpResponse(template.render(context, request), status=error.status, headers=error_headers(error))
    response.headers["Cache-Control"] = "no-store"
    return response


def answer_locked_out(
    request: HttpRequest, response: HttpResponse | None = None, credentials: dict[str, str] | None = None
) -> HttpResponse:
    """Answer a locked login of the portal or the staff admin (AXES_LOCKOUT_CALLABLE)."""
    username = counted_name(request, credentials or {"username": request.POST.get("username", "")})
    return answer_problem(request, locked_out(username, client_address(request)))
