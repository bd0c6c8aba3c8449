"""Network: who pushes to whom, how far behind, what does not work. One page for all, and one for each peer."""

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_POST, require_safe

from accounts.acts import go_back, may_manage, tell_problem
from accounts.addresses import client_address
from accounts.levels import Level
from accounts.pages import page_level
from librarian.common.errors import ArchiveError
from librarian.common.pages import render_page
from network import services
from network.models import Peer
from network.order_queries import order_views
from network.queries import (
    failed_outgoing,
    incoming_for_list,
    names_without_peer,
    outgoing_for_list,
    peer_views,
)
from network.rows import rows_of
from network.services.sending.wanted import retry_failed

LATEST = 10


@page_level(Level.READONLY)
@require_safe
def network(request: HttpRequest) -> HttpResponse:
    """Every peer with both directions."""
    views = peer_views()
    context = {
        "views": views,
        "others": sorted(names_without_peer().items()),
        "here": settings.LIBRARIAN_NAME,
        "may_manage": may_manage(request),
        "may_see_troubles": request.user.may(Level.READWRITE),
    }
    return render_page(request, "network/network.html", context, fragment="network/_peers.html")


@page_level(Level.READONLY)
@require_safe
def peer(request: HttpRequest, name: str) -> HttpResponse:
    """One peer: how it does, its orders, its latest transfers and failures."""
    found = get_object_or_404(Peer, name=name)
    view = peer_views(Peer.objects.filter(pk=found.pk))[0]
    sent, come = outgoing_for_list().filter(peer_name=name), incoming_for_list().filter(account_name=name)
    failures = failed_outgoing().filter(peer_name=name).select_related("file", "queue_item", "order")
    context = {
        "view": view,
        "peer": found,
        "orders": order_views(view.orders),
        "sent": rows_of(sent.order_by("-pk")[:LATEST]),
        "come": rows_of(come.order_by("-pk")[:LATEST]),
        "failures": rows_of(failures.order_by("-pk")[:LATEST]),
        "here": settings.LIBRARIAN_NAME,
        "may_manage": may_manage(request),
        "may_see_troubles": request.user.may(Level.READWRITE),
    }
    return render(request, "network/peer.html", context)


@page_level(Level.ADMIN)
@require_POST
def switch_peer(request: HttpRequest, name: str) -> HttpResponse:
    """Switch transfers to a peer on or off."""
    found = get_object_or_404(Peer, name=name)
    enabled = request.POST.get("enabled") == "on"
    services.set_transfers_enabled(peer=found, enabled=enabled, actor=request.user, address=_address(request))
    messages.success(request, f"Transfers to {name} are switched {'on' if enabled else 'off'}.")
    return go_back(request, "network-peer", name)


@page_level(Level.ADMIN)
@require_POST
def try_peer(request: HttpRequest, name: str) -> HttpResponse:
    """Call a peer now and say what was found."""
    found = get_object_or_404(Peer, name=name)
    try:
        answer = services.check_peer(peer=found, actor=request.user, address=_address(request))
    except ArchiveError as problem:
        tell_problem(request, problem)
    else:
        milliseconds = f"{1000 * answer.latency_seconds:.0f}"
        messages.success(request, f"{name} answers within {milliseconds} ms and accepts our credentials.")
        for note in answer.notes:
            messages.warning(request, f"{name}: {note}")
    return go_back(request, "network-peer", name)


@page_level(Level.ADMIN)
@require_POST
def retry_all(request: HttpRequest, name: str) -> HttpResponse:
    """Try everything again that failed for good on the way to a peer."""
    found = get_object_or_404(Peer, name=name)
    number = retry_failed(found, actor=request.user, address=_address(request))
    if number:
        messages.success(request, f"{number:,} file{' is' if number == 1 else 's are'} tried again.")
    else:
        messages.info(request, f"Nothing that failed can be sent to {name} now.")
    return go_back(request, "network-peer", name)


def _address(request: HttpRequest) -> str:
    return client_address(request) or ""
