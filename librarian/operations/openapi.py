"""The machine API described for programs (`schema/`, OpenAPI) and for people (`docs/`, Swagger served from here)."""

from typing import Any
from urllib.parse import urlencode

from django.http import HttpResponseRedirect
from django.http.response import HttpResponseBase
from django.urls import reverse
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.exceptions import NotAuthenticated

from librarian.common.errors import AuthenticationRequired

RESOURCES = "/api/v3/"
ERROR_SCHEMA = {
    "type": "object",
    "description": "Why a request was refused. docs/errors.md lists every code.",
    "required": ["code", "reason", "suggested_remedy"],
    "properties": {
        "code": {"type": "string", "description": "Stable name of the error."},
        "reason": {"type": "string", "description": "One sentence: what is wrong in this case."},
        "suggested_remedy": {"type": "string", "description": "What the caller can do."},
        "fields": {
            "type": "object",
            "additionalProperties": {"type": "string"},
            "description": "For refused values: each field or parameter and what is wrong with it.",
        },
        "request_id": {"type": "string", "description": "For errors of the server: by which an operator finds it."},
    },
    "additionalProperties": True,
}
_EVERYWHERE = {
    "400": "A parameter or the body is not understood: `invalid_request`, `invalid_name`, `invalid_json`.",
    "401": "No or wrong credentials: `authentication_required`.",
    "403": "The account's or token's level is too low: `level_too_low`.",
    "429": "Too many wrong passwords: `locked_out`. `Retry-After` says when to come back.",
    "503": "Not now: `busy`, and for downloads `no_readable_copy`.",
}
_NAMED = {"404": "Nothing of this name or id: `not_found`, and for downloads `no_copy_here`."}
_DOWNLOADS = {
    "412": "The bytes are not those that If-Match names: `precondition_failed`.",
    "416": "The range begins behind the end: `range_not_satisfiable`.",
}
_WRITES = {
    "409": "Contradicts what is there: `conflict`, `lost_race`.",
    "413": "The body is too large: `too_large`.",
    "415": "The body is not JSON: `unsupported_media_type`.",
}


class Schema(SpectacularAPIView):
    """The description for programs."""


class Docs(SpectacularSwaggerSplitView):
    """The description for people, by Swagger's own page with a template of ours, under the policy of all pages.

    A stranger is led to the login.
    """

    url_name = "v3-schema"
    template_name = "api/docs.html"
    title = "Machine API"

    def handle_exception(self, exc: Exception) -> HttpResponseBase:
        if isinstance(exc, AuthenticationRequired | NotAuthenticated):
            return HttpResponseRedirect(f"{reverse('login')}?{urlencode({'next': self.request.get_full_path()})}")
        return super().handle_exception(exc)


class _BasicScheme(OpenApiAuthenticationExtension):
    target_class = "accounts.authentication.BasicAuthentication"
    name = "password"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {"type": "http", "scheme": "basic", "description": "Name and password of an account."}


class _BearerScheme(OpenApiAuthenticationExtension):
    target_class = "accounts.authentication.BearerAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {"type": "http", "scheme": "bearer", "description": "A token of an account, as issued in the portal."}


class _SessionScheme(OpenApiAuthenticationExtension):
    target_class = "accounts.authentication.PortalSessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {"type": "apiKey", "in": "cookie", "name": "sessionid", "description": "The portal's login, with CSRF."}


def keep_resources(endpoints: list[tuple[Any, ...]], **options: Any) -> list[tuple[Any, ...]]:
    """Only version 3: the wire protocol is described by its own reference."""
    return [endpoint for endpoint in endpoints if endpoint[0].startswith(RESOURCES)]


def document_errors(result: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Say of every operation with which errors it may answer."""
    result.setdefault("components", {}).setdefault("schemas", {})["Error"] = ERROR_SCHEMA
    for path, operations in result.get("paths", {}).items():
        for method, operation in operations.items():
            _add_errors(operation, path, method)
    return result


def _add_errors(operation: dict[str, Any], path: str, method: str) -> None:
    texts = dict(_EVERYWHERE)
    if "{" in path:
        texts |= _NAMED
    if path.endswith("/content"):
        texts |= _DOWNLOADS
    if method != "get":
        texts |= _WRITES
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    for status, text in sorted(texts.items()):
        operation["responses"].setdefault(status, {"description": text, "content": content})
