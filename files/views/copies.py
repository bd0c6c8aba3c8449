"""Copies between our stores: which are wanted, why each waits, since when, when it goes on, and who can mend it."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from accounts.acts import address_of, go_back, may_manage, tell_problem
from accounts.levels import Level
from accounts.pages import page_level
from files.copy_filters import StoreCopyFilterSet
from files.copy_queries import copies_for_list, copy_rows
from files.forms import CopyForm
from files.models import CopyState, StoreCopy
from files.queries import file_named
from files.services.copies_by_hand import want_copies_by_hand
from files.services.copying import cancel_copy, retry_copy
from librarian.common.errors import ArchiveError, InvalidRequest
from librarian.common.filter_forms import FilteredList, Wording, filter_list, without_empty
from librarian.common.listing import ListPage, list_page
from librarian.common.pages import render_page, wants_fragment
from stores.models import Store

WORDINGS = {
    "state": Wording("State", choices=[("", "any"), *CopyState.choices]),
    "store": Wording("Store"),
    "name_contains": Wording("Name contains", "zen.2461364"),
    "group": Wording("Wanted by", "order:1, offload:2 or person:ada"),
    "live": Wording("Still to be made", choices=[("", "any"), ("true", "yes"), ("false", "no")]),
    "code": Wording("Code", "store_unavailable"),
    "created_after": Wording("Wanted from", "2026-11-19 or a Julian Date"),
    "created_before": Wording("Wanted before", "2026-11-20"),
}
MAIN = ("state", "store", "name_contains", "group")


@page_level(Level.READONLY)
@require_safe
def copies(request: HttpRequest) -> HttpResponse:
    """Copies that are wanted or were made, the newest first."""
    slimmer = without_empty(request.GET)
    if slimmer is not None and not wants_fragment(request):
        return redirect(f"{reverse('copies')}?{slimmer.urlencode()}".rstrip("?"))
    found = filter_list(
        request,
        StoreCopyFilterSet,
        copies_for_list(),
        wordings=WORDINGS,
        main=MAIN,
        orderings=("id",),
        default_ordering="-id",
    )
    page, problems = _page(request, found)
    context = {
        "found": found,
        "page": page,
        "rows": copy_rows(page.rows) if page.rows else [],
        "problems": problems,
        "is_filtered": bool(found.chips),
        "may_manage": may_manage(request),
    }
    status = 400 if problems else 200
    return render_page(request, "files/copies.html", context, fragment="files/_copies.html", status=status)


def _page(request: HttpRequest, found: FilteredList) -> tuple[ListPage, dict[str, str]]:
    if found.problems:
        return ListPage([], None, None), found.problems
    try:
        return list_page(request, found.rows), {}
    except InvalidRequest as problem:
        return ListPage([], None, None), {"cursor": f"{problem.reason} {problem.suggested_remedy}"}


@page_level(Level.ADMIN)
@require_POST
def retry(request: HttpRequest, pk: int) -> HttpResponse:
    """Want a copy again that failed."""
    found = _copy(pk)
    try:
        retry_copy(found, actor=request.user, address=address_of(request))
    except ArchiveError as problem:
        tell_problem(request, problem)
    else:
        messages.success(request, f"The copy of {found.file.name} is tried again.")
    return go_back(request, "copies")


@page_level(Level.ADMIN)
@require_POST
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Give a copy up."""
    found = _copy(pk)
    try:
        cancel_copy(found, actor=request.user, address=address_of(request))
    except ArchiveError as problem:
        tell_problem(request, problem)
    else:
        messages.success(request, f"The copy of {found.file.name} is cancelled.")
    return go_back(request, "copies")


@page_level(Level.ADMIN)
@require_POST
def want(request: HttpRequest) -> HttpResponse:
    """Copy a file to a store because a person wants it there."""
    file = file_named(request.POST.get("name", ""))
    form = CopyForm(request.POST, stores=list(Store.objects.order_by("name")))
    if not form.is_valid() or not form.cleaned_data["targets"]:
        messages.error(request, "Choose a store that the file is to be copied to, each once.")
        return redirect("file", name=file.name)
    chosen = Store.objects.in_bulk(form.cleaned_data["targets"])
    targets = [chosen[key] for key in form.cleaned_data["targets"]]
    names = ", or else ".join(store.name for store in targets)
    try:
        made = want_copies_by_hand([file.name], targets=targets, actor=request.user, address=address_of(request))
    except ArchiveError as problem:
        tell_problem(request, problem)
    else:
        text = f"is to be copied to {names}." if made else f"is on {names} already, or on its way there."
        messages.success(request, f"{file.name} {text}")
    return redirect("file", name=file.name)


def _copy(pk: int) -> StoreCopy:
    return get_object_or_404(copies_for_list(), pk=pk)
