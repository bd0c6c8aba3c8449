"""Speaking tus 1.0 to a Librarian, in process or over a socket: only what the protocol says, no client of ours."""

import base64
import io
import tarfile
from collections.abc import Mapping
from typing import Any

OFFSET_TYPE = "application/offset+octet-stream"


def metadata(**values: object) -> str:
    """Value of an Upload-Metadata header."""
    return ",".join(f"{key} {base64.b64encode(str(value).encode()).decode()}" for key, value in values.items())


def creation(length: int, **values: object) -> dict[str, str]:
    """Headers of a creation."""
    return {"Tus-Resumable": "1.0.0", "Upload-Length": str(length), "Upload-Metadata": metadata(**values)}


def piece(offset: int, **more: str) -> dict[str, str]:
    """Headers of a PATCH."""
    return {"Tus-Resumable": "1.0.0", "Upload-Offset": str(offset), "Content-Type": OFFSET_TYPE, **more}


def make_tar(members: Mapping[str, bytes | None]) -> bytes:
    """A tar of these members in their order; None is an empty directory."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            if content is None:
                info.type = tarfile.DIRTYPE
            else:
                info.size = len(content)
            tar.addfile(info, io.BytesIO(content or b""))
    return file.getvalue()


class InProcess:
    """Calls of one account through Django's test client: `.begin(...)`, `.send(...)`, `.head(...)`."""

    def __init__(self, username: str = "readappend", authorization: str = "") -> None:
        from django.test import Client

        from tests.asking import basic

        headers = {"Authorization": authorization or basic(username), "Tus-Resumable": "1.0.0"}
        self.client = Client(headers=headers, raise_request_exception=False)

    def call(self, method: str, path: str, body: bytes = b"", type: str = "", **headers: str) -> Any:
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        path = path if path.startswith(("/", "http")) else f"/api/v3/{path}"
        return self.client.generic(method, path, body, content_type=type, headers=headers)

    def begin(self, length: int, body: bytes | None = None, /, **values: object) -> Any:
        headers = creation(length, **values)
        headers.pop("Tus-Resumable")
        return self.call("POST", "uploads/", body or b"", OFFSET_TYPE if body is not None else "", **headers)

    def whole(self, body: bytes, /, **values: object) -> Any:
        return self.begin(len(body), body, **values)

    def send(self, location: str, offset: int, body: bytes, **headers: str) -> Any:
        return self.call("PATCH", location, body, OFFSET_TYPE, Upload_Offset=str(offset), **headers)

    def head(self, location: str) -> Any:
        return self.call("HEAD", location)

    def show(self, location: str) -> dict[str, Any]:
        response = self.call("GET", location)
        assert response.status_code == 200, response.content
        return response.json()

    def commit(self, location: str, **wishes: str) -> Any:
        return self.client.post(f"{location}commit", wishes, content_type="application/json")
