"""The one way JSON comes in: bounded in size and depth, and only values that every part of the system can hold.

Refused with a reason, before any view sees the body: more bytes than LIBRARIAN_MAX_JSON_BYTES, nesting beyond
MAX_DEPTH, text that is not UTF-8 or not JSON, NaN and infinities, integers that do not fit into 64 bits, lone
surrogates and NUL characters (no database column holds them), and a key that appears twice in one object (readers
disagree on which of the two counts).
"""

import json
import math
import re
from collections.abc import Mapping
from http import HTTPStatus
from itertools import accumulate
from typing import IO, Any

from django.conf import settings
from django.http import UnreadablePostError
from rest_framework.parsers import BaseParser

from librarian.common.errors import ArchiveError, TooLarge

MAX_DEPTH = 64
_MIN_INTEGER, _MAX_INTEGER = -(2**63), 2**63 - 1
# Matches at every quote, also where a string is never closed, so that hostile text costs one pass and not a square.
_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_BLOCK_BYTES = 64 * 1024


class InvalidJson(ArchiveError):
    """The body is not JSON, or holds values that are refused everywhere."""

    code = "invalid_json"
    remedy = "Send one JSON object in UTF-8 with ordinary text, and numbers that fit into 64 bits."


class UnsupportedMedia(ArchiveError):
    code = "unsupported_media_type"
    status = HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    remedy = "Send the body as UTF-8 JSON with 'Content-Type: application/json'."


class BoundedJSONParser(BaseParser):
    """Reads a request's JSON body within the limits of this module."""

    media_type = "application/json"

    def parse(
        self, stream: IO[bytes], media_type: str | None = None, parser_context: Mapping[str, Any] | None = None
    ) -> Any:
        _check_charset(media_type or "")
        return read_json(_read_bounded(stream, settings.LIBRARIAN_MAX_JSON_BYTES, _declared_bytes(parser_context)))


def read_json(raw: bytes) -> Any:
    """Turn JSON text into Python values. Raises InvalidJson saying what is wrong with it."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as problem:
        raise InvalidJson(f"The body is not UTF-8: byte {problem.start} is out of place.") from None
    _check_depth(raw)
    try:
        value = json.loads(
            text,
            parse_constant=_refuse_constant,
            parse_int=_read_integer,
            parse_float=_read_float,
            object_pairs_hook=_read_object,
        )
    except json.JSONDecodeError as problem:
        raise InvalidJson(f"The body is not JSON: {problem.msg} at character {problem.pos}.") from None
    except RecursionError:
        raise InvalidJson("The body is nested too deeply.") from None
    if b"\\u" in raw or b"\x00" in raw:  # the only ways in for the characters that are refused
        _check_text(value)
    return value


def _check_charset(media_type: str) -> None:
    charset = re.search(r"charset\s*=\s*\"?([^\s;\"]+)", media_type, re.IGNORECASE)
    if charset and charset[1].lower() not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedMedia(f"JSON is sent in UTF-8, not in {charset[1][:40]}.")


def _declared_bytes(parser_context: Mapping[str, Any] | None) -> int:
    request = (parser_context or {}).get("request")
    try:
        return int(request.META.get("CONTENT_LENGTH") or 0) if request is not None else 0
    except ValueError:
        return 0


def _read_bounded(stream: IO[bytes], limit_bytes: int, declared_bytes: int) -> bytes:
    """Read to the end, or to one byte more than allowed, whatever the declared length says."""
    blocks: list[bytes] = []
    left = limit_bytes + 1 if declared_bytes <= limit_bytes else 0
    try:
        while left > 0:
            block = stream.read(min(left, _BLOCK_BYTES))
            if not block:
                return b"".join(blocks)
            blocks.append(block)
            left -= len(block)
    except UnreadablePostError as problem:
        raise InvalidJson("The body ended before it was complete.") from problem
    except Exception as problem:  # each server has its own kinds for chunks that are none
        raise InvalidJson(f"The body cannot be read: {problem}.") from problem
    raise TooLarge(
        f"The JSON body is larger than {limit_bytes} bytes.", remedy="Split the request into several smaller ones."
    )


def _check_depth(raw: bytes) -> None:
    """Refuse deep nesting by counting brackets outside of strings, since json recurses once per level."""
    brackets = _STRINGS.sub(b"", raw).translate(None, _NOT_BRACKETS)
    if any(depth > MAX_DEPTH for depth in accumulate(map(_STEP.__getitem__, brackets))):
        raise InvalidJson(f"The body is nested more than {MAX_DEPTH} levels deep.")


def _refuse_constant(name: str) -> Any:
    raise InvalidJson(f"{name} is not a JSON number.")


def _read_integer(text: str) -> int:
    if len(text) <= 20 and _MIN_INTEGER <= (value := int(text)) <= _MAX_INTEGER:
        return value
    raise InvalidJson(f"The integer {text[:24]} does not fit into 64 bits.")


def _read_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise InvalidJson(f"The number {text[:24]} is too large.")
    return value


def _read_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))
        raise InvalidJson(f"The key {twice[:40]!a} appears twice in one object.")
    return value


def _check_text(value: Any) -> None:
    """Refuse what neither UTF-8 nor a text column can hold. Depth was bounded before."""
    if isinstance(value, str):
        if "\x00" in value:
            raise InvalidJson("A text in the body has a NUL character.")
        try:
            value.encode()
        except UnicodeEncodeError:
            raise InvalidJson("A text in the body has half of a surrogate pair, which is no character.") from None
    elif isinstance(value, dict):
        for key, item in value.items():
            _check_text(key)
            _check_text(item)
    elif isinstance(value, list):
        for item in value:
            _check_text(item)
