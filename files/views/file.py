"""One file: where it is, what it is, how to get it, what happened to it."""

import json
import shlex

from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_safe

from files.models import File
from files.page_queries import history_line, whereabouts
from files.queries import file_named, files_in_detail
from librarian.common.listing import list_page

HISTORY_LINES = 10
MEMBERS = 25

CURL = """\
curl --fail --header "Authorization: Bearer $LIBRARIAN_TOKEN" \\
  --output {output} \\
  {url}"""

PYTHON = """\
import os

import requests

url = {url}
headers = {{"Authorization": "Bearer " + os.environ["LIBRARIAN_TOKEN"]}}
with requests.get(url, headers=headers, stream=True, timeout=60) as answer:
    answer.raise_for_status()
    with open({output}, "wb") as out:
        for block in answer.iter_content(1 << 20):
            out.write(block)"""


@require_safe
def file(request: HttpRequest, name: str) -> HttpResponse:
    """The page of one file."""
    found = file_named(name, files_in_detail())
    if found.name != name:
        return redirect("file", name=found.name)
    url = request.build_absolute_uri(reverse("v3-file-content", args=[found.name]))
    history = list_page(request, found.events.order_by("-number"), limit=HISTORY_LINES, cursor="history")
    context = {
        "file": found,
        "where": whereabouts(found),
        "facts": getattr(found, "facts", None),
        "head": getattr(found, "head", None),
        "content_url": url,
        "curl": CURL.format(output=shlex.quote(f"./{_saved_as(found)}"), url=shlex.quote(url)),
        "python": PYTHON.format(output=json.dumps(_saved_as(found)), url=json.dumps(url)),
        "history": history,
        "lines": [history_line(event) for event in history.rows],
        "members": list_page(request, found.members.order_by("id"), limit=MEMBERS, cursor="members")
        if found.is_directory
        else None,
    }
    return render(request, "files/file.html", context)


def _saved_as(found: File) -> str:
    """Name of the downloaded file: a directory product arrives as one tar."""
    return f"{found.base_name}.tar" if found.is_directory else found.base_name
