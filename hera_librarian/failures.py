"""Reading an answer that is a failure, in every shape that servers and proxies in between give it.

Known shapes: an object with `reason`; the same as an object, as JSON text or as plain text under `detail`; a list of
wrong fields under `detail`; an object with nothing but `success: false`; the classic `message`; plain text; a page of
a proxy.
"""

import json
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from requests import Response
from requests.exceptions import RequestException

from hera_librarian.exceptions import LibrarianHTTPError

MAX_BODY_BYTES = 2**20
MAX_TEXT = 500

_REMEDIES = {
    401: "Check user name and password, or the token; it may also be that the account's level is too low.",
    403: "Ask an administrator of the server for a higher level.",
    404: "Check the name; the server may also be too old to know this request.",
    413: "Send less at once, or ask the server's operator to raise the limit.",
    422: "Correct the fields named and try again.",
    429: "Wait as long as the server asks, then try again.",
}
_PASSING = "Try again later; if it stays so, tell the server's operator."


def failure(response: Response, endpoint: str) -> LibrarianHTTPError:
    """The error that an answer stands for. Reads and closes the answer."""
    status = response.status_code
    body = _decode(_read(response))
    if isinstance(body, str):
        body = {"reason": _words(body, response.headers.get("Content-Type", ""))}
    reason = body.get("reason") or body.get("message") or _status_words(status)
    remedy = body.get("suggested_remedy") or _REMEDIES.get(status) or (_PASSING if status >= 500 else "")
    return LibrarianHTTPError(
        endpoint, status, str(reason), str(remedy), body, retry_after_seconds=retry_after_seconds(response)
    )


def retry_after_seconds(response: Response) -> float | None:
    """How long the server asks to be left alone: the `Retry-After` header in either of its forms."""
    value = response.headers.get("Retry-After", "").strip()
    if not value:
        return None
    if value.isdigit():
        return float(value[:9])
    try:
        at = parsedate_to_datetime(value)
        now = parsedate_to_datetime(response.headers["Date"])  # the server's own clock: ours may be wrong
        return max(0.0, (at - now).total_seconds())
    except (KeyError, TypeError, ValueError):
        return None


def _read(response: Response) -> str:
    """The body as text, at most `MAX_BODY_BYTES` of it; what came until then when the connection breaks."""
    content = b""
    try:
        for block in response.iter_content(2**16):
            content += block
            if len(content) >= MAX_BODY_BYTES:
                break
    except (RequestException, OSError):
        pass  # the status alone says enough to go on with
    finally:
        response.close()
    return content.decode("utf-8", errors="replace")


def _decode(text: str) -> dict[str, Any] | str:
    """The object that says what is wrong, else the text."""
    body = _json(text)
    if isinstance(body, dict):
        return _without_detail(body)
    if isinstance(body, list):
        return {"reason": _fields(body), "errors": body}
    return text


def _without_detail(body: dict[str, Any]) -> dict[str, Any]:
    """The object with what stands under `detail` in its place."""
    if "detail" not in body:
        return body
    detail = body["detail"]
    if isinstance(detail, str):
        inner = _json(detail)
        return inner if isinstance(inner, dict) else {**body, "reason": body.get("reason") or detail}
    if isinstance(detail, dict):
        return detail
    if isinstance(detail, list):
        return {**body, "reason": body.get("reason") or _fields(detail)}
    return body


def _fields(errors: list[Any]) -> str:
    """`name: what is wrong` of each wrong field. Values are not repeated: they may be passwords."""
    said = []
    for error in errors[:10]:
        if isinstance(error, dict):
            place = [str(part) for part in error.get("loc") or () if part != "body"]
            text = str(error.get("msg") or "is wrong")
            said.append(f"{'.'.join(place)}: {text}" if place else text)
        else:
            said.append(str(error)[:MAX_TEXT])
    return "; ".join(said)[: 2 * MAX_TEXT]


def _words(text: str, content_type: str) -> str:
    """First lines of a plain text; nothing of a page, which was written for people with a browser."""
    text = text.strip()
    if not text or "html" in content_type.lower() or text.startswith("<"):
        return ""
    return " ".join(text[:MAX_TEXT].split())


def _status_words(status: int) -> str:
    try:
        return f"{HTTPStatus(status).phrase} (the server gave no reason)."
    except ValueError:
        return f"The server answered with status {status} and gave no reason."


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
