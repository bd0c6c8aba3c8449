"""Base of the endpoints of the wire protocol: POST only, credentials before content, one message in, one out.

A view says which message it reads (`request_model`) and answers with another. Failures are objects with `reason` and
`suggested_remedy` at the top level and never a `detail`, which clients of the protocol would parse as JSON text.
"""

from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, ClassVar

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.urls import Resolver404, resolve
from django.views.decorators.csrf import csrf_exempt
from pydantic import BaseModel, ValidationError
from rest_framework.authentication import SessionAuthentication
from rest_framework.exceptions import MethodNotAllowed
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from librarian.common.errors import ArchiveError, InvalidRequest
from librarian.common.handlers import page_not_found

MAX_FIELDS_SHOWN = 20
MAX_FIELDS_READ = 1_000  # all that is wrong is put into words at once, which takes a thousand bytes for each
ADMIN_MAX_RESULTS = 10_000


class InvalidMessage(InvalidRequest):
    """The body is JSON, but not the message that the endpoint reads."""

    code = "invalid_message"
    status = HTTPStatus.UNPROCESSABLE_ENTITY
    remedy = "Correct the fields named under 'fields' and send the request again."


class WireFailure(ArchiveError):
    """A failure with a status and text of the protocol, which clients match."""

    def __init__(self, status: int, reason: str, remedy: str, *, code: str = "refused", **extra: Any) -> None:
        super().__init__(reason, remedy=remedy, **extra)
        self.status = HTTPStatus(status)
        self.code = code


class WireView(APIView):
    """One endpoint. Subclasses set `request_model` and `permission_classes`, and implement `answer`.

    `answer(request, message)` returns the answering message, or None for an empty body.
    """

    request_model: ClassVar[type[BaseModel]]
    success_status: ClassVar[int] = 200
    authentication_classes = [
        each for each in APIView.authentication_classes if not issubclass(each, SessionAuthentication)
    ]
    http_method_names = ["post"]
    schema = None  # described by the protocol's reference, not by OpenAPI of version 3

    def answer(self, request: Request, message: Any) -> BaseModel | None:
        """Do what the message asks for."""
        raise NotImplementedError

    def post(self, request: Request, *args: Any, **kwargs: Any) -> HttpResponse:
        answer = self.answer(request, self.read_message(request))
        if answer is None:
            response = HttpResponse(status=self.success_status)
            del response.headers["Content-Type"]
            return response
        return HttpResponse(answer.model_dump_json(), status=self.success_status, content_type="application/json")

    def read_message(self, request: Request) -> BaseModel:
        """The body as `request_model`; an empty body reads as `{}`. Raises InvalidJson, InvalidMessage, TooLarge."""
        body = request.data
        if not isinstance(body, dict):
            raise InvalidMessage(f"The body must be a JSON object, got {_json_type(body)}.", fields={})
        try:
            return self.request_model.model_validate(body)
        except ValidationError as problem:
            raise _invalid_message(problem) from None

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        if request.method != "POST":  # said before credentials are asked for, as the protocol's routing does
            raise MethodNotAllowed(request.method)
        super().initial(request, *args, **kwargs)

    def perform_content_negotiation(self, request: Request, force: bool = False) -> tuple[JSONRenderer, str]:
        return JSONRenderer(), "application/json"  # whatever Accept says: the protocol has one form


def result_limit(max_results: int, *, is_admin: bool) -> int:
    """How many results a search may give: as asked, up to the site's limit; administrators may ask for more."""
    limit = max(settings.LIBRARIAN_MAX_SEARCH_RESULTS, ADMIN_MAX_RESULTS if is_admin else 0)
    return min(max(0, max_results), limit)


def aware(value: datetime) -> datetime:
    """A time of a message as the database compares it: without an offset it means UTC."""
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value


@csrf_exempt
def unknown_endpoint(request: HttpRequest) -> HttpResponse:
    """Redirect (307, the body is sent again) to the path with the right ending, else 404."""
    path = request.path_info
    other = path.removesuffix("/") if path.endswith("/") else f"{path}/"
    try:
        is_known = resolve(other).func is not unknown_endpoint
    except Resolver404:
        is_known = False
    if not is_known:
        return page_not_found(request, Resolver404())
    response = HttpResponse(status=HTTPStatus.TEMPORARY_REDIRECT)
    del response.headers["Content-Type"]
    root = request.path.removesuffix(path)
    query = request.META.get("QUERY_STRING", "")
    response.headers["Location"] = f"{root}{other}{'?' if query else ''}{query}"
    return response


unknown_endpoint.login_required = False  # asks nobody who they are


def _invalid_message(problem: ValidationError) -> InvalidMessage:
    """All wrong fields with what was expected of each, the first one in the reason. Values are not repeated."""
    fields: dict[str, str] = {}
    if (wrong := problem.error_count()) > MAX_FIELDS_READ:
        return InvalidMessage(f"{wrong} values of the message are not as they should be.", fields=fields)
    for error in problem.errors(include_url=False, include_context=False, include_input=False)[:MAX_FIELDS_SHOWN]:
        name = ".".join(str(part) for part in error["loc"])[:200] or "body"
        fields.setdefault(name, error["msg"].removeprefix("Value error, "))
    name, said = next(iter(fields.items()))
    return InvalidMessage(f"{name}: {said}.", fields=fields)


def _json_type(value: Any) -> str:
    names = {list: "an array", str: "a string", bool: "a boolean", int: "a number", float: "a number"}
    return names.get(type(value), "null" if value is None else "a form")
