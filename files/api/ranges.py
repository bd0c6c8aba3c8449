"""Conditions and ranges of HTTP requests (RFC 9110 sections 13 and 14), for a representation with a strong ETag."""

import re
from dataclasses import dataclass
from http import HTTPStatus

from rest_framework.request import Request

from librarian.common.errors import ArchiveError

_ONE_RANGE = re.compile(r"bytes\s*=\s*([0-9]*)\s*-\s*([0-9]*)\s*", re.IGNORECASE | re.ASCII)
_TAG = re.compile(r'(?:W/)?"[^"]*"')
_MOST_DIGITS = 19  # more than any size has; int() of thousands of digits would be refused by Python itself


class RangeNotSatisfiable(ArchiveError):
    """The range begins behind the end. Its answer carries `Content-Range: bytes */<size>`."""

    code = "range_not_satisfiable"
    status = HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE
    remedy = "Ask for a range below the size that the reason names."


class PreconditionFailed(ArchiveError):
    code = "precondition_failed"
    status = HTTPStatus.PRECONDITION_FAILED
    remedy = "The bytes are not those that If-Match names; a name's bytes never change, so check the name."


@dataclass(frozen=True, slots=True)
class ByteRange:
    """Bytes `first` to `first + length - 1`."""

    first: int
    length: int

    def content_range(self, size_bytes: int) -> str:
        return f"bytes {self.first}-{self.first + self.length - 1}/{size_bytes}"


def is_unchanged(request: Request, etag: str) -> bool:
    """True if the caller has these bytes already (304). Raises PreconditionFailed when If-Match names other bytes."""
    required = request.headers.get("If-Match")
    if required is not None and not _names(required, etag, weakly=False):
        raise PreconditionFailed("If-Match names other bytes than those of this file.")
    known = request.headers.get("If-None-Match")
    return known is not None and _names(known, etag, weakly=True)


def asked_range(request: Request, *, size_bytes: int, etag: str) -> ByteRange | None:
    """The one range to answer, None for the whole: no range, several, another unit, or If-Range of other bytes.

    Raises RangeNotSatisfiable for a range that begins behind the end.
    """
    text = request.headers.get("Range")
    if text is None or request.headers.get("If-Range", etag).strip() != etag:
        return None
    found = _ONE_RANGE.fullmatch(text.strip())
    if not found or not (found[1] or found[2]):
        return None
    if not found[1]:
        length = min(_number(found[2]), size_bytes)
        first = size_bytes - length
    else:
        first = _number(found[1])
        last = _number(found[2]) if found[2] else size_bytes - 1
        if found[2] and last < first:
            return None  # not a range at all (RFC 9110, 14.1.1)
        length = min(last, size_bytes - 1) - first + 1
    if length <= 0:
        raise RangeNotSatisfiable(f"The range {text[:60]!r} lies outside of {size_bytes} bytes.", size_bytes=size_bytes)
    return ByteRange(first, length)


def _names(header: str, etag: str, *, weakly: bool) -> bool:
    if header.strip() == "*":
        return True
    tags = _TAG.findall(header)
    return etag in tags or (weakly and f"W/{etag}" in tags)


def _number(digits: str) -> int:
    digits = digits.lstrip("0") or "0"
    return int(digits) if len(digits) <= _MOST_DIGITS else 10**_MOST_DIGITS
