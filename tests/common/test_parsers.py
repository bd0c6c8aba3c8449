"""JSON comes in bounded: each hostile body is refused with a reason, fast, and ordinary ones are read as they are."""

import io
import json
import time

import pytest
from rest_framework.test import APIRequestFactory

from librarian.common.errors import TooLarge
from librarian.common.parsers import MAX_DEPTH, BoundedJSONParser, InvalidJson, UnsupportedMedia, read_json

pytestmark = pytest.mark.database_independent


def parse(body, *, content_length=None, media_type="application/json"):
    request = APIRequestFactory().post("/", b"", content_type="application/json")
    request.META["CONTENT_LENGTH"] = str(len(body) if content_length is None else content_length)
    return BoundedJSONParser().parse(io.BytesIO(body), media_type, {"request": request})


class EndlessStream:
    """A body that never ends, as a lying Content-Length or chunks would bring."""

    def __init__(self):
        self.given = 0

    def read(self, size):
        self.given += size
        return b"[" + b"0" * (size - 1)


class BrokenChunks:
    """A body whose chunks are none: the web server raises an exception of its own."""

    def read(self, size):
        raise ChunkError("Invalid chunk size: b'zz'")


class ChunkError(Exception):
    pass


def test_chunks_that_are_none_are_the_callers_mistake():
    with pytest.raises(InvalidJson, match="Invalid chunk size"):
        BoundedJSONParser().parse(BrokenChunks(), "application/json", {})


@pytest.mark.parametrize(
    "value",
    [{}, [], None, True, "text", 0, -(2**63), 2**63 - 1, 1.5, {"a": [{"b": "Größe 😀 / 測定"}]}, "a\\u0000b", '"[{'],
)
def test_ordinary_values_are_read_as_they_are(value):
    assert parse(json.dumps(value).encode()) == value
    assert parse(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b'{"a": 1', "not JSON"),
        (b'{"a": "unterminated', "not JSON"),
        (b"{'a': 1}", "not JSON"),
        (b"{} {}", "not JSON"),
        (b"\xff\xfe{}", "not UTF-8"),
        (b'{"a": "\xed\xa0\x80"}', "not UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'{"a": NaN}', "NaN"),
        (b"[Infinity]", "Infinity"),
        (b"[-Infinity]", "Infinity"),
        (b"[1e999]", "too large"),
        (b"[9223372036854775808]", "64 bits"),
        (b"[-9223372036854775809]", "64 bits"),
        (b"[" + b"9" * 10_000 + b"]", "64 bits"),
        (b'["\\ud800"]', "surrogate"),
        (b'{"\\udfff": 1}', "surrogate"),
        (b'{"a": [{"b": "x\\u0000y"}]}', "NUL"),
        (b'{"a": 1, "b": 2, "a": 3}', "'a' appears twice"),
    ],
)
def test_what_no_catalogue_can_hold_is_refused_with_its_reason(body, said):
    with pytest.raises(InvalidJson) as refusal:
        parse(body)
    assert said in refusal.value.reason
    assert refusal.value.status == 400


def test_a_surrogate_pair_is_an_ordinary_character():
    assert parse(b'["\\ud83d\\ude00"]') == ["\U0001f600"]


@pytest.mark.parametrize("opening", [b"[", b'{"a":', b'[{"a":'])
def test_deep_nesting_is_refused_before_it_can_exhaust_the_stack(opening):
    for body in (opening * 200_000, opening * 200_000 + b"1"):
        with pytest.raises(InvalidJson) as refusal:
            parse(body)
        assert "levels deep" in refusal.value.reason


def test_depth_is_counted_outside_of_text_only():
    assert parse(json.dumps(["[" * 1000, '"' + "{" * 1000, "\\" + "["]).encode())[0] == "[" * 1000
    limit = b"[" * MAX_DEPTH + b"]" * MAX_DEPTH
    assert parse(limit)
    with pytest.raises(InvalidJson):
        parse(b"[" + limit + b"]")


@pytest.mark.parametrize(
    "body", [b'"' + b'\\"' * 2_000_000, b'"' * 2_000_000, b'{"a":1,' * 300_000, b"[]," * 1_000_000]
)
def test_hostile_text_costs_one_pass_only(body):
    started = time.process_time()
    with pytest.raises(InvalidJson):
        parse(body)
    assert time.process_time() - started < 5


def test_many_keys_with_one_twice_cost_one_pass_only():
    keys = [f'"{number}":0' for number in range(200_000)]
    started = time.process_time()
    with pytest.raises(InvalidJson):
        read_json(("{" + ",".join([*keys, keys[-1]]) + "}").encode())
    assert time.process_time() - started < 5


def test_a_large_body_is_refused_by_its_declared_length_without_reading_it(settings):
    settings.LIBRARIAN_MAX_JSON_BYTES = 1000
    stream = io.BytesIO(b"{}" + b" " * 999)
    request = APIRequestFactory().post("/", b"", content_type="application/json")
    request.META["CONTENT_LENGTH"] = "1001"
    with pytest.raises(TooLarge) as refusal:
        BoundedJSONParser().parse(stream, "application/json", {"request": request})
    assert (refusal.value.status, stream.tell()) == (413, 0)


def test_a_large_body_is_refused_whatever_its_declared_length(settings):
    settings.LIBRARIAN_MAX_JSON_BYTES = 1000
    for declared in (10, "", "nonsense", -5):
        with pytest.raises(TooLarge):
            parse(b"[" + b" " * 1000 + b"]", content_length=declared)
    endless = EndlessStream()
    with pytest.raises(TooLarge):
        BoundedJSONParser().parse(endless, "application/json", None)
    assert endless.given <= 1001
    assert parse(b"[" + b" " * 998 + b"]") == []


def test_other_charsets_are_refused():
    assert parse(b"{}", media_type='application/json; charset="UTF-8"') == {}
    with pytest.raises(UnsupportedMedia) as refusal:
        parse(b"{}", media_type="application/json; charset=latin-1")
    assert refusal.value.status == 415
