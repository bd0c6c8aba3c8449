"""The words of tus 1.0 and of our own headers, written and read. Pure functions."""

import base64
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from hera_librarian.uploading.problems import Refused

ENDPOINT = "v3/uploads/"
VERSION = {"Tus-Resumable": "1.0.0"}
BODY = {**VERSION, "Content-Type": "application/offset+octet-stream"}


def encode_metadata(metadata: Mapping[str, str]) -> str:
    """Value of `Upload-Metadata`."""
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in metadata.items() if value)


def upload_path_of(location: str) -> str:
    """Path of an upload below `/api/`, whatever host the server believes itself to be (it may stand behind a proxy)."""
    path = urlsplit(location).path.partition("/api/")[2]
    if not path.startswith(ENDPOINT) or path == ENDPOINT:
        raise Refused("no_http_upload", f"The server began an upload at {location!r}.", "Ask its operator.")
    return path if path.endswith("/") else f"{path}/"


def answer_of_headers(headers: Mapping[str, str]) -> dict[str, Any]:
    """What an upload that is committed with its last byte says of the product."""
    return {
        "state": "committed",
        "outcome": headers["Librarian-Outcome"],
        "file": unquote(headers.get("Librarian-Name", "")),
        "checksum": headers.get("Librarian-Checksum", ""),
    }
