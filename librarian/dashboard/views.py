"""Home: is the night safe? On a site without files: what to do first."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_safe

from librarian.dashboard import queries
from librarian.dashboard.verdict import judge
from librarian.operations.views import ErrorRow
from stores.models import Store
from stores.queries import with_fullness


@require_safe
def home(request: HttpRequest) -> HttpResponse:
    """The state of the archive in one look."""
    steps = queries.first_steps()
    if steps is not None:
        return render(request, "dashboard/first_run.html", {"steps": steps})
    now = timezone.now()
    stores = list(Store.objects.all())
    days = queries.ingest_days(now)
    context = {
        "verdict": judge(stores, now),
        "totals": queries.totals(),
        "days": days,
        "chart": queries.ingest_chart(days),
        "today": days[-1],
        "stores": with_fullness(stores),
        "files": queries.latest_files(),
        "errors": [ErrorRow(error) for error in queries.open_errors()],
    }
    return render(request, "dashboard/home.html", context)
