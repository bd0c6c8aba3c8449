"""Stores that are emptied: how far each is, what is left, and what keeps it."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.acts import address_of, go_back, may_manage, tell_problem
from accounts.levels import Level
from accounts.pages import page_level
from files.copy_queries import left_of, offload_rows, offloads_for_list, why_left
from files.forms import OffloadForm
from files.services.offloading import pause_offload, resume_offload, start_offload, stop_offload
from librarian.common.errors import ArchiveError
from librarian.common.listing import list_page
from librarian.common.pages import render_page
from stores.models import Store

ACTS = {
    "pause": (pause_offload, "is paused; nothing new is copied from it"),
    "resume": (resume_offload, "goes on being emptied"),
    "stop": (stop_offload, "is not emptied any further; what was copied stays"),
}
SHOWN = 25


@page_level(Level.READONLY)
@require_safe
def offloads(request: HttpRequest) -> HttpResponse:
    """Every offload, the newest first."""
    page = list_page(request, offloads_for_list().order_by("-pk"), limit=20)
    context = {"page": page, "rows": offload_rows(page.rows), "may_manage": may_manage(request)}
    return render_page(request, "files/offloads.html", context, fragment="files/_offloads.html")


@page_level(Level.READONLY)
@require_safe
def offload(request: HttpRequest, pk: int) -> HttpResponse:
    """One offload with what is left on its store."""
    found = get_object_or_404(offloads_for_list(), pk=pk)
    page = list_page(request, left_of(found), limit=SHOWN)
    context = {
        "row": offload_rows([found])[0],
        "offload": found,
        "page": page,
        "left": why_left(found, page.rows) if page.rows else [],
        "may_manage": may_manage(request),
    }
    return render_page(request, "files/offload.html", context, fragment="files/_offload.html")


@page_level(Level.ADMIN)
@require_http_methods(["GET", "HEAD", "POST"])
def new_offload(request: HttpRequest) -> HttpResponse:
    """Begin to empty a store."""
    initial = {"store": request.GET.get("store", ""), "drains": request.GET.get("drains") == "yes"}
    form = OffloadForm(request.POST or None, initial=initial)
    if request.method == "POST" and form.is_valid():
        try:
            begun = start_offload(actor=request.user, address=address_of(request), **_chosen(form))
        except ArchiveError as problem:
            form.add_error(None, f"{problem.reason} {problem.suggested_remedy}")
        else:
            messages.success(request, f"The store {begun.store.name} is being emptied.")
            return redirect("offload", pk=begun.pk)
    status = 400 if form.is_bound and form.errors else 200
    return render(request, "files/new_offload.html", {"form": form}, status=status)


def _chosen(form: OffloadForm) -> dict[str, object]:
    typed = form.cleaned_data
    stores = Store.objects.in_bulk(typed["targets"])
    return {**typed, "targets": [stores[key] for key in typed["targets"]]}


@page_level(Level.ADMIN)
@require_POST
def change_offload(request: HttpRequest, pk: int, act: str) -> HttpResponse:
    """Pause, resume or stop an offload."""
    found = get_object_or_404(offloads_for_list(), pk=pk)
    service, said = ACTS[act]
    try:
        service(found, actor=request.user, address=address_of(request))
    except ArchiveError as problem:
        tell_problem(request, problem)
    else:
        messages.success(request, f"The store {found.store.name} {said}.")
    return go_back(request, "offload", pk)
