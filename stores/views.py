"""Pages of stores: which there are and how full, and one of them in detail."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from librarian.common.errors import StoreUnavailable
from stores.kinds import settings_shown, where
from stores.models import Store
from stores.panels import panels_of
from stores.queries import fullness, space_history, with_fullness


@require_safe
def stores(request: HttpRequest) -> HttpResponse:
    """Every store with its state and fullness."""
    return render(request, "stores/stores.html", {"stores": with_fullness(Store.objects.all())})


@require_safe
def store(request: HttpRequest, name: str) -> HttpResponse:
    """One store: space, hosts, options, and what upper floors add."""
    found = get_object_or_404(Store, name=name)
    context = {
        "full": fullness(found),
        "store": found,
        "where": where(found),
        "settings": settings_shown(found),
        "remedy": StoreUnavailable.remedy,
        "space": space_history(found),
        "panels": panels_of(found),
    }
    return render(request, "stores/store.html", context)
