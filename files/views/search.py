"""Search: filters in the URL, sortable, pages by cursor, export of everything found."""

from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.views.decorators.http import require_safe

from files.filters import FileFilterSet
from files.models import File
from files.page_queries import EXPORT_COLUMNS, with_states
from files.views import snippets
from librarian.common.errors import InvalidRequest
from librarian.common.filter_forms import FilteredList, Wording, filter_list, without_empty
from librarian.common.listing import COUNT_CEILING, ListPage, count_cheaply, list_page
from librarian.common.pages import render_page, stream_csv, stream_json_lines, wants_fragment

WORDINGS = {
    "name_contains": Wording("Name contains", "zen.2461364 or sum.uvh5"),
    "registered_after": Wording("Arrived from", "2026-11-19 or a Julian Date"),
    "registered_before": Wording("Arrived before", "2026-11-20T06:00 or a Julian Date"),
    "store": Wording("On store"),
    "name_glob": Wording("Name matches", "zen.*.diff.uvh5"),
    "size_min": Wording("Size from, bytes", "1000000"),
    "size_max": Wording("Size to, bytes", "5000000000"),
    "kind": Wording("Kind"),
    "obsid": Wording("Obsid, GPS seconds", "1447891218"),
    "uploader": Wording("Uploader", "correlator"),
    "source": Wording("Source", "sample"),
    "copies": Wording("Copies"),
}
MAIN = ("name_contains", "registered_after", "registered_before", "store")
ORDERINGS = ("registered_at", "name", "size_bytes", "obsid", "uploader")
NEWEST_FIRST = "-registered_at"
ROWS_PER_FETCH = 2000


@require_safe
def files(request: HttpRequest) -> HttpResponse:
    """Search with its results."""
    slimmer = without_empty(request.GET)
    if slimmer is not None and not wants_fragment(request):
        return redirect(f"{reverse('files')}?{slimmer.urlencode()}".rstrip("?"))
    found = find_files(request)
    page, problems = _page(request, found)
    query = slimmer if slimmer is not None else request.GET.copy()
    query.pop("cursor", None)
    context = {
        "found": found,
        "page": page,
        "problems": problems,
        "rows": with_states(page.rows),
        "count": _count(page, found),
        "query": query,
        "snippets": snippets.of_search(request, query) if page.rows else [],
        "has_any": bool(page.rows) or File.objects.exists(),
    }
    status = 400 if problems else 200
    response = render_page(request, "files/search.html", context, fragment="files/_results.html", status=status)
    if slimmer is not None:
        response.headers["HX-Push-Url"] = f"{reverse('files')}?{slimmer.urlencode()}".rstrip("?")
    return response


@require_safe
def export_files(request: HttpRequest) -> HttpResponseBase:
    """Everything that the search finds, as CSV or JSON lines, in constant memory."""
    form = request.GET.get("format", "csv")
    rows = understood(find_files(request)).rows.iterator(chunk_size=ROWS_PER_FETCH)
    if form == "csv":
        return stream_csv(rows, EXPORT_COLUMNS, filename="files.csv")
    if form == "jsonl":
        return stream_json_lines(rows, EXPORT_COLUMNS, filename="files.jsonl")
    raise InvalidRequest("There is no export of that format.", remedy="Choose format=csv or format=jsonl.")


def find_files(request: HttpRequest) -> FilteredList:
    """The files that the URL of a search means."""
    return filter_list(
        request,
        FileFilterSet,
        File.objects.all(),
        wordings=WORDINGS,
        main=MAIN,
        orderings=ORDERINGS,
        default_ordering=NEWEST_FIRST,
    )


def understood(found: FilteredList) -> FilteredList:
    """The list itself. Raises InvalidRequest when a filter is not understood, since nothing is shown then."""
    if found.problems:
        name, sentence = next(iter(found.problems.items()))
        raise InvalidRequest(f"{name}: {sentence}".removeprefix(": "), remedy="Correct the search, then try again.")
    return found


def _page(request: HttpRequest, found: FilteredList) -> tuple[ListPage, dict[str, str]]:
    try:
        return list_page(request, found.rows), found.problems
    except InvalidRequest as problem:
        return ListPage([], None, None), {"cursor": f"{problem.reason} {problem.suggested_remedy}"}


def _count(page: ListPage, found: FilteredList) -> str:
    """The number of results in words, without a query when the page shows all of them."""
    number, is_more = (len(page.rows), False) if page.is_only_one else count_cheaply(found.rows, COUNT_CEILING)
    if is_more:
        return f"more than {COUNT_CEILING:,} files"
    return f"{number:,} {'file' if number == 1 else 'files'}"
