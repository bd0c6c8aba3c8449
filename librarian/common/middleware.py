"""What happens to every request before anything else looks at it: its id, and bodies that do not say their length."""

import logging
import re
import uuid
from collections.abc import Callable
from contextvars import ContextVar

from django.conf import settings
from django.core.handlers.wsgi import LimitedStream
from django.http import HttpRequest, HttpResponse

REQUEST_ID_HEADER = "X-Request-Id"
_HARMLESS = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_current: ContextVar[str] = ContextVar("request_id", default="-")

GetResponse = Callable[[HttpRequest], HttpResponse]


def current_request_id() -> str:
    """Id of the request that this thread answers now, `-` outside of one."""
    return _current.get()


class RequestIdFilter(logging.Filter):
    """Gives every log record a `request_id`, so that a format may use `%(request_id)s`."""

    def filter(self, record: logging.LogRecord) -> bool:
        # Django logs a failed answer after the request has left this middleware, but names the request in the record.
        request = getattr(record, "request", None)
        record.request_id = getattr(request, "request_id", None) or current_request_id()
        return True


class RequestId:
    """Gives each request an id, in `request.request_id`, the log and the answer's header.

    An id that the caller (nginx, a peer) sends is kept if it is short and cannot harm a log line or a header.
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        offered = request.headers.get(REQUEST_ID_HEADER, "")
        request.request_id = offered if _HARMLESS.fullmatch(offered) else uuid.uuid4().hex
        token = _current.set(request.request_id)
        try:
            response = self.get_response(request)
        finally:
            _current.reset(token)
        response.headers[REQUEST_ID_HEADER] = request.request_id
        return response


class ChunkedJson:
    """Lets JSON arrive in chunks, that is without a Content-Length.

    Django takes such a body for empty. Here the parser gets to see it, up to one byte over the limit, which it then
    refuses like any other body that is too large. Other content is left alone: uploads ask for a length (411).
    """

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        chunked = "chunked" in request.headers.get("Transfer-Encoding", "").lower()
        if chunked and not request.META.get("CONTENT_LENGTH") and request.content_type == "application/json":
            limit = settings.LIBRARIAN_MAX_JSON_BYTES
            request._stream = LimitedStream(request.META["wsgi.input"], limit + 1)
            request.META["CONTENT_LENGTH"] = str(limit)  # unknown; anything above zero makes the body be read
        return self.get_response(request)
