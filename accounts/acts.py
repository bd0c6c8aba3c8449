"""What acts of people on pages have in common: who may, what is said afterwards, and where the reader goes then."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils.http import url_has_allowed_host_and_scheme

from accounts.addresses import client_address
from accounts.levels import Level
from librarian.common.errors import ArchiveError


def may_manage(request: HttpRequest) -> bool:
    """True for those who may switch, send, copy, cancel and retry."""
    return request.user.is_authenticated and request.user.may(Level.ADMIN)


def address_of(request: HttpRequest) -> str:
    """Where a request came from, for the audit trail."""
    return client_address(request) or ""


def tell_problem(request: HttpRequest, problem: ArchiveError) -> None:
    """Say on the next page why something was not done."""
    messages.error(request, f"{problem.reason} {problem.suggested_remedy}")


def go_back(request: HttpRequest, otherwise: str, *args: object) -> HttpResponse:
    """To the page of ours that the form names, or to the one given."""
    back = request.POST.get("next", "")
    safe = url_has_allowed_host_and_scheme(back, allowed_hosts={request.get_host()}, require_https=request.is_secure())
    return redirect(back) if back and safe else redirect(otherwise, *args)
