"""One file: where it is, what it is, how to get it, what happened to it."""

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_safe

from files.page_queries import history_line, whereabouts
from files.panels import panels_of
from files.queries import file_named, files_in_detail
from files.views import snippets
from librarian.common.listing import list_page

HISTORY_LINES = 10
MEMBERS = 25


@require_safe
def file(request: HttpRequest, name: str) -> HttpResponse:
    """The page of one file."""
    found = file_named(name, files_in_detail())
    if found.name != name:
        return redirect("file", name=found.name)
    history = list_page(request, found.events.order_by("-number"), limit=HISTORY_LINES, cursor="history")
    context = {
        "file": found,
        "where": whereabouts(found),
        "panels": panels_of(found),
        "facts": getattr(found, "facts", None),
        "head": getattr(found, "head", None),
        "snippets": snippets.of_file(request, found),
        "history": history,
        "lines": [history_line(event) for event in history.rows],
        "members": list_page(request, found.members.order_by("id"), limit=MEMBERS, cursor="members")
        if found.is_directory
        else None,
    }
    return render(request, "files/file.html", context)
