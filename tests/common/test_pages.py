"""Exports stream and cannot run in a spreadsheet; pages answer whole or as the fragment that htmx asked for."""

import csv
import io
import json
from datetime import UTC, datetime

import pytest
from django.test import RequestFactory

from librarian.common.pages import stream_csv, stream_json_lines, wants_fragment

pytestmark = pytest.mark.database_independent

COLUMNS = {"name": lambda row: row[0], "size_bytes": lambda row: row[1], "at": lambda row: row[2]}
AT = datetime(2026, 11, 20, 12, tzinfo=UTC)


def text_of(response):
    return b"".join(response.streaming_content).decode()


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "\rx"])
def test_text_that_would_run_as_a_formula_is_defused(name):
    lines = list(csv.reader(io.StringIO(text_of(stream_csv([(name, -5, AT)], COLUMNS, filename="x.csv")), newline="")))
    assert lines[1] == [f"'{name}", "-5", "2026-11-20T12:00:00Z"]


def test_commas_quotes_and_line_ends_survive():
    name = 'a,"b"\nc'
    lines = list(csv.reader(io.StringIO(text_of(stream_csv([(name, 1, AT)], COLUMNS, filename="x.csv")), newline="")))
    assert lines[0] == ["name", "size_bytes", "at"]
    assert lines[1][0] == name


def test_json_lines_are_one_object_a_row():
    lines = text_of(stream_json_lines([("=x", None, AT), ("ü", 2**62, AT)], COLUMNS, filename="x.jsonl")).splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["=x", "ü"]
    assert json.loads(lines[1])["size_bytes"] == 2**62


def test_rows_are_taken_as_they_are_sent_and_not_before():
    taken = []

    def rows():
        for number in range(100_000):
            taken.append(number)
            yield (str(number), number, AT)

    blocks = iter(stream_csv(rows(), COLUMNS, filename="x.csv").streaming_content)
    next(blocks), next(blocks)
    assert len(taken) <= 1000


def test_a_filename_cannot_break_out_of_its_header():
    response = stream_csv([], COLUMNS, filename='a"\r\nSet-Cookie: x=1')
    assert response.headers["Content-Disposition"] == 'attachment; filename="a___Set-Cookie__x_1"'


def test_htmx_gets_the_fragment_unless_it_wants_the_page():
    make = RequestFactory()
    assert not wants_fragment(make.get("/"))
    assert wants_fragment(make.get("/", headers={"HX-Request": "true"}))
    assert not wants_fragment(make.get("/", headers={"HX-Request": "true", "HX-Boosted": "true"}))
    assert not wants_fragment(make.get("/", headers={"HX-Request": "true", "HX-History-Restore-Request": "true"}))
