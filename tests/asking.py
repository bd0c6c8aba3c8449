"""Asking version 3 of the machine API as a caller of some level would."""

import base64
from typing import Any

from django.http import HttpResponse
from django.test import Client

from tests.make import PASSWORD


def basic(username: str, password: str = PASSWORD) -> str:
    """Value of an Authorization header."""
    return f"Basic {base64.b64encode(f'{username}:{password}'.encode()).decode()}"


class Api:
    """`Api("readonly").get("files/", name="x")`: requests below `/api/v3/` by the user of that name."""

    def __init__(self, username: str = "readonly") -> None:
        self.client = Client(headers={"Authorization": basic(username)}, raise_request_exception=False)

    def get(self, path: str, headers: dict[str, str] | None = None, **parameters: Any) -> HttpResponse:
        return self.client.get(f"/api/v3/{path}", parameters, headers=headers)

    def head(self, path: str, headers: dict[str, str] | None = None, **parameters: Any) -> HttpResponse:
        return self.client.head(f"/api/v3/{path}", parameters, headers=headers)

    def post(self, path: str, body: Any = None) -> HttpResponse:
        return self.client.post(f"/api/v3/{path}", body if body is not None else {}, content_type="application/json")

    def results(self, path: str, **parameters: Any) -> list[dict[str, Any]]:
        """Results of the first page; fails the test unless it is answered."""
        response = self.get(path, **parameters)
        assert response.status_code == 200, response.content
        return response.json()["results"]

    def refusal(self, path: str, status: int = 400, **parameters: Any) -> dict[str, Any]:
        """The body of an answer that must be this refusal."""
        response = self.get(path, **parameters)
        assert response.status_code == status, response.content
        body = response.json()
        assert body["reason"]
        assert body["suggested_remedy"]
        assert "detail" not in body
        return body


def body_of(response: HttpResponse) -> bytes:
    """All bytes of an answer, streamed or not."""
    return b"".join(response.streaming_content) if response.streaming else response.content
