"""What a page shows, done from a shell or from Python: commands and programs to copy.

Each takes its token from LIBRARIAN_TOKEN, so that no page holds a secret, and does what it says as it stands:
tests/portal/test_snippets.py takes them out of the pages and runs them.
"""

import json
import shlex
from dataclasses import dataclass
from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, QueryDict
from django.urls import reverse

from files.models import File
from librarian.common.filter_forms import BESIDE

_CURL = """\
curl --fail --header "Authorization: Bearer $LIBRARIAN_TOKEN" \\
"""
_CLIENT = """\
import os

from hera_librarian import LibrarianClient

client = LibrarianClient({root!r}, token=os.environ["LIBRARIAN_TOKEN"])
"""
_UNPACK = """\
mkdir files && tar --extract --file files.tar --directory files
(cd files && sha256sum --check --quiet SHA256SUMS)"""
_EVERYTHING = " '*'"
_UPLOAD_BY_CURL = """\
FILE=night.log
curl --fail-with-body --include --header "Authorization: Bearer $LIBRARIAN_TOKEN" \\
  --header "Tus-Resumable: 1.0.0" \\
  --header "Upload-Length: $(wc -c < "$FILE" | tr -d ' ')" \\
  --header "Upload-Metadata: filename $(printf %s "$FILE" | base64 | tr -d '\\n'),null_obsid dHJ1ZQ==" \\
  --header "Content-Type: application/offset+octet-stream" \\
  --data-binary "@$FILE" {url}"""


@dataclass(frozen=True, slots=True)
class Snippet:
    """One block of code: its title, what it does (for those who do not see it), and its text."""

    title: str
    what: str
    text: str


def of_file(request: HttpRequest, file: File) -> list[Snippet]:
    """Getting one file: a directory product comes as one tar by curl, and as a directory by the others."""
    url = request.build_absolute_uri(reverse("v3-file-content", args=[file.name]))
    output = f"{file.base_name}.tar" if file.is_directory else file.base_name
    return [
        Snippet("curl", "the download with curl", f"{_CURL}  --output {_shell(f'./{output}')} \\\n  {_shell(url)}"),
        Snippet(
            "librarian",
            "the download with the librarian command",
            f"{_connection(request)}librarian download {settings.LIBRARIAN_NAME} --name={_shell(file.name)} --to .",
        ),
        Snippet(
            "Python",
            "the download in Python",
            f'{_client(request)}file = client.file({file.name!r})\nprint(file.download("."))',
        ),
    ]


def of_search(request: HttpRequest, query: QueryDict) -> list[Snippet]:
    """Listing and getting everything that a search finds."""
    filters = {name: value for name, value in query.items() if name not in BESIDE}
    listed = urlencode({name: value for name, value in query.items() if name not in ("cursor", "format")})
    files = _with_query(request.build_absolute_uri(reverse("v3-files")), listed, "limit=1000")
    archive = _with_query(request.build_absolute_uri(reverse("v3-files-archive")), urlencode(filters))
    site = settings.LIBRARIAN_NAME
    words = "".join(f" --search {_shell(f'{name}={value}')}" for name, value in filters.items())
    arguments = ", ".join(f"{name}={value!r}" for name, value in filters.items())
    return [
        Snippet("curl", "the list with curl", f"{_CURL}  {_shell(files)}"),
        Snippet(
            "curl",
            "the download of all with curl",
            f"{_CURL}  --output files.tar \\\n  {_shell(archive)}\n{_UNPACK}",
        ),
        Snippet(
            "librarian",
            "list and download with the librarian command",
            f"{_connection(request)}librarian search-files {site}{words} --all\n"
            f"librarian download {site}{words or _EVERYTHING} --to files",
        ),
        Snippet(
            "Python",
            "list and download in Python",
            f"{_client(request)}found = client.search({arguments})\n"
            "for file in found:\n    print(file.name, file.size_bytes, file.obsid)\n"
            'for result in client.download(found, "files"):\n    print(result.outcome, result.name, result.reason)',
        ),
    ]


def of_upload(request: HttpRequest) -> list[Snippet]:
    """Handing over a file that belongs to no observation; directories go by the command and in Python alike."""
    url = request.build_absolute_uri(reverse("v3-uploads"))
    site = settings.LIBRARIAN_NAME
    return [
        Snippet(
            "librarian",
            "an upload with the librarian command",
            f"{_connection(request)}librarian upload {site} night.log logs/night.log --null-obsid",
        ),
        Snippet(
            "Python",
            "an upload in Python",
            f'{_client(request)}result = client.upload("night.log", "logs/night.log", null_obsid=True)\n'
            "print(result.outcome, result.name, result.checksum)",
        ),
        Snippet("curl", "an upload with curl", _UPLOAD_BY_CURL.format(url=_shell(url))),
    ]


def _root(request: HttpRequest) -> str:
    return request.build_absolute_uri(reverse("home"))


def _connection(request: HttpRequest) -> str:
    """What tells the command of this site, where ~/.hl_client.cfg does not."""
    known = json.dumps({settings.LIBRARIAN_NAME: {"url": _root(request), "token_env": "LIBRARIAN_TOKEN"}})
    return f"export LIBRARIAN_CLIENT_CONNECTIONS={_shell(known)}\n"


def _client(request: HttpRequest) -> str:
    return _CLIENT.format(root=_root(request))


def _with_query(url: str, *parts: str) -> str:
    query = "&".join(filter(None, parts))
    return f"{url}?{query}" if query else url


def _shell(text: str) -> str:
    return shlex.quote(text)
