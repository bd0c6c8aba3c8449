"""Transfers: what is on its way in both directions, in which state, why it waits, and who can mend it."""

from django.conf import settings
from django.contrib import messages
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from accounts.acts import go_back, may_manage, tell_problem
from accounts.addresses import client_address
from accounts.levels import Level
from accounts.pages import page_level
from files.queries import file_named
from librarian.common.errors import ArchiveError, InvalidRequest
from librarian.common.filter_forms import FilteredList, Wording, filter_list, without_empty
from librarian.common.listing import ListPage, list_page
from librarian.common.pages import render_page, wants_fragment
from network.filters import IncomingPageFilterSet, OutgoingPageFilterSet
from network.labels import outgoing_badge
from network.merging import both_page
from network.models import IncomingTransfer, OutgoingTransfer, Peer, TransferState
from network.queries import incoming_for_list, outgoing_for_list
from network.rows import DIRECTIONS, IN, OUT, rows_of
from network.services.sending.wanted import cancel_transfer, retry_transfer, send_file

WORDINGS = {
    "state": Wording("State", choices=[("", "any"), *((state.value, state.label) for state in TransferState)]),
    "peer": Wording("Site", "nrao"),
    "name_contains": Wording("Name contains", "zen.2461364"),
    "direction": Wording("Direction", choices=[("", "both"), *DIRECTIONS]),
    "name_glob": Wording("Name matches", "zen.*.diff.uvh5"),
    "given_up": Wording("Given up", choices=[("", "any"), ("true", "yes"), ("false", "no")]),
    "live": Wording("Under way", choices=[("", "any"), ("true", "yes"), ("false", "no")]),
    "code": Wording("Code", "peer_unreachable"),
    "created_after": Wording("Begun from", "2026-11-19 or a Julian Date"),
    "created_before": Wording("Begun before", "2026-11-20"),
}
MAIN = ("state", "peer", "name_contains", "direction")
LISTS: dict[str, tuple[type, object]] = {
    OUT: (OutgoingPageFilterSet, outgoing_for_list),
    IN: (IncomingPageFilterSet, incoming_for_list),
}
ATTEMPTS = 20


@page_level(Level.READONLY)
@require_safe
def transfers(request: HttpRequest) -> HttpResponse:
    """Transfers of both directions, or of one, the newest first."""
    slimmer = without_empty(request.GET)
    if slimmer is not None and not wants_fragment(request):
        return redirect(f"{reverse('transfers')}?{slimmer.urlencode()}".rstrip("?"))
    direction = request.GET.get("direction", "")
    found = {each: _find(request, each) for each in (OUT, IN) if direction in ("", each) or each == OUT}
    shown = found[IN if direction == IN else OUT]
    page, problems = _page(request, found, direction, shown.problems)
    query = slimmer if slimmer is not None else request.GET.copy()
    query.pop("cursor", None)
    context = {
        "found": shown,
        "page": page,
        "rows": rows_of(page.rows) if page.rows else [],
        "problems": problems,
        "query": query,
        "tabs": [(key, words, _with_direction(query, key)) for key, words in [("", "both"), *DIRECTIONS]],
        "direction": direction,
        "here": settings.LIBRARIAN_NAME,
        "may_manage": may_manage(request),
    }
    status = 400 if problems else 200
    return render_page(request, "network/transfers.html", context, fragment="network/_transfers.html", status=status)


def _find(request: HttpRequest, direction: str) -> FilteredList:
    filterset, rows = LISTS[direction]
    return filter_list(
        request,
        filterset,
        rows(),
        wordings=WORDINGS,
        main=MAIN,
        orderings=("id",),
        default_ordering="-id",
    )


def _page(
    request: HttpRequest, found: dict[str, FilteredList], direction: str, problems: dict[str, str]
) -> tuple[ListPage, dict[str, str]]:
    if problems:
        return ListPage([], None, None), problems
    try:
        if direction:
            return list_page(request, found[direction].rows), {}
        return both_page(request, found[OUT].rows, found[IN].rows), {}
    except InvalidRequest as problem:
        return ListPage([], None, None), {"cursor": f"{problem.reason} {problem.suggested_remedy}"}


def _with_direction(query: QuerySet, direction: str) -> str:
    """The address of the same search in another direction."""
    changed = query.copy()
    changed.pop("direction", None)
    if direction:
        changed["direction"] = direction
    return f"{reverse('transfers')}?{changed.urlencode()}".rstrip("?")


@page_level(Level.READONLY)
@require_safe
def transfer(request: HttpRequest, direction: str, pk: int) -> HttpResponse:
    """One transfer with everything that is known of it."""
    found = _transfer(direction, pk)
    context = {
        "row": rows_of([found])[0],
        "transfer": found,
        "attempts": _other_attempts(found) if direction == OUT else [],
        "here": settings.LIBRARIAN_NAME,
        "may_manage": may_manage(request),
    }
    return render_page(
        request, f"network/transfer_{direction}.html", context, fragment=f"network/_transfer_{direction}.html"
    )


def _transfer(direction: str, pk: int) -> OutgoingTransfer | IncomingTransfer:
    if direction not in LISTS:
        raise Http404
    return get_object_or_404(LISTS[direction][1](), pk=pk)


def _other_attempts(found: OutgoingTransfer) -> list[tuple[OutgoingTransfer, object]]:
    """The other attempts for the same file and peer, the newest first, each with its badge."""
    same = OutgoingTransfer.objects.filter(file=found.file_id, peer_name=found.peer_name).exclude(pk=found.pk)
    return [(attempt, outgoing_badge(attempt)) for attempt in same.order_by("-pk")[:ATTEMPTS]]


@page_level(Level.ADMIN)
@require_POST
def retry(request: HttpRequest, pk: int) -> HttpResponse:
    """Try a transfer to a peer again, now."""
    found = _transfer(OUT, pk)
    try:
        new = retry_transfer(found, actor=request.user, address=_address(request))
    except ArchiveError as problem:
        tell_problem(request, problem)
        return go_back(request, "transfer", OUT, pk)
    messages.success(request, f"{found.file.name} is tried again to {found.peer_name}.")
    return go_back(request, "transfer", OUT, new.pk)


@page_level(Level.ADMIN)
@require_POST
def cancel(request: HttpRequest, direction: str, pk: int) -> HttpResponse:
    """Give a transfer up."""
    found = _transfer(direction, pk)
    try:
        cancel_transfer(found, actor=request.user, address=_address(request))
    except ArchiveError as problem:
        tell_problem(request, problem)
    else:
        messages.success(request, f"{rows_of([found])[0].name}: the transfer is cancelled.")
    return go_back(request, "transfer", direction, pk)


@page_level(Level.ADMIN)
@require_POST
def send(request: HttpRequest) -> HttpResponse:
    """Send a file to a peer because a person wants it there."""
    file = file_named(request.POST.get("name", ""))
    peer = get_object_or_404(Peer, name=request.POST.get("peer", ""))
    try:
        send_file(file, peer=peer, actor=request.user, address=_address(request))
    except ArchiveError as problem:
        tell_problem(request, problem)
    else:
        messages.success(request, f"{file.name} is sent to {peer.name}.")
    return redirect("file", name=file.name)


def _address(request: HttpRequest) -> str:
    return client_address(request) or ""
