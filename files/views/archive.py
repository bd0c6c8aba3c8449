"""Download of a selection: the files checked on a page of results, or everything that a search finds."""

from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.views.decorators.http import require_http_methods

from accounts.levels import Level
from accounts.pages import page_level
from files.api.archive import answer_archive
from files.models import File
from files.services.archive_stream import select_matching, select_named
from files.views.search import find_files, understood
from librarian.common.errors import InvalidRequest


@page_level(Level.READONLY)
@require_http_methods(["GET", "POST"])
def archive(request: HttpRequest) -> HttpResponseBase:
    """One tar of the files that are named (POST), or that the search in the URL finds (GET)."""
    if request.method == "GET":
        return answer_archive(select_matching(understood(find_files(request)).rows))
    names = request.POST.getlist("name")
    if not names:
        raise InvalidRequest("No file is checked.", remedy="Go back and check the files that you want.")
    return answer_archive(select_named(File.objects.all(), names))
