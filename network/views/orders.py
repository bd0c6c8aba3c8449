"""Standing orders: what is sent where for as long as it stands. Everybody reads them, administrators write them."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from accounts.acts import go_back, may_manage
from accounts.addresses import client_address
from accounts.levels import Level
from accounts.pages import page_level
from files.search import InvalidSearch
from librarian.common.errors import ArchiveError
from librarian.common.listing import list_page
from network.forms import OrderForm
from network.models import OrderWay, StandingOrder
from network.order_queries import matches_of, order_views
from network.services.sending.orders import add_order, edit_order, remove_order, set_order_enabled

AT_FIELDS = {"invalid_search": "search", "order_exists": "name", "not_found": "targets"}


@page_level(Level.READONLY)
@require_safe
def orders(request: HttpRequest) -> HttpResponse:
    """Every standing order with what it has still to do."""
    page = list_page(request, StandingOrder.objects.order_by("name"))
    context = {
        "page": page,
        "views": order_views(page.rows),
        "may_manage": may_manage(request),
    }
    return render(request, "network/orders.html", context)


@page_level(Level.ADMIN)
@require_http_methods(["GET", "HEAD", "POST"])
def new_order(request: HttpRequest) -> HttpResponse:
    """Add an order, after a look at what it would send."""
    initial = {
        "way": request.GET.get("way", OrderWay.PUSH),
        "peer_name": request.GET.get("peer", ""),
        "search": '{"name-matches": "%"}',
    }
    form = OrderForm(request.POST or None, initial=initial)
    if _is_to_be_saved(request, form):
        try:
            order = add_order(actor=request.user, address=_address(request), **form.cleaned_data)
        except ArchiveError as problem:
            _put_at_its_field(form, problem)
        else:
            messages.success(request, f"The order {order.name} stands.")
            return redirect("orders")
    return _show_form(request, form, None)


@page_level(Level.ADMIN)
@require_http_methods(["GET", "HEAD", "POST"])
def order(request: HttpRequest, pk: int) -> HttpResponse:
    """Edit an order."""
    found = get_object_or_404(StandingOrder, pk=pk)
    form = OrderForm(request.POST or None, order=found)
    if _is_to_be_saved(request, form):
        try:
            changed = edit_order(order=found, actor=request.user, address=_address(request), **form.cleaned_data)
        except ArchiveError as problem:
            _put_at_its_field(form, problem)
        else:
            messages.success(request, f"The order {found.name} is {'changed' if changed else 'as it was'}.")
            return redirect("orders")
    return _show_form(request, form, found)


def _is_to_be_saved(request: HttpRequest, form: OrderForm) -> bool:
    return request.method == "POST" and "preview" not in request.POST and form.is_valid()


def _put_at_its_field(form: OrderForm, problem: ArchiveError) -> None:
    """Say what the service refused where the reader can mend it."""
    at_peer = problem.code == "not_found" and form.cleaned_data.get("peer_name")
    field = "peer_name" if at_peer else AT_FIELDS.get(problem.code)
    form.add_error(field, [problem.reason, problem.suggested_remedy])


def _show_form(request: HttpRequest, form: OrderForm, found: StandingOrder | None) -> HttpResponse:
    context = {"form": form, "order": found, **_preview(form)}
    return render(request, "network/order.html", context, status=400 if form.is_bound and form.errors else 200)


@page_level(Level.ADMIN)
@require_POST
def matches(request: HttpRequest) -> HttpResponse:
    """What the search of a form finds now, for the form itself."""
    return render(request, "network/_matches.html", _preview(OrderForm(request.POST)))


def _preview(form: OrderForm) -> dict[str, object]:
    """What the search of a form finds, or why it is not understood."""
    typed = {name: form[name].value() for name in ("search", "peer_name", "way", "targets")}
    targets = [int(key) for key in typed["targets"] or [] if str(key).isdecimal()]
    way = typed["way"] or OrderWay.PUSH
    try:
        return {"matches": matches_of(typed["search"] or "", typed["peer_name"] or "", way=way, targets=targets)}
    except InvalidSearch as problem:
        return {"problem": problem}


@page_level(Level.ADMIN)
@require_POST
def switch_order(request: HttpRequest, pk: int) -> HttpResponse:
    """Switch an order on or off."""
    found = get_object_or_404(StandingOrder, pk=pk)
    enabled = request.POST.get("enabled") == "on"
    set_order_enabled(order=found, enabled=enabled, actor=request.user, address=_address(request))
    messages.success(request, f"The order {found.name} is switched {'on' if enabled else 'off'}.")
    return go_back(request, "orders")


@page_level(Level.ADMIN)
@require_POST
def forget_order(request: HttpRequest, pk: int) -> HttpResponse:
    """Remove an order; what it has chosen is sent all the same."""
    found = get_object_or_404(StandingOrder, pk=pk)
    remove_order(order=found, actor=request.user, address=_address(request))
    messages.success(request, f"The order {found.name} is removed. What it had chosen is sent all the same.")
    return go_back(request, "orders")


def _address(request: HttpRequest) -> str:
    return client_address(request) or ""
