"""Disks that travel: where each is, its passport, and what people enter about it on its way."""

from collections.abc import Callable

from django.conf import settings
from django.contrib import messages
from django.http import FileResponse, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.acts import address_of, may_manage, tell_problem
from accounts.levels import Level
from accounts.pages import page_level
from librarian.common.errors import ArchiveError
from librarian.common.listing import list_page
from network.disk_contents import contents_page
from network.disk_forms import CustodyForm, LostForm, PackForm
from network.disk_queries import (
    custody_of,
    files_to_want_again,
    passport_url,
    shipment_rows,
    shipments_for_list,
    steps_ahead,
    travelling_disks,
)
from network.models import Shipment
from network.qr import qr_svg
from network.services.shipping import add_note, hand_over, manifest_path, note_lost, note_received, pack
from network.services.shipping.manifest import NoManifest

STEPS: dict[str, tuple[Callable[..., object], str]] = {
    "hand-over": (hand_over, "is handed over"),
    "received": (note_received, "is received"),
    "note": (add_note, "has one more line in its custody"),
}


@page_level(Level.READONLY)
@require_safe
def disks(request: HttpRequest) -> HttpResponse:
    """Stores that travel, and every trip, the newest first."""
    page = list_page(request, shipments_for_list().order_by("-pk"), limit=30)
    context = {
        "disks": travelling_disks(),
        "page": page,
        "rows": shipment_rows(page.rows),
        "may_manage": may_manage(request),
    }
    return render(request, "network/disks.html", context)


@page_level(Level.READONLY)
@require_safe
def disk(request: HttpRequest, pk: int) -> HttpResponse:
    """The passport of one trip, made to be printed."""
    found = _shipment(pk)
    words = f"QR symbol of the address of this passport with the seal that begins with {found.seal[:8]}"
    scanned = request.GET.get("seal", "")
    context = {
        "row": shipment_rows([found])[0],
        "shipment": found,
        "here": settings.LIBRARIAN_NAME,
        "qr": qr_svg(passport_url(request, found), words=words),
        "seal_scanned": bool(scanned),
        "seal_agrees": scanned == found.seal,
        "contents": contents_page(request, found),
        "custody": custody_of(found),
        "ahead": steps_ahead(found),
        "form": CustodyForm(auto_id="custody_%s"),
        "may_manage": may_manage(request),
    }
    return render(request, "network/disk.html", context)


@page_level(Level.ADMIN)
@require_http_methods(["GET", "HEAD", "POST"])
def pack_disk(request: HttpRequest) -> HttpResponse:
    """Write and seal the manifest of a disk: its trip begins."""
    form = PackForm(request.POST or None, initial={"store": request.GET.get("store", "")})
    if request.method == "POST" and form.is_valid():
        try:
            packed = pack(actor=request.user, address=address_of(request), **form.cleaned_data)
        except ArchiveError as problem:
            form.add_error(None, f"{problem.reason} {problem.suggested_remedy}")
        else:
            messages.success(
                request, f"The disk {packed.store.name} is packed. Print its passport and let it go along."
            )
            return redirect("disk", pk=packed.pk)
    return render(request, "network/pack.html", {"form": form}, status=400 if form.is_bound and form.errors else 200)


@page_level(Level.ADMIN)
@require_POST
def enter_step(request: HttpRequest, pk: int, step: str) -> HttpResponse:
    """Enter who had the disk, and when."""
    found = _shipment(pk)
    form = CustodyForm(request.POST)
    if not form.is_valid():
        messages.error(request, "A person has at most 128 characters, a note 2,000.")
        return redirect("disk", pk=pk)
    service, said = STEPS[step]
    try:
        service(found, actor=request.user, address=address_of(request), **form.cleaned_data)
    except ArchiveError as problem:
        tell_problem(request, problem)
    else:
        messages.success(request, f"The disk {found.store.name} {said}.")
    return redirect("disk", pk=pk)


@page_level(Level.ADMIN)
@require_http_methods(["GET", "HEAD", "POST"])
def lose_disk(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask what is to become of its files, then say that a disk is lost."""
    found = _shipment(pk)
    form = LostForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            again = note_lost(found, actor=request.user, address=address_of(request), **form.cleaned_data)
        except ArchiveError as problem:
            tell_problem(request, problem)
        else:
            number = f"{again:,} file{' is' if again == 1 else 's are'} wanted again"
            messages.success(request, f"The disk {found.store.name} is lost; {number}.")
        return redirect("disk", pk=pk)
    context = {"form": form, "row": shipment_rows([found])[0], "again": files_to_want_again(found)}
    return render(request, "network/lost.html", context)


@page_level(Level.ADMIN)
@require_safe
def manifest(request: HttpRequest, pk: int) -> HttpResponse:
    """The manifest as it was sealed."""
    found = _shipment(pk)
    try:
        file = manifest_path(found).open("rb")
    except OSError:
        raise NoManifest(f"The manifest of shipment {pk} is not on this server; the disk carries it too.") from None
    name = f"manifest-{found.store.name}-{found.pk}.json"
    return FileResponse(file, as_attachment=True, filename=name, content_type="application/json")


def _shipment(pk: int) -> Shipment:
    return get_object_or_404(shipments_for_list(), pk=pk)
